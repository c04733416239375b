//! Settings of connectors: OAuth clients, and whatever else a connector's file names by `{config.NAME}`.
//!
//! Where the slug ends and the name begins in `PATCHBAY_OAUTH_GOOGLE_ADS_CLIENT_ID` only the catalogue knows. So they
//! are kept as they came until it is there.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{
    Config,
    layers::OAUTH_PREFIX,
    problem::{Problem, Warning},
    reader::{in_file, not_text, text},
};
use crate::spelling;

/// Connectors' settings before the catalogue is known.
#[derive(Debug, Default)]
pub(super) struct Unmatched {
    /// Slug, name and value; from the file, below the environment.
    file: Vec<(String, String, SecretString)>,
    /// What follows the prefix, and the value.
    environment: Vec<(String, SecretString)>,
}

impl Unmatched {
    /// Takes `[oauth.SLUG] name = "…"`; returns what is wrong in it.
    pub(super) fn add_file(&mut self, file: &str, oauth: &toml::Value) -> Vec<Problem> {
        let Some(connectors) = oauth.as_table() else {
            return vec![Problem::about(in_file(file, "oauth"), "must be a table; write [oauth.SLUG]")];
        };
        let mut problems = Vec::new();
        for (slug, settings) in connectors {
            let path = format!("oauth.{slug}");
            let Some(settings) = settings.as_table() else {
                problems.push(Problem::about(in_file(file, &path), format!("must be a table; write [{path}]")));
                continue;
            };
            for (name, value) in settings {
                match text(value) {
                    Some(value) => self.file.push((slug.clone(), name.to_ascii_uppercase(), value.into())),
                    None => problems.push(not_text(&in_file(file, &format!("{path}.{name}")))),
                }
            }
        }
        problems
    }

    /// Takes `PATCHBAY_OAUTH_` + `rest`.
    pub(super) fn add_variable(&mut self, rest: &str, value: String) {
        self.environment.push((rest.to_owned(), value.into()));
    }
}

/// By slug, then by name in capitals: `CLIENT_ID`, `CLIENT_SECRET`, `DEVELOPER_TOKEN` …
pub type OAuthSettings = BTreeMap<String, BTreeMap<String, SecretString>>;

impl Config {
    /// What is set for each connector of the catalogue, whose `slugs` these are, and a warning for each setting that belongs to none
    /// of them.
    pub fn oauth_settings(&self, slugs: &[&str]) -> (OAuthSettings, Vec<Warning>) {
        let mut settings = OAuthSettings::new();
        let mut warnings = Vec::new();
        for (slug, name, value) in &self.oauth.file {
            if slugs.contains(&slug.as_str()) {
                settings.entry(slug.clone()).or_default().insert(name.clone(), value.clone());
            } else {
                let hint = spelling::hint(slug, slugs.iter().copied());
                let warning = format!("`oauth.{slug}` of the file: there is no connector `{slug}`{hint}");
                warnings.extend(Some(Warning(warning)).filter(|warning| !warnings.contains(warning)));
            }
        }
        for (rest, value) in &self.oauth.environment {
            match split(rest, slugs) {
                Some((slug, name)) => {
                    settings.entry(slug.to_owned()).or_default().insert(name.to_owned(), value.clone());
                }
                None => warnings.push(Warning(format!(
                    "{OAUTH_PREFIX}{rest}: there is no connector of this name{}",
                    hint_for(rest, slugs)
                ))),
            }
        }
        (settings, warnings)
    }
}

/// `GOOGLE_ADS_CLIENT_ID` is the `CLIENT_ID` of `google-ads`, even where there is a `google`: the longest slug wins.
fn split<'a, 'b>(rest: &'b str, slugs: &[&'a str]) -> Option<(&'a str, &'b str)> {
    let matching = slugs.iter().filter_map(|slug| {
        let name = rest.strip_prefix(&in_capitals(slug))?.strip_prefix('_')?;
        (!name.is_empty()).then_some((*slug, name))
    });
    matching.max_by_key(|(slug, _)| slug.len())
}

fn hint_for(rest: &str, slugs: &[&str]) -> String {
    let given = ["_CLIENT_ID", "_CLIENT_SECRET"].iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    let known: Vec<_> = slugs.iter().map(|slug| in_capitals(slug)).collect();
    spelling::hint(given, known.iter().map(String::as_str))
}

/// A slug as the environment has it.
fn in_capitals(slug: &str) -> String {
    slug.to_ascii_uppercase().replace('-', "_")
}
