//! The proxies in front of this server, whose word is taken for where a request comes from.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks of proxies that put the address of who asked them at the end of `X-Forwarded-For`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether a proxy of this address is trusted.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads addresses and networks, separated by commas: `10.0.0.7,10.1.0.0/16,fd00::/8`.
pub(super) fn parse(text: &str) -> Result<TrustedProxies, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let networks = parts.map(|part| part.parse().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from)));
    networks.collect::<Option<_>>().map(TrustedProxies).ok_or_else(|| {
        "must be addresses or networks, separated by commas; write for example 10.0.0.7,10.1.0.0/16".to_owned()
    })
}
