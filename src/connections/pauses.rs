//! How long a provider wants to be left alone by everyone: kept in the database, so that every node goes by it.
//!
//! What a provider asks about one authorization (`Retry-After`) holds for that authorization as long as it says. Whether
//! it means all of a connector's, no header tells: it may be the quota of one account. So the others pause with it for
//! one probe interval at most, and not again before as much time has passed: nobody can silence a connector for long.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Endpoint, pause};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::Connections;
use crate::error::Result;

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

    /// How much longer `endpoint` of a connector is left alone; none when it may be asked.
    pub(super) async fn pause_left(&self, connector: &str, endpoint: Endpoint) -> Result<Option<Duration>> {
        let pause = pause::Entity::find_by_id((connector.to_owned(), endpoint)).one(self.db.reader()).await?;
        Ok(pause.and_then(|pause| (pause.until - self.clock.now()).to_std().ok()).filter(|left| !left.is_zero()))
    }

    /// `endpoint` of a connector asks to be left alone for `wait`.
    pub(super) async fn pause(&self, connector: &str, endpoint: Endpoint, wait: Duration) -> Result<()> {
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
        let until = to.min(last.since + most);
        return (until > last.until).then(|| pause::Model { until, ..last.clone() });
    }
    let may_follow = from >= last.until + (last.until - last.since);
    may_follow.then(|| pause::Model { since: from, until: to, ..last.clone() })
}
