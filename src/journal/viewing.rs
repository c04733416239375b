//! Following one topic of the journal on behalf of a viewer, who is judged again at each entry about them.

use std::sync::Arc;

use entity::{Topic, journal_entry};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    Entry, Journal,
    feed::Feed,
    replay::Chunk,
    stored::{Content, Range, Row},
};
use crate::{
    access::Viewer,
    error::{Error, Result},
    ids::Kind,
};

/// What a person is told under these actions changes what they may see.
pub const ROLE_CHANGED: &str = "user.role_changed";
/// A person may no longer come in.
pub const DEACTIVATED: &str = "user.deactivated";
/// An API key is refused from now on.
pub const KEY_REVOKED: &str = "api_key.revoked";

/// The actions that may say who a viewer is from now on.
pub(super) const JUDGING: [&str; 3] = [ROLE_CHANGED, DEACTIVATED, KEY_REVOKED];

/// A viewer's way through one topic of the journal. It ends with `Unauthenticated` when they may no longer come in, and
/// with `CursorExpired` when their own role or client changed, when an entry cannot be read that may concern them, and when
/// what they missed was swept: what they read before no longer fits. For an API key this goes for the key and for the
/// person who made it.
///
/// A follower is behind while `at` is less than `until`: then it reads chunks. Else it hears what is handed out, whose
/// numbers have no gap; where one is missing, it is behind again.
pub struct Viewing {
    journal: Journal,
    viewer: Viewer,
    topic: Topic,
    feed: Arc<Feed>,
    live: broadcast::Receiver<Arc<Row>>,
    /// The number up to which everything was passed on.
    at: i64,
    /// The number up to which the database is to be read.
    until: i64,
    /// The number up to which the viewer was judged.
    judged: i64,
    chunk: Option<Arc<Chunk>>,
}

impl Journal {
    /// Follows `topic` as `viewer`: everything after the number `after`, or what comes from now on.
    pub async fn follow_as(&self, viewer: &Viewer, topic: Topic, after: Option<i64>) -> Result<Viewing> {
        let feed = self.feeds.join(viewer.workspace()).await?;
        let (live, last) = feed.listen();
        let at = after.unwrap_or(last);
        let (judged, viewer) = (at.min(viewer.seen()), viewer.clone());
        let journal = self.clone();
        let mut viewing = Viewing { journal, viewer, topic, feed, live, at, until: last, judged, chunk: None };
        // What was handed out is not all that is committed.
        viewing.judge_through(last.max(at)).await?;
        Ok(viewing)
    }

    /// What follows the number `after` on `topic` up to `until`, a number of the journal's that was its head: as far as it is
    /// read at once.
    pub async fn chunk(&self, workspace: Uuid, topic: Topic, after: i64, until: i64) -> Result<Arc<Chunk>> {
        match self.feeds.replays.shared(workspace, topic, after) {
            Some(chunk) => Ok(chunk),
            None => self.feeds.replays.read(Range { workspace, after, until }, topic).await,
        }
    }

    /// Whether the numbers of the journal after `after`, up to `until`, leave the viewer who they were.
    pub async fn judge(&self, viewer: &Viewer, after: i64, until: i64) -> Result<()> {
        let who: Vec<Uuid> = [viewer.user(), viewer.api_key()].into_iter().flatten().collect();
        if after >= until || who.is_empty() {
            return Ok(());
        }
        let select = journal_entry::Entity::find()
            .select_only()
            .columns([journal_entry::Column::Seq, journal_entry::Column::Action, journal_entry::Column::SubjectId])
            .column(journal_entry::Column::SubjectKind)
            .filter(journal_entry::Column::WorkspaceId.eq(viewer.workspace()))
            .filter(journal_entry::Column::Topic.eq(Topic::Audit))
            .filter(journal_entry::Column::Seq.gt(after))
            .filter(journal_entry::Column::Seq.lte(until))
            .filter(journal_entry::Column::SubjectId.is_in(who))
            .filter(journal_entry::Column::Action.is_in(JUDGING))
            .order_by_asc(journal_entry::Column::Seq);
        for row in self.db.reader().query_all(select.as_query()).await? {
            let kind = Kind::from_prefix(&row.try_get::<String>("", "subject_kind")?);
            judge(
                viewer,
                row.try_get("", "seq")?,
                &row.try_get::<String>("", "action")?,
                kind,
                row.try_get("", "subject_id")?,
            )?;
        }
        Ok(())
    }
}

