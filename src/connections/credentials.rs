//! What opens a provider: sealed before it is stored, and stored with all that follows from it.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Endpoint, Status, authorization};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, SqlErr,
    sea_query::OnConflict,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Connections,
    held::Held,
    lifecycle::{Change, standing},
    settle::meanwhile,
};
use crate::{
    catalogue::Connector,
    clock::jittered,
    error::{Error, Result},
    ids::Kind,
    provider::{Account, Credential, Grant},
    vault::{Place, SealedColumn, Unreadable},
};

/// However long a token lives, it is renewed daily, so that no grant dies of disuse: a tenth more than this is a day.
const DAILY: TimeDelta = TimeDelta::seconds(86_400 * 10 / 11);

/// What a sign-in, or typed credentials, brought: known whose it is, not stored yet.
pub(super) struct Fresh {
    pub(super) credential: Credential,
    /// Whose account it is; none for a connector that cannot say.
    pub(super) account: Option<Account>,
    pub(super) scopes: Vec<String>,
    pub(super) missing_scopes: Vec<String>,
    /// When the grant itself ends and nothing renews it.
    pub(super) ends_at: Option<DateTime<Utc>>,
}

impl Fresh {
    /// Of a sign-in at the provider.
    pub(super) fn granted(grant: Grant, account: Option<Account>) -> Self {
        Self {
            credential: grant.credential,
            account,
            scopes: grant.scopes,
            missing_scopes: grant.missing_optional,
            ends_at: grant.ends_at,
        }
    }

    /// Of typed credentials.
    pub(super) fn typed(credential: Credential, account: Option<Account>) -> Self {
        Self { credential, account, scopes: Vec::new(), missing_scopes: Vec::new(), ends_at: None }
    }
}

/// Where an authorization's credential is sealed.
pub(super) fn place(authorization: Uuid) -> Place {
    SealedColumn::AuthorizationCredential.of(authorization)
}

impl Connections {
    /// The credential of an authorization.
    pub(super) fn open(&self, row: &authorization::Model) -> Result<Credential> {
        self.open_sealed(place(row.id), row.credential.as_deref().unwrap_or_default())
    }

    /// A credential that was sealed for `place`.
    pub(super) fn open_sealed(&self, place: Place, sealed: &[u8]) -> Result<Credential> {
        let secret = self.vault.open(place, sealed).map_err(|error| Error::internal(error.to_string()))?;
        serde_json::from_slice(&secret).map_err(|_| Error::internal("a credential that is not one"))
    }

    /// Whether the keys open what is stored: judged by the oldest and the newest credential. Where one of them opens, the
    /// other may be damaged: that is no matter of the keys.
    pub async fn check_keys(&self) -> Result<()> {
        let mut judged = Vec::new();
        for order in [sea_orm::Order::Asc, sea_orm::Order::Desc] {
            let row = authorization::Entity::find()
                .filter(authorization::Column::Credential.is_not_null())
                .order_by(authorization::Column::Id, order)
                .one(self.db.reader())
                .await?;
            judged.extend(row.map(|row| {
                let sealed = row.credential.as_deref().unwrap_or_default();
                (row.id, self.vault.open(place(row.id), sealed).err())
            }));
        }
        let one_opens = judged.iter().any(|(_, unreadable)| unreadable.is_none());
        for (authorization, unreadable) in judged {
            match unreadable {
                Some(Unreadable::Damaged) if one_opens => {
                    tracing::error!(authorization = %Kind::Authorization.of(authorization), "a credential is damaged");
                }
                Some(unreadable) => return Err(Error::internal(unreadable.to_string())),
                None => {}
            }
        }
        Ok(())
    }

    /// Seals a credential for `place`.
    pub(super) fn seal(&self, place: Place, credential: &Credential) -> Result<Vec<u8>> {
        let secret = serde_json::to_vec(credential).map(zeroize::Zeroizing::new);
        let secret = secret.map_err(|_| Error::internal("a credential that cannot be written"))?;
        Ok(self.vault.seal(place, &secret))
    }

    /// When the credential is to be renewed; none when nothing can.
    fn renew_at(&self, connector: &Connector, credential: &Credential, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.provider.can_renew(connector, credential) {
            return None;
        }
        let ends = credential.oauth.as_ref().and_then(|tokens| tokens.access_expires_at);
        // At four fifths of its life, give or take a tenth: ahead of its end, and not all at once.
        let ahead = ends.map_or(DAILY, |end| ((end - now) * 4 / 5).clamp(TimeDelta::zero(), DAILY));
        Some(now + jittered(ahead, &*self.entropy))
    }

    /// When the authorization is to be probed; none where its connector has no probe.
    pub(super) fn probe_at(&self, connector: &Connector, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !connector.has_probe() {
            return None;
        }
        let interval = TimeDelta::from_std(self.settings.probe_interval).unwrap_or(DAILY);
        Some(now + jittered(interval, &*self.entropy))
    }

    /// When a connection's own account is to be probed; none where it has none, or its connector cannot tell.
    pub(super) fn account_probe_at(
        &self,
        connector: &Connector,
        account: Option<&str>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        connector.probe.asks_of(account)?;
        let interval = TimeDelta::from_std(connector.probe.account_interval).unwrap_or(DAILY);
        Some(now + jittered(interval, &*self.entropy))
    }
}

