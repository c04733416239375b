//! How many attempts and links somebody has that have not ended, which is counted before one more begins.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261201_000090_open_counts"
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
CREATE INDEX attempt_open_by_starter ON attempt (started_by) WHERE ended_at IS NULL;
CREATE INDEX attempt_open_by_link ON attempt (link_id) WHERE ended_at IS NULL AND link_id IS NOT NULL;
CREATE INDEX link_open_by_maker ON link (created_by) WHERE ended_at IS NULL;
"#;

const DOWN: &str = r#"
DROP INDEX link_open_by_maker;
DROP INDEX attempt_open_by_link;
DROP INDEX attempt_open_by_starter;
"#;
