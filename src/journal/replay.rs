//! Replays: what followers that were away, or fell behind, read from the database. A chunk is what was read at once: on one
//! topic, within a budget of bytes, and at least one entry. Followers at about the same place share it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use entity::{Topic, journal_floor};
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::{
    Entry,
    packed::UnreadableError,
    stored::{self, Content, Range},
};
use crate::{
    db::Db,
    error::{Error, Result},
    telemetry,
};

/// How many stored bytes are read at once, unless one entry alone has more,
const CHUNK_BYTES: usize = 512 * 1024;
/// and how many entries.
const CHUNK_ENTRIES: u64 = 200;
/// How many bytes of chunks are kept for the next follower, unless one chunk alone has more,
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// and how many chunks.
const KEPT_CHUNKS: usize = 64;

/// What follows one place on one topic, as far as it was read at once.
#[derive(Debug)]
pub struct Chunk {
    workspace: Uuid,
    topic: Topic,
    after: i64,
    through: i64,
    entries: Vec<(i64, Result<Arc<Entry>, UnreadableError>)>,
    bytes: usize,
    counts: telemetry::Journal,
}

impl Chunk {
    /// The first entry after the number `at`, and at most `until`.
    pub fn following(&self, at: i64, until: i64) -> Option<(i64, Result<Arc<Entry>, UnreadableError>)> {
        let place = self.entries.partition_point(|(seq, _)| *seq <= at);
        self.entries.get(place).filter(|(seq, _)| *seq <= until).cloned()
    }

    /// Up to which number it holds everything on its topic.
    pub fn through(&self) -> i64 {
        self.through
    }

    /// Whether it says what comes next on `topic` after the number `at`.
    fn goes_on(&self, workspace: Uuid, topic: Topic, at: i64) -> bool {
        self.workspace == workspace && self.topic == topic && self.after <= at && at < self.through
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.counts.released(self.bytes);
    }
}

/// The chunks of this node that were read last.
pub(super) struct Replays {
    db: Db,
    counts: telemetry::Journal,
    recent: Mutex<VecDeque<Arc<Chunk>>>,
}

impl Replays {
    pub(super) fn new(db: Db, counts: telemetry::Journal) -> Self {
        Self { db, counts, recent: Mutex::default() }
    }

    /// A chunk that was read for another, and goes on after the number `at`.
    pub(super) fn shared(&self, workspace: Uuid, topic: Topic, at: i64) -> Option<Arc<Chunk>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let place = recent.iter().rposition(|chunk| chunk.goes_on(workspace, topic, at))?;
        let chunk = recent.remove(place)?;
        recent.push_back(Arc::clone(&chunk));
        Some(chunk)
    }

    /// Reads the beginning of `range`: `CursorExpired` where part of it was swept meanwhile.
    pub(super) async fn read(&self, range: Range, topic: Topic) -> Result<Arc<Chunk>> {
        let chunk = Arc::new(self.load(range, topic).await?);
        // After the entries: whatever was missing among them was swept by now.
        let floor = journal_floor::Entity::find_by_id((range.workspace, topic)).one(self.db.reader()).await?;
        if floor.is_some_and(|floor| range.after < floor.seq) {
            return Err(Error::CursorExpired);
        }
        self.keep(&chunk);
        Ok(chunk)
    }

    async fn load(&self, range: Range, topic: Topic) -> Result<Chunk> {
        let sizes = stored::sizes(&self.db, range, topic, CHUNK_ENTRIES).await?;
        let (mut bytes, mut taken) = (0, 0);
        for (_, size) in &sizes {
            if taken > 0 && bytes + size > CHUNK_BYTES {
                break;
            }
            (bytes, taken) = (bytes + size, taken + 1);
        }
        let whole = taken == sizes.len() && (sizes.len() as u64) < CHUNK_ENTRIES;
        let last = taken.checked_sub(1).and_then(|last| sizes.get(last)).map_or(range.until, |(seq, _)| *seq);
        let through = if whole { range.until } else { last };
        let mut entries = Vec::with_capacity(taken);
        if taken > 0 {
            let part = Range { until: last, ..range };
            let read = stored::rows(&self.db, part, Some(topic), taken as u64 + 1, usize::MAX >> 1).await?;
            for row in read.rows {
                entries.push((row.seq, self.counted(range.workspace, row.seq, row.entry)));
            }
        }
        self.counts.replayed(bytes);
        let counts = self.counts.clone();
        Ok(Chunk { workspace: range.workspace, topic, after: range.after, through, entries, bytes, counts })
    }

    fn counted(&self, workspace: Uuid, seq: i64, entry: Content) -> Result<Arc<Entry>, UnreadableError> {
        let error = match entry {
            Content::Whole(entry) => return Ok(entry),
            Content::Unreadable(error) => error,
            Content::Large => UnreadableError::Damaged("it has no size".to_owned()),
        };
        self.counts.unreadable(error.kind());
        tracing::warn!(%workspace, seq, %error, "an entry of the journal cannot be read");
        Err(error)
    }

    fn keep(&self, chunk: &Arc<Chunk>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(Arc::clone(chunk));
        let mut bytes: usize = recent.iter().map(|chunk| chunk.bytes).sum();
        while recent.len() > 1 && (bytes > KEPT_BYTES || recent.len() > KEPT_CHUNKS) {
            bytes -= recent.pop_front().map_or(0, |oldest| oldest.bytes);
        }
    }
}
