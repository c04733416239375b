//! Finding out what works: an authorization is asked with its credential, renewed first where that is needed. Renewals are
//! [`super::renewals`]', the accounts of an authorization, one by one, [`super::account_checks`]'.
//!
//! A provider is asked outside of any transaction; what it said is written only if the credential is still the one that
//! was asked with. What follows is in [`super::findings`]; what a status then becomes is [`super::lifecycle`]'s.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use entity::{Detector, DisconnectionReason, Status, authorization, connection};
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::{Connections, due::Claim, held::is_still, lifecycle::Change, verdicts::Asked};
use crate::{
    access::Viewer,
    catalogue::Connector,
    error::{Error, Result},
    ids::Kind,
    provider::{Credential, Failure, Rejection, Turn},
};

/// How often to look whether a claim that somebody else holds is free.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often at most.
const LOOKS: u32 = 1_000;

/// Why something is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A job found it to be due.
    Due(&'static str),
    /// Somebody wants to use it.
    Use,
    /// Somebody asks whether it works.
    Check,
    /// Somebody says that it does not.
    Report,
    /// A dataset reads through it.
    Read,
}

impl Occasion {
    /// The name under which the server acts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Due(job) => job,
            Self::Use => "renew-for-use",
            Self::Check => "check",
            Self::Report => "report",
            Self::Read => "refresh-datasets",
        }
    }

    /// Who noticed what was `found` so.
    pub(super) fn detector(self, found: Detector) -> Detector {
        match self {
            Self::Report => Detector::Report,
            Self::Read => Detector::DatasetRefresh,
            Self::Due(_) | Self::Use | Self::Check => found,
        }
    }
}

/// What a look at an authorization, or at one of its accounts, found.
#[derive(Debug)]
pub(super) enum Finding {
    Works,
    /// The API said nothing about it, for people; when to look again, where it said that.
    Unsure {
        wait: Option<Duration>,
        what: String,
    },
    /// The API was not asked: the tokens could not be renewed, or the credential not be read; when to try again, where
    /// the token endpoint said that.
    Unasked(Option<Duration>),
    /// The API refuses this server itself.
    ClientRefused,
    /// The grant, key or password is not accepted any more.
    Broken(DisconnectionReason, Detector),
    /// It is accepted, and may not read this.
    Refused,
    /// There is nothing to write: a renewal on the way did it already, or the server stops.
    Nothing,
}

/// Leave to ask a provider: hold it for the call.
pub(super) enum Go {
    AtOnce,
    InTurn(#[expect(dead_code, reason = "it is held")] Turn),
}

/// One authorization as it is looked at.
pub(super) struct Look {
    pub(super) connector: Arc<Connector>,
    pub(super) row: authorization::Model,
    pub(super) viewer: Viewer,
    pub(super) occasion: Occasion,
    /// The API has just refused its access token.
    pub(super) refused: bool,
}

impl Connections {
    /// Probes a claimed authorization.
    pub(super) async fn probe(&self, occasion: Occasion, authorization: Uuid) -> Result<()> {
        let Some(look) = self.look(occasion, authorization).await? else { return Ok(()) };
        if !look.connector.has_probe() {
            return self.never_probe(&look.row).await;
        }
        let (look, finding) = self.ask(look, None).await?;
        self.write_finding(&look, finding).await
    }

    /// Looks at a connection now, twice where it is refused, and writes what was found.
    pub(super) async fn examine(&self, occasion: Occasion, connection: Uuid) -> Result<()> {
        let Some(row) = self.row(connection).await? else { return Ok(()) };
        self.open(&self.authorization_of(&row).await?)?;
        let claim = self.wait_for_claim(row.authorization_id).await?;
        self.under(&claim, self.examine_claimed(occasion, &row)).await
    }

    async fn examine_claimed(&self, occasion: Occasion, row: &connection::Model) -> Result<()> {
        self.probe(occasion, row.authorization_id).await?;
        if self.wants_second_look(row.id).await? {
            self.probe(occasion, row.authorization_id).await?;
        }
        let Some(connector) = self.connector_of(&row.connector) else { return Ok(()) };
        let flagged = self.authorization_of(row).await?.status == Status::Disconnected;
        if !flagged && connector.probe.asks_of(row.account_id.as_deref()).is_some() {
            self.probe_account(occasion, row.authorization_id, row.id).await?;
            if self.wants_second_look(row.id).await? {
                self.probe_account(occasion, row.authorization_id, row.id).await?;
            }
        }
        Ok(())
    }

