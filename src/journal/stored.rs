//! Rows of the journal as they are stored, read one by one: a row that cannot be read says so, and stops no other.

use std::sync::Arc;

use entity::{Topic, journal_entry};
use sea_orm::{
    ActiveEnum, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, QueryTrait, TryGetable, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    Entry,
    packed::{Packed, UnreadableError},
    viewing::JUDGING,
};
use crate::{db::Db, error::Result, ids::Kind};

/// Numbers of a workspace's journal: those after `after`, up to `until`. Every number up to a head that was read before is
/// committed, so nothing is added within such a range later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) workspace: Uuid,
    pub(super) after: i64,
    pub(super) until: i64,
}

/// One row, as far as it can be read.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) seq: i64,
    /// None for one that this version does not know.
    pub(super) topic: Option<Topic>,
    /// Whether it may say who a viewer is from now on.
    pub(super) judges: bool,
    pub(super) entry: Content,
}

/// What a row holds.
#[derive(Debug)]
pub(super) enum Content {
    Whole(Arc<Entry>),
    /// More bytes than were asked for: they are still to be read.
    Large,
    Unreadable(UnreadableError),
}

/// Rows of a range, from its beginning.
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// Up to which number nothing is missing.
    pub(super) through: i64,
}

/// The bytes of a row that may be many, without looking at them.
fn bytes(db: &Db) -> &'static str {
    if db.is_sqlite() {
        "COALESCE(octet_length(facts), 0) + COALESCE(octet_length(details), 0)"
    } else {
        "COALESCE(octet_length(facts), 0) + COALESCE(octet_length(CAST(details AS text)), 0)"
    }
}

fn within(range: Range, topic: Option<Topic>) -> Condition {
    Condition::all()
        .add(journal_entry::Column::WorkspaceId.eq(range.workspace))
        .add(journal_entry::Column::Seq.gt(range.after))
        .add(journal_entry::Column::Seq.lte(range.until))
        .add_option(topic.map(|topic| journal_entry::Column::Topic.eq(topic)))
}

/// The numbers and sizes of the first `limit` rows of a range on `topic`.
pub(super) async fn sizes(db: &Db, range: Range, topic: Topic, limit: u64) -> Result<Vec<(i64, usize)>> {
    let select = journal_entry::Entity::find()
        .select_only()
        .column(journal_entry::Column::Seq)
        .expr_as(Expr::cust(bytes(db)), "bytes")
        .filter(within(range, Some(topic)))
        .order_by_asc(journal_entry::Column::Seq)
        .limit(limit);
    let found = db.reader().query_all(select.as_query()).await?;
    Ok(found.iter().filter_map(|row| Some((get::<i64>(row, "seq")?, size(row)))).collect())
}

/// The first `limit` rows of a range, on one topic or on all. Of one with more than `most` bytes only the head is read.
pub(super) async fn rows(db: &Db, range: Range, topic: Option<Topic>, limit: u64, most: usize) -> Result<Rows> {
    use journal_entry::Column;
    let of_size = |column: &str| {
        let (bytes, whole) = (bytes(db), if column == "details" { "CAST(details AS text)" } else { column });
        Expr::cust(format!("CASE WHEN {bytes} <= {most} THEN {whole} END"))
    };
    let columns = [
        Column::Seq,
        Column::Topic,
        Column::Action,
        Column::At,
        Column::ActorUser,
        Column::ActorKey,
        Column::SubjectKind,
        Column::SubjectId,
    ];
    let select = journal_entry::Entity::find()
        .select_only()
        .columns(columns)
        .expr_as(Expr::cust(bytes(db)), "bytes")
        .expr_as(of_size("facts"), "facts")
        .expr_as(of_size("details"), "details")
        .filter(within(range, topic))
        .order_by_asc(Column::Seq)
        .limit(limit);
    let found = db.reader().query_all(select.as_query()).await?;
    let whole = (found.len() as u64) < limit;
    let rows: Vec<_> = found.iter().filter_map(|row| decode(row, most)).collect();
    let through = if whole { range.until } else { rows.last().map_or(range.until, |row| row.seq) };
    Ok(Rows { rows, through })
}

/// A row; none where not even its number can be read.
fn decode(row: &QueryResult, most: usize) -> Option<Row> {
    let seq = get(row, "seq")?;
    let topic = get::<String>(row, "topic").and_then(|topic| Topic::try_from_value(&topic).ok());
    let action = get::<String>(row, "action");
    let judges = topic == Some(Topic::Audit) && action.is_none_or(|action| JUDGING.contains(&&*action));
    let entry = if size(row) > most {
        Content::Large
    } else {
        match entry(row, seq) {
            Ok(entry) => Content::Whole(Arc::new(entry)),
            Err(error) => Content::Unreadable(UnreadableError::Damaged(error.to_string())),
        }
    };
    Some(Row { seq, topic, judges, entry })
}

fn entry(row: &QueryResult, seq: i64) -> Result<Entry, sea_orm::DbErr> {
    Ok(Entry {
        seq,
        action: row.try_get("", "action")?,
        at: row.try_get("", "at")?,
        actor_user: row.try_get("", "actor_user")?,
        actor_key: row.try_get("", "actor_key")?,
        subject: row.try_get("", "subject_id")?,
        subject_kind: Kind::from_prefix(&row.try_get::<String>("", "subject_kind")?),
        facts: Packed::new(row.try_get("", "facts")?),
        details: row.try_get("", "details")?,
    })
}

fn get<T: TryGetable>(row: &QueryResult, column: &str) -> Option<T> {
    row.try_get("", column).ok()
}

fn size(row: &QueryResult) -> usize {
    // SQLite counts in 64 bits, PostgreSQL in 32.
    let bytes = get::<i64>(row, "bytes").or_else(|| get::<i32>(row, "bytes").map(i64::from));
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
}
