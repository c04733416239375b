//! Signing in by OAuth: what is sent to the authorization server, and what becomes of its answers.

use std::time::Duration;

use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{clock::Entropy, provider::stage::Seen};

use super::*;

struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn no_fields() -> BTreeMap<String, String> {
    BTreeMap::new()
}

fn refusal(code: &str) -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(json!({"error": code}))).into_response()
}

fn callback() -> Url {
    "https://patchbay.example/oauth/callback".parse().unwrap()
}

async fn exchange(provider: &Provider, connector: &Connector) -> Result<Grant, Failure> {
    let verifier = new_verifier(&Sevens);
    provider.exchange_code(connector, &no_fields(), &"the code".into(), &verifier, &callback()).await
}

fn access_token(grant: &Grant) -> &str {
    grant.credential.oauth.as_ref().unwrap().access_token.expose_secret()
}

fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_person_is_sent_out_with_everything_the_provider_needs() {
    let stage = Stage::new(|_| ().into_response()).await;
    let auth =
        format!("{OAUTH}\nlogin_hint_param = \"login_hint\"\nauthorize_params = {{ access_type = \"offline\" }}");
    let (connector, verifier) = (connector(&stage, &auth, ""), new_verifier(&Sevens));
    let request = AuthorizationRequest {
        state: "the state",
        verifier: &verifier,
        redirect_uri: &callback(),
        login_hint: Some("ann@client.example"),
    };
    let url = with_client(&stage).authorization_url(&connector, &no_fields(), request).unwrap();
    assert!(url.as_str().starts_with("https://crm.example/authorize?prompt=yes&"), "{url}");
    let sent = query(&url);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "the client"),
        ("state", "the state"),
        ("redirect_uri", "https://patchbay.example/oauth/callback"),
        ("scope", "read list write"),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
        ("login_hint", "ann@client.example"),
    ] {
        assert_eq!(sent.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(sent["code_challenge"].len(), 43);
    assert!(!url.as_str().contains(verifier.expose_secret()) && !url.as_str().contains("cret"));
}

#[tokio::test]
async fn scopes_are_joined_as_the_provider_wants_them() {
    let stage = Stage::new(|_| ().into_response()).await;
    let connector = connector(&stage, &format!("{OAUTH}\nscope_separator = \",\"\npkce = false"), "");
    let verifier = new_verifier(&Sevens);
    let request =
        AuthorizationRequest { state: "s", verifier: &verifier, redirect_uri: &callback(), login_hint: Some("ann") };
    let url = with_client(&stage).authorization_url(&connector, &no_fields(), request).unwrap();
    assert_eq!(query(&url)["scope"], "read,list,write");
    assert!(!query(&url).contains_key("code_challenge") && !url.as_str().contains("ann"));
}

#[tokio::test]
async fn a_verifier_of_another_length_is_refused_without_a_panic() {
    let stage = Stage::new(|_| ().into_response()).await;
    let connector = connector(&stage, OAUTH, "");
    for length in [0, 42, 129] {
        let verifier: SecretString = "v".repeat(length).into();
        let request =
            AuthorizationRequest { state: "s", verifier: &verifier, redirect_uri: &callback(), login_hint: None };
        let answer = with_client(&stage).authorization_url(&connector, &no_fields(), request);
        assert!(matches!(answer, Err(Failure::Transient { .. })), "{length}");
    }
}

#[tokio::test]
async fn a_code_is_redeemed() {
    let stage = Stage::new(|_| {
        json_answer(json!({
            "access_token": "a", "refresh_token": "r", "expires_in": "3600", "scope": "read", "instance": "eu",
        }))
    })
    .await;
    let grant = exchange(&with_client(&stage), &connector(&stage, OAUTH, "")).await.unwrap();
    let asked = &stage.seen()[0];
    assert_eq!(asked.header("authorization"), format!("Basic {}", BASE64_STANDARD.encode("the+client:s%26cret")));
    assert_eq!((asked.method.as_str(), asked.uri.path()), ("POST", "/token"));
    assert_eq!(asked.form("grant_type"), "authorization_code");
    assert_eq!(asked.form("code"), "the code");
    assert_eq!(asked.form("code_verifier"), new_verifier(&Sevens).expose_secret());
    assert_eq!(asked.form("redirect_uri"), callback().as_str());
    assert_eq!(access_token(&grant), "a");
    assert_eq!(grant.missing_required, ["list"]);
    assert_eq!(grant.missing_optional, ["write"]);
    assert_eq!(grant.credential.token["instance"], "eu");
    let tokens = grant.credential.oauth.unwrap();
    assert_eq!(tokens.access_expires_at, Some(Noon.now() + TimeDelta::hours(1)));
}

#[tokio::test]
async fn the_client_is_named_in_the_body_where_the_provider_wants_it_there() {
    let stage = Stage::new(|_| json_answer(json!({"access_token": "a"}))).await;
    let in_body = connector(&stage, &format!("{OAUTH}\nclient_auth = \"body\""), "");
    exchange(&with_client(&stage), &in_body).await.unwrap();
    let public = provider(&stage, &[("CLIENT_ID", "public")]);
    exchange(&public, &connector(&stage, OAUTH, "")).await.unwrap();
    let asked = stage.seen();
    assert_eq!((asked[0].form("client_id"), asked[0].form("client_secret")), ("the client".into(), "s&cret".into()));
    assert_eq!((asked[1].form("client_id"), asked[1].form("client_secret")), ("public".into(), String::new()));
    assert!(asked.iter().all(|asked| asked.header("authorization").is_empty()));
}

#[tokio::test]
async fn the_token_endpoint_gets_the_parameters_of_the_connectors_file() {
    let stage = Stage::new(|_| json_answer(json!({"access_token": "a"}))).await;
    let auth = format!("{OAUTH}\ntoken_params = {{ audience = \"crm\" }}");
    let (provider, connector) = (with_client(&stage), connector(&stage, &auth, ""));
    exchange(&provider, &connector).await.unwrap();
    provider.renew(&connector, &credential(&json!({"refresh_token": "r"}))).await.unwrap();
    assert!(stage.seen().iter().all(|asked| asked.form("audience") == "crm"));
}

#[tokio::test]
async fn a_field_cannot_lead_the_person_elsewhere() {
    let stage = Stage::new(|_| ().into_response()).await;
    let auth = OAUTH.replace("https://crm.example", "https://{field.shop}.crm.example");
    let field = "[[field]]\nname = \"shop\"\nlabel = \"Shop\"\npattern = \"[a-z0-9-]+\"";
    let (provider, connector, verifier) = (with_client(&stage), connector(&stage, &auth, field), new_verifier(&Sevens));
    let url = |shop: &str| {
        let fields = BTreeMap::from([("shop".to_owned(), shop.to_owned())]);
        let request =
            AuthorizationRequest { state: "s", verifier: &verifier, redirect_uri: &callback(), login_hint: None };
        provider.authorization_url(&connector, &fields, request)
    };
    assert_eq!(url("blue-door").unwrap().host_str(), Some("blue-door.crm.example"));
    for evil in ["evil.example#", "evil.example/", "evil.example?", "a@evil.example:", "", "a b", "\\evil.example"] {
        let refused = url(evil).unwrap_err();
        assert!(matches!(refused, Failure::Transient { .. }), "{evil}");
        assert!(evil.is_empty() || !refused.to_string().contains(evil), "{refused}");
    }
}

#[tokio::test]
async fn a_refused_code_is_an_invalid_grant() {
    let stage = Stage::new(|_| refusal("invalid_grant")).await;
    let answer = exchange(&with_client(&stage), &connector(&stage, OAUTH, "")).await;
    assert_eq!(answer.err(), Some(Failure::Rejected(Rejection::InvalidGrant)));
}

#[tokio::test]
async fn the_token_endpoint_is_not_followed_elsewhere() {
    let target = Stage::new(|_| json_answer(json!({"access_token": "stolen"}))).await;
    let to = target.url("/token");
    let stage = Stage::new(move |_| (StatusCode::TEMPORARY_REDIRECT, [("location", to.clone())]).into_response()).await;
    let allowed = [&stage, &target].map(|stage| stage.address.to_string().parse().unwrap());
    let settings = OAuthSettings::new([("crm".to_owned(), BTreeMap::from([("CLIENT_ID".to_owned(), "c".to_owned())]))]);
    let provider = Provider::new(Outbound::new(allowed.into()).unwrap(), settings, Arc::new(Noon));
    let connector = connector(&stage, OAUTH, "");
    assert!(matches!(exchange(&provider, &connector).await, Err(Failure::Transient { .. })));
    let before = credential(&json!({"refresh_token": "r"}));
    assert!(matches!(provider.renew(&connector, &before).await, Err(Failure::Transient { .. })));
    assert!(matches!(provider.revoke(&connector, &before).await, Err(Failure::Transient { .. })));
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn renewing_sends_the_refresh_token_and_keeps_it_where_no_other_comes() {
    let stage = Stage::new(|_| json_answer(json!({"access_token": "new", "expires_in": 60}))).await;
    let (provider, connector) = (with_client(&stage), connector(&stage, OAUTH, ""));
    let mut before = credential(&json!({"refresh_token": "old-refresh"}));
    before.token.insert("instance".to_owned(), "eu".to_owned());
    let grant = provider.renew(&connector, &before).await.unwrap();
    assert_eq!(stage.seen()[0].form("grant_type"), "refresh_token");
    assert_eq!(stage.seen()[0].form("refresh_token"), "old-refresh");
    assert_eq!(access_token(&grant), "new");
    assert_eq!(grant.scopes, ["read", "list"]);
    assert_eq!(grant.credential.token["instance"], "eu");
    let tokens = grant.credential.oauth.unwrap();
    assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "old-refresh");
}

#[tokio::test]
async fn what_a_renewal_is_answered_with_is_classified() {
    let stage = Stage::new(|seen| match seen.form("refresh_token").as_str() {
        "gone" => refusal("invalid_grant"),
        "client" => refusal("invalid_client"),
        "html" => "<html>Welcome</html>".into_response(),
        "wait" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "30")]).into_response(),
        _ => StatusCode::BAD_GATEWAY.into_response(),
    })
    .await;
    let (provider, connector) = (with_client(&stage), connector(&stage, OAUTH, ""));
    let renew =
        async |token: &str| provider.renew(&connector, &credential(&json!({"refresh_token": token}))).await.err();
    assert_eq!(renew("gone").await, Some(Failure::Rejected(Rejection::InvalidGrant)));
    assert_eq!(renew("client").await, Some(Failure::OurClientRejected));
    assert!(matches!(renew("html").await, Some(Failure::Transient { retry_after: None, .. })));
    let Some(Failure::Transient { retry_after, .. }) = renew("wait").await else { panic!("not transient") };
    assert_eq!(retry_after, Some(Duration::from_secs(30)));
    assert!(matches!(renew("502").await, Some(Failure::Transient { .. })));
}

