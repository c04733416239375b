//! The tray: what each person is told, once, and where it was read.

use chrono::TimeDelta;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DatabaseBackend, EntityTrait, QuerySelect, Statement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Person, SharedGrant, Socket, Stage, each, id, ids_of, nodes};

const NOTIFICATION: &str = "id kind title readAt connector { slug } clients { nodes { id } } connections { nodes { id } } \
                            disconnection { id reconnectConnectionId }";

async fn follow(socket: &mut Socket, id: &str, field: &str, cursor: &str) {
    let list = if field == "notificationAdded" { "notification" } else { "notifications" };
    let query = format!(
        "subscription($after: String) {{ {field}(after: $after) {{ cursor {list} {{ {NOTIFICATION} }} \
         viewer {{ unreadNotificationCount }} }} }}"
    );
    socket.subscribe(id, &query, json!({ "after": cursor })).await;
}

async fn unread(person: &Person) -> i64 {
    let viewer = person.sees("{ viewer { unreadNotificationCount } }").await;
    viewer["viewer"]["unreadNotificationCount"].as_i64().unwrap()
}

async fn mark_read(person: &Person, input: Value) -> Vec<Value> {
    let fields = "viewer { unreadNotificationCount } notifications { id readAt }";
    let payload = person.does("markNotificationsRead", input, fields).await;
    assert_eq!(payload["viewer"]["unreadNotificationCount"], unread(person).await);
    payload["notifications"].as_array().unwrap().clone()
}

/// Lets Ada's grant break, and be noticed.
async fn break_grant(stage: &Stage) {
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
}

