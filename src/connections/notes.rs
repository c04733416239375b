//! What an answer leaves noted on an authorization beside its status: that the provider fails, that it refuses this server,
//! that it wants to be left alone. Incidents are made of it ([`super::incidents`]), and due dates heed it ([`super::due`]).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Endpoint,
    authorization::{
        self,
        Column::{ClientAcceptedAt, ClientRefusedAt, ClientRefusedBy, FailingSince, QuietUntil, TokenQuietUntil},
    },
};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, SimpleExpr},
};

use super::{findings::FLAGGED_AT_MOST, lifecycle::Change};
use crate::error::Result;

impl Change<'_> {
    /// The provider failed in a way that says nothing about the authorization.
    pub(super) async fn note_failing(&self, row: &authorization::Model) -> Result<()> {
        match row.failing_since {
            Some(_) => Ok(()),
            None => self.note_on(row, [(FailingSince, self.at())]).await,
        }
    }

    /// `endpoint` refuses this server itself: it works, and says nothing about the authorization.
    pub(super) async fn note_client_refused(&self, row: &authorization::Model, endpoint: Endpoint) -> Result<()> {
        let mut notes = vec![(ClientRefusedAt, self.at()), (ClientRefusedBy, Expr::value(endpoint.as_str()))];
        if speaks_for_api(row, endpoint) {
            notes.push((FailingSince, never()));
        }
        self.note_on(row, notes).await
    }

    /// `endpoint` said something about the authorization: neither does it fail, nor does it refuse this server.
    pub(super) async fn note_answered(&self, row: &authorization::Model, endpoint: Endpoint) -> Result<()> {
        let mut notes = Vec::new();
        if row.failing_since.is_some() && speaks_for_api(row, endpoint) {
            notes.push((FailingSince, never()));
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

fn never() -> SimpleExpr {
    Expr::value(None::<DateTime<Utc>>)
}
