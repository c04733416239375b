//! Asking an API with a credential: where the credential goes, what is read of the answers.

use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::catalogue::Placement;

use super::*;

fn with_fields(fields: &[(&str, &str)]) -> Credential {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Credential { fields, ..Credential::default() }
}

#[tokio::test]
async fn whose_account_it_is_is_read_and_kept() {
    let stage =
        Stage::new(|_| json_answer(json!({"sub": 7, "email": "ann@client.example", "dc": "us1", "x": 1}))).await;
    let mut credential = credential(&json!({}));
    let account = with_client(&stage).identify(&connector(&stage, OAUTH, ""), &mut credential).await.unwrap();
    assert_eq!(account, Some(Account { id: "7".into(), name: "ann@client.example".into() }));
    assert_eq!(credential.identity, BTreeMap::from([("dc".to_owned(), "us1".to_owned())]));
    assert_eq!(stage.seen()[0].header("authorization"), "Bearer old-access");
}

#[tokio::test]
async fn an_identity_that_names_nobody_is_transient_and_keeps_nothing() {
    for body in [json!({"dc": "us1"}), json!({"sub": "", "dc": "us1"}), json!({"sub": "x".repeat(256)}), json!([])] {
        let answer = body.clone();
        let stage = Stage::new(move |_| json_answer(answer.clone())).await;
        let mut credential = credential(&json!({}));
        let account = with_client(&stage).identify(&connector(&stage, OAUTH, ""), &mut credential).await;
        assert!(matches!(account, Err(Failure::Transient { .. })), "{body}");
        assert!(credential.identity.is_empty());
    }
}

#[tokio::test]
async fn accounts_come_in_order_with_the_headers_of_the_api() {
    let stage =
        Stage::new(|_| json_answer(json!({"customers": [{"id": 2, "name": "Two"}, {"name": "no id"}, {"id": "1"}]})))
            .await;
    let provider = provider(&stage, &[("CLIENT_ID", "c"), ("CLIENT_SECRET", "s"), ("DEVELOPER_TOKEN", "dev")]);
    let accounts = provider.accounts(&connector(&stage, OAUTH, ACCOUNTS), &credential(&json!({}))).await.unwrap();
    let account = |id: &str, name: &str| Account { id: id.to_owned(), name: name.to_owned() };
    assert_eq!(accounts, [account("2", "Two"), account("1", "1")]);
    assert_eq!(stage.seen()[0].header("developer-token"), "dev");
}