#[tokio::test]
async fn a_grant_that_nothing_renews_is_not_sent_anywhere() {
    let stage = Stage::new(|_| refusal("invalid_grant")).await;
    let (provider, connector) = (with_client(&stage), connector(&stage, OAUTH, ""));
    let before = credential(&json!({}));
    assert!(!provider.can_renew(&connector, &before));
    assert!(provider.can_renew(&connector, &credential(&json!({"refresh_token": "r"}))));
    assert!(matches!(provider.renew(&connector, &before).await, Err(Failure::Transient { .. })));
    assert!(stage.seen().is_empty());
}

fn exchanging(seen: &Seen) -> Response {
    match seen.form("grant_type").as_str() {
        "authorization_code" => json_answer(json!({"access_token": "short", "expires_in": 3600})),
        "fb_exchange_token" if seen.form("fb_exchange_token") == "broken" => StatusCode::BAD_GATEWAY.into_response(),
        "fb_exchange_token" => json_answer(json!({"access_token": "long", "expires_in": 5_184_000})),
        _ => refusal("unsupported_grant_type"),
    }
}

#[tokio::test]
async fn a_short_lived_token_is_exchanged_at_once_and_again_on_renewal() {
    let stage = Stage::new(exchanging).await;
    let auth = format!("{OAUTH}\nrefresh = \"exchange\"\nclient_auth = \"body\"");
    let (provider, connector) = (with_client(&stage), connector(&stage, &auth, ""));
    let grant = exchange(&provider, &connector).await.unwrap();
    assert_eq!(access_token(&grant), "long");
    assert_eq!(grant.ends_at, Some(Noon.now() + TimeDelta::days(60)));
    let asked = &stage.seen()[1];
    assert_eq!(asked.form("fb_exchange_token"), "short");
    assert_eq!((asked.form("client_id"), asked.form("client_secret")), ("the client".into(), "s&cret".into()));
    assert!(asked.uri.query().is_none(), "no secret in the URL");
    let renewed = provider.renew(&connector, &grant.credential).await.unwrap();
    assert_eq!(access_token(&renewed), "long");
}

