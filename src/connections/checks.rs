//! Finding out what works: renewals ahead of expiry, probes, and what follows from their answers. The accounts of an
//! authorization, one by one, are [`super::account_checks`]'.
//!
//! A provider is asked outside of any transaction; what it said is written only if the credential is still the one that
//! was asked with. What a status then becomes is [`super::lifecycle`]'s.

use std::{sync::Arc, time::Duration};

use entity::{Detector, DisconnectionReason, Status, authorization, connection};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use uuid::Uuid;

use super::{
    Connections,
    credentials::Fresh,
    due::{Claim, Due},
    held::{Held, hold_one},
    lifecycle::{Change, Healed},
};
use crate::{
    access::Viewer,
    catalogue::Connector,
    error::Result,
    provider::{Credential, Failure, Rejection},
};

/// How often to look whether a claim that somebody else holds is free.
const TURN: Duration = Duration::from_millis(100);
/// How often at most: longer than a claim lasts.
const TURNS: u32 = 1_000;

/// What a look at an authorization, or at one of its accounts, found.
#[derive(Debug)]
pub(super) enum Finding {
    Works,
    /// Nothing is known to be wrong; when to look again, where the provider said it.
    Unsure(Option<Duration>),
    /// The grant, key or password is not accepted any more.
    Broken(DisconnectionReason, Detector),
    /// It is accepted, and may not read this.
    Refused,
    /// A renewal on the way found out and wrote it already.
    Written,
}

/// One authorization as it is looked at.
pub(super) struct Look {
    pub(super) connector: Arc<Connector>,
    pub(super) row: authorization::Model,
    pub(super) viewer: Viewer,
}

impl Connections {
    /// Renews the tokens of an authorization that is due, unless somebody is at it.
    pub async fn renew_due(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        let Some(claim) = self.claim_due(Due::Renewal, authorization).await? else { return Ok(()) };
        self.under(claim, async {
            match self.look(job, authorization).await? {
                Some(look) => self.renew_now(&look).await.map(drop),
                None => Ok(()),
            }
        })
        .await
    }

    /// Probes an authorization that is due, unless somebody is at it.
    pub async fn probe_due(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        let Some(claim) = self.claim_due(Due::Probe, authorization).await? else { return Ok(()) };
        self.under(claim, self.probe(job, authorization)).await
    }

    /// Probes a claimed authorization.
    async fn probe(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        let Some(look) = self.look(job, authorization).await? else { return Ok(()) };
        if look.connector.probe.request.is_none() {
            return Ok(());
        }
        let (look, finding) = self.ask(look, None).await?;
        self.write_finding(&look, finding).await
    }

    /// The credential of an authorization, renewed first where its access token has ended and can be.
    pub(super) async fn usable_credential(&self, row: &authorization::Model) -> Result<Credential> {
        let credential = self.open(row)?;
        let ended = row.access_expires_at.is_some_and(|end| end <= self.clock.now());
        let Some(connector) = self.connector_of(&row.connector).filter(|_| ended) else { return Ok(credential) };
        if !self.provider.can_renew(&connector, &credential) {
            return Ok(credential);
        }
        let claim = self.wait_for_turn(row.id).await?;
        self.under(claim, async {
            match self.look("renew-for-use", row.id).await? {
                // Somebody else may have renewed it meanwhile.
                Some(look) if look.row.credential_version == row.credential_version => {
                    self.renew_now(&look).await.map(drop)
                }
                Some(_) | None => Ok(()),
            }
        })
        .await?;
        let renewed = authorization::Entity::find_by_id(row.id).one(self.db.reader()).await?;
        match renewed.filter(|renewed| renewed.credential.is_some()) {
            Some(renewed) => self.open(&renewed),
            None => Ok(credential),
        }
    }

    /// Looks at a connection now, twice where it is refused, and writes what was found.
    pub(super) async fn examine(&self, job: &'static str, connection: Uuid) -> Result<()> {
        let Some(row) = self.row(connection).await? else { return Ok(()) };
        self.open(&self.authorization_of(&row).await?)?;
        let claim = self.wait_for_turn(row.authorization_id).await?;
        self.under(claim, self.examine_claimed(job, &row)).await
    }

