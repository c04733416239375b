//! What happens to connections is told: live, replayed after a cursor, and polled.

use chrono::TimeDelta;
use patchbay::sandbox::Endpoint;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use crate::harness::{CHANGE, Frame, Person, Setup, SharedGrant, Socket, Stage, each, ids_of, nodes};

/// Subscribes to what follows `cursor` and matches `filter`.
async fn follow(socket: &mut Socket, cursor: &str, filter: Value) {
    let query = format!(
        "subscription($after: String, $filter: ConnectionFilter) {{ connectionsChanged(after: $after, filter: $filter) \
         {{ {CHANGE} workspace {{ connectionCounts {{ total connected disconnected }} }} }} }}"
    );
    socket.subscribe("1", &query, json!({ "after": cursor, "filter": filter })).await;
}

async fn change(socket: &mut Socket) -> Value {
    socket.event().await["connectionsChanged"].clone()
}

/// Renames a connection: the least thing that is a change.
async fn rename(person: &Person, connection: &str, name: &str) {
    let input = json!({ "connectionId": connection, "name": name });
    person.does("updateConnection", input, "connection { id }").await;
}

/// Breaks the grant at the provider, and lets it be noticed.
async fn break_grant(stage: &Stage) {
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
}

async fn reconnect(stage: &Stage, person: &Person, grant: &SharedGrant) {
    let (attempt, _) = person.reconnects(&stage.browser(), &grant.lamps, "ASK", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_hears_each_kind_of_change_with_what_it_needs_to_show() {
    let stage = Stage::new().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let cursor = stage.admin.event_cursor().await;
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, &cursor, Value::Null).await;
    let grant = stage.shared_grant().await;

    let added = change(&mut socket).await;
    assert_eq!(added["kind"], "ADDED");
    assert_eq!(ids_of(&added["addedConnections"]), [&*grant.lamps]);
    assert_eq!(ids_of(&added["connections"]), [&*grant.lamps]);
    assert_eq!(ids_of(&added["clients"]), [&*grant.acme]);
    assert_eq!(added["by"]["id"], *stage.admin.id);
    assert_eq!(added["authorization"]["id"], *grant.authorization);
    assert_eq!(ids_of(&change(&mut socket).await["connections"]), [&*grant.hotels]);

    rename(&staff, &grant.lamps, "Lights").await;
    let updated = change(&mut socket).await;
    assert_eq!((&updated["kind"], &updated["connectionCount"]), (&json!("UPDATED"), &json!(1)));
    assert_eq!(updated["by"]["id"], *staff.id);
    assert_eq!(ids_of(&updated["clients"]), [""; 0], "no count changed");
    assert_eq!(ids_of(&updated["addedConnections"]), [""; 0]);

    break_grant(&stage).await;
    let broken = change(&mut socket).await;
    assert_eq!((&broken["kind"], &broken["connectionCount"]), (&json!("DISCONNECTED"), &json!(2)));
    assert_eq!(ids_of(&broken["connections"]), [&*grant.lamps, &*grant.hotels]);
    assert_eq!(ids_of(&broken["clients"]), [&*grant.acme, &*grant.globex]);
    assert_eq!(broken["by"], Value::Null);
    assert_eq!(broken["workspace"]["connectionCounts"], json!({ "total": 2, "connected": 0, "disconnected": 2 }));

    reconnect(&stage, &staff, &grant).await;
    let healed = change(&mut socket).await;
    assert_eq!((&healed["kind"], &healed["connectionCount"]), (&json!("RECONNECTED"), &json!(2)));
    assert_eq!(healed["by"]["id"], *staff.id);
    assert_eq!(healed["disconnection"]["id"], broken["disconnection"]["id"]);
    assert_eq!(healed["workspace"]["connectionCounts"], json!({ "total": 2, "connected": 2, "disconnected": 0 }));

    stage.admin.does("removeConnection", json!({ "connectionId": grant.hotels }), "removedConnectionId").await;
    let removed = change(&mut socket).await;
    assert_eq!(removed["kind"], "REMOVED");
    assert_eq!(removed["removedConnectionIds"], json!([grant.hotels]));
    assert_eq!(ids_of(&removed["connections"]), [""; 0]);
    assert_eq!(ids_of(&removed["clients"]), [&*grant.globex]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_tested_on_the_state_before_and_after() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    let (mut working, mut broken) = (stage.admin.socket().await, stage.admin.socket().await);
    follow(&mut working, &cursor, json!({ "status": ["CONNECTED"] })).await;
    follow(&mut broken, &cursor, json!({ "status": ["DISCONNECTED"], "clientId": [grant.acme] })).await;
    break_grant(&stage).await;

    let gone = change(&mut working).await;
    assert_eq!(gone["kind"], "DISCONNECTED");
    assert_eq!(gone["removedConnectionIds"], json!([grant.lamps, grant.hotels]));
    assert_eq!((ids_of(&gone["connections"]).len(), &gone["connectionCount"]), (0, &json!(2)));
    let come = change(&mut broken).await;
    assert_eq!(come["kind"], "DISCONNECTED");
    assert_eq!(ids_of(&come["addedConnections"]), [&*grant.lamps], "Globex's is no part of it");
    assert_eq!((&come["removedConnectionIds"], &come["connectionCount"]), (&json!([]), &json!(1)));

    reconnect(&stage, &stage.admin, &grant).await;
    assert_eq!(ids_of(&change(&mut working).await["addedConnections"]), [&*grant.lamps, &*grant.hotels]);
    assert_eq!(change(&mut broken).await["removedConnectionIds"], json!([grant.lamps]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_no_longer_finds_it_is_a_removal() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    rename(&stage.admin, &grant.hotels, "Harbour").await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let changes = stage.admin.changes_matching(&cursor, json!({ "search": "LAMPS" })).await;
    assert_eq!(each(&changes, "kind"), ["UPDATED"]);
    assert_eq!(changes[0]["removedConnectionIds"], json!([grant.lamps]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_is_an_addition_to_whoever_gains_sight_and_unsharing_a_removal() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let member = stage.person("Mia", "MEMBER", None).await;
    let cursor = member.event_cursor().await;
    let mut socket = member.socket().await;
    follow(&mut socket, &cursor, Value::Null).await;
    rename(&stage.admin, &grant.lamps, "Not for Mia").await;
    let input = json!({ "connectionId": grant.hotels, "userIds": [member.id] });
    stage.admin.does("shareConnection", input.clone(), "connection { id }").await;
    let gained = change(&mut socket).await;
    assert_eq!(gained["kind"], "ADDED");
    assert_eq!(ids_of(&gained["addedConnections"]), [&*grant.hotels]);

    break_grant(&stage).await;
    let broken = change(&mut socket).await;
    assert_eq!((&broken["kind"], &broken["connectionCount"]), (&json!("DISCONNECTED"), &json!(1)));
    assert_eq!(ids_of(&broken["connections"]), [&*grant.hotels]);
    assert_eq!(ids_of(&broken["clients"]), [&*grant.globex]);

    stage.admin.does("unshareConnection", input, "connection { id }").await;
    let lost = change(&mut socket).await;
    assert_eq!((&lost["kind"], &lost["removedConnectionIds"]), (&json!("REMOVED"), &json!([grant.hotels])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_meets_live_events_has_no_gap_and_nothing_twice() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    for number in 0..40 {
        rename(&stage.admin, &grant.lamps, &format!("before {number}")).await;
    }
    let (writer, lamps) = (stage.admin.clone(), grant.lamps.clone());
    let writing = tokio::spawn(async move {
        for number in 0..40 {
            rename(&writer, &lamps, &format!("meanwhile {number}")).await;
        }
    });
    // Sockets that come, hear a little, vanish and come back where they were.
    let (mut heard, mut at) = (Vec::new(), cursor.clone());
    while heard.len() < 80 {
        let mut socket = stage.admin.socket().await;
        follow(&mut socket, &at, Value::Null).await;
        for _ in 0..16 {
            at = change(&mut socket).await["cursor"].as_str().unwrap().to_owned();
            heard.push(at.clone());
        }
        drop(socket);
    }
    writing.await.unwrap();
    let query = "query($after: String!) { connectionChanges(after: $after, first: 100) { nodes { cursor } } }";
    let page = stage.admin.ask(query, json!({ "variables": { "after": cursor } })).await;
    assert_eq!(heard, each(&nodes(&page["connectionChanges"]), "cursor"));
    assert_eq!(heard.len(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_hears_of_the_outage_and_its_end_in_order() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, &cursor, Value::Null).await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let seen = change(&mut socket).await["cursor"].as_str().unwrap().to_owned();
    drop(socket);
    break_grant(&stage).await;
    reconnect(&stage, &stage.admin, &grant).await;

    let mut socket = stage.admin.socket().await;
    follow(&mut socket, &seen, Value::Null).await;
    let (first, second) = (change(&mut socket).await, change(&mut socket).await);
    assert_eq!((&first["kind"], &second["kind"]), (&json!("DISCONNECTED"), &json!("RECONNECTED")));
    assert_eq!(first["connections"][0]["status"], "CONNECTED", "what is nested shows today's state");
    assert_eq!(first["disconnection"], second["disconnection"]);
    assert_eq!(stage.sandbox.calls(Endpoint::Revoke), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cursor_the_stream_begins_now() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let mut socket = stage.admin.socket().await;
    socket.subscribe("1", "subscription { connectionsChanged { kind connections { name } } }", Value::Null).await;
    // Which number it began at is not known from outside: something has to come of what follows.
    let renaming = async {
        for number in 0.. {
            rename(&stage.admin, &grant.lamps, &format!("name {number}")).await;
            tokio::task::yield_now().await;
        }
    };
    let first = tokio::select! {
        event = change(&mut socket) => event,
        () = renaming => unreachable!(),
    };
    assert_eq!(first["kind"], "UPDATED", "what was added before is not told");
}

/// A stage whose journal keeps three days, with a grant, and a cursor from before.
async fn forgetful() -> (Stage, SharedGrant, String) {
    let settings = vec![("PATCHBAY_JOURNAL_KEEP".to_owned(), "3d".to_owned())];
    let stage = Stage::with(Setup { settings, ..Setup::default() }).await;
    let cursor = stage.admin.event_cursor().await;
    let grant = stage.shared_grant().await;
    (stage, grant, cursor)
}

/// How a subscription with that cursor begins to fail, and how polling does.
async fn refusals(person: &Person, cursor: &str) -> (String, String) {
    let mut socket = person.socket().await;
    follow(&mut socket, cursor, Value::Null).await;
    let query = "query($after: String!) { connectionChanges(after: $after) { endCursor } }";
    let polled = person.tries(query, json!({ "variables": { "after": cursor } })).await;
    (socket.error().await, polled.code().unwrap_or("none").to_owned())
}

fn both(code: &str) -> (String, String) {
    (code.to_owned(), code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_older_than_what_is_kept_has_expired_and_a_younger_one_has_not() {
    let (stage, grant, old) = forgetful().await;
    stage.later(TimeDelta::days(2));
    stage.run_jobs().await;
    assert_eq!(each(&stage.changes_since(&old).await, "kind"), ["ADDED", "ADDED"], "it is kept still");
    let young = stage.admin_now().event_cursor().await;
    rename(&stage.admin_now(), &grant.lamps, "Lights").await;
    stage.later(TimeDelta::days(2));
    stage.run_jobs().await;
    assert_eq!(refusals(&stage.admin_now(), &old).await, both("CURSOR_EXPIRED"));
    assert_eq!(each(&stage.changes_since(&young).await, "kind"), ["UPDATED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_ahead_of_the_journal_as_after_a_restored_backup_has_expired() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let ahead = stage.admin.event_cursor().await;
    // The backup is of before the renaming.
    let head = entity::journal_head::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    let restored = entity::journal_head::ActiveModel { seq: Set(head.seq - 1), ..head.clone().into() };
    entity::journal_head::Entity::update(restored).exec(stage.db.writer()).await.unwrap();
    let last = entity::journal_entry::Column::Seq.eq(head.seq);
    entity::journal_entry::Entity::delete_many().filter(last).exec(stage.db.writer()).await.unwrap();

    assert_eq!(refusals(&stage.admin, &ahead).await, both("CURSOR_EXPIRED"));
    assert_eq!(stage.changes_since(&cursor).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_or_foreign_cursor_is_bad_input() {
    let stage = Stage::new().await;
    let foreign = stage.stranger().await.event_cursor().await;
    let query = "{ clients(first: 1) { pageInfo { endCursor } } }";
    stage.admin.creates_client("Acme").await;
    let of_a_page = stage.admin.sees(query).await["clients"]["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
    for cursor in [&*foreign, &of_a_page, "", "AAAA", "0"] {
        assert_eq!(refusals(&stage.admin, cursor).await, both("BAD_USER_INPUT"), "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_in_pages_finds_everything_and_moves_on_where_nothing_matched() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let mut after = stage.admin.event_cursor().await;
    for name in ["one", "two", "three"] {
        rename(&stage.admin, &grant.lamps, name).await;
    }
    let query = "query($after: String!, $filter: ConnectionFilter) { connectionChanges(after: $after, filter: $filter, first: 2) \
                 { nodes { cursor kind } endCursor hasNextPage } }";
    let poll = async |after: &str, filter: Value| {
        let variables = json!({ "variables": { "after": after, "filter": filter } });
        stage.admin.ask(query, variables).await["connectionChanges"].clone()
    };
    let nothing = poll(&after, json!({ "connector": ["sandbox-billing"] })).await;
    assert_eq!((&nothing["nodes"], &nothing["hasNextPage"]), (&json!([]), &json!(false)));
    assert_eq!(nothing["endCursor"], stage.admin.event_cursor().await);

    let mut pages = Vec::new();
    loop {
        let page = poll(&after, Value::Null).await;
        pages.push(nodes(&page).len());
        after = page["endCursor"].as_str().unwrap().to_owned();
        if page["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(pages, [2, 1]);
    let rest = poll(&after, Value::Null).await;
    assert_eq!((&rest["nodes"], &rest["endCursor"]), (&json!([]), &json!(after)));
    let none = "query($after: String!) { connectionChanges(after: $after, first: 101) { endCursor } }";
    assert_eq!(
        stage.admin.tries(none, json!({ "variables": { "after": after } })).await.code(),
        Some("BAD_USER_INPUT")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_cursor_is_read_before_the_lists_beside_it() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let (writer, lamps) = (stage.admin.clone(), grant.lamps.clone());
    let writing = tokio::spawn(async move {
        for number in 1..=45 {
            rename(&writer, &lamps, &number.to_string()).await;
        }
    });
    let query = format!("{{ connection(id: \"{}\") {{ name }} eventCursor }}", grant.lamps);
    let mut seen = Vec::new();
    while !writing.is_finished() {
        seen.push(stage.admin.sees(&query).await);
    }
    writing.await.unwrap();
    // However the two raced: what a list does not show yet follows the cursor beside it.
    for seen in seen {
        let shown: usize = seen["connection"]["name"].as_str().unwrap().parse().unwrap_or(0);
        let following = stage.changes_since(seen["eventCursor"].as_str().unwrap()).await.len();
        assert!(shown + following >= 45, "{shown} shown, {following} following");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_completed_says_nothing_more_and_its_id_is_free_again() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    let mut socket = stage.admin.socket().await;
    follow(&mut socket, &cursor, Value::Null).await;
    rename(&stage.admin, &grant.lamps, "one").await;
    change(&mut socket).await;
    socket.send(json!({ "id": "1", "type": "complete" })).await;
    let query = "subscription($after: String) { connectionsChanged(after: $after) { connections { name } } }";
    socket.subscribe("2", query, json!({ "after": cursor })).await;
    let told = |id: &str, name: &str| {
        let data = json!({ "connectionsChanged": { "connections": [{ "name": name }] } });
        Frame::Message(json!({ "id": id, "type": "next", "payload": { "data": data } }))
    };
    // The replay of the second says that the end of the first has arrived.
    assert_eq!(socket.next().await, told("2", "one"));
    rename(&stage.admin, &grant.lamps, "two").await;
    assert_eq!(socket.next().await, told("2", "two"));
    rename(&stage.admin, &grant.lamps, "three").await;
    assert_eq!(socket.next().await, told("2", "three"));
    socket.send(json!({ "id": "2", "type": "complete" })).await;
    let head = stage.admin.event_cursor().await;
    socket.subscribe("1", query, json!({ "after": head })).await;
    rename(&stage.admin, &grant.lamps, "four").await;
    assert_eq!(socket.next().await, told("1", "four"));
}
