//! Reading rows through a connection. A refusal while real data is read is how most outages are found, so an answer goes
//! the way that a probe's does: a token that is refused is renewed, what is refused then disconnects.
//!
//! What a probe says may be less than what a dataset needs. So a query that was never answered before proves nothing by
//! being refused: the probe is asked. And what a query found that had worked until then, a probe does not take back, while
//! the dataset waits and looks again ([`super::readers`]).

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use entity::{Detector, DisconnectionReason, Endpoint, Status, authorization, connection, disconnection};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use uuid::Uuid;

use super::{
    Connections,
    checks::{Finding, Look, Occasion},
    held::Held,
    lifecycle::{Change, Healed},
    verdicts::Asked,
};
use crate::{
    error::Result,
    provider::{Credential, Failure, Haste, NoRows, Query, Rejection, RowLimits, Rows},
};

/// What is read, and how.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The dataset that asks; none: it is to be.
    pub dataset: Option<Uuid>,
    pub query: Query,
    pub limits: RowLimits,
    pub haste: Haste,
    /// This very query was answered before.
    pub proven: bool,
}

/// Why there are no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It has to be reconnected. For people: what happened and what to do. Where a dataset found that, no probe ends it
    /// while the dataset waits: it has to look again itself (`found_by_dataset`).
    Disconnected { message: String, found_by_dataset: bool },
    /// Its source denies this query, although the connection works. For people.
    Denied(String),
    /// Its source asks to be left alone so long.
    Quiet(DateTime<Utc>),
    /// Its source fails, and may have said when to come back. For people.
    Failing { what: String, retry_after: Option<Duration> },
    /// Another query is needed. For people.
    Query(String),
    /// It is more than is read. For people.
    TooMuch(String),
    /// This server cannot ask: its operator has to act. For people.
    NotConfigured(String),
    /// The connection was removed, reconnected or moved meanwhile: ask again.
    Changed,
    /// This server is stopping: another will ask, or the next.
    Unasked,
}

type Answer<T> = std::result::Result<T, Unread>;

impl Connections {
    /// Reads rows through a connection, whoever hangs up meanwhile: an answer may bring the only copy of a token.
    pub async fn read(&self, connection: Uuid, ask: Ask) -> Result<Answer<Rows>> {
        let all = self.clone();
        let reading = self.tasks.spawn("reading", async move { all.read_now(connection, &ask).await });
        reading.await?
    }

    async fn read_now(&self, connection: Uuid, ask: &Ask) -> Result<Answer<Rows>> {
        let Some(row) = self.row(connection).await? else { return Ok(Err(Unread::Changed)) };
        let Some(look) = self.look(Occasion::Read, row.authorization_id).await? else {
            let gone = "This server has no such connector any more.".to_owned();
            return Ok(Err(Unread::NotConfigured(gone)));
        };
        if let Some(unread) = self.why_not(&look, &row).await? {
            return Ok(Err(unread));
        }
        let (look, credential) = match self.ready(look).await? {
            Ok(ready) => ready,
            Err(unread) => return Ok(Err(unread)),
        };
        let first = self.read_with(&look, &row, &credential, ask).await?;
        if !is_refused(&first) || !self.provider.can_renew(&look.connector, &credential) {
            return self.write_reading(&look, &row, ask, first).await;
        }
        match self.renewed_for_reading(Look { refused: true, ..look }).await? {
            Ok((look, credential)) => {
                let mut second = self.read_with(&look, &row, &credential, ask).await?;
                if is_refused(&second) {
                    self.wait_until_taken().await;
                    second = self.read_with(&look, &row, &credential, ask).await?;
                }
                self.write_reading(&look, &row, ask, second).await
            }
            Err(unread) => Ok(Err(unread)),
        }
    }

    /// Why nothing is to be read through it now.
    async fn why_not(&self, look: &Look, row: &connection::Model) -> Result<Option<Unread>> {
        if row.status == Status::Disconnected {
            let open = self.current_disconnections(std::slice::from_ref(row)).await?.remove(&row.id);
            // What a dataset found, a dataset ends.
            if let Some(open) = open.filter(|open| open.detected_by != Detector::DatasetRefresh) {
                return Ok(Some(outage(open)));
            }
        }
        let left = self.quiet_left(&look.row, Endpoint::Api).await?;
        Ok(left
            .and_then(|left| chrono::TimeDelta::from_std(left).ok())
            .map(|left| Unread::Quiet(self.clock.now() + left)))
    }

