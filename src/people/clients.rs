//! Clients: the customers of a workspace, by whom connections are grouped.

use std::collections::HashMap;

use entity::client;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, Order as Direction, PaginatorTrait,
    QueryFilter, QuerySelect, Select,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    People, audit,
    names::{self, both},
};
use crate::{
    access::{Action, Reach, Viewer},
    db::Transaction,
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    ids::Kind,
    pages::{self, Key, Order, Page, PageArgs},
    patch::Patch,
};

/// How a list of clients is sorted; without one, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOrder {
    pub field: ClientOrderField,
    pub descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOrderField {
    Name,
    CreatedAt,
}

/// A client that is to be made.
#[derive(Debug, Clone)]
pub struct CreateClient {
    pub name: String,
    /// Somebody else's id for it, unique in the workspace.
    pub external_id: Option<String>,
}

/// Changes of one client.
#[derive(Debug, Clone)]
pub struct UpdateClient {
    pub client: Uuid,
    pub name: Patch<String>,
    pub external_id: Patch<String>,
}

impl People {
    /// The clients that the viewer may see and whose name contains `search`.
    pub async fn clients(
        &self,
        viewer: &Viewer,
        search: Option<&str>,
        order: Option<ClientOrder>,
        args: &PageArgs,
    ) -> Result<Page<client::Model>> {
        let select = listed(viewer, search)?;
        pages::read(self.db.reader(), select, args, sorted(order), viewer.cursor_key()).await
    }

    /// How many clients that list has.
    pub async fn count_clients(&self, viewer: &Viewer, search: Option<&str>) -> Result<u64> {
        Ok(listed(viewer, search)?.count(self.db.reader()).await?)
    }

    /// One client by id.
    pub async fn client(&self, viewer: &Viewer, id: Uuid) -> Result<Option<client::Model>> {
        let select = visible(clients_of(viewer.workspace()), viewer)?;
        Ok(select.filter(client::Column::Id.eq(id)).one(self.db.reader()).await?)
    }

    /// One client by somebody else's id for it.
    pub async fn client_by_external_id(&self, viewer: &Viewer, external_id: &str) -> Result<Option<client::Model>> {
        let external_id = names::argument("externalId", external_id)?;
        let select = visible(clients_of(viewer.workspace()), viewer)?;
        Ok(select.filter(client::Column::ExternalId.eq(external_id)).one(self.db.reader()).await?)
    }

    /// Those of the clients with these ids that the viewer may see, removed ones too: for what still shows them beside
    /// itself.
    pub async fn clients_by_ids(&self, viewer: &Viewer, ids: &[Uuid]) -> Result<HashMap<Uuid, client::Model>> {
        let all = client::Entity::find().filter(client::Column::WorkspaceId.eq(viewer.workspace()));
        let select = visible(all, viewer)?.filter(client::Column::Id.is_in(ids.iter().copied()));
        Ok(select.all(self.db.reader()).await?.into_iter().map(|client| (client.id, client)).collect())
    }

    /// Makes a client. With an external id that is known already, returns the client that has it, unchanged.
    pub async fn create_client(&self, viewer: &Viewer, new: CreateClient) -> Result<client::Model> {
        viewer.may(Action::ManageClients)?;
        let external_id = new.external_id.map(|id| names::external_id("externalId", &id)).transpose();
        let (name, external_id) = both(names::name("name", &new.name), external_id)?;
        let txn = self.begin(viewer.workspace()).await?;
        if let Some(known) = with_external_id(&txn, viewer.workspace(), external_id.as_deref()).await? {
            return Ok(known);
        }
        let row = client::Model {
            id: self.new_id(),
            workspace_id: viewer.workspace(),
            name_key: pages::fold(&name),
            name,
            external_id,
            created_at: self.clock.now(),
            removed_at: None,
        };
        row.clone().into_active_model().insert(&txn).await?;
        let details = json!({ "after": described(&row) });
        let entry = audit("client.created", viewer.actor(), Kind::Client, row.id, details);
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        Ok(row)
    }

