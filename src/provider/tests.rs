//! The facade against a provider on the loopback: what is sent, and what becomes of the answers.

mod accounts;
mod api;
mod built_in;
mod oauth;
mod rows;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{catalogue, clock::Clock};

use super::{stage::Stage, *};

/// It is noon.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }
}

const OAUTH: &str = r#"
    method = "oauth2"
    authorize_url = "https://crm.example/authorize?prompt=yes"
    token_url = "BASE/token"
    revoke_url = "BASE/revoke"
    scopes = ["read", "list"]
    optional_scopes = ["write"]
    keep = ["instance"]
"#;

/// A connector whose `BASE` is the provider's address.
fn connector(stage: &Stage, auth: &str, rest: &str) -> Connector {
    let file = format!(
        r#"
        slug = "crm"
        name = "CRM"
        category = "crm"
        mode = "warehouse"
        requirements = "Nothing."
        [auth]
        {auth}
        [identity]
        url = "BASE/me"
        id = "/sub"
        name = "/email"
        keep = ["dc"]
        {rest}
        "#
    );
    let file = file.replace("BASE", stage.url("").trim_end_matches('/'));
    catalogue::parse("crm.toml", &file).unwrap_or_else(|problems| panic!("{problems:?}\n{file}"))
}

/// One that may call the stage, and has these settings for the connector.
fn provider(stage: &Stage, settings: &[(&str, &str)]) -> Provider {
    let values = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let outbound = Outbound::new(vec![stage.address.to_string().parse().unwrap()]).unwrap();
    Provider::new(outbound, OAuthSettings::new([("crm".to_owned(), values)]), Arc::new(Noon))
}

/// One that is configured with an OAuth client.
fn with_client(stage: &Stage) -> Provider {
    provider(stage, &[("CLIENT_ID", "the client"), ("CLIENT_SECRET", "s&cret")])
}

/// An OAuth credential with these members of its tokens.
fn credential(tokens: &Value) -> Credential {
    let mut oauth = json!({
        "access_token": "old-access", "token_type": "bearer", "refresh_token": null, "access_expires_at": null,
        "scopes": ["read", "list"], "ends_at": null,
    });
    oauth.as_object_mut().unwrap().extend(tokens.as_object().unwrap().clone());
    Credential { oauth: Some(serde_json::from_value(oauth).unwrap()), ..Credential::default() }
}

fn json_answer(body: Value) -> Response {
    axum::Json(body).into_response()
}

const ACCOUNTS: &str = r#"
    [accounts]
    url = "BASE/accounts"
    list = "/customers"
    id = "/id"
    name = "/name"
    [probe]
    url = "BASE/ping"
    account_url = "BASE/accounts/{account.id}"
    [api]
    base_url = "BASE/v1"
    headers = { developer-token = "{config.DEVELOPER_TOKEN}" }
"#;

#[tokio::test]
async fn a_connector_is_configured_when_all_it_names_is_set() {
    let stage = Stage::new(|_| ().into_response()).await;
    let is_configured = |auth: &str, rest: &str, settings: &[(&str, &str)]| {
        provider(&stage, settings).is_configured(&connector(&stage, auth, rest))
    };
    assert!(!is_configured(OAUTH, "", &[]));
    assert!(!is_configured(OAUTH, "", &[("CLIENT_SECRET", "s")]));
    assert!(is_configured(OAUTH, "", &[("CLIENT_ID", "c")]));
    assert!(!is_configured(OAUTH, ACCOUNTS, &[("CLIENT_ID", "c")]));
    assert!(is_configured(OAUTH, ACCOUNTS, &[("CLIENT_ID", "c"), ("DEVELOPER_TOKEN", "d")]));
    assert!(is_configured("method = \"basic\"", "", &[]));
    let mut database = connector(&stage, "method = \"basic\"", "");
    database.auth = Auth::Fields { driver: Some(catalogue::Driver::Postgres) };
    assert!(provider(&stage, &[]).is_configured(&database));
}
