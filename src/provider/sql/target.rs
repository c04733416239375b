//! Where a credential leads: which database, as whom, and how it is protected on the way.

use std::{net::Ipv6Addr, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::RootCertStore;
use secrecy::SecretString;
use url::Host;

use super::super::{Credential, Failure, api::nothing_to_show};
use crate::catalogue::Driver;

/// A database and who asks it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) driver: Driver,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) username: String,
    pub(super) password: SecretString,
    pub(super) tls: Tls,
}

/// As PostgreSQL's `sslmode` (<https://www.postgresql.org/docs/current/libpq-ssl.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    Disable,
    /// Where the database offers it, with whatever certificate.
    Prefer,
    /// With whatever certificate.
    Require,
    /// With a certificate of the host's name, from an authority that this server's system trusts.
    VerifyFull,
}

impl Target {
    /// The target of a credential's fields.
    pub(super) fn of(driver: Driver, credential: &Credential) -> Result<Self, Failure> {
        let given = |name: &str| credential.fields.get(name).map(String::as_str);
        let field = |name: &str| given(name).ok_or_else(nothing_to_show);
        let port = given("port").map_or(Some(driver.default_port()), |port| port.parse().ok());
        Ok(Self {
            driver,
            host: host(field("host")?).ok_or_else(super::unreachable)?,
            port: port.ok_or_else(super::unreachable)?,
            database: field("database")?.to_owned(),
            username: field("username")?.to_owned(),
            password: field("password")?.into(),
            tls: match given("tls") {
                None | Some("prefer") => Tls::Prefer,
                Some("disable") => Tls::Disable,
                Some("require") => Tls::Require,
                Some("verify-full") => Tls::VerifyFull,
                Some(_) => return Err(nothing_to_show()),
            },
        })
    }

    /// The name that the certificate has to be of.
    pub(super) fn certified_name(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.trim_end_matches('.').to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }
}

/// A host as URLs have it, in whatever notation: an address is known as one. An IPv6 address may come without brackets.
fn host(text: &str) -> Option<Host> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Some(Host::Ipv6(address)),
        Err(_) => Host::parse(text).ok(),
    }
}

/// The authorities that this server's system trusts, as PEM; read once.
pub(super) fn trusted_roots() -> &'static [u8] {
    static ROOTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut usable = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs().certs;
        // One that cannot be used would spoil them all.
        let found = found.into_iter().filter(|certificate| usable.add(certificate.clone()).is_ok());
        found.flat_map(|certificate| pem(&certificate).into_bytes()).collect()
    });
    &ROOTS
}

/// A certificate as text (RFC 7468).
fn pem(certificate: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(certificate))
}
