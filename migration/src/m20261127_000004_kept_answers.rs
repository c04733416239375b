//! The answers to mutations that came with an idempotency key.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261127_000004_kept_answers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, "DROP TABLE kept_answer;").await
    }
}

const UP: &str = r#"
CREATE TABLE kept_answer (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    principal @uuid NOT NULL,
    idempotency_key text NOT NULL,
    sealed @bytes NOT NULL,
    claimed_until @time,
    expires_at @time NOT NULL
);
CREATE UNIQUE INDEX kept_answer_key ON kept_answer (principal, idempotency_key);
CREATE INDEX kept_answer_ends ON kept_answer (expires_at);
"#;
