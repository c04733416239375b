//! What is known of something that fails: since when and how, which OAuth client a grant was given to, and how often its
//! renewal was refused in words that nobody knows.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261201_000100_unverified"
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
ALTER TABLE "authorization" ADD COLUMN failing_message text;
ALTER TABLE "authorization" ADD COLUMN oauth_client text;
ALTER TABLE "authorization" ADD COLUMN refusals integer NOT NULL DEFAULT 0;
ALTER TABLE "authorization" ADD COLUMN refused_since @time;
CREATE INDEX authorization_failing_here ON "authorization" (workspace_id, id)
    WHERE removed_at IS NULL AND failing_since IS NOT NULL;
ALTER TABLE connection ADD COLUMN failing_since @time;
ALTER TABLE connection ADD COLUMN failing_message text;
CREATE INDEX connection_failing ON connection (workspace_id, id) WHERE removed_at IS NULL AND failing_since IS NOT NULL;
"#;

const DOWN: &str = r#"
DROP INDEX connection_failing;
ALTER TABLE connection DROP COLUMN failing_message;
ALTER TABLE connection DROP COLUMN failing_since;
DROP INDEX authorization_failing_here;
ALTER TABLE "authorization" DROP COLUMN refused_since;
ALTER TABLE "authorization" DROP COLUMN refusals;
ALTER TABLE "authorization" DROP COLUMN oauth_client;
ALTER TABLE "authorization" DROP COLUMN failing_message;
"#;
