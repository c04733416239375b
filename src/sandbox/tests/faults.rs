//! Failures on demand.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::sandbox::{Endpoint, Fault, TokenCalls};

#[tokio::test]
async fn a_fault_lasts_for_its_calls_and_its_endpoint() {
    let setup = Setup::new();
    let (token, refresh) = setup.connect("ada").await;
    setup.sandbox.fail_next(Endpoint::Token, Fault::ServerError, 2);
    assert_eq!(setup.call("/userinfo", &token).await.status, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(setup.renew(&refresh).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(setup.renew(&refresh).await.status, StatusCode::OK);
    assert_eq!(setup.sandbox.token_calls(), TokenCalls { authorization_code: 1, refresh_token: 3, other: 0 });
    assert_eq!((setup.sandbox.calls(Endpoint::Token), setup.sandbox.calls(Endpoint::Identity)), (4, 1));
}

#[tokio::test]
async fn faults_of_one_endpoint_queue_up_and_can_be_cleared() {
    let setup = Setup::new();
    let (token, _) = setup.connect("ada").await;
    setup.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 1);
    setup.sandbox.fail_next(Endpoint::Identity, Fault::Forbidden, 9);
    assert_eq!(setup.call("/userinfo", &token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.call("/userinfo", &token).await.status, StatusCode::FORBIDDEN);
    setup.sandbox.clear_faults();
    assert_eq!(setup.call("/userinfo", &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_fault_answers_in_its_way() {
    let setup = Setup::new();
    let meet = async |fault: Fault| {
        setup.sandbox.fail_next(Endpoint::Token, fault, 1);
        setup.renew("unknown").await
    };
    let limited = meet(Fault::RateLimited { retry_after: 7 }).await;
    assert_eq!((limited.status, limited.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "7"));
    let garbage = meet(Fault::Garbage).await;
    assert_eq!((garbage.status, garbage.body.starts_with("<!doctype html>")), (StatusCode::OK, true));
    assert_eq!(meet(Fault::OAuthError("invalid_client")).await.error(), (401, "invalid_client".to_owned()));
    assert_eq!(meet(Fault::OAuthError("unauthorized_client")).await.error(), (400, "unauthorized_client".to_owned()));
    let quota = meet(Fault::QuotaExceeded).await;
    assert_eq!(quota.status, StatusCode::FORBIDDEN);
    assert_eq!(quota.json()["error"]["errors"][0]["reason"], "rateLimitExceeded");
    let moved = meet(Fault::Redirect("http://127.0.0.1:1/".to_owned())).await;
    assert_eq!((moved.status, moved.header("location")), (StatusCode::TEMPORARY_REDIRECT, "http://127.0.0.1:1/"));
    assert_eq!(meet(Fault::Huge(200_001)).await.body.len(), 200_001);
    let headers = vec![("x-odd".to_owned(), "yes".to_owned())];
    let odd = meet(Fault::Exactly { status: 200, headers, body: "{\"error\":\"bad_refresh_token\"}".to_owned() }).await;
    assert_eq!(
        (odd.status, odd.header("x-odd"), odd.text("error").as_str()),
        (StatusCode::OK, "yes", "bad_refresh_token")
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_endpoint_does_nothing_for_its_time() {
    let setup = Setup::new();
    let (_, refresh) = setup.connect("ada").await;
    setup.sandbox.fail_next(Endpoint::Token, Fault::Hang(Duration::from_secs(60)), 1);
    let began = tokio::time::Instant::now();
    assert_eq!(setup.renew(&refresh).await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(began.elapsed().as_secs(), 60);
    assert_eq!(setup.renew(&refresh).await.status, StatusCode::OK, "the token was not used up");
}

#[tokio::test]
async fn a_lost_answer_has_rotated_the_token() {
    let setup = Setup::new();
    let (_, refresh) = setup.connect("ada").await;
    setup.sandbox.fail_next(Endpoint::Token, Fault::LoseAnswer, 1);
    assert_eq!(setup.renew(&refresh).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(setup.renew(&refresh).await.error().1, "invalid_grant");
}

#[tokio::test]
async fn an_answer_can_be_bent_member_by_member() {
    let setup = Setup::new();
    let connect = async |fault: Fault| {
        setup.sandbox.fail_next(Endpoint::Token, fault, 1);
        setup.redeem(&setup.sandbox.approve(&ads(), "ada").unwrap()).await.json()
    };
    assert!(connect(Fault::Without("refresh_token")).await.get("refresh_token").is_none());
    assert_eq!(connect(Fault::With("scope", json!("profile"))).await["scope"], "profile");
    assert_eq!(connect(Fault::With("expires_in", json!("soon"))).await["expires_in"], "soon");
    setup.sandbox.fail_next(Endpoint::Token, Fault::With("error", json!("other")), 1);
    assert_eq!(setup.renew("unknown").await.error().1, "invalid_grant", "an error stays what it is");
}

#[tokio::test]
async fn an_outage_answers_503_everywhere_but_on_the_panel_and_uses_no_fault_up() {
    let setup = Setup::new();
    let (token, refresh) = setup.connect("ada").await;
    setup.sandbox.fail_next(Endpoint::Identity, Fault::Forbidden, 1);
    setup.sandbox.set_outage(true);
    assert_eq!(setup.call("/userinfo", &token).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(setup.renew(&refresh).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(setup.get("/keyed/me", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(setup.get(&path(&ads()), &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(setup.get("/", &[]).await.status, StatusCode::OK);
    setup.sandbox.set_outage(false);
    assert_eq!(setup.call("/userinfo", &token).await.status, StatusCode::FORBIDDEN);
    assert_eq!(setup.renew(&refresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_shop_can_have_an_outage_of_its_own() {
    let setup = Setup::new();
    let status = async |name: &str| {
        let code = query(&setup.sandbox.approve(&shop(name), "ada").unwrap())["code"].clone();
        let at = format!("/shops/{name}/token");
        let granted = setup.post(&at, &[("authorization", &setup.basic())], &redemption(&code)).await;
        setup.call(&format!("/shops/{name}/identity"), &granted.text("access_token")).await.status
    };
    setup.sandbox.set_shop_outage("north", true);
    assert_eq!(status("north").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status("south").await, StatusCode::OK);
    setup.sandbox.set_shop_outage("north", false);
    assert_eq!(status("north").await, StatusCode::OK);
}
