//! What was judged before the lock, while a provider was asked, and is judged again under it.
//!
//! A provider is asked outside of any transaction, about an account and with a credential that may have changed by the
//! time that the answer is acted on. Whoever judges first notes what the judgement went by ([`Judged`]), and requires under
//! the lock that it still holds. That a credential was renewed meanwhile, or that someone signed in as the same account once
//! more, changes nothing about what its account reaches; another account does.

use entity::authorization;
use uuid::Uuid;

use super::{
    Connections,
    authorizations::may_use,
    held::{Held, Member},
    lifecycle::Change,
    settle::meanwhile,
};
use crate::{
    access::{Action, Viewer},
    error::{Error, Result},
};

/// How often a connection is looked up again that is moved at the moment at which it is to be locked.
const LOOKUPS: u32 = 5;

/// What a judgement about an authorization went by.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    authorization: Uuid,
    account: Option<String>,
    credential_version: i64,
}

impl Judged {
    pub(super) fn authorization(&self) -> Uuid {
        self.authorization
    }
}

impl From<&authorization::Model> for Judged {
    fn from(row: &authorization::Model) -> Self {
        Self { authorization: row.id, account: row.account_id.clone(), credential_version: row.credential_version }
    }
}

impl Held {
    /// Whether this is the authorization that was judged, of the same account. Where nothing says whose account it is, only
    /// the same credential is known to be of the same account.
    pub(super) fn is_as_judged(&self, judged: &Judged) -> bool {
        let row = &self.authorization;
        let same_credential = row.credential_version == judged.credential_version;
        self.id() == judged.authorization
            && !self.is_removed()
            && row.account_id == judged.account
            && (judged.account.is_some() || same_credential)
    }

    /// CONFLICT where it is not ([`Held::is_as_judged`]).
    pub(super) fn require_as_judged(&self, judged: &Judged) -> Result<()> {
        if self.is_as_judged(judged) { Ok(()) } else { Err(meanwhile()) }
    }

    /// FORBIDDEN where `viewer` may not use the authorization for more, or not any more: somebody else may have signed in.
    pub(super) fn require_usable(&self, viewer: &Viewer) -> Result<()> {
        if may_use(viewer, &self.authorization) { Ok(()) } else { Err(Error::Forbidden) }
    }

    /// The place of a connection among the members. NOT_FOUND where `viewer` does not see it any more, FORBIDDEN where they
    /// may not do `action` to it any more.
    pub(super) fn place_of(&self, connection: Uuid, viewer: &Viewer, action: Action) -> Result<usize> {
        let place = self.members.iter().position(|member| member.row.id == connection).ok_or_else(meanwhile)?;
        match &self.members[place] {
            member if member.may(viewer, action) => Ok(place),
            member if member.may(viewer, Action::See) => Err(Error::Forbidden),
            _ => Err(Error::not_found("connectionId")),
        }
    }
}

impl Member {
    /// Whether what was asked about `account` is still about this connection's account.
    pub(super) fn is_of(&self, account: Option<&str>) -> bool {
        self.row.account_id.as_deref() == account
    }
}

impl<'a> Change<'a> {
    /// Begins a change that locks the authorization which a connection has, wherever it was moved to; none where the
    /// connection was removed.
    pub(super) async fn of_connection(
        connections: &'a Connections,
        viewer: &Viewer,
        connection: Uuid,
    ) -> Result<Option<(Self, Held)>> {
        for _ in 0..LOOKUPS {
            let Some(row) = connections.row(connection).await? else { return Ok(None) };
            let mut change = Self::begin(connections, viewer).await?;
            let held = change.hold_one(row.authorization_id).await?;
            if let Some(held) = held.filter(|held| held.member(connection).is_some()) {
                return Ok(Some((change, held)));
            }
        }
        Err(meanwhile())
    }
}
