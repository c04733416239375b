//! What happened to datasets, as one viewer hears of it: replayed, then live.

use chrono::{DateTime, Utc};
use entity::Topic;
use futures_util::{Stream, stream};
use uuid::Uuid;

use super::Datasets;
use crate::{
    access::{Action, Viewer},
    error::Result,
    journal::{Entry, Journal, NOT_REFRESHED, REFRESHED, Through},
};

/// What kind of change it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetsChangeKind {
    Created,
    Updated,
    Refreshed,
    Failed,
    Removed,
}

/// One change of a dataset, which is to be looked up as the viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetsChange {
    /// Its place in the journal, sealed.
    pub cursor: String,
    pub at: DateTime<Utc>,
    pub kind: DatasetsChangeKind,
    pub dataset: Uuid,
}

impl Datasets {
    /// Every change of the datasets that the viewer may see, of one connection or of all: those after the journal cursor
    /// `after`, then live.
    pub async fn changes(
        &self,
        viewer: &Viewer,
        connection: Option<Uuid>,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<DatasetsChange>> + Send + use<>> {
        let place = match after {
            Some(cursor) => Some(self.journal.place(viewer, Topic::Datasets, cursor).await?),
            None => None,
        };
        let viewing = self.journal.follow_as(viewer, Topic::Datasets, place).await?;
        Ok(stream::try_unfold((viewing, self.journal.clone()), move |(mut viewing, journal)| async move {
            loop {
                let entry = viewing.next().await?;
                if let Some(change) = change(&journal, viewing.viewer(), connection, &entry)? {
                    return Ok(Some((change, (viewing, journal))));
                }
            }
        }))
    }
}

/// What `entry` means to the viewer; none where it is about no dataset of theirs.
fn change(
    journal: &Journal,
    viewer: &Viewer,
    connection: Option<Uuid>,
    entry: &Entry,
) -> Result<Option<DatasetsChange>> {
    let facts = entry.facts(journal.counts())?;
    let Some(fact) = facts.dataset() else { return Ok(None) };
    let sees = |through: &Through| {
        viewer.may_on(Action::See, through.owner, through.client, &through.shares)
            && connection.is_none_or(|wanted| wanted == through.connection)
    };
    let kind = match (fact.before.as_ref().map_or_else(|| sees(&fact.through), &sees), sees(&fact.through)) {
        (true, true) => kind(&entry.action),
        // It was moved into sight, or out of it.
        (false, true) => DatasetsChangeKind::Created,
        (true, false) => DatasetsChangeKind::Removed,
        (false, false) => return Ok(None),
    };
    let cursor = journal.cursor(viewer, entry.seq);
    Ok(Some(DatasetsChange { cursor, at: entry.at, kind, dataset: fact.dataset }))
}

fn kind(action: &str) -> DatasetsChangeKind {
    match action {
        "dataset.created" => DatasetsChangeKind::Created,
        REFRESHED => DatasetsChangeKind::Refreshed,
        NOT_REFRESHED => DatasetsChangeKind::Failed,
        "dataset.removed" => DatasetsChangeKind::Removed,
        // Edited, moved to another connection, or given or taken a metric.
        _ => DatasetsChangeKind::Updated,
    }
}