    async fn examine_claimed(&self, job: &'static str, row: &connection::Model) -> Result<()> {
        self.probe(job, row.authorization_id).await?;
        let Some(now) = self.row(row.id).await? else { return Ok(()) };
        if now.refused_once && !now.lost_access {
            self.probe(job, row.authorization_id).await?;
        }
        let Some(connector) = self.connector_of(&row.connector) else { return Ok(()) };
        if connector.probe.account_request.is_some() && row.account_id.is_some() {
            self.probe_account(job, row.authorization_id, row.id).await?;
            if self.row(row.id).await?.is_some_and(|now| now.refused_once && !now.lost_access) {
                self.probe_account(job, row.authorization_id, row.id).await?;
            }
        }
        Ok(())
    }

    /// Claims an authorization, waiting while somebody else has it.
    async fn wait_for_turn(&self, authorization: Uuid) -> Result<Claim> {
        for _ in 0..TURNS {
            if let Some(claim) = self.claim(authorization).await? {
                return Ok(claim);
            }
            tokio::time::sleep(TURN).await;
        }
        Err(crate::error::Error::Unavailable)
    }

    pub(super) async fn look(&self, job: &'static str, authorization: Uuid) -> Result<Option<Look>> {
        let row = authorization::Entity::find_by_id(authorization).one(self.db.reader()).await?;
        Ok(row.filter(|row| row.removed_at.is_none() && row.credential.is_some()).and_then(|row| {
            let connector = self.connector_of(&row.connector)?;
            Some(Look { connector, viewer: Viewer::job(job, row.workspace_id), row })
        }))
    }

    pub(super) async fn row(&self, connection: Uuid) -> Result<Option<connection::Model>> {
        let row = connection::Entity::find_by_id(connection).one(self.db.reader()).await?;
        Ok(row.filter(|row| row.removed_at.is_none()))
    }

    /// Asks the provider whether it works. A token that is refused is renewed first, and asked with once more. What is
    /// flagged is renewed before it is asked at all: an access token may outlive the grant it came from.
    pub(super) async fn ask(&self, look: Look, account: Option<&str>) -> Result<(Look, Finding)> {
        let credential = match self.readable(&look.row) {
            Ok(credential) => credential,
            Err(unreadable) => {
                let finding = self.finding(&look, Err(unreadable));
                return Ok((look, finding));
            }
        };
        let renewable = self.provider.can_renew(&look.connector, &credential);
        if !renewable || look.row.status != Status::Disconnected {
            let first = self.provider.probe(&look.connector, &credential, account).await;
            let refused = matches!(first, Err(Failure::Rejected(Rejection::Unauthorized | Rejection::InvalidGrant)));
            if !refused || !renewable {
                let finding = self.finding(&look, first);
                return Ok((look, finding));
            }
        }
        match self.renew_now(&look).await? {
            Finding::Works => {}
            unrenewed => return Ok((look, unrenewed)),
        }
        let look = self.look_again(look).await?;
        let second = self.provider.probe(&look.connector, &self.open(&look.row)?, account).await;
        let finding = self.finding(&look, second);
        Ok((look, finding))
    }

    /// The same, as it is now; as it was, where it has gone meanwhile: then nothing is written.
    async fn look_again(&self, look: Look) -> Result<Look> {
        let row = authorization::Entity::find_by_id(look.row.id).one(self.db.reader()).await?;
        Ok(match row.filter(|row| row.credential.is_some()) {
            Some(row) => Look { row, ..look },
            None => look,
        })
    }

    fn finding(&self, look: &Look, answer: Result<(), Failure>) -> Finding {
        match answer {
            Ok(()) => Finding::Works,
            Err(Failure::Transient { retry_after, what }) => {
                tracing::debug!(authorization = %look.row.id, connector = %look.connector.slug, what, "unsure");
                Finding::Unsure(retry_after)
            }
            Err(Failure::OurClientRejected) => {
                tracing::error!(connector = %look.connector.slug, "the provider refuses this server's OAuth client");
                Finding::Unsure(None)
            }
            Err(Failure::Rejected(Rejection::Forbidden)) => Finding::Refused,
            Err(Failure::Rejected(Rejection::Unauthorized | Rejection::InvalidGrant)) => {
                Finding::Broken(self.why_broken(look), Detector::Probe)
            }
        }
    }