#[tokio::test]
async fn a_first_exchange_that_fails_leaves_the_short_lived_grant() {
    let stage = Stage::new(|seen| match seen.form("grant_type").as_str() {
        "fb_exchange_token" => StatusCode::BAD_GATEWAY.into_response(),
        _ => exchanging(seen),
    })
    .await;
    let auth = format!("{OAUTH}\nrefresh = \"exchange\"");
    let grant = exchange(&with_client(&stage), &connector(&stage, &auth, "")).await.unwrap();
    assert_eq!(access_token(&grant), "short");
    assert_eq!(grant.ends_at, Some(Noon.now() + TimeDelta::hours(1)));
}

#[tokio::test]
async fn revoking_gives_back_the_refresh_token_first() {
    let stage = Stage::new(|seen| match seen.form("token_type_hint").as_str() {
        "refresh_token" => ().into_response(),
        _ => refusal("unsupported_token_type"),
    })
    .await;
    let (provider, connector) = (with_client(&stage), connector(&stage, OAUTH, ""));
    provider.revoke(&connector, &credential(&json!({"refresh_token": "r"}))).await.unwrap();
    let asked: Vec<_> = stage.seen().iter().map(|asked| (asked.form("token"), asked.form("token_type_hint"))).collect();
    let pair = |token: &str, hint: &str| (token.to_owned(), hint.to_owned());
    assert_eq!(asked, [pair("r", "refresh_token"), pair("old-access", "access_token")]);
    assert!(stage.seen()[0].header("authorization").starts_with("Basic "));
    let only_access = provider.revoke(&connector, &credential(&json!({}))).await;
    assert!(matches!(only_access, Err(Failure::Transient { .. })));
}

