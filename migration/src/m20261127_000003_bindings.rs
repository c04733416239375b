//! Whom an identity provider's subjects are in each workspace.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261127_000003_bindings"
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

/// People are looked for by their address across workspaces.
const UP: &str = r#"
CREATE TABLE binding (
    issuer @key NOT NULL,
    subject @key NOT NULL,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    user_id @uuid NOT NULL REFERENCES "user" (id),
    bound_at @time NOT NULL,
    PRIMARY KEY (issuer, subject, workspace_id)
);
CREATE UNIQUE INDEX binding_of_user ON binding (user_id, issuer);
CREATE INDEX user_by_email ON "user" (email_key);
"#;

const DOWN: &str = r#"
DROP INDEX user_by_email;
DROP TABLE binding;
"#;
