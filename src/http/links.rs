//! The pages of links, for people without a login: `/reconnect/{token}` and `/connect/{token}`.
//!
//! Looking changes nothing, since whatever previews a link looks too; only what is posted does something. What a link lets
//! someone do is [`crate::connections`]'s, how its page reads is `page.rs`'s, and how often somebody may try `tries.rs`'s.

mod form;
mod page;
mod tries;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use entity::AttemptKind;
use serde::Deserialize;
use tokio::time::timeout;

use self::{form::Form, page::Problem, tries::Tries};
use super::{
    oauth::see_other,
    pages::{outcome, too_many, work_that_goes_on},
};
use crate::{
    connections::{Connections, Followed, NoUse, NotFollowed},
    error::Error,
    ids::{self, Kind},
    tasks::Tasks,
};

/// The largest form that is read, in bytes.
const LARGEST_FORM: usize = 64 * 1024;
/// How long one may take to arrive.
const SLOWEST_FORM: Duration = Duration::from_secs(10);
/// Its own style sheet and picture, forms to itself, no scripts and no frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";
const OVER: &str = "This link does not work any more";

#[derive(Clone)]
struct Desk {
    connections: Connections,
    tries: Arc<Tries>,
    kind: AttemptKind,
    tasks: Tasks,
    /// How long a browser waits for what it asked for.
    patience: Duration,
}

/// The routes of both kinds of links.
pub(super) fn routes(connections: Connections, tasks: &Tasks, patience: Duration) -> Router {
    let tries = Arc::new(Tries::new());
    let pages = |path, kind| {
        let (connections, tries, tasks) = (connections.clone(), tries.clone(), tasks.clone());
        let desk = Desk { connections, tries, kind, tasks, patience };
        Router::new().route(path, get(look).post(act)).with_state(desk)
    };
    pages("/reconnect/{token}", AttemptKind::Reconnect)
        .merge(pages("/connect/{token}", AttemptKind::Connect))
        .layer(middleware::map_response(guarded))
}

/// Whoever comes back from a provider names their attempt.
#[derive(Deserialize)]
struct Asked {
    attempt: Option<String>,
}

async fn look(
    State(desk): State<Desk>,
    method: Method,
    Path(token): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    if method == Method::HEAD {
        return StatusCode::NO_CONTENT.into_response();
    }
    let attempt = asked.ok().and_then(|Query(asked)| ids::decode(Kind::Attempt, &asked.attempt?));
    // What came of an attempt may have to be asked of the provider. Only links are counted, and remembered.
    if attempt.is_some() {
        match desk.connections.knows_link(desk.kind, &token).await {
            Ok(false) => return desk.refuse(NoUse::Unknown),
            Ok(true) => {}
            Err(error) => return failed(&error),
        }
        if let Err(wait) = desk.tries.count(&token) {
            return too_many(wait.seconds);
        }
    }
    match desk.connections.link(desk.kind, &token, attempt).await {
        Ok(Ok(offer)) => page::offer(&offer, None),
        Ok(Err(no_use)) => desk.refuse(no_use),
        Err(error) => failed(&error),
    }
}

