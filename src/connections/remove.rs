//! Unplugging: tombstones, and giving back what nobody uses any more.

use entity::{DisconnectionEnd, authorization, connection};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::json;
use uuid::Uuid;

use super::{
    Connections,
    credentials::Fresh,
    held::{Held, hold_one, last_checked},
    lifecycle::Change,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Error, Result},
    ids::Kind,
    journal::Touched,
    provider::Credential,
};

/// What an authorization had that is no more.
pub(super) struct Retired {
    /// Its credential, sealed as it was.
    pub(super) sealed: Vec<u8>,
    /// Whose account it was.
    pub(super) account: Option<String>,
}

/// What was removed.
#[derive(Debug, Clone)]
pub struct Removed {
    pub connection: Uuid,
    pub client: Option<Uuid>,
    pub authorization: Uuid,
    /// How many datasets stay with their last rows.
    pub kept_datasets: u64,
}

impl Connections {
    /// Removes a connection. The provider's grant is given back when no other connection uses it.
    pub async fn remove(&self, viewer: &Viewer, id: Uuid) -> Result<Removed> {
        viewer.may(Action::Dispose)?;
        let row = self.tended(viewer, id, Action::Dispose).await?;
        let mut change = Change::begin(self, viewer).await?;
        let held = hold_one(&change.txn, row.authorization_id).await?;
        let held = held.filter(|held| held.member(id).is_some());
        let mut held = held.ok_or_else(|| Error::not_found("connectionId"))?;
        let kept_datasets = change.datasets_of(id).await?;
        let retired = change.unplug(&mut held, id).await?;
        change.commit().await?;
        if let Some(connector) = self.connector_of(&row.connector) {
            self.revoke_retired(&connector, row.authorization_id, retired).await;
        }
        Ok(Removed { connection: id, client: row.client_id, authorization: row.authorization_id, kept_datasets })
    }

    /// Gives back, at the provider, what an authorization that is no more had. What fails here is logged: the secret is
    /// gone from this server in any case.
    pub(super) async fn revoke_retired(&self, connector: &Connector, authorization: Uuid, retired: Option<Retired>) {
        let Some(retired) = retired else { return };
        match self.open_sealed(authorization, &retired.sealed) {
            Ok(credential) => self.revoke_unused(connector, retired.account.as_deref(), &credential).await,
            Err(error) => {
                let authorization = Kind::Authorization.of(authorization);
                tracing::error!(%authorization, ?error, "a credential could not be opened to be revoked");
            }
        }
    }

    /// Gives back a sign-in that nothing came of.
    pub(super) async fn give_back(&self, connector: &Connector, fresh: &Fresh) {
        if let Some(account) = &fresh.account {
            self.revoke_unused(connector, Some(&account.id), &fresh.credential).await;
        }
    }

    /// Revokes, unless the same account is authorized here, in whichever workspace: this server is one OAuth client to
    /// the provider, and providers end all grants of an account at once.
    async fn revoke_unused(&self, connector: &Connector, account: Option<&str>, credential: &Credential) {
        match self.is_authorized(connector, account).await {
            Ok(false) => self.revoke(connector, credential).await,
            Ok(true) => {}
            Err(error) => tracing::error!(?error, "a grant that nobody uses was not given back"),
        }
    }

    async fn is_authorized(&self, connector: &Connector, account: Option<&str>) -> Result<bool> {
        let Some(account) = account else { return Ok(false) };
        let same = authorization::Entity::find()
            .filter(authorization::Column::Connector.eq(&connector.slug))
            .filter(authorization::Column::AccountId.eq(account))
            .filter(authorization::Column::RemovedAt.is_null())
            .one(self.db.reader())
            .await?;
        Ok(same.is_some())
    }

    async fn revoke(&self, connector: &Connector, credential: &Credential) {
        if let Err(failure) = self.provider.revoke(connector, credential).await {
            tracing::warn!(connector = %connector.slug, %failure, "the provider did not take the grant back");
        }
    }
}

impl Change<'_> {
    /// Removes one connection of a held authorization; what its authorization had comes back when it was the last.
    pub(super) async fn unplug(&mut self, held: &mut Held, id: Uuid) -> Result<Option<Retired>> {
        let Some(place) = held.members.iter().position(|member| member.row.id == id) else { return Ok(None) };
        let before = held.fact(&held.members[place]);
        let member = held.members.remove(place);
        if let Some(own) = &member.own {
            self.end(own.id, DisconnectionEnd::Removed, None).await?;
        }
        let is_last = held.members.is_empty();
        let ended = held.disconnection.as_ref().filter(|_| is_last).or(member.own.as_ref()).map(|one| one.id);
        connection::Entity::update_many()
            .col_expr(connection::Column::RemovedAt, Expr::value(self.now))
            .col_expr(connection::Column::LastCheckedAt, Expr::value(last_checked(&member.row, &held.authorization)))
            .col_expr(connection::Column::ProbeAt, Expr::value(None::<chrono::DateTime<chrono::Utc>>))
            .filter(connection::Column::Id.eq(id))
            .exec(&self.txn)
            .await?;
        self.leave_datasets(&member).await?;
        let details = json!({ "name": member.row.name, "connector": member.row.connector, "disconnection": ended });
        let touched = vec![Touched { connection: id, before: Some(before), after: None }];
        self.tell("connection.removed", Kind::Connection.of(id), touched, details);
        if is_last { self.retire(held, DisconnectionEnd::Removed, None).await } else { Ok(None) }
    }

    /// Tombstones an authorization without connections, and erases its secret, which comes back.
    pub(super) async fn retire(
        &mut self,
        held: &mut Held,
        how: DisconnectionEnd,
        by: Option<Uuid>,
    ) -> Result<Option<Retired>> {
        if let Some(open) = held.disconnection.take() {
            self.end(open.id, how, by).await?;
        }
        let never = None::<chrono::DateTime<chrono::Utc>>;
        authorization::Entity::update_many()
            .col_expr(authorization::Column::RemovedAt, Expr::value(self.now))
            .col_expr(authorization::Column::Credential, Expr::value(None::<Vec<u8>>))
            .col_expr(authorization::Column::CredentialVersion, Expr::value(held.authorization.credential_version + 1))
            .col_expr(authorization::Column::RenewAt, Expr::value(never))
            .col_expr(authorization::Column::ProbeAt, Expr::value(never))
            .filter(authorization::Column::Id.eq(held.id()))
            .exec(&self.txn)
            .await?;
        held.authorization.removed_at = Some(self.now);
        let account = held.authorization.account_id.clone();
        Ok(held.authorization.credential.take().map(|sealed| Retired { sealed, account }))
    }
}