#[tokio::test]
async fn a_probe_asks_for_the_account_where_there_is_one() {
    let stage = Stage::new(|seen| match seen.uri.path() {
        "/ping" => json_answer(json!({})),
        "/accounts/7%2F8" => (StatusCode::FORBIDDEN, r#"{"message": "no"}"#).into_response(),
        _ => (StatusCode::UNAUTHORIZED, r#"{"message": "no"}"#).into_response(),
    })
    .await;
    let provider = provider(&stage, &[("CLIENT_ID", "c"), ("DEVELOPER_TOKEN", "dev")]);
    let (connector, credential) = (connector(&stage, OAUTH, ACCOUNTS), credential(&json!({})));
    assert_eq!(provider.probe(&connector, &credential, None).await, Ok(()));
    let denied = provider.probe(&connector, &credential, Some("7/8")).await;
    assert_eq!(denied, Err(Failure::Rejected(Rejection::Forbidden)));
    let gone = provider.probe(&connector, &credential, Some("9")).await;
    assert_eq!(gone, Err(Failure::Rejected(Rejection::Unauthorized)));
}

#[tokio::test]
async fn without_a_probe_of_its_own_the_identity_is_asked() {
    let stage = Stage::new(|_| json_answer(json!({"sub": "1"}))).await;
    let probed = with_client(&stage).probe(&connector(&stage, OAUTH, ""), &credential(&json!({})), Some("7")).await;
    assert_eq!(probed, Ok(()));
    assert_eq!(stage.seen()[0].uri.path(), "/me");
}

#[tokio::test]
async fn the_headers_of_the_api_go_to_no_other_origin() {
    let stage = Stage::new(|_| json_answer(json!({"sub": "1"}))).await;
    let elsewhere = ACCOUNTS.replace("BASE/v1", "https://api.example/v1");
    let provider = provider(&stage, &[("CLIENT_ID", "c"), ("DEVELOPER_TOKEN", "dev")]);
    provider.probe(&connector(&stage, OAUTH, &elsewhere), &credential(&json!({})), None).await.unwrap();
    assert_eq!(stage.seen()[0].header("developer-token"), "");
}

#[tokio::test]
async fn a_key_goes_where_the_connector_says() {
    let stage = Stage::new(|_| json_answer(json!({"sub": "1"}))).await;
    let provider = provider(&stage, &[]);
    let with_key = with_fields(&[("api_key", "k&y")]);
    for placement in ["bearer", "header:X-Api-Key", "header:Authorization: Custom {key}", "query:key"] {
        let auth = format!("method = \"api_key\"\nplacement = \"{placement}\"");
        provider.probe(&connector(&stage, &auth, ""), &with_key, None).await.unwrap();
    }
    let basic = connector(&stage, "method = \"basic\"", "");
    provider.probe(&basic, &with_fields(&[("username", "ann"), ("password", "päss")]), None).await.unwrap();
    let asked = stage.seen();
    assert_eq!(asked[0].header("authorization"), "Bearer k&y");
    assert_eq!(asked[1].header("x-api-key"), "k&y");
    assert_eq!(asked[2].header("authorization"), "Custom k&y");
    assert_eq!(asked[3].uri.query(), Some("key=k%26y"));
    assert_eq!(asked[4].header("authorization"), format!("Basic {}", BASE64_STANDARD.encode("ann:päss")));
}

#[tokio::test]
async fn a_key_that_fits_into_no_header_is_refused_without_a_call() {
    let stage = Stage::new(|_| json_answer(json!({}))).await;
    let connector = connector(&stage, "method = \"api_key\"\nplacement = \"header:X-Api-Key\"", "");
    assert!(matches!(&connector.auth, Auth::ApiKey { placement: Placement::Header { .. } }));
    let refused = provider(&stage, &[]).probe(&connector, &with_fields(&[("api_key", "a\r\nx: y")]), None).await;
    assert_eq!(refused, Err(Failure::Rejected(Rejection::Unauthorized)));
    assert!(stage.seen().is_empty());
}

#[tokio::test]
async fn refused_and_unreachable_providers_read_the_same() {
    let stage = Stage::new(|_| json_answer(json!({}))).await;
    let connector = connector(&stage, "method = \"api_key\"\nplacement = \"bearer\"", "");
    let key = with_fields(&[("api_key", "k")]);
    let refused = Provider::new(Outbound::new(Vec::new()).unwrap(), OAuthSettings::default(), Arc::new(Noon));
    let refused = refused.probe(&connector, &key, None).await;
    let closed = Stage::nobody().await;
    let unreachable = self::connector(&closed, "method = \"api_key\"\nplacement = \"bearer\"", "");
    let unreachable = provider(&closed, &[]).probe(&unreachable, &key, None).await;
    assert_eq!(refused, unreachable);
    let what = "the provider could not be reached".to_owned();
    assert_eq!(refused, Err(Failure::Transient { retry_after: None, what, refuses: false }));
}

#[tokio::test]
async fn whatever_is_asked_can_be_asked_from_any_thread() {
    fn sent<T: Send>(_: T) {}
    let stage = Stage::new(|_| ().into_response()).await;
    let (provider, connector, mut credential) =
        (with_client(&stage), connector(&stage, OAUTH, ACCOUNTS), credential(&json!({})));
    let (fields, secret, url) = (BTreeMap::new(), "s".into(), stage.url("").parse().unwrap());
    sent(provider.exchange_code(&connector, &fields, &secret, &secret, &url));
    sent(provider.renew(&connector, &credential));
    sent(provider.revoke(&connector, &credential));
    sent(provider.accounts(&connector, &credential));
    sent(provider.probe(&connector, &credential, None));
    let query = Query::Http(HttpQuery { path: String::new(), parameters: serde_json::Map::new(), rows: String::new() });
    let limits = RowLimits { pages: 1, rows: 1, bytes: 1, time: std::time::Duration::ZERO };
    sent(provider.read(&connector, &credential, None, &query, &limits, Haste::InTurn(uuid::Uuid::nil())));
    sent(provider.identify(&connector, &mut credential));
}
