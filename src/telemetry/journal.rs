//! The journal, as followers come back to it.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Label;

/// What an entry that cannot be read may be.
const UNREADABLE: [&str; 3] = ["damaged", "newer", "unknown_topic"];

/// Counts what is read for followers that come back, and what cannot be read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    unreadable: Family<[Label; 1], Counter>,
    replays: Counter,
    replayed: Counter,
    held: Gauge<i64, AtomicI64>,
}

impl Journal {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (replays, replayed, held) = (Counter::default(), Counter::default(), Gauge::default());
        let unreadable = Family::<[Label; 1], Counter>::default();
        for kind in UNREADABLE {
            // It is there before it moves.
            drop(unreadable.get_or_create(&[("kind", kind.into())]));
        }
        registry.register(
            "journal_unreadable_entries",
            "Entries that this version could not read, by what they are: damaged, newer, or of an unknown topic",
            unreadable.clone(),
        );
        registry.register(
            "journal_replay_chunks",
            "Chunks of entries read for followers that were behind",
            replays.clone(),
        );
        registry.register("journal_replay_bytes", "Stored bytes of the entries in those chunks", replayed.clone());
        registry.register("journal_replay_held_bytes", "Bytes of chunks that are in memory", held.clone());
        Self { unreadable, replays, replayed, held }
    }

    /// An entry of this `kind` could not be read.
    pub fn unreadable(&self, kind: &'static str) {
        self.unreadable.get_or_create(&[("kind", kind.into())]).inc();
    }

    /// A chunk of so many bytes was read.
    pub fn replayed(&self, bytes: usize) {
        self.replays.inc();
        self.replayed.inc_by(bytes as u64);
        self.held.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Nobody holds that chunk any more.
    pub fn released(&self, bytes: usize) {
        self.held.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
