//! What an authorization knows: the secrets that open a provider, and what its answers said about itself.
//!
//! A [`Credential`] is serialised and sealed as a whole, by the vault. Nothing here shows a secret in `Debug`.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::catalogue::Connector;

/// What one authorization knows.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Credential {
    /// The connector's fields: `shop`, and with a key or password `api_key`, `username`, `password` and the like.
    pub fields: BTreeMap<String, String>,
    /// For connectors that sign in by OAuth.
    pub oauth: Option<OAuthTokens>,
    /// Kept of the token answer, for `{token.NAME}`.
    pub token: BTreeMap<String, String>,
    /// Kept of the identity answer, for `{identity.NAME}`.
    pub identity: BTreeMap<String, String>,
}

/// The tokens of an OAuth grant, with what was said about them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OAuthTokens {
    #[serde(serialize_with = "exposed")]
    pub access_token: SecretString,
    /// In lower case: `bearer`, `bot` …
    pub token_type: String,
    #[serde(serialize_with = "maybe_exposed")]
    pub refresh_token: Option<SecretString>,
    /// `None`: the provider did not say.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// The scopes granted so far; an answer that is silent about them leaves them as they are (RFC 6749 §6).
    pub scopes: Vec<String>,
    /// When the grant itself ends; see [`Grant::ends_at`].
    pub ends_at: Option<DateTime<Utc>>,
}

/// What the token endpoint granted.
#[derive(Debug, Clone)]
pub struct Grant {
    pub credential: Credential,
    /// The scopes granted; those that were asked for where the provider does not say (RFC 6749 §5.1).
    pub scopes: Vec<String>,
    /// Scopes that the connector cannot do without, and that were not granted.
    pub missing_required: Vec<String>,
    /// Scopes that it can do without, and that were not granted.
    pub missing_optional: Vec<String>,
    /// When the grant itself ends and nothing renews it. `None`: it renews itself, or nobody knows an end.
    pub ends_at: Option<DateTime<Utc>>,
}

/// An account at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The provider's own, without control characters, at most [`Account::LONGEST`] characters.
    pub id: String,
    /// The id where the provider gives no name; cut to [`Account::LONGEST`] characters.
    pub name: String,
}

impl Account {
    /// Characters.
    pub const LONGEST: usize = 255;
}

impl Credential {
    /// What nobody may see: the tokens, and the fields that the connector calls secret.
    pub(super) fn secrets(&self, connector: &Connector) -> Vec<SecretString> {
        let fields = self.fields.iter().filter(|(name, _)| connector.field(name).is_none_or(|field| field.secret));
        let tokens = self.oauth.iter().flat_map(|oauth| [Some(&oauth.access_token), oauth.refresh_token.as_ref()]);
        fields.map(|(_, value)| value.as_str().into()).chain(tokens.flatten().cloned()).collect()
    }
}

/// Tells which values there are, and none of them.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("fields", &self.fields.keys())
            .field("oauth", &self.oauth)
            .field("token", &self.token.keys())
            .field("identity", &self.identity.keys())
            .finish()
    }
}

/// Serialising a credential is the step before sealing it: the one place where its secrets may come out.
fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn maybe_exposed<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ExposeSecret::expose_secret).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        let planted = |name: &str| BTreeMap::from([(name.to_owned(), format!("planted-{name}"))]);
        Credential {
            fields: planted("password"),
            oauth: Some(OAuthTokens {
                access_token: "planted-access".into(),
                token_type: "Bearer".to_owned(),
                refresh_token: Some("planted-refresh".into()),
                access_expires_at: None,
                scopes: vec!["read".to_owned()],
                ends_at: None,
            }),
            token: planted("kept"),
            identity: planted("told"),
        }
    }

    #[test]
    fn debug_names_what_there_is_and_shows_no_value() {
        let shown = format!("{:?}", credential());
        assert!(shown.contains("password") && shown.contains("read"), "{shown}");
        assert!(!shown.contains("planted"), "{shown}");
    }

    #[test]
    fn a_credential_survives_being_serialised() {
        let text = serde_json::to_string(&credential()).unwrap();
        let back: Credential = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert_eq!(back.oauth.unwrap().refresh_token.unwrap().expose_secret(), "planted-refresh");
    }
}
