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
"#;

const DOWN: &str = r#"
DROP INDEX notification_by_authorization;
DROP TABLE wait_request;
"#;
