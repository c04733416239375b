//! A token answer as providers really send it, brought into the shape that RFC 6749 §5.1 promised, and what follows
//! from it: the tokens, the scopes, the end.
//!
//! Whether the answer grants anything at all is [`super::classify`]'s to say, before.

use std::{collections::BTreeSet, fmt, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use oauth2::{ExtraTokenFields, RefreshToken, StandardTokenResponse, TokenResponse, TokenType};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::{OAuth2, Refresh};

use super::credential::{Credential, Grant, OAuthTokens};

/// Longer lifetimes are mistakes, and would overflow dates.
const LONGEST_LIFE: f64 = 10.0 * 365.0 * 86_400.0;

/// What the token endpoint answers, in the crate's own terms.
pub(super) type TokenAnswer = StandardTokenResponse<Members, Kind>;

/// `token_type`: whatever the provider writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Kind(String);

impl TokenType for Kind {}

/// The members that RFC 6749 does not know.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Members(Map<String, Value>);

impl ExtraTokenFields for Members {}

/// They may be secrets: Slack puts a second token among them.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The answer in RFC 6749's shape: `token_type` is there, `expires_in` is a sane number of seconds or not there, no
/// token is empty, scopes are under `scope` (HubSpot's are under `scopes`) and parted by spaces. `separator` is the
/// connector's own between scopes.
pub(super) fn normalised(mut answer: Value, separator: &str) -> Value {
    let Some(members) = answer.as_object_mut() else { return answer };
    members.retain(|_, value| !value.is_null());
    let kind = members.get("token_type").and_then(Value::as_str).filter(|kind| !kind.is_empty()).unwrap_or("Bearer");
    let kind = kind.to_owned();
    members.insert("token_type".to_owned(), kind.into());
    for (name, sane) in [
        ("expires_in", members.get("expires_in").and_then(seconds).map(Value::from)),
        ("refresh_token_expires_in", members.get("refresh_token_expires_in").and_then(seconds).map(Value::from)),
        ("refresh_token", members.get("refresh_token").filter(|token| is_token(token)).cloned()),
        (
            "scope",
            members
                .get("scope")
                .or(members.get("scopes"))
                .and_then(|scope| spaced(scope, separator))
                // Said to be none at all, it is as asked: who grants nothing refuses.
                .filter(|scopes| !scopes.is_empty())
                .map(Value::from),
        ),
    ] {
        match sane {
            Some(sane) => members.insert(name.to_owned(), sane),
            None => members.remove(name),
        };
    }
    answer
}

fn is_token(value: &Value) -> bool {
    value.as_str().is_some_and(|token| !token.is_empty())
}

/// A lifetime in whole seconds, from a number or a text. What is zero or below would have ended before it began, and
/// providers mean "never" or "unknown" by it: `None`.
fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // Between 1 and ten years, the cast only cuts the fraction.
    (seconds >= 1.0).then(|| seconds.min(LONGEST_LIFE) as u64)
}

