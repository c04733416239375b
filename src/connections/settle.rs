//! What becomes of a sign-in: a new connection, or a question. What becomes of one for a connection that exists is
//! [`super::reconnecting`]'s.

use std::sync::Arc;

use entity::{AccountChange, AttemptKind, AttemptStatus, attempt};
use uuid::Uuid;

use super::{
    Connections, OpenedAccounts,
    attempts::Ending,
    callback::refused,
    connect::find_authorization,
    credentials::Fresh,
    held::Held,
    lifecycle::{Change, Healed},
    plan::{Carried, Plan},
    plug::NewConnection,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Error, Result, UserError, UserErrorCode},
    provider::{Account, Credential},
};

/// What someone decided about a sign-in.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    pub(super) account: Option<String>,
    pub(super) change: Option<AccountChange>,
}

/// What a sign-in came to.
pub(super) enum Settled {
    Done,
    /// Someone has to decide first; where a connection exists, whose account it is now.
    Ask(Option<Account>),
}

/// Which account is meant.
pub(super) enum Choice {
    /// The connector has only one.
    Only,
    This(Account),
    /// There are several, and nobody said.
    Open,
}

impl Connections {
    /// Settles what a callback brought. Where nothing comes of it, the grant is the caller's to give back.
    pub(super) async fn settle(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        connector: &Connector,
        fresh: &Fresh,
    ) -> Result<()> {
        let Settled::Ask(expected) = self.come_to(viewer, row, connector, fresh, Decision::default()).await? else {
            return Ok(());
        };
        let link = self.open_carried(row)?.link;
        let carried = Carried { waiting: Some(fresh.into()), link, ..Carried::default() };
        let sealed = self.seal_carried(row.id, &carried)?;
        let mut change = Change::begin(self, viewer).await?;
        if change.let_wait(row, Some(sealed), expected).await? { change.commit().await } else { Err(meanwhile()) }
    }

    /// Decides an attempt that waits.
    pub async fn decide(
        &self,
        viewer: &Viewer,
        id: Uuid,
        account: Option<String>,
        change: Option<AccountChange>,
    ) -> Result<attempt::Model> {
        viewer.may(Action::Connect)?;
        let row = self.attempt(viewer, id).await?.ok_or_else(|| Error::not_found("attemptId"))?;
        if row.status != AttemptStatus::NeedsDecision {
            return Err(Error::invalid("attemptId", "This attempt does not wait for a decision."));
        }
        let connector = self.connector(&row.connector, "attemptId")?;
        let waiting =
            self.open_carried(&row)?.waiting.ok_or_else(|| Error::internal("an attempt that waits for nothing"))?;
        let fresh = Fresh::from(waiting);
        if change == Some(AccountChange::Refuse) {
            let left = self.sign_in_to_give_back(row.workspace_id, &row.connector, &fresh)?;
            self.fail(&row, mismatch(), left).await?;
        } else {
            let change = change.filter(|change| *change != AccountChange::Ask);
            let decided = row.kind == AttemptKind::Reconnect && change.is_some();
            match self.come_to(viewer, &row, &connector, &fresh, Decision { account, change }).await? {
                Settled::Done => {}
                // The account changed since they were asked: they decided about another.
                Settled::Ask(expected) if decided => {
                    let mut change = Change::begin(self, viewer).await?;
                    if change.let_wait(&row, None, expected).await? {
                        change.commit().await?;
                    }
                    return Err(meanwhile());
                }
                Settled::Ask(_) => {
                    let field = if row.kind == AttemptKind::Connect { "accountId" } else { "accountChange" };
                    return Err(Error::invalid(field, "Say which one is meant."));
                }
            }
        }
        self.attempt(viewer, id).await?.ok_or_else(|| Error::internal("an attempt that is gone"))
    }

    /// The accounts to choose from while an attempt waits; none when the provider does not answer.
    ///
    /// # Errors
    /// `Unavailable` where the provider is asked so much that this would wait for long.
    pub async fn accounts_of_attempt(&self, row: &attempt::Model) -> Result<Option<Arc<OpenedAccounts>>> {
        if row.status != AttemptStatus::NeedsDecision {
            return Ok(None);
        }
        let (Some(connector), Some(waiting)) = (self.connector_of(&row.connector), self.open_carried(row)?.waiting)
        else {
            return Ok(None);
        };
        self.accounts_opened_by(connector, &Fresh::from(waiting).credential, row.workspace_id).await
    }

    async fn come_to(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        connector: &Connector,
        fresh: &Fresh,
        decision: Decision,
    ) -> Result<Settled> {
        match row.kind {
            AttemptKind::Connect => self.settle_connect(viewer, row, connector, fresh, decision).await,
            AttemptKind::Reconnect => self.settle_reconnect(viewer, row, connector, fresh, decision).await,
        }
    }