impl Change<'_> {
    /// A new authorization that works, without connections yet; none where somebody signed in as the same account at
    /// this moment. An insert that fails would take the transaction with it, so one that is in the way is stepped around.
    pub(super) async fn authorize(
        &self,
        connector: &Connector,
        fresh: &Fresh,
        by: Option<Uuid>,
    ) -> Result<Option<Held>> {
        let mut row = authorization::Model {
            id: self.new_id(),
            workspace_id: self.workspace,
            connector: connector.slug.clone(),
            method: super::method(connector),
            status: Status::Connected,
            account_id: None,
            account_name: None,
            scopes: serde_json::Value::Null,
            missing_scopes: serde_json::Value::Null,
            credential: None,
            credential_version: 0,
            expires_at: None,
            access_expires_at: None,
            last_refreshed_at: None,
            renew_at: None,
            renewal_sent_at: None,
            probe_at: None,
            last_checked_at: None,
            claimed_by: None,
            claimed_until: None,
            failures: 0,
            failing_since: None,
            failing_message: None,
            oauth_client: None,
            refusals: 0,
            refused_since: None,
            quiet_until: None,
            token_quiet_until: None,
            client_refused_by: None,
            client_refused_at: None,
            client_accepted_at: None,
            created_by: by,
            created_at: self.now,
            removed_at: None,
        };
        self.fill(&mut row, connector, fresh)?;
        row.status = standing(row.expires_at, self.now);
        let inserted = authorization::Entity::insert(authorization::ActiveModel::from(row.clone()))
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(&self.txn)
            .await?;
        Ok((inserted == 1).then(|| Held { authorization: row, members: Vec::new(), disconnection: None }))
    }

    /// Stores what a sign-in, or typed credentials, brought in an authorization that is held. It belongs to `owner` from
    /// then on, who signed in: the maker before has no use of a grant that is somebody else's. None leaves it whose it is.
    /// Its status is another matter: [`Change::heal`].
    pub(super) async fn store(
        &self,
        held: &mut Held,
        connector: &Connector,
        fresh: &Fresh,
        owner: Option<Uuid>,
    ) -> Result<()> {
        self.fill(&mut held.authorization, connector, fresh)?;
        held.authorization.created_by = owner.or(held.authorization.created_by);
        self.write_authorization(&held.authorization).await
    }

    /// Writes a locked authorization as it is in memory.
    async fn write_authorization(&self, locked: &authorization::Model) -> Result<()> {
        let mut row = authorization::ActiveModel::from(locked.clone()).reset_all();
        // Only the lifecycle writes a status.
        row.status = sea_orm::ActiveValue::NotSet;
        row.id = Set(locked.id);
        row.update(&self.txn).await.map_err(|error| match error.sql_err() {
            // Somebody else signed in as the same account at this moment.
            Some(SqlErr::UniqueConstraintViolation(_)) => meanwhile(),
            _ => error.into(),
        })?;
        Ok(())
    }

    /// Stores what a renewal brought. When to probe next stays as it was, and so does what is known of the API: that tokens
    /// are to be had says nothing about it. What is flagged is probed at once.
    pub(super) async fn store_renewed(
        &self,
        row: &mut authorization::Model,
        connector: &Connector,
        fresh: &Fresh,
    ) -> Result<()> {
        let before = row.clone();
        let flagged = before.status == Status::Disconnected;
        self.fill(row, connector, fresh)?;
        row.last_checked_at = before.last_checked_at;
        row.probe_at = before.probe_at.map(|at| if flagged { self.now } else { at }).or(row.probe_at);
        row.quiet_until = before.quiet_until;
        if row.probe_at.is_some() {
            row.failures = before.failures;
            (row.failing_since, row.failing_message) = (before.failing_since, before.failing_message);
        }
        self.write_authorization(row).await
    }

    fn fill(&self, row: &mut authorization::Model, connector: &Connector, fresh: &Fresh) -> Result<()> {
        let connections = self.connections;
        row.credential = Some(connections.seal(place(row.id), &fresh.credential)?);
        row.credential_version += 1;
        if let Some(account) = &fresh.account {
            row.account_id = Some(account.id.clone());
            row.account_name = Some(account.name.clone());
        }
        row.scopes = serde_json::json!(fresh.scopes);
        row.missing_scopes = serde_json::json!(fresh.missing_scopes);
        row.expires_at = fresh.ends_at;
        row.access_expires_at = fresh.credential.oauth.as_ref().and_then(|tokens| tokens.access_expires_at);
        row.last_refreshed_at = Some(self.now);
        row.renew_at = connections.renew_at(connector, &fresh.credential, self.now);
        row.renewal_sent_at = None;
        row.probe_at = connections.probe_at(connector, self.now);
        row.last_checked_at = Some(self.now);
        row.failures = 0;
        (row.failing_since, row.failing_message, row.quiet_until, row.token_quiet_until) = (None, None, None, None);
        (row.refusals, row.refused_since) = (0, None);
        row.oauth_client = connections.provider.oauth_client(connector);
        if row.client_refused_by == Some(Endpoint::Token) {
            (row.client_refused_by, row.client_accepted_at) = (None, Some(self.now));
        }
        Ok(())
    }
}

/// A hash of the fields that are not secret, for connectors that cannot say whose account it is; none where every
/// field is secret. A database is the same however it is protected on the way, and whether or not its usual port is said.
pub(super) fn key_of_fields(connector: &Connector, fields: &BTreeMap<String, String>) -> Option<String> {
    let mut open: BTreeMap<&str, Cow<'_, str>> = fields
        .iter()
        .filter(|(name, _)| connector.field(name).is_some_and(|field| !field.secret))
        .map(|(name, value)| (name.as_str(), value.into()))
        .collect();
    if let Some(driver) = connector.driver() {
        open.remove("tls");
        open.entry("port").or_insert_with(|| driver.default_port().to_string().into());
        open.entry("host").and_modify(|host| *host = host.to_lowercase().into());
    }
    let open: Vec<_> = open.into_iter().collect();
    let bytes = serde_json::to_vec(&open).ok().filter(|_| !open.is_empty())?;
    let hash: String = Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Some(format!("fields:{hash}"))
}
