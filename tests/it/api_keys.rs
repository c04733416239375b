//! API keys: shown once, acting for whoever made them, within their role and never beyond what that person may do now.

use chrono::{DateTime, TimeDelta};
use entity::api_key;
use patchbay::{
    clock::Clock,
    ids::{self, Kind},
};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::{
    agency::{Agency, ask_with, id, ids as ids_of},
    harness::{Person, Stage, each, leave_out, nodes, tables},
};

const KEY: &str = "id name prefix role client { id } readOnly createdBy { id } createdAt expiresAt lastUsedAt";
const WHO: &str = "{ viewer { id role user { id } apiKey { id name } workspace { id } } }";

async fn keys(person: &Person) -> Vec<Value> {
    nodes(&person.sees(&format!("{{ apiKeys {{ nodes {{ {KEY} }} }} }}")).await["apiKeys"])
}

/// The code of the refusal of a plain question; none when it is answered.
async fn refusal(person: &Person) -> Option<String> {
    person.tries(WHO, Value::Null).await.code().map(str::to_owned)
}

fn refused() -> Option<String> {
    Some("UNAUTHENTICATED".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_acts_for_whoever_made_it() {
    let stage = Stage::new().await;
    let input = json!({ "name": " Nightly export ", "role": "STAFF", "expiresAt": "2027-01-01T00:00:00Z" });
    let made = stage.admin.does("createApiKey", input, &format!("apiKey {{ {KEY} }} secret")).await;
    let (key, secret) = (&made["apiKey"], made["secret"].as_str().unwrap());
    assert_eq!((&key["name"], &key["role"]), (&json!("Nightly export"), &json!("STAFF")));
    assert_eq!((&key["client"], &key["readOnly"]), (&Value::Null, &json!(false)));
    assert_eq!((&key["createdBy"]["id"], &key["lastUsedAt"]), (&json!(stage.admin.id), &Value::Null));
    assert_eq!(key["expiresAt"], "2027-01-01T00:00:00Z");
    assert!(secret.starts_with(key["prefix"].as_str().unwrap()) && secret.len() > 40, "{secret}");
    assert_eq!(&keys(&stage.admin).await[..], std::slice::from_ref(key));

    let holder = stage.admin.by(secret);
    let who = holder.sees(WHO).await["viewer"].clone();
    assert_eq!(who["apiKey"], json!({ "id": key["id"], "name": "Nightly export" }));
    assert_eq!((&who["user"]["id"], &who["role"]), (&json!(stage.admin.id), &json!("STAFF")));
    let person = stage.admin.sees(WHO).await["viewer"].clone();
    assert_eq!(person["apiKey"], Value::Null);
    assert_ne!(who["id"], person["id"], "they are two viewers");
    let found = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }";
    let found = holder.ask(found, json!({ "variables": { "ids": [who["id"], person["id"], key["id"]] } })).await;
    assert_eq!(
        found["nodes"],
        json!([{ "__typename": "Viewer", "id": who["id"] }, null, { "__typename": "ApiKey", "id": key["id"] }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_stored_nowhere_and_told_to_nobody() {
    let stage = Stage::new().await;
    let (_, holder) = stage.admin.makes_key(json!({ "name": "Export", "role": "ADMIN" })).await;
    let client = holder.creates_client("Acme").await;
    stage.admin.does("removeClient", json!({ "clientId": client }), "").await;
    let rest = holder.token.split_at(12).1;
    let rows = if stage.database.is_sqlite() {
        let rows = api_key::Entity::find().all(stage.db.reader()).await.unwrap();
        let entries = entity::journal_entry::Entity::find().all(stage.db.reader()).await.unwrap();
        format!("{rows:?} {entries:?}")
    } else {
        tables::dump(&stage.db).await
    };
    assert!(rows.contains("Export") && !rows.contains(rest));
    let log = stage.admin.sees("{ auditLog { nodes { action details } } apiKeys { nodes { prefix } } }").await;
    assert!(log.to_string().contains("api_key.created") && !log.to_string().contains(rest));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_key_is_refused_alike() {
    let stage = Stage::new().await;
    let (_, holder) = stage.admin.makes_key(json!({ "name": "Export", "role": "ADMIN" })).await;
    let almost = format!("{}x", &holder.token[..holder.token.len() - 1]);
    let longer = format!("{}x", holder.token);
    let lower = holder.token.to_lowercase();
    let jwt = format!("pbk_{}", stage.admin.token);
    let mut answers = Vec::new();
    for token in ["pbk_", "pbk_x", &almost, &longer, &lower, &jwt, "garbage"] {
        let answer = holder.by(token).tries(WHO, Value::Null).await;
        assert_eq!((answer.status, answer.code()), (401, Some("UNAUTHENTICATED")), "{token}");
        answers.push(answer.body["errors"][0]["message"].clone());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(refusal(&holder).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_good_in_its_own_workspace_alone() {
    let stage = Stage::new().await;
    let (_, holder) = stage.admin.makes_key(json!({ "name": "Export", "role": "ADMIN" })).await;
    let own = id(&stage.admin.sees(WHO).await["viewer"]["workspace"]);
    let other = id(&stage.stranger().await.sees(WHO).await["viewer"]["workspace"]);
    let bearer = format!("Bearer {}", holder.token);
    for (workspace, expected) in
        [(own.as_str(), None), (&other, Some("UNAUTHENTICATED")), ("none", Some("UNAUTHENTICATED"))]
    {
        let headers = [("authorization", bearer.as_str()), ("patchbay-workspace", workspace)];
        assert_eq!(ask_with(&stage.url, &headers, WHO).await.code(), expected, "{workspace}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_key_is_invalid_at_its_field() {
    let agency = Agency::new().await;
    let past = "2026-01-01T00:00:00Z";
    for (input, field) in [
        (json!({ "name": " ", "role": "STAFF" }), "name"),
        (json!({ "name": "a\nb", "role": "STAFF" }), "name"),
        (json!({ "name": "Key", "role": "MEMBER" }), "role"),
        (json!({ "name": "Key", "role": "CLIENT" }), "clientId"),
        (json!({ "name": "Key", "role": "STAFF", "clientId": agency.acme }), "clientId"),
        (json!({ "name": "Key", "role": "STAFF", "expiresAt": past }), "expiresAt"),
    ] {
        let payload = agency.admin.mutates("createApiKey", input.clone(), "apiKey { id } secret").await;
        assert_eq!((&payload["apiKey"], &payload["secret"]), (&Value::Null, &Value::Null), "{input}");
        assert_eq!(payload["errors"][0]["code"], "INVALID", "{input}");
        assert_eq!(payload["errors"][0]["field"], json!([field]), "{input}");
    }
    assert_eq!(keys(&agency.admin).await, [] as [Value; 0]);
    let nulls = json!({ "name": "Key", "role": "STAFF", "clientId": null, "readOnly": null, "expiresAt": null });
    agency.admin.does("createApiKey", nulls, "apiKey { id }").await;
    let late = json!({ "name": "Key", "role": "STAFF", "expiresAt": "9999-12-31T23:59:59Z" });
    let (_, holder) = agency.admin.makes_key(late).await;
    let mut socket = holder.socket().await;
    socket.subscribe("1", WHO, json!({})).await;
    assert_eq!(socket.event().await["viewer"]["role"], "STAFF");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_never_does_more_than_its_maker_may_now() {
    let agency = Agency::new().await;
    let maker = agency.stage.person("Otis", "ADMIN", None).await;
    let (_, admin) = maker.makes_key(json!({ "name": "A", "role": "ADMIN" })).await;
    let (_, staff) = maker.makes_key(json!({ "name": "S", "role": "STAFF" })).await;
    let (_, client) = maker.makes_key(json!({ "name": "C", "role": "CLIENT", "clientId": agency.acme })).await;
    let roles = async || {
        let mut roles = Vec::new();
        for holder in [&admin, &staff, &client] {
            let answer = holder.tries("{ viewer { role } connections { totalCount } }", Value::Null).await;
            let (role, count) = (&answer.body["data"]["viewer"]["role"], &answer.body["data"]["connections"]);
            let said = role.as_str().map(|role| format!("{role} {}", count["totalCount"]));
            roles.push(said.unwrap_or_else(|| answer.code().unwrap().to_owned()));
        }
        roles
    };
    assert_eq!(roles().await, ["ADMIN 3", "STAFF 3", "CLIENT 2"]);
    agency.changes(&maker, json!({ "role": "STAFF" })).await;
    assert_eq!(roles().await, ["STAFF 3", "STAFF 3", "CLIENT 2"]);
    assert_eq!(admin.tries("{ apiKeys { totalCount } }", Value::Null).await.code(), Some("FORBIDDEN"));
    agency.changes(&maker, json!({ "role": "MEMBER" })).await;
    agency.shares(&agency.globex_ads, &maker).await;
    assert_eq!(roles().await, ["MEMBER 1", "MEMBER 1", "UNAUTHENTICATED"]);
    agency.changes(&maker, json!({ "role": "CLIENT", "clientId": agency.acme })).await;
    assert_eq!(roles().await, ["UNAUTHENTICATED"; 3]);
    agency.changes(&maker, json!({ "role": "ADMIN" })).await;
    assert_eq!(roles().await, ["ADMIN 3", "STAFF 3", "CLIENT 2"]);
    agency.changes(&maker, json!({ "active": false })).await;
    assert_eq!(roles().await, ["UNAUTHENTICATED"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_does_is_its_makers_and_the_log_names_both() {
    let agency = Agency::new().await;
    let (key, holder) = agency.admin.makes_key(json!({ "name": "Zap", "role": "STAFF" })).await;
    let cursor = agency.admin.event_cursor().await;
    let ads = json!({ "connector": "sandbox-ads", "clientId": agency.acme, "accountId": "100-303", "name": "More" });
    let made = holder.connects_through(&agency.ads_authorization, ads).await;
    assert_eq!(made["createdBy"]["id"], json!(agency.admin.id));
    let mine = r#"{ connections(filter: { relation: [MADE_BY_ME], search: "More" }) { nodes { id } } }"#;
    for who in [&holder, &agency.admin] {
        assert_eq!(ids_of(&who.sees(mine).await["connections"]["nodes"]), [id(&made)]);
    }
    let changes =
        "query($after: String!) { connectionChanges(after: $after) { nodes { by { id } byApiKey { id name } } } }";
    let variables = json!({ "variables": { "after": cursor } });
    let seen = agency.staff.ask(changes, variables.clone()).await;
    let by = json!({ "by": { "id": agency.admin.id }, "byApiKey": { "id": key, "name": "Zap" } });
    assert_eq!(seen["connectionChanges"]["nodes"], json!([by]));
    let seen = agency.acme_login.ask(changes, variables).await;
    assert_eq!(seen["connectionChanges"]["nodes"][0]["byApiKey"], Value::Null, "to a CLIENT");

    let log =
        "query($key: ID!) { auditLog(filter: { apiKeyId: $key }) { nodes { action user { id } apiKey { id } } } }";
    let log = async || {
        let found = agency.admin.ask(log, json!({ "variables": { "key": key } })).await;
        nodes(&found["auditLog"])
    };
    let entry = json!({ "action": "connection.added", "user": { "id": agency.admin.id }, "apiKey": { "id": key } });
    assert_eq!(log().await, std::slice::from_ref(&entry));
    agency.admin.does("revokeApiKey", json!({ "apiKeyId": key }), "").await;
    assert_eq!(log().await, [entry], "what was revoked is still named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_reads_is_forbidden_every_change_before_anything_else() {
    let agency = Agency::new().await;
    let (_, holder) = agency.admin.makes_key(json!({ "name": "Reader", "role": "ADMIN", "readOnly": true })).await;
    let mutation = r#"mutation { one: createClient(input: { name: "A" }) { client { id } }
                                 two: createClient(input: { name: "" }) { errors { code } } }"#;
    let answer = holder.tries(mutation, Value::Null).await;
    assert_eq!((answer.code(), &answer.body["data"]), (Some("FORBIDDEN"), &Value::Null), "{:#}", answer.body);
    let mut socket = holder.socket().await;
    socket.subscribe("1", mutation, json!({})).await;
    let crate::harness::Frame::Message(message) = socket.next().await else { panic!("the socket was closed") };
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "FORBIDDEN", "{message:#}");
    assert_eq!(agency.admin.sees("{ clients { totalCount } }").await["clients"]["totalCount"], 2);
    assert_eq!(holder.sees("{ apiKeys { totalCount } }").await["apiKeys"]["totalCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_no_tray_and_leaves_its_makers_alone() {
    let agency = Agency::new().await;
    let (_, holder) = agency.admin.makes_key(json!({ "name": "Zap", "role": "ADMIN" })).await;
    agency.ada_leaves().await;
    let tray = "{ viewer { unreadNotificationCount notifications { totalCount nodes { id } } } }";
    let empty = json!({ "unreadNotificationCount": 0, "notifications": { "totalCount": 0, "nodes": [] } });
    assert_eq!(holder.sees(tray).await["viewer"], empty);
    let unread = agency.admin.sees(tray).await["viewer"].clone();
    assert_eq!(unread["unreadNotificationCount"], 1);
    let answer = holder.tries_mutation("markNotificationsRead", json!({}), "viewer { id }").await;
    assert_eq!(answer.code(), Some("FORBIDDEN"));
    assert_eq!(agency.admin.sees(tray).await["viewer"], unread);
    let node = "query($id: ID!) { node(id: $id) { id } }";
    let told = &unread["notifications"]["nodes"][0]["id"];
    assert_eq!(holder.ask(node, json!({ "variables": { "id": told } })).await["node"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_the_maker_are_not_the_keys_but_those_of_the_key_are_the_makers() {
    let agency = Agency::new().await;
    let (key, holder) = agency.admin.makes_key(json!({ "name": "Zap", "role": "STAFF" })).await;
    let reader = json!({ "name": "Theirs", "role": "CLIENT", "clientId": agency.acme });
    let (_, reader) = agency.admin.makes_key(reader).await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": agency.globex });
    let (mine, _) = agency.admin.starts_connecting(input.clone()).await;
    let (its, url) = holder.starts_connecting(input).await;
    for (who, seen) in [(&agency.admin, [true, true]), (&holder, [false, true]), (&reader, [false, false])] {
        let found = [!who.attempt(&mine).await.is_null(), !who.attempt(&its).await.is_null()];
        assert_eq!(found, seen);
    }
    // What was started with a key that is refused by now comes to nothing.
    agency.admin.does("revokeApiKey", json!({ "apiKeyId": key }), "").await;
    agency.stage.browser().signs_in(&url, "ada").await;
    assert_eq!(agency.admin.attempt(&its).await["status"], "FAILED");
    assert_eq!(agency.admin.sees("{ connections { totalCount } }").await["connections"]["totalCount"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_gone_and_an_expired_one_is_listed() {
    let agency = Agency::new().await;
    let (gone, holder) = agency.admin.makes_key(json!({ "name": "Gone", "role": "STAFF" })).await;
    let end = agency.stage.clock.now() + TimeDelta::minutes(5);
    let input = json!({ "name": "Brief", "role": "STAFF", "expiresAt": end.to_rfc3339() });
    let (_, brief) = agency.admin.makes_key(input).await;
    assert_eq!((refusal(&holder).await, refusal(&brief).await), (None, None));
    agency.stage.later(TimeDelta::minutes(6));
    let revoked = agency.admin.does("revokeApiKey", json!({ "apiKeyId": gone }), "revokedApiKeyId").await;
    assert_eq!(revoked["revokedApiKeyId"], json!(gone));
    assert_eq!((refusal(&holder).await, refusal(&brief).await), (refused(), refused()));
    assert_eq!(each(&keys(&agency.admin).await, "name"), ["Brief"]);
    let again = agency.admin.mutates("revokeApiKey", json!({ "apiKeyId": gone }), "revokedApiKeyId").await;
    assert_eq!(again["errors"][0]["code"], "NOT_FOUND");
    let node = "query($id: ID!) { node(id: $id) { id } }";
    assert_eq!(agency.admin.ask(node, json!({ "variables": { "id": gone } })).await["node"], Value::Null);
    assert_eq!(
        agency.staff.ask(node, json!({ "variables": { "id": keys(&agency.admin).await[0]["id"] } })).await["node"],
        Value::Null
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_noted_about_once_a_minute_and_not_in_the_journal() {
    let stage = Stage::new().await;
    let (key, holder) = stage.admin.makes_key(json!({ "name": "Zap", "role": "STAFF" })).await;
    let key = ids::decode(Kind::ApiKey, &key).unwrap();
    let stored = async || {
        let row = api_key::Entity::find_by_id(key).one(stage.db.reader()).await.unwrap();
        row.unwrap().last_used_at
    };
    let noted_after = async |before: Option<DateTime<_>>| {
        // It is written beside the request: a moment later.
        for _ in 0..200 {
            let now = stored().await;
            if now != before {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the use was not noted");
    };
    let cursor = holder.event_cursor().await;
    let first = noted_after(None).await;
    for _ in 0..5 {
        assert_eq!(holder.event_cursor().await.len(), cursor.len());
    }
    assert_eq!(stored().await, first, "within the minute");
    stage.later(TimeDelta::seconds(61));
    holder.sees(WHO).await;
    assert!(noted_after(first).await > first);
    assert!(!keys(&stage.admin).await[0]["lastUsedAt"].is_null());
    let log = "{ auditLog { totalCount } }";
    assert_eq!(stage.admin.sees(log).await["auditLog"]["totalCount"], 3, "workspace, ADMIN and key were made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_an_inactive_maker_are_refused_at_every_node() {
    let first = Stage::new().await;
    if first.database.is_sqlite() {
        leave_out("several nodes need PostgreSQL");
        return;
    }
    let second = first.another_node().await;
    let maker = first.person("Otis", "ADMIN", None).await;
    let (revoked, revoked_there) = first.admin.makes_key(json!({ "name": "A", "role": "STAFF" })).await;
    let (_, orphaned_there) = maker.makes_key(json!({ "name": "B", "role": "STAFF" })).await;
    let holders = [revoked_there, orphaned_there, maker.clone()].map(|holder| holder.at(&second.url));
    let mut sockets = Vec::new();
    for holder in &holders {
        let mut socket = holder.socket().await;
        let after = holder.event_cursor().await;
        let changes = "subscription($after: String) { connectionsChanged(after: $after) { kind } }";
        socket.subscribe("1", changes, json!({ "after": after })).await;
        sockets.push(socket);
    }
    first.admin.does("revokeApiKey", json!({ "apiKeyId": revoked }), "").await;
    first.admin.does("updateUser", json!({ "userId": maker.id, "active": false }), "").await;
    for (holder, socket) in holders.iter().zip(&mut sockets) {
        assert_eq!(socket.closed().await, 4403);
        assert_eq!(refusal(holder).await, refused());
    }
}
