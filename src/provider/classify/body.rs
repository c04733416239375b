//! Where in an answer the names and numbers of errors stand. What they mean is in `table.rs`.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde_json::Value;

/// The members in which APIs name their errors. A reason says more than a code, a code more than a kind.
const NAMING: [&str; 10] = [
    "reason",     // Google
    "errorCode",  // Salesforce
    "error_code", // Twilio, Zoom
    "code",       // Klaviyo, Stripe, Microsoft Graph
    "errorType",  // Fitbit
    "error",      // RFC 6749 §5.2, within a list
    "type",       // Stripe, QuickBooks
    "name",       // PayPal
    "category",   // HubSpot
    "status",     // Google, HubSpot
];

/// What a body calls its errors, the most telling first: Google Ads' `error.details[].errors[].errorCode.KIND`; `error` as
/// a text; then the members of [`NAMING`] in `error.details[]`, `error.errors[]`, `error`, `errors[]`, `fault` (QuickBooks)
/// and at the top (of each where the body is a list: Salesforce), with GraphQL's `errors[].extensions.code`, and Google's
/// `error.errors[].domain` last.
pub(super) fn names(body: &Value) -> Vec<&str> {
    let error = &body["error"];
    let google_ads = members(&error["details"])
        .flat_map(|detail| members(&detail["errors"]))
        .filter_map(|error| error["errorCode"].as_object())
        .flat_map(|code| code.values());
    let fault = if body["fault"].is_object() { &body["fault"] } else { &body["Fault"] };
    let of_fault = members(&fault["error"]).chain(members(&fault["Error"])).chain([fault, &fault["detail"]]);
    let within = members(&error["errors"])
        .chain(members(&error["details"]))
        .chain([error])
        .chain(members(&body["errors"]))
        .chain(members(&body["errors"]).map(|error| &error["extensions"]))
        .chain(of_fault)
        .chain(members(body))
        .chain([body]);
    let named = within.flat_map(|place| NAMING.into_iter().map(move |name| &place[name]));
    let domains = members(&error["errors"]).map(|member| &member["domain"]);
    let found = google_ads.chain([error]).chain(named).chain(domains);
    found.filter_map(Value::as_str).filter(|name| !name.is_empty()).collect()
}

/// `error` as a text: RFC 6749 §5.2, GitHub, Slack.
pub(super) fn error_name(body: &Value) -> Option<&str> {
    body["error"].as_str().filter(|name| !name.is_empty())
}

/// Meta's number: `{"error": {"type": "OAuthException", "code": 190, "fbtrace_id": …}}`.
pub(super) fn meta_code(body: &Value) -> Option<i64> {
    let error = &body["error"];
    let is_meta = error["fbtrace_id"].is_string() || error["type"] == "OAuthException";
    error["code"].as_i64().filter(|_| is_meta)
}

/// The numbers of Microsoft's token endpoint: `{"error": "invalid_grant", "error_codes": [50196]}`.
pub(super) fn microsoft_token_codes(body: &Value) -> impl Iterator<Item = i64> {
    members(&body["error_codes"]).filter_map(Value::as_i64)
}

/// Microsoft Advertising's number: `{"Errors": [{"Code": 106, "ErrorCode": "UserIsNotAuthorized"}]}`.
pub(super) fn microsoft_ads_code(body: &Value) -> Option<i64> {
    body["Errors"][0]["Code"].as_i64()
}

/// Whether a body is an error although its status may be 200. `{"error": {"code": "ok"}}` (TikTok) is none.
pub(super) fn holds_error(body: &Value) -> bool {
    let fine = |code: &Value| code == "ok" || code == 0;
    let error = match &body["error"] {
        Value::String(text) => !text.is_empty(),
        Value::Object(error) => !error.is_empty() && !error.get("code").is_some_and(fine),
        _ => false,
    };
    let in_list = body["errors"].as_array().is_some_and(|errors| !errors.is_empty()) && body["data"].is_null();
    error || in_list || body["ok"] == false
}

/// Whether a body says that something is wrong, in a shape that an API has for it, as a gateway's page does not: `error`,
/// `errors` (Klaviyo, Shopify, Microsoft Advertising), `fault` (QuickBooks), `message` (GitHub, HubSpot, LinkedIn,
/// Mailgun), `category` (HubSpot), `title` with `detail` (RFC 9457: Mailchimp, Xero), `errorCode` in a list (Salesforce), or `ok` as
/// false (Slack).
pub(super) fn explains(body: &Value) -> bool {
    let says = |value: &Value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    };
    let holds = |name: &str| {
        let found = body.as_object().into_iter().flatten().filter(|(member, _)| member.eq_ignore_ascii_case(name));
        found.into_iter().any(|(_, value)| says(value))
    };
    ["error", "errors", "fault", "message", "category", "error_description"].into_iter().any(holds)
        || holds("title") && holds("detail")
        || members(body).any(|error| error["errorCode"].is_string())
        || body["ok"] == false
}

/// GitHub's secondary limit has no name, only `{"message": "You have exceeded a secondary rate limit …"}`.
pub(super) fn speaks_of_a_limit(body: &Value) -> bool {
    body["message"].as_str().is_some_and(|message| message.to_ascii_lowercase().contains("rate limit"))
}

/// The error that a challenge names: `WWW-Authenticate: Bearer error="invalid_token"` (RFC 6750 §3).
pub(super) fn challenge_errors(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let challenges = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    challenges.flat_map(|challenge| challenge.split([',', ' '])).filter_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        (name.trim().eq_ignore_ascii_case("error")).then(|| value.trim().trim_matches('"'))
    })
}

/// The schemes that the challenges are of (RFC 9110 §11.3), in lower case.
pub(super) fn challenge_schemes(headers: &HeaderMap) -> Vec<String> {
    let challenges = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    // A scheme is a word that begins a part and has no `=` behind it: parameters do.
    let parts = challenges.flat_map(|challenge| challenge.split(','));
    let scheme = |part: &str| {
        let word = part.split_whitespace().next()?;
        let is_token = word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        (is_token && !part.trim_start()[word.len()..].trim_start().starts_with('=')).then(|| word.to_ascii_lowercase())
    };
    parts.filter_map(scheme).collect()
}

fn members(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
