//! Many accounts of one authorization, connected at once: a manager account with 300 clients. Rows stand or fall alone.
//!
//! The provider is asked once. What rows are judged by is read in batches under the authorization's lock; those that
//! stand are written together, with one entry in the journal.

use std::collections::{HashMap, HashSet};

use entity::{client, connection};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{
    Connections,
    callback::refused,
    conflicts::{self, connected_already, external_id_taken},
    connect::disconnected,
    judged::Judged,
    lifecycle::Change,
    plug::NewConnection,
    settle::meanwhile,
    visibility,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Error, Result, UserError, UserErrorCode},
    people::{clients_of, names},
    provider::{Account, Credential},
};

/// How many rows there may be.
const MOST: usize = 500;

/// Accounts to connect through one authorization: 1 to 500.
#[derive(Debug, Clone)]
pub struct ConnectAccounts {
    pub authorization: Uuid,
    pub accounts: Vec<AccountToConnect>,
}

/// A row of them.
#[derive(Debug, Clone)]
pub struct AccountToConnect {
    /// One of those that the authorization gives access to.
    pub account: String,
    pub client: Option<Uuid>,
    pub name: Option<String>,
    pub external_id: Option<String>,
}

/// What came of a row.
#[derive(Debug, Clone)]
pub struct ConnectedAccount {
    /// As the row has it.
    pub account: String,
    /// Paths of errors begin with `accounts` and the row's place.
    pub outcome: Outcome,
}

/// The new connection, or the one that is known by the external id; else what is wrong with the row.
type Outcome = Result<connection::Model, Vec<UserError>>;

impl Connections {
    /// Connects accounts of one authorization; what came of each, in the order given. What is in the way of all of them
    /// is the error.
    pub async fn connect_accounts(&self, viewer: &Viewer, input: ConnectAccounts) -> Result<Vec<ConnectedAccount>> {
        viewer.may(Action::Connect)?;
        if input.accounts.is_empty() {
            return Err(Error::invalid("accounts", "Name at least one account."));
        }
        if input.accounts.len() > MOST {
            return Err(Error::invalid("accounts", format!("Name at most {MOST} accounts at once.")));
        }
        let path = ["authorizationId"];
        let row = self.permitted_authorization(viewer, input.authorization, &path).await?;
        let shareable = row.method == entity::AuthMethod::OAuth2;
        let connector = self.connector_of(&row.connector).filter(|it| shareable && it.accounts.is_some());
        let several = || UserError::new(UserErrorCode::Invalid, "This authorization has no accounts to choose from.");
        let connector = connector.ok_or_else(|| several().at(path))?;
        if row.status == entity::Status::Disconnected {
            return Err(disconnected(row.id, &path).into());
        }
        let judged = Judged::from(&row);
        let reachable = self.reachable(&connector, &self.usable_credential(&row).await?).await?;
        let rows = input.accounts.iter().map(|row| checked(row, &reachable)).collect::<Result<Vec<_>>>()?;
        let outcomes = match self.connect_rows(viewer, &connector, &judged, &rows).await? {
            Some(outcomes) => outcomes,
            // Somebody took the place of one of them, which shows when looked at anew.
            None => self.connect_rows(viewer, &connector, &judged, &rows).await?.ok_or_else(meanwhile)?,
        };
        let asked = input.accounts.into_iter().map(|row| row.account);
        Ok(asked.zip(outcomes).map(|(account, outcome)| ConnectedAccount { account, outcome }).collect())
    }

    /// The accounts that the credential opens, by id.
    async fn reachable(&self, connector: &Connector, credential: &Credential) -> Result<HashMap<String, Account>> {
        let accounts = self.provider.accounts(connector, credential).await.map_err(|failure| refused(&failure))?;
        Ok(accounts.into_iter().map(|account| (account.id.clone(), account)).collect())
    }

    /// All that stand, in one transaction; none where somebody else wrote the same at this moment.
    async fn connect_rows(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        judged: &Judged,
        rows: &[Checked],
    ) -> Result<Option<Vec<Outcome>>> {
        let mut change = Change::begin(self, viewer).await?;
        let mut held = change.hold_working(viewer, judged, &["authorizationId"]).await?;
        let mut around = Around::read(&change, viewer, connector, rows.iter().flatten()).await?;
        let (mut outcomes, mut adding) = (Vec::with_capacity(rows.len()), Vec::new());
        for (place, row) in rows.iter().enumerate() {
            let outcome = match row.as_ref().map_err(Clone::clone).map(|new| around.judge(new)) {
                Err(flaws) | Ok(Verdict::Falls(flaws)) => Err(flaws),
                Ok(Verdict::IsKnown(known)) => Ok(*known),
                Ok(Verdict::Stands(new)) => {
                    let row = change.draft(&held, connector, new, viewer, None);
                    around.add(&row);
                    adding.push(row.clone());
                    Ok(row)
                }
            };
            outcomes.push(outcome.map_err(|flaws| flaws.into_iter().map(|flaw| in_row(place, flaw)).collect()));
        }
        if !change.plug_all(&mut held, adding, viewer).await? {
            return Ok(None);
        }
        change.commit().await?;
        Ok(Some(outcomes))
    }
}

/// A row whose texts are sound, with the account that it names where there is one; else all that is wrong with them.
type Checked = Result<NewConnection, Vec<UserError>>;

