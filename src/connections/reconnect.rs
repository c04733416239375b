//! Getting it to work again: in the browser, with new credentials, or by moving to an authorization that works.

use std::collections::BTreeMap;

use entity::{AccountChange, AttemptKind, attempt, authorization, connection, link};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{
    Connections,
    attempts::{KEPT, NewAttempt, OfLink},
    callback::refused,
    connect::bad_field,
    credentials::{Fresh, key_of_fields},
    judged::Judged,
    lifecycle::{Change, Healed},
    plan::Plan,
    regaining::Regaining,
    settle::{meanwhile, mismatch},
    visibility,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    provider::Account,
};

/// What to reconnect, and how.
#[derive(Clone)]
pub struct Reconnect {
    pub connection: Uuid,
    /// Pairs of name and value.
    pub credentials: Option<Vec<(String, String)>>,
    pub authorization: Option<Uuid>,
    pub account_change: AccountChange,
    pub return_url: Option<String>,
}

/// Credentials that were tried, and what they are to take the place of.
pub(super) struct Replacing<'a> {
    pub(super) viewer: &'a Viewer,
    pub(super) connector: &'a Connector,
    /// As it was when that was asked for, like its authorization before it.
    pub(super) row: &'a connection::Model,
    pub(super) before: &'a authorization::Model,
    pub(super) fresh: &'a Fresh,
    /// What it is done by, where that is a link.
    pub(super) link: Option<&'a link::Model>,
}

/// What reconnecting came to.
#[derive(Debug, Clone)]
pub enum Reconnected {
    /// Someone has to finish it in a browser.
    Attempt(attempt::Model),
    Done {
        /// The first 100 by id.
        connections: Vec<connection::Model>,
        authorization: authorization::Model,
        /// The one that ended.
        disconnection: Option<Uuid>,
    },
}

impl Connections {
    /// Reconnects a connection, and with it all that share its authorization.
    pub async fn reconnect(&self, viewer: &Viewer, input: Reconnect) -> Result<Reconnected> {
        viewer.may(Action::Tend)?;
        let row = self.tended(viewer, input.connection, Action::Tend).await?;
        let missing = || UserError::new(UserErrorCode::NotConfigured, "This connector is no longer in the catalogue.");
        let connector = self.connector_of(&row.connector).ok_or_else(missing)?;
        let invalid = |field, message| Err(Error::invalid(field, message));
        match (connector.is_oauth(), input.credentials, input.authorization) {
            (_, Some(_), Some(_)) => invalid("authorizationId", "Send credentials or an authorization, not both."),
            (true, Some(_), None) => invalid("credentials", "This data source is reconnected by signing in."),
            (false, None, None) => invalid("credentials", "This data source needs its new credentials."),
            (false, None, Some(_)) => invalid("authorizationId", "This data source has no shared authorizations."),
            (true, None, None) => {
                self.reconnect_in_browser(viewer, &connector, &row, input.account_change, input.return_url, None).await
            }
            (true, None, Some(id)) => self.reconnect_through(viewer, &connector, &row, id).await,
            (false, Some(fields), None) => {
                self.reconnect_with(viewer, &connector, &row, &fields, input.account_change).await
            }
        }
    }

    pub(super) async fn reconnect_in_browser(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        row: &connection::Model,
        change: AccountChange,
        return_url: Option<String>,
        link: Option<OfLink<'_>>,
    ) -> Result<Reconnected> {
        let return_url = self.checked_return_url(return_url, &["returnUrl"])?;
        let authorization = self.authorization_of(row).await?;
        // Without fields there is nothing to read of the old credential, which may be damaged: signing in mends it.
        let fields = if connector.fields.is_empty() { BTreeMap::new() } else { self.open(&authorization)?.fields };
        let expected = authorization
            .account_id
            .map(|id| Account { name: authorization.account_name.unwrap_or_else(|| id.clone()), id });
        let plan = Plan { account_change: Some(change.as_str().to_owned()), return_url, ..Plan::default() };
        let kind = AttemptKind::Reconnect;
        let attempt = NewAttempt { kind, connector, plan, connection: Some(row.id), expected, fields, link };
        Ok(Reconnected::Attempt(self.start(viewer, attempt).await?))
    }

