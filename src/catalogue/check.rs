//! What the strings of a connector file have to look like, each on its own.
//!
//! Every function reads one string and says in a phrase what is wrong with it. What placeholders may name where is checked
//! in [`super::known`].

use std::time::Duration;

use url::Url;

use super::{connector::Placement, place::is_header_character, pointer};
use crate::spelling::hint;

type Checked<T> = Result<T, String>;

/// Headers that belong to the transport.
const TRANSPORT_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];

/// Parameters of an authorization request that are Patchbay's own (RFC 6749 §4.1.1, RFC 7636 §4.3).
const AUTHORIZE_PARAMETERS: [&str; 7] =
    ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];

/// Parameters of a token request that are Patchbay's own (RFC 6749 §4.1.3 and §6, RFC 7636 §4.5).
const TOKEN_PARAMETERS: [&str; 7] =
    ["grant_type", "code", "redirect_uri", "client_id", "client_secret", "code_verifier", "refresh_token"];

/// Members of a token answer that are kept as the tokens they are.
const TOKENS: [&str; 3] = ["access_token", "refresh_token", "id_token"];

/// `google-ads`
pub(super) fn slug(text: &str) -> Checked<String> {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if text.split('-').all(part) {
        Ok(text.to_owned())
    } else {
        Err("a slug is made of a–z and 0–9, with single hyphens between them".to_owned())
    }
}

/// One line that says something.
pub(super) fn line(text: &str) -> Checked<String> {
    if text.contains(char::is_control) {
        return Err("it has to be one line".to_owned());
    }
    prose(text)
}

/// Text that says something.
pub(super) fn prose(text: &str) -> Checked<String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("it holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// The address of a page.
pub(super) fn page(text: &str) -> Checked<Url> {
    let url = Url::parse(text).map_err(|error| format!("it is not a URL: {error}"))?;
    if matches!(url.scheme(), "https" | "http") { Ok(url) } else { Err("a URL begins with `https://`".to_owned()) }
}

/// `shop_name`
pub(super) fn field_name(text: &str) -> Checked<String> {
    let sound = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if sound { Ok(text.to_owned()) } else { Err("a name is made of a–z, 0–9 and `_`, a letter first".to_owned()) }
}

/// A member of an answer that a placeholder can name, by its last segment: `dc`, or where it is, `/login/dc`.
pub(super) fn member(text: &str) -> Checked<String> {
    if text.starts_with('/') {
        member_pointer(text)?;
    }
    let name = if text.starts_with('/') { text.rsplit('/').next().unwrap_or_default() } else { text };
    let sound = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if sound { Ok(text.to_owned()) } else { Err("a kept member is named in letters, digits, `_` and `-`".to_owned()) }
}

/// A member of the token answer that is no token.
pub(super) fn token_member(text: &str) -> Checked<String> {
    if TOKENS.contains(&text.strip_prefix('/').unwrap_or(text)) {
        return Err(format!("`{text}` is kept anyway, and sent as `placement` says"));
    }
    member(text)
}

pub(super) fn member_pointer(text: &str) -> Checked<String> {
    pointer::fault(text, false).map_or_else(|| Ok(text.to_owned()), |fault| Err(fault.to_owned()))
}

pub(super) fn list_pointer(text: &str) -> Checked<String> {
    pointer::fault(text, true).map_or_else(|| Ok(text.to_owned()), |fault| Err(fault.to_owned()))
}

/// One scope (RFC 6749 §3.3) that does not hold what separates it from the next.
pub(super) fn scope(text: &str, separator: &str) -> Checked<String> {
    if text.is_empty() || text.chars().any(|c| !matches!(c, '!' | '#'..='[' | ']'..='~')) {
        return Err(format!("`{}` is not one scope; write a list of them", text.escape_debug()));
    }
    if !separator.is_empty() && text.contains(separator) {
        return Err(format!("`{text}` holds the scope separator; write a list of scopes"));
    }
    Ok(text.to_owned())
}

pub(super) fn scope_separator(text: &str) -> Checked<String> {
    if !text.is_empty() && text.chars().all(|c| c == ' ' || c.is_ascii_punctuation()) {
        return Ok(text.to_owned());
    }
    Err("a separator is a space or punctuation".to_owned())
}

/// A parameter's name that an authorization request may be given.
pub(super) fn authorize_parameter(text: &str) -> Checked<String> {
    parameter(text, &AUTHORIZE_PARAMETERS)
}

/// A parameter's name that a token request may be given.
pub(super) fn token_parameter(text: &str) -> Checked<String> {
    parameter(text, &TOKEN_PARAMETERS)
}

fn parameter(text: &str, own: &[&str]) -> Checked<String> {
    if own.contains(&text) {
        return Err(format!("`{text}` is set by Patchbay itself"));
    }
    line(text)
}

/// The name of a header that a file may set.
pub(super) fn header_name(text: &str) -> Checked<String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(token) {
        return Err("it is not the name of a header".to_owned());
    }
    if TRANSPORT_HEADERS.contains(&text.to_ascii_lowercase().as_str()) {
        return Err("this header is the transport's own".to_owned());
    }
    Ok(text.to_owned())
}

