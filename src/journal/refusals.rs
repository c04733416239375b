//! Refused mutations, for the audit log: who tried what they may not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::Topic;
use serde_json::json;
use uuid::Uuid;

use super::{Facts, Journal, NewEntry};
use crate::{
    access::{Actor, Viewer},
    error::Result,
    ids::{self, Kind},
};

/// Somebody tried a mutation that they may not do.
pub const REFUSED: &str = "access.refused";

/// How long the same of the same person is counted before it is written again.
const QUIET: TimeDelta = TimeDelta::minutes(1);
/// How many are remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

/// Notes refusals, so that nobody fills the log with them: the same mutation of the same person or key at most once a
/// minute, with how many went unwritten before. Cheap to clone.
#[derive(Clone)]
pub struct Refusals {
    journal: Journal,
    recent: Arc<Mutex<HashMap<(Actor, String), Recent>>>,
}

struct Recent {
    written: DateTime<Utc>,
    unwritten: u64,
}

impl Refusals {
    pub fn new(journal: Journal) -> Self {
        Self { journal, recent: Arc::default() }
    }

    /// What is left to do to note that `viewer` was refused `mutation`, a field of the schema; none when it only counts.
    /// Who was refused does not wait for it; a failure is logged.
    pub fn note(&self, viewer: &Viewer, mutation: &str) -> Option<impl Future<Output = ()> + Send + use<>> {
        let user = viewer.user()?;
        let before = self.count(viewer.actor(), mutation)?;
        let (journal, entry) = (self.journal.clone(), entry(viewer, user, mutation, before));
        let workspace = viewer.workspace();
        Some(async move {
            if let Err(error) = write(&journal, workspace, entry).await {
                tracing::warn!(?error, "a refusal is missing from the audit log");
            }
        })
    }

    /// How many went unwritten before this one; none when this one does as well.
    fn count(&self, actor: Actor, mutation: &str) -> Option<u64> {
        let now = self.journal.clock.now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() > REMEMBERED {
            recent.retain(|_, one| now - one.written < QUIET);
        }
        let fresh = Recent { written: now, unwritten: 0 };
        match recent.get_mut(&(actor, mutation.to_owned())) {
            Some(one) if now - one.written < QUIET => {
                one.unwritten += 1;
                None
            }
            Some(one) => Some(std::mem::replace(one, fresh).unwritten),
            None => {
                recent.insert((actor, mutation.to_owned()), fresh);
                Some(0)
            }
        }
    }
}

fn entry(viewer: &Viewer, user: Uuid, mutation: &str, before: u64) -> NewEntry {
    let actor = viewer.actor();
    let mut details = json!({ "mutation": mutation, "before": before });
    if let Some(key) = actor.api_key {
        details["apiKeyId"] = ids::encode(Kind::ApiKey, key).into();
    }
    let subject = Kind::User.of(user);
    NewEntry { topic: Topic::Audit, action: REFUSED, actor, subject, facts: Facts::None, details }
}

async fn write(journal: &Journal, workspace: Uuid, entry: NewEntry) -> Result<()> {
    let txn = journal.db.begin().await?;
    journal.commit(txn, workspace, vec![entry]).await?;
    Ok(())
}
