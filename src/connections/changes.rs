//! What happens to connections, as one viewer with one filter hears of it: live, replayed, or asked for.
//!
//! The journal's facts say how each touched connection was before and after. Both are judged by what the viewer may see
//! today and by the filter ([`super::filter`]); an entry of which nothing is left is passed over.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use entity::{Status, Topic};
use futures_util::{Stream, stream};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{ConnectionFilter, Connections, filter::FactTest, search::Search, visibility::sees_fact};
use crate::{
    access::Viewer,
    error::Result,
    journal::{Entry, Fact, Facts, Viewing},
    pages,
};

/// The longest list inside a change.
const MOST: usize = 100;
/// How often a stream without changes says how far it came.
const CHECKPOINT: Duration = Duration::from_secs(5 * 60);
/// How many chunks of the journal are read for a page of changes, before it ends with what was found.
const MAX_CHUNKS: usize = 20;

/// What kind of change it was, for this viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// New, or in sight for the first time.
    Added,
    /// Renamed, shared, moved to another client or account.
    Updated,
    Expiring,
    Disconnected,
    Reconnected,
    /// Gone, or out of sight.
    Removed,
    /// Nothing for this viewer: only the cursor moved on.
    Checkpoint,
}

/// One change, with what of it concerns a viewer. Ids are to be looked up as that viewer.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionsChange {
    /// Its place in the journal, sealed.
    pub cursor: String,
    pub at: DateTime<Utc>,
    pub kind: ChangeKind,
    /// Those in sight that match after it: the first 100 by id.
    pub connections: Vec<Uuid>,
    /// How many it touched for this viewer and filter, before or after.
    pub connection_count: u64,
    /// Those of `connections` that did not match, or were not in sight, before.
    pub added: Vec<Uuid>,
    /// Those that no longer match, or are out of sight: the first 100 by id.
    pub removed: Vec<Uuid>,
    /// The one behind all of them now.
    pub authorization: Option<Uuid>,
    pub disconnection: Option<Uuid>,
    /// Those whose counts changed for this viewer: the first 100 by id.
    pub clients: Vec<Uuid>,
    /// Who did it; none when the server itself noticed.
    pub by: Option<Uuid>,
    pub by_api_key: Option<Uuid>,
}

/// What happened since a cursor, as far as it was read.
#[derive(Debug, Clone)]
pub struct ChangesPage {
    /// Oldest first.
    pub nodes: Vec<ConnectionsChange>,
    /// How far it was read, whether or not anything matched.
    pub end_cursor: String,
    /// Whether there is more to read: more changes, or only entries that do not match.
    pub has_next: bool,
}

impl Connections {
    /// Every change that concerns the viewer and the filter: those after the journal cursor `after`, then live.
    pub async fn changes(
        &self,
        viewer: &Viewer,
        filter: ConnectionFilter,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<ConnectionsChange>> + Send + use<>> {
        filter.check_followed()?;
        let place = match after {
            Some(cursor) => Some(self.journal.place(viewer, Topic::Connections, cursor).await?),
            None => None,
        };
        let viewing = self.journal.follow_as(viewer, Topic::Connections, place).await?;
        let (told, checkpoint) = (viewing.at(), Instant::now() + CHECKPOINT);
        let walk = Walk { connections: self.clone(), viewing, filter, search: Search::default(), told, checkpoint };
        Ok(stream::try_unfold(walk, |mut walk| async move {
            let change = walk.next().await?;
            Ok(Some((change, walk)))
        }))
    }

    /// The first changes after the journal cursor `after` that concern the viewer and the filter.
    pub async fn changes_since(
        &self,
        viewer: &Viewer,
        after: &str,
        filter: &ConnectionFilter,
        first: Option<i32>,
    ) -> Result<ChangesPage> {
        filter.check_followed()?;
        let limit = page_limit(first)?;
        let mut at = self.journal.place(viewer, Topic::Connections, after).await?;
        let head = self.journal.head(viewer.workspace()).await?;
        self.journal.judge(viewer, at, head).await?;
        let (mut nodes, mut search) = (Vec::new(), Search::default());
        'reading: for _ in 0..MAX_CHUNKS {
            if at >= head {
                break;
            }
            let chunk = self.journal.chunk(viewer.workspace(), Topic::Connections, at, head).await?;
            while let Some((seq, entry)) = chunk.following(at, head) {
                if nodes.len() >= limit {
                    break 'reading;
                }
                nodes.extend(self.change(viewer, filter, &mut search, head, &*entry?).await?);
                at = seq;
            }
            at = chunk.through().min(head);
        }
        Ok(ChangesPage { nodes, end_cursor: self.journal.cursor(viewer, at), has_next: at < head })
    }

