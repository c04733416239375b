//! What fails for everyone: a provider that is down, or that refuses this server's own OAuth client. Nobody has to
//! reconnect anything then, so administrators are told once, and nobody is asked.
//!
//! Renewals and probes leave what they were answered on the authorization; [`Connections::watch_incidents`] looks at all
//! of a workspace's authorizations of a connector and opens and closes incidents by that, on whichever node comes first. An
//! incident that goes on in another way, or that starts again within ten minutes of its end, is the same one.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{NotificationKind, Status, Topic, authorization, incident};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait as _, OnConflict, SimpleExpr},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    Connections,
    lifecycle::{Change, FLAP},
    list::BATCH,
};
use crate::{
    access::Viewer,
    error::Result,
    ids::{self, Kind, NodeId},
    journal::{Facts, NewEntry},
    notifications::{self, added_entry},
};

/// How long most of a connector's authorizations have to fail before it is an incident.
const LASTING: TimeDelta = TimeDelta::minutes(10);
/// How many have to fail at least: one or two may have troubles of their own.
const AT_LEAST: i64 = 3;

/// A connector in a workspace.
type Place = (Uuid, String);

impl Connections {
    /// The open incidents of connectors in the viewer's workspace, by slug.
    pub async fn incidents(&self, viewer: &Viewer, slugs: &[String]) -> Result<HashMap<String, incident::Model>> {
        let open = incident::Entity::find()
            .filter(incident::Column::WorkspaceId.eq(viewer.workspace()))
            .filter(incident::Column::Connector.is_in(slugs))
            .filter(incident::Column::EndedAt.is_null())
            .all(self.db.reader())
            .await?;
        Ok(open.into_iter().map(|incident| (incident.connector.clone(), incident)).collect())
    }

    /// How many incidents are open, by connector.
    pub async fn count_incidents(&self) -> Result<Vec<(String, i64)>> {
        let open = incident::Entity::find()
            .select_only()
            .column(incident::Column::Connector)
            .column_as(incident::Column::Id.count(), "open")
            .filter(incident::Column::EndedAt.is_null())
            .group_by(incident::Column::Connector);
        Ok(open.into_tuple().all(self.db.reader()).await?)
    }

    /// Opens the incidents that there are, closes those that are over, and says of what kind those are that go on.
    pub async fn watch_incidents(&self, job: &'static str) -> Result<()> {
        let open = incident::Entity::find().filter(incident::Column::EndedAt.is_null()).all(self.db.reader()).await?;
        let mut starting: BTreeMap<Place, bool> = BTreeMap::new();
        for place in self.failing_lastingly().await? {
            if fails_for_most(self.db.reader(), &place, Some(self.clock.now() - LASTING)).await? {
                starting.insert(place, false);
            }
        }
        for place in refusing(self.db.reader(), None).await? {
            starting.insert(place, true);
        }
        for incident in open {
            let place = (incident.workspace_id, incident.connector.clone());
            let seen = match starting.remove(&place) {
                Some(ours) => Some(ours),
                None => judge(self.db.reader(), &place).await?,
            };
            if seen != Some(incident.ours) {
                let reviewed =
                    self.review_incident(&Viewer::job(job, incident.workspace_id), &place, incident.id).await;
                reviewed.unwrap_or_else(|error| tracing::error!(job, ?error, "an incident could not be reviewed"));
            }
        }
        for (place, ours) in starting {
            let (opened, connector) = (self.open_incident(&Viewer::job(job, place.0), &place, ours).await, &place.1);
            opened.unwrap_or_else(|error| tracing::error!(job, connector, ?error, "an incident could not be opened"));
        }
        Ok(())
    }

    /// Where enough authorizations fail for long enough to look closer.
    async fn failing_lastingly(&self) -> Result<Vec<Place>> {
        let failing = live()
            .select_only()
            .columns([authorization::Column::WorkspaceId, authorization::Column::Connector])
            .filter(authorization::Column::FailingSince.lte(self.clock.now() - LASTING))
            .group_by(authorization::Column::WorkspaceId)
            .group_by(authorization::Column::Connector)
            .having(Expr::expr(authorization::Column::Id.count()).gte(AT_LEAST));
        let places: Vec<Place> = failing.into_tuple().all(self.db.reader()).await?;
        Ok(places.into_iter().filter(|(_, slug)| self.has_one_host(slug)).collect())
    }

    /// Whether all authorizations of a connector ask the same provider: databases each have a host of their own.
    fn has_one_host(&self, slug: &str) -> bool {
        self.connector_of(slug).is_some_and(|known| known.driver().is_none())
    }