    /// Changes a client. CONFLICT with whichever has the external id already.
    pub async fn update_client(&self, viewer: &Viewer, change: UpdateClient) -> Result<client::Model> {
        viewer.may(Action::ManageClients)?;
        let name = change.name.checked(|name| names::name("name", &name)).and_then(|name| name.or_keep("name"));
        let external_id = change.external_id.checked(|id| names::external_id("externalId", &id));
        let (name, external_id) = both(name, external_id)?;
        let txn = self.begin(viewer.workspace()).await?;
        let found = clients_of(viewer.workspace()).filter(client::Column::Id.eq(change.client)).one(&txn).await?;
        let before = found.ok_or_else(|| Error::not_found("clientId"))?;
        let mut after = before.clone();
        after.name = name.unwrap_or(after.name);
        after.name_key = pages::fold(&after.name);
        after.external_id = external_id.after(after.external_id);
        if after == before {
            return Ok(before);
        }
        external_id_is_free(&txn, &after).await?;
        after.clone().into_active_model().reset_all().update(&txn).await?;
        let details = json!({ "before": described(&before), "after": described(&after) });
        let entry = audit("client.updated", viewer.actor(), Kind::Client, after.id, details);
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        Ok(after)
    }
}

/// Every client of the workspace that was not removed.
pub fn clients_of(workspace: Uuid) -> Select<client::Entity> {
    client::Entity::find().filter(client::Column::WorkspaceId.eq(workspace)).filter(client::Column::RemovedAt.is_null())
}

/// Refuses a client that is not there, at the input `clientId`; one that is, stays until the transaction ends.
pub async fn client_stays(txn: &Transaction, workspace: Uuid, client: Option<Uuid>) -> Result<()> {
    let Some(client) = client else { return Ok(()) };
    let found = clients_of(workspace).filter(client::Column::Id.eq(client)).lock_shared().one(txn).await?;
    found.map(|_| ()).ok_or_else(|| Error::not_found("clientId"))
}

/// Those of `select` that the viewer may see.
fn visible(select: Select<client::Entity>, viewer: &Viewer) -> Result<Select<client::Entity>> {
    match viewer.may(Action::SeeClients)? {
        Reach::Everything => Ok(select),
        // A CLIENT without a client sees none: no client has the nil id.
        Reach::OwnClient => Ok(select.filter(client::Column::Id.eq(viewer.client().unwrap_or_default()))),
        // Nobody makes clients their own: the table does not say this.
        Reach::Made | Reach::MadeOrShared | Reach::Nothing => Err(Error::Forbidden),
    }
}

fn listed(viewer: &Viewer, search: Option<&str>) -> Result<Select<client::Entity>> {
    let select = visible(clients_of(viewer.workspace()), viewer)?;
    Ok(match names::search(search)? {
        None => select,
        Some(term) => select.filter(pages::contains(client::Column::NameKey, term)),
    })
}

fn sorted(order: Option<ClientOrder>) -> Order<client::Model> {
    let Some(ClientOrder { field, descending }) = order else {
        return Order::by("clients", client::Column::Id, Direction::Asc, |row| vec![Key::Id(row.id)]);
    };
    let name = match (field, descending) {
        (ClientOrderField::Name, false) => "clients by name",
        (ClientOrderField::Name, true) => "clients by name, descending",
        (ClientOrderField::CreatedAt, false) => "clients by age",
        (ClientOrderField::CreatedAt, true) => "clients by age, descending",
    };
    let (column, keys): (_, fn(&client::Model) -> Vec<Key>) = match field {
        ClientOrderField::Name => (client::Column::NameKey, by_name),
        ClientOrderField::CreatedAt => (client::Column::CreatedAt, by_age),
    };
    let direction = if descending { Direction::Desc } else { Direction::Asc };
    Order::by(name, column, direction.clone(), keys).then(client::Column::Id, direction)
}

fn by_name(row: &client::Model) -> Vec<Key> {
    vec![Key::Text(row.name_key.clone()), Key::Id(row.id)]
}

fn by_age(row: &client::Model) -> Vec<Key> {
    vec![row.created_at.into(), Key::Id(row.id)]
}

async fn with_external_id(
    db: &impl ConnectionTrait,
    workspace: Uuid,
    external_id: Option<&str>,
) -> Result<Option<client::Model>> {
    let Some(external_id) = external_id else { return Ok(None) };
    Ok(clients_of(workspace).filter(client::Column::ExternalId.eq(external_id)).one(db).await?)
}

async fn external_id_is_free(db: &impl ConnectionTrait, client: &client::Model) -> Result<()> {
    match with_external_id(db, client.workspace_id, client.external_id.as_deref()).await? {
        Some(other) if other.id != client.id => {
            Err(UserError::new(UserErrorCode::Conflict, "Another client has this external id already.")
                .at(["externalId"])
                .against(Conflict::Client(other.id))
                .into())
        }
        _ => Ok(()),
    }
}

/// What the audit log tells of a client.
pub(super) fn described(client: &client::Model) -> Value {
    json!({ "name": client.name, "externalId": client.external_id })
}