async fn act(State(desk): State<Desk>, Path(token): Path<String>, headers: HeaderMap, body: Body) -> Response {
    match desk.connections.link(desk.kind, &token, None).await {
        Ok(Ok(_)) => {}
        Ok(Err(no_use)) => return desk.refuse(no_use),
        Err(error) => return failed(&error),
    }
    if let Err(wait) = desk.tries.count(&token) {
        return too_many(wait.seconds);
    }
    if !form::is_one(&headers) {
        return unreadable("What was sent is not a form.", StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let form = match timeout(SLOWEST_FORM, to_bytes(body, LARGEST_FORM)).await {
        Ok(Ok(body)) => Arc::new(Form::read(&body)),
        Ok(Err(_)) => return unreadable("What was sent is too long, or was cut off.", StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return unreadable("What was sent took too long to arrive.", StatusCode::REQUEST_TIMEOUT),
    };
    // An effect of its own: the browser may leave.
    let following = desk.tasks.spawn("link", follow(desk.clone(), token.clone(), form.clone()));
    let followed = match timeout(desk.patience, following).await {
        Ok(followed) => followed.unwrap_or_else(|error| Err(error.into())),
        Err(_) => return desk.goes_on(&token),
    };
    match followed {
        Ok(Ok(Followed::Away(address))) => page::away(&address),
        Ok(Ok(Followed::Asks(attempt))) => {
            see_other(desk.connections.link_page(desk.kind, &token, Some(attempt)).as_str())
        }
        Ok(Ok(Followed::Done)) => desk.done(&token).await,
        Ok(Err(NotFollowed::NoUse(no_use))) => desk.refuse(no_use),
        Ok(Err(NotFollowed::Field { name, fault })) => {
            let message = page::in_words(fault);
            desk.ask_again(&token, &form, Problem { field: Some(&name), message: &message }).await
        }
        Ok(Err(NotFollowed::Refused(message))) => {
            desk.ask_again(&token, &form, Problem { field: None, message: &message }).await
        }
        Err(error) => failed(&error),
    }
}

/// Does what was asked for.
async fn follow(desk: Desk, token: String, form: Arc<Form>) -> Result<Result<Followed, NotFollowed>, Error> {
    match form.attempt {
        Some(attempt) => {
            let account = form.account.clone().unwrap_or_default();
            desk.connections.choose_account(desk.kind, &token, attempt, account).await
        }
        None => desk.connections.follow(desk.kind, &token, form.connector.as_deref(), &form.fields).await,
    }
}

impl Desk {
    /// What was asked for takes longer than a browser can wait. The page that comes next shows what is left to do.
    fn goes_on(&self, token: &str) -> Response {
        let message = "The data source takes longer than usual. You need not wait: this goes on in any case. \
                       If the next page asks again, it did not work.";
        work_that_goes_on("Connecting", message, Some(self.connections.link_page(self.kind, token, None).as_str()))
    }

    /// The page once more, with what was typed but its secrets, and what is wrong with it.
    async fn ask_again(&self, token: &str, form: &Form, problem: Problem<'_>) -> Response {
        match self.connections.link(self.kind, token, form.attempt).await {
            Ok(Ok(offer)) => page::offer(&offer, Some((form, problem))),
            Ok(Err(no_use)) => self.refuse(no_use),
            Err(error) => failed(&error),
        }
    }

    /// One thing is done. Where others are left, the page shows them, at an address that does nothing when it is loaded again.
    async fn done(&self, token: &str) -> Response {
        match self.connections.link(self.kind, token, None).await {
            Ok(Ok(_)) => see_other(self.connections.link_page(self.kind, token, None).as_str()),
            Ok(Err(_)) => page::all_done(self.kind),
            Err(error) => failed(&error),
        }
    }

    fn refuse(&self, no_use: NoUse) -> Response {
        let message = "Ask whoever sent it to you for a new one.";
        match no_use {
            NoUse::Unknown => match self.tries.count_in_vain() {
                Ok(()) => outcome(OVER, message, StatusCode::NOT_FOUND),
                Err(wait) => too_many(wait.seconds),
            },
            NoUse::Over => outcome(OVER, message, StatusCode::GONE),
            NoUse::Done => {
                let message = "This link was used, or is not needed any more. There is nothing left to do.";
                // Nothing went wrong, and the page looks like it.
                let mut page = outcome("This is done already", message, StatusCode::OK);
                *page.status_mut() = StatusCode::GONE;
                page
            }
        }
    }
}

/// Puts on every answer what keeps the page to whoever has its address: an address that is a secret.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn unreadable(message: &str, status: StatusCode) -> Response {
    outcome("This did not work", message, status)
}

fn failed(error: &Error) -> Response {
    tracing::error!(?error, "a link could not be followed");
    let message = "Something went wrong on this server. Nothing was changed; try again in a moment.";
    outcome("This did not work", message, StatusCode::SERVICE_UNAVAILABLE)
}
