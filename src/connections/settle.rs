//! What becomes of a sign-in: a new connection, a healed authorization, a move, or a question.

use entity::{AccountChange, AttemptKind, AttemptStatus, attempt, authorization, connection, link};
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::{
    AvailableAccounts, Connections,
    attempts::Ending,
    callback::refused,
    connect::find_authorization,
    credentials::Fresh,
    held::{Held, Member, hold, hold_one},
    lifecycle::{Change, Healed},
    plan::{Carried, Plan},
    plug::NewConnection,
    remove::Retired,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    provider::{Account, Credential},
};

/// What someone decided about a sign-in.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    pub(super) account: Option<String>,
    pub(super) change: Option<AccountChange>,
}

/// What a sign-in came to.
enum Settled {
    Done,
    /// Someone has to decide first.
    Ask,
}

/// Which account is meant.
pub(super) enum Choice {
    /// The connector has only one.
    Only,
    This(Account),
    /// There are several, and nobody said.
    Open,
}

/// A reconnect that is being settled.
struct Reconnecting<'a> {
    viewer: &'a Viewer,
    attempt: &'a attempt::Model,
    connector: &'a Connector,
    fresh: &'a Fresh,
    /// As it was before the transaction.
    connection: connection::Model,
    /// Another account for this connection, where that was decided.
    account: Option<Account>,
    /// What it is done by, where that is a link.
    link: Option<link::Model>,
}

