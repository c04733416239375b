//! graphql-transport-ws while all is well: operations beside each other, each with its own end.

use serde_json::json;

use super::*;

async fn watching(stage: &Stage, person: &Person, id: &str) -> Socket {
    let after = person.event_cursor().await;
    let mut socket = admitted(stage, person).await.unwrap();
    socket.subscribe(id, CHANGES, json!({ "after": after })).await;
    socket
}

fn next_name(frame: &Frame) -> (Value, Value) {
    let Frame::Message(message) = frame else { panic!("{frame:?}") };
    assert_eq!(message["type"], "next", "{message}");
    (message["id"].clone(), message["payload"]["data"]["connectionsChanged"]["connections"][0]["name"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_sends_each_event_once_under_its_id() {
    let stage = Stage::new().await;
    let connection = connected(&stage).await;
    let mut socket = watching(&stage, &stage.admin, "one").await;
    for name in ["First", "Second"] {
        rename(&stage, &connection, name).await;
        assert_eq!(next_name(&socket.next().await), (json!("one"), json!(name)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_an_end_completes() {
    let stage = Stage::new().await;
    let input = json!({ "connector": "sandbox-analytics", "using": { "browser": {} } });
    let started = stage.admin.does("connect", input, "attempt { id authorizationUrl }").await["attempt"].clone();
    let mut socket = stage.admin.socket().await;
    let watch = "subscription($id: ID!) { authorizationAttemptChanged(id: $id) { status } }";
    socket.subscribe("a", watch, json!({ "id": started["id"] })).await;
    assert_eq!(socket.event().await["authorizationAttemptChanged"]["status"], "PENDING");
    stage.browser().signs_in(started["authorizationUrl"].as_str().unwrap(), "ada").await;
    assert_eq!(socket.event().await["authorizationAttemptChanged"]["status"], "SUCCEEDED");
    assert_eq!(socket.next().await, Frame::Message(json!({ "id": "a", "type": "complete" })));
    socket.subscribe("a", "{ viewer { role } }", json!({})).await;
    assert_eq!(socket.event().await["viewer"]["role"], "ADMIN", "the id is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_ends_a_subscription_and_frees_its_id() {
    let stage = Stage::new().await;
    let connection = connected(&stage).await;
    let mut socket = watching(&stage, &stage.admin, "1").await;
    rename(&stage, &connection, "First").await;
    assert_eq!(next_name(&socket.next().await), (json!("1"), json!("First")));
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    let after = stage.admin.event_cursor().await;
    socket.subscribe("1", CHANGES, json!({ "after": after })).await;
    for name in ["Second", "Third"] {
        rename(&stage, &connection, name).await;
        assert_eq!(next_name(&socket.next().await), (json!("1"), json!(name)), "from one subscription, once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_mutations_go_over_the_socket_too() {
    let stage = Stage::new().await;
    let mut socket = stage.admin.socket().await;
    let create = "mutation { createClient(input: {name: \"Acme\"}) { client { name } } }";
    socket.subscribe("1", create, json!({})).await;
    assert_eq!(socket.event().await, json!({ "createClient": { "client": { "name": "Acme" } } }));
    assert_eq!(socket.next().await, Frame::Message(json!({ "id": "1", "type": "complete" })));
    socket.subscribe("2", "{ node(id: \"nonsense\") { id } connections(first: 1000) { totalCount } }", json!({})).await;
    let Frame::Message(message) = socket.next().await else { panic!() };
    assert_eq!(message["type"], "next", "an error of a field stands beside the data: {message}");
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(socket.next().await, Frame::Message(json!({ "id": "2", "type": "complete" })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_before_it_runs_is_an_error_of_that_operation_alone() {
    let stage = Stage::new().await;
    let connection = connected(&stage).await;
    let mut socket = watching(&stage, &stage.admin, "alive").await;
    for document in [
        "{ hunter2 }",
        "{ hunter2",
        "subscription { connectionsChanged(filter: {status: [hunter2]}) { kind } }",
        "subscription { connectionsChanged(after: \"hunter2\") { kind } }",
        "subscription { authorizationAttemptChanged(id: \"hunter2\") { status } }",
        "subscription { a: eventCursor connectionsChanged { kind } }",
    ] {
        socket.subscribe("x", document, json!({})).await;
        let Frame::Message(message) = socket.next().await else { panic!("{document}: closed") };
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("x")), "{document}: {message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], "BAD_USER_INPUT", "{document}: {message}");
        assert!(!message.to_string().contains("hunter2"), "{message}");
    }
    rename(&stage, &connection, "Still heard").await;
    assert_eq!(next_name(&socket.next().await), (json!("alive"), json!("Still heard")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_and_a_pong_is_not() {
    let stage = Stage::new().await;
    let mut socket = Socket::open(&stage.url).await;
    socket.send(json!({ "type": "pong" })).await;
    socket.send(json!({ "type": "ping", "payload": { "x": 1 } })).await;
    assert_eq!(socket.next_raw().await, Frame::Message(json!({ "type": "pong" })));
    socket.init(json!({ "authorization": format!("Bearer {}", stage.admin.token) })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscriptions_are_capped_and_the_first_go_on() {
    let stage = Stage::new().await;
    let connection = connected(&stage).await;
    let after = stage.admin.event_cursor().await;
    let mut socket = stage.admin.socket().await;
    for n in 0..1_000 {
        socket.subscribe(&n.to_string(), CHANGES, json!({ "after": after })).await;
    }
    for n in 100..1_000 {
        let Frame::Message(message) = socket.next().await else { panic!("closed") };
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(n.to_string())));
        assert_eq!(message["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    }
    rename(&stage, &connection, "Renamed").await;
    let mut heard = Vec::new();
    for _ in 0..100 {
        let (id, name) = next_name(&socket.next().await);
        assert_eq!(name, "Renamed");
        heard.push(id.as_str().unwrap().parse::<u32>().unwrap());
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_one_socket_take_turns() {
    let stage = Stage::new().await;
    let connection = connected(&stage).await;
    let after = stage.admin.event_cursor().await;
    for n in 0..200 {
        rename(&stage, &connection, &format!("Name {n}")).await;
    }
    let mut socket = stage.admin.socket().await;
    socket.subscribe("replay", CHANGES, json!({ "after": after })).await;
    socket.subscribe("query", "{ __typename }", json!({})).await;
    let (mut replayed, mut answered) = (0, None);
    while replayed < 200 {
        let Frame::Message(message) = socket.next().await else { panic!("closed") };
        match (message["id"].as_str(), message["type"].as_str()) {
            (Some("replay"), Some("next")) => {
                let name = &message["payload"]["data"]["connectionsChanged"]["connections"][0]["name"];
                assert_eq!(*name, "Name 199", "a replay shows what is there now");
                replayed += 1;
            }
            (Some("query"), Some("next")) => answered = Some(replayed),
            (Some("query"), Some("complete")) => {}
            _ => panic!("{message}"),
        }
    }
    assert!(answered.is_some_and(|before| before < 200), "the query waited for the whole replay");
}
