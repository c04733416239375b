//! What acts although it is asked for: parameters in the place of the method, and the addresses that hand out and end tokens.
//! Whatever else of an API acts by GET (Slack's every method), the `paths` of its connector's file leave out.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::catalogue::{Connector, Template};

/// Parameters by which servers take another method than the request's: Meta's `method`, the `_method` of Rails and Laravel,
/// Google's `$httpMethod`, and `X-HTTP-Method-Override` where it is taken from the query. Letters alone.
const METHOD_PARAMETERS: [&str; 8] = [
    "method",
    "httpmethod",
    "xhttpmethod",
    "xhttpmethodoverride",
    "xmethodoverride",
    "methodoverride",
    "httpmethodoverride",
    "requestmethod",
];
/// The methods that do not only read (RFC 9110 §9, RFC 5789, WebDAV's).
const ACTING_METHODS: [&str; 11] =
    ["post", "put", "patch", "delete", "options", "connect", "trace", "move", "copy", "lock", "merge"];

/// Whether one of the parameters asks for another method than GET.
pub(super) fn overrides_method(parameters: &Map<String, Value>) -> bool {
    parameters.iter().any(|(name, value)| {
        let name: String = name.chars().filter(char::is_ascii_alphabetic).collect();
        METHOD_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) && names_acting_method(value)
    })
}

fn names_acting_method(value: &Value) -> bool {
    match value {
        Value::String(text) => ACTING_METHODS.contains(&text.trim().to_ascii_lowercase().as_str()),
        Value::Array(items) => items.iter().any(names_acting_method),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Whether `asked`, an address with its placeholders, is one at which the connector's tokens are given out, ended or signed
/// in for, however it is written.
pub(super) fn is_of_tokens(connector: &Connector, asked: &Template) -> bool {
    let Some(oauth) = connector.oauth() else { return false };
    let own = [Some(&oauth.authorize_url), Some(&oauth.token_url), oauth.revoke_url.as_ref()];
    let asked = plain(asked.source());
    own.into_iter().flatten().any(|own| plain(own.source()) == asked)
}

/// An address without what servers pass over: case, percent-encoding, the parameters of a part of its path (RFC 3986 §3.3),
/// the query, and slashes at the end.
fn plain(address: &str) -> String {
    let (address, _) = address.split_once(['?', '#']).unwrap_or((address, ""));
    let decoded = decoded(address).to_lowercase();
    let parts = decoded.split('/').map(|part| part.split_once(';').map_or(part, |(part, _)| part));
    parts.collect::<Vec<_>>().join("/").trim_end_matches('/').to_owned()
}

/// A part of an address as a server reads it that decodes it as often as it can.
pub(super) fn decoded(text: &str) -> String {
    let mut decoded = text.to_owned();
    // Each time at least two characters go.
    while let Ok(next) = percent_decode_str(&decoded).decode_utf8()
        && next != decoded
    {
        decoded = next.into_owned();
    }
    decoded
}