impl Connections {
    /// Settles what a callback brought. Where nothing comes of it, the grant is given back.
    pub(super) async fn settle(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        connector: &Connector,
        fresh: Fresh,
        decision: Decision,
    ) -> Result<()> {
        let settled = match self.come_to(viewer, row, connector, &fresh, decision).await {
            Ok(Settled::Done) => Ok(()),
            Ok(Settled::Ask) => {
                let link = self.open_carried(row)?.link;
                let carried = Carried { waiting: Some((&fresh).into()), link, ..Carried::default() };
                let sealed = self.seal_carried(row.id, &carried)?;
                let mut change = Change::begin(self, viewer).await?;
                if change.let_wait(row, sealed).await? {
                    return change.commit().await;
                }
                Err(meanwhile())
            }
            Err(error) => Err(error),
        };
        if settled.is_err() {
            self.give_back(connector, &fresh).await;
        }
        settled
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
            self.fail(&row, mismatch()).await?;
            self.give_back(&connector, &fresh).await;
        } else {
            let change = change.filter(|change| *change != AccountChange::Ask);
            match self.come_to(viewer, &row, &connector, &fresh, Decision { account, change }).await? {
                Settled::Done => {}
                Settled::Ask => {
                    let field = if row.kind == AttemptKind::Connect { "accountId" } else { "accountChange" };
                    return Err(Error::invalid(field, "Say which one is meant."));
                }
            }
        }
        self.attempt(viewer, id).await?.ok_or_else(|| Error::internal("an attempt that is gone"))
    }

    /// A part of the accounts to choose from while an attempt waits; none when the provider does not answer.
    pub async fn attempt_accounts(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        search: Option<&str>,
        first: Option<i32>,
        after: Option<&str>,
    ) -> Result<Option<AvailableAccounts>> {
        if row.status != AttemptStatus::NeedsDecision {
            return Ok(None);
        }
        let (Some(connector), Some(waiting)) = (self.connector_of(&row.connector), self.open_carried(row)?.waiting)
        else {
            return Ok(None);
        };
        let credential = Fresh::from(waiting).credential;
        self.accounts_page(viewer, &connector, &credential, search, first, after).await
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
            Choice::Open => return Ok(Settled::Ask),
            Choice::Only => None,
            Choice::This(account) => Some(account),
        };
        let mut change = Change::begin(self, viewer).await?;
        let mut held = self.authorize_with(&mut change, viewer, connector, fresh).await?;
        let new = NewConnection { name: plan.name, client: plan.client, external_id: plan.external_id, account };
        let connection = change.plug(&mut held, connector, new, viewer).await?;
        if let Some(link) = &link {
            change.use_up(link, connector, connection.id).await?;
        }
        finish(&mut change, row, vec![connection.id]).await?;
        change.commit().await?;
        Ok(Settled::Done)
    }

    /// The authorization of the account that signed in: renewed, and healed where it was dead; or a new one.
    async fn authorize_with(
        &self,
        change: &mut Change<'_>,
        viewer: &Viewer,
        connector: &Connector,
        fresh: &Fresh,
    ) -> Result<Held> {
        if let Some(held) = self.renewed(change, viewer, connector, fresh).await? {
            return Ok(held);
        }
        match change.authorize(connector, fresh, viewer.user()).await? {
            Some(held) => Ok(held),
            None => self.renewed(change, viewer, connector, fresh).await?.ok_or_else(meanwhile),
        }
    }

    /// The authorization that the account has already, with what is fresh; healed where it was dead.
    async fn renewed(
        &self,
        change: &mut Change<'_>,
        viewer: &Viewer,
        connector: &Connector,
        fresh: &Fresh,
    ) -> Result<Option<Held>> {
        let account = fresh.account.as_ref().map(|account| account.id.as_str());
        let Some(mut held) = self.hold_account(change, connector, account).await? else { return Ok(None) };
        change.store(&mut held, connector, fresh).await?;
        if !change.stands(&held) {
            change.heal(&mut held, Healed::ByTheWay(viewer)).await?;
        }
        Ok(Some(held))
    }

    async fn hold_account(
        &self,
        change: &Change<'_>,
        connector: &Connector,
        account: Option<&str>,
    ) -> Result<Option<Held>> {
        let Some(account) = account else { return Ok(None) };
        let Some(id) = find_authorization(&change.txn, change.workspace, &connector.slug, account).await? else {
            return Ok(None);
        };
        Ok(hold_one(&change.txn, id).await?.filter(|held| !held.is_removed()))
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
        let Some(wanted) = wanted else {
            return Ok(if accounts.len() == 1 { Choice::This(accounts.remove(0)) } else { Choice::Open });
        };
        let found = accounts.into_iter().find(|account| account.id == wanted);
        let unknown = || UserError::new(UserErrorCode::NotFound, "This sign-in gives access to no such account.");
        Ok(Choice::This(found.ok_or_else(|| unknown().at(field.iter().copied()))?))
    }

    async fn settle_reconnect(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        connector: &Connector,
        fresh: &Fresh,
        decision: Decision,
    ) -> Result<Settled> {
        let gone = || UserError::new(UserErrorCode::NotFound, "The connection was removed meanwhile.");
        let link = self.link_of(viewer, row).await?;
        let id = row.connection_id.ok_or_else(|| Error::internal("a reconnect of nothing"))?;
        let connection = self.reconnectable_row(viewer, id).await?.ok_or_else(gone)?;
        let before = authorization::Entity::find_by_id(connection.authorization_id).one(self.db.reader()).await?;
        let before = before.ok_or_else(|| Error::internal("a connection without an authorization"))?;
        let account = match decision.account.as_deref() {
            None => None,
            wanted => match self.choose(connector, &fresh.credential, wanted, &["accountId"]).await? {
                Choice::This(account) => Some(account),
                Choice::Only | Choice::Open => None,
            },
        };
        let reconnecting = Reconnecting { viewer, attempt: row, connector, fresh, connection, account, link };
        if same_account(&before, fresh) {
            return self.heal_all(reconnecting).await;
        }
        match decision.change.unwrap_or(Plan::of(row)?.account_change()) {
            AccountChange::Ask => Ok(Settled::Ask),
            AccountChange::Refuse if row.link_id.is_some() => Err(another_account(row.expected_name.as_deref()).into()),
            AccountChange::Refuse => Err(mismatch().into()),
            AccountChange::ThisConnection => self.move_over(reconnecting, false).await,
            AccountChange::WholeAuthorization => self.move_over(reconnecting, true).await,
        }
    }

    /// The same account signed in again: everything of its authorization works again, and what had lost access on its
    /// own does if a probe says so.
    async fn heal_all(&self, it: Reconnecting<'_>) -> Result<Settled> {
        let works = self.regained(&it).await?;
        let mut change = Change::begin(self, it.viewer).await?;
        let held = hold_one(&change.txn, it.connection.authorization_id).await?;
        let Some(mut held) = held.filter(|held| held.member(it.connection.id).is_some()) else {
            return Err(meanwhile());
        };
        let mut healed = Healed::By(it.viewer);
        if let Some(link) = &it.link {
            change.use_up(link, it.connector, it.connection.id).await?;
            healed = Healed::ByLink(it.viewer);
        }
        change.store(&mut held, it.connector, it.fresh).await?;
        change.heal(&mut held, healed).await?;
        change.regain(&mut held, &works, healed).await?;
        // What the person who did it may not see is healed, and not told.
        let told = |member: &&Member| !member.row.lost_access && member.may(it.viewer, Action::See);
        let healed: Vec<Uuid> = held.members.iter().filter(told).map(|member| member.row.id).collect();
        finish(&mut change, it.attempt, healed).await?;
        change.commit().await?;
        Ok(Settled::Done)
    }

    /// Which of the connections that had lost access on their own work with the fresh credential.
    async fn regained(&self, it: &Reconnecting<'_>) -> Result<Vec<Uuid>> {
        let mut works = Vec::new();
        for lost in self.lost_connections(it.connection.authorization_id).await? {
            let account = it.connector.probe.account_request.as_ref().and(lost.account_id.as_deref());
            if self.provider.probe(it.connector, &it.fresh.credential, account).await.is_ok() {
                works.push(lost.id);
            }
        }
        Ok(works)
    }

    /// Another account signed in, and is meant: one connection moves to it, or all of the authorization.
    async fn move_over(&self, it: Reconnecting<'_>, whole: bool) -> Result<Settled> {
        let reachable = match it.connector.accounts {
            Some(_) => Some(
                self.provider
                    .accounts(it.connector, &it.fresh.credential)
                    .await
                    .map_err(|failure| refused(&failure))?,
            ),
            None => None,
        };
        let mut change = Change::begin(self, it.viewer).await?;
        let (mut from, onto) = self.hold_both(&change, &it).await?;
        let moving: Vec<Uuid> =
            from.members.iter().map(|member| member.row.id).filter(|id| whole || *id == it.connection.id).collect();
        for member in from.members.iter_mut().filter(|member| moving.contains(&member.row.id)) {
            if !member.may(it.viewer, Action::Tend) {
                return Err(Error::Forbidden);
            }
            if let Some(account) = it.account.as_ref().filter(|_| member.row.id == it.connection.id) {
                member.row.account_id = Some(account.id.clone());
                member.row.account_name = Some(account.name.clone());
            }
            reaches(reachable.as_deref(), &member.row)?;
        }
        let in_place = onto.is_none() && moving.len() == from.members.len();
        let retired = if in_place {
            let (sealed, account) = (from.authorization.credential.clone(), from.authorization.account_id.clone());
            change.store(&mut from, it.connector, it.fresh).await?;
            change.rekey(&mut from, &moving).await?;
            change.heal(&mut from, Healed::By(it.viewer)).await?;
            change.regain(&mut from, &moving, Healed::By(it.viewer)).await?;
            sealed.map(|sealed| Retired { sealed, account })
        } else {
            let mut onto = match onto {
                Some(mut onto) => {
                    change.store(&mut onto, it.connector, it.fresh).await?;
                    // What was working there nobody reconnected: it stays whose it is.
                    if !change.stands(&onto) {
                        change.heal(&mut onto, Healed::By(it.viewer)).await?;
                    }
                    onto
                }
                None => {
                    let new = change.authorize(it.connector, it.fresh, it.viewer.user()).await?;
                    new.ok_or_else(meanwhile)?
                }
            };
            change.transfer(&mut from, &mut onto, &moving, it.viewer).await?
        };
        finish(&mut change, it.attempt, moving).await?;
        let authorization = from.id();
        change.commit().await?;
        self.revoke_retired(it.connector, authorization, retired).await;
        Ok(Settled::Done)
    }

    /// The authorization that the connection has, and the one of the account that signed in, where there is one.
    async fn hold_both(&self, change: &Change<'_>, it: &Reconnecting<'_>) -> Result<(Held, Option<Held>)> {
        let from = it.connection.authorization_id;
        let onto = match &it.fresh.account {
            Some(account) => find_authorization(&change.txn, change.workspace, &it.connector.slug, &account.id).await?,
            None => None,
        };
        let ids: Vec<Uuid> = [Some(from), onto].into_iter().flatten().collect();
        let (mut these, mut others): (Vec<_>, Vec<_>) = hold(&change.txn, &ids)
            .await?
            .into_iter()
            .filter(|held| !held.is_removed())
            .partition(|held| held.id() == from);
        let held = these.pop().filter(|held| held.member(it.connection.id).is_some());
        Ok((held.ok_or_else(meanwhile)?, others.pop()))
    }
}

/// Whether the same account signed in that the authorization is of; an unknown one is taken for the same.
fn same_account(before: &authorization::Model, fresh: &Fresh) -> bool {
    match (&before.account_id, &fresh.account) {
        (Some(before), Some(now)) => *before == now.id,
        (None, _) | (_, None) => true,
    }
}

/// Whether the connection's account is among those that the new sign-in reaches.
fn reaches(reachable: Option<&[Account]>, row: &connection::Model) -> Result<()> {
    let (Some(reachable), Some(account)) = (reachable, &row.account_id) else { return Ok(()) };
    if reachable.iter().any(|one| one.id == *account) {
        return Ok(());
    }
    let message = "The new sign-in does not reach an account that would have to move with it.";
    Err(UserError::new(UserErrorCode::Conflict, message).against(Conflict::Connection(row.id)).into())
}

async fn finish(change: &mut Change<'_>, row: &attempt::Model, connections: Vec<Uuid>) -> Result<()> {
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
