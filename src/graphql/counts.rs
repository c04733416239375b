//! How many connections there are, by status.

use async_graphql::SimpleObject;

use crate::connections::Counts;

/// `connected` counts neither expiring nor disconnected ones. What the viewer may see.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub struct ConnectionCounts {
    /// All of them.
    total: i32,
    /// Those that work, with no end known.
    connected: i32,
    /// Those that work today and are known to stop.
    expiring: i32,
    /// Those that do not work.
    disconnected: i32,
}

impl From<Counts> for ConnectionCounts {
    fn from(counts: Counts) -> Self {
        Self {
            total: int(counts.total),
            connected: int(counts.connected),
            expiring: int(counts.expiring),
            disconnected: int(counts.disconnected),
        }
    }
}

/// A number of things as GraphQL's Int has it.
pub(super) fn int(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
