//! Operations as event streams, for clients behind proxies that break websockets.

use std::time::Duration;

use chrono::TimeDelta;
use patchbay::config::Limits;
use serde_json::{Value, json};

use super::*;
use crate::harness::Setup;

async fn limited(limits: fn(&mut Limits)) -> Stage {
    Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await
}

/// A stream that a test reads.
struct Stream {
    response: reqwest::Response,
    read: String,
}

impl Stream {
    async fn open(stage: &Stage, token: Option<&str>, query: &str, variables: Value) -> Self {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let response = post(stage, token, "text/event-stream").body(body).send().await.unwrap();
        Self { response, read: String::new() }
    }

    /// The next block that ends with an empty line; none at the stream's end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(block);
            }
            let chunk =
                tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await.expect("nothing came");
            self.read += std::str::from_utf8(&chunk.ok()??).unwrap();
        }
    }

    /// The next event: its name and its data.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block().await?;
            if let Some((name, data)) = block.strip_prefix("event: ").and_then(|event| event.split_once("\ndata:")) {
                return Some((name.to_owned(), serde_json::from_str(data.trim()).unwrap_or_default()));
            }
        }
    }

    /// The names of all events until the stream ends, and the data of the last `next`.
    async fn rest(mut self) -> (Vec<String>, Value) {
        let (mut names, mut last) = (Vec::new(), Value::Null);
        while let Some((name, data)) = self.event().await {
            if name == "next" {
                last = data;
            }
            names.push(name);
        }
        (names, last)
    }
}

async fn watch(stage: &Stage, person: &Person) -> Stream {
    let after = person.event_cursor().await;
    Stream::open(stage, Some(&person.token), CHANGES, json!({ "after": after })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_streams_its_events() {
    let stage = Stage::new().await;
    let connection = connected(&stage).await;
    let mut stream = watch(&stage, &stage.admin).await;
    for name in ["First", "Second"] {
        rename(&stage, &connection, name).await;
        let (event, data) = stream.event().await.unwrap();
        assert_eq!(event, "next");
        assert_eq!(data["data"]["connectionsChanged"]["connections"][0]["name"], name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_an_end_completes() {
    let stage = Stage::new().await;
    let token = Some(stage.admin.token.as_str());
    let query = Stream::open(&stage, token, "{ viewer { role } }", json!({})).await;
    let expected = json!({ "data": { "viewer": { "role": "ADMIN" } } });
    assert_eq!(query.rest().await, (vec!["next".to_owned(), "complete".to_owned()], expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_in_the_stream() {
    let stage = Stage::new().await;
    for query in [
        "subscription { hunter2 }",
        "{ hunter2",
        &bomb(),
        "subscription { connectionsChanged(after: \"hunter2\") { kind } }",
    ] {
        let stream = Stream::open(&stage, Some(&stage.admin.token), query, json!({})).await;
        assert_eq!(stream.response.status(), 200);
        let (names, last) = stream.rest().await;
        assert_eq!(names, ["next", "complete"], "{query}");
        assert!(last["errors"][0]["extensions"]["code"].is_string(), "{last}");
        assert!(!last.to_string().contains("hunter2"), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_subscribes() {
    let stage = Stage::new().await;
    for token in [None, Some("garbage")] {
        assert_eq!(Stream::open(&stage, token, CHANGES, json!({})).await.response.status(), 401, "{token:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_is_kept_alive() {
    let stage = limited(|limits| limits.ping_interval = Duration::from_millis(50)).await;
    let mut stream = watch(&stage, &stage.admin).await;
    for _ in 0..3 {
        assert_eq!(stream.block().await.as_deref(), Some(":"), "a comment");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_does() {
    let stage = Stage::new().await;
    let brief = Person::new(&stage.url, &stage.admin.id, stage.token(&stage.admin.id, TimeDelta::seconds(2)));
    let (names, last) = watch(&stage, &brief).await.rest().await;
    assert_eq!(names, ["next", "complete"]);
    assert_eq!(last["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_take_the_same_seats_as_sockets_and_leaving_makes_room() {
    let stage = limited(|limits| limits.sockets_per_viewer = 1).await;
    let staff = stage.person("Tomas", "STAFF", None).await;
    let socket = admitted(&stage, &stage.admin).await.unwrap();
    let refused = Stream::open(&stage, Some(&stage.admin.token), CHANGES, json!({})).await;
    assert_eq!(refused.response.status(), 429);
    let other = Stream::open(&stage, Some(&staff.token), CHANGES, json!({})).await;
    assert_eq!(other.response.status(), 200, "of somebody else");
    drop(other);
    eventually_admitted(&stage, &staff).await;
    drop(socket);
    eventually_admitted(&stage, &stage.admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_cuts_streams_without_completing_them() {
    let stage = Stage::new().await;
    let connection = connected(&stage).await;
    let mut stream = watch(&stage, &stage.admin).await;
    rename(&stage, &connection, "Renamed").await;
    assert_eq!(stream.event().await.unwrap().0, "next");
    drop(stage);
    assert_eq!(stream.rest().await.0, Vec::<String>::new(), "its client is to come back with the cursor it has");
}
