//! How long a provider wants to be left alone: kept in the database, so that every node goes by it.
//!
//! What a provider asks about one authorization (`Retry-After`) holds for that authorization as long as it says. Whether
//! it means all of a connector's, no header tells: it may be the quota of one account, or of one workspace. So the
//! connector as a whole pauses only after [`SEVERAL`] different authorizations were told to wait within one probe
//! interval, of at least two workspaces where the connector is in use in more than one. It pauses for one probe interval
//! at most, and not again before as much time has passed: no workspace can silence a connector for long.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Endpoint, authorization, pause, wait_request, workspace};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};
use uuid::Uuid;

use super::Connections;
use crate::error::Result;

/// How many different authorizations have to be told to wait before their connector pauses.
const SEVERAL: usize = 3;

impl Connections {
    /// The connectors of which `endpoint` is left alone now.
    pub(super) async fn paused(&self, endpoint: Endpoint) -> Result<HashSet<String>> {
        let paused = pause::Entity::find()
            .select_only()
            .column(pause::Column::Connector)
            .filter(pause::Column::Endpoint.eq(endpoint))
            .filter(pause::Column::Until.gt(self.clock.now()));
        let slugs: Vec<String> = paused.into_tuple().all(self.db.reader()).await?;
        Ok(slugs.into_iter().collect())
    }

    /// How much longer `endpoint` is not asked about an authorization: because it was told to wait, or because its connector
    /// pauses. None when it may be asked.
    pub(super) async fn quiet_left(&self, row: &authorization::Model, endpoint: Endpoint) -> Result<Option<Duration>> {
        let until = match endpoint {
            Endpoint::Api | Endpoint::Account => row.quiet_until,
            Endpoint::Token => row.token_quiet_until,
        };
        let own = until.and_then(|until| (until - self.clock.now()).to_std().ok()).filter(|left| !left.is_zero());
        Ok(self.pause_left(&row.connector, endpoint).await?.max(own))
    }

    /// How much longer `endpoint` of a connector is left alone; none when it may be asked.
    pub(super) async fn pause_left(&self, connector: &str, endpoint: Endpoint) -> Result<Option<Duration>> {
        let pause = pause::Entity::find_by_id((connector.to_owned(), endpoint)).one(self.db.reader()).await?;
        Ok(pause.and_then(|pause| (pause.until - self.clock.now()).to_std().ok()).filter(|left| !left.is_zero()))
    }