impl Viewing {
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The number up to which everything was passed on, on this topic and on all others.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// A number up to which everything is committed; at least that of each entry so far.
    pub fn known(&self) -> i64 {
        self.feed.last()
    }

    /// The next entry on the topic, in order, each once, while the viewer is still who they were. Dropping the call loses
    /// nothing.
    pub async fn next(&mut self) -> Result<Arc<Entry>> {
        loop {
            if let Some(chunk) = &self.chunk {
                if let Some((seq, entry)) = chunk.following(self.at, self.until) {
                    self.at = seq;
                    self.judge_time()?;
                    return Ok(entry?);
                }
                self.at = self.at.max(chunk.through().min(self.until));
                self.chunk = None;
            }
            if self.at < self.until {
                self.judge_through(self.until).await?;
                let feeds = &self.journal.feeds;
                self.chunk = Some(feeds.replay(&self.feed, self.topic, self.at, self.until).await?);
                continue;
            }
            match self.live.recv().await {
                Ok(row) if row.seq <= self.at => {}
                Ok(row) if row.seq == self.at + 1 => {
                    if let Some(entry) = self.hear(&row)? {
                        return Ok(entry);
                    }
                }
                // Some were missed. (The feed lives as long as its followers: it is never closed.)
                Ok(_) | Err(_) => self.until = self.feed.last(),
            }
        }
    }

    /// Takes the row that comes next; the entry, where it is one of the topic that was handed out whole.
    fn hear(&mut self, row: &Row) -> Result<Option<Arc<Entry>>> {
        self.judge_time()?;
        if row.judges {
            // One that cannot be read may be about anyone.
            let Content::Whole(entry) = &row.entry else { return Err(Error::CursorExpired) };
            judge(&self.viewer, row.seq, &entry.action, entry.subject_kind, entry.subject)?;
        }
        self.judged = row.seq;
        if row.topic != Some(self.topic) {
            self.at = row.seq;
            return Ok(None);
        }
        match &row.entry {
            Content::Whole(entry) => {
                self.at = row.seq;
                Ok(Some(Arc::clone(entry)))
            }
            Content::Large => {
                self.until = row.seq;
                Ok(None)
            }
            Content::Unreadable(_) => Err(Error::CursorExpired),
        }
    }

    fn judge_time(&self) -> Result<()> {
        if self.viewer.expires_at().is_some_and(|end| end <= self.journal.clock.now()) {
            return Err(Error::Unauthenticated);
        }
        Ok(())
    }

    async fn judge_through(&mut self, until: i64) -> Result<()> {
        self.journal.judge(&self.viewer, self.judged, until).await?;
        self.judged = self.judged.max(until);
        Ok(())
    }
}

/// Whether an entry leaves the viewer who they were: `Unauthenticated` when it says that they may no longer come in,
/// `CursorExpired` when their role or client changed, and when they were away meanwhile.
fn judge(viewer: &Viewer, seq: i64, action: &str, kind: Option<Kind>, subject: Uuid) -> Result<()> {
    let about = |this, id: Option<Uuid>| kind == Some(this) && id == Some(subject);
    match action {
        // What the viewer was looked up after does not bar them any more.
        DEACTIVATED if about(Kind::User, viewer.user()) && seq > viewer.seen() => Err(Error::Unauthenticated),
        DEACTIVATED | ROLE_CHANGED if about(Kind::User, viewer.user()) => Err(Error::CursorExpired),
        KEY_REVOKED if about(Kind::ApiKey, viewer.api_key()) => Err(Error::Unauthenticated),
        _ => Ok(()),
    }
}