/// A stage on which the keys `lamps`, `hotels` and `orchards` broke one after the other.
async fn three_outages() -> Stage {
    let stage = Stage::new().await;
    for key in ["lamps", "hotels", "orchards"] {
        let client = stage.admin.creates_client(key).await;
        stage.keyed(key, &client).await;
        stage.sandbox.change_key(key).unwrap();
        stage.after_a_probe_interval().await;
    }
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnection_lands_in_the_tray_live_with_its_button() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, "1", "notificationAdded", &cursor).await;
    break_grant(&stage).await;

    let event = socket.event().await["notificationAdded"].clone();
    let told = &event["notification"];
    assert_eq!((&told["kind"], &told["readAt"]), (&json!("DISCONNECTED"), &Value::Null));
    assert_eq!(told["title"], "Sandbox Ads disconnected for Acme and Globex.");
    assert_eq!(told["connector"]["slug"], "sandbox-ads");
    assert_eq!(ids_of(&told["clients"]["nodes"]), [&*grant.acme, &*grant.globex]);
    assert_eq!(ids_of(&told["connections"]["nodes"]), [&*grant.lamps, &*grant.hotels]);
    assert_eq!(told["disconnection"]["reconnectConnectionId"], *grant.lamps);
    assert_eq!(event["viewer"]["unreadNotificationCount"], 1);
    assert_eq!(id(&stage.admin.tray().await[0]), id(told));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_told_of_their_part_and_sees_no_more_of_it() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let (member, other) = (stage.person("Mia", "MEMBER", None).await, stage.person("Max", "MEMBER", None).await);
    let input = json!({ "connectionId": grant.hotels, "userIds": [member.id] });
    stage.admin.does("shareConnection", input, "connection { id }").await;
    let cursor = member.event_cursor().await;
    let (mut hers, mut his) = (member.socket().await, other.socket().await);
    follow(&mut hers, "1", "notificationAdded", &cursor).await;
    follow(&mut his, "1", "notificationAdded", &cursor).await;
    break_grant(&stage).await;
    let told = hers.event().await["notificationAdded"]["notification"].clone();
    assert_eq!(told["title"], "Sandbox Ads disconnected for Globex.");
    assert_eq!(ids_of(&told["clients"]["nodes"]), [&*grant.globex]);
    assert_eq!(ids_of(&told["connections"]["nodes"]), [&*grant.hotels]);
    assert_eq!(told["disconnection"]["reconnectConnectionId"], *grant.hotels);

    // What he is told first is of a later outage, which is his own.
    let keys = stage.key("lamps");
    let input = json!({ "connector": "sandbox-billing", "using": { "credentials": keys } });
    other.does("connect", input, "connection { id }").await;
    stage.sandbox.change_key("lamps").unwrap();
    stage.after_a_probe_interval().await;
    let told = his.event().await["notificationAdded"]["notification"].clone();
    assert_eq!(told["title"], "Sandbox Billing disconnected.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_in_one_window_is_read_in_the_other() {
    let stage = three_outages().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    assert_eq!(staff.tray().await.len(), 0, "who hears was fixed when it was written");
    let cursor = stage.admin.event_cursor().await;
    let mut window = stage.admin.socket().await;
    follow(&mut window, "1", "notificationsRead", &cursor).await;
    let tray = stage.admin.tray().await;
    let ids: Vec<String> = tray.iter().map(id).collect();

    let read = mark_read(&stage.admin, json!({ "notificationIds": [ids[1]] })).await;
    assert_eq!(read.len(), 1);
    let event = window.event().await["notificationsRead"].clone();
    assert_eq!(ids_of(&event["notifications"]), [&*ids[1]]);
    assert!(event["notifications"][0]["readAt"].is_string());
    assert_eq!(event["viewer"]["unreadNotificationCount"], 2);

    let read = mark_read(&stage.admin, json!({})).await;
    assert_eq!(ids_of(&Value::Array(read)), [&*ids[0], &*ids[2]], "the one read before stays as it was");
    let event = window.event().await["notificationsRead"].clone();
    assert_eq!(event["notifications"].as_array().unwrap().len(), 2);
    assert_eq!(event["viewer"]["unreadNotificationCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_marks_that_one_and_all_older() {
    let stage = three_outages().await;
    let tray: Vec<String> = stage.admin.tray().await.iter().map(id).collect();
    let read = mark_read(&stage.admin, json!({ "through": tray[1] })).await;
    assert_eq!(ids_of(&Value::Array(read)), [&*tray[1], &*tray[2]]);
    let unread = stage.admin.sees("{ viewer { notifications(unreadOnly: true) { totalCount nodes { id } } } }").await;
    assert_eq!(ids_of(&unread["viewer"]["notifications"]["nodes"]), [&*tray[0]]);
    assert_eq!(unread["viewer"]["notifications"]["totalCount"], 1);
    assert_eq!(mark_read(&stage.admin, json!({ "through": tray[1] })).await.len(), 0, "nothing is read twice");
}

/// Puts `count` more notifications into the ADMIN's tray, as if as much had happened.
async fn fill_tray(stage: &Stage, count: usize) {
    let user = entity::user::Entity::find_by_id(stage.admin.uuid()).one(stage.db.reader()).await.unwrap().unwrap();
    let row = || entity::notification::ActiveModel {
        // Older than what comes: ids of version 7 begin with the time.
        id: Set(Uuid::from_u128(rand::random::<u64>().into())),
        workspace_id: Set(user.workspace_id),
        user_id: Set(user.id),
        kind: Set(entity::NotificationKind::Disconnected),
        occasion: Set(Uuid::from_u128(rand::random())),
        disconnection_id: Set(None),
        authorization_id: Set(None),
        connector: Set(None),
        title: Set("Something disconnected.".to_owned()),
        created_at: Set(user.created_at),
        read_at: Set(None),
    };
    let rows = std::iter::repeat_with(row).take(count);
    entity::notification::Entity::insert_many(rows).exec_without_returning(stage.db.writer()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_tray_read_at_once_is_told_in_parts_after_each_of_which_one_can_go_on() {
    let stage = Stage::new().await;
    fill_tray(&stage, 130).await;
    let cursor = stage.admin.event_cursor().await;
    assert_eq!(mark_read(&stage.admin, json!({})).await.len(), 130);
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, "1", "notificationsRead", &cursor).await;
    let first = socket.event().await["notificationsRead"].clone();
    assert_eq!(first["notifications"].as_array().unwrap().len(), 100);
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, "1", "notificationsRead", first["cursor"].as_str().unwrap()).await;
    let second = socket.event().await["notificationsRead"].clone();
    assert_eq!(second["notifications"].as_array().unwrap().len(), 30);
}

/// How many statements wait for a lock of another.
async fn waiting_for_a_lock(db: &patchbay::db::Db) -> i64 {
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = Statement::from_string(DatabaseBackend::Postgres, waiting);
    db.reader().query_one_raw(waiting).await.unwrap().unwrap().try_get("", "n").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_that_read_all_at_once_mark_and_tell_each_once() {
    let stage = Stage::new().await;
    fill_tray(&stage, 7).await;
    let cursor = stage.admin.event_cursor().await;
    let mark = || {
        let admin = stage.admin.clone();
        tokio::spawn(async move { admin.does("markNotificationsRead", json!({}), "notifications { id }").await })
    };
    let marking = if stage.database.is_sqlite() {
        vec![mark(), mark()]
    } else {
        // Both have looked which are unread before either may write.
        let txn = stage.db.begin().await.unwrap();
        entity::notification::Entity::find().lock_exclusive().all(&txn).await.unwrap();
        let marking = vec![mark(), mark()];
        while waiting_for_a_lock(&stage.db).await < 2 {
            assert!(!marking.iter().any(tokio::task::JoinHandle::is_finished));
            tokio::task::yield_now().await;
        }
        txn.commit().await.unwrap();
        marking
    };
    let mut marked = Vec::new();
    for one in marking {
        marked.extend(ids_of(&one.await.unwrap()["notifications"]));
    }
    assert_eq!(marked.len(), 7, "each to one of them");
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, "1", "notificationsRead", &cursor).await;
    let told = ids_of(&socket.event().await["notificationsRead"]["notifications"]);
    assert_eq!(told.len(), 7);
    fill_tray(&stage, 1).await;
    mark_read(&stage.admin, json!({})).await;
    let next = ids_of(&socket.event().await["notificationsRead"]["notifications"]);
    assert!(next.len() == 1 && !told.contains(&next[0]), "it was told between: {next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_own_tray_cannot_be_marked_and_nothing_is_half_marked() {
    let stage = three_outages().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let mine = id(&stage.admin.tray().await[0]);
    let fields = "notifications { id }";
    for input in [json!({ "notificationIds": [mine] }), json!({ "through": mine }), json!({ "through": "nonsense" })] {
        let payload = staff.mutates("markNotificationsRead", input.clone(), fields).await;
        assert_eq!(payload["errors"][0]["code"], "NOT_FOUND", "{input}");
        assert_eq!(payload["notifications"], Value::Null);
    }
    let input = json!({ "notificationIds": [mine, stage.admin.id] });
    let payload = stage.admin.mutates("markNotificationsRead", input, fields).await;
    assert_eq!(payload["errors"][0]["code"], "NOT_FOUND");
    let input = json!({ "notificationIds": [mine], "through": mine });
    let payload = stage.admin.mutates("markNotificationsRead", input, fields).await;
    assert_eq!(payload["errors"][0]["code"], "INVALID");
    assert_eq!(mark_read(&stage.admin, json!({ "notificationIds": [] })).await.len(), 0);
    assert_eq!(unread(&stage.admin).await, 3);
}

/// The button of a notification, as `person` sees it.
async fn button(person: &Person) -> Value {
    person.tray().await.last().unwrap()["disconnection"]["reconnectConnectionId"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_button_is_gone_everywhere_once_it_works_again() {
    let stage = Stage::new().await;
    let grant: SharedGrant = stage.shared_grant().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    break_grant(&stage).await;
    assert_eq!(button(&stage.admin).await, *grant.lamps);
    assert_eq!(button(&staff).await, *grant.lamps);
    staff.reconnects(&stage.browser(), &grant.hotels, "ASK", "ada").await;
    assert_eq!(button(&stage.admin).await, Value::Null);
    assert_eq!(button(&staff).await, Value::Null);
    assert_eq!(stage.admin.tray().await.len(), 1, "whoever reconnected it knows; nobody is told that it works");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_notification_for_each_disconnection_and_person_and_kind() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    for _ in 0..2 {
        break_grant(&stage).await;
        stage.after_a_probe_interval().await;
        let admin = stage.admin_now();
        admin.reconnects(&stage.browser(), &grant.lamps, "ASK", "ada").await;
        stage.later(TimeDelta::minutes(1));
    }
    let tray = stage.admin.tray().await;
    assert_eq!(each(&tray, "kind"), ["DISCONNECTED", "DISCONNECTED"]);
    assert_ne!(tray[0]["disconnection"]["id"], tray[1]["disconnection"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_with_a_cursor_finds_what_they_missed() {
    let stage = Stage::new().await;
    stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    break_grant(&stage).await;
    mark_read(&stage.admin, json!({})).await;
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, "1", "notificationAdded", &cursor).await;
    let added = socket.event().await["notificationAdded"].clone();
    assert!(added["notification"]["readAt"].is_string(), "today's state");
    follow(&mut socket, "2", "notificationsRead", added["cursor"].as_str().unwrap()).await;
    let read = socket.event().await["notificationsRead"].clone();
    assert_eq!(read["notifications"][0]["id"], added["notification"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tray_of_a_client_is_an_empty_page() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let client = stage.person("Cleo", "CLIENT", Some(&grant.acme)).await;
    break_grant(&stage).await;
    let viewer = client.sees("{ viewer { unreadNotificationCount notifications { totalCount nodes { id } } } }").await;
    let empty = json!({ "unreadNotificationCount": 0, "notifications": { "totalCount": 0, "nodes": [] } });
    assert_eq!(viewer["viewer"], empty);
    let refused = client.tries_mutation("markNotificationsRead", json!({}), "notifications { id }").await;
    assert_eq!(refused.code(), Some("FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tray_is_a_page_like_any_other() {
    let stage = three_outages().await;
    let all: Vec<String> = stage.admin.tray().await.iter().map(id).collect();
    let query = "query($after: String) { viewer { notifications(first: 2, after: $after) { nodes { id } totalCount \
                 pageInfo { hasNextPage endCursor } } } }";
    let first = stage.admin.sees(query).await["viewer"]["notifications"].clone();
    assert_eq!((&first["totalCount"], &first["pageInfo"]["hasNextPage"]), (&json!(3), &json!(true)));
    let variables = json!({ "variables": { "after": first["pageInfo"]["endCursor"] } });
    let second = stage.admin.ask(query, variables).await["viewer"]["notifications"].clone();
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
    let walked: Vec<String> = nodes(&first).iter().chain(&nodes(&second)).map(id).collect();
    assert_eq!(walked, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_red_dot_is_right_when_much_is_told_and_read_at_once() {
    let stage = Stage::new().await;
    let shops: Vec<String> = (0..6).map(|number| format!("shop-{number}")).collect();
    stage.shops(&shops.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fill_tray(&stage, 40).await;
    let told: Vec<String> = stage.admin.tray().await.iter().map(id).collect();
    stage.sandbox.revoke_person("ada");
    let reading = async || {
        for part in told.chunks(5) {
            let input = json!({ "notificationIds": part });
            stage.admin.does("markNotificationsRead", input, "notifications { id }").await;
        }
    };
    let through = async || {
        for one in told.iter().rev().step_by(7) {
            stage.admin.does("markNotificationsRead", json!({ "through": one }), "notifications { id }").await;
        }
    };
    tokio::join!(stage.after_a_probe_interval(), reading(), through(), reading());

    let tray = stage.admin.tray().await;
    let unread_ones = tray.iter().filter(|told| told["readAt"].is_null()).count();
    assert_eq!(unread(&stage.admin).await, i64::try_from(unread_ones).unwrap());
    assert_eq!(unread_ones, 6, "the outages, which nobody has read");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ninety_days_old_leaves_the_tray_unless_it_still_lasts() {
    let stage = Stage::new().await;
    let (over, lasting) = (stage.admin.creates_client("Over").await, stage.admin.creates_client("Lasting").await);
    let healed = stage.keyed("lamps", &over).await;
    stage.keyed("hotels", &lasting).await;
    stage.sandbox.change_key("lamps").unwrap();
    stage.sandbox.change_key("hotels").unwrap();
    stage.after_a_probe_interval().await;
    let input = json!({ "connectionId": healed, "credentials": stage.key("lamps") });
    stage.admin.does("reconnect", input, "connections { id }").await;

    stage.later(TimeDelta::days(89));
    stage.run_jobs().await;
    assert_eq!(stage.admin_now().tray().await.len(), 2);
    stage.later(TimeDelta::days(1));
    stage.run_jobs().await;
    assert_eq!(stage.admin_now().titles().await, ["Sandbox Billing disconnected for Lasting."]);
}