    /// Opens an incident, or the last one again where it ended a moment ago, of whatever kind that was: then only those are
    /// told once more who had read that it works again.
    async fn open_incident(&self, viewer: &Viewer, place: &Place, ours: bool) -> Result<()> {
        let mut change = Change::begin(self, viewer).await?;
        let last = incident::Entity::find()
            .filter(incident::Column::WorkspaceId.eq(place.0))
            .filter(incident::Column::Connector.eq(&place.1))
            .order_by_desc(incident::Column::StartedAt)
            .lock_exclusive()
            .one(&change.txn)
            .await?;
        change.happens_after(last.as_ref().map(|last| last.ended_at.unwrap_or(last.started_at)));
        // Another node may have looked later.
        if judge(&change.txn, place).await? != Some(ours) {
            return Ok(());
        }
        let id = match last {
            Some(last) if last.ended_at.is_none() => return Ok(()),
            Some(last) if last.ended_at.is_some_and(|end| end > change.now - FLAP) => {
                self.write_kind(&change, &last, ours, Expr::value(None::<DateTime<Utc>>)).await?;
                change.take_back_recovery(NotificationKind::Incident, last.id, subject(&place.1)).await?;
                last.id
            }
            _ => match self.insert_incident(&change, &place.1, ours).await? {
                (id, 1) => id,
                _ => return Ok(()),
            },
        };
        change.tell_incident("connector.incident_started", &place.1, id, ours);
        change.tell_admins(NotificationKind::Incident, &place.1, id).await?;
        change.commit().await
    }

    /// Its id, and 1; 0 when another node was quicker.
    async fn insert_incident(&self, change: &Change<'_>, connector: &str, ours: bool) -> Result<(Uuid, u64)> {
        let id = change.new_id();
        let row = incident::ActiveModel {
            id: Set(id),
            workspace_id: Set(change.workspace),
            connector: Set(connector.to_owned()),
            ours: Set(ours),
            message: Set(message(ours, &self.connector_name(connector))),
            started_at: Set(change.now),
            ended_at: Set(None),
        };
        let inserted = incident::Entity::insert(row)
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(&change.txn)
            .await?;
        Ok((id, inserted))
    }

    /// Judges an open incident again under its lock. Where it is of another kind now it goes on as that: it is the same
    /// one, nothing works yet, and what was noted of it stays. Where it is over it ends, and who was told of it is told that.
    async fn review_incident(&self, viewer: &Viewer, place: &Place, id: Uuid) -> Result<()> {
        let mut change = Change::begin(self, viewer).await?;
        let row = incident::Entity::find_by_id(id).filter(incident::Column::EndedAt.is_null()).lock_exclusive();
        let Some(row) = row.one(&change.txn).await? else { return Ok(()) };
        change.happens_after(Some(row.started_at));
        match judge(&change.txn, place).await? {
            Some(ours) if ours == row.ours => return Ok(()),
            Some(ours) => {
                self.write_kind(&change, &row, ours, Expr::col(incident::Column::EndedAt)).await?;
                change.tell_incident("connector.incident_changed", &row.connector, id, ours);
            }
            None => {
                self.write_kind(&change, &row, row.ours, Expr::value(change.now)).await?;
                change.tell_incident("connector.incident_ended", &row.connector, id, row.ours);
                change.tell_admins(NotificationKind::Recovered, &row.connector, id).await?;
                change.catch_up(&row.connector).await?;
            }
        }
        change.commit().await
    }

    /// Writes of what kind a locked incident is, and when it ended.
    async fn write_kind(
        &self,
        change: &Change<'_>,
        row: &incident::Model,
        ours: bool,
        ended_at: impl Into<SimpleExpr>,
    ) -> Result<()> {
        incident::Entity::update_many()
            .col_expr(incident::Column::Ours, Expr::value(ours))
            .col_expr(incident::Column::Message, Expr::value(message(ours, &self.connector_name(&row.connector))))
            .col_expr(incident::Column::EndedAt, ended_at.into())
            .filter(incident::Column::Id.eq(row.id))
            .exec(&change.txn)
            .await?;
        Ok(())
    }
}

/// Of which kind the incident of a connector is that goes on: whether this server's own client is refused. None: it is over.
async fn judge(db: &impl ConnectionTrait, place: &Place) -> Result<Option<bool>> {
    if !refusing(db, Some(place)).await?.is_empty() {
        return Ok(Some(true));
    }
    Ok(fails_for_most(db, place, None).await?.then_some(false))
}

/// Whether most of a connector's authorizations that should work fail: since before `since`, where that matters.
async fn fails_for_most(
    db: &impl ConnectionTrait,
    (workspace, connector): &Place,
    since: Option<DateTime<Utc>>,
) -> Result<bool> {
    let theirs = || {
        live()
            .select_only()
            .filter(authorization::Column::WorkspaceId.eq(*workspace))
            .filter(authorization::Column::Connector.eq(connector))
            .filter(authorization::Column::Status.ne(Status::Disconnected))
    };
    let failing = theirs().column_as(authorization::Column::Id.count(), "failing").filter(match since {
        Some(since) => authorization::Column::FailingSince.lte(since),
        None => authorization::Column::FailingSince.is_not_null(),
    });
    let failing: i64 = failing.into_tuple().one(db).await?.unwrap_or_default();
    if failing < AT_LEAST {
        return Ok(false);
    }
    // They are most where there are not twice as many: no more need to be counted.
    let twice = theirs().expr(Expr::value(1)).offset(failing.unsigned_abs() * 2 - 1).limit(1);
    Ok(twice.into_tuple::<i32>().one(db).await?.is_none())
}