#[tokio::test]
async fn without_a_revocation_endpoint_there_is_nothing_to_revoke() {
    let stage = Stage::new(|_| refusal("invalid_client")).await;
    let connector = connector(&stage, &OAUTH.replace("revoke_url = \"BASE/revoke\"", ""), "");
    with_client(&stage).revoke(&connector, &credential(&json!({"refresh_token": "r"}))).await.unwrap();
    assert!(stage.seen().is_empty());
}

#[tokio::test]
async fn an_issuer_is_compared_to_the_letter() {
    let stage = Stage::new(|_| ().into_response()).await;
    let provider = with_client(&stage);
    let accepts = |auth: &str, iss: Option<&str>| {
        let connector = connector(&stage, &format!("{OAUTH}\n{auth}"), "");
        provider.accepts_issuer(&connector, &no_fields(), iss).unwrap()
    };
    let known = "issuer = \"https://crm.example\"";
    let required = "issuer = \"https://crm.example\"\niss_required = true";
    assert!(accepts(known, Some("https://crm.example")));
    assert!(!accepts(known, Some("https://crm.example/")));
    assert!(!accepts(known, Some("https://evil.example")));
    assert!(!accepts(known, Some("")));
    assert!(accepts(known, None));
    assert!(!accepts(required, None));
    assert!(accepts(required, Some("https://crm.example")));
}

#[tokio::test]
async fn where_no_issuer_is_named_one_at_the_origin_of_an_endpoint_is_accepted() {
    let stage = Stage::new(|_| ().into_response()).await;
    let provider = with_client(&stage);
    let connector = connector(&stage, OAUTH, "");
    let accepts = |iss: Option<&str>| provider.accepts_issuer(&connector, &no_fields(), iss).unwrap();
    let oauth = connector.oauth().unwrap();
    for endpoint in [&oauth.authorize_url, &oauth.token_url] {
        let own = Url::parse(endpoint.source()).unwrap();
        let origin = own.origin().ascii_serialization();
        assert!(accepts(Some(&origin)), "{origin}");
        assert!(accepts(Some(&format!("{origin}/tenants/one"))));
    }
    assert!(accepts(None));
    for foreign in ["https://anyone.example", "", "no address", "data:text/plain,x"] {
        assert!(!accepts(Some(foreign)), "{foreign}");
    }
}
