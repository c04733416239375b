//! One entry of the journal: what happened, to what, by whom.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use entity::{Topic, journal_entry};
use sea_orm::ActiveValue::Set;
use serde_json::Value;
use uuid::Uuid;

use super::Facts;
use crate::{
    access::Actor,
    error::{Error, Result},
    ids::{Kind, NodeId},
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
            facts: Set(self.facts.pack()),
            details: Set(self.details),
        }
    }
}

/// An entry as it was written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: i64,
    pub id: Uuid,
    pub topic: Topic,
    pub action: Cow<'static, str>,
    pub at: DateTime<Utc>,
    pub actor_user: Option<Uuid>,
    pub actor_key: Option<Uuid>,
    pub subject: NodeId,
    pub facts: Facts,
    pub details: Value,
}

impl TryFrom<journal_entry::Model> for Entry {
    type Error = Error;

    fn try_from(row: journal_entry::Model) -> Result<Self> {
        let kind =
            Kind::from_prefix(&row.subject_kind).ok_or_else(|| Error::internal("an entry about no known kind"))?;
        Ok(Self {
            seq: row.seq,
            id: row.id,
            topic: row.topic,
            action: Cow::Owned(row.action),
            at: row.at,
            actor_user: row.actor_user,
            actor_key: row.actor_key,
            subject: NodeId { kind, id: row.subject_id },
            facts: Facts::unpack(row.facts.as_deref())?,
            details: row.details,
        })
    }
}