    /// The credential to ask with, renewed where its access token has ended, or the authorization is flagged: an access
    /// token may outlive the grant it came from.
    async fn ready(&self, look: Look) -> Result<Answer<(Look, Credential)>> {
        let Ok(credential) = self.readable(&look.row) else {
            return Ok(Err(Unread::NotConfigured("This server cannot read its credential.".to_owned())));
        };
        let flagged = look.row.status == Status::Disconnected;
        let ended = look.row.access_expires_at.is_some_and(|end| end <= self.clock.now());
        if (flagged || ended) && self.provider.can_renew(&look.connector, &credential) {
            let occasion = if flagged { Occasion::Read } else { Occasion::Use };
            return self.renewed_for_reading(Look { occasion, ..look }).await;
        }
        Ok(Ok((look, credential)))
    }

    /// Reads, twice where what was answered before is denied now.
    async fn read_with(
        &self,
        look: &Look,
        row: &connection::Model,
        credential: &Credential,
        ask: &Ask,
    ) -> Result<std::result::Result<Rows, NoRows>> {
        let first = self.read_once(look, row, credential, ask).await?;
        let denied = matches!(first, Err(NoRows::Failure(Failure::Rejected(Rejection::Forbidden))));
        if denied && ask.proven { self.read_once(look, row, credential, ask).await } else { Ok(first) }
    }

    async fn read_once(
        &self,
        look: &Look,
        row: &connection::Model,
        credential: &Credential,
        ask: &Ask,
    ) -> Result<std::result::Result<Rows, NoRows>> {
        let begun = Instant::now();
        let account = row.account_id.as_deref();
        let answer = self.provider.read(&look.connector, credential, account, &ask.query, &ask.limits, ask.haste).await;
        if let Err(NoRows::Stopping) = answer {
            return Ok(answer);
        }
        let said = match &answer {
            Err(NoRows::Failure(failure)) => Err(failure.clone()),
            // Whatever is wrong then is not the source.
            Ok(_) | Err(NoRows::Query(_) | NoRows::TooMuch(_) | NoRows::Stopping) => Ok(()),
        };
        self.heard(look, Asked::Rows(row.id), &said, begun.elapsed()).await?;
        Ok(answer)
    }

    /// The authorization with fresh tokens, by its turn; with those that somebody else got meanwhile.
    async fn renewed_for_reading(&self, look: Look) -> Result<Answer<(Look, Credential)>> {
        let claim = self.wait_for_claim(look.row.id).await?;
        let renewed = self.under(&claim, async {
            let Some(now) = self.look(look.occasion, look.row.id).await? else { return Ok(Err(Unread::Changed)) };
            if now.row.credential_version != look.row.credential_version {
                return Ok(Ok(now));
            }
            let now = Look { refused: look.refused, ..now };
            match self.renew_now(&now).await? {
                Finding::Works => Ok(Ok(self.look_again(now).await?)),
                Finding::Unasked(retry_after) => {
                    let what = "Its provider does not renew the access token now.".to_owned();
                    Ok(Err(Unread::Failing { what, retry_after }))
                }
                _ => Ok(Err(self.whole_outage(look.row.id).await?)),
            }
        });
        match renewed.await? {
            Ok(now) => {
                let credential = self.open(&now.row)?;
                Ok(Ok((Look { occasion: Occasion::Read, ..now }, credential)))
            }
            Err(unread) => Ok(Err(unread)),
        }
    }

    /// The outage of an authorization as a whole; none: it was changed meanwhile.
    async fn whole_outage(&self, authorization: Uuid) -> Result<Unread> {
        let open = self.open_disconnection_of(&[authorization]).await?.remove(&authorization);
        Ok(open.map_or(Unread::Changed, outage))
    }

    /// Writes what an answer says of the connection.
    async fn write_reading(
        &self,
        look: &Look,
        row: &connection::Model,
        ask: &Ask,
        answer: std::result::Result<Rows, NoRows>,
    ) -> Result<Answer<Rows>> {
        let failure = match answer {
            Ok(rows) => {
                self.note_read(look, row, ask).await?;
                return Ok(Ok(rows));
            }
            Err(NoRows::Query(message)) => return Ok(Err(Unread::Query(message))),
            Err(NoRows::TooMuch(message)) => return Ok(Err(Unread::TooMuch(message))),
            Err(NoRows::Stopping) => return Ok(Err(Unread::Unasked)),
            Err(NoRows::Failure(failure)) => failure,
        };
        Ok(Err(match failure {
            Failure::Transient { what, retry_after, .. } => {
                if let Some(wait) = retry_after {
                    self.note_quiet_after_reading(look, wait).await?;
                }
                Unread::Failing { what: format!("{} could not be read: {what}.", look.connector.name), retry_after }
            }
            Failure::OurClientRejected => {
                self.write_finding(look, Finding::ClientRefused).await?;
                Unread::NotConfigured(format!("{} refuses this server's own client.", look.connector.name))
            }
            // What an API has at an address is the query's matter.
            Failure::Rejected(Rejection::Missing) => {
                Unread::Query(format!("{} has nothing there.", look.connector.name))
            }
            Failure::Rejected(_) if !ask.proven && look.connector.has_probe() => self.judge_by_probe(look, row).await?,
            Failure::Rejected(Rejection::Forbidden) if !ask.proven => Unread::Denied(denied(look)),
            Failure::Rejected(Rejection::Forbidden) => self.write_denial(look, row).await?,
            Failure::Rejected(Rejection::Unauthorized) if self.outlives_its_token(&look.row) => {
                let what = format!("The access token for {} ended while it was used.", look.connector.name);
                Unread::Failing { what, retry_after: None }
            }
            Failure::Rejected(Rejection::Unauthorized | Rejection::InvalidGrant) => {
                let finding = Finding::Broken(self.why_broken(look), Detector::DatasetRefresh);
                self.write_finding(look, finding).await?;
                self.whole_outage(look.row.id).await?
            }
        }))
    }

