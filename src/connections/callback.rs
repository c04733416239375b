//! The callback: what a browser brings back from the provider, judged before anything is done with it.
//!
//! Once its state is taken, the rest is an effect: the browser waits for it, and may leave. The same browser may come again
//! with the same callback while that works and shortly after: it sees the same result, and nothing is done twice.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{AttemptStatus, attempt, give_back};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use secrecy::SecretString;
use subtle::ConstantTimeEq;
use tokio::time::{Instant, sleep, timeout};
use url::Url;
use uuid::Uuid;

use super::{
    Connections,
    attempts::{Ending, hash},
    credentials::Fresh,
    lifecycle::Change,
    plan::{Carried, Plan},
};
use crate::{
    access::{Viewer, viewer_of_key},
    catalogue::Connector,
    error::{Error, Result, UserError, UserErrorCode, while_away},
    ids::{self, Kind},
    provider::{Failure, Rejection},
};

/// How long an attempt may take from the callback to its end: every request to the provider has its own deadline, which
/// is far shorter.
const EXCHANGE: TimeDelta = TimeDelta::minutes(5);
/// How much longer what is to be written of its end may take.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// How long after its end the browser may see what came of an attempt, with the same callback.
const SHOWN: TimeDelta = TimeDelta::minutes(2);
/// How often to look whether an attempt has ended that another request works on.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The parameters of a callback (RFC 6749 §4.1.2, RFC 9207 §2).
#[derive(Default)]
pub struct Callback {
    /// Slug of the connector at whose address it came.
    pub connector: String,
    pub state: String,
    pub code: Option<SecretString>,
    pub error: Option<String>,
    pub iss: Option<String>,
}

/// What a browser is told that came back.
pub enum Arrived {
    /// The attempt goes on, longer than the browser can wait: it comes again with the same callback.
    Working,
    Returned(Returned),
}

/// Where the browser goes from here.
pub struct Returned {
    pub status: AttemptStatus,
    /// For the person, where there is no `return_url`.
    pub message: String,
    /// With the attempt in the query, and its status; the page of a link where it was started by one.
    pub return_url: Option<Url>,
}

/// Why a callback is not taken: the same answer whatever is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("This sign-in does not belong to this browser, was finished already, or took too long. Start again.")]
pub struct NotTaken;

impl Connections {
    /// Takes a callback, once, from the browser that owns the attempt; `cookie` reads that browser's cookies. It waits for
    /// `patience`; what was begun goes on without it.
    pub async fn arrive(
        &self,
        callback: Callback,
        cookie: impl Fn(&str) -> Option<String> + Send,
        patience: Duration,
    ) -> Result<Result<Arrived, NotTaken>> {
        let found = attempt::Entity::find()
            .filter(attempt::Column::StateHash.eq(hash(&callback.state)))
            .one(self.db.reader())
            .await?;
        let Some(row) = found else { return Ok(Err(NotTaken)) };
        let brought = cookie(&super::attempts::cookie_name(row.id)).map(|value| hash(&value)).unwrap_or_default();
        let owned = row.browser_hash.as_deref().is_some_and(|owner| bool::from(owner.ct_eq(&brought)));
        // At another connector's address it is another provider's answer: the code must not go to this one. The attempt
        // stays as it is, for its own.
        if !owned || row.connector != callback.connector {
            return Ok(Err(NotTaken));
        }
        let (id, begun) = (row.id, Instant::now());
        let link =
            if row.link_id.is_some() { self.open_carried(&row).ok().and_then(|carried| carried.link) } else { None };
        if row.status == AttemptStatus::Pending {
            let all = self.clone();
            let taking = self.tasks.spawn("sign-in", async move { all.take(&row, callback).await });
            match timeout(patience, taking).await {
                Ok(taken) => taken??,
                Err(_) => return Ok(Ok(Arrived::Working)),
            }
        }
        self.result(id, link.as_deref(), begun + patience).await
    }

