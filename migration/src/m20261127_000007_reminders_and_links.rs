//! Reminder e-mails, links for people without a login, and which attempts came by one.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261127_000007_reminders_and_links"
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
ALTER TABLE workspace ADD COLUMN reminded_at @time;
ALTER TABLE "user" ADD COLUMN reminder_emails @bool NOT NULL DEFAULT TRUE;
ALTER TABLE attempt ADD COLUMN link_id @uuid;
CREATE INDEX attempt_by_link ON attempt (link_id) WHERE link_id IS NOT NULL;

CREATE TABLE reminder (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    user_id @uuid NOT NULL REFERENCES "user" (id),
    day text NOT NULL,
    status text NOT NULL,
    failures integer NOT NULL,
    unheard integer NOT NULL,
    send_at @time,
    problem text,
    claimed_by @uuid,
    claimed_until @time,
    created_at @time NOT NULL,
    sent_at @time
);
CREATE UNIQUE INDEX reminder_of_day ON reminder (user_id, day);
CREATE INDEX reminder_due ON reminder (send_at) WHERE send_at IS NOT NULL;

CREATE TABLE reminder_disconnection (
    disconnection_id @uuid NOT NULL REFERENCES disconnection (id),
    user_id @uuid NOT NULL REFERENCES "user" (id),
    reminder_id @uuid NOT NULL REFERENCES reminder (id) ON DELETE CASCADE,
    PRIMARY KEY (disconnection_id, user_id)
);
CREATE INDEX reminder_disconnection_by_reminder ON reminder_disconnection (reminder_id);
CREATE INDEX disconnection_lasting ON disconnection (workspace_id, started_at) WHERE ended_at IS NULL;

CREATE TABLE link (
    id @uuid NOT NULL PRIMARY KEY,
    workspace_id @uuid NOT NULL REFERENCES workspace (id),
    kind text NOT NULL,
    token_hash @bytes NOT NULL,
    connection_id @uuid REFERENCES connection (id),
    client_id @uuid REFERENCES client (id),
    created_by @uuid NOT NULL REFERENCES "user" (id),
    api_key_id @uuid REFERENCES api_key (id),
    created_at @time NOT NULL,
    expires_at @time NOT NULL,
    ended_at @time,
    ended_by text
);
CREATE UNIQUE INDEX link_token ON link (token_hash);
CREATE INDEX link_by_connection ON link (connection_id) WHERE ended_at IS NULL AND connection_id IS NOT NULL;

CREATE TABLE link_connector (
    link_id @uuid NOT NULL REFERENCES link (id) ON DELETE CASCADE,
    connector text NOT NULL,
    place integer NOT NULL,
    connection_id @uuid REFERENCES connection (id),
    used_at @time,
    PRIMARY KEY (link_id, connector)
);

CREATE INDEX notification_by_age ON notification (created_at);
"#;

const DOWN: &str = r#"
DROP INDEX notification_by_age;
DROP TABLE link_connector;
DROP TABLE link;
DROP INDEX disconnection_lasting;
DROP TABLE reminder_disconnection;
DROP TABLE reminder;
DROP INDEX attempt_by_link;
ALTER TABLE attempt DROP COLUMN link_id;
ALTER TABLE "user" DROP COLUMN reminder_emails;
ALTER TABLE workspace DROP COLUMN reminded_at;
"#;
