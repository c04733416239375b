//! Clients that do not read, or are not there any more: closed at their bound, and nobody else notices.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::harness::Setup;

/// An answer of some hundred kilobytes.
pub fn large_query() -> String {
    let fields: String = (0..90).map(|n| format!("a{n}: connectors {{ nodes {{ requirements }} }} ")).collect();
    format!("{{ {fields} }}")
}

async fn with_one_socket_each(change: fn(&mut patchbay::config::Limits)) -> Stage {
    Stage::with(Setup { limits: Some(change), ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_closed_and_the_others_hear_everything() {
    let stage = with_one_socket_each(|limits| {
        limits.sockets_per_viewer = 1;
        limits.read_timeout = Duration::from_millis(500);
        limits.farewell = Duration::from_millis(100);
    })
    .await;
    let staff = stage.person("Tomas", "STAFF", None).await;
    let connection = connected(&stage).await;
    let after = stage.admin.event_cursor().await;

    let mut deaf = Socket::open_narrow(&stage.url).await;
    deaf.init(json!({ "authorization": format!("Bearer {}", staff.token) })).await;
    deaf.subscribe("changes", CHANGES, json!({ "after": after })).await;
    for n in 0..40 {
        deaf.subscribe(&n.to_string(), &large_query(), json!({})).await;
    }

    let mut reader = admitted(&stage, &stage.admin).await.unwrap();
    reader.subscribe("changes", CHANGES, json!({ "after": after })).await;
    for n in 0..20 {
        rename(&stage, &connection, &format!("Name {n}")).await;
        let event = reader.event().await;
        assert_eq!(event["connectionsChanged"]["connections"][0]["name"], format!("Name {n}"));
    }
    eventually_admitted(&stage, &staff).await;
    assert_ne!(deaf.ends().await, 1000, "what it had not read yet, and then an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_late_but_reads_gets_everything() {
    let stage = with_one_socket_each(|limits| limits.outbox_messages = 3).await;
    let connection = connected(&stage).await;
    let after = stage.admin.event_cursor().await;
    for n in 0..30 {
        rename(&stage, &connection, &format!("Name {n}")).await;
    }
    let mut socket = Socket::open_narrow(&stage.url).await;
    socket.init(json!({ "authorization": format!("Bearer {}", stage.admin.token) })).await;
    socket.subscribe("changes", CHANGES, json!({ "after": after })).await;
    socket.subscribe("large", &large_query(), json!({})).await;
    let (mut events, mut large) = (0, false);
    while events < 30 || !large {
        let Frame::Message(message) = socket.next().await else { panic!("closed after {events} events") };
        match (message["id"].as_str(), message["type"].as_str()) {
            (Some("changes"), Some("next")) => events += 1,
            (Some("large"), Some("next")) => large = message["payload"]["errors"].is_null(),
            (Some("large"), Some("complete")) => {}
            _ => panic!("{message}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_vanished_is_given_up_and_one_that_answers_pings_stays() {
    let stage = with_one_socket_each(|limits| {
        limits.sockets_per_viewer = 1;
        limits.ping_interval = Duration::from_millis(200);
    })
    .await;
    let staff = stage.person("Tomas", "STAFF", None).await;
    // Nobody reads from it, so nobody answers its pings.
    let mut vanished = admitted(&stage, &staff).await.unwrap();
    vanished.subscribe("1", CHANGES, json!({})).await;
    let mut present = admitted(&stage, &stage.admin).await.unwrap();
    tokio::select! {
        _socket = eventually_admitted(&stage, &staff) => {}
        frame = present.next() => panic!("{frame:?}"),
    }
    present.subscribe("1", "{ viewer { role } }", json!({})).await;
    assert_eq!(present.event().await["viewer"]["role"], "ADMIN");
}