    async fn settle_connect(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        connector: &Connector,
        fresh: &Fresh,
        decision: Decision,
    ) -> Result<Settled> {
        viewer.may(Action::Connect)?;
        let link = self.link_of(viewer, row).await?;
        let plan = Plan::of(row)?;
        self.require_client(viewer.workspace(), plan.client).await?;
        let wanted = decision.account.or(plan.account);
        let account = match self.choose(connector, &fresh.credential, wanted.as_deref(), &["accountId"]).await? {
            Choice::Open => return Ok(Settled::Ask(None)),
            Choice::Only => None,
            Choice::This(account) => Some(account),
        };
        let mut change = Change::begin(self, viewer).await?;
        // Who follows a link is nobody here: the authorization stays whose it is.
        let owner = if link.is_some() { None } else { viewer.user() };
        let mut held = self.authorize_with(&mut change, viewer, connector, fresh, owner).await?;
        let new = NewConnection { name: plan.name, client: plan.client, external_id: plan.external_id, account };
        let connection = change.plug(&mut held, connector, new, viewer).await?;
        if let Some(link) = &link {
            change.use_up(link, connector, connection.id).await?;
        }
        finish(&mut change, row, vec![connection.id]).await?;
        change.commit().await?;
        Ok(Settled::Done)
    }

    /// The authorization of the account that signed in: renewed, and healed where it was dead; or a new one. It belongs to
    /// `owner` from then on; where none is given, a new one to the viewer.
    async fn authorize_with(
        &self,
        change: &mut Change<'_>,
        viewer: &Viewer,
        connector: &Connector,
        fresh: &Fresh,
        owner: Option<Uuid>,
    ) -> Result<Held> {
        if let Some(held) = self.renewed(change, viewer, connector, fresh, owner).await? {
            return Ok(held);
        }
        match change.authorize(connector, fresh, viewer.user()).await? {
            Some(held) => Ok(held),
            None => self.renewed(change, viewer, connector, fresh, owner).await?.ok_or_else(meanwhile),
        }
    }

    /// The authorization that the account has already, with what is fresh; healed where it was dead.
    async fn renewed(
        &self,
        change: &mut Change<'_>,
        viewer: &Viewer,
        connector: &Connector,
        fresh: &Fresh,
        owner: Option<Uuid>,
    ) -> Result<Option<Held>> {
        let account = fresh.account.as_ref().map(|account| account.id.as_str());
        let Some(mut held) = self.hold_account(change, connector, account).await? else { return Ok(None) };
        change.store(&mut held, connector, fresh, owner).await?;
        if !change.stands(&held) {
            change.heal(&mut held, Healed::ByTheWay(viewer)).await?;
        }
        Ok(Some(held))
    }

    async fn hold_account(
        &self,
        change: &mut Change<'_>,
        connector: &Connector,
        account: Option<&str>,
    ) -> Result<Option<Held>> {
        let Some(account) = account else { return Ok(None) };
        let Some(id) = find_authorization(&change.txn, change.workspace, &connector.slug, account).await? else {
            return Ok(None);
        };
        // It may have been given to another account while it was waited for.
        let still = |held: &Held| !held.is_removed() && held.authorization.account_id.as_deref() == Some(account);
        Ok(change.hold_one(id).await?.filter(still))
    }

    /// The account that `wanted` names among those that the credential reaches.
    pub(super) async fn choose(
        &self,
        connector: &Connector,
        credential: &Credential,
        wanted: Option<&str>,
        field: &[&str],
    ) -> Result<Choice> {
        if connector.accounts.is_none() {
            let unwanted =
                || UserError::new(UserErrorCode::Invalid, "This data source has no accounts to choose from.");
            return if wanted.is_some() { Err(unwanted().at(field.iter().copied()).into()) } else { Ok(Choice::Only) };
        }
        let mut accounts = self.provider.accounts(connector, credential).await.map_err(|failure| refused(&failure))?;
        if accounts.is_empty() {
            let message =
                "This sign-in gives access to no account there. Sign in as someone who has one, or ask for access.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        let Some(wanted) = wanted else {
            return Ok(if accounts.len() == 1 { Choice::This(accounts.remove(0)) } else { Choice::Open });
        };
        let found = accounts.into_iter().find(|account| account.id == wanted);
        let unknown = || UserError::new(UserErrorCode::NotFound, "This sign-in gives access to no such account.");
        Ok(Choice::This(found.ok_or_else(|| unknown().at(field.iter().copied()))?))
    }
}

/// Ends the attempt in the change that does what it is for.
pub(super) async fn finish(change: &mut Change<'_>, row: &attempt::Model, connections: Vec<Uuid>) -> Result<()> {
    if change.end_attempt(row, Ending::Succeeded(connections)).await? { Ok(()) } else { Err(meanwhile()) }
}

pub(super) fn mismatch() -> UserError {
    UserError::new(
        UserErrorCode::AccountMismatch,
        "Someone signed in as another account than before. Nothing was changed.",
    )
}

/// The same for whoever follows a link, who hears as whom to sign in and nothing else.
pub(super) fn another_account(expected: Option<&str>) -> UserError {
    let message = match expected {
        Some(expected) => format!("This is another account than before. Use {expected}. Nothing was changed."),
        None => "This is another account than before. Nothing was changed.".to_owned(),
    };
    UserError::new(UserErrorCode::AccountMismatch, message)
}

/// Something else got there first.
pub(super) fn meanwhile() -> Error {
    UserError::new(UserErrorCode::Conflict, "This was changed by someone else at the same moment. Look again.").into()
}
