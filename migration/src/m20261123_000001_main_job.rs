//! Workspaces, people, connections, their disconnections, the journal and the tray.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000001_main_job"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for part in [PEOPLE, CONNECTIONS, DISCONNECTIONS, TELLING] {
            dialect::run(manager, part).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, DOWN).await
    }
}

const PEOPLE: &str = r#"
CREATE TABLE workspace (
    id @uuid NOT NULL PRIMARY KEY,
    name text NOT NULL,
    time_zone text NOT NULL,
    reminder_time text NOT NULL,
    reminder_after_hours integer NOT NULL,
    connection_url text,
    cursor_key @bytes NOT NULL,
    created_at @time NOT NULL
);

CREATE TABLE client (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    name text NOT NULL,
    name_key @key NOT NULL,
    external_id text,
    created_at @time NOT NULL,
    removed_at @time
);
CREATE UNIQUE INDEX client_external_id ON client (workspace_id, external_id) WHERE removed_at IS NULL;
CREATE INDEX client_by_name ON client (workspace_id, name_key, id) WHERE removed_at IS NULL;

CREATE TABLE "user" (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    name text NOT NULL,
    name_key @key NOT NULL,
    email text NOT NULL,
    email_key @key NOT NULL,
    role text NOT NULL,
    client_id @uuid REFERENCES client (id),
    active @bool NOT NULL,
    created_at @time NOT NULL
);
CREATE UNIQUE INDEX user_email ON "user" (workspace_id, email_key);
"#;

const CONNECTIONS: &str = r#"
CREATE TABLE connector (
    id @uuid NOT NULL PRIMARY KEY,
    slug text NOT NULL,
    name text NOT NULL,
    category text NOT NULL,
    method text NOT NULL,
    mode text NOT NULL
);
CREATE UNIQUE INDEX connector_slug ON connector (slug);

CREATE TABLE "authorization" (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    connector text NOT NULL,
    method text NOT NULL,
    status smallint NOT NULL,
    account_id text,
    account_name text,
    scopes @json NOT NULL,
    missing_scopes @json NOT NULL,
    credential @bytes,
    credential_version @bigint NOT NULL,
    expires_at @time,
    access_expires_at @time,
    last_refreshed_at @time,
    renew_at @time,
    renewal_sent_at @time,
    probe_at @time,
    claimed_by @uuid,
    claimed_until @time,
    failures integer NOT NULL,
    created_by @uuid REFERENCES "user" (id),
    created_at @time NOT NULL,
    removed_at @time
);
CREATE UNIQUE INDEX authorization_account ON "authorization" (workspace_id, connector, account_id)
    WHERE removed_at IS NULL AND method = 'OAUTH2';
CREATE INDEX authorization_renewals ON "authorization" (renew_at) WHERE removed_at IS NULL;
CREATE INDEX authorization_probes ON "authorization" (probe_at) WHERE removed_at IS NULL;

CREATE TABLE connection (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    name text NOT NULL,
    name_key @key NOT NULL,
    external_id text,
    connector text NOT NULL,
    client_id @uuid REFERENCES client (id),
    authorization_id @uuid NOT NULL REFERENCES "authorization" (id),
    account_id text,
    account_name text,
    account_key text NOT NULL,
    status smallint NOT NULL,
    status_changed_at @time NOT NULL,
    lost_access @bool NOT NULL,
    last_checked_at @time,
    probe_at @time,
    refused_once @bool NOT NULL,
    created_by @uuid REFERENCES "user" (id),
    created_at @time NOT NULL,
    removed_at @time
);
CREATE UNIQUE INDEX connection_external_id ON connection (workspace_id, external_id) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX connection_account ON connection (workspace_id, COALESCE(client_id, @nil_uuid), connector, account_key)
    WHERE removed_at IS NULL;
CREATE INDEX connection_by_status ON connection (workspace_id, status, status_changed_at DESC, id DESC) WHERE removed_at IS NULL;
CREATE INDEX connection_by_client ON connection (client_id, id) WHERE removed_at IS NULL;
CREATE INDEX connection_by_owner ON connection (created_by);
CREATE INDEX connection_by_authorization ON connection (authorization_id, id);
CREATE INDEX connection_probes ON connection (probe_at) WHERE removed_at IS NULL;

