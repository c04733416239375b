//! The callback and its enemies: what a browser brings back is judged before any token call, and once.

use patchbay::sandbox::{CallbackFault, Ended, Endpoint, Fault};
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Browser, Landing, Person, Setup, Stage};

fn analytics() -> Value {
    json!({ "connector": "sandbox-analytics" })
}

/// The address with one parameter as `value`, or without it.
fn with(url: &Url, name: &str, value: Option<&str>) -> Url {
    let kept: Vec<(String, String)> =
        url.query_pairs().filter(|(key, _)| key != name).map(|(k, v)| (k.into(), v.into())).collect();
    let mut changed = url.clone();
    changed.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(value.map(|value| (name, value)));
    changed
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

/// Starts connecting and allows it as Ada: the attempt's id, and the callback that has not been opened yet.
async fn allowed(person: &Person, browser: &Browser, input: Value) -> (String, Url) {
    let (id, url) = person.starts_connecting(input).await;
    let callback = browser.allows(&url, "ada").await;
    (id, callback)
}

async fn has_nothing(stage: &Stage) {
    let seen = stage.admin.sees("{ connections { totalCount } authorizations { totalCount } }").await;
    assert_eq!(seen, json!({ "connections": { "totalCount": 0 }, "authorizations": { "totalCount": 0 } }));
}

/// The page says nothing that was sent, nor whether there is such an attempt.
fn is_refused(landing: &Landing) {
    assert_eq!((landing.status, &landing.location), (400, &None), "{}", landing.body);
    assert!(landing.body.contains("Start again"), "{}", landing.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_is_taken_once() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, callback) = allowed(&stage.admin, &browser, analytics()).await;
    let first = browser.opens(callback.as_str()).await;
    let again = browser.opens(callback.as_str()).await;
    assert_eq!((again.status, &again.body), (200, &first.body), "the same browser sees what came of it");
    is_refused(&stage.browser().opens(callback.as_str()).await);
    stage.later(chrono::TimeDelta::minutes(2));
    is_refused(&browser.opens(callback.as_str()).await);
    assert_eq!(stage.sandbox.token_calls().authorization_code, 1);
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((attempt["status"].as_str(), attempt["connectionCount"].as_u64()), (Some("SUCCEEDED"), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_twice_at_once_is_exchanged_once() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, callback) = allowed(&stage.admin, &browser, analytics()).await;
    let (one, other) = tokio::join!(browser.opens(callback.as_str()), browser.opens(callback.as_str()));
    assert_eq!((one.status, other.status, &one.body), (200, 200, &other.body));
    assert_eq!(stage.sandbox.token_calls().authorization_code, 1);
    assert_eq!(stage.admin.attempt(&id).await["connectionCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browsers_callback_is_refused_and_uses_nothing_up() {
    let stage = Stage::new().await;
    let (owner, other) = (stage.browser(), stage.browser());
    let (id, callback) = allowed(&stage.admin, &owner, analytics()).await;
    // The other one has a cookie of its own, for an attempt of its own.
    let (_, url) = stage.admin.starts_connecting(analytics()).await;
    other.departs(&url).await;
    is_refused(&other.opens(callback.as_str()).await);
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    assert_eq!(stage.admin.attempt(&id).await["status"], "PENDING");
    assert_eq!(owner.opens(callback.as_str()).await.status, 200);
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_missing_altered_or_unknown_is_refused_before_the_token_call() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, callback) = allowed(&stage.admin, &browser, analytics()).await;
    let state = parameter(&callback, "state");
    let (flipped, cut) = (state.chars().rev().collect::<String>(), &state[1..]);
    let of_the_attempt = id.clone();
    for wrong in [None, Some(""), Some(&*flipped), Some(cut), Some(&*of_the_attempt), Some("\0")] {
        is_refused(&browser.opens(with(&callback, "state", wrong).as_str()).await);
    }
    let twice = format!("{callback}&state={state}");
    assert_eq!(browser.opens(&twice).await.status, 400);
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    assert_eq!(browser.opens(callback.as_str()).await.status, 200, "the true one is still good");
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_for_ten_minutes() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, callback) = allowed(&stage.admin, &browser, analytics()).await;
    stage.later(chrono::TimeDelta::minutes(10));
    is_refused(&browser.opens(callback.as_str()).await);
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    assert_eq!(stage.admin.attempt(&id).await["status"], "EXPIRED");
    has_nothing(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_issuer_is_refused_before_the_token_call() {
    let stage = Stage::new().await;
    for connector in ["sandbox-analytics", "sandbox-ads"] {
        stage.sandbox.fail_next_callback(CallbackFault::WrongIss, 1);
        let (id, url) = stage.admin.starts_connecting(json!({ "connector": connector })).await;
        stage.browser().signs_in(&url, "ada").await;
        let attempt = stage.admin.attempt(&id).await;
        assert_eq!(
            (&attempt["status"], &attempt["error"]["code"]),
            (&json!("FAILED"), &json!("REJECTED")),
            "{connector}"
        );
    }
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    has_nothing(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_one_issuer_never_goes_to_another() {
    let stage = Stage::new().await;
    let shop = |shop: &str| {
        let fields = json!([{ "name": "shop", "value": shop }]);
        json!({ "connector": "sandbox-shop", "using": { "browser": { "fields": fields } } })
    };
    // Each shop is an issuer of its own: the first one's answer comes back as if it were the second's.
    let browser = stage.browser();
    let (_, first) = allowed(&stage.admin, &browser, shop("north-lights")).await;
    let (id, second) = allowed(&stage.admin, &browser, shop("south-lamps")).await;
    let mixed = with(&first, "state", Some(&parameter(&second, "state")));
    browser.opens(mixed.as_str()).await;
    assert_eq!(stage.admin.attempt(&id).await["error"]["code"], "REJECTED");
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    has_nothing(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_issuer_is_refused_where_one_was_promised_and_taken_elsewhere() {
    let stage = Stage::new().await;
    for (connector, status) in [("sandbox-ads", "FAILED"), ("sandbox-analytics", "SUCCEEDED")] {
        stage.sandbox.fail_next_callback(CallbackFault::NoIss, 1);
        let (id, url) = stage.admin.starts_connecting(json!({ "connector": connector })).await;
        stage.browser().signs_in(&url, "ada").await;
        assert_eq!(stage.admin.attempt(&id).await["status"], status, "{connector}");
    }
    assert_eq!(stage.sandbox.token_calls().authorization_code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_attempt_is_stopped_by_pkce_and_nothing_is_stored() {
    let stage = Stage::new().await;
    let (victim, attacker) = (stage.browser(), stage.browser());
    let (_, stolen) = allowed(&stage.admin, &victim, analytics()).await;
    let (id, own) = allowed(&stage.admin, &attacker, analytics()).await;
    let injected = with(&own, "code", Some(&parameter(&stolen, "code")));
    attacker.opens(injected.as_str()).await;
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("REJECTED")));
    assert_eq!(attempt["signedInAs"], Value::Null);
    assert_eq!(stage.sandbox.token_calls().authorization_code, 1, "the provider said no");
    has_nothing(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_at_the_provider_is_denied_and_changes_nothing() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    assert_eq!(stage.browser().cancels(&url).await.status, 200);
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("DENIED")));
    has_nothing(&stage).await;

    let connection = stage.admin.connects(&stage.browser(), analytics(), "ada").await;
    let connection = connection["id"].as_str().unwrap();
    let before = stage.admin.connection(connection).await;
    let (id, url) = stage.admin.starts_reconnecting(connection, "ASK").await;
    stage.browser().cancels(&url).await;
    assert_eq!(stage.admin.attempt(&id).await["error"]["code"], "DENIED");
    assert_eq!(stage.admin.connection(connection).await, before);
    assert_eq!(stage.sandbox.grants()[0].ended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_is_never_shown_raw() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    for (error, code) in [
        ("<script>alert(1)</script>", "REJECTED"),
        ("invalid_scope", "REJECTED"),
        ("temporarily_unavailable", "PROVIDER_UNAVAILABLE"),
        ("server_error", "PROVIDER_UNAVAILABLE"),
    ] {
        let (id, callback) = allowed(&stage.admin, &browser, analytics()).await;
        let denied = with(&with(&callback, "code", None), "error", Some(error));
        let denied = with(&denied, "error_description", Some("<img src=x onerror=alert(2)>"));
        let landing = browser.opens(denied.as_str()).await;
        assert!(!landing.body.contains("alert"), "{}", landing.body);
        let attempt = stage.admin.attempt(&id).await;
        assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!(code)), "{error}");
        assert!(!attempt["error"].to_string().contains("alert"), "{attempt:#}");
    }
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn less_than_is_needed_is_missing_scopes_and_the_grant_goes_back() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    let provider = browser.departs(&url).await;
    let callback = stage.sandbox.approve_only(&provider, "ada", &["profile"]).unwrap();
    browser.opens(callback.as_str()).await;
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("MISSING_SCOPES")));
    assert!(attempt["error"]["message"].as_str().unwrap().contains("analytics.read"), "{attempt:#}");
    has_nothing(&stage).await;
    assert_eq!(stage.sandbox.grants()[0].ended, Some(Ended::ByClient));
}

#[tokio::test(flavor = "multi_thread")]
async fn less_than_is_needed_on_a_reconnect_leaves_what_there_is() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let connection = stage.admin.connects(&browser, analytics(), "ada").await;
    let connection = connection["id"].as_str().unwrap();
    let before = stage.admin.connection(connection).await;
    let (id, url) = stage.admin.starts_reconnecting(connection, "ASK").await;
    let provider = browser.departs(&url).await;
    let callback = stage.sandbox.approve_only(&provider, "ada", &["profile"]).unwrap();
    browser.opens(callback.as_str()).await;
    assert_eq!(stage.admin.attempt(&id).await["error"]["code"], "MISSING_SCOPES");
    assert_eq!(stage.admin.connection(connection).await, before);
    stage.after_a_probe_interval().await;
    assert_eq!(stage.admin.connection(connection).await["status"], "CONNECTED", "it lives by the grant it had");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_and_not_needed_may_be_missing_and_is_named() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-ads", "accountId": "100-301" })).await;
    let provider = browser.departs(&url).await;
    let callback = stage.sandbox.approve_only(&provider, "ada", &["profile", "ads.read"]).unwrap();
    browser.opens(callback.as_str()).await;
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
    let seen = stage.admin.sees("{ authorizations { nodes { scopes missingScopes } } }").await;
    let expected = json!([{ "scopes": ["profile", "ads.read"], "missingScopes": ["ads.spend"] }]);
    assert_eq!(seen["authorizations"]["nodes"], expected);
}

/// An analytics service like the sandbox's, whose file says this beside the usual.
fn like_analytics(slug: &str, changes: &[(&str, &str)]) -> (String, String) {
    let file = include_str!("../../src/sandbox/connectors/sandbox-analytics.toml");
    let mut text = file.replace("slug = \"sandbox-analytics\"", &format!("slug = \"{slug}\""));
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    (format!("{slug}.toml"), text)
}

const ISSUER: &str = "issuer = \"@BASE@\"\n";

/// Two connectors that name no issuer, beside one of another authorization server at the same host.
fn without_issuers() -> Setup {
    let own = "issuer = \"@BASE@/tenants/own\"\n";
    let connectors = vec![
        like_analytics("plain", &[(ISSUER, "")]),
        like_analytics("also-plain", &[(ISSUER, "")]),
        like_analytics("tenant", &[(ISSUER, own), ("token_url = \"@BASE@/token\"", "token_url = \"@BASE@/other\"")]),
    ];
    Setup { connectors, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_providers_answer_at_anothers_address_is_refused_and_uses_nothing_up() {
    let stage = Stage::with(without_issuers()).await;
    let browser = stage.browser();
    let (id, callback) = allowed(&stage.admin, &browser, json!({ "connector": "plain" })).await;
    assert_eq!(callback.path(), "/oauth/callback/plain", "each connector has its own");
    for path in
        ["/oauth/callback/also-plain", "/oauth/callback/sandbox-ads", "/oauth/callback/PLAIN", "/oauth/callback/x"]
    {
        let mut elsewhere = callback.clone();
        elsewhere.set_path(path);
        for iss in [None, Some("https://honest.example")] {
            is_refused(&browser.opens(with(&elsewhere, "iss", iss).as_str()).await);
        }
    }
    for path in ["/oauth/callback", "/oauth/callback/", "/oauth/callback/plain/"] {
        let mut elsewhere = callback.clone();
        elsewhere.set_path(path);
        assert_eq!(browser.opens(elsewhere.as_str()).await.status, 404, "{path}");
    }
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    assert_eq!(stage.admin.attempt(&id).await["status"], "PENDING");
    assert_eq!(browser.opens(callback.as_str()).await.status, 200, "its own answer is still taken");
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_file_names_no_issuer_one_from_elsewhere_is_refused_before_the_token_call() {
    let stage = Stage::with(without_issuers()).await;
    let browser = stage.browser();
    let (_, own) = allowed(&stage.admin, &browser, json!({ "connector": "plain" })).await;
    let base = parameter(&own, "iss");
    let base = base.trim_end_matches('/');
    for iss in [
        "https://honest.example".to_owned(),
        base.replace("http://", "https://"),
        base.replace("127.0.0.1", "localhost"),
        format!("{base}.evil.example"),
        format!("{base}0"),
        format!("{base}/tenants/own"),
        "https://accounts.google.com".to_owned(),
        "nonsense".to_owned(),
        "data:text/plain,x".to_owned(),
        String::new(),
    ] {
        let (id, callback) = allowed(&stage.admin, &browser, json!({ "connector": "plain" })).await;
        browser.opens(with(&callback, "iss", Some(&iss)).as_str()).await;
        let attempt = stage.admin.attempt(&id).await;
        assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("REJECTED")), "{iss}");
    }
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    for iss in [None, Some(base.to_owned()), Some(format!("{base}/tenants/another"))] {
        // An account is connected once for a client.
        let client = stage.admin.creates_client("Acme").await;
        let (id, callback) = allowed(&stage.admin, &browser, json!({ "connector": "plain", "clientId": client })).await;
        browser.opens(with(&callback, "iss", iss.as_deref()).as_str()).await;
        let attempt = stage.admin.attempt(&id).await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{iss:?}: {attempt:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_without_any_account_fails_and_says_so() {
    let stage = Stage::new().await;
    let none = Fault::Exactly { status: 200, headers: Vec::new(), body: r#"{"accounts": []}"#.to_owned() };
    stage.sandbox.fail_next(Endpoint::Accounts, none, 1);
    let (attempt, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-ads" })).await;
    stage.browser().signs_in(&url, "ada").await;
    let ended = stage.admin.attempt(&attempt).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("FAILED"), &json!("REJECTED")), "{ended}");
    assert!(ended["error"]["message"].as_str().unwrap().contains("no account"), "{ended}");
    stage.run_jobs().await;
    assert!(stage.sandbox.grants()[0].ended.is_some(), "the grant goes back");
}
