//! An index for every list in each of its orders and for every statement that runs by itself. A test reads the plans
//! (`tests/it/plans.rs`).

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(Debug)]
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261130_000050_plans"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for part in [PROBES, LISTS, PERIODIC] {
            dialect::run(manager, part).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for part in [PERIODIC_DOWN, LISTS_DOWN, PROBES_DOWN] {
            dialect::run(manager, part).await?;
        }
        Ok(())
    }
}

/// When an authorization was last seen to work or fail: kept once, and not with each of its connections. The few
/// connections that concern a probe that works are found without the others.
const PROBES: &str = r#"
ALTER TABLE "authorization" ADD COLUMN last_checked_at @time;
CREATE INDEX connection_lost ON connection (authorization_id, id) WHERE removed_at IS NULL AND lost_access = TRUE;
CREATE INDEX connection_refused ON connection (authorization_id) WHERE removed_at IS NULL AND refused_once = TRUE;
"#;

/// What the authorization knew goes back to its connections.
const PROBES_DOWN: &str = r#"
DROP INDEX connection_refused;
DROP INDEX connection_lost;
UPDATE connection SET last_checked_at = (
    SELECT a.last_checked_at FROM "authorization" a WHERE a.id = connection.authorization_id
) WHERE removed_at IS NULL AND NOT lost_access AND EXISTS (
    SELECT 1 FROM "authorization" a WHERE a.id = connection.authorization_id AND a.last_checked_at IS NOT NULL
    AND (connection.last_checked_at IS NULL OR a.last_checked_at > connection.last_checked_at)
);
ALTER TABLE "authorization" DROP COLUMN last_checked_at;
"#;

/// The unique indices keep their columns and get them in an order that serves lookups as well.
const LISTS: &str = r#"
CREATE INDEX connection_by_id ON connection (workspace_id, id) WHERE removed_at IS NULL;
CREATE INDEX connection_by_change ON connection (workspace_id, status_changed_at, id) WHERE removed_at IS NULL;
CREATE INDEX connection_by_name ON connection (workspace_id, name_key, id) WHERE removed_at IS NULL;
CREATE INDEX connection_by_age ON connection (workspace_id, created_at, id) WHERE removed_at IS NULL;
DROP INDEX connection_account;
CREATE UNIQUE INDEX connection_account ON connection (workspace_id, connector, COALESCE(client_id, @nil_uuid), account_key)
    WHERE removed_at IS NULL;
DROP INDEX connection_external_id;
CREATE UNIQUE INDEX connection_external_id ON connection (workspace_id, external_id)
    WHERE removed_at IS NULL AND external_id IS NOT NULL;

-- Also of what was removed: history is seen by the client that it had.
DROP INDEX connection_by_client;
CREATE INDEX connection_by_client ON connection (client_id, id);

CREATE INDEX client_by_id ON client (workspace_id, id) WHERE removed_at IS NULL;
CREATE INDEX client_by_age ON client (workspace_id, created_at, id) WHERE removed_at IS NULL;

CREATE INDEX authorization_by_id ON "authorization" (workspace_id, id) WHERE removed_at IS NULL;
CREATE INDEX authorization_by_status ON "authorization" (workspace_id, status, id) WHERE removed_at IS NULL;
CREATE INDEX authorization_by_owner ON "authorization" (created_by);

DROP INDEX disconnection_lasting;
CREATE INDEX disconnection_lasting ON disconnection (workspace_id, started_at DESC, id DESC) WHERE ended_at IS NULL;

CREATE INDEX dataset_by_status ON dataset (workspace_id, status, id);
CREATE INDEX dataset_claimed ON dataset (workspace_id, claimed_until) WHERE claimed_until IS NOT NULL;

CREATE INDEX user_by_id ON "user" (workspace_id, id);

DROP INDEX notification_once;
CREATE UNIQUE INDEX notification_once ON notification (occasion, kind, user_id);

CREATE INDEX journal_entry_by_action ON journal_entry (workspace_id, action, seq);
CREATE INDEX journal_entry_by_subject ON journal_entry (workspace_id, subject_id, seq);
CREATE INDEX journal_entry_by_user ON journal_entry (workspace_id, actor_user, seq) WHERE actor_user IS NOT NULL;
CREATE INDEX journal_entry_by_key ON journal_entry (workspace_id, actor_key, seq) WHERE actor_key IS NOT NULL;
"#;