    /// `endpoint` tells an authorization to wait: its connector pauses where several were told so.
    pub(super) async fn note_told_to_wait(
        &self,
        row: &authorization::Model,
        endpoint: Endpoint,
        wait: Duration,
    ) -> Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let told = wait_request::ActiveModel {
            connector: Set(row.connector.clone()),
            endpoint: Set(endpoint),
            authorization_id: Set(row.id),
            workspace_id: Set(row.workspace_id),
            at: Set(self.clock.now()),
        };
        let again = OnConflict::columns([
            wait_request::Column::Connector,
            wait_request::Column::Endpoint,
            wait_request::Column::AuthorizationId,
        ])
        .update_column(wait_request::Column::At)
        .to_owned();
        // Written and committed before it counts: of several nodes that are told at once, the last to count sees all.
        wait_request::Entity::insert(told).on_conflict(again).exec_without_returning(self.db.writer()).await?;
        if self.concerns_all(row, endpoint).await? { self.pause(&row.connector, endpoint, wait).await } else { Ok(()) }
    }

    /// Whether enough authorizations were told to wait by now to take it for the connector as a whole.
    async fn concerns_all(&self, row: &authorization::Model, endpoint: Endpoint) -> Result<bool> {
        let within = TimeDelta::from_std(self.settings.probe_interval).unwrap_or(TimeDelta::days(1));
        let told = wait_request::Entity::find()
            .select_only()
            .column(wait_request::Column::AuthorizationId)
            .filter(wait_request::Column::Connector.eq(&row.connector))
            .filter(wait_request::Column::Endpoint.eq(endpoint))
            .filter(wait_request::Column::At.gt(self.clock.now() - within));
        // From where it was written: a reader may lag behind.
        let some: Vec<Uuid> = told.clone().limit(SEVERAL as u64).into_tuple().all(self.db.writer()).await?;
        if some.len() < SEVERAL {
            return Ok(false);
        }
        let elsewhere = told.filter(wait_request::Column::WorkspaceId.ne(row.workspace_id)).limit(1);
        let elsewhere: Option<Uuid> = elsewhere.into_tuple().one(self.db.writer()).await?;
        Ok(elsewhere.is_some() || !self.is_used_elsewhere(row).await?)
    }

    /// Whether another workspace uses the connector of this authorization.
    async fn is_used_elsewhere(&self, row: &authorization::Model) -> Result<bool> {
        // By workspace, since one may have all but one of a million authorizations.
        let using = authorization::Entity::find()
            .select_only()
            .expr(Expr::value(1))
            .filter(
                Expr::col((authorization::Entity, authorization::Column::WorkspaceId))
                    .equals((workspace::Entity, workspace::Column::Id)),
            )
            .filter(authorization::Column::Connector.eq(&row.connector))
            .filter(authorization::Column::RemovedAt.is_null())
            .into_query();
        let another = workspace::Entity::find()
            .select_only()
            .column(workspace::Column::Id)
            .filter(workspace::Column::Id.ne(row.workspace_id))
            .filter(Expr::exists(using))
            .limit(1);
        let another: Option<Uuid> = another.into_tuple().one(self.db.reader()).await?;
        Ok(another.is_some())
    }

    /// Forgets who was told to wait before the time that counts.
    pub async fn forget_wait_requests(&self) -> Result<()> {
        let within = TimeDelta::from_std(self.settings.probe_interval).unwrap_or(TimeDelta::days(1));
        let old = wait_request::Column::At.lt(self.clock.now() - within);
        wait_request::Entity::delete_many().filter(old).exec(self.db.writer()).await?;
        Ok(())
    }

    /// `endpoint` of a connector asks to be left alone for `wait`.
    async fn pause(&self, connector: &str, endpoint: Endpoint, wait: Duration) -> Result<()> {
        let since = self.clock.now();
        let interval = TimeDelta::from_std(self.settings.probe_interval).unwrap_or_default();
        let wait = TimeDelta::from_std(wait).unwrap_or(interval).min(interval);
        if wait.is_zero() {
            return Ok(());
        }
        let first = pause::ActiveModel {
            connector: Set(connector.to_owned()),
            endpoint: Set(endpoint),
            since: Set(since),
            until: Set(since + wait),
        };
        let once = OnConflict::columns([pause::Column::Connector, pause::Column::Endpoint]).do_nothing().to_owned();
        let inserted = pause::Entity::insert(first).on_conflict(once).exec_without_returning(self.db.writer()).await?;
        if inserted == 1 {
            return Ok(());
        }
        let last = pause::Entity::find_by_id((connector.to_owned(), endpoint)).one(self.db.reader()).await?;
        let Some(last) = last else { return Ok(()) };
        let Some(next) = next(&last, since, since + wait, interval) else { return Ok(()) };
        pause::Entity::update_many()
            .col_expr(pause::Column::Since, Expr::value(next.since))
            .col_expr(pause::Column::Until, Expr::value(next.until))
            .filter(pause::Column::Connector.eq(connector))
            .filter(pause::Column::Endpoint.eq(endpoint))
            .filter(pause::Column::Until.eq(last.until))
            .exec(self.db.writer())
            .await?;
        Ok(())
    }
}

/// The pause that is asked for `from` now `to` then, after `last` or in place of it: one that runs may be longer than was said
/// first, but not longer than `most`; another follows as long after it as it was itself.
fn next(last: &pause::Model, from: DateTime<Utc>, to: DateTime<Utc>, most: TimeDelta) -> Option<pause::Model> {
    if from < last.until {
        let until = Ord::min(to, last.since + most);
        return (until > last.until).then(|| pause::Model { until, ..last.clone() });
    }
    let may_follow = from >= last.until + (last.until - last.since);
    may_follow.then(|| pause::Model { since: from, until: to, ..last.clone() })
}
