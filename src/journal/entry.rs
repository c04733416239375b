//! One entry of the journal: what happened, to what, by whom.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::{Topic, journal_entry};
use sea_orm::ActiveValue::Set;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Facts,
    packed::{self, Packed, UnreadableError},
};
use crate::{
    access::Actor,
    ids::{Kind, NodeId},
    telemetry,
};

/// An entry that is about to be written.
#[derive(Debug, Clone)]
pub struct NewEntry {
    pub topic: Topic,
    /// E.g. `connection.disconnected`.
    pub action: &'static str,
    pub actor: Actor,
    pub subject: NodeId,
    pub facts: Facts,
    /// For people who read the audit log; no secrets.
    pub details: Value,
}

impl NewEntry {
    pub(super) fn into_row(self, workspace: Uuid, seq: i64, id: Uuid, at: DateTime<Utc>) -> journal_entry::ActiveModel {
        journal_entry::ActiveModel {
            workspace_id: Set(workspace),
            seq: Set(seq),
            id: Set(id),
            topic: Set(self.topic),
            action: Set(self.action.to_owned()),
            at: Set(at),
            actor_user: Set(self.actor.user),
            actor_key: Set(self.actor.api_key),
            actor_job: Set(self.actor.job.map(str::to_owned)),
            subject_kind: Set(self.subject.kind.prefix().to_owned()),
            subject_id: Set(self.subject.id),
            facts: Set(packed::pack(&self.facts)),
            details: Set(self.details),
        }
    }
}

/// An entry as it was written. What it touched stays packed until someone looks at it.
#[derive(Debug)]
pub struct Entry {
    pub seq: i64,
    pub action: String,
    pub at: DateTime<Utc>,
    pub actor_user: Option<Uuid>,
    pub actor_key: Option<Uuid>,
    pub subject: Uuid,
    /// None for a kind that this version does not know.
    pub subject_kind: Option<Kind>,
    pub(super) facts: Packed,
    /// JSON.
    pub(super) details: String,
}

/// The part of the details that followers are told.
#[derive(Deserialize)]
struct Named {
    disconnection: Option<Uuid>,
}

impl Entry {
    /// What it touched.
    pub fn facts(&self, counts: &telemetry::Journal) -> Result<Arc<Facts>, UnreadableError> {
        self.facts.facts(counts)
    }

    /// The disconnection that it began or ended.
    pub fn disconnection(&self, counts: &telemetry::Journal) -> Result<Option<Uuid>, UnreadableError> {
        let named: Result<Named, _> = serde_json::from_str(&self.details);
        named.map(|named| named.disconnection).map_err(|error| {
            let error = UnreadableError::Damaged(error.to_string());
            counts.unreadable(error.kind());
            error
        })
    }
}