const LISTS_DOWN: &str = r#"
DROP INDEX journal_entry_by_key;
DROP INDEX journal_entry_by_user;
DROP INDEX journal_entry_by_subject;
DROP INDEX journal_entry_by_action;
DROP INDEX notification_once;
CREATE UNIQUE INDEX notification_once ON notification (user_id, kind, occasion);
DROP INDEX user_by_id;
DROP INDEX dataset_claimed;
DROP INDEX dataset_by_status;
DROP INDEX disconnection_lasting;
CREATE INDEX disconnection_lasting ON disconnection (workspace_id, started_at) WHERE ended_at IS NULL;
DROP INDEX authorization_by_owner;
DROP INDEX authorization_by_status;
DROP INDEX authorization_by_id;
DROP INDEX client_by_age;
DROP INDEX client_by_id;
DROP INDEX connection_by_client;
CREATE INDEX connection_by_client ON connection (client_id, id) WHERE removed_at IS NULL;
DROP INDEX connection_external_id;
CREATE UNIQUE INDEX connection_external_id ON connection (workspace_id, external_id) WHERE removed_at IS NULL;
DROP INDEX connection_account;
CREATE UNIQUE INDEX connection_account ON connection (workspace_id, COALESCE(client_id, @nil_uuid), connector, account_key)
    WHERE removed_at IS NULL;
DROP INDEX connection_by_age;
DROP INDEX connection_by_name;
DROP INDEX connection_by_change;
DROP INDEX connection_by_id;
"#;

/// What is looked for at every tick. Most rows have no such date: they are not in the index.
const PERIODIC: &str = r#"
DROP INDEX authorization_renewals;
CREATE INDEX authorization_renewals ON "authorization" (connector, renew_at)
    WHERE removed_at IS NULL AND renew_at IS NOT NULL;
DROP INDEX authorization_probes;
CREATE INDEX authorization_probes ON "authorization" (connector, probe_at)
    WHERE removed_at IS NULL AND probe_at IS NOT NULL;
DROP INDEX connection_probes;
CREATE INDEX connection_probes ON connection (connector, probe_at) WHERE removed_at IS NULL AND probe_at IS NOT NULL;
CREATE INDEX authorization_ends ON "authorization" (status, expires_at)
    WHERE removed_at IS NULL AND expires_at IS NOT NULL;

DROP INDEX authorization_failing;
CREATE INDEX authorization_failing ON "authorization" (connector, workspace_id, failing_since)
    WHERE removed_at IS NULL AND failing_since IS NOT NULL;
CREATE INDEX authorization_client_accepted ON "authorization" (connector, workspace_id, client_accepted_at)
    WHERE removed_at IS NULL AND client_accepted_at IS NOT NULL;
CREATE INDEX authorization_of_connector ON "authorization" (connector, workspace_id, status) WHERE removed_at IS NULL;

DROP INDEX dataset_waiting;
CREATE INDEX dataset_waiting ON dataset (connection_id) WHERE needs_reconnect = TRUE;

CREATE UNIQUE INDEX journal_entry_by_topic ON journal_entry (workspace_id, topic, seq);
"#;

const PERIODIC_DOWN: &str = r#"
DROP INDEX journal_entry_by_topic;
DROP INDEX dataset_waiting;
CREATE INDEX dataset_waiting ON dataset (connection_id) WHERE needs_reconnect;
DROP INDEX authorization_of_connector;
DROP INDEX authorization_client_accepted;
DROP INDEX authorization_failing;
CREATE INDEX authorization_failing ON "authorization" (failing_since)
    WHERE removed_at IS NULL AND failing_since IS NOT NULL;
DROP INDEX authorization_ends;
DROP INDEX connection_probes;
CREATE INDEX connection_probes ON connection (connector, probe_at) WHERE removed_at IS NULL;
DROP INDEX authorization_probes;
CREATE INDEX authorization_probes ON "authorization" (connector, probe_at) WHERE removed_at IS NULL;
DROP INDEX authorization_renewals;
CREATE INDEX authorization_renewals ON "authorization" (connector, renew_at) WHERE removed_at IS NULL;
"#;
