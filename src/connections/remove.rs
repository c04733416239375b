//! Unplugging: tombstones, and giving back what nobody uses any more.

use entity::{DisconnectionEnd, authorization};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::{Connections, credentials::Fresh, held::Held, lifecycle::Change};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Error, Result},
    ids::Kind,
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
        let locked = Change::of_connection(self, viewer, id).await?;
        let (mut change, mut held) = locked.ok_or_else(|| Error::not_found("connectionId"))?;
        held.place_of(id, viewer, Action::Dispose)?;
        let authorization = held.id();
        let kept_datasets = change.datasets_of(id).await?;
        let retired = change.unplug(&mut held, id).await?;
        change.commit().await?;
        if let Some(connector) = self.connector_of(&row.connector) {
            self.revoke_retired(&connector, authorization, retired).await;
        }
        Ok(Removed { connection: id, client: row.client_id, authorization, kept_datasets })
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
        let retired = self.unplug_all(std::slice::from_mut(held), &[id]).await?.pop();
        Ok(retired.map(|(_, retired)| retired))
    }

    /// Tombstones an authorization without connections, and erases its secret, which comes back.
    pub(super) async fn retire(
        &mut self,
        held: &mut Held,
        how: DisconnectionEnd,
        by: Option<Uuid>,
    ) -> Result<Option<Retired>> {
        let retired = self.retire_all(vec![held], how, by).await?.pop();
        Ok(retired.map(|(_, retired)| retired))
    }
}