    /// Rows came: it works, and so does what was flagged for a dataset's sake.
    async fn note_read(&self, look: &Look, row: &connection::Model, ask: &Ask) -> Result<()> {
        let flagged = look.row.status == Status::Disconnected;
        if !flagged && !row.lost_access && !row.refused_once {
            connection::Entity::update_many()
                .col_expr(connection::Column::LastCheckedAt, Expr::value(self.clock.now()))
                .filter(connection::Column::Id.eq(row.id))
                .exec(self.db.writer())
                .await?;
            return Ok(());
        }
        let mut change = Change::begin(self, &look.viewer).await?;
        let held =
            if flagged { change.hold_one(look.row.id).await? } else { change.hold_with(look.row.id, row.id).await? };
        let Some(mut held) = held.filter(|held| still_asked(held, look, row)) else { return Ok(()) };
        change.forget_denials(&held, ask.dataset).await?;
        if flagged && held.authorization.status == Status::Disconnected {
            change.heal(&mut held, Healed::ByItself).await?;
            authorization::Entity::update_many()
                .col_expr(authorization::Column::Failures, Expr::value(0))
                .col_expr(authorization::Column::ProbeAt, Expr::value(self.probe_at(&look.connector, change.now)))
                .filter(authorization::Column::Id.eq(held.id()))
                .exec(&change.txn)
                .await?;
        }
        change.regain(&mut held, &[row.id], Healed::ByItself).await?;
        let next = self.account_probe_at(&look.connector, row.account_id.as_deref(), change.now);
        self.note_account(&change, &held, row.id, false, next).await?;
        change.commit().await
    }

    async fn note_quiet_after_reading(&self, look: &Look, wait: Duration) -> Result<()> {
        let mut change = Change::begin(self, &look.viewer).await?;
        if let Some(row) = self.lock_same(&mut change, &look.row).await? {
            change.note_quiet(&row, Endpoint::Api, wait).await?;
        }
        change.commit().await
    }

    /// A new query is refused: whether the connection is, the probe knows.
    async fn judge_by_probe(&self, look: &Look, row: &connection::Model) -> Result<Unread> {
        Box::pin(self.examine(Occasion::Check, row.id)).await?;
        let Some(row) = self.row(row.id).await? else { return Ok(Unread::Changed) };
        let open = self.current_disconnections(std::slice::from_ref(&row)).await?.remove(&row.id);
        Ok(open.map_or_else(|| Unread::Denied(denied(look)), outage))
    }

    /// The connection is denied what it could read before, at a second look: it has lost access.
    async fn write_denial(&self, look: &Look, row: &connection::Model) -> Result<Unread> {
        let mut change = Change::begin(self, &look.viewer).await?;
        let held = change.hold_with(look.row.id, row.id).await?;
        let held = held.filter(|held| still_asked(held, look, row));
        let Some(mut held) = held else { return Ok(Unread::Changed) };
        self.refuse_account(&mut change, &mut held, look, row.id, true).await?;
        change.commit().await?;
        let message = super::messages::message(DisconnectionReason::AccessLost, &look.connector.name);
        Ok(Unread::Disconnected { message, found_by_dataset: true })
    }
}

/// Whether what was asked is what is held: the same credential, and the same account.
pub(super) fn still_asked(held: &Held, look: &Look, row: &connection::Model) -> bool {
    held.is_still(&look.row) && held.member(row.id).is_some_and(|member| member.row.account_id == row.account_id)
}

fn denied(look: &Look) -> String {
    format!("{} does not let this connection read that.", look.connector.name)
}

fn outage(open: disconnection::Model) -> Unread {
    Unread::Disconnected { message: open.message, found_by_dataset: open.detected_by == Detector::DatasetRefresh }
}

fn is_refused(answer: &std::result::Result<Rows, NoRows>) -> bool {
    matches!(answer, Err(NoRows::Failure(Failure::Rejected(Rejection::Unauthorized))))
}
