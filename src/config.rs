//! What the operator decides: defaults, then `patchbay.toml`, then the environment, checked as a whole before anything
//! starts.
//!
//! The file and the environment know the same settings: `listen` in the file is `PATCHBAY_LISTEN` in the environment. A
//! [`Problem`] names the setting as the operator wrote it and says what to do; neither it nor `Debug` ever shows a
//! value. Settings whose meaning belongs to another room (keys, hosts) are handed on as they are: that room judges
//! them, and whoever builds it reports through [`Problem::new`], so that all complaints read alike.

mod identity_provider;
mod keep;
mod layers;
mod limits;
mod mail;
mod oauth;
mod parse;
mod problem;
mod proxies;
mod reader;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chrono::TimeDelta;
use secrecy::SecretString;
use url::{Host, Url};

pub use self::{
    identity_provider::IdentityProvider,
    keep::JournalKeep,
    layers::variable,
    limits::Limits,
    mail::MailSettings,
    oauth::OAuthSettings,
    parse::LogFormat,
    problem::{Problem, Problems, Warning},
    proxies::TrustedProxies,
};
use self::{layers::ConfigFile, oauth::Unmatched, reader::Reader};

/// Everything that can be set, checked.
#[derive(Debug)]
pub struct Config {
    /// Where to listen; port 0 means any free one.
    pub listen: SocketAddr,
    /// See [`Config::public_url`].
    public_url: Option<Url>,
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// Whether there is a page `/explorer`.
    pub explorer: bool,
    /// The bearer without which `/metrics` says nothing; none where everyone may read it.
    pub metrics_token: Option<SecretString>,
    /// Where `/metrics` is served alone; none where it is served at `listen`.
    pub metrics_bind: Option<SocketAddr>,
    /// `sqlite://…` or `postgres://…`; may hold a password.
    pub database_url: SecretString,
    /// How many handles of the database requests and jobs share; at least one.
    pub database_pool: u32,
    /// `name:base64,…`, for the vault.
    pub encryption_keys: SecretString,
    /// Signs and verifies our own tokens; there are none without it.
    pub jwt_secret: Option<SecretString>,
    /// Whose tokens are believed beside ours. Without a secret it is there.
    pub identity_provider: Option<IdentityProvider>,
    /// The mail server that takes reminders; without one there are none.
    pub mail: Option<MailSettings>,
    /// A folder with more connector files; it exists.
    pub connectors_dir: Option<PathBuf>,
    /// Origins of front ends as browsers send them (RFC 6454 §6.2): `https://app.example`.
    pub allowed_origins: Vec<String>,
    /// `host` or `host:port` each: private hosts that may be called, also by plain http. For the provider to judge.
    pub allowed_hosts: Vec<String>,
    /// How often an authorization is asked whether it still works.
    pub probe_interval: Duration,
    /// How long what is asked may go without being seen to work before it counts as disconnected.
    pub unverified_after: Duration,
    /// How often the jobs look for what is due.
    pub job_tick: Duration,
    /// How long the journal is kept.
    pub journal_keep: JournalKeep,
    /// How long disconnections that ended, incidents and what was removed are kept.
    pub history_keep: TimeDelta,
    pub limits: Limits,
    pub logging: Logging,
    /// What is odd, but no reason not to start.
    pub warnings: Vec<Warning>,
    oauth: Unmatched,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Directives of `tracing_subscriber::EnvFilter`; they parse.
    pub filter: String,
    pub format: LogFormat,
}

/// The variables that `demo` heeds; the rest of its configuration is its own.
const HEEDED_BY_DEMO: [&str; 3] = ["PATCHBAY_LISTEN", "PATCHBAY_LOG", "PATCHBAY_LOG_FORMAT"];

impl Config {
    /// The configuration of this process: the file that `PATCHBAY_CONFIG` names, else `patchbay.toml` where there is
    /// one, and `variables` (of [`environment`]) above it.
    pub fn load(variables: Vec<(String, String)>) -> Result<Self, Problems> {
        let file = ConfigFile::find(&variables)?;
        Self::build(file, variables)
    }

