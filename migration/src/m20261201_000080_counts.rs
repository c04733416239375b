//! The connections of each client and connector by status, counted from an index alone: SQLite would read the rows of
//! the whole workspace.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261201_000080_counts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, DOWN).await
    }
}

const UP: &str = r#"
CREATE INDEX connection_counts ON connection (workspace_id, client_id, status) WHERE removed_at IS NULL;
CREATE INDEX connection_connectors ON connection (workspace_id, connector, status) WHERE removed_at IS NULL;
"#;

const DOWN: &str = r#"
DROP INDEX connection_connectors;
DROP INDEX connection_counts;
"#;
