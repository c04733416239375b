//! API keys: the programs that act for people.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261127_000002_api_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, "DROP TABLE api_key;").await
    }
}

const UP: &str = r#"
CREATE TABLE api_key (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    name text NOT NULL,
    prefix text NOT NULL,
    hash @bytes NOT NULL,
    role text NOT NULL,
    client_id @uuid REFERENCES client (id),
    read_only @bool NOT NULL,
    created_by @uuid NOT NULL REFERENCES "user" (id),
    created_at @time NOT NULL,
    expires_at @time,
    last_used_at @time,
    revoked_at @time
);
CREATE UNIQUE INDEX api_key_hash ON api_key (hash);
CREATE INDEX api_key_by_workspace ON api_key (workspace_id, id) WHERE revoked_at IS NULL;
CREATE INDEX api_key_by_client ON api_key (client_id) WHERE client_id IS NOT NULL;
"#;
