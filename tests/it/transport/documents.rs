//! Documents that ask for too much are refused before anything looks at them closely, by every way in.

use serde_json::json;

use super::*;

/// What is too much, and what it is refused as.
fn too_much() -> Vec<(&'static str, String, &'static str)> {
    let times = |n: usize, text: &dyn Fn(usize) -> String| (0..n).map(text).collect::<String>();
    let deep = format!("{{ {}id{} }}", "client { connections { nodes { ".repeat(10), " } } }".repeat(10));
    let circle = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }";
    vec![
        ("fragments that double", bomb(), "TOO_COMPLEX"),
        ("a circle of fragments", circle.to_owned(), "BAD_USER_INPUT"),
        ("deep", deep, "TOO_COMPLEX"),
        ("deep beyond any stack", "{ a ".repeat(30_000) + &"}".repeat(30_000), "TOO_COMPLEX"),
        ("a value deep beyond any stack", format!("{{ a(b: {}1) }}", "[".repeat(60_000)), "TOO_COMPLEX"),
        ("wide", format!("{{ {} }}", "__typename ".repeat(2_500)), "TOO_COMPLEX"),
        ("aliased", format!("{{ {} }}", times(101, &|n| format!("a{n}: __typename "))), "TOO_COMPLEX"),
        ("guesses", format!("{{ {} }}", times(500, &|n| format!("a{n}: node(id: \"{n}\") {{ id }} "))), "TOO_COMPLEX"),
        ("full of directives", format!("{{ __typename {} }}", "@include(if: true) ".repeat(60)), "TOO_COMPLEX"),
        ("pages in pages", "{ clients(first: 100) { nodes { connections(first: 100) { nodes { disconnections(first: 100) { nodes { id } } } } } } }".to_owned(), "TOO_COMPLEX"),
        ("long", format!("{{ __typename }} # {}", "x".repeat(200_000)), "TOO_COMPLEX"),
        ("many tokens", format!("{{ __typename {} }}", "@a(b:1)".repeat(2_000)), "TOO_COMPLEX"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_too_much_is_refused_over_http() {
    let stage = Stage::new().await;
    for (what, document, code) in too_much() {
        let reply = ask(&stage, &json!({ "query": document })).await;
        assert_eq!((reply.status, reply.code()), (400, json!(code)), "{what}: {}", reply.text);
        assert_eq!(reply.json().get("data"), None, "{what}");
        let nobody = post(&stage, None, STRICT).body(json!({ "query": document }).to_string());
        assert_eq!(Reply::of(nobody).await.status, 400, "{what}, asked by nobody");
    }
    assert_eq!(ask(&stage, &json!({ "query": "{ viewer { id } }" })).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_too_much_is_refused_over_a_socket() {
    let stage = Stage::new().await;
    let mut socket = stage.admin.socket().await;
    for (what, document, code) in too_much() {
        socket.subscribe(what, &document, json!({})).await;
        let Frame::Message(message) = socket.next().await else { panic!("{what}: closed") };
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(what)), "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], code, "{what}: {message}");
    }
    socket.subscribe("after", "{ viewer { role } }", json!({})).await;
    assert_eq!(socket.event().await["viewer"]["role"], "ADMIN");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_schema_can_be_read() {
    let stage = Stage::new().await;
    let query = include_str!("../../../src/graphql/guard/introspection.graphql");
    let reply = Reply::of(post(&stage, None, STRICT).body(json!({ "query": query }).to_string())).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(reply.json()["errors"].is_null());
}
