//! How far this node's feeds are behind.

use std::collections::HashMap;

use entity::journal_head;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::Journal;
use crate::error::Result;

/// How many workspaces are asked about in one statement.
const AT_ONCE: usize = 500;

impl Journal {
    /// How many workspaces somebody follows at this node.
    pub fn followed(&self) -> usize {
        self.feeds.handed_out().len()
    }

    /// How many entries the furthest behind of this node's feeds has not handed out.
    pub async fn lag(&self) -> Result<i64> {
        let handed_out: HashMap<_, _> = self.feeds.handed_out().into_iter().collect();
        let workspaces: Vec<_> = handed_out.keys().copied().collect();
        // Also where nobody follows anything, it says whether the database answers.
        self.db.ping().await?;
        let mut most = 0;
        for some in workspaces.chunks(AT_ONCE) {
            let heads = journal_head::Entity::find()
                .filter(journal_head::Column::WorkspaceId.is_in(some.iter().copied()))
                .all(self.db.reader())
                .await?;
            let behind = heads.iter().map(|head| head.seq - handed_out.get(&head.workspace_id).unwrap_or(&head.seq));
            most = behind.fold(most, i64::max);
        }
        Ok(most)
    }
}
