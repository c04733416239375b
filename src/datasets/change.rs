//! What people ask of datasets: create, edit, refresh, remove.

use std::{sync::Arc, time::Duration};

use entity::{DataMode, DatasetStatus, connection, dataset};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect, SqlErr};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Datasets,
    list::visible,
    query::{self, GivenQuery, query_of},
    refresh::{self, connection_of, entry},
    snapshots,
};
use crate::{
    access::{Action, Actor, Viewer},
    catalogue::Connector,
    connections::{Ask, Unread},
    db::Transaction,
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    ids,
    journal::Facts,
    pages::fold,
    patch::Patch,
    people::names,
    provider::Haste,
};

/// How often a dataset may be refreshed at most and at least, in minutes: each minute, every 31 days.
const EVERY_MINUTES: std::ops::RangeInclusive<i32> = 1..=44_640;
/// How long whoever asks for a refresh waits for it; it goes on without them.
const PATIENCE: Duration = Duration::from_secs(25);

/// A dataset that is to be.
#[derive(Debug, Clone)]
pub struct CreateDataset {
    pub connection: Uuid,
    pub name: String,
    pub external_id: Option<String>,
    pub query: GivenQuery,
    pub refresh_every_minutes: Option<i32>,
}

/// What to change of a dataset.
#[derive(Debug, Clone)]
pub struct UpdateDataset {
    pub dataset: Uuid,
    pub name: Patch<String>,
    pub connection: Patch<Uuid>,
    pub query: Patch<GivenQuery>,
    pub refresh_every_minutes: Patch<i32>,
}

impl Datasets {
    /// Makes a dataset, once its query was answered.
    pub async fn create(&self, viewer: &Viewer, input: CreateDataset) -> Result<dataset::Model> {
        viewer.may(Action::Tend)?;
        let through = self.connections.tended(viewer, input.connection, Action::Tend).await?;
        let external_id = input.external_id.as_deref().map(|id| names::external_id("externalId", id)).transpose();
        let (name, external_id) = names::both(names::name("name", &input.name), external_id)?;
        let refresh_every_minutes = input.refresh_every_minutes.map(schedule).transpose()?;
        let query = query::accept(self.connector_of(&through)?, input.query)?;
        if let Some(id) = &external_id {
            self.require_free(viewer, id).await?;
        }
        let mode = self.connections.mode(&through.connector);
        let limits = super::limits(mode);
        let ask = Ask { dataset: None, query: query.clone(), limits, haste: Haste::AtOnce, proven: false };
        let place = self.places.take(viewer.workspace(), through.id, ask.haste).await?;
        let rows = self.connections.read(through.id, ask).await?.map_err(|unread| refusal(unread, "connectionId"))?;
        drop(place);
        let now = self.clock.now();
        let id = ids::new(now, &*self.entropy);
        let rows = Arc::new(rows);
        let ready = self.prepare(id, mode, Arc::clone(&rows)).await?;
        // Reading may have taken long.
        let through = self.connections.tended(viewer, through.id, Action::Tend).await?;
        let row = dataset::Model {
            id,
            workspace_id: viewer.workspace(),
            connection_id: through.id,
            name_key: fold(&name),
            name,
            external_id,
            query: query::to_json(&query),
            version: 1,
            refresh_every_minutes,
            refresh_at: None,
            status: DatasetStatus::NeverRefreshed,
            error: None,
            needs_reconnect: false,
            failed_at: None,
            failures: 0,
            proven: false,
            columns: json!([]),
            row_count: 0,
            snapshot_id: None,
            last_refreshed_at: None,
            claimed_by: None,
            claimed_until: None,
            created_by: viewer.user(),
            created_at: now,
        };
        let txn = self.db.begin().await?;
        if let Err(error) = dataset::ActiveModel::from(row.clone()).insert(&txn).await {
            drop(txn);
            return Err(self.in_the_way(viewer, error, row.external_id.as_deref()).await);
        }
        let row = self.refreshed(&txn, &row, &ready, now).await?;
        row.clone().into_active_model().reset_all().update(&txn).await?;
        let entry = entry(&txn, &row, "dataset.created", viewer.actor(), details(&row)).await?;
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        if mode == DataMode::DirectQuery {
            self.keep_live(&row, rows).await;
        }
        Ok(row)
    }