CREATE TABLE connection_share (
    connection_id @uuid NOT NULL REFERENCES connection (id),
    user_id @uuid NOT NULL REFERENCES "user" (id),
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    PRIMARY KEY (connection_id, user_id)
);
CREATE INDEX connection_share_by_user ON connection_share (user_id);

CREATE TABLE attempt (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    kind text NOT NULL,
    status text NOT NULL,
    connector text NOT NULL,
    started_by @uuid NOT NULL REFERENCES "user" (id),
    api_key_id @uuid,
    plan @json NOT NULL,
    connection_id @uuid REFERENCES connection (id),
    state_hash @bytes,
    browser_hash @bytes,
    secret @bytes,
    signed_in_id text,
    signed_in_name text,
    expected_id text,
    expected_name text,
    connections @json NOT NULL,
    error_code text,
    error_message text,
    error_conflict text,
    created_at @time NOT NULL,
    expires_at @time NOT NULL,
    ended_at @time
);
CREATE UNIQUE INDEX attempt_state ON attempt (state_hash);
CREATE INDEX attempt_open ON attempt (expires_at) WHERE ended_at IS NULL;
"#;

const DISCONNECTIONS: &str = r#"
CREATE TABLE disconnection (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    authorization_id @uuid NOT NULL REFERENCES "authorization" (id),
    connection_id @uuid REFERENCES connection (id),
    connector text NOT NULL,
    reason text NOT NULL,
    detected_by text NOT NULL,
    message text NOT NULL,
    credential_version @bigint NOT NULL,
    started_at @time NOT NULL,
    ended_at @time,
    ended_by text,
    reconnected_by @uuid REFERENCES "user" (id)
);
CREATE UNIQUE INDEX disconnection_open ON disconnection (authorization_id) WHERE ended_at IS NULL AND connection_id IS NULL;
CREATE UNIQUE INDEX disconnection_open_own ON disconnection (connection_id) WHERE ended_at IS NULL AND connection_id IS NOT NULL;
CREATE INDEX disconnection_by_start ON disconnection (workspace_id, started_at DESC, id DESC);
CREATE INDEX disconnection_by_authorization ON disconnection (authorization_id, started_at DESC);

CREATE TABLE disconnection_connection (
    disconnection_id @uuid NOT NULL REFERENCES disconnection (id),
    connection_id @uuid NOT NULL REFERENCES connection (id),
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    PRIMARY KEY (disconnection_id, connection_id)
);
CREATE INDEX disconnection_connection_by_connection ON disconnection_connection (connection_id, disconnection_id);
"#;

const TELLING: &str = r#"
CREATE TABLE notification (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    user_id @uuid NOT NULL REFERENCES "user" (id),
    kind text NOT NULL,
    occasion @uuid NOT NULL,
    disconnection_id @uuid REFERENCES disconnection (id),
    authorization_id @uuid REFERENCES "authorization" (id),
    connector text,
    title text NOT NULL,
    created_at @time NOT NULL,
    read_at @time
);
CREATE UNIQUE INDEX notification_once ON notification (user_id, kind, occasion);
CREATE INDEX notification_by_user ON notification (user_id, id);

CREATE TABLE journal_head (
    workspace_id @uuid NOT NULL PRIMARY KEY REFERENCES workspace (id),
    seq @bigint NOT NULL
);

CREATE TABLE journal_floor (
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    topic text NOT NULL,
    seq @bigint NOT NULL,
    PRIMARY KEY (workspace_id, topic)
);

CREATE TABLE journal_entry (
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    seq @bigint NOT NULL,
    id @uuid NOT NULL,
    topic text NOT NULL,
    action text NOT NULL,
    at @time NOT NULL,
    actor_user @uuid,
    actor_key @uuid,
    actor_job text,
    subject_kind text NOT NULL,
    subject_id @uuid NOT NULL,
    facts @bytes,
    details @json NOT NULL,
    PRIMARY KEY (workspace_id, seq)
);
CREATE UNIQUE INDEX journal_entry_id ON journal_entry (id);
"#;

const DOWN: &str = r#"
DROP TABLE journal_entry;
DROP TABLE journal_floor;
DROP TABLE journal_head;
DROP TABLE notification;
DROP TABLE disconnection_connection;
DROP TABLE disconnection;
DROP TABLE attempt;
DROP TABLE connection_share;
DROP TABLE connection;
DROP TABLE "authorization";
DROP TABLE connector;
DROP TABLE "user";
DROP TABLE client;
DROP TABLE workspace;
"#;
