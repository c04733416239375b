//! Authorizations as people see them: lists, the clients they feed, and the accounts they give access to.
//!
//! Accounts are read live: nothing here keeps what a provider says, and one that does not answer is no error.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use entity::{Status, authorization, client, connection};
use sea_orm::{
    ColumnTrait, EntityTrait, Order as Direction, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    Select,
    sea_query::{Expr, ExprTrait as _, Query, SelectStatement},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Connections,
    filter::{few, has_status, slugs},
    list::BATCH,
    visibility,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Error, Result},
    pages::{self, Key, Order, Page, PageArgs, fold},
    provider::{Account, Credential},
};

/// How many connections are listed of one account.
const MOST_READERS: u32 = 100;

/// How long somebody waits at most until a provider may be asked for accounts.
const WAITED_FOR: Duration = Duration::from_secs(5);

/// Which authorizations: see [`super::ConnectionFilter`] for how conditions are joined.
#[derive(Debug, Clone, Default)]
pub struct AuthorizationFilter {
    /// Slugs.
    pub connector: Option<Vec<String>>,
    pub status: Option<Vec<Status>>,
}

/// An account that an authorization gives access to.
#[derive(Debug, Clone)]
pub struct AvailableAccount {
    pub account: Account,
    /// What reads it already, as far as the viewer may see: the first 100 by id.
    pub connections: Vec<connection::Model>,
}

/// All the accounts that a credential opens, as its provider says.
#[derive(Debug)]
pub struct OpenedAccounts {
    connector: Arc<Connector>,
    pub(super) accounts: Vec<Account>,
}

/// A part of the accounts that an authorization gives access to.
#[derive(Debug, Clone)]
pub struct AvailableAccounts {
    pub page: Page<AvailableAccount>,
    /// How many there are in all.
    pub total: u64,
}

