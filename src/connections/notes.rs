//! What an answer leaves noted on an authorization beside its status: that the provider fails, that it refuses this server,
//! that it wants to be left alone. Incidents are made of it ([`super::incidents`]), and due dates heed it ([`super::due`]).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Endpoint,
    authorization::{
        self,
        Column::{
            ClientAcceptedAt, ClientRefusedAt, ClientRefusedBy, FailingMessage, FailingSince, QuietUntil, Refusals,
            RefusedSince, TokenQuietUntil,
        },
    },
    connection, incident,
};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, SimpleExpr},
};

use super::{findings::FLAGGED_AT_MOST, held::Held, lifecycle::Change};
use crate::error::Result;

/// How often something has to have failed in a row before it counts for how long.
const SEVERAL: i32 = 3;

impl Change<'_> {
    /// The provider failed, as `what` says, in a way that says nothing about the authorization. Since when that lasts, where
    /// it lasts for longer than what is asked may go without being seen to work.
    pub(super) async fn note_failing(&self, row: &authorization::Model, what: &str) -> Result<Option<DateTime<Utc>>> {
        let mut notes = Vec::new();
        if row.failing_since.is_none() {
            notes.push((FailingSince, self.at()));
        }
        if row.failing_message.as_deref() != Some(what) {
            notes.push((FailingMessage, Expr::value(what)));
        }
        if !notes.is_empty() {
            self.note_on(row, notes).await?;
        }
        self.unverified_since(row, row.failing_since, row.failures).await
    }

    /// `failing_since`, where that is too long ago: what was asked several times since then and never seen to work, while
    /// no incident says that its provider fails for everyone.
    pub(super) async fn unverified_since(
        &self,
        row: &authorization::Model,
        failing_since: Option<DateTime<Utc>>,
        failures: i32,
    ) -> Result<Option<DateTime<Utc>>> {
        let after = TimeDelta::from_std(self.connections.settings.unverified_after).unwrap_or(TimeDelta::MAX);
        let too_long = failing_since.filter(|since| self.now - *since >= after && failures >= SEVERAL);
        let Some(since) = too_long else { return Ok(None) };
        let incident = incident::Entity::find()
            .filter(incident::Column::WorkspaceId.eq(row.workspace_id))
            .filter(incident::Column::Connector.eq(&row.connector))
            .filter(incident::Column::EndedAt.is_null())
            .one(&self.txn)
            .await?;
        Ok(Some(since).filter(|_| incident.is_none()))
    }

    /// The account of a connection failed, as `what` says, in a way that says nothing about it. Since when, where that is too
    /// long ago.
    pub(super) async fn note_account_failing(
        &self,
        held: &Held,
        row: &connection::Model,
        what: &str,
    ) -> Result<Option<DateTime<Utc>>> {
        connection::Entity::update_many()
            .col_expr(connection::Column::FailingSince, Expr::value(row.failing_since.unwrap_or(self.now)))
            .col_expr(connection::Column::FailingMessage, Expr::value(what))
            .filter(connection::Column::Id.eq(row.id))
            .exec(&self.txn)
            .await?;
        // An account is looked at rarely: what is known since then was asked often enough.
        self.unverified_since(&held.authorization, row.failing_since, SEVERAL).await
    }

    /// The account of a connection said something about itself.
    pub(super) async fn note_account_answered(&self, row: &connection::Model) -> Result<()> {
        if row.failing_since.is_none() {
            return Ok(());
        }
        connection::Entity::update_many()
            .col_expr(connection::Column::FailingSince, Expr::value(None::<DateTime<Utc>>))
            .col_expr(connection::Column::FailingMessage, Expr::value(None::<String>))
            .filter(connection::Column::Id.eq(row.id))
            .exec(&self.txn)
            .await?;
        Ok(())
    }

    /// The token endpoint refuses a renewal in words that nobody knows.
    pub(super) async fn note_refusal(&self, row: &authorization::Model) -> Result<()> {
        let mut notes = vec![(Refusals, Expr::value(row.refusals.saturating_add(1)))];
        if row.refused_since.is_none() {
            notes.push((RefusedSince, self.at()));
        }
        self.note_on(row, notes).await
    }

    /// That the token endpoint refuses this server's client is not believed of this grant.
    pub(super) async fn forget_client_refused(&self, row: &authorization::Model) -> Result<()> {
        if row.client_refused_by != Some(Endpoint::Token) {
            return Ok(());
        }
        self.note_on(row, [(ClientRefusedBy, Expr::value(None::<String>))]).await
    }

    /// `endpoint` refuses this server itself: it works, and says nothing about the authorization.
    pub(super) async fn note_client_refused(&self, row: &authorization::Model, endpoint: Endpoint) -> Result<()> {
        let mut notes = vec![(ClientRefusedAt, self.at()), (ClientRefusedBy, Expr::value(endpoint.as_str()))];
        if speaks_for_api(row, endpoint) {
            notes.extend(no_failure());
        }
        self.note_on(row, notes).await
    }

    /// `endpoint` said something about the authorization: neither does it fail, nor does it refuse this server.
    pub(super) async fn note_answered(&self, row: &authorization::Model, endpoint: Endpoint) -> Result<()> {
        let mut notes = Vec::new();
        if row.failing_since.is_some() && speaks_for_api(row, endpoint) {
            notes.extend(no_failure());
        }
        if row.client_refused_by == Some(endpoint) {
            notes.extend([(ClientAcceptedAt, self.at()), (ClientRefusedBy, Expr::value(None::<String>))]);
        }
        if notes.is_empty() { Ok(()) } else { self.note_on(row, notes).await }
    }

    /// `endpoint` asks to be left alone about an authorization: neither it nor an account of it is probed before, or its tokens
    /// are not renewed.
    pub(super) async fn note_quiet(
        &self,
        row: &authorization::Model,
        endpoint: Endpoint,
        wait: Duration,
    ) -> Result<()> {
        let column = match endpoint {
            Endpoint::Api | Endpoint::Account => QuietUntil,
            Endpoint::Token => TokenQuietUntil,
        };
        let until = self.now + TimeDelta::from_std(wait).unwrap_or(FLAGGED_AT_MOST);
        self.note_on(row, [(column, Expr::value(until))]).await
    }

    fn at(&self) -> SimpleExpr {
        Expr::value(self.now)
    }

    async fn note_on(
        &self,
        row: &authorization::Model,
        notes: impl IntoIterator<Item = (authorization::Column, SimpleExpr)>,
    ) -> Result<()> {
        let update = authorization::Entity::update_many().filter(authorization::Column::Id.eq(row.id));
        let noted = notes.into_iter().fold(update, |update, (column, value)| update.col_expr(column, value));
        noted.exec(&self.txn).await?;
        Ok(())
    }
}

/// Whether an answer of `endpoint` says that the API does not fail: that tokens are to be had, or refused, or that an account
/// answers, says nothing about what else fails.
fn speaks_for_api(row: &authorization::Model, endpoint: Endpoint) -> bool {
    endpoint == Endpoint::Api || row.probe_at.is_none()
}

fn no_failure() -> [(authorization::Column, SimpleExpr); 2] {
    [(FailingSince, Expr::value(None::<DateTime<Utc>>)), (FailingMessage, Expr::value(None::<String>))]
}
