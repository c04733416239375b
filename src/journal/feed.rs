//! Delivery within a node: each workspace that someone follows is read once, and every follower gets the same entries.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use entity::journal_entry;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use super::{BATCH, Entry};
use crate::{
    db::Db,
    error::Result,
    tasks::{Rounds, Tasks, round_limit},
};

/// How many entries a follower may be behind before it reads them from the database again.
const BACKLOG: usize = 256;
/// What the log and the numbers call the loop of a feed.
const LOOP: &str = "journal feed";

/// The feeds of this node, one for each workspace that has followers.
pub(super) struct Feeds {
    db: Db,
    tasks: Tasks,
    slow_tick: Duration,
    feeds: Mutex<HashMap<Uuid, Weak<Feed>>>,
}

struct Feed {
    workspace: Uuid,
    rung: Notify,
    /// The last number that was handed out.
    last: AtomicI64,
    entries: broadcast::Sender<Arc<Entry>>,
}

impl Feeds {
    pub(super) fn new(db: Db, tasks: Tasks, slow_tick: Duration) -> Self {
        Self { db, tasks, slow_tick, feeds: Mutex::default() }
    }

    /// Something may have happened in `workspace`.
    pub(super) fn wake(&self, workspace: Uuid) {
        if let Some(feed) = self.running(workspace) {
            feed.rung.notify_one();
        }
    }

    /// Something may have happened anywhere.
    pub(super) fn wake_all(&self) {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.values().filter_map(Weak::upgrade).for_each(|feed| feed.rung.notify_one());
    }

    pub(super) async fn follow(&self, workspace: Uuid, after: Option<i64>) -> Result<Following> {
        let feed = self.join(workspace).await?;
        let live = feed.entries.subscribe();
        let last = feed.last.load(Ordering::Acquire);
        Ok(Following {
            db: self.db.clone(),
            at: after.unwrap_or(last),
            behind: after.is_some_and(|after| after < last),
            backlog: Vec::new().into_iter(),
            live,
            feed,
        })
    }

    /// The last number that was handed out in each workspace that somebody follows.
    pub(super) fn handed_out(&self) -> Vec<(Uuid, i64)> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let running = feeds.values().filter_map(Weak::upgrade);
        running.map(|feed| (feed.workspace, feed.last.load(Ordering::Acquire))).collect()
    }

    fn running(&self, workspace: Uuid) -> Option<Arc<Feed>> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.get(&workspace).and_then(Weak::upgrade)
    }

    async fn join(&self, workspace: Uuid) -> Result<Arc<Feed>> {
        if let Some(feed) = self.running(workspace) {
            return Ok(feed);
        }
        let head = entity::journal_head::Entity::find_by_id(workspace).one(self.db.reader()).await?;
        let feed = Arc::new(Feed {
            workspace,
            rung: Notify::new(),
            last: AtomicI64::new(head.map_or(0, |head| head.seq)),
            entries: broadcast::Sender::new(BACKLOG),
        });
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        // Another follower may have come first.
        if let Some(first) = feeds.get(&workspace).and_then(Weak::upgrade) {
            return Ok(first);
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        feeds.insert(workspace, Arc::downgrade(&feed));
        let rounds = self.tasks.watch(LOOP, round_limit(self.slow_tick));
        // Detached: it ends by itself when the last follower has left.
        self.tasks.beside(LOOP, run(Arc::downgrade(&feed), self.db.clone(), self.slow_tick, rounds)).detach();
        Ok(feed)
    }
}

/// Hands out what is new, at each ring and each slow tick, until nobody follows any more.
async fn run(feed: Weak<Feed>, db: Db, slow_tick: Duration, mut rounds: Rounds) {
    while let Some(feed) = feed.upgrade() {
        if let Some(Err(error)) = rounds.round(feed.hand_out(&db)).await {
            tracing::warn!(workspace = %feed.workspace, ?error, "the journal could not be read; trying again");
        }
        // A follower that leaves meanwhile frees the feed at the next tick.
        let _ = tokio::time::timeout(slow_tick, feed.rung.notified()).await;
    }
}

impl Feed {
    async fn hand_out(&self, db: &Db) -> Result<()> {
        loop {
            let entries = read(db, self.workspace, self.last.load(Ordering::Acquire), BATCH).await?;
            let more = entries.len() as u64 == BATCH;
            for entry in entries {
                self.last.store(entry.seq, Ordering::Release);
                // Without followers there is nobody to miss it.
                let _ = self.entries.send(Arc::new(entry));
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// One follower's way through a workspace's journal.
pub struct Following {
    db: Db,
    /// The last number that was passed on.
    at: i64,
    /// Whether there is more in the database before the live entries.
    behind: bool,
    backlog: std::vec::IntoIter<Entry>,
    live: broadcast::Receiver<Arc<Entry>>,
    feed: Arc<Feed>,
}

impl Following {
    /// The last number that was passed on.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// The next entry, in order, each once. Dropping the call loses nothing.
    pub async fn next(&mut self) -> Result<Arc<Entry>> {
        loop {
            if let Some(entry) = self.backlog.next() {
                self.at = entry.seq;
                return Ok(Arc::new(entry));
            }
            if self.behind {
                let entries = read(&self.db, self.feed.workspace, self.at, BATCH).await?;
                self.behind = entries.len() as u64 == BATCH;
                self.backlog = entries.into_iter();
                continue;
            }
            match self.live.recv().await {
                Ok(entry) if entry.seq <= self.at => {}
                Ok(entry) if entry.seq == self.at + 1 => {
                    self.at = entry.seq;
                    return Ok(entry);
                }
                // Some were missed. (The feed lives as long as its followers: it is never closed.)
                Ok(_) | Err(_) => self.behind = true,
            }
        }
    }
}

/// Up to `limit` entries that follow `after`.
pub(super) async fn read(db: &Db, workspace: Uuid, after: i64, limit: u64) -> Result<Vec<Entry>> {
    let rows = journal_entry::Entity::find()
        .filter(journal_entry::Column::WorkspaceId.eq(workspace))
        .filter(journal_entry::Column::Seq.gt(after))
        .order_by_asc(journal_entry::Column::Seq)
        .limit(limit)
        .all(db.reader())
        .await?;
    rows.into_iter().map(Entry::try_from).collect()
}
