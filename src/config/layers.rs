//! Where settings come from: the defaults, the file, the environment; each a layer over the one before.

use std::path::Path;

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use super::problem::{Problem, Problems};

/// Every setting, but those of connectors (`oauth`), as the file spells it.
pub(super) const KEYS: [&str; 44] = [
    "listen",
    "public_url",
    "trusted_proxies",
    "explorer",
    "metrics_token",
    "metrics_bind",
    "database_url",
    "database_pool",
    "encryption_keys",
    "jwt_secret",
    "connectors_dir",
    "allowed_origins",
    "allowed_hosts",
    "probe_interval",
    "unverified_after",
    "job_tick",
    "journal_keep",
    "history_keep",
    "log",
    "log_format",
    "max_body",
    "max_batch",
    "max_tokens",
    "max_depth",
    "max_complexity",
    "max_answer",
    "introspection",
    "max_aliases",
    "max_directives",
    "max_frame",
    "max_subscriptions",
    "max_sockets",
    "max_rate",
    "max_burst",
    "max_connections",
    "max_connections_per_address",
    "nats_url",
    "jwt_jwks_url",
    "jwt_issuer",
    "jwt_audience",
    "smtp_url",
    "mail_from",
    OTLP_KEY,
    OAUTH_KEY,
];

/// The defaults of what has one; those of the limits are [`super::Limits::default`].
pub(super) const DEFAULTS: [(&str, &str); 11] = [
    ("listen", "127.0.0.1:8080"),
    ("explorer", "on"),
    ("database_url", "sqlite://patchbay.db"),
    ("database_pool", "10"),
    ("probe_interval", "15m"),
    ("unverified_after", "24h"),
    ("job_tick", "5s"),
    ("journal_keep", "90d"),
    ("history_keep", "2y"),
    ("log", "info"),
    ("log_format", "text"),
];

/// The table of the connectors' settings.
pub(super) const OAUTH_KEY: &str = "oauth";
pub(super) const OAUTH_PREFIX: &str = "PATCHBAY_OAUTH_";
/// Names the file, and so cannot stand in it.
const CONFIG_VARIABLE: &str = "PATCHBAY_CONFIG";
const FILE: &str = "patchbay.toml";

/// OpenTelemetry names this variable, not we.
const OTLP_KEY: &str = "otel_exporter_otlp_endpoint";
const OTLP_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The environment variable of the setting `key`.
pub fn variable(key: &str) -> String {
    if key == OTLP_KEY { OTLP_VARIABLE.to_owned() } else { format!("PATCHBAY_{}", key.to_ascii_uppercase()) }
}

/// Whether a variable is meant for Patchbay.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("PATCHBAY_") || name == OTLP_VARIABLE
}

/// What a variable of ours sets.
pub(super) enum Meaning<'a> {
    Key(&'static str),
    /// Of a connector: what follows the prefix.
    OAuth(&'a str),
    /// Which file to read.
    File,
    Unknown,
}

pub(super) fn meaning(name: &str) -> Meaning<'_> {
    if let Some(rest) = name.strip_prefix(OAUTH_PREFIX) {
        return Meaning::OAuth(rest);
    }
    match KEYS.into_iter().find(|key| *key != OAUTH_KEY && variable(key) == name) {
        Some(key) => Meaning::Key(key),
        None if name == CONFIG_VARIABLE => Meaning::File,
        None => Meaning::Unknown,
    }
}

/// Every variable that has a meaning on its own.
pub(super) fn variables() -> impl Iterator<Item = String> {
    KEYS.into_iter().filter(|key| *key != OAUTH_KEY).map(variable).chain([CONFIG_VARIABLE.to_owned()])
}

/// A configuration file, read.
pub(super) struct ConfigFile {
    /// As messages name it.
    pub(super) name: String,
    pub(super) text: String,
}

impl ConfigFile {
    /// The file that PATCHBAY_CONFIG names, which has to be there; else `patchbay.toml`, if it is there.
    pub(super) fn find(variables: &[(String, String)]) -> Result<Option<Self>, Problem> {
        let named = variables.iter().find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
        let path = named.map_or(FILE, |(_, path)| path);
        if named.is_none() && !Path::new(path).exists() {
            return Ok(None);
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self { name: path.to_owned(), text })),
            Err(error) => {
                let setting = if named.is_some() { CONFIG_VARIABLE } else { FILE };
                Err(Problem::about(
                    setting,
                    format!("the file cannot be read ({error}); check its path and its rights"),
                ))
            }
        }
    }

    /// Its tables and values.
    pub(super) fn parse(&self) -> Result<toml::Table, Problems> {
        // The error's own display would quote the line, which may hold a secret.
        self.text.parse::<toml::Table>().map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = self.text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            Problem::about(format!("{}:{line}", self.name), format!("not TOML: {}", error.message())).into()
        })
    }
}

/// Settings from one place, as text.
pub(super) struct Layer {
    name: String,
    values: Dict,
}

impl Layer {
    pub(super) fn new(name: &str, values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let values = values.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text)));
        Self { name: name.to_owned(), values: values.collect() }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}