/// `bearer`, `header:NAME`, `header:NAME: VALUE with {key}`, `query:NAME`.
pub(super) fn placement(text: &str) -> Checked<Placement> {
    match text.split_once(':') {
        None if text == "bearer" => Ok(Placement::Bearer),
        Some(("header", header)) => {
            let (name, value) = header.split_once(':').unwrap_or((header, "{key}"));
            Ok(Placement::Header { name: header_name(name.trim())?, value: header_with_key(value.trim())? })
        }
        Some(("query", name)) => Ok(Placement::Query { name: line(name)? }),
        _ => {
            let hint = hint(text.split(':').next().unwrap_or_default(), ["bearer", "header", "query"]);
            Err(format!("it is `bearer`, `header:NAME`, `header:NAME: VALUE with {{key}}` or `query:NAME`{hint}"))
        }
    }
}

fn header_with_key(value: &str) -> Checked<String> {
    let Some((before, after)) = value.split_once("{key}") else {
        return Err("the header's value has to hold `{key}`".to_owned());
    };
    let plain = |c: char| is_header_character(c) && !matches!(c, '{' | '}');
    if before.chars().chain(after.chars()).all(plain) {
        Ok(value.to_owned())
    } else {
        Err("besides one `{key}` the header's value is visible ASCII without braces".to_owned())
    }
}

const LONGEST_INTERVAL: Duration = Duration::from_secs(366 * 24 * 3600);

/// `1d`, `90m`, at most a year.
pub(super) fn interval(text: &str) -> Checked<Duration> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval > Duration::ZERO && interval <= LONGEST_INTERVAL => Ok(interval),
        Ok(_) => Err("it is not between 1ns and `366d`".to_owned()),
        Err(_) => Err("it is not a time such as `1d`, `12h` or `90m`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for good in ["stripe", "google-analytics-4", "4me"] {
            assert_eq!(slug(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a_b", "a b", "é"] {
            assert!(slug(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn placements() {
        let header = |text: &str| match placement(text) {
            Ok(Placement::Header { name, value }) => (name, value),
            other => panic!("{other:?}"),
        };
        assert!(matches!(placement("bearer"), Ok(Placement::Bearer)));
        assert!(matches!(placement("query:key"), Ok(Placement::Query { name }) if name == "key"));
        assert_eq!(header("header:X-Api-Key"), ("X-Api-Key".to_owned(), "{key}".to_owned()));
        assert_eq!(
            header("header:Authorization: Klaviyo-API-Key {key}"),
            ("Authorization".to_owned(), "Klaviyo-API-Key {key}".to_owned())
        );
        for bad in [
            "",
            "Bearer",
            "header",
            "header:",
            "header:X Y",
            "header:X-Key: none",
            "header:X: {key}{key}",
            "header:X: a\n{key}",
            "header:Host",
            "query:",
            "cookie:a",
        ] {
            assert!(placement(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_of_scopes_holds_one_scope_each() {
        assert!(scope("https://www.googleapis.com/auth/analytics.readonly", " ").is_ok());
        assert!(scope("read_orders,read_products", ",").is_err());
        assert!(scope("openid email", ",").is_err());
        assert!(scope("", " ").is_err());
    }

    #[test]
    fn intervals() {
        assert_eq!(interval("1d"), Ok(Duration::from_secs(86_400)));
        assert!(interval("366d").is_ok());
        for bad in ["", "0s", "1", "-1d", "daily", "367d", "300000y", "99999999999999999999d"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
