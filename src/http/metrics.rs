//! `/metrics`: the server's numbers, for Prometheus. They name no tenant and no person, but they say how busy the server
//! is: the operator may set a bearer for them, or an address of their own.
//!
//! What the database is asked for them is asked once a second at most, however many read them.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Site;
use super::credentials::bearer_of;
use crate::clock::SharedClock;
use crate::connections::{Connections, Due};
use crate::datasets::{self, Datasets};
use crate::db::Db;
use crate::error::Result;
use crate::journal::Journal;
use crate::telemetry::{MEDIA_TYPE, Snapshot, Telemetry, Waiting};

/// How long the database may take to say where it stands; what it does not say in time is not known.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what it said is shown.
const SHOWN: TimeDelta = TimeDelta::seconds(1);

#[derive(Clone)]
struct Numbers {
    telemetry: Telemetry,
    connections: Connections,
    datasets: Datasets,
    journal: Journal,
    db: Db,
    clock: SharedClock,
    token: Option<SecretString>,
    /// What the database said last.
    said: Arc<Mutex<Option<Said>>>,
}

/// Where the database stands; none each where it did not say.
#[derive(Clone)]
struct Said {
    at: DateTime<Utc>,
    lag: Option<i64>,
    waiting: Option<Waiting>,
}

/// The route `/metrics`; with `token`, for whoever brings it as bearer.
pub(super) fn routes(site: &Site, telemetry: Telemetry, clock: SharedClock) -> Router {
    let Site { connections, datasets, journal, db, metrics_token, .. } = site;
    let numbers = Numbers {
        telemetry,
        connections: connections.clone(),
        datasets: datasets.clone(),
        journal: journal.clone(),
        db: db.clone(),
        clock,
        token: metrics_token.clone(),
        said: Arc::default(),
    };
    Router::new().route("/metrics", get(show)).with_state(numbers)
}

async fn show(State(numbers): State<Numbers>, headers: HeaderMap) -> Response {
    if !numbers.admit(&headers) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "a bearer is needed\n").into_response();
    }
    // Before this request takes a handle itself.
    let pools = numbers.db.pools();
    let Said { lag, waiting, .. } = numbers.ask().await;
    let seen = Snapshot { journal_lag: lag, followed: numbers.journal.followed(), pools, waiting };
    ([(CONTENT_TYPE, MEDIA_TYPE), (CACHE_CONTROL, "no-store")], numbers.telemetry.text(&seen)).into_response()
}

impl Numbers {
    fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        bearer_of(headers).is_ok_and(|given| {
            let given = given.as_ref().map_or("", ExposeSecret::expose_secret);
            bool::from(token.expose_secret().trim().as_bytes().ct_eq(given.as_bytes()))
        })
    }

    /// What the database says; those who ask meanwhile wait for the same answer.
    async fn ask(&self) -> Said {
        let mut said = self.said.lock().await;
        let now = self.clock.now();
        if let Some(said) = said.as_ref().filter(|said| (said.at..said.at + SHOWN).contains(&now)) {
            return said.clone();
        }
        let lag = timeout(PATIENCE, self.journal.lag()).await.ok().and_then(Result::ok);
        let waiting = timeout(PATIENCE, self.waiting()).await.ok().and_then(Result::ok);
        said.insert(Said { at: self.clock.now(), lag, waiting }).clone()
    }

    async fn waiting(&self) -> Result<Waiting> {
        let mut due = Vec::new();
        for what in Due::ALL {
            let counted = self.connections.backlog(what).await?;
            due.extend(counted.into_iter().map(|(connector, count)| (what.job(), connector, count)));
        }
        let counted = self.datasets.backlog().await?;
        due.extend(counted.into_iter().map(|(connector, count)| (datasets::JOB, connector, count)));
        Ok(Waiting { due, incidents: self.connections.count_incidents().await? })
    }
}