    /// Moves the connection to an authorization that works already.
    async fn reconnect_through(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        row: &connection::Model,
        onto: Uuid,
    ) -> Result<Reconnected> {
        let target = self.usable_authorization(viewer, connector, onto, &["authorizationId"]).await?;
        let judged = Judged::from(&target);
        if onto == row.authorization_id {
            return Err(Error::invalid("authorizationId", "The connection has this authorization already."));
        }
        self.require_reach(connector, &target, row).await?;
        let mut change = Change::begin(self, viewer).await?;
        let (mut these, mut others): (Vec<_>, Vec<_>) = change
            .hold(&[row.authorization_id, onto])
            .await?
            .into_iter()
            .filter(|held| !held.is_removed())
            .partition(|held| held.id() == row.authorization_id);
        let (mut from, mut onto) = (these.pop().ok_or_else(meanwhile)?, others.pop().ok_or_else(meanwhile)?);
        let member = &from.members[from.place_of(row.id, viewer, Action::Tend)?];
        onto.require_as_judged(&judged)?;
        onto.require_usable(viewer)?;
        // The account that the authorization was found to reach.
        if !member.is_of(row.account_id.as_deref()) || onto.authorization.status == entity::Status::Disconnected {
            return Err(meanwhile());
        }
        let disconnection = from.disconnection.as_ref().map(|open| open.id);
        change.transfer(&mut from, &mut onto, &[row.id], viewer).await?;
        let authorization = onto.authorization.clone();
        change.commit().await?;
        let connections = self.rows(&[row.id]).await?;
        Ok(Reconnected::Done { connections, authorization, disconnection })
    }

    async fn require_reach(
        &self,
        connector: &Connector,
        target: &authorization::Model,
        row: &connection::Model,
    ) -> Result<()> {
        let (Some(_), Some(account)) = (&connector.accounts, &row.account_id) else { return Ok(()) };
        let credential = self.usable_credential(target).await?;
        let accounts = self.provider.accounts(connector, &credential).await.map_err(|failure| refused(&failure))?;
        if accounts.iter().any(|one| one.id == *account) {
            return Ok(());
        }
        let message = "This authorization does not reach the connection's account.";
        Err(UserError::new(UserErrorCode::Conflict, message)
            .at(["authorizationId"])
            .against(Conflict::Authorization(target.id))
            .into())
    }

    /// Replaces the key or password in place, once it has been tried.
    async fn reconnect_with(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        row: &connection::Model,
        fields: &[(String, String)],
        change: AccountChange,
    ) -> Result<Reconnected> {
        connector.check_fields(fields).map_err(|problem| bad_field(&problem, &["credentials"]))?;
        let before = self.authorization_of(row).await?;
        let fresh = self.try_credentials(connector, fields, &["credentials"]).await?;
        let replacing = Replacing { viewer, connector, row, before: &before, fresh: &fresh, link: None };
        let another = if meant(change) { Ok(()) } else { Err(mismatch().at(["credentials"])) };
        let disconnection = self.replace(replacing, another).await?;
        let authorization = self.authorization_of(row).await?;
        let connections = self.rows(&[row.id]).await?;
        Ok(Reconnected::Done { connections, authorization, disconnection })
    }

    /// Stores credentials that were tried in place of what the connection had; the disconnection that ended with it. Where
    /// they open another account than before, that has to be meant (`another`), and to be another than it was meant of.
    pub(super) async fn replace(
        &self,
        it: Replacing<'_>,
        another: std::result::Result<(), UserError>,
    ) -> Result<Option<Uuid>> {
        let Replacing { viewer, connector, row, before, fresh, link } = it;
        let locked = Change::of_connection(self, viewer, row.id).await?;
        let (mut work, mut held) = locked.ok_or_else(|| Error::not_found("connectionId"))?;
        let place = held.place_of(row.id, viewer, Action::Tend)?;
        let member = &held.members[place].row;
        if !means_same(connector, member, &held.authorization, fresh) {
            another?;
            if held.authorization.account_id != before.account_id || member.account_key != row.account_key {
                return Err(meanwhile());
            }
        }
        let disconnection = held.disconnection.as_ref().map(|open| open.id);
        let own = held.members[place].own.as_ref().map(|own| own.id);
        if let Some(link) = link {
            work.use_up(link, connector, row.id).await?;
        }
        let healed = if link.is_some() { Healed::ByLink(viewer) } else { Healed::By(viewer) };
        work.store(&mut held, connector, fresh, healed.signed_in()).await?;
        work.rekey_to(&mut held, row.id, key_of_fields(connector, &fresh.credential.fields)).await?;
        work.heal(&mut held, healed).await?;
        let mut regained = Vec::new();
        let regaining = Regaining::of(&held, connector, &fresh.credential, viewer, healed);
        if connector.probe.asks_of(held.members[place].row.account_id.as_deref()).is_some() {
            work.put_off_lost(&regaining).await?;
            work.commit().await?;
            regained = self.regain_lost(regaining, None).await;
        } else {
            // What was tried speaks for the connection.
            regained.push(row.id);
            work.regain(&mut held, &regained, healed).await?;
            work.commit().await?;
        }
        Ok(disconnection.or(own.filter(|_| regained.contains(&row.id))))
    }

