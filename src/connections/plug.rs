//! Adding a connection to an authorization that is held.

use entity::connection;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;
use uuid::Uuid;

use super::{
    connect::taken,
    held::{Held, Member},
    lifecycle::Change,
};
use crate::{
    access::Viewer,
    catalogue::Connector,
    error::{Conflict, Result, UserError, UserErrorCode},
    ids::{Kind, NodeId},
    journal::Touched,
    pages::fold,
    people,
    provider::Account,
};

/// A connection that is about to be.
pub(super) struct NewConnection {
    pub(super) name: Option<String>,
    pub(super) client: Option<Uuid>,
    pub(super) external_id: Option<String>,
    pub(super) account: Option<Account>,
}

impl Change<'_> {
    /// Adds a connection to a held authorization that works.
    pub(super) async fn plug(
        &mut self,
        held: &mut Held,
        connector: &Connector,
        new: NewConnection,
        viewer: &Viewer,
    ) -> Result<connection::Model> {
        self.plug_as(held, connector, new, viewer, None).await
    }

    /// The same, where the fields give a key for whoever has no account to go by.
    pub(super) async fn plug_as(
        &mut self,
        held: &mut Held,
        connector: &Connector,
        new: NewConnection,
        viewer: &Viewer,
        key_of_fields: Option<String>,
    ) -> Result<connection::Model> {
        if let Some(client) = new.client {
            people::client_stays(&self.txn, self.workspace, client).await?;
        }
        let id = self.new_id();
        let account = new.account.as_ref();
        let identity = held.authorization.account_id.clone();
        let key = account.map(|account| account.id.clone()).or(identity).or(key_of_fields);
        let key = key.unwrap_or_else(|| format!("connection:{id}"));
        self.require_free(connector, new.client, &key, None).await?;
        let name =
            new.name.unwrap_or_else(|| default_name(connector, account, held.authorization.account_name.as_deref()));
        let row = connection::Model {
            id,
            workspace_id: self.workspace,
            name_key: fold(&name),
            name,
            external_id: new.external_id,
            connector: connector.slug.clone(),
            client_id: new.client,
            authorization_id: held.id(),
            account_id: account.map(|account| account.id.clone()),
            account_name: account.map(|account| account.name.clone()),
            account_key: key,
            status: held.authorization.status,
            status_changed_at: self.now,
            lost_access: false,
            last_checked_at: Some(self.now),
            probe_at: self.connections.account_probe_at(
                connector,
                account.map(|account| account.id.as_str()),
                self.now,
            ),
            refused_once: false,
            created_by: viewer.user(),
            created_at: self.now,
            removed_at: None,
        };
        let row = connection::ActiveModel::from(row).insert(&self.txn).await.map_err(taken)?;
        let member = Member { row: row.clone(), shares: Vec::new(), own: None };
        let after = Some(held.fact(&member));
        held.members.push(member);
        let touched = vec![Touched { connection: id, before: None, after }];
        let details = json!({ "name": row.name, "connector": row.connector });
        self.tell("connection.added", NodeId { kind: Kind::Connection, id }, touched, details);
        Ok(row)
    }

    /// Refuses what is connected for this client already.
    pub(super) async fn require_free(
        &self,
        connector: &Connector,
        client: Option<Uuid>,
        key: &str,
        except: Option<Uuid>,
    ) -> Result<()> {
        let same_client = match client {
            Some(client) => connection::Column::ClientId.eq(client),
            None => connection::Column::ClientId.is_null(),
        };
        let there = connection::Entity::find()
            .filter(connection::Column::WorkspaceId.eq(self.workspace))
            .filter(connection::Column::Connector.eq(&connector.slug))
            .filter(same_client)
            .filter(connection::Column::AccountKey.eq(key))
            .filter(connection::Column::RemovedAt.is_null())
            .one(&self.txn)
            .await?;
        match there.filter(|there| Some(there.id) != except) {
            Some(there) => {
                let message = "This account is connected for this client already.";
                Err(UserError::new(UserErrorCode::Conflict, message).against(Conflict::Connection(there.id)).into())
            }
            None => Ok(()),
        }
    }
}

/// The connector's and the account's name.
fn default_name(connector: &Connector, account: Option<&Account>, identity: Option<&str>) -> String {
    match account.map(|account| account.name.as_str()).or(identity) {
        Some(account) => format!("{} – {account}", connector.name),
        None => connector.name.clone(),
    }
}
