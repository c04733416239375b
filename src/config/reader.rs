//! Reads settings out of their layers, and gathers what is wrong with them.

use figment::Figment;
use secrecy::SecretString;

use super::{
    layers::{self, ConfigFile, DEFAULTS, KEYS, Layer, Meaning, OAUTH_KEY},
    oauth::Unmatched,
    problem::{Problem, Problems, Warning},
};
use crate::spelling;

/// The layer of the environment.
const ENVIRONMENT: &str = "the environment";

/// What this version accepts without having a use for it.
const UNSUPPORTED: [(&str, &str); 2] = [
    ("nats_url", "nodes hear of each other through the database"),
    ("otel_exporter_otlp_endpoint", "no traces are exported"),
];

pub(super) struct Reader {
    figment: Figment,
    oauth: Unmatched,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Reader {
    /// Over the defaults.
    pub(super) fn new() -> Self {
        let defaults = Layer::new("the defaults", DEFAULTS.map(|(key, value)| (key, value.to_owned())));
        Self {
            figment: Figment::from(defaults),
            oauth: Unmatched::default(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Lays `file` over what is there.
    pub(super) fn add_file(&mut self, file: &ConfigFile) {
        let table = match file.parse() {
            Ok(table) => table,
            Err(Problems(problems)) => return self.problems.extend(problems),
        };
        let mut values = Vec::new();
        for (key, value) in &table {
            match KEYS.into_iter().find(|known| known == key) {
                Some(OAUTH_KEY) => self.problems.extend(self.oauth.add_file(&file.name, value)),
                Some(known) => match text(value) {
                    Some(text) => values.push((known, text)),
                    None => self.problems.push(not_text(&in_file(&file.name, key))),
                },
                None => {
                    let hint = spelling::hint(key, KEYS);
                    self.problems
                        .push(Problem::about(in_file(&file.name, key), format!("there is no such setting{hint}")));
                }
            }
        }
        self.lay(Layer::new(&file.name, values));
    }

    /// Lays the environment over what is there. An empty variable is as good as none.
    pub(super) fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut values = Vec::new();
        let set = variables.into_iter().filter(|(name, value)| layers::is_ours(name) && !value.is_empty());
        for (name, value) in set {
            match layers::meaning(&name) {
                Meaning::Key(key) => values.push((key, value)),
                Meaning::OAuth(rest) => self.oauth.add_variable(rest, value),
                Meaning::File => {}
                Meaning::Unknown => {
                    let known: Vec<_> = layers::variables().collect();
                    let hint = spelling::hint(&name, known.iter().map(String::as_str));
                    self.warnings.push(Warning(format!("{name}: there is no such setting{hint}")));
                }
            }
        }
        self.lay(Layer::new(ENVIRONMENT, values));
    }

    fn lay(&mut self, layer: Layer) {
        self.figment = std::mem::take(&mut self.figment).merge(layer);
    }

    /// The value of `key`. `None` where it is not set, or is wrong; then the problem is noted.
    pub(super) fn read<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problems.push(Problem::about(self.name_of(key), message));
                None
            }
        }
    }

    /// The secret of `key`, without which there is no start; `otherwise` says how to come by one.
    pub(super) fn require(&mut self, key: &str, otherwise: &str) -> Option<SecretString> {
        let secret = self.secret(key);
        if secret.is_none() {
            self.missing(key, otherwise);
        }
        secret
    }

    /// The secret of `key`, if there is one.
    pub(super) fn secret(&self, key: &str) -> Option<SecretString> {
        self.text(key).filter(|text| !text.trim().is_empty()).map(SecretString::from)
    }

    /// Notes that `key` has to be set; `otherwise` says to what.
    pub(super) fn missing(&mut self, key: &str, otherwise: &str) {
        self.problems.push(Problem::new(key, otherwise));
    }

    /// Says which settings have no effect yet.
    pub(super) fn warn_of_unsupported(&mut self) {
        for (key, instead) in UNSUPPORTED {
            if self.is_set(key) {
                self.warn(Some((key, &format!("not supported by this version yet; {instead}"))));
            }
        }
    }

    /// Adds a warning about a setting, if there is one.
    pub(super) fn warn(&mut self, about: Option<(&str, &str)>) {
        let warning = about.map(|(key, message)| Warning(format!("{}: {message}", self.name_of(key))));
        self.warnings.extend(warning);
    }

    /// Whether a layer sets `key`.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.text(key).is_some()
    }

    pub(super) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    pub(super) fn take_oauth(&mut self) -> Unmatched {
        std::mem::take(&mut self.oauth)
    }

    /// What was read, if nothing was wrong anywhere.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Problems> {
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(Problems(self.problems)),
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.figment.find_value(key).ok()?.into_string()
    }

    /// The setting `key` as the operator wrote it, in the layer that decides.
    fn name_of(&self, key: &str) -> String {
        match self.figment.find_metadata(key) {
            Some(layer) if layer.name != ENVIRONMENT => in_file(&layer.name, key),
            _ => layers::variable(key),
        }
    }
}

/// A value of the file as the environment would spell it: text, a whole number, or a list of texts.
pub(super) fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

pub(super) fn not_text(setting: &str) -> Problem {
    Problem::about(setting, "must be text; put it in quotes")
}

pub(super) fn in_file(file: &str, key: &str) -> String {
    format!("`{key}` in {file}")
}
