//! How long a provider wants to be left alone, out of the headers of its answer.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

/// No quota is longer than a day; a header that says more is a mistake, and must not silence a connection.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `Retry-After` in both its forms, seconds (Shopify's have decimals) and a date (RFC 9110 §10.2.3); else GitHub's
/// `X-RateLimit-Reset` where nothing remains; else Meta's word. At most a day; zero where the moment has passed.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let by_date = |text| Some(until(http_date(text)?, now));
    let asked = text(headers, RETRY_AFTER.as_str()).and_then(|text| seconds(text).or_else(|| by_date(text)));
    let reset = || Some(until(rate_limit_reset(headers)?, now));
    asked.or_else(reset).or_else(|| meta_wait(headers)).map(|wait| wait.min(LONGEST))
}

/// Whether the headers promise that it will work again.
pub(super) fn names_an_end(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_AFTER) || nothing_remains(headers)
}

fn seconds(text: &str) -> Option<Duration> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| is_number)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST))
}

fn until(moment: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (moment - now).to_std().unwrap_or_default()
}

fn nothing_remains(headers: &HeaderMap) -> bool {
    text(headers, "x-ratelimit-remaining") == Some("0")
}

/// Seconds since 1970, where nothing remains.
fn rate_limit_reset(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let reset = text(headers, "x-ratelimit-reset").filter(|_| nothing_remains(headers))?;
    DateTime::from_timestamp(reset.parse().ok()?, 0)
}

/// The longest `estimated_time_to_regain_access`, in minutes, of Meta's `X-Business-Use-Case-Usage`; it is zero where
/// nothing is throttled.
fn meta_wait(headers: &HeaderMap) -> Option<Duration> {
    let usage: Value = serde_json::from_str(text(headers, "x-business-use-case-usage")?).ok()?;
    let use_cases = usage.as_object()?.values().filter_map(Value::as_array).flatten();
    let minutes = use_cases.filter_map(|use_case| use_case["estimated_time_to_regain_access"].as_u64()).max()?;
    (minutes > 0).then(|| Duration::from_secs(minutes.saturating_mul(60)))
}

/// The three forms that a recipient must know (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    DateTime::parse_from_rfc2822(text).map(|date| date.to_utc()).ok().or_else(|| {
        obsolete.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|date| date.and_utc())
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Option<u64> {
        let headers =
            headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        for (value, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("2.0", Some(2)),
            ("0.5", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(37)),
            ("Sun Nov  6 08:49:37 1994", Some(37)),
            ("Sun, 06 Nov 1994 08:48:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:48:00 GMT", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("-5", None),
            ("1e3", None),
            ("inf", None),
            ("1.2.3", None),
            (".", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(asked(&[("retry-after", value)]), seconds, "{value}");
        }
    }

    #[test]
    fn a_reset_counts_only_where_nothing_remains() {
        let reset = ("x-ratelimit-reset", "784111800"); // 08:50:00
        assert_eq!(asked(&[reset, ("x-ratelimit-remaining", "0")]), Some(60));
        assert_eq!(asked(&[reset, ("x-ratelimit-remaining", "7")]), None);
        assert_eq!(asked(&[reset, ("x-ratelimit-remaining", "0"), ("retry-after", "5")]), Some(5));
    }

    #[test]
    fn meta_says_in_minutes_when_it_may_be_called_again() {
        let usage = |minutes: &[u64]| {
            let use_case =
                |minutes| format!(r#"{{"type": "ads_insights", "estimated_time_to_regain_access": {minutes}}}"#);
            format!(r#"{{"17841": [{}]}}"#, minutes.iter().map(use_case).collect::<Vec<_>>().join(", "))
        };
        for (usage, seconds) in [
            (usage(&[3]), Some(180)),
            (usage(&[3, 19, 0]), Some(1140)),
            (usage(&[u64::MAX]), Some(86_400)),
            (usage(&[0]), None),
            (usage(&[]), None),
            ("[]".to_owned(), None),
            ("soon".to_owned(), None),
        ] {
            assert_eq!(asked(&[("x-business-use-case-usage", &usage)]), seconds, "{usage}");
            assert_eq!(asked(&[("x-business-use-case-usage", &usage), ("retry-after", "5")]), Some(5), "{usage}");
        }
    }
}
