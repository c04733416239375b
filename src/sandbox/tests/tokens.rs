//! The token and revocation endpoints.

use chrono::TimeDelta;
use secrecy::ExposeSecret;

use super::*;
use crate::sandbox::{Ended, TokenCalls};

#[tokio::test]
async fn a_code_becomes_tokens_that_open_the_api() {
    let setup = Setup::new();
    let callback = setup.sandbox.approve(&ads(), "ada").unwrap();
    assert!(callback.as_str().starts_with(CALLBACK));
    assert_eq!((query(&callback)["state"].as_str(), query(&callback)["iss"].as_str()), ("state&1", BASE));

    let reply = setup.redeem(&callback).await;
    let json = reply.json();
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!((&json["token_type"], &json["expires_in"]), (&"Bearer".into(), &3600.into()));
    assert_eq!(json["scope"], "profile ads.read ads.spend");
    let me = setup.call("/userinfo", &reply.text("access_token")).await;
    assert_eq!((me.text("sub"), me.text("email")), ("person-7041".to_owned(), "ada@lindqvist.example".to_owned()));
}

#[tokio::test]
async fn a_code_shown_twice_ends_the_grant_it_made() {
    let setup = Setup::new();
    let callback = setup.sandbox.approve(&ads(), "ada").unwrap();
    let first = setup.redeem(&callback).await;
    assert_eq!(setup.redeem(&callback).await.error(), (400, "invalid_grant".to_owned()));
    assert_eq!(setup.call("/userinfo", &first.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.renew(&first.text("refresh_token")).await.error().1, "invalid_grant");
    assert_eq!(setup.sandbox.grants()[0].ended, Some(Ended::ByReuse));
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_its_verifier_address_and_time() {
    for (name, value) in [
        ("code_verifier", "aBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ("code_verifier", "short"),
        ("redirect_uri", "http://127.0.0.1:8080/elsewhere"),
        ("code", "sandbox_code_guessed"),
    ] {
        let setup = Setup::new();
        let code = query(&setup.sandbox.approve(&ads(), "ada").unwrap())["code"].clone();
        let form = redemption(&code).map(|(own, usual)| (own, if own == name { value } else { usual }));
        assert_eq!(setup.token(&form).await.error(), (400, "invalid_grant".to_owned()), "{name}={value}");
        assert!(setup.sandbox.grants().is_empty(), "{name}");
    }
    let setup = Setup::new();
    let callback = setup.sandbox.approve(&ads(), "ada").unwrap();
    setup.pass(TimeDelta::seconds(60));
    assert_eq!(setup.redeem(&callback).await.error().1, "invalid_grant");
}

#[tokio::test]
async fn a_code_that_was_shown_wrongly_is_spent() {
    let setup = Setup::new();
    let callback = setup.sandbox.approve(&ads(), "ada").unwrap();
    let code = query(&callback)["code"].clone();
    let form = redemption(&code).map(|(name, value)| (name, if name == "code_verifier" { "wrong" } else { value }));
    setup.token(&form).await;
    assert_eq!(setup.redeem(&callback).await.error().1, "invalid_grant");
}

#[tokio::test]
async fn every_renewal_rotates_and_an_old_token_ends_the_family() {
    let setup = Setup::new();
    let (_, first) = setup.connect("ada").await;
    let renewed = setup.renew(&first).await;
    let (access, second) = (renewed.text("access_token"), renewed.text("refresh_token"));
    assert_ne!(first, second);
    assert_eq!(setup.call("/userinfo", &access).await.status, StatusCode::OK);

    assert_eq!(setup.renew(&first).await.error(), (400, "invalid_grant".to_owned()));
    assert_eq!(setup.renew(&second).await.error().1, "invalid_grant");
    assert_eq!(setup.call("/userinfo", &access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.sandbox.grants()[0].ended, Some(Ended::ByReuse));
}

#[tokio::test]
async fn without_rotation_the_first_refresh_token_goes_on_working() {
    let setup = Setup::new();
    let (_, refresh) = setup.connect("ada").await;
    setup.sandbox.configure(|options| options.rotate_refresh_tokens = false);
    for _ in 0..2 {
        let reply = setup.renew(&refresh).await;
        assert_eq!((reply.status, reply.json().get("refresh_token")), (StatusCode::OK, None));
    }
    let (_, refresh) = setup.connect("ben").await;
    assert_eq!(setup.renew(&refresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_renewal_may_ask_for_less_but_not_for_more() {
    let setup = Setup::new();
    let callback = setup.sandbox.approve_only(&ads(), "ada", &["profile", "ads.read"]).unwrap();
    let granted = setup.redeem(&callback).await;
    assert_eq!(granted.text("scope"), "profile ads.read");
    let ask = async |token: &str, scope: &str| {
        setup.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]).await
    };
    let refresh = granted.text("refresh_token");
    assert_eq!(ask(&refresh, "profile ads.spend").await.error(), (400, "invalid_scope".to_owned()));
    let less = ask(&refresh, "profile").await;
    assert_eq!(less.text("scope"), "profile");
    assert_eq!(
        setup.call("/accounts", &less.text("access_token")).await.error(),
        (403, "insufficient_scope".to_owned())
    );
}

#[tokio::test]
async fn access_tokens_live_as_long_as_the_options_say() {
    let setup = Setup::with(Options { access_token_lifetime: TimeDelta::seconds(90), ..Options::default() });
    let (access, refresh) = setup.connect("ada").await;
    setup.pass(TimeDelta::seconds(89));
    assert_eq!(setup.call("/userinfo", &access).await.status, StatusCode::OK);
    setup.pass(TimeDelta::seconds(1));
    let dead = setup.call("/userinfo", &access).await;
    assert_eq!(dead.error(), (401, "invalid_token".to_owned()));
    assert_eq!(dead.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    let renewed = setup.renew(&refresh).await;
    assert_eq!(renewed.json()["expires_in"], 90);

    setup.sandbox.expire_access_tokens();
    assert_eq!(setup.call("/userinfo", &renewed.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.renew(&renewed.text("refresh_token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_client_shows_its_secret_in_the_header_or_the_body() {
    let setup = Setup::new();
    let secret = setup.sandbox.client_secret();
    let own = [("client_id", setup.sandbox.client_id()), ("client_secret", secret.expose_secret())];
    let ask = async |headers: &[(&str, &str)], client: &[(&str, &str)]| {
        let form = [&[("grant_type", "refresh_token"), ("refresh_token", "unknown")][..], client].concat();
        setup.post("/token", headers, &form).await
    };
    let basic = setup.basic();
    let header = [("authorization", basic.as_str())];
    assert_eq!(ask(&[], &own).await.error().1, "invalid_grant");
    assert_eq!(ask(&header, &[]).await.error().1, "invalid_grant");
    assert_eq!(ask(&header, &own).await.error(), (400, "invalid_request".to_owned()));

    let wrong = format!("Basic {}", STANDARD.encode("patchbay-sandbox:guess"));
    for refused in [
        ask(&[], &[]).await,
        ask(&[("authorization", &wrong)], &[]).await,
        ask(&[("authorization", "Basic %")], &[]).await,
        ask(&[], &[own[0], ("client_secret", "guess")]).await,
        ask(&[], &[("client_id", "somebody"), own[1]]).await,
    ] {
        assert_eq!(refused.error(), (401, "invalid_client".to_owned()));
        assert_eq!(refused.header("www-authenticate"), "Basic realm=\"sandbox\"");
    }
}

#[tokio::test]
async fn requests_that_are_no_token_requests_are_named_as_such() {
    let setup = Setup::new();
    let refused = async |form: &[(&str, &str)]| setup.token(form).await.error();
    assert_eq!(refused(&[]).await, (400, "invalid_request".to_owned()));
    assert_eq!(refused(&[("grant_type", "password")]).await, (400, "unsupported_grant_type".to_owned()));
    assert_eq!(refused(&[("grant_type", "refresh_token")]).await.1, "invalid_request");
    assert_eq!(refused(&[("grant_type", "authorization_code"), ("code", "c")]).await.1, "invalid_request");
    let twice = [("grant_type", "refresh_token"), ("refresh_token", "a"), ("refresh_token", "b")];
    assert_eq!(refused(&twice).await.1, "invalid_request");

    let json = Request::post("/token").header("content-type", "application/json").body(Body::from("{}")).unwrap();
    assert_eq!(setup.send(json).await.error(), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn token_calls_are_counted_whatever_comes_of_them() {
    let setup = Setup::new();
    let (_, refresh) = setup.connect("ada").await;
    setup.renew(&refresh).await;
    setup.renew("unknown").await;
    setup.token(&[]).await;
    let counted = TokenCalls { authorization_code: 1, refresh_token: 2, other: 1 };
    assert_eq!(setup.sandbox.token_calls(), counted);
}

#[tokio::test]
async fn giving_back_either_token_ends_the_grant() {
    for second in [false, true] {
        let setup = Setup::new();
        let (access, refresh) = setup.connect("ada").await;
        let token = if second { &refresh } else { &access };
        let headers = [("authorization", setup.basic())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(setup.post("/revoke", &[], &[("token", token)]).await.error().1, "invalid_client");
        assert_eq!(setup.call("/userinfo", &access).await.status, StatusCode::OK);
        assert_eq!(setup.post("/revoke", &headers, &[("token", token)]).await.status, StatusCode::OK);
        assert_eq!(setup.call("/userinfo", &access).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(setup.renew(&refresh).await.error().1, "invalid_grant");
        assert_eq!(setup.sandbox.grants()[0].ended, Some(Ended::ByClient));
        assert_eq!(setup.post("/revoke", &headers, &[("token", "unknown")]).await.status, StatusCode::OK);
        assert_eq!(setup.post("/revoke", &headers, &[]).await.error(), (400, "invalid_request".to_owned()));
    }
}

#[tokio::test]
async fn a_person_who_revokes_keeps_nothing_alive_and_harms_nobody_else() {
    let setup = Setup::new();
    let (ada, refresh) = setup.connect("ada").await;
    let (ben, _) = setup.connect("ben").await;
    let (other, _) = setup.connect_for(&analytics(), "ada").await;
    assert_eq!(setup.sandbox.revoke_person("ada"), 2);
    for token in [&ada, &other] {
        assert_eq!(setup.call("/userinfo", token).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(setup.renew(&refresh).await.error().1, "invalid_grant");
    assert_eq!(setup.call("/userinfo", &ben).await.status, StatusCode::OK);
    assert_eq!(setup.sandbox.revoke_person("ada"), 0);
    assert_eq!(setup.sandbox.revoke_person("nobody"), 0);
}

#[tokio::test]
async fn a_shop_has_codes_and_tokens_of_its_own() {
    let setup = Setup::new();
    let callback = setup.sandbox.approve(&shop("north-lights"), "ben").unwrap();
    assert_eq!(query(&callback)["iss"], format!("{BASE}/shops/north-lights"));
    let code = query(&callback)["code"].clone();
    let basic = setup.basic();
    let headers = [("authorization", basic.as_str())];
    let at = async |path: &str, form: &[(&str, &str)]| setup.post(path, &headers, form).await;
    let granted = at("/shops/north-lights/token", &redemption(&code)).await;
    let token = granted.text("access_token");
    let identity = setup.call("/shops/north-lights/identity", &token).await.json();
    assert_eq!(identity["shop"]["id"], "shop-north-lights");
    assert_eq!(
        (&identity["shop"]["name"], &identity["shop"]["shop"]),
        (&"North Lights".into(), &"north-lights".into())
    );
    assert_eq!(setup.call("/shops/south-lights/identity", &token).await.error(), (403, "wrong_shop".to_owned()));

    let refresh = granted.text("refresh_token");
    let renewal = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    assert_eq!(at("/token", &renewal).await.error().1, "invalid_grant");
    assert_eq!(at("/shops/north-lights/token", &renewal).await.status, StatusCode::OK);
}

#[tokio::test]
async fn nothing_secret_shows_in_debug() {
    let setup = Setup::new();
    assert_eq!(format!("{:?}", setup.sandbox), "Sandbox { base_url: \"http://127.0.0.1:9000\", .. }");
}
