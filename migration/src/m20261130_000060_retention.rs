//! Which authorizations were told to wait, and which notifications refer to an authorization that is to go.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261130_000060_retention"
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
CREATE TABLE wait_request (
    connector text NOT NULL,
    endpoint text NOT NULL,
    authorization_id @uuid NOT NULL,
    workspace_id @uuid NOT NULL,
    at @time NOT NULL,
    PRIMARY KEY (connector, endpoint, authorization_id)
);
CREATE INDEX wait_request_by_age ON wait_request (at);

CREATE INDEX notification_by_authorization ON notification (authorization_id) WHERE authorization_id IS NOT NULL;

CREATE INDEX attempt_by_end ON attempt (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX link_by_end ON link (expires_at);
CREATE INDEX reminder_by_age ON reminder (created_at);
CREATE INDEX disconnection_by_end ON disconnection (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX incident_ended ON incident (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX connection_by_removal ON connection (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX authorization_by_removal ON "authorization" (removed_at) WHERE removed_at IS NOT NULL;
"#;

const DOWN: &str = r#"
DROP INDEX authorization_by_removal;
DROP INDEX connection_by_removal;
DROP INDEX incident_ended;
DROP INDEX disconnection_by_end;
DROP INDEX reminder_by_age;
DROP INDEX link_by_end;
DROP INDEX attempt_by_end;
DROP INDEX notification_by_authorization;
DROP TABLE wait_request;
"#;
