//! With which code the server closes a socket, and when.

use std::time::Duration;

use chrono::TimeDelta;
use patchbay::config::Limits;
use serde_json::json;
use tokio_tungstenite::tungstenite::{self, Message, error::ProtocolError};

use super::*;
use crate::harness::{Setup, tables};

async fn limited(limits: fn(&mut Limits)) -> Stage {
    Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_closed_with_4408() {
    let stage = limited(|limits| limits.init_timeout = Duration::from_millis(200)).await;
    assert_eq!(Socket::open(&stage.url).await.closed().await, 4408);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_without_credentials_is_closed_with_4401() {
    let stage = limited(|limits| limits.init_timeout = Duration::from_millis(200)).await;
    let mut socket = Socket::open(&stage.url).await;
    socket.init(json!({})).await;
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_before_the_acknowledgement_or_without_credentials_is_closed_with_4401() {
    let stage = Stage::new().await;
    let mut socket = Socket::open(&stage.url).await;
    socket.subscribe("1", CHANGES, json!({})).await;
    assert_eq!(socket.closed().await, 4401);
    let mut socket = Socket::open(&stage.url).await;
    socket.init(json!({})).await;
    socket.subscribe("1", "{ __typename }", json!({})).await;
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_init_is_closed_with_4429() {
    let stage = Stage::new().await;
    let mut socket = stage.admin.socket().await;
    socket.send(json!({ "type": "connection_init" })).await;
    assert_eq!(socket.closed().await, 4429);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_closed_with_4403() {
    let stage = Stage::new().await;
    let expired = stage.token(&stage.admin.id, TimeDelta::seconds(-1));
    let foreign = json!({ "authorization": format!("Bearer {}", stage.admin.token), "Patchbay-Workspace": "nonsense" });
    for payload in [
        json!({ "authorization": "Bearer garbage" }),
        json!({ "authorization": format!("Bearer {expired}") }),
        json!({ "authorization": stage.admin.token }),
        json!({ "authorization": "Basic bWFyYTp4" }),
        json!({ "authorization": 7 }),
        foreign,
    ] {
        let mut socket = Socket::open(&stage.url).await;
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(socket.closed().await, 4403, "{payload}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_closed_with_4400() {
    let stage = Stage::new().await;
    let no_messages = [
        "hunter2",
        "{}",
        "[]",
        "null",
        "",
        r#"{"type":"start","id":"1"}"#,
        r#"{"type":"subscribe","payload":{"query":"{ __typename }"}}"#,
        r#"{"type":"subscribe","id":"1"}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":7}}"#,
        r#"{"type":"subscribe","id":7,"payload":{"query":"{ __typename }"}}"#,
        r#"{"type":"complete"}"#,
    ];
    let frames = no_messages.map(Message::text).into_iter().chain([Message::binary(b"{}".to_vec())]);
    for frame in frames {
        let mut socket = stage.admin.socket().await;
        socket.send_frame(frame.clone()).await.unwrap();
        assert_eq!(socket.closed().await, 4400, "{frame:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_use_is_closed_with_4409() {
    let stage = Stage::new().await;
    let mut socket = stage.admin.socket().await;
    for _ in 0..2 {
        socket.subscribe("1", CHANGES, json!({})).await;
    }
    assert_eq!(socket.closed().await, 4409);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sub_protocol_is_not_agreed_to_and_who_names_none_is_closed_with_4406() {
    let stage = Stage::new().await;
    for protocol in ["graphql-ws", "chat"] {
        match Socket::dial(&stage.url, Some(protocol), None).await {
            Err(tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => {}
            _ => panic!("{protocol} was agreed to"),
        }
    }
    let mut socket = Socket::dial(&stage.url, None, None).await.unwrap();
    assert_eq!(socket.closed().await, 4406);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_stranger_gets_no_socket() {
    let stage = Stage::new().await;
    let dial = async |origin: &str| Socket::dial(&stage.url, Some("graphql-transport-ws"), Some(origin)).await;
    for origin in ["https://evil.example", "null", "http://app.example", "https://app.example.evil.example"] {
        match dial(origin).await {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 403, "{origin}"),
            _ => panic!("{origin} got a socket"),
        }
    }
    let own = stage.url.origin().ascii_serialization();
    for origin in ["https://app.example", &own] {
        assert!(dial(origin).await.is_ok(), "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_limit_is_closed_with_1009() {
    let stage = Stage::new().await;
    for bytes in [300_000, 5_000_000] {
        let mut socket = stage.admin.socket().await;
        // The server may close before all of it has arrived.
        let _ = socket.send_frame(Message::text("x".repeat(bytes))).await;
        assert_eq!(socket.closed().await, 1009, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_a_viewer_are_capped_and_one_that_leaves_makes_room() {
    let stage = limited(|limits| limits.sockets_per_viewer = 2).await;
    let first = admitted(&stage, &stage.admin).await.unwrap();
    let _second = admitted(&stage, &stage.admin).await.unwrap();
    assert!(admitted(&stage, &stage.admin).await.is_none(), "a third");
    let other = stage.person("Tomas", "STAFF", None).await;
    assert!(admitted(&stage, &other).await.is_some(), "of somebody else");
    drop(first);
    eventually_admitted(&stage, &stage.admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_closed_with_4403_when_its_token_ends() {
    let stage = Stage::new().await;
    let brief = Person::new(&stage.url, &stage.admin.id, stage.token(&stage.admin.id, TimeDelta::seconds(2)));
    let mut idle = brief.socket().await;
    let mut busy = brief.socket().await;
    busy.subscribe("1", CHANGES, json!({})).await;
    assert_eq!(idle.closed().await, 4403);
    assert_eq!(busy.closed().await, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_somebody_inactive_is_closed_with_4403_and_does_nothing() {
    let stage = Stage::new().await;
    let staff = stage.person("Tomas", "STAFF", None).await;
    let mut socket = staff.socket().await;
    stage.admin.does("updateUser", json!({ "userId": staff.id, "active": false }), "").await;
    let before = tables::counts(&stage.db).await;
    socket.subscribe("1", "mutation { createClient(input: {name: \"x\"}) { client { id } } }", json!({})).await;
    assert_eq!(socket.closed().await, 4403);
    assert_eq!(tables::counts(&stage.db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_closes_every_socket_with_1001() {
    let stage = Stage::new().await;
    let mut idle = stage.admin.socket().await;
    let mut silent = Socket::open(&stage.url).await;
    let mut busy = stage.admin.socket().await;
    busy.subscribe("1", CHANGES, json!({})).await;
    busy.subscribe("2", "{ __typename }", json!({})).await;
    busy.event().await;
    drop(stage);
    for socket in [&mut idle, &mut silent, &mut busy] {
        assert_eq!(socket.ends().await, 1001);
    }
}
