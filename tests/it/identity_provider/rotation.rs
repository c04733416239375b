//! How the provider's keys are kept, renewed and given up.

use chrono::TimeDelta;
use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{House, Issuer, Key, a_moment, claims, viewer};
use crate::harness::{Setup, Stage};

/// A token of Mara's that is good for days, under `key`.
fn lasting(house: &House, key: &Key) -> String {
    let mut claims = house.mara();
    claims["exp"] = json!(claims["exp"].as_i64().unwrap() + 7 * 86_400);
    key.signs(&claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_learnt_from_the_first_token_that_names_it() {
    let house = House::new().await;
    assert_eq!(house.issuer.asked(), 1, "once, at the start");
    house.accepts(&lasting(&house, &house.key), &house.stage.admin).await;
    let new = Key::new("k-2", Algorithm::RS256);
    house.issuer.has(&[&house.key, &new]);
    a_moment(&house.stage);
    for _ in 0..3 {
        house.accepts(&lasting(&house, &new), &house.stage.admin).await;
    }
    assert_eq!(house.issuer.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_names_are_renewed_as_well() {
    let house = House::new().await;
    let nameless = |key: &Key| key.signs_with(&house.mara(), |header| header.kid = None);
    let new = Key::new("any", Algorithm::ES256).with("kid", serde_json::Value::Null);
    house.issuer.has(&[&new]);
    a_moment(&house.stage);
    house.accepts(&nameless(&new), &house.stage.admin).await;
    house.refuses(&nameless(&house.key), "a key that is gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_names_of_keys_do_not_make_the_provider_busy() {
    let house = House::new().await;
    let made_up: Vec<Key> = (0..20).map(|n| Key::new(&format!("made-up-{n}"), Algorithm::ES256)).collect();
    let tokens: Vec<String> = made_up.iter().map(|key| lasting(&house, key)).collect();
    a_moment(&house.stage);
    for round in 2..4 {
        let answers = join_all(tokens.iter().map(|token| house.viewer(token))).await;
        assert!(answers.iter().all(|answer| answer.code() == Some("UNAUTHENTICATED")));
        assert_eq!(house.issuer.asked(), round, "one request for all of them");
        a_moment(&house.stage);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_known_key_does_not_wait_for_an_unknown_one() {
    let house = House::new().await;
    let new = Key::new("k-2", Algorithm::ES256);
    let (known, unknown) = (lasting(&house, &house.key), lasting(&house, &new));
    a_moment(&house.stage);
    house.issuer.answers(false);
    let waiting = async {
        let answers = join_all((0..3).map(|_| house.viewer(&unknown))).await;
        answers.iter().all(|answer| answer.body["data"]["viewer"]["user"]["id"] == json!(house.stage.admin.id))
    };
    let others = async {
        while house.issuer.asked() < 2 {
            tokio::task::yield_now().await;
        }
        house.accepts(&known, &house.stage.admin).await;
        house.issuer.has(&[&house.key, &new]);
        house.issuer.answers(true);
    };
    let (answered, ()) = tokio::join!(waiting, others);
    assert!(answered, "the one answer is for all who waited");
    assert_eq!(house.issuer.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_gone_is_refused_once_the_keys_are_old() {
    let house = House::new().await;
    let (old, new) = (lasting(&house, &house.key), Key::new("k-2", Algorithm::ES256));
    house.issuer.has(&[&new]);
    house.issuer.cached("public, max-age=600");
    house.stage.later(TimeDelta::minutes(59));
    house.accepts(&old, &house.stage.admin).await;
    house.stage.later(TimeDelta::minutes(2));
    house.refuses(&old, "gone after the usual hour").await;
    let new_token = lasting(&house, &new);
    house.accepts(&new_token, &house.stage.admin).await;

    house.issuer.has(&[]);
    house.stage.later(TimeDelta::minutes(9));
    house.accepts(&new_token, &house.stage.admin).await;
    house.stage.later(TimeDelta::minutes(2));
    house.refuses(&new_token, "gone after the time that the provider says").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_away_its_last_keys_serve_for_a_day() {
    let house = House::new().await;
    let token = lasting(&house, &house.key);
    house.issuer.is_away(true);
    house.stage.later(TimeDelta::hours(2));
    house.accepts(&token, &house.stage.admin).await;
    let asked = house.issuer.asked();
    house.accepts(&token, &house.stage.admin).await;
    assert_eq!(house.issuer.asked(), asked, "it is not asked at every request");
    house.issuer.is_away(false);
    house.issuer.says("<html>Sign in</html>");
    house.stage.later(TimeDelta::hours(20));
    house.accepts(&token, &house.stage.admin).await;
    house.stage.later(TimeDelta::hours(3));
    let answer = house.viewer(&token).await;
    assert_eq!((answer.status, answer.code()), (503, Some("UNAVAILABLE")), "{:#}", answer.body);
    house.issuer.has(&[&house.key]);
    a_moment(&house.stage);
    house.accepts(&token, &house.stage.admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_while_the_provider_is_away() {
    let key = Key::new("k-1", Algorithm::ES256);
    let issuer = Issuer::new(&[&key]).await;
    issuer.is_away(true);
    let stage = Stage::with(Setup { settings: issuer.settings(), ..Setup::default() }).await;
    let token = key.signs(&claims(&stage, "s-mara", "mara@lighthouse.example"));
    assert_eq!(viewer(&stage, &token).await.code(), Some("UNAVAILABLE"));
    assert!(viewer(&stage, &stage.admin.token).await.code().is_none(), "our own tokens need no provider");
    issuer.is_away(false);
    a_moment(&stage);
    assert_eq!(viewer(&stage, &token).await.body["data"]["viewer"]["user"]["id"], json!(stage.admin.id));
}
