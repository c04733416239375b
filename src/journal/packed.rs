//! How facts are stored: in the layout of postcard, with a trailer, compressed, since one entry may touch 10,000
//! connections.
//!
//! The trailer holds the layout's version and a checksum. Versions of this server from before it stored none, and ignore
//! one that is there: they and this one read each other's entries. What a newer version stored in another layout, and what
//! was damaged, is told from what can be read.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};

use super::Facts;
use crate::{error::Error, telemetry};

/// The version of today's layout: raise it with each change of what [`Facts`] holds.
const LAYOUT: u8 = 1;
/// How many bytes of the checksum are kept.
const CHECKSUM: usize = 8;
/// The checksum, then the version.
const TRAILER: usize = CHECKSUM + 1;
/// LZ4 makes of a byte at most so many.
const MAX_RATIO: usize = 255;

/// Why an entry, or what it touched, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableError {
    #[error("it was written in layout {0}, which this version does not know")]
    Newer(u8),
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl UnreadableError {
    /// One word for it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Newer(_) => "newer",
            Self::Damaged(_) => "damaged",
        }
    }
}

/// A follower whom the entry may concern has to read the list again.
impl From<UnreadableError> for Error {
    fn from(_: UnreadableError) -> Self {
        Self::CursorExpired
    }
}

fn damaged(error: impl std::fmt::Display) -> UnreadableError {
    UnreadableError::Damaged(error.to_string())
}

/// The facts as they are stored; none where an entry touched nothing.
pub(super) fn pack(facts: &Facts) -> Option<Vec<u8>> {
    pack_as(facts, LAYOUT)
}

fn pack_as(facts: &Facts, layout: u8) -> Option<Vec<u8>> {
    if *facts == Facts::None {
        return None;
    }
    // Facts are plain data: postcard cannot fail on them.
    let mut bytes = postcard::to_stdvec(facts).unwrap_or_default();
    bytes.extend(checksum(&bytes, layout));
    bytes.push(layout);
    Some(lz4_flex::compress_prepend_size(&bytes))
}

fn unpack(packed: &[u8]) -> Result<Facts, UnreadableError> {
    let bytes = decompress(packed)?;
    match with_trailer(&bytes) {
        Some((facts, LAYOUT)) => postcard::from_bytes(facts).map_err(damaged),
        Some((_, newer)) => Err(UnreadableError::Newer(newer)),
        None => match postcard::take_from_bytes(&bytes).map_err(damaged)? {
            (facts, []) => Ok(facts),
            _ => Err(damaged("something follows what it touched")),
        },
    }
}

/// What was stored with a trailer, and in which layout; none of what has no trailer that fits.
fn with_trailer(bytes: &[u8]) -> Option<(&[u8], u8)> {
    let (facts, trailer) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER)?)?;
    let (layout, sum) = trailer.split_last()?;
    (checksum(facts, *layout) == sum).then_some((facts, *layout))
}

fn decompress(packed: &[u8]) -> Result<Vec<u8>, UnreadableError> {
    let (size, compressed) = lz4_flex::block::uncompressed_size(packed).map_err(damaged)?;
    // The room for it is taken before a byte of it is looked at.
    if size > compressed.len().saturating_mul(MAX_RATIO) {
        return Err(damaged("its size cannot be"));
    }
    lz4_flex::decompress(compressed, size).map_err(damaged)
}

fn checksum(facts: &[u8], layout: u8) -> [u8; CHECKSUM] {
    let hash = Sha256::new().chain_update([layout]).chain_update(facts).finalize();
    std::array::from_fn(|place| hash[place])
}

/// An entry's facts, unpacked while someone looks at them, once for all who look at the same time.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Option<Vec<u8>>,
    unpacked: Mutex<Unpacked>,
}

#[derive(Debug)]
enum Unpacked {
    Facts(Weak<Facts>),
    Failed(UnreadableError),
}

impl Packed {
    pub(super) fn new(bytes: Option<Vec<u8>>) -> Self {
        Self { bytes, unpacked: Mutex::new(Unpacked::Facts(Weak::new())) }
    }

