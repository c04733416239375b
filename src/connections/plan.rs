//! What an attempt is for, and what it carries sealed until it has ended.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use entity::{AccountChange, attempt};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Connections, credentials::Fresh};
use crate::{
    error::{Error, Result},
    provider::{Account, Credential},
    vault::{Place, SealedColumn},
};

/// What is to become of an attempt, without secrets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) client: Option<Uuid>,
    pub(super) name: Option<String>,
    pub(super) account: Option<String>,
    pub(super) external_id: Option<String>,
    /// As the contract spells it.
    pub(super) account_change: Option<String>,
    pub(super) return_url: Option<String>,
}

impl Plan {
    pub(super) fn of(attempt: &attempt::Model) -> Result<Self> {
        serde_json::from_value(attempt.plan.clone()).map_err(|_| Error::internal("an attempt without a plan"))
    }

    pub(super) fn account_change(&self) -> AccountChange {
        [AccountChange::Refuse, AccountChange::ThisConnection, AccountChange::WholeAuthorization]
            .into_iter()
            .find(|change| self.account_change.as_deref() == Some(change.as_str()))
            .unwrap_or(AccountChange::Ask)
    }
}

/// What an attempt carries sealed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Carried {
    /// The connector's fields.
    pub(super) fields: BTreeMap<String, String>,
    /// The PKCE verifier, while somebody is at the provider.
    pub(super) verifier: Option<String>,
    /// What a sign-in brought, while it waits for a decision.
    pub(super) waiting: Option<Waiting>,
    /// What the address of the link ends in that it was started by: the way back to its page.
    #[serde(default)]
    pub(super) link: Option<String>,
}

/// A sign-in that waits for a decision.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting {
    credential: Credential,
    account: Option<(String, String)>,
    scopes: Vec<String>,
    missing_scopes: Vec<String>,
    ends_at: Option<DateTime<Utc>>,
}

impl From<&Fresh> for Waiting {
    fn from(fresh: &Fresh) -> Self {
        Self {
            credential: fresh.credential.clone(),
            account: fresh.account.as_ref().map(|account| (account.id.clone(), account.name.clone())),
            scopes: fresh.scopes.clone(),
            missing_scopes: fresh.missing_scopes.clone(),
            ends_at: fresh.ends_at,
        }
    }
}

impl From<Waiting> for Fresh {
    fn from(waiting: Waiting) -> Self {
        Self {
            credential: waiting.credential,
            account: waiting.account.map(|(id, name)| Account { id, name }),
            scopes: waiting.scopes,
            missing_scopes: waiting.missing_scopes,
            ends_at: waiting.ends_at,
        }
    }
}

impl Connections {
    pub(super) fn seal_carried(&self, attempt: Uuid, carried: &Carried) -> Result<Vec<u8>> {
        let secret = serde_json::to_vec(carried).map(zeroize::Zeroizing::new);
        let secret = secret.map_err(|_| Error::internal("an attempt that cannot be written"))?;
        Ok(self.vault.seal(place(attempt), &secret))
    }

    pub(super) fn open_carried(&self, attempt: &attempt::Model) -> Result<Carried> {
        let sealed = attempt.secret.as_deref().unwrap_or_default();
        let secret = self.vault.open(place(attempt.id), sealed).map_err(|error| Error::internal(error.to_string()))?;
        serde_json::from_slice(&secret).map_err(|_| Error::internal("an attempt that is not one"))
    }
}

fn place(attempt: Uuid) -> Place {
    SealedColumn::AttemptSecret.of(attempt)
}
