//! `/metrics`: the server's numbers, for Prometheus. They name no tenant and no person, but they say how busy the server
//! is: a proxy in front should not publish them.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::{Router, routing::get};

use crate::connections::{Connections, Due};
use crate::datasets::{self, Datasets};
use crate::db::Db;
use crate::error::Result;
use crate::journal::Journal;
use crate::telemetry::{MEDIA_TYPE, Snapshot, Telemetry, Waiting};

/// How long the database may take to say where it stands; what it does not say in time is not known.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Numbers {
    telemetry: Telemetry,
    connections: Connections,
    datasets: Datasets,
    journal: Journal,
    db: Db,
}

pub(super) fn routes(
    telemetry: Telemetry,
    connections: Connections,
    datasets: Datasets,
    journal: Journal,
    db: Db,
) -> Router {
    Router::new().route("/metrics", get(show)).with_state(Numbers { telemetry, connections, datasets, journal, db })
}

async fn show(State(Numbers { telemetry, connections, datasets, journal, db }): State<Numbers>) -> impl IntoResponse {
    // Before this request takes a handle itself.
    let pools = db.pools();
    let lag = tokio::time::timeout(PATIENCE, journal.lag()).await.ok().and_then(Result::ok);
    let waiting = tokio::time::timeout(PATIENCE, waiting(&connections, &datasets)).await.ok().and_then(Result::ok);
    let seen = Snapshot { journal_lag: lag, followed: journal.followed(), pools, waiting };
    ([(CONTENT_TYPE, MEDIA_TYPE), (CACHE_CONTROL, "no-store")], telemetry.text(&seen))
}

async fn waiting(connections: &Connections, datasets: &Datasets) -> Result<Waiting> {
    let mut due = Vec::new();
    for what in Due::ALL {
        let counted = connections.backlog(what).await?;
        due.extend(counted.into_iter().map(|(connector, count)| (what.job(), connector, count)));
    }
    let counted = datasets.backlog().await?;
    due.extend(counted.into_iter().map(|(connector, count)| (datasets::JOB, connector, count)));
    Ok(Waiting { due, incidents: connections.count_incidents().await? })
}
