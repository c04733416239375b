//! Sealed secrets that somebody moved or changed: refused, reported to the operator, and nobody is told to reconnect.

use std::{
    io,
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber;

use super::*;
use crate::harness::within_patience;

/// What the server logs while it is watched.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets a probe interval pass; what the jobs logged as an error.
async fn errors_of_a_round(stage: &Stage) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    stage.after_a_probe_interval().with_subscriber(subscriber).await;
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

async fn status(stage: &Stage, connection: &str) -> Value {
    stage.admin.connection(connection).await["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ciphertext_in_another_row_is_refused_and_the_others_are_looked_at_all_the_same() {
    let stage = Stage::new().await;
    let (lamps, hotels, orchards) = (keyed(&stage, 0).await, keyed(&stage, 1).await, keyed(&stage, 2).await);
    let (one, other) = (row(&stage, &lamps).await, row(&stage, &hotels).await);
    tamper(&stage, &one, other.credential.clone().unwrap()).await;
    tamper(&stage, &other, one.credential.clone().unwrap()).await;
    stage.sandbox.change_key("orchards").unwrap();

    let logged = errors_of_a_round(&stage).await;
    for row in [&one, &other] {
        assert!(
            logged.contains(&ids::encode(Kind::Authorization, row.id)),
            "the operator does not hear of it: {logged}"
        );
    }
    assert!(logged.contains("damaged"), "{logged}");
    assert_eq!(status(&stage, &lamps).await, "CONNECTED");
    assert_eq!(status(&stage, &hotels).await, "CONNECTED");
    assert_eq!(status(&stage, &orchards).await, "DISCONNECTED", "this one's key was changed at the provider");
    assert_eq!(stage.admin.tray().await.len(), 1);
    assert!(stage.sandbox.keys().iter().all(|key| !logged.contains(&key.value)), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_refused_wherever_it_is_and_works_again_once_it_is_mended() {
    let stage = Stage::new().await;
    let connection = keyed(&stage, 0).await;
    let sealed = row(&stage, &connection).await.credential.unwrap();
    for byte in [0, 1, 2, 10, sealed.len() / 2, sealed.len() - 1] {
        let mut damaged = sealed.clone();
        damaged[byte] ^= 1;
        let found = row(&stage, &connection).await;
        tamper(&stage, &found, damaged).await;
        let logged = errors_of_a_round(&stage).await;
        assert!(logged.contains(&ids::encode(Kind::Authorization, found.id)), "byte {byte}: {logged}");
        assert_eq!(status(&stage, &connection).await, "CONNECTED", "byte {byte}");
        let answer = stage.admin.tries_mutation("checkConnection", json!({ "connectionId": connection }), "").await;
        assert_eq!(answer.code(), Some("INTERNAL"), "byte {byte}: {:#}", answer.body);
    }
    tamper(&stage, &row(&stage, &connection).await, sealed).await;
    assert_eq!(errors_of_a_round(&stage).await, "");
    assert_eq!(stage.admin.tray().await, Vec::<Value>::new(), "nobody was called for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_secret_is_not_reported_at_every_turn_of_the_jobs() {
    let stage = Stage::new().await;
    let connection = keyed(&stage, 0).await;
    let found = row(&stage, &connection).await;
    tamper(&stage, &found, b"damaged".to_vec()).await;
    assert_ne!(errors_of_a_round(&stage).await, "");
    let waits = row(&stage, &connection).await;
    assert!(waits.probe_at > found.probe_at, "it stands first in every round: {waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_mended_by_reconnecting() {
    let stage = Stage::new().await;
    let keyed = keyed(&stage, 0).await;
    let signed_in = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    let signed_in = signed_in["id"].as_str().unwrap();
    for connection in [&keyed, signed_in] {
        tamper(&stage, &row(&stage, connection).await, b"damaged".to_vec()).await;
    }
    let fields = json!([{ "name": "api_key", "value": stage.sandbox.keys()[0].value }]);
    stage.admin.does("reconnect", json!({ "connectionId": keyed, "credentials": fields }), "").await;
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), signed_in, "ASK", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    assert_eq!(errors_of_a_round(&stage).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_can_be_removed() {
    let stage = Stage::new().await;
    let connection = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    let id = connection["id"].as_str().unwrap();
    tamper(&stage, &row(&stage, id).await, b"damaged".to_vec()).await;
    stage.admin.does("removeConnection", json!({ "connectionId": id }), "removedConnectionId").await;
    assert_eq!(stage.admin.sees("{ connections { totalCount } }").await["connections"]["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_with_a_damaged_secret_ends_nowhere_and_another_works() {
    let stage = Stage::new().await;
    let connect = json!({ "connector": "sandbox-analytics", "using": { "browser": {} } });
    let started = stage.admin.does("connect", connect.clone(), "attempt { id authorizationUrl }").await;
    let found = entity::attempt::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    let mut changed: entity::attempt::ActiveModel = found.into();
    changed.secret = Set(Some(b"damaged".to_vec()));
    changed.update(stage.db.writer()).await.unwrap();
    let landing = stage.browser().opens(started["attempt"]["authorizationUrl"].as_str().unwrap()).await;
    assert_eq!((landing.status, landing.location), (503, None), "{}", landing.body);
    stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_cannot_be_read_are_looked_at_once_in_a_tick() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let its = row(&stage, &grant.lamps).await;
    tamper(&stage, &its, b"nothing that was sealed".to_vec()).await;
    stage.later(TimeDelta::minutes(58));
    // A round that took it up again and again would never end.
    within_patience(stage.run_jobs()).await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 0);
    let after = row(&stage, &grant.lamps).await;
    assert!(after.renew_at > its.renew_at, "it is due again later: {after:?}");
}
