//! Unplugging: tombstones, and giving back what nobody uses any more.

use entity::{DisconnectionEnd, authorization, connection};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::json;
use uuid::Uuid;

use super::{
    Connections,
    connect::find_authorization,
    credentials::Fresh,
    held::{Held, hold_one},
    lifecycle::Change,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Error, Result},
    ids::{Kind, NodeId},
    journal::Touched,
    provider::Credential,
};

/// What was removed.
#[derive(Debug, Clone)]
pub struct Removed {
    pub connection: Uuid,
    pub client: Option<Uuid>,
    pub authorization: Uuid,
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
        let retired = change.unplug(&mut held, id).await?;
        change.commit().await?;
        if let Some(connector) = self.connector_of(&row.connector) {
            self.revoke_retired(&connector, row.authorization_id, retired).await;
        }
        Ok(Removed { connection: id, client: row.client_id, authorization: row.authorization_id })
    }

    /// Gives back, at the provider, the credential of an authorization that is no more. What fails here is logged: the
    /// secret is gone from this server in any case.
    pub(super) async fn revoke_retired(&self, connector: &Connector, authorization: Uuid, sealed: Option<Vec<u8>>) {
        let Some(sealed) = sealed else { return };
        match self.open_sealed(authorization, &sealed) {
            Ok(credential) => self.revoke(connector, &credential).await,
            Err(error) => tracing::error!(%authorization, ?error, "a credential could not be opened to be revoked"),
        }
    }

    /// Gives back a sign-in that nothing came of, unless the same account is authorized here: providers end all grants of
    /// an account at once.
    pub(super) async fn give_back(&self, workspace: Uuid, connector: &Connector, fresh: &Fresh) {
        let Some(account) = &fresh.account else { return };
        match find_authorization(self.db.reader(), workspace, &connector.slug, &account.id).await {
            Ok(None) => self.revoke(connector, &fresh.credential).await,
            Ok(Some(_)) => {}
            Err(error) => tracing::error!(?error, "a sign-in that nothing came of was not given back"),
        }
    }

    async fn revoke(&self, connector: &Connector, credential: &Credential) {
        if let Err(failure) = self.provider.revoke(connector, credential).await {
            tracing::warn!(connector = %connector.slug, %failure, "the provider did not take the grant back");
        }
    }
}

impl Change<'_> {
    /// Removes one connection of a held authorization; the credential comes back, sealed, when it was the last.
    async fn unplug(&mut self, held: &mut Held, id: Uuid) -> Result<Option<Vec<u8>>> {
        let Some(place) = held.members.iter().position(|member| member.row.id == id) else { return Ok(None) };
        let before = held.fact(&held.members[place]);
        let member = held.members.remove(place);
        if let Some(own) = &member.own {
            self.end(own.id, DisconnectionEnd::Removed, None).await?;
        }
        connection::Entity::update_many()
            .col_expr(connection::Column::RemovedAt, Expr::value(self.now))
            .col_expr(connection::Column::ProbeAt, Expr::value(None::<chrono::DateTime<chrono::Utc>>))
            .filter(connection::Column::Id.eq(id))
            .exec(&self.txn)
            .await?;
        let details = json!({ "name": member.row.name, "connector": member.row.connector });
        let touched = vec![Touched { connection: id, before: Some(before), after: None }];
        self.tell("connection.removed", NodeId { kind: Kind::Connection, id }, touched, details);
        if held.members.is_empty() { self.retire(held, DisconnectionEnd::Removed, None).await } else { Ok(None) }
    }

    /// Tombstones an authorization without connections, and erases its secret, which comes back sealed.
    pub(super) async fn retire(
        &mut self,
        held: &mut Held,
        how: DisconnectionEnd,
        by: Option<Uuid>,
    ) -> Result<Option<Vec<u8>>> {
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
        Ok(held.authorization.credential.take())
    }
}
