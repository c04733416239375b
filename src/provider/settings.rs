//! This server's own OAuth clients at the providers, and whatever else a connector's file names by `{config.NAME}`.

use std::{collections::BTreeMap, fmt};

use secrecy::SecretString;

const CLIENT_ID: &str = "CLIENT_ID";
const CLIENT_SECRET: &str = "CLIENT_SECRET";

/// The settings of all connectors, by slug. Shows no value in `Debug`.
#[derive(Clone, Default)]
pub struct OAuthSettings {
    connectors: BTreeMap<String, Settings>,
}

/// The settings of one connector.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) client: Option<OAuthClient>,
    /// For `{config.NAME}`.
    pub(super) values: BTreeMap<String, String>,
}

/// This server as an OAuth client of a provider.
#[derive(Clone)]
pub(super) struct OAuthClient {
    pub(super) id: String,
    /// None for a public client (RFC 6749 §2.1).
    pub(super) secret: Option<SecretString>,
}

impl OAuthSettings {
    /// From what stands behind `PATCHBAY_OAUTH_<SLUG>_`: by slug, then by name in capitals (`CLIENT_ID`,
    /// `CLIENT_SECRET`, `DEVELOPER_TOKEN` …). What is empty counts as not set.
    pub fn new(given: impl IntoIterator<Item = (String, BTreeMap<String, String>)>) -> Self {
        Self { connectors: given.into_iter().map(|(slug, values)| (slug, Settings::new(values))).collect() }
    }

    /// The slugs that something is set for: the server warns of those that no connector has.
    pub fn slugs(&self) -> impl Iterator<Item = &str> {
        self.connectors.keys().map(String::as_str)
    }

    pub(super) fn of(&self, slug: &str) -> Option<&Settings> {
        self.connectors.get(slug)
    }
}

impl Settings {
    fn new(mut values: BTreeMap<String, String>) -> Self {
        values.retain(|_, value| !value.is_empty());
        let secret = values.get(CLIENT_SECRET).map(|secret| secret.as_str().into());
        let client = values.get(CLIENT_ID).map(|id| OAuthClient { id: id.clone(), secret });
        Self { client, values }
    }
}

impl fmt::Debug for OAuthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.connectors.iter().map(|(slug, settings)| (slug, settings.values.keys()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn settings(values: &[(&str, &str)]) -> OAuthSettings {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        OAuthSettings::new([("ads".to_owned(), values)])
    }

    #[test]
    fn a_client_without_a_secret_is_a_public_one() {
        let settings = settings(&[("CLIENT_ID", "id"), ("CLIENT_SECRET", "")]);
        let client = settings.of("ads").unwrap().client.as_ref().unwrap();
        assert_eq!(client.id, "id");
        assert!(client.secret.is_none());
    }

    #[test]
    fn a_secret_without_an_id_is_no_client() {
        assert!(settings(&[("CLIENT_SECRET", "s")]).of("ads").unwrap().client.is_none());
        assert!(settings(&[("CLIENT_ID", "")]).of("ads").unwrap().client.is_none());
    }

    #[test]
    fn debug_names_the_settings_and_shows_no_value() {
        let settings =
            settings(&[("CLIENT_ID", "planted"), ("CLIENT_SECRET", "planted"), ("DEVELOPER_TOKEN", "planted")]);
        let shown = format!("{settings:?}");
        assert!(shown.contains("DEVELOPER_TOKEN") && !shown.contains("planted"), "{shown}");
        let client = settings.of("ads").unwrap().client.as_ref().unwrap();
        assert_eq!(client.secret.as_ref().unwrap().expose_secret(), "planted");
    }
}
