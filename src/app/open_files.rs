//! How many files the process may have open: each connection is one, and so are those to the database and to providers.

use crate::config::Limits;

/// Files that stay free for all that is no peer's connection, beside the handles of the database.
const RESERVED: usize = 64;
/// What a handle of SQLite has open: the file, its log, and what its users share.
const OF_A_HANDLE: usize = 3;
/// Connections that an installation may well have: with fewer, the operator should raise the limit.
const FEW: usize = 1_000;
/// Connections that there may be in any case.
const LEAST: usize = 16;

/// Raises the process's limit of open files as far as the system allows, and returns it; none where there is no limit, or
/// none is known.
#[cfg(unix)]
pub(super) fn raise_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok())
}

#[cfg(not(unix))]
pub(super) fn raise_limit() -> Option<usize> {
    None
}

/// Lets there be no more connections than `files` leave room for, with `handles` of the database.
pub(super) fn fit(limits: &mut Limits, files: usize, handles: u32) {
    let handles = usize::try_from(handles).unwrap_or(usize::MAX);
    let taken = RESERVED.saturating_add(handles.saturating_mul(OF_A_HANDLE));
    let room = files.saturating_sub(taken).max(LEAST);
    if room < limits.connections {
        let told = "the system allows fewer open files than there may be connections, so there are fewer of these";
        if room < FEW {
            tracing::warn!(files, connections = room, "{told}");
        } else {
            tracing::info!(files, connections = room, "{told}");
        }
        limits.connections = room;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        for (files, expected) in [(1_000_000, 20_000), (1_024, 927), (256, 159), (64, 16)] {
            let mut limits = Limits::default();
            fit(&mut limits, files, 11);
            assert_eq!(limits.connections, expected, "{files} files");
        }
    }
}
