//! What becomes of a sign-in for a connection that exists: all of its authorization is healed, or connections move to the
//! account that signed in, or someone is asked.
//!
//! Which of these is judged before the lock, since it may take the provider's word, and once more under it: what someone
//! else decided meanwhile is never undone silently.

use entity::{AccountChange, attempt, authorization, connection, link};
use uuid::Uuid;

use super::{
    Connections,
    callback::refused,
    connect::find_authorization,
    credentials::Fresh,
    held::{Held, Member},
    judged::Judged,
    lifecycle::{Change, Healed},
    plan::Plan,
    regaining::Regaining,
    settle::{Choice, Decision, Settled, another_account, finish, meanwhile, mismatch},
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    provider::Account,
};

/// How often a sign-in is judged that is overtaken by other changes each time.
const JUDGED_AT_MOST: u32 = 3;

/// A reconnect that is being settled.
struct Reconnecting<'a> {
    viewer: &'a Viewer,
    attempt: &'a attempt::Model,
    connector: &'a Connector,
    fresh: &'a Fresh,
    /// As it was before the transaction.
    connection: connection::Model,
    /// Its authorization at that time.
    judged: Judged,
    /// Another account for this connection, where that was decided.
    account: Option<Account>,
    /// What it is done by, where that is a link.
    link: Option<link::Model>,
}

/// What came of a judgement.
enum Outcome {
    Settled(Settled),
    /// What was judged has changed before it was locked: nothing was done.
    Overtaken,
}

impl Connections {
    pub(super) async fn settle_reconnect(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        connector: &Connector,
        fresh: &Fresh,
        decision: Decision,
    ) -> Result<Settled> {
        for _ in 0..JUDGED_AT_MOST {
            if let Outcome::Settled(settled) = self.judge_sign_in(viewer, row, connector, fresh, &decision).await? {
                return Ok(settled);
            }
        }
        Err(meanwhile())
    }

    async fn judge_sign_in(
        &self,
        viewer: &Viewer,
        row: &attempt::Model,
        connector: &Connector,
        fresh: &Fresh,
        decision: &Decision,
    ) -> Result<Outcome> {
        let gone = || UserError::new(UserErrorCode::NotFound, "The connection was removed meanwhile.");
        let link = self.link_of(viewer, row).await?;
        let id = row.connection_id.ok_or_else(|| Error::internal("a reconnect of nothing"))?;
        let connection = self.reconnectable_row(viewer, id).await?.ok_or_else(gone)?;
        let before = self.authorization_of(&connection).await?;
        let account = match decision.account.as_deref() {
            None => None,
            wanted => match self.choose(connector, &fresh.credential, wanted, &["accountId"]).await? {
                Choice::This(account) => Some(account),
                Choice::Only | Choice::Open => None,
            },
        };
        let judged = Judged::from(&before);
        let it = Reconnecting { viewer, attempt: row, connector, fresh, connection, judged, account, link };
        if same_account(&before, fresh) {
            return self.heal_all(it).await;
        }
        match decision.change.unwrap_or(Plan::of(row)?.account_change()) {
            AccountChange::Refuse if row.link_id.is_some() => Err(another_account(row.expected_name.as_deref()).into()),
            AccountChange::Refuse => Err(mismatch().into()),
            AccountChange::Ask => Ok(Outcome::Settled(Settled::Ask(account_of(&before)))),
            // What was said about a change was said of another account than it has now: someone else decided since.
            _ if row.expected_id != before.account_id => Ok(Outcome::Settled(Settled::Ask(account_of(&before)))),
            AccountChange::ThisConnection => self.move_over(it, false).await,
            AccountChange::WholeAuthorization => self.move_over(it, true).await,
        }
    }

    /// The same account signed in again: everything of its authorization works again at once. What had lost access on its
    /// own is asked about after that, and does where it works.
    async fn heal_all(&self, it: Reconnecting<'_>) -> Result<Outcome> {
        let mut change = Change::begin(self, it.viewer).await?;
        let held = change.hold_one(it.connection.authorization_id).await?;
        let Some(mut held) = held.filter(|held| it.may_still(held) && same_account(&held.authorization, it.fresh))
        else {
            return Ok(Outcome::Overtaken);
        };
        let mut healed = Healed::By(it.viewer);
        if let Some(link) = &it.link {
            change.use_up(link, it.connector, it.connection.id).await?;
            healed = Healed::ByLink(it.viewer);
        }
        let was_unknown = held.authorization.account_id.is_none();
        change.store(&mut held, it.connector, it.fresh, healed.signed_in()).await?;
        if was_unknown && it.fresh.account.is_some() {
            let all: Vec<Uuid> = held.members.iter().map(|member| member.row.id).collect();
            change.rekey(&mut held, &all).await?;
        }
        change.heal(&mut held, healed).await?;
        let regaining = Regaining::of(&held, it.connector, &it.fresh.credential, it.viewer, healed);
        change.put_off_lost(&regaining).await?;
        // What the person who did it may not see is healed, and not told.
        let told = |member: &&Member| !member.row.lost_access && member.may(it.viewer, Action::See);
        let healed: Vec<Uuid> = held.members.iter().filter(told).map(|member| member.row.id).collect();
        finish(&mut change, it.attempt, healed.clone()).await?;
        change.commit().await?;
        self.regain_lost(regaining, Some((it.attempt, healed))).await;
        Ok(Outcome::Settled(Settled::Done))
    }

