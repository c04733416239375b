//! Grants to give back, which outlive a crash; and which sign-ins are under way, or wait for a decision.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261201_000070_give_back"
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
CREATE TABLE give_back (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL,
    connector text NOT NULL,
    account_id text,
    credential @bytes NOT NULL,
    created_at @time NOT NULL,
    due_at @time NOT NULL,
    tries integer NOT NULL,
    claimed_by @uuid,
    claimed_until @time
);
CREATE INDEX give_back_due ON give_back (due_at);
CREATE INDEX give_back_claimed ON give_back (connector, claimed_until) WHERE claimed_until IS NOT NULL;

CREATE INDEX attempt_at_provider ON attempt (connector, status, signed_in_id) WHERE ended_at IS NULL;
"#;

const DOWN: &str = r#"
DROP INDEX attempt_at_provider;
DROP TABLE give_back;
"#;