    /// Changes a dataset, and refreshes it, whatever was changed.
    pub async fn update(&self, viewer: &Viewer, input: UpdateDataset) -> Result<dataset::Model> {
        viewer.may(Action::Tend)?;
        let (row, before) = self.tended(viewer, input.dataset).await?;
        let name = input.name.or_keep("name")?.map(|name| names::name("name", &name)).transpose()?;
        let every_minutes = input.refresh_every_minutes.checked(schedule)?;
        let through = match input.connection.or_keep("connectionId")? {
            Some(other) => self.connections.tended(viewer, other, Action::Tend).await?,
            None => before,
        };
        let query = match input.query.or_keep("query")? {
            Some(given) => query::accept(self.connector_of(&through)?, given)?,
            None => query_of(&row)?,
        };
        if through.id != row.connection_id {
            // One that stays as it is has to fit the other source.
            query::check(self.connector_of(&through)?, &query)?;
        }
        let txn = self.db.begin().await?;
        let held = dataset::Entity::find_by_id(row.id).lock_exclusive().one(&txn).await?;
        let mut held = held.filter(|held| held.version == row.version).ok_or_else(meanwhile)?;
        let asks_anew = through.id != held.connection_id || query::to_json(&query) != held.query;
        if let Some(name) = name {
            (held.name_key, held.name) = (fold(&name), name);
        }
        held.refresh_every_minutes = every_minutes.after(held.refresh_every_minutes);
        if through.id != held.connection_id {
            // Whoever sees the other may not see these rows.
            self.forget_rows(&txn, &mut held).await?;
        }
        (held.connection_id, held.query) = (through.id, query::to_json(&query));
        held.proven &= !asks_anew;
        held.needs_reconnect &= !asks_anew;
        held.version += 1;
        held.refresh_at = through.removed_at.is_none().then(|| self.clock.now());
        held.clone().into_active_model().reset_all().update(&txn).await?;
        let mut entry = entry(&txn, &held, "dataset.updated", viewer.actor(), details(&held)).await?;
        if let Facts::Dataset(fact) = &mut entry.facts
            && row.connection_id != held.connection_id
        {
            fact.before = Some(refresh::through(&txn, row.connection_id).await?);
        }
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        if through.removed_at.is_some() { Ok(held) } else { Ok(self.refresh_now(viewer, held.id).await?.0) }
    }

    /// Refreshes a dataset. When that takes long it goes on, and the dataset comes back as it is meanwhile.
    pub async fn refresh(&self, viewer: &Viewer, id: Uuid) -> Result<dataset::Model> {
        viewer.may(Action::Tend)?;
        let (row, through) = self.tended(viewer, id).await?;
        if through.removed_at.is_some() {
            let message = "Its data source was removed. Connect the same account again for the same client.";
            return Err(UserError::new(UserErrorCode::Conflict, message).at(["datasetId"]).into());
        }
        match self.refresh_now(viewer, row.id).await? {
            (row, None) => Ok(row),
            (_, Some(unread)) => Err(refusal(unread, "datasetId")),
        }
    }

    /// The dataset after its refresh, or as it is meanwhile; and why nothing came of it that it would show.
    async fn refresh_now(&self, viewer: &Viewer, id: Uuid) -> Result<(dataset::Model, Option<Unread>)> {
        let (all, actor) = (self.clone(), viewer.actor());
        // An effect of its own: the client may hang up.
        let refreshing = self.tasks.spawn("dataset refresh", async move { all.refresh_as(id, actor).await });
        let unread = match tokio::time::timeout(PATIENCE, refreshing).await {
            Ok(done) => done??,
            Err(_) => None,
        };
        let row = visible(viewer).filter(dataset::Column::Id.eq(id)).one(self.db.reader()).await?;
        Ok((row.ok_or_else(|| Error::not_found("datasetId"))?, unread))
    }

    /// Refreshes a dataset, unless somebody else is at it.
    async fn refresh_as(&self, id: Uuid, actor: Actor) -> Result<Option<Unread>> {
        let Some(claim) = self.claim(id).await? else {
            // Somebody else is at it, or holds the row for a moment: then the job does it.
            self.put_due(self.db.writer(), id).await?;
            return Ok(None);
        };
        let refreshed = async {
            match dataset::Entity::find_by_id(id).one(self.db.reader()).await? {
                Some(row) => self.refresh_claimed(&claim, &row, actor, Haste::AtOnce).await,
                None => Ok(None),
            }
        };
        self.under(&claim, refreshed).await
    }

    /// Empties a dataset that reads from elsewhere from now on.
    async fn forget_rows(&self, txn: &Transaction, held: &mut dataset::Model) -> Result<()> {
        snapshots::forget(txn, held.id).await?;
        self.forget_values(txn, held.id).await?;
        held.status = DatasetStatus::NeverRefreshed;
        (held.error, held.failed_at, held.last_refreshed_at) = (None, None, None);
        (held.snapshot_id, held.columns, held.row_count) = (None, json!([]), 0);
        Ok(())
    }