    /// A live connection that the viewer may do `action` to: NOT_FOUND where they do not see it, FORBIDDEN where they
    /// only do that.
    pub async fn tended(&self, viewer: &Viewer, id: Uuid, action: Action) -> Result<connection::Model> {
        let row =
            visibility::live_connections(viewer).filter(connection::Column::Id.eq(id)).one(self.db.reader()).await?;
        let row = row.ok_or_else(|| Error::not_found("connectionId"))?;
        if self.permits(viewer, &row, action).await? { Ok(row) } else { Err(Error::Forbidden) }
    }

    /// The live connection, if the viewer may reconnect it still.
    pub(super) async fn reconnectable_row(&self, viewer: &Viewer, id: Uuid) -> Result<Option<connection::Model>> {
        match self.tended(viewer, id, Action::Tend).await {
            Ok(row) => Ok(Some(row)),
            Err(Error::Rejected(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn permits(&self, viewer: &Viewer, row: &connection::Model, action: Action) -> Result<bool> {
        let shares: Vec<Uuid> = entity::connection_share::Entity::find()
            .select_only()
            .column(entity::connection_share::Column::UserId)
            .filter(entity::connection_share::Column::ConnectionId.eq(row.id))
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(viewer.may_on(action, row.created_by, row.client_id, &shares))
    }

    pub(super) async fn authorization_of(&self, row: &connection::Model) -> Result<authorization::Model> {
        let found = authorization::Entity::find_by_id(row.authorization_id).one(self.db.reader()).await?;
        found.ok_or_else(|| Error::internal("a connection without an authorization"))
    }

    /// Connections by their ids, the first 100.
    async fn rows(&self, ids: &[Uuid]) -> Result<Vec<connection::Model>> {
        Ok(connection::Entity::find()
            .filter(connection::Column::Id.is_in(ids.iter().copied()))
            .order_by_asc(connection::Column::Id)
            .limit(KEPT as u64)
            .all(self.db.reader())
            .await?)
    }

    /// Of the connections that share the attempt's authorization: those that still do not work, and that the viewer may
    /// see; the first 100.
    pub async fn still_disconnected(
        &self,
        viewer: &Viewer,
        attempt: &attempt::Model,
    ) -> Result<Vec<connection::Model>> {
        let (Some(id), entity::AttemptStatus::Succeeded) = (attempt.connection_id, attempt.status) else {
            return Ok(Vec::new());
        };
        let Some(row) = connection::Entity::find_by_id(id).one(self.db.reader()).await? else { return Ok(Vec::new()) };
        Ok(visibility::live_connections(viewer)
            .filter(connection::Column::AuthorizationId.eq(row.authorization_id))
            .filter(connection::Column::LostAccess.eq(true))
            .order_by_asc(connection::Column::Id)
            .limit(KEPT as u64)
            .all(self.db.reader())
            .await?)
    }
}

/// Whether the credentials open the same account as before.
fn means_same(connector: &Connector, row: &connection::Model, before: &authorization::Model, fresh: &Fresh) -> bool {
    match (&before.account_id, &fresh.account) {
        (Some(before), Some(now)) => *before == now.id,
        (None, Some(_)) | (Some(_), None) => true,
        (None, None) => {
            let now = key_of_fields(connector, &fresh.credential.fields);
            now.is_none_or(|now| now == row.account_key || !row.account_key.starts_with("fields:"))
        }
    }
}

/// Whether another account was said to be meant.
fn meant(change: AccountChange) -> bool {
    matches!(change, AccountChange::ThisConnection | AccountChange::WholeAuthorization)
}
