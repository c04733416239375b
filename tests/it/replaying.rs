//! Coming back to the journal: in bounded memory, past what cannot be read, without a gap.

use std::collections::BTreeSet;

use entity::{Topic, journal_entry, journal_head};
use patchbay::clock::SystemEntropy;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, sea_query::Expr};
use serde_json::{Value, json};
use sha2::Digest;

use crate::{
    harness::{Person, SharedGrant, Socket, Stage, nodes},
    metrics::number,
};

const FOLLOW: &str = "subscription($after: String, $filter: ConnectionFilter) { \
     connectionsChanged(after: $after, filter: $filter) { cursor kind connectionCount disconnection { id } } }";
const FOLLOW_DATASETS: &str = "subscription($after: String) { datasetsChanged(after: $after) { cursor kind } }";

/// The bytes that are read at once, and those that are kept for the next follower.
const CHUNK: f64 = 512.0 * 1024.0;
const KEPT: f64 = 8.0 * 1024.0 * 1024.0;

async fn rename(person: &Person, connection: &str, name: &str) {
    let input = json!({ "connectionId": connection, "name": name });
    person.does("updateConnection", input, "connection { id }").await;
}

async fn follows(person: &Person, after: &str) -> Socket {
    let mut socket = person.socket().await;
    socket.subscribe("1", FOLLOW, json!({ "after": after })).await;
    socket
}

async fn cursor_of_next(socket: &mut Socket) -> String {
    socket.event().await["connectionsChanged"]["cursor"].as_str().unwrap().to_owned()
}

/// The last entry on a topic.
async fn last_entry(stage: &Stage, topic: Topic) -> journal_entry::Model {
    let entries = journal_entry::Entity::find().filter(journal_entry::Column::Topic.eq(topic));
    entries.order_by_desc(journal_entry::Column::Seq).one(stage.db.reader()).await.unwrap().unwrap()
}

/// Writes so many copies of `like` behind the server's back, each changed by `change`: it hears of them with the next
/// entry that it writes itself. `columns` are then set to what SQL has for them.
async fn write_copies(
    stage: &Stage,
    like: &journal_entry::Model,
    copies: i64,
    change: impl Fn(&mut journal_entry::Model),
    columns: &[(&str, &str)],
) {
    let txn = stage.db.begin().await.unwrap();
    let head = journal_head::Entity::update_many()
        .col_expr(journal_head::Column::Seq, Expr::cust(format!("seq + {copies}")))
        .filter(journal_head::Column::WorkspaceId.eq(like.workspace_id))
        .exec_with_returning(&txn)
        .await
        .unwrap();
    let last = head[0].seq;
    let rows = (last - copies + 1..=last).map(|seq| {
        let id = patchbay::ids::new(like.at, &SystemEntropy);
        let mut row = journal_entry::Model { seq, id, ..like.clone() };
        change(&mut row);
        journal_entry::ActiveModel::from(row).reset_all()
    });
    for part in rows.collect::<Vec<_>>().chunks(20) {
        journal_entry::Entity::insert_many(part.to_vec()).exec_without_returning(&txn).await.unwrap();
    }
    for (column, sql) in columns {
        let set = format!("UPDATE journal_entry SET {column} = {sql} WHERE seq > {} AND seq <= {last}", last - copies);
        txn.execute_unprepared(&set).await.unwrap();
    }
    txn.commit().await.unwrap();
}

/// Makes an entry large: by what people read in the audit log, which followers read as well.
fn large(row: &mut journal_entry::Model) {
    row.details = json!({ "disconnection": null, "connections": "x".repeat(100_000) });
}