    /// Removes a dataset with its rows and metrics.
    pub async fn remove(&self, viewer: &Viewer, id: Uuid) -> Result<Uuid> {
        viewer.may(Action::Tend)?;
        let (row, _) = self.tended(viewer, id).await?;
        let txn = self.db.begin().await?;
        let entry = entry(&txn, &row, "dataset.removed", viewer.actor(), details(&row)).await?;
        // Its snapshots and metrics go with it.
        let removed = dataset::Entity::delete_by_id(row.id).exec(&txn).await?;
        if removed.rows_affected == 0 {
            return Err(Error::not_found("datasetId"));
        }
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        Ok(row.id)
    }

    /// A dataset that the viewer may change, with what it reads through: NOT_FOUND where they do not see it, FORBIDDEN
    /// where they only do that.
    pub(super) async fn tended(&self, viewer: &Viewer, id: Uuid) -> Result<(dataset::Model, connection::Model)> {
        let row = visible(viewer).filter(dataset::Column::Id.eq(id)).one(self.db.reader()).await?;
        let row = row.ok_or_else(|| Error::not_found("datasetId"))?;
        let through = connection_of(self.db.reader(), row.connection_id).await?;
        let shares = self.connections.shares_of(&[through.id]).await?.remove(&through.id).unwrap_or_default();
        if viewer.may_on(Action::Tend, through.created_by, through.client_id, &shares) {
            Ok((row, through))
        } else {
            Err(Error::Forbidden)
        }
    }

    fn connector_of(&self, through: &connection::Model) -> Result<&Connector> {
        let gone = || UserError::new(UserErrorCode::NotConfigured, "This connector is no longer in the catalogue.");
        Ok(self.catalogue.get(&through.connector).ok_or_else(gone)?)
    }

    async fn require_free(&self, viewer: &Viewer, external_id: &str) -> Result<()> {
        match self.by_external_id(viewer.workspace(), external_id).await? {
            Some(other) => Err(taken(other).into()),
            None => Ok(()),
        }
    }

    async fn by_external_id(&self, workspace: Uuid, external_id: &str) -> Result<Option<Uuid>> {
        let holder = dataset::Entity::find()
            .filter(dataset::Column::WorkspaceId.eq(workspace))
            .filter(dataset::Column::ExternalId.eq(external_id))
            .one(self.db.reader())
            .await?;
        Ok(holder.map(|row| row.id))
    }

    /// Why an insert failed: somebody else took the external id at this moment, or something that must not be.
    async fn in_the_way(&self, viewer: &Viewer, error: sea_orm::DbErr, external_id: Option<&str>) -> Error {
        let unique = matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)));
        match external_id.filter(|_| unique) {
            Some(id) => match self.by_external_id(viewer.workspace(), id).await {
                Ok(Some(other)) => taken(other).into(),
                Ok(None) | Err(_) => meanwhile(),
            },
            None => error.into(),
        }
    }
}

fn schedule(every_minutes: i32) -> Result<i32> {
    if EVERY_MINUTES.contains(&every_minutes) {
        return Ok(every_minutes);
    }
    Err(Error::invalid("refreshEveryMinutes", "A dataset is refreshed every 1 to 44,640 minutes (31 days)."))
}

/// What the audit log tells.
fn details(row: &dataset::Model) -> Value {
    json!({ "name": row.name, "refreshEveryMinutes": row.refresh_every_minutes })
}

/// Why there are no rows, for whoever waits for them; the input `about` says through what, or of what.
fn refusal(unread: Unread, about: &'static str) -> Error {
    let (code, field, message) = match unread {
        Unread::Disconnected { message, .. } => (UserErrorCode::Rejected, about, message),
        Unread::Denied(message) => (UserErrorCode::Rejected, "query", message),
        Unread::Quiet(_) => {
            let message = "Its source asks to be left alone for a while. Try again later.";
            (UserErrorCode::ProviderUnavailable, about, message.to_owned())
        }
        Unread::Failing { what, .. } => (UserErrorCode::ProviderUnavailable, about, what),
        Unread::Query(message) | Unread::TooMuch(message) => (UserErrorCode::Invalid, "query", message),
        Unread::NotConfigured(message) => (UserErrorCode::NotConfigured, about, message),
        Unread::Changed => return meanwhile(),
        Unread::Unasked => return Error::Unavailable,
    };
    UserError::new(code, message).at([field]).into()
}

fn taken(by: Uuid) -> UserError {
    let message = "Another dataset has this external id.";
    UserError::new(UserErrorCode::Conflict, message).at(["externalId"]).against(Conflict::Dataset(by))
}

/// Something else got there first.
fn meanwhile() -> Error {
    UserError::new(UserErrorCode::Conflict, "This was changed by someone else at the same moment. Look again.").into()
}
