//! Whether the server lives, and whether it can work.

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::db::Db;

/// `/healthz` (the process answers) and `/readyz` (it is migrated, listens, and its database answers).
pub(super) fn routes(db: Db) -> Router {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state(db)
}

async fn ready(State(db): State<Db>) -> (StatusCode, &'static str) {
    match db.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}