    /// A configuration without a file.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        Self::build(None, variables)
    }

    /// What `demo` runs with: from `variables` only where to listen and what to log; `own` decides the rest, in
    /// variables as well.
    pub fn for_demo(
        variables: &[(String, String)],
        own: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let heeded = variables.iter().filter(|(name, _)| HEEDED_BY_DEMO.contains(&name.as_str())).cloned();
        Self::build(None, heeded.chain(own))
    }

    fn build(
        file: Option<ConfigFile>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let mut reader = Reader::new();
        if let Some(file) = file {
            reader.add_file(&file);
        }
        reader.add_environment(variables);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    /// Reads every setting before it gives up on any, so that all that is wrong can be said at once.
    fn read(reader: &mut Reader) -> Option<Self> {
        let listen = reader.read("listen", parse::address);
        let public_url = reader.read("public_url", parse::public_url);
        let trusted_proxies = reader.read("trusted_proxies", proxies::parse).unwrap_or_default();
        let explorer = reader.read("explorer", parse::switch);
        let metrics_token = reader.secret("metrics_token");
        let metrics_bind = reader.read("metrics_bind", parse::address);
        let database_url = reader.read("database_url", parse::database_url);
        let database_pool = reader.read("database_pool", parse::pool);
        let encryption_keys = reader.require("encryption_keys", NO_ENCRYPTION_KEYS);
        let jwt_secret = reader.secret("jwt_secret");
        let identity_provider = identity_provider::read(reader);
        if jwt_secret.is_none() && !identity_provider::is_meant(reader) {
            reader.missing("jwt_secret", NO_JWT_SECRET);
        }
        let mail = mail::read(reader);
        let connectors_dir = reader.read("connectors_dir", parse::folder);
        let allowed_origins = reader.read("allowed_origins", parse::origins).unwrap_or_default();
        let allowed_hosts = reader.read("allowed_hosts", parse::list).unwrap_or_default();
        let probe_interval = reader.read("probe_interval", parse::probe_interval);
        let unverified_after = reader.read("unverified_after", parse::unverified_after);
        let job_tick = reader.read("job_tick", parse::job_tick);
        let journal_keep = reader.read("journal_keep", keep::parse);
        let history_keep = reader.read("history_keep", parse::history_keep);
        let limits = limits::read(reader);
        let logging = Logging::read(reader);
        reader.warn_of_unsupported();
        reader.warn(risk(listen?, public_url.as_ref()));
        Some(Self {
            listen: listen?,
            public_url,
            trusted_proxies,
            explorer: explorer?,
            metrics_token,
            metrics_bind,
            database_url: database_url?,
            database_pool: database_pool?,
            encryption_keys: encryption_keys?,
            jwt_secret,
            identity_provider,
            mail,
            connectors_dir,
            allowed_origins,
            allowed_hosts,
            probe_interval: probe_interval?,
            unverified_after: unverified_after?,
            job_tick: job_tick?,
            journal_keep: journal_keep?,
            history_keep: history_keep?,
            limits,
            logging: logging?,
            warnings: reader.take_warnings(),
            oauth: reader.take_oauth(),
        })
    }

    /// The address by which browsers and providers reach this server, an origin; where none is set, that of `bound`,
    /// the socket it listens on (an address that stands for every interface is reached as `localhost`).
    pub fn public_url(&self, bound: SocketAddr) -> Result<Url, Problem> {
        if let Some(url) = &self.public_url {
            return Ok(url.clone());
        }
        let host = if bound.ip().is_unspecified() { format!("localhost:{}", bound.port()) } else { bound.to_string() };
        Url::parse(&format!("http://{host}")).map_err(|_| Problem::new("public_url", "not set; set it"))
    }
}

impl Logging {
    /// What `variables` say about logging alone, for commands that need no other setting.
    pub fn from_variables(variables: &[(String, String)]) -> Result<Self, Problems> {
        let ours = variables.iter().filter(|(name, _)| name.starts_with("PATCHBAY_LOG")).cloned();
        let mut reader = Reader::new();
        reader.add_environment(ours);
        let logging = Self::read(&mut reader);
        reader.finish(logging)
    }

    fn read(reader: &mut Reader) -> Option<Self> {
        let filter = reader.read("log", parse::filter);
        let format = reader.read("log_format", parse::log_format);
        Some(Self { filter: filter?, format: format? })
    }
}

/// What may well work, but not as safely, or not for everyone.
fn risk(listen: SocketAddr, public_url: Option<&Url>) -> Option<(&'static str, &'static str)> {
    match public_url {
        None if listen.ip().is_loopback() => None,
        None => Some((
            "public_url",
            "not set, so people are sent to an address that only works on this machine or network; set it",
        )),
        Some(url) if url.scheme() == "https" || is_local(url) => None,
        Some(_) => Some(("public_url", "plain http: whoever is on the way can read sign-ins; put https in front")),
    }
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// This process's environment. A value of ours that is not UTF-8 is a problem; what is not ours is none of our
/// business.
pub fn environment() -> Result<Vec<(String, String)>, Problems> {
    let ours = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| layers::is_ours(name));
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(Problem::about(name, "not UTF-8; set it to text").into()),
    })
    .collect()
}

const NO_ENCRYPTION_KEYS: &str = "not set, and nothing is stored unsealed; make a key with \
     `echo \"main:$(openssl rand -base64 32)\"` and keep a copy: without it no stored secret opens";
const NO_JWT_SECRET: &str = "not set; make one with `openssl rand -base64 48`, \
     or let an identity provider say who people are (PATCHBAY_JWT_JWKS_URL)";
