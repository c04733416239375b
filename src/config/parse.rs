//! From the text of a setting to its value. Errors say what is wanted, and never repeat what was given.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use chrono::TimeDelta;
use secrecy::SecretString;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use url::Url;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

type Parsed<T> = Result<T, String>;

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        "not an address with a port; write for example 127.0.0.1:8080, or 0.0.0.0:8080 for every interface".to_owned()
    })
}

pub(super) fn public_url(text: &str) -> Parsed<Url> {
    web_origin(text).ok_or_else(|| {
        "must be the scheme, host and port by which browsers reach this server, nothing after it; \
         write for example https://patchbay.example.com"
            .to_owned()
    })
}

/// The origin alone, as browsers send it. `*` would let every page on the web act for whoever is signed in.
pub(super) fn origins(text: &str) -> Parsed<Vec<String>> {
    let each = list(text)?.into_iter().map(|part| web_origin(&part).map(|url| url.origin().ascii_serialization()));
    each.collect::<Option<_>>().ok_or_else(|| {
        "must be origins, separated by commas, each named; write for example https://app.example.com".to_owned()
    })
}

/// A URL of http or https with nothing after the port.
fn web_origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/";
    (web && bare && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

pub(super) fn database_url(text: &str) -> Parsed<SecretString> {
    let sqlite_file = text.strip_prefix("sqlite:").map(|rest| rest.trim_start_matches('/'));
    match sqlite_file {
        Some(file) if file.is_empty() || file.contains(":memory:") || file.contains("mode=memory") => {
            return Err("must name a file, since a database in memory would lose everything; \
                        write for example sqlite://patchbay.db"
                .to_owned());
        }
        Some(_) => return Ok(text.into()),
        None => {}
    }
    let postgres = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    if postgres {
        return Ok(text.into());
    }
    Err("must be sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/NAME \
         (special characters of a password percent-encoded)"
        .to_owned())
}

/// How many handles a pool has.
pub(super) fn pool(text: &str) -> Parsed<u32> {
    let size = text.parse().ok().filter(|size| (1..=1_000).contains(size));
    size.ok_or_else(|| "must be a whole number from 1 to 1000".to_owned())
}

/// A URL of http or https, whatever follows the port, without a user and a password.
pub(super) fn web_address(text: &str) -> Parsed<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    url.filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| "must be a URL; write for example https://id.example.com/.well-known/jwks.json".to_owned())
}

/// A text that is not empty.
pub(super) fn one_text(text: &str) -> Parsed<String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// One text, or several between commas.
pub(super) fn names(text: &str) -> Parsed<Vec<String>> {
    let names = list(text)?;
    if names.is_empty() { Err("must not be empty".to_owned()) } else { Ok(names) }
}

/// Parts between commas, without empty ones.
pub(super) fn list(text: &str) -> Parsed<Vec<String>> {
    Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

pub(super) fn folder(text: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such folder; create it, or unset this".to_owned()) }
}

pub(super) fn probe_interval(text: &str) -> Parsed<Duration> {
    within(text, Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600), "1s and 7d")
}

pub(super) fn unverified_after(text: &str) -> Parsed<Duration> {
    within(text, Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600), "1s and 365d")
}

pub(super) fn job_tick(text: &str) -> Parsed<Duration> {
    within(text, Duration::from_millis(10)..=Duration::from_secs(60), "10ms and 1m")
}

pub(super) fn history_keep(text: &str) -> Parsed<TimeDelta> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let span = within(text, DAY * 30..=DAY * 36_600, "30d and 100y")?;
    TimeDelta::from_std(span).map_err(|_| "must be between 30d and 100y".to_owned())
}

/// A span of time as people write it: `15m`, `1h 30m`.
fn within(text: &str, allowed: RangeInclusive<Duration>, bounds: &str) -> Parsed<Duration> {
    let span = humantime::parse_duration(text)
        .map_err(|_| "not a span of time; write for example 30s, 15m or 1h".to_owned())?;
    if allowed.contains(&span) { Ok(span) } else { Err(format!("must be between {bounds}")) }
}

/// What one request or message may hold at most: it is held in memory.
const LARGEST: usize = 1 << 30;

/// Bytes: a number, or one with KiB or MiB.
pub(super) fn size(text: &str) -> Parsed<usize> {
    let (number, unit) = [("KiB", 1024), ("MiB", 1024 * 1024)]
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), unit)))
        .unwrap_or((text, 1));
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes) if (1024..=LARGEST).contains(&bytes) => Ok(bytes),
        Some(_) => Err("must be between 1KiB and 1024MiB".to_owned()),
        None => Err("not a size; write bytes, or for example 256KiB or 2MiB".to_owned()),
    }
}

/// More than any limit is of use.
const MOST: u32 = 1_000_000_000;

/// A whole number from 1 to [`MOST`].
pub(super) fn count<N: TryFrom<u32>>(text: &str) -> Parsed<N> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    let number = number.and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| "must be a whole number from 1 to 1000000000".to_owned())
}

/// A word without a level behind it is a level, or one of the parts that log: to the filter `warning` would be a part that
/// nobody knows, beside which all is silent.
fn is_level_or_part(directive: &str) -> bool {
    const PARTS: [&str; 10] =
        ["patchbay", "async_graphql", "axum", "h2", "hyper", "hyper_util", "lettre", "reqwest", "rustls", "sqlx"];
    let word = directive.trim();
    let is_bare = !word.contains(['=', '[']);
    !is_bare || word.parse::<LevelFilter>().is_ok() || word.contains("::") || PARTS.contains(&word)
}

pub(super) fn filter(text: &str) -> Parsed<String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) if text.split(',').all(is_level_or_part) => Ok(text.to_owned()),
        _ => Err("not a filter; write a level (error, warn, info, debug, trace) or directives \
                       such as info,patchbay=debug"
            .to_owned()),
    }
}

/// `on` or `off`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be on or off".into()),
    }
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}
