//! Datasets with their snapshots, and metrics.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261127_000006_datasets"
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
CREATE TABLE dataset (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    connection_id @uuid NOT NULL REFERENCES connection (id),
    name text NOT NULL,
    name_key @key NOT NULL,
    external_id text,
    query @json NOT NULL,
    version @bigint NOT NULL,
    refresh_every_minutes integer,
    refresh_at @time,
    status text NOT NULL,
    error text,
    needs_reconnect @bool NOT NULL,
    failed_at @time,
    failures integer NOT NULL,
    proven @bool NOT NULL,
    columns @json NOT NULL,
    row_count @bigint NOT NULL,
    snapshot_id @uuid,
    last_refreshed_at @time,
    claimed_by @uuid,
    claimed_until @time,
    created_by @uuid REFERENCES "user" (id),
    created_at @time NOT NULL
);
CREATE UNIQUE INDEX dataset_external_id ON dataset (workspace_id, external_id);
CREATE INDEX dataset_by_workspace ON dataset (workspace_id, id);
CREATE INDEX dataset_by_connection ON dataset (connection_id, id);
CREATE INDEX dataset_refreshes ON dataset (refresh_at) WHERE refresh_at IS NOT NULL;
CREATE INDEX dataset_waiting ON dataset (connection_id) WHERE needs_reconnect;

CREATE TABLE snapshot (
    id @uuid NOT NULL PRIMARY KEY,
    dataset_id @uuid NOT NULL REFERENCES dataset (id) ON DELETE CASCADE,
    taken_at @time NOT NULL,
    row_count @bigint NOT NULL
);
CREATE INDEX snapshot_by_dataset ON snapshot (dataset_id, taken_at);

CREATE TABLE snapshot_part (
    snapshot_id @uuid NOT NULL REFERENCES snapshot (id) ON DELETE CASCADE,
    first_row @bigint NOT NULL,
    row_count @bigint NOT NULL,
    body @bytes NOT NULL,
    PRIMARY KEY (snapshot_id, first_row)
);

CREATE TABLE metric (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    dataset_id @uuid NOT NULL REFERENCES dataset (id) ON DELETE CASCADE,
    name text NOT NULL,
    aggregation text NOT NULL,
    column_name text,
    value text,
    problem text,
    created_by @uuid REFERENCES "user" (id),
    created_at @time NOT NULL
);
CREATE INDEX metric_by_workspace ON metric (workspace_id, id);
CREATE INDEX metric_by_dataset ON metric (dataset_id, id);

-- Which removed connection a new one takes the place of is found by its account.
CREATE INDEX connection_removed ON connection (workspace_id, connector, account_key) WHERE removed_at IS NOT NULL;
"#;

const DOWN: &str = r#"
DROP INDEX connection_removed;
DROP TABLE metric;
DROP TABLE snapshot_part;
DROP TABLE snapshot;
DROP TABLE dataset;
"#;
