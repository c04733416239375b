//! API keys that make API keys: none outlives the one that made it, be it that this ends or that it is revoked.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use entity::api_key;
use migration::{Migrator, MigratorTrait};
use patchbay::{clock::Clock, db::Db};
use sea_orm::{ConnectionTrait, Database as SeaOrm, EntityTrait};
use serde_json::{Value, json};

use crate::harness::{Database, Person, Stage, each, nodes};

const WHO: &str = "{ viewer { id } }";

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn an_admins(name: &str, end: Option<&str>) -> Value {
    json!({ "name": name, "role": "ADMIN", "expiresAt": end })
}

async fn comes_in(holder: &Person) -> bool {
    holder.tries(WHO, Value::Null).await.code().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_no_key_that_ends_after_it() {
    let stage = Stage::new().await;
    let now = stage.clock.now();
    let (end, before, after) =
        (written(now + TimeDelta::days(7)), written(now + TimeDelta::days(6)), written(now + TimeDelta::days(8)));
    let (_, brief) = stage.admin.makes_key(an_admins("Brief", Some(&end))).await;
    let (_, lasting) = stage.admin.makes_key(an_admins("Lasting", None)).await;
    for (maker, wanted, refused) in [
        (&brief, None, true),
        (&brief, Some(&after), true),
        (&brief, Some(&end), false),
        (&brief, Some(&before), false),
        (&lasting, None, false),
        (&lasting, Some(&after), false),
        // A token of an hour is no key: what a person makes may stay.
        (&stage.admin, None, false),
        (&stage.admin, Some(&after), false),
    ] {
        for role in ["ADMIN", "STAFF"] {
            let input = json!({ "name": "Child", "role": role, "expiresAt": wanted });
            let made = maker.mutates("createApiKey", input, "apiKey { id } secret").await;
            assert_eq!(made["apiKey"].is_null() && made["secret"].is_null(), refused, "{wanted:?}: {made:#}");
            if refused {
                let error = &made["errors"][0];
                assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["expiresAt"])));
                assert!(error["message"].as_str().unwrap().contains(&end), "it says until when: {error}");
            }
        }
    }
    // Nor does a grandchild, by way of a child that ends earlier.
    let (_, child) = brief.makes_key(an_admins("Child", Some(&before))).await;
    assert_eq!(child.refused("createApiKey", an_admins("Grandchild", Some(&end))).await["field"], json!(["expiresAt"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_go_all_that_it_made_and_no_other() {
    let stage = Stage::new().await;
    let (first, one) = stage.admin.makes_key(an_admins("First", None)).await;
    let (second, two) = one.makes_key(an_admins("Second", None)).await;
    let (third, three) = two.makes_key(json!({ "name": "Third", "role": "STAFF" })).await;
    let (_, beside) = one.makes_key(json!({ "name": "Beside", "role": "STAFF", "readOnly": true })).await;
    let (_, other) = stage.admin.makes_key(an_admins("Other", None)).await;
    let query = "{ apiKeys { nodes { name madeByKey { id name } } } }";
    let listed = nodes(&stage.admin.sees(query).await["apiKeys"]);
    let made_by: Vec<_> = listed.iter().map(|key| key["madeByKey"]["name"].as_str()).collect();
    assert_eq!(made_by, [None, Some("First"), Some("Second"), Some("First"), None]);
    let mut socket = three.socket().await;
    let changes = "subscription($after: String) { connectionsChanged(after: $after) { kind } }";
    socket.subscribe("1", changes, json!({ "after": three.event_cursor().await })).await;

    stage.admin.does("revokeApiKey", json!({ "apiKeyId": second }), "revokedApiKeyId").await;
    let come_in = async || {
        let mut all = Vec::new();
        for holder in [&one, &two, &three, &beside, &other] {
            all.push(comes_in(holder).await);
        }
        all
    };
    assert_eq!(come_in().await, [true, false, false, true, true]);
    assert_eq!(socket.closed().await, 4403, "on sockets that are open, too");
    let names = |entries: &[Value]| {
        let told = entries.iter().map(|entry| {
            let before = &entry["details"]["before"];
            (before["name"].as_str().unwrap().to_owned(), before["madeByKey"].clone())
        });
        told.collect::<Vec<_>>()
    };
    let audited = stage.admin.audited("api_key.revoked").await;
    assert_eq!(names(&audited), [("Second".to_owned(), json!(first)), ("Third".to_owned(), json!(second))]);
    assert_eq!(audited[1]["subject"]["id"], Value::Null, "gone, and named in the details");
    let _ = third;

    stage.admin.does("revokeApiKey", json!({ "apiKeyId": first }), "revokedApiKeyId").await;
    assert_eq!(come_in().await, [false, false, false, false, true]);
    assert_eq!(stage.admin.audited("api_key.revoked").await.len(), 4, "each once");
    assert_eq!(each(&nodes(&stage.admin.sees("{ apiKeys { nodes { name } } }").await["apiKeys"]), "name"), ["Other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_while_it_makes_keys_leaves_none_behind() {
    let stage = Stage::new().await;
    for _ in 0..10 {
        let (id, holder) = stage.admin.makes_key(an_admins("Busy", None)).await;
        let made = async {
            let all = (0..4).map(|_| holder.tries_mutation("createApiKey", an_admins("Child", None), "secret"));
            futures_util::future::join_all(all).await
        };
        let revoked = stage.admin.does("revokeApiKey", json!({ "apiKeyId": id }), "");
        let (made, _) = tokio::join!(made, revoked);
        for answer in made {
            if let Some(secret) = answer.body["data"]["createApiKey"]["secret"].as_str() {
                assert!(!comes_in(&holder.by(secret)).await, "a child came in after its key was revoked");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_keys_that_were_there_before_the_audit_log_says_which_key_made_them() {
    let database = Database::new().await;
    let db = Db::open(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    let own = SeaOrm::connect(database.url()).await.unwrap();
    // Before there was a column for it.
    let all = Migrator::migrations();
    let before = all.iter().position(|one| one.name() == "m20261201_000085_api_key_parent").unwrap();
    Migrator::down(&own, Some(u32::try_from(all.len() - before).unwrap())).await.unwrap();
    let uuid = |number: u128| match database.is_sqlite() {
        true => format!("x'{number:032x}'"),
        false => format!("'{}'", uuid::Uuid::from_u128(number)),
    };
    let bytes = |number: u128| format!("{}{number:032x}'", if database.is_sqlite() { "x'" } else { "'\\x" });
    let no = if database.is_sqlite() { "0" } else { "false" };
    let at = "'2026-11-01 00:00:00+00:00'";
    let mut sql = format!(
        "INSERT INTO workspace (id, name, time_zone, reminder_time, reminder_after_hours, cursor_key, created_at) \
         VALUES ({}, 'W', 'UTC', '07:00', 24, {2}, {at}); \
         INSERT INTO \"user\" (id, workspace_id, name, name_key, email, email_key, role, active, reminder_emails, created_at) \
         VALUES ({}, {0}, 'M', 'm', 'm@x', 'm@x', 'ADMIN', {no}, {no}, {at});",
        uuid(1),
        uuid(2),
        bytes(0)
    );
    for (key, maker) in [(11_u128, None), (12, Some(11_u128)), (13, Some(12))] {
        sql += &format!(
            "INSERT INTO api_key (id, workspace_id, name, prefix, hash, role, read_only, created_by, created_at) \
             VALUES ({}, {}, 'K', 'p', {}, 'ADMIN', {no}, {}, {at});",
            uuid(key),
            uuid(1),
            bytes(key),
            uuid(2)
        );
        let by = maker.map_or("NULL".to_owned(), uuid);
        sql += &format!(
            "INSERT INTO journal_entry (workspace_id, seq, id, topic, action, at, actor_user, actor_key, subject_kind, \
             subject_id, details) VALUES ({}, {key}, {}, 'audit', 'api_key.created', {at}, {}, {by}, 'api_key', {}, '{{}}');",
            uuid(1),
            uuid(100 + key),
            uuid(2),
            uuid(key)
        );
    }
    own.execute_unprepared(&sql).await.unwrap();
    db.migrate().await.unwrap();
    own.close().await.unwrap();
    let mut keys = api_key::Entity::find().all(db.reader()).await.unwrap();
    keys.sort_by_key(|key| key.id);
    let parents: Vec<_> = keys.iter().map(|key| key.parent_id.map(|parent| parent.as_u128())).collect();
    assert_eq!(parents, [None, Some(11), Some(12)]);
}