/// Where this server's own OAuth client is refused, and nothing has been accepted since: everywhere, or at one place.
async fn refusing(db: &impl ConnectionTrait, only: Option<&Place>) -> Result<Vec<Place>> {
    let at = |(workspace, connector): &Place| {
        let here = authorization::Column::WorkspaceId.eq(*workspace);
        Condition::all().add(here).add(authorization::Column::Connector.eq(connector.as_str()))
    };
    let refused: Vec<(Uuid, String, DateTime<Utc>)> = live()
        .select_only()
        .columns([authorization::Column::WorkspaceId, authorization::Column::Connector])
        .column_as(authorization::Column::ClientRefusedAt.max(), "refused_at")
        .filter(authorization::Column::ClientRefusedBy.is_not_null())
        .filter(only.map_or_else(Condition::all, at))
        .group_by(authorization::Column::WorkspaceId)
        .group_by(authorization::Column::Connector)
        .into_tuple()
        .all(db)
        .await?;
    let mut places = Vec::new();
    for (workspace, connector, refused_at) in refused {
        let place = (workspace, connector);
        let accepted: Option<i32> = live()
            .select_only()
            .expr(Expr::value(1))
            .filter(at(&place))
            .filter(authorization::Column::ClientAcceptedAt.gte(refused_at))
            .limit(1)
            .into_tuple()
            .one(db)
            .await?;
        if accepted.is_none() {
            places.push(place);
        }
    }
    Ok(places)
}

impl Change<'_> {
    /// One entry about an incident.
    fn tell_incident(&mut self, action: &'static str, connector: &str, incident: Uuid, ours: bool) {
        let (actor, subject) = (self.actor, subject(connector));
        let details = json!({ "incident": incident, "ours": ours });
        self.note([NewEntry { topic: Topic::Audit, action, actor, subject, facts: Facts::None, details }]);
    }

    /// Tells every ADMIN of an incident that began, where they were not told yet, and whoever was told of one that ended.
    async fn tell_admins(&mut self, kind: NotificationKind, connector: &str, incident: Uuid) -> Result<()> {
        let name = self.connections.connector_name(connector);
        let news = self.news(kind, incident, None, None, connector, &name);
        let (txn, entropy) = (&self.txn, &*self.connections.entropy);
        let told = match kind {
            NotificationKind::Recovered => {
                notifications::again(txn, entropy, news, NotificationKind::Incident, &[]).await?
            }
            _ => notifications::write_to_admins(txn, entropy, news).await?,
        };
        self.note(added_entry(kind, subject(connector), told));
        Ok(())
    }

    /// What waits to be asked again is due at once; the connector's pace spreads it.
    async fn catch_up(&self, connector: &str) -> Result<()> {
        let waiting = Condition::any()
            .add(authorization::Column::FailingSince.is_not_null())
            .add(authorization::Column::ClientRefusedBy.is_not_null());
        let ids: Vec<Uuid> = live()
            .select_only()
            .column(authorization::Column::Id)
            .filter(authorization::Column::WorkspaceId.eq(self.workspace))
            .filter(authorization::Column::Connector.eq(connector))
            .filter(waiting)
            .order_by_asc(authorization::Column::Id)
            .lock_exclusive()
            .into_tuple()
            .all(&self.txn)
            .await?;
        let at_once = |column: authorization::Column| -> SimpleExpr {
            Expr::case(column.gt(self.now), self.now).finally(Expr::col(column)).into()
        };
        for part in ids.chunks(BATCH) {
            authorization::Entity::update_many()
                .col_expr(authorization::Column::ClientRefusedBy, Expr::value(None::<String>))
                .col_expr(authorization::Column::RenewAt, at_once(authorization::Column::RenewAt))
                .col_expr(authorization::Column::ProbeAt, at_once(authorization::Column::ProbeAt))
                .filter(authorization::Column::Id.is_in(part.iter().copied()))
                .exec(&self.txn)
                .await?;
        }
        Ok(())
    }
}

fn live() -> Select<authorization::Entity> {
    authorization::Entity::find().filter(authorization::Column::RemovedAt.is_null())
}

fn subject(connector: &str) -> NodeId {
    Kind::Connector.of(ids::connector_id(connector))
}

/// For people: what happened and what to do.
fn message(ours: bool, connector: &str) -> String {
    if ours {
        format!(
            "{connector} refuses this server's own OAuth client, or a setting like it. Whoever runs the server has to mend that; nobody has to reconnect."
        )
    } else {
        format!(
            "{connector} fails for most of what is connected. It is asked again until it works; nobody has to reconnect."
        )
    }
}
