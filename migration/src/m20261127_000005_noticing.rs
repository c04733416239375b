//! What renewals and probes remember: since when something fails, who is to be left alone, and what fails for everyone.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261127_000005_noticing"
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
ALTER TABLE "authorization" ADD COLUMN failing_since @time;
ALTER TABLE "authorization" ADD COLUMN quiet_until @time;
ALTER TABLE "authorization" ADD COLUMN token_quiet_until @time;
ALTER TABLE "authorization" ADD COLUMN client_refused_by text;
ALTER TABLE "authorization" ADD COLUMN client_refused_at @time;
ALTER TABLE "authorization" ADD COLUMN client_accepted_at @time;
CREATE INDEX authorization_failing ON "authorization" (failing_since)
    WHERE removed_at IS NULL AND failing_since IS NOT NULL;
CREATE INDEX authorization_client_refused ON "authorization" (workspace_id, connector)
    WHERE removed_at IS NULL AND client_refused_by IS NOT NULL;

DROP INDEX authorization_renewals;
DROP INDEX authorization_probes;
DROP INDEX connection_probes;
CREATE INDEX authorization_renewals ON "authorization" (connector, renew_at) WHERE removed_at IS NULL;
CREATE INDEX authorization_probes ON "authorization" (connector, probe_at) WHERE removed_at IS NULL;
CREATE INDEX connection_probes ON connection (connector, probe_at) WHERE removed_at IS NULL;

CREATE TABLE pause (
    connector text NOT NULL,
    endpoint text NOT NULL,
    since @time NOT NULL,
    until @time NOT NULL,
    PRIMARY KEY (connector, endpoint)
);

CREATE TABLE incident (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    connector text NOT NULL,
    ours @bool NOT NULL,
    message text NOT NULL,
    started_at @time NOT NULL,
    ended_at @time
);
CREATE UNIQUE INDEX incident_open ON incident (workspace_id, connector) WHERE ended_at IS NULL;
CREATE INDEX incident_by_end ON incident (workspace_id, connector, ended_at DESC);
"#;

const DOWN: &str = r#"
DROP TABLE incident;
DROP TABLE pause;

DROP INDEX connection_probes;
DROP INDEX authorization_probes;
DROP INDEX authorization_renewals;
CREATE INDEX authorization_renewals ON "authorization" (renew_at) WHERE removed_at IS NULL;
CREATE INDEX authorization_probes ON "authorization" (probe_at) WHERE removed_at IS NULL;
CREATE INDEX connection_probes ON connection (probe_at) WHERE removed_at IS NULL;

DROP INDEX authorization_client_refused;
DROP INDEX authorization_failing;
ALTER TABLE "authorization" DROP COLUMN client_accepted_at;
ALTER TABLE "authorization" DROP COLUMN client_refused_at;
ALTER TABLE "authorization" DROP COLUMN client_refused_by;
ALTER TABLE "authorization" DROP COLUMN token_quiet_until;
ALTER TABLE "authorization" DROP COLUMN quiet_until;
ALTER TABLE "authorization" DROP COLUMN failing_since;
"#;
