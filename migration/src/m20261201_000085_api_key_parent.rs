//! Which API key made an API key: the one is revoked with the other.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261201_000085_api_key_parent"
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

/// Of the keys that there are, the audit log says which were made by a key, as far as it reaches back.
const UP: &str = r#"
ALTER TABLE api_key ADD COLUMN parent_id @uuid;
UPDATE api_key SET parent_id = made.actor_key FROM journal_entry AS made
    WHERE made.action = 'api_key.created' AND made.subject_id = api_key.id AND made.actor_key IS NOT NULL;
CREATE INDEX api_key_by_parent ON api_key (parent_id) WHERE parent_id IS NOT NULL;
"#;

const DOWN: &str = r#"
DROP INDEX api_key_by_parent;
ALTER TABLE api_key DROP COLUMN parent_id;
"#;