    async fn wants_second_look(&self, connection: Uuid) -> Result<bool> {
        Ok(self.row(connection).await?.is_some_and(|row| row.refused_once && !row.lost_access))
    }

    /// Claims an authorization, waiting while somebody else has it.
    pub(super) async fn wait_for_claim(&self, authorization: Uuid) -> Result<Claim> {
        for _ in 0..LOOKS {
            if let Some(claim) = self.claim(authorization).await? {
                return Ok(claim);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(Error::Unavailable)
    }

    pub(super) async fn look(&self, occasion: Occasion, authorization: Uuid) -> Result<Option<Look>> {
        let row = authorization::Entity::find_by_id(authorization).one(self.db.reader()).await?;
        Ok(row.filter(|row| row.removed_at.is_none() && row.credential.is_some()).and_then(|row| {
            let connector = self.connector_of(&row.connector)?;
            let viewer = Viewer::job(occasion.name(), row.workspace_id);
            Some(Look { connector, row, viewer, occasion, refused: false })
        }))
    }

    pub(super) async fn row(&self, connection: Uuid) -> Result<Option<connection::Model>> {
        let row = connection::Entity::find_by_id(connection).one(self.db.reader()).await?;
        Ok(row.filter(|row| row.removed_at.is_none()))
    }

    /// Asks the provider whether it works: the account of a connection, or the authorization itself. A token that is
    /// refused is renewed first, and the new one asked with; where that is refused too, once more some seconds later. What is
    /// flagged is renewed before it is asked at all: an access token may outlive the grant it came from.
    pub(super) async fn ask(&self, mut look: Look, account_of: Option<&connection::Model>) -> Result<(Look, Finding)> {
        let credential = match self.readable(&look.row) {
            Ok(credential) => credential,
            Err(_) => return Ok((look, Finding::Unasked(None))),
        };
        let renewable = self.provider.can_renew(&look.connector, &credential);
        if !renewable || look.row.status != Status::Disconnected {
            let Some(first) = self.ask_once(&look, &credential, account_of).await? else {
                return Ok((look, Finding::Nothing));
            };
            look.refused = matches!(first, Err(Failure::Rejected(Rejection::Unauthorized)));
            if !look.refused || !renewable {
                let finding = self.finding(&look, account_of.is_some(), first);
                return Ok((look, finding));
            }
        }
        match self.renew_now(&look).await? {
            Finding::Works => {}
            unrenewed => return Ok((look, unrenewed)),
        }
        let look = self.look_again(look).await?;
        let credential = self.open(&look.row)?;
        let mut second = self.ask_once(&look, &credential, account_of).await?;
        if let Some(Err(Failure::Rejected(Rejection::Unauthorized))) = second {
            self.wait_until_taken().await;
            second = self.ask_once(&look, &credential, account_of).await?;
        }
        let finding = second.map_or(Finding::Nothing, |second| self.finding(&look, account_of.is_some(), second));
        Ok((look, finding))
    }

    async fn ask_once(
        &self,
        look: &Look,
        credential: &Credential,
        account_of: Option<&connection::Model>,
    ) -> Result<Option<Result<(), Failure>>> {
        let Some(go) = self.go_ahead(look).await else { return Ok(None) };
        let begun = Instant::now();
        let account = account_of.and_then(|row| row.account_id.as_deref());
        let answer = self.provider.probe(&look.connector, credential, account).await;
        let asked = account_of.map_or(Asked::Probe, |row| Asked::Account(row.id));
        drop(go);
        self.heard(look, asked, &answer, begun.elapsed()).await?;
        Ok(Some(answer))
    }

    /// What a job does keeps to the connector's pace, and is not begun any more when the server stops; what somebody waits
    /// for goes at once.
    pub(super) async fn go_ahead(&self, look: &Look) -> Option<Go> {
        match look.occasion {
            Occasion::Due(_) => self.provider.turn(&look.connector, look.row.workspace_id).await.map(Go::InTurn),
            Occasion::Use | Occasion::Check | Occasion::Report | Occasion::Read => Some(Go::AtOnce),
        }
    }

    /// The server stops: no job asks a provider any more.
    pub fn stop_asking(&self) {
        self.provider.stop_turns();
    }

    /// The same, as it is now; as it was, where it has gone meanwhile: then nothing is written.
    pub(super) async fn look_again(&self, look: Look) -> Result<Look> {
        let row = authorization::Entity::find_by_id(look.row.id).one(self.db.reader()).await?;
        Ok(match row.filter(|row| row.credential.is_some()) {
            Some(row) => Look { row, ..look },
            None => look,
        })
    }

    fn finding(&self, look: &Look, of_account: bool, answer: Result<(), Failure>) -> Finding {
        match answer {
            Ok(()) => Finding::Works,
            Err(Failure::Transient { retry_after, what, .. }) => Finding::Unsure { wait: retry_after, what },
            Err(Failure::OurClientRejected) => Finding::ClientRefused,
            Err(Failure::Rejected(Rejection::Forbidden)) => Finding::Refused,
            // The account is gone, if the API is there: that the authorization's own probe works says so.
            Err(Failure::Rejected(Rejection::Missing)) if of_account && look.row.failing_since.is_none() => {
                Finding::Refused
            }
            Err(failure @ Failure::Rejected(Rejection::Missing)) => {
                Finding::Unsure { wait: None, what: failure.to_string() }
            }
            Err(Failure::Rejected(Rejection::Unauthorized)) if self.outlives_its_token(&look.row) => {
                Finding::Unsure { wait: None, what: "the access token ended while it was used".to_owned() }
            }
            Err(Failure::Rejected(Rejection::Unauthorized | Rejection::InvalidGrant)) => {
                Finding::Broken(self.why_broken(look), Detector::Probe)
            }
        }
    }

    /// Whether the access token of this row has ended, and the grant has not: a refusal of the token says nothing of the
    /// grant then. Renewed a moment ago, it ends before its answer where the process was stopped in between.
    pub(super) fn outlives_its_token(&self, row: &authorization::Model) -> bool {
        let now = self.clock.now();
        let has_ended = |end: Option<DateTime<Utc>>| end.is_some_and(|end| end <= now);
        has_ended(row.access_expires_at) && !has_ended(row.expires_at)
    }

    /// Some providers take a token only seconds after they gave it out.
    pub(super) async fn wait_until_taken(&self) {
        tokio::time::sleep(self.settings.token_taken_within).await;
    }

    pub(super) fn why_broken(&self, look: &Look) -> DisconnectionReason {
        let ended = look.row.expires_at.is_some_and(|end| end <= self.clock.now());
        match (look.connector.is_oauth(), ended) {
            (true, true) => DisconnectionReason::Expired,
            (true, false) => DisconnectionReason::Revoked,
            (false, _) => DisconnectionReason::CredentialsRejected,
        }
    }

    /// The credential to ask with. One that does not open says nothing about the grant: its operator is told, nobody is
    /// disconnected, and it waits like any other that is unsure.
    pub(super) fn readable(&self, row: &authorization::Model) -> Result<Credential> {
        self.open(row).inspect_err(|error| {
            tracing::error!(authorization = %Kind::Authorization.of(row.id), ?error, "a credential cannot be read");
        })
    }

    /// The authorization, locked without its connections, if it is still the one that was asked with.
    pub(super) async fn lock_same(
        &self,
        change: &mut Change<'_>,
        asked: &authorization::Model,
    ) -> Result<Option<authorization::Model>> {
        Ok(change.lock(asked.id).await?.filter(|row| is_still(row, asked)))
    }

    /// Marks an authorization whose end is near.
    pub async fn expire_soon(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        let Some(look) = self.look(Occasion::Due(job), authorization).await? else { return Ok(()) };
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(row) = self.lock_same(&mut change, &look.row).await? else { return Ok(()) };
        let mut held = change.with_all(row).await?;
        change.expire_soon(&mut held).await?;
        change.commit().await
    }
}