    fn why_broken(&self, look: &Look) -> DisconnectionReason {
        let ended = look.row.expires_at.is_some_and(|end| end <= self.clock.now());
        match (look.connector.is_oauth(), ended) {
            (true, true) => DisconnectionReason::Expired,
            (true, false) => DisconnectionReason::Revoked,
            (false, _) => DisconnectionReason::CredentialsRejected,
        }
    }

    /// Renews now. That it was sent is committed before it is sent; a successful answer is stored as long as the
    /// credential has not moved, since it may hold the only valid refresh token.
    async fn renew_now(&self, look: &Look) -> Result<Finding> {
        let row = &look.row;
        let answer = match self.readable(row) {
            // Somebody reconnected it meanwhile: a spent refresh token must not be sent.
            Ok(_) if !self.note_sent(row).await? => return Ok(Finding::Written),
            Ok(credential) => self.provider.renew(&look.connector, &credential).await,
            Err(unreadable) => Err(unreadable),
        };
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(mut held) = self.hold_same(&change, row).await? else { return Ok(Finding::Written) };
        let finding = match answer {
            Ok(grant) => {
                let fresh = Fresh::granted(grant, None);
                change.store_renewed(&mut held, &look.connector, &fresh).await?;
                // A flagged authorization is healed by the probe that follows, not by a token alone.
                if held.authorization.status == Status::Expiring && !change.stands(&held) {
                    change.heal(&mut held, Healed::ByItself).await?;
                }
                Finding::Works
            }
            Err(Failure::Rejected(_)) => {
                let reason = self.why_broken(look);
                self.break_down(&mut change, &mut held, look, reason, Detector::TokenRenewal).await?;
                Finding::Written
            }
            Err(Failure::Transient { retry_after, .. }) => {
                self.postpone_renewal(&change, &held, retry_after).await?;
                Finding::Unsure(retry_after)
            }
            Err(Failure::OurClientRejected) => {
                tracing::error!(connector = %look.connector.slug, "the provider refuses this server's OAuth client");
                self.postpone_renewal(&change, &held, None).await?;
                Finding::Unsure(None)
            }
        };
        change.commit().await?;
        Ok(finding)
    }

    /// Notes that a renewal is sent; false when the credential has moved.
    async fn note_sent(&self, row: &authorization::Model) -> Result<bool> {
        let noted = authorization::Entity::update_many()
            .col_expr(authorization::Column::RenewalSentAt, Expr::value(self.clock.now()))
            .filter(authorization::Column::Id.eq(row.id))
            .filter(authorization::Column::CredentialVersion.eq(row.credential_version))
            .exec(self.db.writer())
            .await?;
        Ok(noted.rows_affected == 1)
    }

    /// The credential to ask with. One that does not open says nothing about the grant: its operator is told, nobody is
    /// disconnected, and it waits like any other that is unsure.
    fn readable(&self, row: &authorization::Model) -> Result<Credential, Failure> {
        self.open(row).map_err(|error| {
            tracing::error!(authorization = %row.id, ?error, "a credential cannot be read");
            Failure::Transient { retry_after: None, what: "its credential cannot be read".to_owned() }
        })
    }

    /// The authorization, held, if it is still the one that was asked with.
    pub(super) async fn hold_same(&self, change: &Change<'_>, asked: &authorization::Model) -> Result<Option<Held>> {
        let held = hold_one(&change.txn, asked.id).await?;
        Ok(held.filter(|held| held.authorization.credential_version == asked.credential_version && !held.is_removed()))
    }

    /// Marks an authorization whose end is near.
    pub async fn expire_soon(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        let Some(look) = self.look(job, authorization).await? else { return Ok(()) };
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(mut held) = self.hold_same(&change, &look.row).await? else { return Ok(()) };
        change.expire_soon(&mut held).await?;
        change.commit().await
    }
}
