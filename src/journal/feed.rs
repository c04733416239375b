//! Delivery within a node: each workspace that someone follows is read once, and every follower hears of the same rows.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use entity::{Topic, journal_head};
use sea_orm::EntityTrait;
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use super::{
    replay::{Chunk, Replays},
    stored::{self, Content, Range, Row},
};
use crate::{
    db::Db,
    error::Result,
    tasks::{Rounds, Tasks, round_limit},
    telemetry,
};

/// How many entries a follower may be behind before it reads them from the database again.
const BACKLOG: usize = 256;
/// The bytes of an entry that is handed out whole; those of a larger one each follower reads, together with the others.
const LIVE_BYTES: usize = 32 * 1024;
/// What the log and the numbers call the loop of a feed.
const LOOP: &str = "journal feed";

/// The feeds of this node, one for each workspace that has followers.
pub(super) struct Feeds {
    db: Db,
    tasks: Tasks,
    slow_tick: Duration,
    counts: telemetry::Journal,
    pub(super) replays: Replays,
    feeds: Mutex<HashMap<Uuid, Weak<Feed>>>,
}

/// The delivery of one workspace's journal.
pub(super) struct Feed {
    workspace: Uuid,
    rung: Notify,
    counts: telemetry::Journal,
    /// The last number that was handed out.
    last: AtomicI64,
    heard: broadcast::Sender<Arc<Row>>,
    /// Followers read in turn, so that the next finds what the one before it read.
    turn: tokio::sync::Mutex<()>,
}

impl Feeds {
    pub(super) fn new(db: Db, tasks: Tasks, slow_tick: Duration, counts: telemetry::Journal) -> Self {
        let replays = Replays::new(db.clone(), counts.clone());
        Self { db, tasks, slow_tick, counts, replays, feeds: Mutex::default() }
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

    /// The last number that was handed out in each workspace that somebody follows.
    pub(super) fn handed_out(&self) -> Vec<(Uuid, i64)> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let running = feeds.values().filter_map(Weak::upgrade);
        running.map(|feed| (feed.workspace, feed.last())).collect()
    }

    /// What follows the number `at` on `topic`, up to `until`: as another follower read it, or read now.
    pub(super) async fn replay(&self, feed: &Feed, topic: Topic, at: i64, until: i64) -> Result<Arc<Chunk>> {
        if let Some(chunk) = self.replays.shared(feed.workspace, topic, at) {
            return Ok(chunk);
        }
        let _turn = feed.turn.lock().await;
        match self.replays.shared(feed.workspace, topic, at) {
            Some(chunk) => Ok(chunk),
            None => self.replays.read(Range { workspace: feed.workspace, after: at, until }, topic).await,
        }
    }

    fn running(&self, workspace: Uuid) -> Option<Arc<Feed>> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.get(&workspace).and_then(Weak::upgrade)
    }

    /// The feed of a workspace, which runs as long as somebody holds it.
    pub(super) async fn join(&self, workspace: Uuid) -> Result<Arc<Feed>> {
        if let Some(feed) = self.running(workspace) {
            return Ok(feed);
        }
        let feed = Arc::new(Feed {
            workspace,
            rung: Notify::new(),
            counts: self.counts.clone(),
            last: AtomicI64::new(head(&self.db, workspace).await?),
            heard: broadcast::Sender::new(BACKLOG),
            turn: tokio::sync::Mutex::default(),
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
    /// The last number that was handed out; everything up to it is committed.
    pub(super) fn last(&self) -> i64 {
        self.last.load(Ordering::Acquire)
    }

    /// What is handed out from now on, and the number after which that begins.
    pub(super) fn listen(&self) -> (broadcast::Receiver<Arc<Row>>, i64) {
        // In this order: what is handed out in between is heard, and known to be no news.
        let live = self.heard.subscribe();
        (live, self.last())
    }

    async fn hand_out(&self, db: &Db) -> Result<()> {
        let head = head(db, self.workspace).await?;
        while self.last() < head {
            let range = Range { workspace: self.workspace, after: self.last(), until: head };
            let read = stored::rows(db, range, None, BACKLOG as u64, LIVE_BYTES).await?;
            // At once, so that whoever hears the first of them knows how far the others are known.
            self.last.store(read.through, Ordering::Release);
            for row in read.rows {
                self.count(&row);
                // Without followers there is nobody to miss it.
                let _ = self.heard.send(Arc::new(row));
            }
        }
        Ok(())
    }

    /// Counts a row that not everything can be read of.
    fn count(&self, row: &Row) {
        if row.topic.is_none() {
            self.counts.unreadable("unknown_topic");
            tracing::warn!(workspace = %self.workspace, row.seq, "an entry of the journal has an unknown topic");
        } else if let Content::Unreadable(error) = &row.entry {
            self.counts.unreadable(error.kind());
            tracing::warn!(workspace = %self.workspace, row.seq, %error, "an entry of the journal cannot be read");
        }
    }
}

/// The last number of a workspace's journal.
pub(super) async fn head(db: &Db, workspace: Uuid) -> Result<i64> {
    let head = journal_head::Entity::find_by_id(workspace).one(db.reader()).await?;
    Ok(head.map_or(0, |head| head.seq))
}
