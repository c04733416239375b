//! The operator's mail server, as its URL says: where it is, who signs in, and how it is encrypted.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use lettre::transport::smtp::authentication::Credentials;
use percent_encoding::percent_decode_str;
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::TlsConnector;
use url::Url;

use super::BadMailSetting;

/// Relays among servers (RFC 5321 §4.5.4.2), submission (RFC 6409 §3.1), submission over TLS (RFC 8314 §3.3).
const PORT: u16 = 25;
const SUBMISSION_PORT: u16 = 587;
const SUBMISSIONS_PORT: u16 = 465;

const FORM: &str = "must be smtp://HOST, smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST (special \
                    characters of a user and a password percent-encoded), with nothing after it but ?tls=… for smtp";
const TLS: &str = "tls= must be none, opportunistic or required";
const TLS_OF_SMTPS: &str = "smtps is always encrypted; leave tls= out, or write smtp";
const NO_TLS: &str = "TLS cannot be set up, since this system has no certificates of authorities; install them (package \
                      ca-certificates), name a file with SSL_CERT_FILE, or write ?tls=none";

pub(super) struct Server {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    /// None where nothing is ever encrypted.
    pub(super) tls: Option<Tls>,
    pub(super) credentials: Option<Credentials>,
    /// The password in the forms in which a server may repeat it.
    repeated: Vec<SecretString>,
}

/// What encrypts a connection to a server that proves to be the one that is meant.
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    None,
    /// With STARTTLS (RFC 3207), where the server offers it.
    Opportunistic,
    /// With STARTTLS, or there is no letter.
    Required,
    /// From the first byte.
    Always,
}

/// What a URL says.
pub(super) struct Meant {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) user: Option<(String, SecretString)>,
}

impl Server {
    pub(super) fn parse(url: &SecretString) -> Result<Self, BadMailSetting> {
        let Meant { host, port, encryption, user } =
            Meant::read(url.expose_secret()).map_err(|message| BadMailSetting::Url(message.to_owned()))?;
        let tls = match encryption {
            Encryption::None => None,
            Encryption::Opportunistic | Encryption::Required | Encryption::Always => Some(verified(&host)?),
        };
        let repeated = user.iter().flat_map(|(user, password)| forms(user, password.expose_secret())).collect();
        let credentials = user.map(|(user, password)| Credentials::new(user, password.expose_secret().to_owned()));
        Ok(Self { host, port, encryption, tls, credentials, repeated })
    }

    /// Whether `text` has the password in it.
    pub(super) fn gives_away(&self, text: &str) -> bool {
        self.repeated.iter().any(|secret| text.contains(secret.expose_secret()))
    }

    /// Whether the operator agrees that nothing is encrypted.
    pub(super) fn is_clear(&self) -> bool {
        self.encryption == Encryption::None
    }
}

impl Meant {
    /// Errors say what is wanted, and repeat nothing.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim()).map_err(|_| FORM)?;
        let bare = matches!(url.path(), "" | "/") && url.fragment().is_none();
        let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
        let host = host.filter(|host| bare && is_host(host)).ok_or(FORM)?;
        let user = user(&url)?;
        let local = is_local(&host);
        let (encryption, port) = match url.scheme() {
            "smtps" if url.query().is_some() => return Err(TLS_OF_SMTPS),
            "smtps" => (Encryption::Always, SUBMISSIONS_PORT),
            "smtp" => {
                let usual = match user {
                    _ if local => Encryption::None,
                    Some(_) => Encryption::Required,
                    None => Encryption::Opportunistic,
                };
                (encryption(&url)?.unwrap_or(usual), if user.is_some() { SUBMISSION_PORT } else { PORT })
            }
            _ => return Err(FORM),
        };
        Ok(Self { host, port: url.port().unwrap_or(port), encryption, user })
    }
}

/// Both, or none.
fn user(url: &Url) -> Result<Option<(String, SecretString)>, &'static str> {
    let decoded = |part| percent_decode_str(part).decode_utf8().map_err(|_| FORM);
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None | Some("")) => Err("a user goes with a password; give both, or none"),
        (user, Some(password)) => Ok(Some((decoded(user)?.into_owned(), decoded(password)?.into_owned().into()))),
    }
}

fn encryption(url: &Url) -> Result<Option<Encryption>, &'static str> {
    match url.query() {
        None => Ok(None),
        Some("tls=none") => Ok(Some(Encryption::None)),
        Some("tls=opportunistic") => Ok(Some(Encryption::Opportunistic)),
        Some("tls=required") => Ok(Some(Encryption::Required)),
        Some(query) if query.starts_with("tls=") => Err(TLS),
        Some(_) => Err(FORM),
    }
}

fn is_host(host: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !host.is_empty() && host.bytes().all(part)
}

/// On this machine: nobody is on the way there, and its certificate, if it has one, is rarely anybody's.
fn is_local(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// TLS whose certificates the platform verifies, `SSL_CERT_FILE` included.
fn verified(host: &str) -> Result<Tls, BadMailSetting> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| BadMailSetting::Url(FORM.to_owned()))?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|_| BadMailSetting::Url(NO_TLS.to_owned()))?
        .with_no_client_auth();
    Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
}

/// A password as it is, and as AUTH PLAIN (RFC 4616) and AUTH LOGIN carry it.
fn forms(user: &str, password: &str) -> [SecretString; 3] {
    [password.to_owned(), STANDARD.encode(password), STANDARD.encode(format!("\0{user}\0{password}"))].map(Into::into)
}