    /// Another account signed in, and is meant: one connection moves to it, or all of the authorization.
    async fn move_over(&self, it: Reconnecting<'_>, whole: bool) -> Result<Outcome> {
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
        let Some((mut from, onto)) = self.hold_both(&mut change, &it).await? else { return Ok(Outcome::Overtaken) };
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
        if in_place {
            self.change_in_place(&mut change, &it, &mut from, &moving).await?;
        } else {
            let mut onto = match onto {
                Some(mut onto) => {
                    change.store(&mut onto, it.connector, it.fresh, it.viewer.user()).await?;
                    // What was working there nobody reconnected: it stays whose it is.
                    if !change.stands(&onto) {
                        change.heal(&mut onto, Healed::By(it.viewer)).await?;
                    }
                    onto
                }
                None => match change.authorize(it.connector, it.fresh, it.viewer.user()).await? {
                    Some(new) => new,
                    // Someone signed in as the same account at this moment.
                    None => return Ok(Outcome::Overtaken),
                },
            };
            change.transfer(&mut from, &mut onto, &moving, it.viewer).await?;
        }
        finish(&mut change, it.attempt, moving).await?;
        change.commit().await?;
        Ok(Outcome::Settled(Settled::Done))
    }

    /// The authorization becomes one of the other account, with all its connections; the grant that it had is to be
    /// given back. That the provider lists an account is its word that the new sign-in reaches it: what had lost access has
    /// it again.
    async fn change_in_place(
        &self,
        change: &mut Change<'_>,
        it: &Reconnecting<'_>,
        from: &mut Held,
        moving: &[Uuid],
    ) -> Result<()> {
        let before = change.grant_of(&from.authorization);
        change.store(from, it.connector, it.fresh, it.viewer.user()).await?;
        change.rekey(from, moving).await?;
        change.heal(from, Healed::By(it.viewer)).await?;
        change.regain(from, moving, Healed::By(it.viewer)).await?;
        change.note_give_backs(before.into_iter().collect()).await
    }

    /// The authorization that the connection has, and the one of the account that signed in, where there is one; none where
    /// either is not as it was judged any more.
    async fn hold_both(&self, change: &mut Change<'_>, it: &Reconnecting<'_>) -> Result<Option<(Held, Option<Held>)>> {
        let from = it.connection.authorization_id;
        let signed_in = it.fresh.account.as_ref().map(|account| account.id.as_str());
        let onto = match signed_in {
            Some(account) => find_authorization(&change.txn, change.workspace, &it.connector.slug, account).await?,
            None => None,
        };
        let ids: Vec<Uuid> = [Some(from), onto].into_iter().flatten().collect();
        let all = change.hold(&ids).await?;
        let (mut these, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|held| held.id() == from);
        let (from, found) = (these.pop(), others.pop());
        let is_theirs = |held: &Held| !held.is_removed() && held.authorization.account_id.as_deref() == signed_in;
        let overtaken = onto.is_some() && !found.as_ref().is_some_and(is_theirs);
        let from = from.filter(|from| from.is_as_judged(&it.judged) && it.may_still(from) && !overtaken);
        Ok(from.map(|from| (from, found)))
    }
}

impl Reconnecting<'_> {
    /// Whether the connection has this authorization, and the viewer may reconnect it.
    fn may_still(&self, held: &Held) -> bool {
        held.member(self.connection.id).is_some_and(|member| member.may(self.viewer, Action::Tend))
    }
}

/// Whether the same account signed in that the authorization is of; an unknown one is taken for the same.
fn same_account(before: &authorization::Model, fresh: &Fresh) -> bool {
    match (&before.account_id, &fresh.account) {
        (Some(before), Some(now)) => *before == now.id,
        (None, _) | (_, None) => true,
    }
}

/// Whose account an authorization is of.
pub(super) fn account_of(row: &authorization::Model) -> Option<Account> {
    let id = row.account_id.clone()?;
    Some(Account { name: row.account_name.clone().unwrap_or_else(|| id.clone()), id })
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
