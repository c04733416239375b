//! A person's tray: list, count, mark as read.

use entity::{NotificationKind, Topic, notification};
use sea_orm::{
    ColumnTrait, EntityTrait, Order as Direction, PaginatorTrait, QueryFilter, QuerySelect, Select, sea_query::Expr,
};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::changes::MOST;
use crate::{
    access::{Action, Viewer},
    clock::SharedClock,
    db::Db,
    error::{Error, Result},
    ids::{Kind, NodeId},
    journal::{Facts, Journal, NOTIFICATIONS_READ, NewEntry, Told},
    pages::{self, Key, Order, Page, PageArgs},
};

/// The trays of a server; cheap to clone.
#[derive(Clone)]
pub struct Notifications {
    pub(super) db: Db,
    pub(super) journal: Journal,
    pub(super) clock: SharedClock,
    /// Where people reach this server.
    pub(super) public_url: Url,
}

/// Which notifications to mark as read.
#[derive(Debug, Clone)]
pub enum Read {
    All,
    These(Vec<Uuid>),
    /// This one and all older.
    Through(Uuid),
}

impl Notifications {
    pub fn new(db: Db, journal: Journal, clock: SharedClock, public_url: Url) -> Self {
        Self { db, journal, clock, public_url }
    }

    /// A part of the viewer's tray, newest first.
    pub async fn list(&self, viewer: &Viewer, unread_only: bool, args: &PageArgs) -> Result<Page<notification::Model>> {
        let Some(tray) = tray(viewer, unread_only) else { return Ok(Page::empty()) };
        let newest =
            Order::by("notifications", notification::Column::Id, Direction::Desc, |row: &notification::Model| {
                vec![Key::Id(row.id)]
            });
        pages::read(self.db.reader(), tray, args, newest, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count(&self, viewer: &Viewer, unread_only: bool) -> Result<u64> {
        match tray(viewer, unread_only) {
            Some(tray) => Ok(tray.count(self.db.reader()).await?),
            None => Ok(0),
        }
    }

    /// Those of `ids` that are in the viewer's tray.
    pub async fn by_ids(&self, viewer: &Viewer, ids: &[Uuid]) -> Result<Vec<notification::Model>> {
        let Some(tray) = tray(viewer, false) else { return Ok(Vec::new()) };
        let mine = tray.filter(notification::Column::Id.is_in(ids.iter().copied()));
        Ok(mine.all(self.db.reader()).await?)
    }

    /// Marks notifications as read; those that were unread come back.
    pub async fn mark_read(&self, viewer: &Viewer, what: Read) -> Result<Vec<notification::Model>> {
        viewer.may(Action::BeNotified)?;
        let (user, now) = (viewer.require_user()?, self.clock.now());
        let mut unread = tray(viewer, true).ok_or(Error::Forbidden)?;
        match what {
            Read::All => {}
            Read::These(ids) => {
                self.known(viewer, &ids, "notificationIds").await?;
                unread = unread.filter(notification::Column::Id.is_in(ids));
            }
            Read::Through(id) => {
                self.known(viewer, &[id], "through").await?;
                unread = unread.filter(notification::Column::Id.lte(id));
            }
        }
        let txn = self.db.begin().await?;
        let unread: Vec<Uuid> = unread.select_only().column(notification::Column::Id).into_tuple().all(&txn).await?;
        let mut ids = Vec::with_capacity(unread.len());
        for part in unread.chunks(500) {
            let read = notification::Entity::update_many()
                .col_expr(notification::Column::ReadAt, Expr::value(now))
                .filter(notification::Column::Id.is_in(part.iter().copied()))
                .filter(notification::Column::ReadAt.is_null())
                .exec_with_returning(&txn)
                .await?;
            // Only what this transaction marked: another window may have marked the rest meanwhile.
            ids.extend(read.into_iter().map(|row| row.id));
        }
        ids.sort_unstable();
        // An event has a place of its own in the journal, or whoever comes back after its cursor would miss the rest.
        let entries = ids.chunks(MOST).map(|part| read_entry(viewer, user, part)).collect();
        self.journal.commit(txn, viewer.workspace(), entries).await?;
        self.in_parts(viewer, &ids).await
    }

    async fn in_parts(&self, viewer: &Viewer, ids: &[Uuid]) -> Result<Vec<notification::Model>> {
        let mut rows = Vec::new();
        for part in ids.chunks(500) {
            rows.extend(self.by_ids(viewer, part).await?);
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        Ok(rows)
    }

    async fn known(&self, viewer: &Viewer, ids: &[Uuid], field: &str) -> Result<()> {
        let found = self.by_ids(viewer, ids).await?;
        if ids.iter().all(|id| found.iter().any(|row| row.id == *id)) { Ok(()) } else { Err(Error::not_found(field)) }
    }
}

/// The viewer's tray; none for whoever has none.
fn tray(viewer: &Viewer, unread_only: bool) -> Option<Select<notification::Entity>> {
    viewer.may(Action::BeNotified).ok()?;
    let mut mine = notification::Entity::find()
        .filter(notification::Column::WorkspaceId.eq(viewer.workspace()))
        .filter(notification::Column::UserId.eq(viewer.user()?));
    if unread_only {
        mine = mine.filter(notification::Column::ReadAt.is_null());
    }
    Some(mine)
}

fn read_entry(viewer: &Viewer, user: Uuid, ids: &[Uuid]) -> NewEntry {
    NewEntry {
        topic: Topic::Notifications,
        action: NOTIFICATIONS_READ,
        actor: viewer.actor(),
        subject: Kind::User.of(user),
        facts: Facts::Notifications(ids.iter().map(|id| Told { user, notification: *id }).collect()),
        details: json!({ "count": ids.len() }),
    }
}

/// The journal's entry that tells of new notifications; none when nobody was told.
pub fn added_entry(kind: NotificationKind, subject: NodeId, told: Vec<Told>) -> Option<NewEntry> {
    (!told.is_empty()).then(|| NewEntry {
        topic: Topic::Notifications,
        action: "notification.added",
        actor: crate::access::Actor::default(),
        subject,
        details: json!({ "kind": kind.as_str(), "people": told.len() }),
        facts: Facts::Notifications(told),
    })
}
