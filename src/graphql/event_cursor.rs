//! Where the journal stood when a request began.
//!
//! The fields of a query run side by side, so the field itself would read too late: [`read`] is called before the
//! executor starts, and what it found travels with the request. Nothing falls between a list and what follows the
//! cursor that was selected beside it.

use async_graphql::{Context, Object};

use super::{ApiError, execution::viewer, services::services};
use crate::{
    access::Viewer,
    error::{Error, Result},
    journal::Journal,
};

/// The field's name, as documents have it.
const FIELD: &str = "eventCursor";

/// The journal's last number when the request began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began(i64);

/// Reads it for a document that may select the field. A document that only mentions the name costs one read more.
pub(super) async fn read(journal: &Journal, viewer: &Viewer, document: &str) -> Result<Option<Began>> {
    if !document.contains(FIELD) {
        return Ok(None);
    }
    Ok(Some(Began(journal.head(viewer.workspace()).await?)))
}

/// The query about the journal.
#[derive(Default)]
pub struct EventCursorQuery;

#[Object]
impl EventCursorQuery {
    /// Where the journal stands, read before anything else in this request. Select it beside a list, then follow `after` it,
    /// by subscription or by connectionChanges: nothing falls between the list and what follows. (It may repeat what the list shows already.)
    async fn event_cursor(&self, ctx: &Context<'_>) -> Result<String, ApiError> {
        let viewer = viewer(ctx)?;
        let Began(seq) = ctx.data_opt().ok_or_else(|| Error::internal("the journal was not read in time"))?;
        Ok(services(ctx)?.journal.cursor(viewer, *seq))
    }
}
