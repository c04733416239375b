//! The hosts that the configuration lets Patchbay call although they are private, or speak plain `http`.

use std::str::FromStr;

use url::{Host, Url};

/// A `host` or `host:port` out of `PATCHBAY_ALLOWED_HOSTS`. Without a port, every port is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

/// The text is not `host` or `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an allowed host is written as host or host:port, an IPv6 address in brackets")]
pub struct AllowedHostError;

impl AllowedHost {
    /// The host of a URL, on its port.
    pub(super) fn of(url: &Url) -> Option<Self> {
        Some(Self { host: without_final_dot(url.host()?.to_owned()), port: url.port_or_known_default() })
    }

    /// Whether `url` leads to this host, on this port.
    pub(super) fn covers(&self, url: &Url) -> bool {
        url.host().is_some_and(|host| self.is(host.to_owned(), url.port_or_known_default()))
    }

    /// Whether it is this host, and this port of it.
    pub(super) fn is(&self, host: Host, port: Option<u16>) -> bool {
        (self.port.is_none() || self.port == port) && without_final_dot(host) == self.host
    }
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = match text.rsplit_once(':') {
            // In `[::1]` the last colon is the address's own.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| AllowedHostError)?)),
            _ => (text, None),
        };
        let host = Host::parse(host).map_err(|_| AllowedHostError)?;
        Ok(Self { host: without_final_dot(host), port })
    }
}

/// `example.com.` is `example.com`, written absolutely.
fn without_final_dot(host: Host) -> Host {
    match host {
        Host::Domain(name) => Host::Domain(name.trim_end_matches('.').to_owned()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(allowed: &str, url: &str) -> bool {
        allowed.parse::<AllowedHost>().expect(allowed).covers(&url.parse().expect(url))
    }

    #[test]
    fn a_host_means_all_its_ports_and_a_port_only_itself() {
        assert!(covers("crm.internal", "https://crm.internal/x"));
        assert!(covers("crm.internal", "http://CRM.internal.:8080/x"));
        assert!(covers("crm.internal:80", "http://crm.internal/x"));
        assert!(!covers("crm.internal:8080", "http://crm.internal/x"));
        assert!(!covers("crm.internal", "https://evil.crm.internal/"));
        assert!(!covers("crm.internal", "https://crm.internal.evil.example/"));
    }

    #[test]
    fn an_address_is_the_same_in_every_notation() {
        assert!(covers("127.0.0.1:9000", "http://0x7f.1:9000/"));
        assert!(covers("[::1]:9000", "http://[0:0::1]:9000/"));
        assert!(covers("[::1]", "http://[::1]:1/"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", ":80", "http://crm.internal", "crm.internal:http", "crm.internal:70000", "::1", "a b", "crm/x"]
        {
            assert_eq!(text.parse::<AllowedHost>(), Err(AllowedHostError), "{text}");
        }
    }
}
