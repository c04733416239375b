//! What becomes of open sockets when their people may no longer come in, may no longer see what they saw, or their
//! tokens end.

use chrono::TimeDelta;
use patchbay::clock::Clock;
use serde_json::{Value, json};

use crate::{
    agency::{Agency, ids as ids_of},
    harness::{Frame, Person, Socket},
};

const VIEWER: &str = "{ viewer { user { id } } }";
const CHANGES: &str = "subscription($after: String) { connectionsChanged(after: $after) { kind connections { id } } }";

// ── people who leave, and roles that change ──

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_who_was_deactivated_is_closed_before_any_later_event() {
    let agency = Agency::new().await;
    for subscription in
        [CHANGES, "subscription { notificationAdded { cursor } }", "subscription { notificationsRead { cursor } }"]
    {
        let mut socket = agency.staff.socket().await;
        socket.subscribe("1", subscription, json!({})).await;
        running(&mut socket).await;
        agency.changes(&agency.staff, json!({ "active": false })).await;
        agency.renames(&agency.acme_ads, "Renamed").await;
        assert_eq!(socket.closed().await, 4403, "{subscription}");
        agency.changes(&agency.staff, json!({ "active": true })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_socket_of_who_was_deactivated_serves_nothing() {
    let agency = Agency::new().await;
    let mut socket = agency.staff.socket().await;
    agency.changes(&agency.staff, json!({ "active": false })).await;
    socket.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(socket.closed().await, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_role_ends_every_subscription_with_cursor_expired_and_no_later_event_comes() {
    let agency = Agency::new().await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": agency.globex, "using": { "browser": {} } });
    let attempt = agency.staff.does("connect", input, "attempt { id }").await["attempt"]["id"].clone();
    let cursor = agency.admin.event_cursor().await;
    let mut socket = agency.staff.socket().await;
    let attempts = "subscription($id: ID!) { authorizationAttemptChanged(id: $id) { status } }";
    socket.subscribe("attempt", attempts, json!({ "id": attempt })).await;
    assert_eq!(socket.event().await["authorizationAttemptChanged"]["status"], "PENDING");
    let added = "subscription($after: String) { notificationAdded(after: $after) { cursor } }";
    let read = "subscription($after: String) { notificationsRead(after: $after) { cursor } }";
    for (id, subscription) in [("changes", CHANGES), ("added", added), ("read", read)] {
        socket.subscribe(id, subscription, json!({ "after": cursor })).await;
    }
    agency.renames(&agency.globex_ads, "Seen still").await;
    assert_eq!(ids_of(&socket.event().await["connectionsChanged"]["connections"]), [agency.globex_ads.as_str()]);

    agency.changes(&agency.staff, json!({ "role": "MEMBER" })).await;
    agency.renames(&agency.globex_ads, "Hidden by now").await;
    let mut ended = Vec::new();
    for _ in 0..4 {
        let Frame::Message(message) = socket.next().await else { panic!("the socket was closed") };
        assert_eq!(
            (&message["type"], &message["payload"][0]["extensions"]["code"]),
            (&json!("error"), &json!("CURSOR_EXPIRED")),
            "{message:#}"
        );
        ended.push(message["id"].as_str().unwrap().to_owned());
    }
    ended.sort();
    assert_eq!(ended, ["added", "attempt", "changes", "read"]);

    // The socket itself stays, and sees what a MEMBER sees.
    socket.subscribe("again", CHANGES, json!({ "after": agency.staff.event_cursor().await })).await;
    agency.renames(&agency.acme_ads, "Hidden as well").await;
    agency.shares(&agency.acme_ads, &agency.staff).await;
    let Frame::Message(next) = socket.next().await else { panic!("the socket was closed") };
    let change = &next["payload"]["data"]["connectionsChanged"];
    assert_eq!((&next["id"], &change["kind"]), (&json!("again"), &json!("ADDED")), "{next:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_moves_to_another_client_hears_nothing_more_of_the_first() {
    let agency = Agency::new().await;
    let mut socket = agency.acme_login.socket().await;
    socket.subscribe("1", CHANGES, json!({ "after": agency.acme_login.event_cursor().await })).await;
    agency.changes(&agency.acme_login, json!({ "clientId": agency.globex })).await;
    agency.renames(&agency.acme_ads, "Hidden by now").await;
    assert_eq!(socket.error().await, "CURSOR_EXPIRED");
    assert_eq!(agency.acme_login.connection(&agency.acme_ads).await, Value::Null);
    assert_eq!(agency.acme_login.connection(&agency.globex_ads).await["name"], "Globex Ads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_from_before_a_change_of_role_has_expired() {
    let agency = Agency::new().await;
    let before = agency.staff.event_cursor().await;
    agency.changes(&agency.staff, json!({ "role": "MEMBER" })).await;
    let after = agency.staff.event_cursor().await;
    agency.shares(&agency.acme_ads, &agency.staff).await;

    let mut socket = agency.staff.socket().await;
    socket.subscribe("1", CHANGES, json!({ "after": before })).await;
    assert_eq!(socket.error().await, "CURSOR_EXPIRED");
    let polled = "query($after: String!) { connectionChanges(after: $after) { nodes { kind } } }";
    let answer = agency.staff.tries(polled, json!({ "variables": { "after": before } })).await;
    assert_eq!((answer.code(), &answer.body["data"]), (Some("CURSOR_EXPIRED"), &Value::Null));

    socket.subscribe("2", CHANGES, json!({ "after": after })).await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "ADDED");
    // To everybody else nothing has expired.
    let mut other = agency.admin.socket().await;
    other.subscribe("1", CHANGES, json!({ "after": before })).await;
    assert_eq!(other.event().await["connectionsChanged"]["kind"], "UPDATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_ends_no_subscription() {
    let agency = Agency::new().await;
    let mut socket = agency.staff.socket().await;
    socket.subscribe("1", CHANGES, json!({ "after": agency.staff.event_cursor().await })).await;
    agency.changes(&agency.staff, json!({ "name": "Stella S." })).await;
    agency.renames(&agency.acme_ads, "Renamed").await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "UPDATED");
}

// ── keys ──

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_a_revoked_key_is_closed_before_any_later_event_and_let_in_no_more() {
    let agency = Agency::new().await;
    for subscription in [CHANGES, "subscription { notificationAdded { cursor } }"] {
        let (key, holder) = agency.admin.makes_key(json!({ "name": "Dashboard", "role": "STAFF" })).await;
        let (mut socket, mut idle) = (holder.socket().await, holder.socket().await);
        socket.subscribe("1", subscription, json!({})).await;
        running(&mut socket).await;
        agency.admin.does("revokeApiKey", json!({ "apiKeyId": key }), "").await;
        agency.renames(&agency.acme_ads, "Renamed").await;
        assert_eq!(socket.closed().await, 4403, "{subscription}");
        idle.subscribe("1", VIEWER, json!({})).await;
        assert_eq!(idle.closed().await, 4403);
        assert_eq!(holder.tries(VIEWER, Value::Null).await.code(), Some("UNAUTHENTICATED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_with_the_activity_of_its_maker() {
    let agency = Agency::new().await;
    let (second, holder) = second_admin_with_key(&agency, json!({ "name": "Dashboard", "role": "STAFF" })).await;
    let mut socket = holder.socket().await;
    socket.subscribe("1", CHANGES, json!({})).await;
    running(&mut socket).await;
    agency.changes(&second, json!({ "active": false })).await;
    agency.renames(&agency.acme_ads, "Renamed").await;
    assert_eq!(socket.closed().await, 4403);
    assert_eq!(holder.tries(VIEWER, Value::Null).await.code(), Some("UNAUTHENTICATED"));

    agency.changes(&second, json!({ "active": true })).await;
    assert_eq!(holder.tries(VIEWER, Value::Null).await.code(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_role_of_its_maker_ends_the_subscriptions_of_a_key_and_no_later_event_comes() {
    let agency = Agency::new().await;
    let (second, holder) = second_admin_with_key(&agency, json!({ "name": "Dashboard", "role": "STAFF" })).await;
    let mut socket = holder.socket().await;
    socket.subscribe("1", CHANGES, json!({ "after": holder.event_cursor().await })).await;
    agency.renames(&agency.globex_ads, "Seen still").await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "UPDATED");
    agency.changes(&second, json!({ "role": "MEMBER" })).await;
    agency.renames(&agency.globex_ads, "Hidden by now").await;
    assert_eq!(socket.error().await, "CURSOR_EXPIRED");

    // The socket itself stays, and sees what its maker sees.
    socket.subscribe("2", CHANGES, json!({ "after": holder.event_cursor().await })).await;
    agency.renames(&agency.acme_ads, "Hidden as well").await;
    agency.shares(&agency.acme_ads, &second).await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "ADDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_whose_key_has_expired_is_closed_and_sends_no_event_after() {
    let agency = Agency::new().await;
    let end = agency.stage.clock.now() + TimeDelta::minutes(5);
    let input = json!({ "name": "Brief", "role": "STAFF", "expiresAt": end.to_rfc3339() });
    let (_, holder) = agency.admin.makes_key(input).await;
    let mut socket = holder.socket().await;
    socket.subscribe("1", CHANGES, json!({ "after": holder.event_cursor().await })).await;
    agency.renames(&agency.acme_ads, "In time").await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "UPDATED");
    agency.stage.later(TimeDelta::minutes(6));
    agency.renames(&agency.acme_ads, "Too late").await;
    assert_eq!(socket.closed().await, 4403);
    assert_eq!(holder.tries(VIEWER, Value::Null).await.code(), Some("UNAUTHENTICATED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sockets_of_a_clients_login_and_key_are_closed_when_the_client_is_removed() {
    let agency = Agency::new().await;
    let input = json!({ "name": "Theirs", "role": "CLIENT", "clientId": agency.acme });
    let (_, holder) = agency.admin.makes_key(input).await;
    let mut sockets = [agency.acme_login.socket().await, holder.socket().await];
    for socket in &mut sockets {
        socket.subscribe("1", CHANGES, json!({})).await;
        running(socket).await;
    }
    let input = json!({ "clientId": agency.acme, "removeConnections": true });
    agency.admin.does("removeClient", input, "removedClientId").await;
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 4403);
    }
}

/// A second ADMIN, and whoever holds a key that they made.
async fn second_admin_with_key(agency: &Agency, key: Value) -> (Person, Person) {
    let second = agency.stage.person("Otis", "ADMIN", None).await;
    let (_, holder) = second.makes_key(key).await;
    (second, holder)
}

// ── tokens that end ──

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_whose_token_has_expired_is_closed_and_sends_no_event_after() {
    let agency = Agency::new().await;
    let brief =
        Person::new(&agency.stage.url, &agency.staff.id, agency.stage.token(&agency.staff.id, TimeDelta::minutes(5)));
    let mut socket = brief.socket().await;
    socket.subscribe("1", CHANGES, json!({ "after": brief.event_cursor().await })).await;
    agency.renames(&agency.acme_ads, "In time").await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "UPDATED");
    let mut idle = brief.socket().await;
    agency.stage.later(TimeDelta::minutes(6));
    agency.renames(&agency.acme_ads, "Too late").await;
    assert_eq!(socket.closed().await, 4403);
    idle.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(idle.closed().await, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_closed_when_its_token_expires_though_nothing_happens() {
    let agency = Agency::new().await;
    // The server counts these seconds by itself.
    let brief =
        Person::new(&agency.stage.url, &agency.staff.id, agency.stage.token(&agency.staff.id, TimeDelta::seconds(3)));
    let mut socket = brief.socket().await;
    socket.subscribe("1", CHANGES, json!({})).await;
    assert_eq!(socket.closed().await, 4403);
}

/// Waits until what was subscribed before has begun: the socket answers in order, and a query takes no shorter way.
async fn running(socket: &mut Socket) {
    socket.subscribe("running", "{ eventCursor }", json!({})).await;
    for expected in ["next", "complete"] {
        let Frame::Message(message) = socket.next().await else { panic!("the socket was closed") };
        assert_eq!((&message["id"], &message["type"]), (&json!("running"), &json!(expected)), "{message:#}");
    }
}