async fn series(stage: &Stage, name: &str) -> f64 {
    number(stage, name).await.unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_that_come_back_to_large_entries_share_what_is_read_in_chunks_of_a_budget() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let like = last_entry(&stage, Topic::Connections).await;
    write_copies(&stage, &like, 40, large, &[]).await;
    // What others write in between is no part of it.
    let audited = last_entry(&stage, Topic::Audit).await;
    write_copies(&stage, &audited, 300, |_| (), &[]).await;
    rename(&stage.admin, &grant.lamps, "Lamps").await;

    let mut first = follows(&stage.admin, &cursor).await;
    let mut heard = Vec::new();
    for _ in 0..42 {
        heard.push(cursor_of_next(&mut first).await);
    }
    assert_eq!(heard.iter().collect::<BTreeSet<_>>().len(), 42);
    // At about the same place: some saw a little more than others.
    let mut others = Vec::new();
    for (after, missed) in [(&cursor, &heard[..])].into_iter().chain((1..9).map(|at| (&heard[at], &heard[at + 1..]))) {
        others.push((follows(&stage.admin, after).await, missed));
    }
    for (socket, missed) in &mut others {
        for cursor in *missed {
            assert_eq!(&cursor_of_next(socket).await, cursor);
        }
    }
    let (bytes, chunks) = (
        series(&stage, "patchbay_journal_replay_bytes_total").await,
        series(&stage, "patchbay_journal_replay_chunks_total").await,
    );
    assert!(bytes >= 40.0 * 100_000.0, "{bytes}");
    assert!(bytes < 41.0 * 102_000.0, "ten read it as one: {bytes}");
    assert!(bytes / chunks <= CHUNK && chunks >= 8.0, "{bytes} in {chunks} chunks");

    // Large entries are not handed out: who is there reads them together, in their place.
    write_copies(&stage, &like, 2, large, &[]).await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let mut live = Vec::new();
    for _ in 0..3 {
        live.push(cursor_of_next(&mut first).await);
    }
    for (socket, _) in &mut others {
        for cursor in &live {
            assert_eq!(&cursor_of_next(socket).await, cursor);
        }
    }
    let more = series(&stage, "patchbay_journal_replay_bytes_total").await - bytes;
    assert!((200_000.0..500_000.0).contains(&more), "{more}");
    drop((first, others));
    let held = series(&stage, "patchbay_journal_replay_held_bytes").await;
    assert!(held <= KEPT + CHUNK, "{held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_alone_larger_than_the_budget_is_one_entry() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let like = last_entry(&stage, Topic::Connections).await;
    let larger = |row: &mut journal_entry::Model| row.details = json!({ "connections": "x".repeat(1_000_000) });
    write_copies(&stage, &like, 3, larger, &[]).await;
    let changes = stage.changes_since(&cursor).await;
    assert_eq!(changes.len(), 4);
    assert!(series(&stage, "patchbay_journal_replay_chunks_total").await >= 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_twice_where_bursts_go_beyond_the_live_backlog_while_followers_come_and_go() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let like = last_entry(&stage, Topic::Connections).await;
    let audited = last_entry(&stage, Topic::Audit).await;
    let mut staying = follows(&stage.admin, &cursor).await;
    let writing = async {
        for round in 0..6 {
            // More than the backlog, of which some are large; and many that are none of theirs.
            write_copies(&stage, &like, 60, |_| (), &[]).await;
            write_copies(&stage, &like, 1, large, &[]).await;
            write_copies(&stage, &audited, 300, |_| (), &[]).await;
            rename(&stage.admin, &grant.lamps, &format!("round {round}")).await;
        }
    };
    let total = 1 + 6 * 62;
    let coming_and_going = async {
        let (mut heard, mut at) = (Vec::new(), cursor.clone());
        while heard.len() < total {
            let mut socket = follows(&stage.admin, &at).await;
            for _ in 0..41.min(total - heard.len()) {
                at = cursor_of_next(&mut socket).await;
                heard.push(at.clone());
            }
        }
        heard
    };
    let hearing = async {
        let mut heard = Vec::new();
        while heard.len() < total {
            heard.push(cursor_of_next(&mut staying).await);
        }
        heard
    };
    let ((), came_and_went, stayed) = tokio::join!(writing, coming_and_going, hearing);
    assert_eq!(came_and_went, stayed);
    assert_eq!(stayed.iter().collect::<BTreeSet<_>>().len(), total);
    let (mut paged, mut after) = (Vec::new(), cursor);
    let query = "query($after: String!) { connectionChanges(after: $after, first: 100) { nodes { cursor } endCursor hasNextPage } }";
    loop {
        let page =
            stage.admin.ask(query, json!({ "variables": { "after": after } })).await["connectionChanges"].clone();
        paged.extend(nodes(&page).iter().map(|node| node["cursor"].as_str().unwrap().to_owned()));
        after = page["endCursor"].as_str().unwrap().to_owned();
        if page["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(paged, stayed);
}

/// What an entry looks like that is not as this version writes it, and whom it stops.
struct Odd {
    what: &'static str,
    columns: Vec<(&'static str, String)>,
    topic: Topic,
    /// Followers of connections, and of datasets.
    stops: (bool, bool),
}

/// Facts in a layout that is to come: what follows is not for this version to guess.
fn newer_facts() -> Vec<u8> {
    let (facts, layout) = (b"something else".to_vec(), 2_u8);
    let sum = sha2::Sha256::new().chain_update([layout]).chain_update(&facts).finalize();
    let bytes: Vec<u8> = facts.into_iter().chain(sum[..8].iter().copied()).chain([layout]).collect();
    lz4_flex::compress_prepend_size(&bytes)
}

fn odd_ones(stage: &Stage, like: &journal_entry::Model) -> Vec<Odd> {
    let blob = |bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if stage.database.is_sqlite() { format!("X'{hex}'") } else { format!("'\\x{hex}'") }
    };
    let text = |text: &str| format!("'{text}'");
    let flipped = {
        let mut facts = like.facts.clone().unwrap();
        let last = facts.len() - 1;
        facts[last] ^= 1;
        facts
    };
    let connections =
        |what, column, sql, stops| Odd { what, columns: vec![(column, sql)], topic: Topic::Connections, stops };
    let mut odd = vec![
        connections("facts of a newer layout", "facts", blob(&newer_facts()), (true, false)),
        connections("facts with a flipped bit", "facts", blob(&flipped), (true, false)),
        connections("facts that are none", "facts", blob(&[1, 2, 3]), (true, false)),
        connections("an unknown topic", "topic", text("weather"), (false, false)),
        connections("an unknown kind", "subject_kind", text("gadget"), (false, false)),
        connections("an unknown action", "action", text("connection.teleported"), (false, false)),
    ];
    odd.push(Odd {
        what: "facts of a dataset that cannot be read",
        columns: vec![("facts", blob(&[1, 2, 3]))],
        topic: Topic::Datasets,
        stops: (false, true),
    });
    // PostgreSQL keeps the types of its columns.
    if stage.database.is_sqlite() {
        for column in ["at", "actor_user", "actor_key", "subject_id", "action", "subject_kind"] {
            odd.push(connections(column, column, "X'ff'".to_owned(), (true, false)));
        }
        odd.push(connections("details that are no JSON", "details", text("{"), (true, false)));
        let audit = |what, columns, stops| Odd { what, columns, topic: Topic::Audit, stops };
        odd.push(audit("an audit entry of no known time", vec![("at", "X'ff'".to_owned())], (false, false)));
        odd.push(audit("an audit entry that may be about anyone", vec![("action", "X'ff'".to_owned())], (true, true)));
    }
    odd
}

/// Two followers, and one more change for each of them.
struct Watched<'a> {
    stage: &'a Stage,
    grant: &'a SharedGrant,
    dataset: &'a str,
}

impl Watched<'_> {
    async fn changes(&self, name: &str) {
        rename(&self.stage.admin, &self.grant.lamps, name).await;
        self.stage.admin.edits_dataset(self.dataset, json!({ "name": name })).await;
    }

    async fn follow(&self, cursor: &str) -> (Socket, Socket) {
        let connections = follows(&self.stage.admin, cursor).await;
        let mut datasets = self.stage.admin.socket().await;
        datasets.subscribe("1", FOLLOW_DATASETS, json!({ "after": cursor })).await;
        (connections, datasets)
    }
}

/// Whether each is told to read the list again, and does not go on until the last change.
async fn is_stopped((mut connections, mut datasets): (Socket, Socket), last: &Value) -> (bool, bool) {
    (stops(&mut connections, "connectionsChanged", last).await, stops(&mut datasets, "datasetsChanged", last).await)
}

async fn stops(socket: &mut Socket, field: &str, until: &Value) -> bool {
    loop {
        match socket.next().await {
            crate::harness::Frame::Message(message) if message["type"] == "next" => {
                if message["payload"]["data"][field]["cursor"] == until[field] {
                    return false;
                }
            }
            crate::harness::Frame::Message(message) if message["type"] == "error" => {
                assert_eq!(message["payload"][0]["extensions"]["code"], "CURSOR_EXPIRED");
                return true;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_stops_those_whom_it_may_concern_and_they_resume() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let dataset = stage.admin.makes_dataset(&grant.hotels, "report").await;
    rename(&stage.admin, &grant.lamps, "Lights").await;
    let watched = Watched { stage: &stage, grant: &grant, dataset: &dataset };
    let renamed = early_entry(&stage, Topic::Connections).await;
    for odd in odd_ones(&stage, &renamed) {
        let like = early_entry(&stage, odd.topic).await;
        let before = stage.admin.event_cursor().await;
        let there = watched.follow(&before).await;
        // They are there once they heard something.
        watched.changes("before").await;
        let columns: Vec<(&str, &str)> = odd.columns.iter().map(|(column, sql)| (*column, &**sql)).collect();
        write_copies(&stage, &like, 1, |_| (), &columns).await;
        watched.changes("after").await;
        let last = last_of_each(&stage).await;
        assert_eq!(is_stopped(there, &last).await, odd.stops, "live: {}", odd.what);
        let back = watched.follow(&before).await;
        let judged = odd.what.contains("anyone");
        // Whoever comes back is looked up anew: what was said of people meanwhile is in that.
        let stops = if judged { (false, false) } else { odd.stops };
        assert_eq!(is_stopped(back, &last).await, stops, "back: {}", odd.what);
        let query = "query($after: String!) { connectionChanges(after: $after) { endCursor } }";
        let polled = stage.admin.tries(query, json!({ "variables": { "after": before } })).await;
        assert_eq!(polled.code(), stops.0.then_some("CURSOR_EXPIRED"), "polled: {}", odd.what);

        let resumed = watched.follow(&stage.admin.event_cursor().await).await;
        watched.changes("resumed").await;
        assert_eq!(is_stopped(resumed, &last_of_each(&stage).await).await, (false, false), "{}", odd.what);
        let log = stage.admin.sees("{ auditLog(first: 20) { nodes { action } } }").await;
        assert!(nodes(&log["auditLog"]).len() >= 10, "{}", odd.what);
    }
    for kind in ["damaged", "newer", "unknown_topic"] {
        let counted = series(&stage, &format!("patchbay_journal_unreadable_entries_total{{kind=\"{kind}\"}}")).await;
        assert!(counted >= 1.0, "{kind}");
    }
}

/// An early entry on a topic, of which a copy is a change as well.
async fn early_entry(stage: &Stage, topic: Topic) -> journal_entry::Model {
    let mut entries = journal_entry::Entity::find().filter(journal_entry::Column::Topic.eq(topic));
    if topic == Topic::Connections {
        entries = entries.filter(journal_entry::Column::Action.eq("connection.updated"));
    }
    entries.order_by_asc(journal_entry::Column::Seq).one(stage.db.reader()).await.unwrap().unwrap()
}

/// The cursor of the last change of connections, and of datasets.
async fn last_of_each(stage: &Stage) -> Value {
    let cursor = async |topic| {
        let entry = last_entry(stage, topic).await;
        let workspace = entity::workspace::Entity::find_by_id(entry.workspace_id).one(stage.db.reader()).await;
        let key = patchbay::cursor::CursorKey::new(workspace.unwrap().unwrap().cursor_key);
        key.seal("journal", &entry.seq)
    };
    json!({ "connectionsChanged": cursor(Topic::Connections).await, "datasetsChanged": cursor(Topic::Datasets).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_a_client_that_is_new_in_the_same_burst() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    let mut socket = stage.admin.socket().await;
    let filter = json!({ "after": cursor, "filter": { "search": "initech" } });
    socket.subscribe("1", FOLLOW, filter.clone()).await;
    for number in 0..5 {
        rename(&stage.admin, &grant.lamps, &format!("name {number}")).await;
    }
    let initech = stage.admin.creates_client("Initech").await;
    let input = json!({ "connectionId": grant.lamps, "clientId": initech });
    stage.admin.does("updateConnection", input, "connection { id }").await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "UPDATED");
    let input = json!({ "connectionId": grant.hotels, "clientId": initech });
    stage.admin.does("updateConnection", input, "connection { id }").await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "UPDATED");
    let mut back = stage.admin.socket().await;
    back.subscribe("1", FOLLOW, filter).await;
    for _ in 0..2 {
        assert_eq!(back.event().await["connectionsChanged"]["kind"], "UPDATED");
    }
}
