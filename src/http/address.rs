//! Where a request comes from: the address of the peer, or what a trusted proxy says of who asked it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{Extensions, HeaderMap};

use crate::config::TrustedProxies;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Bits of an IPv6 address that name a subscriber's network; the rest they choose freely (RFC 4291 §2.5.1).
const SUBSCRIBER: u32 = 64;

/// What a caller counts by: an IPv4 address, or the network of an IPv6 one. Handlers find it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CallerAddress(IpAddr);

impl CallerAddress {
    /// Where the last hop that is no trusted proxy is: `peer`, or an address of `X-Forwarded-For`, read from its end, where
    /// each proxy adds the one that asked it.
    pub(super) fn of(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let lines: Vec<_> =
            headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default()).collect();
        let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(|hop| hop_address(hop.trim()));
        let mut address = peer;
        while proxies.contains(address) {
            match hops.next() {
                Some(Some(before)) => address = before,
                // Not written by a proxy that can be trusted.
                Some(None) | None => break,
            }
        }
        address.into()
    }

    /// That of a request; of one that no server took in, the address that stands for none.
    pub(super) fn of_request(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
    }
}

impl From<IpAddr> for CallerAddress {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> SUBSCRIBER << SUBSCRIBER).into()),
            address => address,
        })
    }
}

/// An address as proxies write it: alone, or with a port.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn address(text: &str) -> CallerAddress {
        CallerAddress::from(text.parse::<IpAddr>().unwrap())
    }

    fn proxies(text: &str) -> TrustedProxies {
        let variables =
            [("PATCHBAY_ENCRYPTION_KEYS", "x"), ("PATCHBAY_JWT_SECRET", "x"), ("PATCHBAY_TRUSTED_PROXIES", text)];
        Config::from_variables(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .unwrap()
            .trusted_proxies
    }

    fn found(peer: &str, forwarded: &[&str]) -> CallerAddress {
        let headers = forwarded.iter().map(|line| ("x-forwarded-for".parse().unwrap(), line.parse().unwrap()));
        CallerAddress::of(peer.parse().unwrap(), &headers.collect(), &proxies("10.0.0.7,10.1.0.0/16,fd00::/8"))
    }

    #[test]
    fn what_a_trusted_proxy_says_is_taken_and_nothing_else() {
        for (peer, forwarded, expected) in [
            ("10.0.0.7", &["203.0.113.9"][..], "203.0.113.9"),
            ("10.0.0.7", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.7", &["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.7", &["198.51.100.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            ("::ffff:10.0.0.7", &["203.0.113.9:4711"], "203.0.113.9"),
            ("fd00::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.7", &["203.0.113.9, unknown"], "10.0.0.7"),
            ("10.0.0.7", &[], "10.0.0.7"),
            ("10.0.0.7", &["10.1.0.1"], "10.1.0.1"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.8", &["198.51.100.1"], "10.0.0.8"),
        ] {
            assert_eq!(found(peer, forwarded), address(expected), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn the_addresses_of_one_network_of_ipv6_are_one_caller() {
        assert_eq!(address("2001:db8:0:1::1"), address("2001:db8:0:1:ffff::9"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        assert_eq!(address("::ffff:203.0.113.9"), address("203.0.113.9"));
        assert_ne!(address("203.0.113.9"), address("203.0.113.8"));
    }
}
