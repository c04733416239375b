//! Patchbay's own database, to which nothing leads that a person types or a file names, whatever the configuration allows: not
//! over HTTP, and not as a data source, under whichever of its addresses.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use url::Host;

use super::outbound::Resolve;

/// Where Patchbay's own database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDatabase {
    host: String,
    port: u16,
    database: String,
}

impl OwnDatabase {
    /// The database of that name at `host` and `port`.
    pub fn new(host: impl Into<String>, port: u16, database: impl Into<String>) -> Self {
        Self { host: host.into(), port, database: database.into() }
    }

    pub(super) fn is_on(&self, port: u16) -> bool {
        self.port == port
    }

    /// Whether `found`, on that port, is where it is. `database`: which one is asked for there, where that is said; another
    /// one of the same server is another data source.
    pub(super) async fn is_at(
        &self,
        resolver: &dyn Resolve,
        found: &[IpAddr],
        port: u16,
        database: Option<&str>,
    ) -> bool {
        if port != self.port || database.is_some_and(|asked| asked != self.database) {
            return false;
        }
        let own = match Host::parse(&self.host) {
            Ok(Host::Ipv4(address)) => vec![address.into()],
            Ok(Host::Ipv6(address)) => vec![address.into()],
            Ok(Host::Domain(_)) | Err(_) => match self.host.parse() {
                Ok(address) => vec![address],
                Err(_) => resolver.resolve(&self.host).await.unwrap_or_default(),
            },
        };
        found.iter().any(|found| own.iter().any(|own| is_same(*own, *found)))
    }
}

/// Whether two addresses are of one machine, as far as this one can tell.
fn is_same(one: IpAddr, other: IpAddr) -> bool {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other || is_of_this_machine(one) && is_of_this_machine(other)
}

/// A machine opens sockets at its own addresses only.
fn is_of_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::outbound::SystemResolver;

    #[tokio::test]
    async fn it_is_known_under_each_of_its_addresses_and_by_its_name() {
        let is_at = async |own: &str, found: &str, port: u16, database: Option<&str>| {
            let own = OwnDatabase::new(own, 5432, "patchbay");
            own.is_at(&SystemResolver, &[found.parse().unwrap()], port, database).await
        };
        for found in ["127.0.0.1", "127.0.0.9", "::1", "0.0.0.0", "::ffff:127.0.0.1", "::"] {
            for own in ["127.0.0.1", "localhost", "::1"] {
                assert!(is_at(own, found, 5432, None).await, "{own} {found}");
                assert!(is_at(own, found, 5432, Some("patchbay")).await, "{own} {found}");
                assert!(!is_at(own, found, 5432, Some("sales")).await, "{own} {found}");
                assert!(!is_at(own, found, 5433, None).await, "{own} {found}");
            }
            assert!(!is_at("192.0.2.7", found, 5432, None).await, "{found}");
        }
        assert!(is_at("192.0.2.7", "192.0.2.7", 5432, None).await);
        assert!(!is_at("192.0.2.7", "192.0.2.8", 5432, None).await);
    }
}