    /// The facts. What cannot be read is counted once.
    pub(super) fn facts(&self, counts: &telemetry::Journal) -> Result<Arc<Facts>, UnreadableError> {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        match &*unpacked {
            Unpacked::Failed(error) => return Err(error.clone()),
            Unpacked::Facts(facts) => {
                if let Some(facts) = facts.upgrade() {
                    return Ok(facts);
                }
            }
        }
        match self.bytes.as_deref().map_or(Ok(Facts::None), unpack) {
            Ok(facts) => {
                let facts = Arc::new(facts);
                *unpacked = Unpacked::Facts(Arc::downgrade(&facts));
                Ok(facts)
            }
            Err(error) => {
                counts.unreadable(error.kind());
                *unpacked = Unpacked::Failed(error.clone());
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use entity::Status;
    use uuid::Uuid;

    use super::*;
    use crate::{
        journal::{Fact, Touched},
        telemetry::Telemetry,
    };

    fn facts(connections: u128) -> Facts {
        let fact = |status| Fact {
            name: "Search".to_owned(),
            connector: "google-ads".to_owned(),
            authorization: Uuid::from_u128(1),
            client: Some(Uuid::from_u128(2)),
            owner: Some(Uuid::from_u128(3)),
            shares: vec![Uuid::from_u128(4)],
            status,
            status_changed_at: 7,
            reason: None,
        };
        let touched = (0..connections).map(|id| Touched {
            connection: Uuid::from_u128(id),
            before: Some(fact(Status::Connected)),
            after: Some(fact(Status::Disconnected)),
        });
        Facts::Connections(touched.collect())
    }

    /// As versions before the trailer stored it.
    fn pack_without_trailer(facts: &Facts) -> Vec<u8> {
        lz4_flex::compress_prepend_size(&postcard::to_stdvec(facts).unwrap())
    }

    #[test]
    fn ten_thousand_connections_pack_small_and_come_back_whole() {
        let facts = facts(10_000);
        let packed = pack(&facts).unwrap();
        assert!(packed.len() < 1_000_000, "{}", packed.len());
        assert_eq!(unpack(&packed).unwrap(), facts);
        assert_eq!(pack(&Facts::None), None);
    }

    #[test]
    fn versions_with_and_without_a_trailer_read_each_others_facts() {
        for connections in [0, 1, 2, 300] {
            let facts = facts(connections);
            assert_eq!(unpack(&pack_without_trailer(&facts)).unwrap(), facts);
            // This is how they read.
            let bytes = lz4_flex::decompress_size_prepended(&pack(&facts).unwrap()).unwrap();
            assert_eq!(postcard::from_bytes::<Facts>(&bytes).unwrap(), facts);
        }
    }

    #[test]
    fn another_layout_is_told_from_damage() {
        let newer = pack_as(&facts(3), LAYOUT + 1).unwrap();
        assert_eq!(unpack(&newer), Err(UnreadableError::Newer(LAYOUT + 1)));
    }

    #[test]
    fn no_flipped_bit_and_no_lost_byte_goes_unnoticed() {
        let facts = facts(3);
        let packed = pack(&facts).unwrap();
        for place in 0..packed.len() {
            for bit in 0..8 {
                let mut flipped = packed.clone();
                flipped[place] ^= 1 << bit;
                // A size that is too large for what follows reads as what was stored.
                assert!(unpack(&flipped).is_err() || unpack(&flipped) == Ok(facts.clone()), "{place} {bit}");
            }
            assert!(unpack(&packed[..place]).is_err(), "{place}");
        }
    }

    #[test]
    fn those_who_look_at_once_share_what_was_unpacked_and_what_cannot_be_read_is_counted_once() {
        let telemetry = Telemetry::new(DateTime::UNIX_EPOCH);
        let packed = Packed::new(pack(&facts(3)));
        let one = packed.facts(&telemetry.journal).unwrap();
        assert!(Arc::ptr_eq(&one, &packed.facts(&telemetry.journal).unwrap()));
        let left = Arc::downgrade(&one);
        drop(one);
        assert!(left.upgrade().is_none(), "nothing is kept once no one looks");

        let damaged = Packed::new(Some(vec![1, 2, 3]));
        for _ in 0..3 {
            assert!(damaged.facts(&telemetry.journal).is_err());
        }
        let text = telemetry.text(&crate::telemetry::Snapshot::default());
        assert!(text.contains("patchbay_journal_unreadable_entries_total{kind=\"damaged\"} 1"), "{text}");
    }
}