impl Connections {
    /// A part of the authorizations that the viewer may see, by id; not the removed ones.
    pub async fn authorizations(
        &self,
        viewer: &Viewer,
        filter: &AuthorizationFilter,
        args: &PageArgs,
    ) -> Result<Page<authorization::Model>> {
        let keys = |row: &authorization::Model| vec![Key::Id(row.id)];
        let by_id = Order::by("authorizations", authorization::Column::Id, Direction::Asc, keys);
        pages::read(self.db.reader(), picked(viewer, filter)?, args, by_id, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count_authorizations(&self, viewer: &Viewer, filter: &AuthorizationFilter) -> Result<u64> {
        Ok(picked(viewer, filter)?.count(self.db.reader()).await?)
    }

    /// The authorization `id`, also once it was removed.
    pub async fn authorization(&self, viewer: &Viewer, id: Uuid) -> Result<Option<authorization::Model>> {
        let one = visibility::authorizations_of_history(viewer).filter(authorization::Column::Id.eq(id));
        Ok(one.one(self.db.reader()).await?)
    }

    /// Those of `ids` that the viewer may see, removed ones too.
    pub async fn authorizations_by_ids(
        &self,
        viewer: &Viewer,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, authorization::Model>> {
        let mut found = HashMap::with_capacity(ids.len());
        for part in ids.chunks(BATCH) {
            let these = visibility::authorizations_of_history(viewer)
                .filter(authorization::Column::Id.is_in(part.iter().copied()));
            found.extend(these.all(self.db.reader()).await?.into_iter().map(|row| (row.id, row)));
        }
        Ok(found)
    }

    /// A part of the clients that an authorization feeds through connections the viewer may see, by id.
    pub async fn clients_of(
        &self,
        viewer: &Viewer,
        authorization: Uuid,
        args: &PageArgs,
    ) -> Result<Page<client::Model>> {
        let keys = |row: &client::Model| vec![Key::Id(row.id)];
        let by_id = Order::by("clients of an authorization", client::Column::Id, Direction::Asc, keys);
        pages::read(self.db.reader(), fed(viewer, authorization), args, by_id, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count_clients_of(&self, viewer: &Viewer, authorization: Uuid) -> Result<u64> {
        Ok(fed(viewer, authorization).count(self.db.reader()).await?)
    }

    /// The accounts that an authorization gives access to, asked of the provider now. None when it does not answer, and
    /// to whoever may not use the authorization.
    ///
    /// # Errors
    /// `Unavailable` where the provider is asked so much that this would wait for long.
    pub async fn accounts_of_authorization(
        &self,
        viewer: &Viewer,
        authorization: Uuid,
    ) -> Result<Option<Arc<OpenedAccounts>>> {
        let row = self.authorization(viewer, authorization).await?;
        let usable = |row: &authorization::Model| row.credential.is_some() && may_use(viewer, row);
        let Some(row) = row.filter(usable) else { return Ok(None) };
        let Some(connector) = self.connector_of(&row.connector) else { return Ok(None) };
        let credential = self.usable_credential(&row).await?;
        self.accounts_opened_by(connector, &credential, row.workspace_id).await
    }

    /// The accounts that a credential opens, asked of its provider at the connector's pace: people may wait for it, and a
    /// request may ask for many. None when it does not answer.
    pub(super) async fn accounts_opened_by(
        &self,
        connector: Arc<Connector>,
        credential: &Credential,
        workspace: Uuid,
    ) -> Result<Option<Arc<OpenedAccounts>>> {
        let Ok(Some(_turn)) = timeout(WAITED_FOR, self.provider.turn(&connector, workspace)).await else {
            return Err(Error::Unavailable);
        };
        match self.provider.accounts(&connector, credential).await {
            Ok(accounts) => Ok(Some(Arc::new(OpenedAccounts { connector, accounts }))),
            Err(failure) => {
                tracing::debug!(connector = %connector.slug, ?failure, "the accounts could not be read");
                Ok(None)
            }
        }
    }

    /// A part of these accounts, by name, with what reads them already.
    pub async fn accounts_page(
        &self,
        viewer: &Viewer,
        opened: &OpenedAccounts,
        search: Option<&str>,
        first: Option<i32>,
        after: Option<&str>,
    ) -> Result<AvailableAccounts> {
        let args = PageArgs { first, after: after.map(str::to_owned), ..PageArgs::default() };
        let found = by_name(&opened.accounts, search);
        let total = found.len() as u64;
        let page = pages::slice(found, |(key, _)| key, &args, "available accounts", viewer.cursor_key())?;
        let ids = page.items().map(|(_, account)| account.id.clone()).collect();
        let mut readers = self.readers(viewer, &opened.connector, ids).await?;
        let page = page.map(|(_, account)| {
            let connections = readers.remove(&account.id).unwrap_or_default();
            AvailableAccount { account, connections }
        });
        Ok(AvailableAccounts { page, total })
    }

    /// The connections that the viewer may see of each of these accounts at a provider.
    async fn readers(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        accounts: Vec<String>,
    ) -> Result<HashMap<String, Vec<connection::Model>>> {
        let mut readers: HashMap<String, Vec<connection::Model>> = HashMap::new();
        if accounts.is_empty() {
            return Ok(readers);
        }
        let reading = visibility::live_connections(viewer)
            .filter(connection::Column::Connector.eq(connector.slug.as_str()))
            .filter(connection::Column::AccountId.is_in(accounts));
        let rows = connection::Entity::find()
            .filter(connection::Column::Id.in_subquery(first_of_each_account(reading)))
            .order_by_asc(connection::Column::Id)
            .all(self.db.reader())
            .await?;
        for row in rows {
            if let Some(account) = &row.account_id {
                readers.entry(account.clone()).or_default().push(row);
            }
        }
        Ok(readers)
    }
}

/// The ids of the first connections of each account, by id.
fn first_of_each_account(connections: Select<connection::Entity>) -> SelectStatement {
    let place = Expr::cust("ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY id)");
    let placed = connections.select_only().column(connection::Column::Id).expr_as(place, "place").into_query();
    Query::select()
        .column(connection::Column::Id)
        .from_subquery(placed, "placed")
        .and_where(Expr::col("place").lte(MOST_READERS))
        .to_owned()
}

fn picked(viewer: &Viewer, filter: &AuthorizationFilter) -> Result<Select<authorization::Entity>> {
    few(&filter.connector)?;
    let mut picked = visibility::authorizations(viewer).filter(authorization::Column::RemovedAt.is_null());
    if let Some(wanted) = &filter.connector {
        picked = picked.filter(authorization::Column::Connector.is_in(slugs(wanted)));
    }
    if let Some(wanted) = &filter.status {
        picked = picked.filter(has_status(authorization::Column::Status, wanted));
    }
    Ok(picked)
}

fn fed(viewer: &Viewer, authorization: Uuid) -> Select<client::Entity> {
    let through = visibility::live_connections(viewer).filter(connection::Column::AuthorizationId.eq(authorization));
    client::Entity::find()
        .filter(client::Column::WorkspaceId.eq(viewer.workspace()))
        .filter(client::Column::Id.in_subquery(visibility::column(through, connection::Column::ClientId)))
}

/// Whether the viewer may use an authorization for more: list what it gives access to, connect it, point a connection at
/// another of its accounts. A share of a connection behind it gives no such right.
pub(super) fn may_use(viewer: &Viewer, row: &authorization::Model) -> bool {
    viewer.may_on(Action::UseAuthorization, row.created_by, None, &[])
}

/// The accounts in whose name or id `search` stands, each behind what sorts it: its folded name, then its id.
fn by_name(accounts: &[Account], search: Option<&str>) -> Vec<(String, Account)> {
    let term = search.map(fold).unwrap_or_default();
    let found = |account: &Account| fold(&account.name).contains(&term) || fold(&account.id).contains(&term);
    let keyed = |account: &Account| (format!("{}\0{}", fold(&account.name), account.id), account.clone());
    let mut accounts: Vec<_> = accounts.iter().filter(|account| found(account)).map(keyed).collect();
    accounts.sort_by(|one, other| one.0.cmp(&other.0));
    let mut seen = HashSet::new();
    accounts.retain(|(_, account)| seen.insert(account.id.clone()));
    accounts
}
