//! Renewing tokens: ahead of their end, when one is refused, and before one is used that has ended.
//!
//! One renewal at a time, by a claim; the credential's version is the fence. That it was sent (`renewal_sent_at`) is
//! committed before it is sent, and with it that the renewal is due: should this process die, another worker finds it as
//! soon as the claim has run out, and sends the same token once more, while a provider may still take a token that it
//! has just replaced. Only a refusal of that says anything, and the outage then says that an answer was lost. The mark
//! stays until there is an answer that tells what became of the token. A successful answer, however late, is stored as
//! long as the credential has not moved: it may hold the only refresh token that is still good.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use entity::{Detector, Endpoint, Status, authorization};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use uuid::Uuid;

use super::{
    Connections,
    checks::{Finding, Look, Occasion},
    credentials::Fresh,
    findings::{fault, unresponsive},
    lifecycle::{Change, Healed, standing},
    verdicts::Asked,
};
use crate::{
    error::Result,
    ids::Kind,
    provider::{Credential, Failure, Grant},
};

/// How often at most tokens that cannot be stored are tried to be.
const KEPT_FOR: u32 = 120;
/// How long to wait between.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Connections {
    /// Renews the tokens of a claimed authorization.
    pub(super) async fn renew(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        match self.look(Occasion::Due(job), authorization).await? {
            Some(look) => self.renew_now(&look).await.map(drop),
            None => Ok(()),
        }
    }

    /// The credential of an authorization, renewed first where its access token has ended and can be.
    pub(super) async fn usable_credential(&self, row: &authorization::Model) -> Result<Credential> {
        let credential = self.open(row)?;
        let ended = row.access_expires_at.is_some_and(|end| end <= self.clock.now());
        let Some(connector) = self.connector_of(&row.connector).filter(|_| ended) else { return Ok(credential) };
        if !self.provider.can_renew(&connector, &credential) {
            return Ok(credential);
        }
        let (all, id, version) = (self.clone(), row.id, row.credential_version);
        // An effect of its own: the client may hang up, and the answer may hold the only copy of a token.
        let renewing = self.tasks.spawn("renewal", async move { all.renew_for_use(id, version).await });
        renewing.await??;
        let renewed = authorization::Entity::find_by_id(row.id).one(self.db.reader()).await?;
        match renewed.filter(|renewed| renewed.credential.is_some()) {
            Some(renewed) => self.open(&renewed),
            None => Ok(credential),
        }
    }

    /// Renews an authorization, unless somebody else has since it had that version.
    async fn renew_for_use(&self, authorization: Uuid, version: i64) -> Result<()> {
        let claim = self.wait_for_claim(authorization).await?;
        self.under(&claim, async {
            match self.look(Occasion::Use, authorization).await? {
                Some(look) if look.row.credential_version == version => self.renew_now(&look).await.map(drop),
                Some(_) | None => Ok(()),
            }
        })
        .await
    }

    /// Renews now, unless the token endpoint wants to be left alone. Works, or anything but an answer about the API.
    pub(super) async fn renew_now(&self, look: &Look) -> Result<Finding> {
        if let Some(left) = self.quiet_left(&look.row, Endpoint::Token).await? {
            return Ok(Finding::Unasked(Some(left)));
        }
        let Ok(credential) = self.readable(&look.row) else { return Ok(Finding::Unasked(None)) };
        let Some(go) = self.go_ahead(look).await else { return Ok(Finding::Nothing) };
        // Somebody reconnected it meanwhile: a spent refresh token must not be sent.
        if !self.note_sent(&look.row).await? {
            return Ok(Finding::Nothing);
        }
        let begun = Instant::now();
        let answer = self.provider.renew(&look.connector, &credential).await;
        drop(go);
        // The answer is kept first: it may hold the only copy of a token.
        let heard = self.heard(look, Asked::Renewal, &answer, begun.elapsed()).await;
        let finding = self.keep(look, answer).await?;
        heard.map(|_| finding)
    }

    /// Writes an answer. One that brought tokens may hold the only copy of them, so it is not given up while the database
    /// is away.
    async fn keep(&self, look: &Look, answer: Result<Grant, Failure>) -> Result<Finding> {
        for _ in 0..KEPT_FOR {
            match self.write_renewal(look, answer.clone()).await {
                Err(error) if answer.is_ok() => {
                    tracing::error!(authorization = %Kind::Authorization.of(look.row.id), ?error, "fresh tokens cannot be stored; it is tried again");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                done => return done,
            }
        }
        self.write_renewal(look, answer).await
    }

    async fn write_renewal(&self, look: &Look, answer: Result<Grant, Failure>) -> Result<Finding> {
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(mut row) = self.lock_same(&mut change, &look.row).await? else { return Ok(Finding::Nothing) };
        let finding = match answer {
            Ok(grant) => {
                let fresh = Fresh::granted(grant, None);
                change.store_renewed(&mut row, &look.connector, &fresh).await?;
                // A flagged authorization is healed by the probe that follows, not by a token alone.
                if row.status == Status::Expiring && row.status != standing(row.expires_at, change.now) {
                    let mut held = change.with_all(row).await?;
                    Box::pin(change.heal(&mut held, Healed::ByItself)).await?;
                }
                Finding::Works
            }
            Err(Failure::Rejected(_)) => {
                change.note_answered(&row, Endpoint::Token).await?;
                let fault = fault(look, self.why_broken(look), Detector::TokenRenewal);
                Box::pin(self.break_down(&mut change, row, look, fault)).await?;
                Finding::Nothing
            }
            Err(Failure::Transient { retry_after, what, refuses }) => {
                let mut broken = None;
                if refuses {
                    broken = self.refused_for_good(&change, &row, look).await?;
                    // It was answered, so the token is what it was.
                    forget_sent(&change, &row).await?;
                }
                let unverified = change.note_failing(&row, &what).await?;
                let unverified = unverified.map(|since| unresponsive(look, since, &what, Detector::TokenRenewal));
                match broken.or(unverified).filter(|_| row.status != Status::Disconnected) {
                    Some(fault) => {
                        Box::pin(self.break_down(&mut change, row, look, fault)).await?;
                        Finding::Nothing
                    }
                    None => {
                        if let Some(wait) = retry_after {
                            change.note_quiet(&row, Endpoint::Token, wait).await?;
                            // Turned away before it was looked at. After any other failure the token may be spent.
                            forget_sent(&change, &row).await?;
                        }
                        self.postpone_renewal(&change, &row, retry_after).await?;
                        Finding::Unasked(retry_after)
                    }
                }
            }
            Err(Failure::OurClientRejected) => {
                forget_sent(&change, &row).await?;
                let broken = self.refused_with_client(&change, &row, look).await?;
                match broken.filter(|_| row.status != Status::Disconnected) {
                    Some(fault) => {
                        Box::pin(self.break_down(&mut change, row, look, fault)).await?;
                        Finding::Nothing
                    }
                    None => {
                        self.postpone_renewal(&change, &row, None).await?;
                        Finding::Unasked(None)
                    }
                }
            }
        };
        change.commit().await?;
        Ok(finding)
    }

    /// Notes that a renewal is sent, and that it is due until it is answered, whyever it was sent; false when the
    /// credential has moved.
    async fn note_sent(&self, row: &authorization::Model) -> Result<bool> {
        let (renew_at, now) = (authorization::Column::RenewAt, self.clock.now());
        let due: Expr = Expr::case(renew_at.gt(now), now).finally(Expr::col(renew_at)).into();
        let noted = authorization::Entity::update_many()
            .col_expr(authorization::Column::RenewalSentAt, Expr::value(now))
            .col_expr(renew_at, due)
            .filter(authorization::Column::Id.eq(row.id))
            .filter(authorization::Column::CredentialVersion.eq(row.credential_version))
            .exec(self.db.writer())
            .await?;
        Ok(noted.rows_affected == 1)
    }
}

/// A renewal was answered in a way that leaves the token as it was.
async fn forget_sent(change: &Change<'_>, row: &authorization::Model) -> Result<()> {
    authorization::Entity::update_many()
        .col_expr(authorization::Column::RenewalSentAt, Expr::value(None::<DateTime<Utc>>))
        .filter(authorization::Column::Id.eq(row.id))
        .exec(&change.txn)
        .await?;
    Ok(())
}