    /// What `entry` means to the viewer; none where nothing of it concerns them. Everything up to `known` is committed.
    async fn change(
        &self,
        viewer: &Viewer,
        filter: &ConnectionFilter,
        search: &mut Search,
        known: i64,
        entry: &Entry,
    ) -> Result<Option<ConnectionsChange>> {
        let facts = entry.facts(self.journal.counts())?;
        let visible = Touch::visible(viewer, &facts);
        if visible.is_empty() {
            return Ok(None);
        }
        self.search_as_of(viewer, filter, search, entry.seq, known).await?;
        let shown = shown(&visible, &FactTest::new(viewer, filter, search));
        if shown.is_empty() {
            return Ok(None);
        }
        let here: Vec<&Shown<'_>> = shown.iter().filter(|one| one.now).take(MOST).collect();
        let by_itself = entry.action == RECOVERED;
        Ok(Some(ConnectionsChange {
            cursor: self.journal.cursor(viewer, entry.seq),
            at: entry.at,
            kind: kind(&entry.action, &shown),
            connections: here.iter().map(|one| one.touch.connection).collect(),
            connection_count: shown.len() as u64,
            added: here.iter().filter(|one| !one.then).map(|one| one.touch.connection).collect(),
            removed: shown.iter().filter(|one| !one.now).take(MOST).map(|one| one.touch.connection).collect(),
            authorization: authorization(&shown),
            disconnection: entry.disconnection(self.journal.counts())?,
            clients: clients(&visible),
            by: entry.actor_user.filter(|_| !by_itself),
            by_api_key: entry.actor_key.filter(|_| !by_itself),
        }))
    }

    fn checkpoint(&self, viewer: &Viewer, at: i64) -> ConnectionsChange {
        ConnectionsChange {
            cursor: self.journal.cursor(viewer, at),
            at: self.clock.now(),
            kind: ChangeKind::Checkpoint,
            connections: Vec::new(),
            connection_count: 0,
            added: Vec::new(),
            removed: Vec::new(),
            authorization: None,
            disconnection: None,
            clients: Vec::new(),
            by: None,
            by_api_key: None,
        }
    }
}

/// One subscriber's way through the journal.
struct Walk {
    connections: Connections,
    viewing: Viewing,
    filter: ConnectionFilter,
    search: Search,
    /// The place that the subscriber knows of.
    told: i64,
    /// When to say how far this came.
    checkpoint: Instant,
}

impl Walk {
    async fn next(&mut self) -> Result<ConnectionsChange> {
        loop {
            // Dropping the wait for an entry loses none.
            let Ok(entry) = timeout_at(self.checkpoint, self.viewing.next()).await else {
                self.checkpoint = Instant::now() + CHECKPOINT;
                if self.viewing.at() == self.told {
                    continue;
                }
                self.told = self.viewing.at();
                return Ok(self.connections.checkpoint(self.viewing.viewer(), self.told));
            };
            let entry = entry?;
            let (viewer, known) = (self.viewing.viewer(), self.viewing.known());
            let change = self.connections.change(viewer, &self.filter, &mut self.search, known, &entry).await?;
            if let Some(change) = change {
                (self.told, self.checkpoint) = (entry.seq, Instant::now() + CHECKPOINT);
                return Ok(change);
            }
        }
    }
}

