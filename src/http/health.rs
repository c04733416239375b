//! Whether the server lives, and whether it can work.

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::{db::Db, tasks::Tasks};

/// `/healthz` (the process answers) and `/readyz` (it is migrated, listens, its database answers, and its loops come round).
pub(super) fn routes(db: Db, tasks: Tasks) -> Router {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state((db, tasks))
}

async fn ready(State((db, tasks)): State<(Db, Tasks)>) -> (StatusCode, String) {
    if let Err(error) = db.ping().await {
        tracing::warn!(%error, "the database does not answer");
        return (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n".to_owned());
    }
    let stuck = tasks.stuck();
    if stuck.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let stuck = stuck.join(", ");
    tracing::warn!(%stuck, "a loop has not come round for long");
    (StatusCode::SERVICE_UNAVAILABLE, format!("has not come round for long: {stuck}\n"))
}
