//! The audit log: the journal as administrators read it.
//!
//! It shows what people and the server did: every entry about connections, datasets and administration (of refreshes
//! those that somebody asked for), that somebody went to a provider (the start of an attempt), that somebody read their notifications, and what was refused
//! ([`super::refusals`]). So every mutation leaves something here. The further steps of an attempt, and who was told
//! what, are noise: their outcome is an entry of its own.

use chrono::{DateTime, Utc};
use entity::{Topic, journal_entry};
use sea_orm::{
    ColumnTrait, Condition, DbErr, FromQueryResult, Iterable, Order as Direction, PaginatorTrait, QueryFilter,
    QueryResult, QuerySelect, Select,
};
use serde_json::Value;
use uuid::Uuid;

use super::Journal;
use crate::{
    access::{Action, Viewer},
    clock::to_microseconds,
    error::{Error, Result},
    ids::NodeId,
    pages::{self, Key, Order, Page, PageArgs},
};

/// Somebody set out to connect or reconnect something: the one step of an attempt that the audit log shows.
pub const ATTEMPT_STARTED: &str = "attempt.started";

/// Somebody read notifications of theirs: the one entry of that topic that the audit log shows.
pub const NOTIFICATIONS_READ: &str = "notification.read";

/// What came of a dataset's refresh.
pub const REFRESHED: &str = "dataset.refreshed";
pub const NOT_REFRESHED: &str = "dataset.failed";
/// A refresh is over and says nothing new: for those who saw it under way.
pub const REFRESH_ENDED: &str = "dataset.refresh_ended";
const REFRESHES: [&str; 3] = [REFRESHED, NOT_REFRESHED, REFRESH_ENDED];

/// Which entries: conditions are joined by AND, an absent one says nothing. Times are exclusive.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// E.g. `connection.removed`.
    pub action: Option<String>,
    /// Who acted, or for whom a key did.
    pub user: Option<Uuid>,
    pub api_key: Option<Uuid>,
    /// What it was done to.
    pub subject: Option<NodeId>,
    pub after: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
}

/// An entry, as administrators read it.
#[derive(Debug, Clone, FromQueryResult)]
pub struct AuditEntry {
    pub id: Uuid,
    pub action: String,
    pub at: DateTime<Utc>,
    pub actor_user: Option<Uuid>,
    pub actor_key: Option<Uuid>,
    pub subject_kind: String,
    pub subject_id: Uuid,
    pub details: Value,
}

/// One row of the log, as far as it can be read: one that cannot is left out, and stops no page.
struct Row {
    seq: i64,
    entry: Result<AuditEntry, DbErr>,
}

impl FromQueryResult for Row {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Ok(Self { seq: row.try_get(prefix, "seq")?, entry: AuditEntry::from_query_result(row, prefix) })
    }
}

impl Journal {
    /// A part of the audit log, newest first.
    pub async fn audit(&self, viewer: &Viewer, filter: &AuditFilter, args: &PageArgs) -> Result<Page<AuditEntry>> {
        let keys = |row: &Row| vec![Key::Int(row.seq)];
        let newest = Order::by("audit log", journal_entry::Column::Seq, Direction::Desc, keys);
        let picked = without_facts(picked(viewer, filter)?);
        let page = pages::read(self.db.reader(), picked, args, newest, viewer.cursor_key()).await?;
        Ok(page.filter_map(|row| self.readable(viewer, row)))
    }

    fn readable(&self, viewer: &Viewer, row: Row) -> Option<AuditEntry> {
        let Row { seq, entry } = row;
        entry
            .inspect_err(|error| {
                self.counts.unreadable("damaged");
                tracing::warn!(workspace = %viewer.workspace(), seq, %error, "an entry is missing from the audit log");
            })
            .ok()
    }

    /// How many entries there are.
    pub async fn count_audit(&self, viewer: &Viewer, filter: &AuditFilter) -> Result<u64> {
        let ids = picked(viewer, filter)?.select_only().column(journal_entry::Column::Id);
        Ok(ids.count(self.db.reader()).await?)
    }

    /// The entry `id` of the audit log; to whoever may not read it there is none.
    pub async fn audit_entry(&self, viewer: &Viewer, id: Uuid) -> Result<Option<AuditEntry>> {
        if viewer.may(Action::Administer).is_err() {
            return Ok(None);
        }
        let one = without_facts(shown(viewer)).filter(journal_entry::Column::Id.eq(id));
        let row = one.into_model::<Row>().one(self.db.reader()).await?;
        Ok(row.and_then(|row| self.readable(viewer, row)))
    }
}

/// What of the workspace's journal the audit log shows.
fn shown(viewer: &Viewer) -> Select<journal_entry::Entity> {
    use journal_entry::Column::{Action, ActorUser, Topic as About};
    let only = |topic, action| Condition::all().add(About.eq(topic)).add(Action.eq(action));
    let whole = About.is_in([Topic::Connections, Topic::Audit]);
    // The server refreshes all day.
    let asked_for = Condition::any().add(ActorUser.is_not_null()).add(Action.is_not_in(REFRESHES));
    let datasets = Condition::all().add(About.eq(Topic::Datasets)).add(asked_for);
    let (started, read) = (only(Topic::Attempts, ATTEMPT_STARTED), only(Topic::Notifications, NOTIFICATIONS_READ));
    Journal::entries_of(viewer.workspace()).filter(Condition::any().add(whole).add(datasets).add(started).add(read))
}

fn picked(viewer: &Viewer, filter: &AuditFilter) -> Result<Select<journal_entry::Entity>> {
    use journal_entry::Column::{ActorKey, ActorUser, At, SubjectId, SubjectKind};
    viewer.may(Action::Administer)?;
    if filter.action.as_ref().is_some_and(|action| action.contains('\0')) {
        return Err(Error::BadInput("`action` holds a character that no action has.".to_owned()));
    }
    let about = |node: NodeId| Condition::all().add(SubjectKind.eq(node.kind.prefix())).add(SubjectId.eq(node.id));
    let conditions = Condition::all()
        .add_option(filter.action.as_deref().map(|action| journal_entry::Column::Action.eq(action)))
        .add_option(filter.user.map(|user| ActorUser.eq(user)))
        .add_option(filter.api_key.map(|key| ActorKey.eq(key)))
        .add_option(filter.subject.map(about))
        .add_option(filter.after.map(|after| At.gt(to_microseconds(after))))
        .add_option(filter.before.map(|before| At.lt(to_microseconds(before))));
    Ok(shown(viewer).filter(conditions))
}

/// The same rows, without what only filters need: an entry may have touched thousands of connections.
fn without_facts(entries: Select<journal_entry::Entity>) -> Select<journal_entry::Entity> {
    let columns = journal_entry::Column::iter().filter(|column| !matches!(column, journal_entry::Column::Facts));
    entries.select_only().columns(columns)
}
