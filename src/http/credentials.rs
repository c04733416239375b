//! Who a request says it is: `Authorization: Bearer` (RFC 6750, section 2.1) and the workspace it names.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use uuid::Uuid;

use crate::access::{Authenticator, Viewer};
use crate::error::{Error, Result};
use crate::graphql::Refusal;
use crate::ids::{self, Kind};

const WORKSPACE: &str = "patchbay-workspace";

/// Parameters of a URL that hold a credential where one is sent so (RFC 6750, section 2.3, and common usage).
const IN_URL: [&str; 8] = ["access_token", "token", "authorization", "bearer", "api_key", "apikey", "jwt", "id_token"];

/// A bearer, and the workspace in which it asks.
pub(super) struct Credentials {
    bearer: SecretString,
    workspace: Option<Uuid>,
}

impl Credentials {
    /// What an HTTP request's headers say; none when they say nothing.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`]: an `Authorization` that is no bearer, or more than one.
    pub(super) fn of_headers(headers: &HeaderMap) -> Result<Option<Self>> {
        Ok(bearer_of(headers)?.map(|bearer| Self { bearer, workspace: named_workspace(headers) }))
    }

    /// What the payload of `connection_init` says under the same names; none when it says nothing. Where it names no
    /// workspace, it means the one that the upgrade's headers name.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`]: an `authorization` that is no bearer.
    pub(super) fn of_payload(payload: &Value, upgraded: Option<Uuid>) -> Result<Option<Self>> {
        let named = |name: &str| {
            payload.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let Some(authorization) = named("authorization").filter(|value| !value.is_null()) else { return Ok(None) };
        let bearer = bearer(authorization.as_str())?;
        let workspace = named(WORKSPACE).filter(|value| !value.is_null()).map(|value| workspace(value.as_str()));
        Ok(Some(Self { bearer, workspace: workspace.or(upgraded) }))
    }

    /// Who it is, as of now.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the bearer is refused, and what else [`Authenticator::viewer`] says.
    pub(super) async fn verify(&self, authenticator: &Authenticator) -> Result<Viewer> {
        authenticator.viewer(self.bearer.expose_secret(), self.workspace).await
    }
}

/// The workspace that an HTTP request's headers name.
pub(super) fn named_workspace(headers: &HeaderMap) -> Option<Uuid> {
    headers.get(WORKSPACE).map(|value| workspace(value.to_str().ok()))
}

/// The bearer that an HTTP request's headers name; none when they name none.
///
/// # Errors
/// [`Error::Unauthenticated`]: an `Authorization` that is no bearer, or more than one.
pub(super) fn bearer_of(headers: &HeaderMap) -> Result<Option<SecretString>> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(authorization) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Error::Unauthenticated);
    }
    bearer(authorization.to_str().ok()).map(Some)
}

fn bearer(authorization: Option<&str>) -> Result<SecretString> {
    let (scheme, token) = authorization.and_then(|text| text.trim().split_once(' ')).ok_or(Error::Unauthenticated)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Error::Unauthenticated);
    }
    Ok(token.into())
}

/// A malformed id is like one that does not exist.
fn workspace(text: Option<&str>) -> Uuid {
    text.and_then(|text| ids::decode(Kind::Workspace, text)).unwrap_or(Uuid::nil())
}

/// Refuses a URL with a credential in it: proxies and browsers keep URLs.
pub(super) fn refuse_in_url(uri: &Uri) -> Option<Refusal> {
    let query = uri.query()?;
    let found = url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, _)| IN_URL.iter().any(|known| name.eq_ignore_ascii_case(known)));
    found.then(|| {
        Refusal::malformed(
            "A credential belongs in the header Authorization, never in a URL. Consider this one leaked.",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(authorization: &str) -> Result<Option<Credentials>> {
        Credentials::of_headers(&[(AUTHORIZATION, authorization.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn a_bearer_is_taken_whatever_the_case_of_its_scheme() {
        for text in ["Bearer abc.def", "bearer abc.def", "BEARER   abc.def "] {
            let credentials = of(text).unwrap().unwrap();
            assert_eq!(credentials.bearer.expose_secret(), "abc.def", "{text}");
        }
    }

    #[test]
    fn anything_else_in_authorization_is_refused_and_not_taken_for_nobody() {
        for text in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert!(matches!(of(text), Err(Error::Unauthenticated)), "{text}");
        }
        let payload = json!({ "authorization": 7 });
        assert!(matches!(Credentials::of_payload(&payload, None), Err(Error::Unauthenticated)));
    }

    #[test]
    fn no_credentials_are_nobody() {
        assert!(Credentials::of_headers(&HeaderMap::new()).unwrap().is_none());
        for payload in [json!(null), json!({}), json!({ "authorization": null })] {
            assert!(Credentials::of_payload(&payload, None).unwrap().is_none(), "{payload}");
        }
    }

    #[test]
    fn a_malformed_workspace_is_like_one_that_does_not_exist() {
        let payload = json!({ "Authorization": "Bearer x", "Patchbay-Workspace": "user_01" });
        assert_eq!(Credentials::of_payload(&payload, None).unwrap().unwrap().workspace, Some(Uuid::nil()));
    }

    #[test]
    fn a_credential_in_a_url_is_refused() {
        assert!(refuse_in_url(&"/graphql?query=%7Ba%7D&Access_Token=x".parse().unwrap()).is_some());
        assert!(refuse_in_url(&"/graphql?query=%7Btoken%7D".parse().unwrap()).is_none());
    }
}
