//! Adding connections to an authorization that is held.

use entity::connection;
use sea_orm::{ActiveModelTrait, EntityTrait, SqlErr};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    held::{Held, Member},
    lifecycle::Change,
    list::BATCH,
    readers::KEYLESS,
};
use crate::{
    access::Viewer,
    catalogue::Connector,
    error::Result,
    ids::{Kind, NodeId},
    journal::Touched,
    pages::fold,
    people,
    provider::Account,
};

/// A connection that is about to be.
#[derive(Clone)]
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
        people::client_stays(&self.txn, self.workspace, new.client).await?;
        let row = self.draft(held, connector, new, viewer, key_of_fields);
        self.require_free(&row).await?;
        if let Err(error) = connection::ActiveModel::from(row.clone()).insert(&self.txn).await {
            return Err(self.in_the_way(error, &row).await);
        }
        self.hand_datasets_to(std::slice::from_ref(&row), viewer).await?;
        let details = json!({ "name": row.name, "connector": row.connector });
        self.tell_added(held, Kind::Connection.of(row.id), vec![row.clone()], details);
        Ok(row)
    }

    /// Adds connections that were drafted, and found free of conflicts, with one entry for them all. False when somebody
    /// else took the place of one of them at this moment: then the transaction is lost.
    pub(super) async fn plug_all(
        &mut self,
        held: &mut Held,
        mut rows: Vec<connection::Model>,
        viewer: &Viewer,
    ) -> Result<bool> {
        // Two who write the same at once wait for each other in one order, and not in a circle.
        rows.sort_by(|one, other| {
            (&one.external_id, one.client_id, &one.account_key).cmp(&(
                &other.external_id,
                other.client_id,
                &other.account_key,
            ))
        });
        for part in rows.chunks(BATCH) {
            let part = part.iter().cloned().map(connection::ActiveModel::from);
            match connection::Entity::insert_many(part).exec_without_returning(&self.txn).await {
                Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                    return Ok(false);
                }
                written => written?,
            };
        }
        rows.sort_by_key(|row| row.id);
        self.hand_datasets_to(&rows, viewer).await?;
        if !rows.is_empty() {
            let names: Vec<Value> = rows.iter().map(added).collect();
            let details = json!({ "connector": held.authorization.connector, "connections": names });
            self.tell_added(held, Kind::Authorization.of(held.id()), rows, details);
        }
        Ok(true)
    }

    /// The connection that is to be, through a held authorization that works.
    pub(super) fn draft(
        &self,
        held: &Held,
        connector: &Connector,
        new: NewConnection,
        viewer: &Viewer,
        key_of_fields: Option<String>,
    ) -> connection::Model {
        let id = self.new_id();
        let account = new.account.as_ref();
        let identity = held.authorization.account_id.clone();
        let key = account.map(|account| account.id.clone()).or(identity).or(key_of_fields);
        let name =
            new.name.unwrap_or_else(|| default_name(connector, account, held.authorization.account_name.as_deref()));
        connection::Model {
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
            account_key: key.unwrap_or_else(|| format!("{KEYLESS}{id}")),
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
            failing_since: None,
            failing_message: None,
            created_by: viewer.user(),
            created_at: self.now,
            removed_at: None,
        }
    }

    fn tell_added(&mut self, held: &mut Held, subject: NodeId, rows: Vec<connection::Model>, details: Value) {
        let mut touched = Vec::with_capacity(rows.len());
        for row in rows {
            let member = Member { row, shares: Vec::new(), own: None };
            touched.push(Touched { connection: member.row.id, before: None, after: Some(held.fact(&member)) });
            held.members.push(member);
        }
        self.tell("connection.added", subject, touched, details);
    }
}

/// What the audit log tells of one among many.
fn added(row: &connection::Model) -> Value {
    json!({ "id": Kind::Connection.of(row.id).to_string(), "name": row.name })
}

/// The connector's and the account's name.
fn default_name(connector: &Connector, account: Option<&Account>, identity: Option<&str>) -> String {
    match account.map(|account| account.name.as_str()).or(identity) {
        Some(account) => format!("{} – {account}", connector.name),
        None => connector.name.clone(),
    }
}