fn checked(row: &AccountToConnect, reachable: &HashMap<String, Account>) -> Result<Checked> {
    let account = names::external_id("accountId", &row.account).map(|id| reachable.get(&id).cloned());
    let name = row.name.as_deref().map(|name| names::name("name", name)).transpose();
    let external_id = row.external_id.as_deref().map(|id| names::external_id("externalId", id)).transpose();
    match names::both(account, names::both(name, external_id)) {
        Ok((account, (name, external_id))) => Ok(Ok(NewConnection { name, client: row.client, external_id, account })),
        Err(Error::Rejected(flaws)) => Ok(Err(flaws)),
        Err(other) => Err(other),
    }
}

/// What is to become of a row.
enum Verdict {
    Stands(NewConnection),
    /// Something has its external id.
    IsKnown(Box<connection::Model>),
    Falls(Vec<UserError>),
}

/// What rows are judged by, as it is under the lock; those that stand are added to it.
struct Around {
    clients: HashSet<Uuid>,
    /// What has an external id, and whether the viewer sees it.
    known: HashMap<String, (connection::Model, bool)>,
    /// What is connected, by client and account.
    connected: HashMap<(Option<Uuid>, String), Uuid>,
}

impl Around {
    async fn read(
        change: &Change<'_>,
        viewer: &Viewer,
        connector: &Connector,
        rows: impl Iterator<Item = &NewConnection> + Clone,
    ) -> Result<Self> {
        let clients: Vec<Uuid> = rows.clone().filter_map(|row| row.client).collect();
        let external_ids = rows.clone().filter_map(|row| row.external_id.as_deref());
        let accounts = rows.filter_map(|row| Some(row.account.as_ref()?.id.as_str()));
        // What somebody else connects between the two is known, and not in the way.
        let connected = connected(change, connector, &clients, accounts).await?;
        let known = known(change, viewer, external_ids).await?;
        Ok(Self { known, connected, clients: there(change, clients).await? })
    }

    fn judge(&self, new: &NewConnection) -> Verdict {
        match new.external_id.as_ref().and_then(|id| self.known.get(id)) {
            Some((known, true)) => return Verdict::IsKnown(Box::new(known.clone())),
            Some((hidden, false)) => return Verdict::Falls(vec![external_id_taken(hidden.id)]),
            None => {}
        }
        let not_found = |field: &str, message: &str| UserError::new(UserErrorCode::NotFound, message).at([field]);
        let mut flaws = Vec::new();
        if new.account.is_none() {
            flaws.push(not_found("accountId", "This authorization gives access to no such account."));
        }
        if new.client.is_some_and(|client| !self.clients.contains(&client)) {
            flaws.push(not_found("clientId", "There is nothing with this id."));
        }
        let place = new.account.as_ref().map(|account| (new.client, account.id.clone()));
        flaws.extend(place.and_then(|place| self.connected.get(&place)).map(|other| connected_already(*other)));
        if flaws.is_empty() { Verdict::Stands(new.clone()) } else { Verdict::Falls(flaws) }
    }

    fn add(&mut self, row: &connection::Model) {
        self.connected.insert((row.client_id, row.account_key.clone()), row.id);
        if let Some(external_id) = &row.external_id {
            self.known.insert(external_id.clone(), (row.clone(), true));
        }
    }
}

/// Those of `clients` that the workspace has; they stay until the transaction ends.
async fn there(change: &Change<'_>, clients: Vec<Uuid>) -> Result<HashSet<Uuid>> {
    let these = clients_of(change.workspace).filter(client::Column::Id.is_in(clients));
    // In one order, since others who hold several wait for each other.
    let rows = these.order_by_asc(client::Column::Id).lock_shared().all(&change.txn).await?;
    Ok(rows.into_iter().map(|client| client.id).collect())
}

/// What has one of these external ids, and whether the viewer sees it.
async fn known(
    change: &Change<'_>,
    viewer: &Viewer,
    external_ids: impl Iterator<Item = &str>,
) -> Result<HashMap<String, (connection::Model, bool)>> {
    let holders = conflicts::live(change.workspace).filter(connection::Column::ExternalId.is_in(external_ids));
    let holders = holders.all(&change.txn).await?;
    let seen = visibility::live_connections(viewer)
        .filter(connection::Column::Id.is_in(holders.iter().map(|row| row.id)))
        .select_only()
        .column(connection::Column::Id);
    let seen: HashSet<Uuid> = seen.into_tuple().all(&change.txn).await?.into_iter().collect();
    let known = holders.into_iter().filter_map(|row| {
        let visible = seen.contains(&row.id);
        row.external_id.clone().map(|external_id| (external_id, (row, visible)))
    });
    Ok(known.collect())
}

/// What is connected of these accounts for these clients, and for the workspace itself.
async fn connected(
    change: &Change<'_>,
    connector: &Connector,
    clients: &[Uuid],
    accounts: impl Iterator<Item = &str>,
) -> Result<HashMap<(Option<Uuid>, String), Uuid>> {
    use connection::Column::{AccountKey, ClientId, Connector as Slug, Id};
    let of_clients = ClientId.is_in(clients.iter().copied());
    let rows: Vec<(Option<Uuid>, String, Uuid)> = conflicts::live(change.workspace)
        .filter(Slug.eq(&connector.slug))
        .filter(AccountKey.is_in(accounts))
        .filter(Condition::any().add(of_clients).add(ClientId.is_null()))
        .select_only()
        .columns([ClientId, AccountKey, Id])
        .into_tuple()
        .all(&change.txn)
        .await?;
    Ok(rows.into_iter().map(|(client, account, id)| ((client, account), id)).collect())
}

/// The error with its path from the whole input.
fn in_row(place: usize, flaw: UserError) -> UserError {
    let row = ["accounts".to_owned(), place.to_string()];
    let path: Vec<String> = row.into_iter().chain(flaw.field.clone().unwrap_or_default()).collect();
    flaw.at(path)
}
