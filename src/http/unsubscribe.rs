//! `/unsubscribe/{token}`: the link in each reminder that ends them.
//!
//! Opening it only asks, since scanners open every link of a letter; the page's button posts to the same address, and so do
//! mail clients when a person ends letters there (RFC 8058 §3.2: without cookies, and nothing in the body is needed).

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::get,
};

use super::pages::{outcome, question};
use crate::{
    error::Result,
    notifications::{Notifications, Subscriber},
};

const DONE: &str = "No more reminders";

pub(super) fn routes(notifications: Notifications) -> Router {
    Router::new().route("/unsubscribe/{token}", get(ask).post(unsubscribe)).with_state(notifications)
}

async fn ask(State(notifications): State<Notifications>, Path(token): Path<String>) -> Response {
    match notifications.subscriber(&token).await {
        Ok(Some(subscriber)) if subscriber.user.reminder_emails => question(
            "Turn off reminders?",
            &format!(
                "{} is mailed when data sources of {} stay disconnected.",
                subscriber.user.name, subscriber.workspace.name
            ),
            "Turn off reminders",
        ),
        found => answer(found),
    }
}

async fn unsubscribe(State(notifications): State<Notifications>, Path(token): Path<String>) -> Response {
    let found = notifications.subscriber(&token).await;
    if let Ok(Some(subscriber)) = &found
        && let Err(error) = notifications.unsubscribe(subscriber).await
    {
        return answer(Err(error));
    }
    answer(found)
}

/// What is said to whoever gets no reminders.
fn answer(found: Result<Option<Subscriber>>) -> Response {
    match found {
        Ok(Some(Subscriber { user, workspace })) => outcome(
            DONE,
            &format!(
                "{} is no longer mailed when data sources of {} stay disconnected. \
                 To be reminded again, sign in to Patchbay and turn reminders on there.",
                user.name, workspace.name
            ),
            StatusCode::OK,
        ),
        Ok(None) => outcome("This link does not work", "It may have been cut off on its way.", StatusCode::NOT_FOUND),
        Err(error) => {
            tracing::error!(?error, "reminders were not turned off");
            let message = "Something went wrong on this server. Try again in a moment.";
            outcome("Not turned off", message, StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}