    /// Takes the state, unless another request did, and does what the attempt is for. A database that is away meanwhile is
    /// waited for: the provider's answer cannot be had twice.
    async fn take(&self, row: &attempt::Model, callback: Callback) -> Result<()> {
        let until = Instant::now() + EXCHANGE.to_std().unwrap_or_default();
        let expires_at = self.clock.now() + EXCHANGE;
        let begun = AtomicBool::new(false);
        let consume = || self.consume(row, expires_at, begun.swap(true, Ordering::Relaxed));
        if while_away(until, consume).await? { self.finish(row, callback, until).await } else { Ok(()) }
    }

    /// Takes the state, so that no second callback is exchanged, and gives the attempt the time that an exchange may take.
    /// True as well where it was taken `before` and the database did not say so.
    async fn consume(&self, row: &attempt::Model, expires_at: DateTime<Utc>, before: bool) -> Result<bool> {
        let taken = attempt::Entity::update_many()
            .col_expr(attempt::Column::Status, Expr::value(AttemptStatus::Exchanging.as_str()))
            .col_expr(attempt::Column::ExpiresAt, Expr::value(expires_at))
            .filter(attempt::Column::Id.eq(row.id))
            .filter(attempt::Column::StateHash.eq(row.state_hash.clone()))
            .filter(attempt::Column::Status.eq(AttemptStatus::Pending))
            .filter(attempt::Column::ExpiresAt.gt(self.clock.now()))
            .exec(self.db.writer())
            .await?;
        if taken.rows_affected == 1 || !before {
            return Ok(taken.rows_affected == 1);
        }
        // Another request would have written another time.
        let found = attempt::Entity::find_by_id(row.id).one(self.db.reader()).await?;
        Ok(found.is_some_and(|row| row.status == AttemptStatus::Exchanging && row.expires_at == expires_at))
    }

    /// What came of an attempt whose state was taken, at the latest at `until`.
    async fn result(&self, attempt: Uuid, link: Option<&str>, until: Instant) -> Result<Result<Arrived, NotTaken>> {
        loop {
            let row = attempt::Entity::find_by_id(attempt).one(self.db.reader()).await?;
            let Some(row) = row.map(|row| self.as_of_now(row)) else { return Ok(Err(NotTaken)) };
            let shown = match row.status {
                AttemptStatus::Exchanging if Instant::now() >= until => return Ok(Ok(Arrived::Working)),
                AttemptStatus::Exchanging => {
                    sleep(LOOK_AGAIN).await;
                    continue;
                }
                AttemptStatus::NeedsDecision => true,
                AttemptStatus::Succeeded | AttemptStatus::Failed => {
                    row.ended_at.is_some_and(|end| self.clock.now() < end + SHOWN)
                }
                AttemptStatus::Pending | AttemptStatus::Expired => false,
            };
            return if shown {
                self.returned(row, link).map(|it| Ok(Arrived::Returned(it)))
            } else {
                Ok(Err(NotTaken))
            };
        }
    }

    /// Does what the attempt is for; what the person can mend is written to the attempt. It ends with a note of the grant that
    /// nothing came of, so that no grant is without an owner.
    async fn finish(&self, row: &attempt::Model, callback: Callback, until: Instant) -> Result<()> {
        let Err(Unsettled { error, left }) = self.redeem(row, callback, until).await else { return Ok(()) };
        let (shown, failed) = match error {
            Error::Rejected(errors) => (errors.into_iter().next().unwrap_or_else(unexpected), Ok(())),
            Error::Forbidden => (UserError::new(UserErrorCode::Rejected, "You may not do this any more."), Ok(())),
            other => (unexpected(), Err(other)),
        };
        let left = left.map(|fresh| self.sign_in_to_give_back(row.workspace_id, &row.connector, &fresh)).transpose()?;
        let left = left.flatten();
        while_away(until + ENDED_WITHIN, || self.fail(row, shown.clone(), left.clone())).await?;
        failed
    }