/// Scopes as RFC 6749 §3.3 writes them, from a text (parted by spaces, commas or the connector's own) or a list of texts.
fn spaced(scope: &Value, separator: &str) -> Option<String> {
    let texts: Vec<&str> = match scope {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let own = if separator.is_empty() { " " } else { separator };
    let scopes = texts.iter().flat_map(|text| text.split(own)).flat_map(|text| text.split([' ', ',']));
    Some(scopes.filter(|scope| !scope.is_empty()).collect::<Vec<_>>().join(" "))
}

/// What an answer, asked for at `now`, makes of what was known `before`.
pub(super) fn grant(oauth: &OAuth2, answer: &TokenAnswer, before: &Credential, now: DateTime<Utc>) -> Grant {
    let tokens = tokens(oauth, answer, before.oauth.as_ref(), now);
    let granted = granted(&tokens);
    let missing = |wanted: &[String]| {
        wanted.iter().filter(|scope| !granted.contains(canonical(scope))).cloned().collect::<Vec<_>>()
    };
    let (missing_required, missing_optional) = (missing(&oauth.scopes), missing(&oauth.optional_scopes));
    let mut credential = before.clone();
    credential.token.extend(oauth.kept(&serde_json::to_value(answer).unwrap_or_default()));
    let (scopes, ends_at) = (tokens.scopes.clone(), tokens.ends_at);
    credential.oauth = Some(tokens);
    Grant { credential, scopes, missing_required, missing_optional, ends_at }
}

fn tokens(oauth: &OAuth2, answer: &TokenAnswer, before: Option<&OAuthTokens>, now: DateTime<Utc>) -> OAuthTokens {
    let secret = |token: &RefreshToken| token.secret().as_str().into();
    let old_refresh_token = || before.and_then(|before| before.refresh_token.clone());
    let mut tokens = OAuthTokens {
        access_token: answer.access_token().secret().as_str().into(),
        token_type: answer.token_type().0.clone(),
        refresh_token: answer.refresh_token().map(secret).or_else(old_refresh_token),
        access_expires_at: answer.expires_in().map(|life| later(now, life)),
        scopes: scopes(oauth, answer, before),
        ends_at: None,
    };
    tokens.ends_at = ends_at(oauth, answer, &tokens, before, now);
    tokens
}

/// The scopes of the answer; those of before, or else those asked for, where it is silent (RFC 6749 §5.1, §6).
fn scopes(oauth: &OAuth2, answer: &TokenAnswer, before: Option<&OAuthTokens>) -> Vec<String> {
    match (answer.scopes(), before) {
        (Some(said), _) => said.iter().map(|scope| scope.to_string()).filter(|scope| !scope.is_empty()).collect(),
        (None, Some(before)) => before.scopes.clone(),
        (None, None) => oauth.scopes.iter().chain(&oauth.optional_scopes).cloned().collect(),
    }
}

/// When the grant ends for good; see [`Grant::ends_at`].
///
/// A refresh token is held to renew itself, unless the connector's file says how long a grant lives (LinkedIn): then the
/// provider's own word (`refresh_token_expires_in`), the end known before, or the file's days counted from now, in this
/// order. Where there is no refresh token, the grant ends with its access token.
fn ends_at(
    oauth: &OAuth2,
    answer: &TokenAnswer,
    tokens: &OAuthTokens,
    before: Option<&OAuthTokens>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let by_file = || oauth.expires_after_days.map(|days| later(now, Duration::from_secs(u64::from(days) * 24 * 3600)));
    let known = before.and_then(|before| before.ends_at);
    if oauth.refresh == Refresh::Token && tokens.refresh_token.is_some() {
        oauth.expires_after_days?;
        let said = answer.extra_fields().0.get("refresh_token_expires_in").and_then(seconds);
        return said.map(|life| later(now, Duration::from_secs(life))).or(known).or_else(by_file);
    }
    let is_same = |before: &OAuthTokens| before.access_token.expose_secret() == answer.access_token().secret();
    tokens.access_expires_at.or(known.filter(|_| before.is_some_and(is_same))).or_else(by_file)
}

/// A provider that says more means for ever; databases keep no later times.
const LONGEST_GRANT: TimeDelta = TimeDelta::days(36_525);

fn later(now: DateTime<Utc>, life: Duration) -> DateTime<Utc> {
    let life = TimeDelta::from_std(life).unwrap_or(LONGEST_GRANT).min(LONGEST_GRANT);
    now.checked_add_signed(life).unwrap_or(now)
}

/// The granted scopes under their canonical names. A refresh token is what `offline_access` asks for; Microsoft grants
/// it without naming it.
fn granted(tokens: &OAuthTokens) -> BTreeSet<&str> {
    let named = tokens.scopes.iter().map(|scope| canonical(scope));
    named.chain(tokens.refresh_token.is_some().then_some("offline_access")).collect()
}

/// Google is asked for OpenID's scopes by their short names and answers with its own.
fn canonical(scope: &str) -> &str {
    match scope {
        "https://www.googleapis.com/auth/userinfo.email" => "email",
        "https://www.googleapis.com/auth/userinfo.profile" => "profile",
        other => other,
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
