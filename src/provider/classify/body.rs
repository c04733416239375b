//! Where in a body the names and numbers of errors stand. What they mean is in `table.rs`.

use serde_json::Value;

/// What the token endpoint calls its error: `error` (RFC 6749 §5.2), or HubSpot's `status`.
pub(super) fn token_names(body: &Value) -> impl Iterator<Item = &str> {
    error_name(body).into_iter().chain(body["status"].as_str())
}

/// `error` as a text: RFC 6749 §5.2, GitHub, Slack.
pub(super) fn error_name(body: &Value) -> Option<&str> {
    body["error"].as_str().filter(|name| !name.is_empty())
}

/// What an API calls its error beside status 200: `error`, or the code of the first GraphQL error where there is no data.
pub(super) fn api_name(body: &Value) -> Option<&str> {
    let in_graphql = || body["errors"][0]["extensions"]["code"].as_str().filter(|_| body["data"].is_null());
    error_name(body).or_else(in_graphql)
}

/// What an API calls its errors beside another status: Google Ads' `error.details[].errors[].errorCode.KIND`; Google's
/// `error.errors[].reason`, `error.details[].reason`, `error.status`, `error.errors[].domain`, in this order, since a
/// reason says more than a domain; Salesforce's `[].errorCode`.
pub(super) fn api_names(body: &Value) -> impl Iterator<Item = &str> {
    let error = &body["error"];
    let google_ads = members(&error["details"])
        .flat_map(|detail| members(&detail["errors"]))
        .filter_map(|error| error["errorCode"].as_object())
        .flat_map(|code| code.values());
    let reasons = members(&error["errors"]).chain(members(&error["details"])).map(|member| &member["reason"]);
    let domains = members(&error["errors"]).map(|member| &member["domain"]);
    let salesforce = members(body).map(|error| &error["errorCode"]);
    let named = google_ads.chain(reasons).chain([&error["status"]]).chain(domains).chain(salesforce);
    named.filter_map(Value::as_str)
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
    let in_graphql = body["errors"].as_array().is_some_and(|errors| !errors.is_empty()) && body["data"].is_null();
    error || in_graphql || body["ok"] == false
}

/// Whether a body says that something is wrong, in a shape that an API has for it, as a gateway's page does not: `error`,
/// `errors` (Klaviyo, Shopify), `Errors` (Microsoft Advertising), `message` (GitHub, HubSpot, LinkedIn, Mailgun), or
/// `title` with `detail` (RFC 9457: Mailchimp, Xero).
pub(super) fn explains(body: &Value) -> bool {
    let holds = |name: &str| match &body[name] {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    };
    ["error", "errors", "Errors", "message"].into_iter().any(holds) || holds("title") && holds("detail")
}

/// GitHub's secondary limit has no name, only `{"message": "You have exceeded a secondary rate limit …"}`.
pub(super) fn speaks_of_a_limit(body: &Value) -> bool {
    body["message"].as_str().is_some_and(|message| message.to_ascii_lowercase().contains("rate limit"))
}

fn members(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
