//! Callers without a viewer, with no token or one that is refused: limited by where they are, on every transport.

use patchbay::config::Limits;

use super::*;
use crate::harness::Setup;

const QUESTION: &str = r#"{"query":"{ __typename }"}"#;

/// Two operations at once from an address, then one a second.
async fn strict_with(settings: &[(&str, &str)]) -> Stage {
    let limits: fn(&mut Limits) = |limits| (limits.address_requests_per_second, limits.address_request_burst) = (1, 2);
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Stage::with(Setup { limits: Some(limits), settings, ..Setup::default() }).await
}

/// That there were too many, and when to come back.
fn is_too_many(reply: &Reply) {
    assert_eq!((reply.status, reply.code()), (429, json!("RATE_LIMITED")), "{}", reply.text);
    assert!(reply.json()["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap() >= 1, "{}", reply.text);
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_ask_over_http_is_limited_and_viewers_are_not() {
    let get = |stage: &Stage| client().get(stage.url.join("/graphql?query=%7B__typename%7D").unwrap());
    let aliased =
        r#"{"query":"{ a: __schema { description } b: __schema { description } c: __schema { description } }"}"#;
    for way in ["post", "get", "event stream", "batch", "aliases", "refused token"] {
        let stage = strict_with(&[]).await;
        let asks = async || match way {
            "post" => Reply::of(post(&stage, None, STRICT).body(QUESTION)).await,
            "get" => Reply::of(get(&stage)).await,
            "event stream" => Reply::of(post(&stage, None, "text/event-stream").body(QUESTION)).await,
            "batch" => Reply::of(post(&stage, None, STRICT).body(format!("[{QUESTION},{QUESTION}]"))).await,
            "aliases" => Reply::of(post(&stage, None, STRICT).body(aliased)).await,
            _ => Reply::of(post(&stage, Some("pbk_guessed"), STRICT).body(QUESTION)).await,
        };
        let mut replies = Vec::new();
        for _ in 0..4 {
            replies.push(asks().await);
        }
        is_too_many(&replies[3]);
        let first = if way == "aliases" {
            429
        } else if way == "refused token" {
            401
        } else {
            200
        };
        assert_eq!(replies[0].status, first, "{way}: {}", replies[0].text);
        assert_eq!(ask(&stage, &json!({ "query": "{ viewer { role } }" })).await.status, 200, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_without_a_viewer_are_limited_and_those_of_viewers_are_not() {
    for payload in [json!({}), json!({ "authorization": "Bearer guessed" }), json!({ "authorization": "guessed" })] {
        let stage = strict_with(&[]).await;
        let mut last = None;
        for _ in 0..4 {
            let mut socket = Socket::open(&stage.url).await;
            socket.send(json!({ "type": "connection_init", "payload": payload })).await;
            last = Some(socket.next().await);
        }
        assert_eq!(last, Some(Frame::Closed(1013)), "{payload}");
        assert!(admitted(&stage, &stage.admin).await.is_some(), "{payload}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_ask_the_database_are_limited_and_health_is_not() {
    for path in
        ["/oauth/start/attempt_x", "/oauth/callback/stripe?state=x", "/connect/x", "/reconnect/x", "/unsubscribe/x"]
    {
        let stage = strict_with(&[]).await;
        let mut replies = Vec::new();
        for _ in 0..4 {
            replies.push(Reply::of(client().get(stage.url.join(path).unwrap())).await);
        }
        assert_ne!(replies[0].status, 429, "{path}");
        assert_eq!(replies[3].status, 429, "{path}");
        assert!(replies[3].header("retry-after").parse::<u64>().unwrap() >= 1, "{path}");
        for path in ["/healthz", "/readyz", "/metrics", "/"] {
            assert_eq!(Reply::of(client().get(stage.url.join(path).unwrap())).await.status, 200, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_is_counted_where_they_are() {
    let asks = async |stage: &Stage, from: &str| {
        Reply::of(post(stage, None, STRICT).header("x-forwarded-for", from).body(QUESTION)).await.status
    };
    let stage = strict_with(&[("PATCHBAY_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    for last in 1..=6 {
        assert_eq!(asks(&stage, &format!("198.51.100.1, 203.0.113.{last}")).await, 200);
    }
    let flood = [0; 4].map(|_| "203.0.113.1");
    let mut statuses = Vec::new();
    for from in flood {
        statuses.push(asks(&stage, from).await);
    }
    assert_eq!(statuses[3], 429);
    assert_eq!(asks(&stage, "203.0.113.7").await, 200);

    let stage = strict_with(&[]).await;
    let mut statuses = Vec::new();
    for last in 1..=4 {
        statuses.push(asks(&stage, &format!("203.0.113.{last}")).await);
    }
    assert_eq!(statuses[3], 429, "what another says is not believed");
}
