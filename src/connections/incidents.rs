//! What fails for everyone: a provider that is down, or that refuses this server's own OAuth client. Nobody has to
//! reconnect anything then, so administrators are told once, and nobody is asked.
//!
//! Renewals and probes leave what they were answered on the authorization; [`Connections::watch_incidents`] looks at all
//! of a workspace's authorizations of a connector and opens and closes incidents by that, on whichever node comes first.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{NotificationKind, Status, Topic, authorization, incident};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
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

    /// Opens the incidents that there are and closes those that are over.
    pub async fn watch_incidents(&self, job: &'static str) -> Result<()> {
        let open = incident::Entity::find().filter(incident::Column::EndedAt.is_null()).all(self.db.reader()).await?;
        let mut starting: BTreeMap<Place, bool> = BTreeMap::new();
        for place in self.failing_lastingly().await? {
            if self.fails_for_most(&place, self.clock.now() - LASTING).await? {
                starting.insert(place, false);
            }
        }
        for place in self.refusing().await? {
            starting.insert(place, true);
        }
        for incident in open {
            let place = (incident.workspace_id, incident.connector.clone());
            let goes_on = match starting.remove(&place) {
                Some(ours) if ours == incident.ours => true,
                Some(ours) => {
                    starting.insert(place.clone(), ours);
                    false
                }
                None => !incident.ours && self.fails_for_most(&place, self.clock.now()).await?,
            };
            if !goes_on {
                let closed = self.close_incident(&Viewer::job(job, incident.workspace_id), incident).await;
                closed.unwrap_or_else(|error| tracing::error!(job, ?error, "an incident could not be closed"));
            }
        }
        for ((workspace, connector), ours) in starting {
            let opened = self.open_incident(&Viewer::job(job, workspace), &connector, ours).await;
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

    /// Whether most of a connector's authorizations that should work have failed since before `since`.
    async fn fails_for_most(&self, (workspace, connector): &Place, since: DateTime<Utc>) -> Result<bool> {
        let theirs = || {
            live()
                .select_only()
                .filter(authorization::Column::WorkspaceId.eq(*workspace))
                .filter(authorization::Column::Connector.eq(connector))
                .filter(authorization::Column::Status.ne(Status::Disconnected))
        };
        let failing = theirs()
            .filter(authorization::Column::FailingSince.lte(since))
            .column_as(authorization::Column::Id.count(), "failing");
        let failing: i64 = failing.into_tuple().one(self.db.reader()).await?.unwrap_or_default();
        if failing < AT_LEAST {
            return Ok(false);
        }
        // They are most where there are not twice as many: no more need to be counted.
        let twice = theirs().expr(Expr::value(1)).offset(failing.unsigned_abs() * 2 - 1).limit(1);
        Ok(twice.into_tuple::<i32>().one(self.db.reader()).await?.is_none())
    }

    /// Where this server's own OAuth client is refused, and nothing has been accepted since.
    async fn refusing(&self) -> Result<Vec<Place>> {
        let refused: Vec<(Uuid, String, DateTime<Utc>)> = live()
            .select_only()
            .columns([authorization::Column::WorkspaceId, authorization::Column::Connector])
            .column_as(authorization::Column::ClientRefusedAt.max(), "refused_at")
            .filter(authorization::Column::ClientRefusedBy.is_not_null())
            .group_by(authorization::Column::WorkspaceId)
            .group_by(authorization::Column::Connector)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        let mut places = Vec::new();
        for (workspace, connector, refused_at) in refused {
            let accepted: Option<i32> = live()
                .select_only()
                .expr(Expr::value(1))
                .filter(authorization::Column::WorkspaceId.eq(workspace))
                .filter(authorization::Column::Connector.eq(connector.as_str()))
                .filter(authorization::Column::ClientAcceptedAt.gte(refused_at))
                .limit(1)
                .into_tuple()
                .one(self.db.reader())
                .await?;
            if accepted.is_none() {
                places.push((workspace, connector));
            }
        }
        Ok(places)
    }

    /// Opens an incident, or the last one again where it ended a moment ago: then nobody is told once more.
    async fn open_incident(&self, viewer: &Viewer, connector: &str, ours: bool) -> Result<()> {
        let mut change = Change::begin(self, viewer).await?;
        let last = incident::Entity::find()
            .filter(incident::Column::WorkspaceId.eq(change.workspace))
            .filter(incident::Column::Connector.eq(connector))
            .order_by_desc(incident::Column::StartedAt)
            .one(&change.txn)
            .await?;
        let flap =
            |last: &incident::Model| last.ours == ours && last.ended_at.is_some_and(|end| end > change.now - FLAP);
        let (id, opened) = match last.filter(flap) {
            Some(last) => {
                let again = incident::Entity::update_many()
                    .col_expr(incident::Column::EndedAt, Expr::value(None::<DateTime<Utc>>))
                    .filter(incident::Column::Id.eq(last.id))
                    .filter(incident::Column::EndedAt.is_not_null())
                    .exec(&change.txn)
                    .await?;
                (last.id, again.rows_affected)
            }
            None => self.insert_incident(&change, connector, ours).await?,
        };
        if opened == 1 {
            change.tell_incident("connector.incident_started", connector, id, ours);
            change.tell_admins(NotificationKind::Incident, connector, id).await?;
        }
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

    async fn close_incident(&self, viewer: &Viewer, incident: incident::Model) -> Result<()> {
        let mut change = Change::begin(self, viewer).await?;
        let ended = incident::Entity::update_many()
            .col_expr(incident::Column::EndedAt, Expr::value(change.now))
            .filter(incident::Column::Id.eq(incident.id))
            .filter(incident::Column::EndedAt.is_null())
            .exec(&change.txn)
            .await?;
        if ended.rows_affected == 1 {
            change.tell_incident("connector.incident_ended", &incident.connector, incident.id, incident.ours);
            change.tell_admins(NotificationKind::Recovered, &incident.connector, incident.id).await?;
            change.catch_up(&incident.connector).await?;
        }
        change.commit().await
    }
}

impl Change<'_> {
    /// One entry about an incident.
    fn tell_incident(&mut self, action: &'static str, connector: &str, incident: Uuid, ours: bool) {
        let (actor, subject) = (self.actor, subject(connector));
        let details = json!({ "incident": incident, "ours": ours });
        self.note([NewEntry { topic: Topic::Audit, action, actor, subject, facts: Facts::None, details }]);
    }

    /// Tells every ADMIN of an incident that began, and whoever was told of one that ended.
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