/// A touched connection that the viewer sees before or after; each side only where they see it.
struct Touch<'a> {
    connection: Uuid,
    before: Option<&'a Fact>,
    after: Option<&'a Fact>,
}

impl<'a> Touch<'a> {
    /// What the viewer sees of an entry, by id.
    fn visible(viewer: &Viewer, facts: &'a Facts) -> Vec<Self> {
        let sight = viewer.sight();
        let seen = |fact: &'a Option<Fact>| fact.as_ref().filter(|fact| sees_fact(sight, fact));
        let touched = facts.connections().iter().map(|touched| Self {
            connection: touched.connection,
            before: seen(&touched.before),
            after: seen(&touched.after),
        });
        let mut visible: Vec<Self> = touched.filter(|one| one.before.is_some() || one.after.is_some()).collect();
        visible.sort_by_key(|one| one.connection);
        visible
    }
}

/// A touched connection that matches the filter before or after.
struct Shown<'a> {
    touch: &'a Touch<'a>,
    then: bool,
    now: bool,
}

fn shown<'a>(visible: &'a [Touch<'a>], test: &FactTest<'_>) -> Vec<Shown<'a>> {
    let matches = |fact: Option<&Fact>| fact.is_some_and(|fact| test.matches(fact));
    let judged = visible.iter().map(|touch| Shown { touch, then: matches(touch.before), now: matches(touch.after) });
    judged.filter(|one| one.then || one.now).collect()
}

/// It works again by itself: by nobody.
const RECOVERED: &str = "connection.recovered";

/// The event's kind, unless all that is left of it for the viewer is that connections came into sight or went out of it.
fn kind(action: &str, shown: &[Shown<'_>]) -> ChangeKind {
    if shown.iter().all(|one| one.touch.before.is_none()) {
        return ChangeKind::Added;
    }
    if shown.iter().all(|one| one.touch.after.is_none()) {
        return ChangeKind::Removed;
    }
    // Some are in an entry only because the reason changed for which they are disconnected, before and after.
    let down = |fact: Option<&Fact>| fact.is_some_and(|fact| fact.status == Status::Disconnected);
    let stays_down = |one: &Shown<'_>| down(one.touch.before) && down(one.touch.after);
    match action {
        "connection.disconnected" | "connection.reconnected" | RECOVERED if shown.iter().all(stays_down) => {
            ChangeKind::Updated
        }
        "connection.added" => ChangeKind::Added,
        "connection.expiring" => ChangeKind::Expiring,
        "connection.disconnected" => ChangeKind::Disconnected,
        "connection.reconnected" | RECOVERED => ChangeKind::Reconnected,
        "connection.removed" => ChangeKind::Removed,
        _ => ChangeKind::Updated,
    }
}

/// The authorization behind all of them: the new one, where they moved.
fn authorization(shown: &[Shown<'_>]) -> Option<Uuid> {
    let mut behind = shown.iter().filter_map(|one| one.touch.after.or(one.touch.before)).map(|fact| fact.authorization);
    let first = behind.next()?;
    behind.all(|other| other == first).then_some(first)
}

/// The clients whose counts changed with what the viewer sees, whatever the filter: counts know of none.
fn clients(visible: &[Touch<'_>]) -> Vec<Uuid> {
    let counted = |fact: &Fact| (fact.client, fact.status);
    let moved = visible.iter().filter(|one| one.before.map(counted) != one.after.map(counted));
    let clients: BTreeSet<Uuid> =
        moved.flat_map(|one| [one.before, one.after]).flatten().filter_map(|fact| fact.client).collect();
    clients.into_iter().take(MOST).collect()
}

fn page_limit(first: Option<i32>) -> Result<usize> {
    Ok(usize::try_from(pages::limit("first", first, pages::DEFAULT)?).unwrap_or(MOST))
}
