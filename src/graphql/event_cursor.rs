//! Where the journal stood when a request began.

use async_graphql::{Context, Object};

use super::{ApiError, execution::viewer, services::services};

/// The query about the journal.
#[derive(Default)]
pub struct EventCursorQuery;

#[Object]
impl EventCursorQuery {
    /// Where the journal stands, read before anything else in this request. Select it beside a list, then follow `after` it,
    /// by subscription or by connectionChanges: nothing falls between the list and what follows. (It may repeat what the list shows already.)
    async fn event_cursor(&self, ctx: &Context<'_>) -> Result<String, ApiError> {
        // The fields of a query run side by side: what counts is what was seen with the viewer, before any of them.
        let viewer = viewer(ctx)?;
        Ok(services(ctx)?.journal.cursor(viewer, viewer.seen()))
    }
}