    /// Ends an attempt that failed, and gives back what is `left` of it, also where that ended before.
    pub(super) async fn fail(
        &self,
        row: &attempt::Model,
        error: UserError,
        left: Option<give_back::Model>,
    ) -> Result<()> {
        let mut change = Change::begin(self, &Viewer::job("callback", row.workspace_id)).await?;
        change.end_attempt(row, Ending::Failed(error)).await?;
        change.note_give_backs(left.into_iter().collect()).await?;
        change.commit().await
    }

    /// Redeems the code and settles what it brought. Nothing is written before the identity is known.
    async fn redeem(&self, row: &attempt::Model, callback: Callback, until: Instant) -> Result<(), Unsettled> {
        let inactive = || UserError::new(UserErrorCode::Rejected, "Whoever started this is no longer active.");
        let viewer = while_away(until, || self.starter(row)).await?.ok_or_else(inactive)?;
        let connector = self.connector(&row.connector, "connector")?;
        let carried = self.open_carried(row)?;
        if !self.accepts_issuer(&connector, &carried, callback.iss.as_deref())? {
            let message = "The answer did not come from the data source that was asked.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        let code = code_of(callback)?;
        while_away(until, || self.await_give_backs(&connector.slug)).await?;
        let fresh = self.exchange(&connector, carried, &code).await?;
        let kept = async {
            while_away(until, || self.note_who(&viewer, row, &fresh)).await?;
            while_away(until, || self.settle(&viewer, row, &connector, &fresh)).await
        };
        kept.await.map_err(|error| Unsettled { error, left: Some(fresh) })
    }

    /// Whether the `iss` of a callback is this connector's. Where its file names no issuer, one that is named by the file of a
    /// connector of another authorization server is not.
    fn accepts_issuer(&self, connector: &Connector, carried: &Carried, iss: Option<&str>) -> Result<bool, UserError> {
        let accepted = self.provider.accepts_issuer(connector, &carried.fields, iss);
        if !accepted.map_err(|failure| refused(&failure))? {
            return Ok(false);
        }
        let (Some(iss), Some(own)) = (iss, connector.oauth().filter(|oauth| oauth.issuer.is_none())) else {
            return Ok(true);
        };
        let mut others = self.catalogue.all().filter_map(|other| other.oauth());
        Ok(!others.any(|other| {
            other.token_url.source() != own.token_url.source()
                && other.issuer.as_ref().is_some_and(|issuer| issuer.source() == iss)
        }))
    }

    /// Writes who signed in.
    async fn note_who(&self, viewer: &Viewer, row: &attempt::Model, fresh: &Fresh) -> Result<()> {
        let Some(account) = &fresh.account else { return Ok(()) };
        let change = Change::begin(self, viewer).await?;
        change.note_signed_in(row, account).await?;
        change.commit().await
    }

    async fn exchange(&self, connector: &Connector, carried: Carried, code: &SecretString) -> Result<Fresh, Unsettled> {
        let verifier = SecretString::from(carried.verifier.unwrap_or_default());
        let mut grant = self
            .provider
            .exchange_code(connector, &carried.fields, code, &verifier, &self.redirect_uri(connector))
            .await
            .map_err(|failure| refused(&failure))?;
        let missing = std::mem::take(&mut grant.missing_required).join(", ");
        let mut fresh = Fresh::granted(grant, None);
        let mut account = self.provider.identify(connector, &mut fresh.credential).await;
        if let Err(Failure::Rejected(Rejection::Unauthorized)) = account {
            self.wait_until_taken().await;
            account = self.provider.identify(connector, &mut fresh.credential).await;
        }
        if missing.is_empty() {
            fresh.account = account.map_err(|failure| refused(&failure))?;
            return Ok(fresh);
        }
        fresh.account = account.ok().flatten();
        let message = format!("The data source granted less than is needed. Missing: {missing}.");
        let error = UserError::new(UserErrorCode::MissingScopes, message).into();
        Err(Unsettled { error, left: Some(fresh) })
    }

    /// `link` is what the address of the link ends in that the attempt was started by.
    fn returned(&self, row: attempt::Model, link: Option<&str>) -> Result<Returned> {
        let message = match row.status {
            AttemptStatus::Succeeded => "Done. You can close this page.".to_owned(),
            AttemptStatus::NeedsDecision => {
                "Signed in. Go back to where you came from to choose what is meant.".to_owned()
            }
            _ => row.error_message.clone().unwrap_or_else(|| "This did not work. Start again.".to_owned()),
        };
        if let Some(token) = link {
            let page = self.link_page(row.kind, token, Some(row.id));
            return Ok(Returned { status: row.status, message, return_url: Some(page) });
        }
        let return_url = Plan::of(&row)?.return_url.and_then(|url| Url::parse(&url).ok()).map(|mut url| {
            url.query_pairs_mut()
                .append_pair("attempt", &ids::encode(Kind::Attempt, row.id))
                .append_pair("status", row.status.as_str());
            url
        });
        Ok(Returned { status: row.status, message, return_url })
    }

    /// Whoever started the attempt, as they are today: the person, or the key.
    async fn starter(&self, row: &attempt::Model) -> Result<Option<Viewer>> {
        self.acting(row.started_by, row.api_key_id).await
    }

    /// The person as they are today, or the key that they acted by; none when they may not come in any more.
    pub(super) async fn acting(&self, person: Uuid, key: Option<Uuid>) -> Result<Option<Viewer>> {
        if let Some(key) = key {
            return viewer_of_key(&self.db, key, self.clock.now()).await;
        }
        let found = entity::user::Entity::find_by_id(person)
            .find_also_related(entity::workspace::Entity)
            .one(self.db.reader())
            .await?;
        Ok(match found {
            Some((user, Some(workspace))) if user.active => Some(Viewer::person(&user, &workspace, None, i64::MAX)),
            _ => None,
        })
    }
}

/// A sign-in that nothing comes of.
struct Unsettled {
    error: Error,
    /// What the provider gave.
    left: Option<Fresh>,
}

impl<E: Into<Error>> From<E> for Unsettled {
    fn from(error: E) -> Self {
        Self { error: error.into(), left: None }
    }
}

/// The code to redeem, or why there is none.
fn code_of(callback: Callback) -> Result<SecretString, UserError> {
    match (callback.error.as_deref(), callback.code) {
        (None, Some(code)) => Ok(code),
        (Some("access_denied"), _) => {
            Err(UserError::new(UserErrorCode::Denied, "The sign-in was cancelled at the data source."))
        }
        // RFC 6749 §4.1.2.1: what a provider says instead of a 500 or 503, which a redirect cannot have.
        (Some("server_error" | "temporarily_unavailable"), _) => Err(unavailable()),
        (_, _) => Err(UserError::new(UserErrorCode::Rejected, "The data source did not complete the sign-in.")),
    }
}

/// What a provider's refusal means to the person at the browser, or behind the form.
pub(super) fn refused(failure: &Failure) -> UserError {
    match failure {
        Failure::Transient { .. } | Failure::Rejected(Rejection::Missing) => unavailable(),
        Failure::Rejected(Rejection::Forbidden) => {
            UserError::new(UserErrorCode::Rejected, "The data source denies access with this sign-in.")
        }
        Failure::Rejected(_) => UserError::new(UserErrorCode::Rejected, "The data source did not accept this."),
        Failure::OurClientRejected => UserError::new(
            UserErrorCode::NotConfigured,
            "The data source refuses this server's OAuth client. An administrator has to look at its settings.",
        ),
    }
}

fn unavailable() -> UserError {
    let message = "The data source could not be reached, or failed. Nothing was changed; try again.";
    UserError::new(UserErrorCode::ProviderUnavailable, message)
}

fn unexpected() -> UserError {
    UserError::new(UserErrorCode::ProviderUnavailable, "Something went wrong. Nothing was changed; try again.")
}
