//! Changing what does not break: name, client, account, external id, shares; and looking now.

use std::{collections::BTreeSet, sync::Arc};

use entity::{Role, connection, connection_share, user};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;
use uuid::Uuid;

use super::{
    Connections,
    authorizations::may_use,
    conflicts::external_id_taken,
    held::{Held, Member},
    judged::Judged,
    lifecycle::{Change, Healed},
    settle::{Choice, meanwhile},
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::{Error, Result, UserError, UserErrorCode},
    ids::Kind,
    journal::Touched,
    pages::fold,
    patch::Patch,
    people::{self, names},
    provider::Account,
};

/// How many people can be named at once.
const MOST_SHARED: usize = 100;

/// An account that a connection is to have, and by which authorization it was found to be reached.
struct OtherAccount {
    connector: Arc<Connector>,
    account: Account,
    judged: Judged,
}

/// What to change of a connection.
#[derive(Debug, Clone)]
pub struct Update {
    pub connection: Uuid,
    pub name: Patch<String>,
    pub client: Patch<Uuid>,
    pub account: Patch<String>,
    pub external_id: Patch<String>,
}

impl Connections {
    /// Changes a connection.
    pub async fn update(&self, viewer: &Viewer, input: Update) -> Result<connection::Model> {
        viewer.may(Action::Tend)?;
        let row = self.tended(viewer, input.connection, Action::Tend).await?;
        let name = input.name.or_keep("name")?.map(|name| names::name("name", &name)).transpose()?;
        let external_id = input.external_id.checked(|id| names::external_id("externalId", &id))?;
        if let Patch::Set(wanted) = &external_id {
            let holder = self.holder_of(viewer.workspace(), wanted).await?;
            if let Some(other) = holder.filter(|other| other.id != row.id) {
                return Err(external_id_taken(other.id).into());
            }
        }
        let wanted = input.account.or_keep("accountId")?;
        let other = match &wanted {
            Some(wanted) if row.account_id.as_ref() != Some(wanted) => {
                Some(self.other_account(viewer, &row, wanted).await?)
            }
            Some(_) | None => None,
        };
        let (mut change, mut held, place) = self.hold_member(viewer, row.id, Action::Tend).await?;
        let account = match other {
            Some(other) => {
                held.require_as_judged(&other.judged)?;
                held.require_usable(viewer)?;
                Some(other)
            }
            // It was the one that is wanted, and is not any more.
            None if wanted.is_some() && !held.members[place].is_of(wanted.as_deref()) => return Err(meanwhile()),
            None => None,
        };
        if let Patch::Set(client) = input.client {
            people::client_stays(&change.txn, change.workspace, Some(client)).await?;
        }
        let (before, was) = (held.fact(&held.members[place]), held.members[place].row.clone());
        let member = &mut held.members[place].row;
        if let Some(name) = name {
            (member.name_key, member.name) = (fold(&name), name);
        }
        member.client_id = input.client.after(member.client_id);
        member.external_id = external_id.after(member.external_id.take());
        let elsewhere = account.is_some();
        self.put_account(&change, member, account);
        change.require_free(member).await?;
        let row = held.members[place].row.clone();
        if row == was {
            return Ok(row);
        }
        change.write_member(&row).await?;
        self.tell_updated(&mut change, &held, place, before);
        if elsewhere {
            change.regain(&mut held, &[row.id], Healed::ByTheWay(viewer)).await?;
            change.refresh_datasets([row.id].into_iter()).await?;
        }
        change.commit().await?;
        Ok(held.members.swap_remove(place).row)
    }

    /// The account `wanted` for a connection, as its authorization reaches it. FORBIDDEN to who may not use that for more,
    /// before the provider is asked: else whoever may rename a connection could read every account behind it.
    async fn other_account(&self, viewer: &Viewer, row: &connection::Model, wanted: &str) -> Result<OtherAccount> {
        let authorization = self.authorization_of(row).await?;
        if !may_use(viewer, &authorization) {
            return Err(Error::Forbidden);
        }
        let missing = || UserError::new(UserErrorCode::NotConfigured, "This connector is no longer in the catalogue.");
        let connector = self.connector_of(&row.connector).ok_or_else(missing)?;
        let judged = Judged::from(&authorization);
        let credential = self.usable_credential(&authorization).await?;
        match self.choose(&connector, &credential, Some(wanted), &["accountId"]).await? {
            Choice::This(account) => Ok(OtherAccount { connector, account, judged }),
            Choice::Only | Choice::Open => Err(Error::not_found("accountId")),
        }
    }

    fn put_account(&self, change: &Change<'_>, row: &mut connection::Model, account: Option<OtherAccount>) {
        if let Some(OtherAccount { connector, account, .. }) = account {
            row.account_key.clone_from(&account.id);
            row.probe_at = self.account_probe_at(&connector, Some(&account.id), change.now);
            (row.account_id, row.account_name) = (Some(account.id), Some(account.name));
            // That was another account's.
            row.refused_once = false;
        }
    }

    fn tell_updated(&self, change: &mut Change<'_>, held: &Held, place: usize, before: crate::journal::Fact) {
        let member = &held.members[place];
        let touched = Touched { connection: member.row.id, before: Some(before), after: Some(held.fact(member)) };
        let subject = Kind::Connection.of(member.row.id);
        let details = json!({ "name": member.row.name, "client": member.row.client_id, "sharedWith": member.shares });
        change.tell("connection.updated", subject, vec![touched], details);
    }

    /// Shares a connection with people of the workspace, by id or e-mail address.
    pub async fn share(
        &self,
        viewer: &Viewer,
        connection: Uuid,
        users: &[Option<Uuid>],
        emails: &[String],
    ) -> Result<connection::Model> {
        viewer.may(Action::Dispose)?;
        let row = self.tended(viewer, connection, Action::Dispose).await?;
        let people = self.people_to_share_with(viewer, users, emails).await?;
        self.reshare(viewer, row.id, |member| {
            let new = people.iter().filter(|person| Some(**person) != member.row.created_by);
            let shares: BTreeSet<Uuid> = member.shares.iter().copied().chain(new.copied()).collect();
            shares.into_iter().collect()
        })
        .await
    }

    /// Ends sharing a connection with these people.
    pub async fn unshare(
        &self,
        viewer: &Viewer,
        connection: Uuid,
        users: &[Option<Uuid>],
    ) -> Result<connection::Model> {
        viewer.may(Action::Dispose)?;
        let row = self.tended(viewer, connection, Action::Dispose).await?;
        let people = self.people_to_share_with(viewer, users, &[]).await?;
        self.reshare(viewer, row.id, |member| {
            member.shares.iter().copied().filter(|shared| !people.contains(shared)).collect()
        })
        .await
    }

    async fn reshare(
        &self,
        viewer: &Viewer,
        connection: Uuid,
        shares: impl FnOnce(&Member) -> Vec<Uuid> + Send,
    ) -> Result<connection::Model> {
        let (mut change, mut held, place) = self.hold_member(viewer, connection, Action::Dispose).await?;
        let before = held.fact(&held.members[place]);
        let after = shares(&held.members[place]);
        if after != held.members[place].shares {
            connection_share::Entity::delete_many()
                .filter(connection_share::Column::ConnectionId.eq(connection))
                .exec(&change.txn)
                .await?;
            let rows: Vec<(Uuid, Uuid)> = after.iter().map(|user| (connection, *user)).collect();
            self.add_shares(&change.txn, change.workspace, &rows).await?;
            held.members[place].shares = after;
            self.tell_updated(&mut change, &held, place, before);
        }
        change.commit().await?;
        Ok(held.members.swap_remove(place).row)
    }

    /// The connection's authorization, held, and its place among the members, if the viewer may do `action` to it still.
    async fn hold_member(
        &self,
        viewer: &Viewer,
        connection: Uuid,
        action: Action,
    ) -> Result<(Change<'_>, Held, usize)> {
        let locked = Change::of_connection(self, viewer, connection).await?;
        let (change, held) = locked.ok_or_else(|| Error::not_found("connectionId"))?;
        let place = held.place_of(connection, viewer, action)?;
        Ok((change, held, place))
    }

    /// The people meant, each of whom has to be of the workspace and able to see a shared connection.
    async fn people_to_share_with(
        &self,
        viewer: &Viewer,
        users: &[Option<Uuid>],
        emails: &[String],
    ) -> Result<BTreeSet<Uuid>> {
        if users.is_empty() && emails.is_empty() {
            return Err(Error::invalid("userIds", "Name at least one person."));
        }
        for (field, named) in [("userIds", users.len()), ("emails", emails.len())] {
            if named > MOST_SHARED {
                return Err(Error::invalid(field, format!("Name at most {MOST_SHARED} people at once.")));
            }
        }
        let mut people = BTreeSet::new();
        let all = user::Entity::find().filter(user::Column::WorkspaceId.eq(viewer.workspace()));
        for (index, id) in users.iter().enumerate() {
            let found = match id {
                Some(id) => all.clone().filter(user::Column::Id.eq(*id)).one(self.db.reader()).await?,
                None => None,
            };
            people.insert(shareable(found, "userIds", index)?);
        }
        for (index, email) in emails.iter().enumerate() {
            // PostgreSQL cannot be asked for a NUL, and nobody's address has one.
            let found = match email.contains('\0') {
                true => None,
                false => all.clone().filter(user::Column::EmailKey.eq(fold(email))).one(self.db.reader()).await?,
            };
            people.insert(shareable(found, "emails", index)?);
        }
        Ok(people)
    }
}

fn shareable(found: Option<user::Model>, field: &str, index: usize) -> Result<Uuid> {
    let path = || [field.to_owned(), index.to_string()];
    let person = found.ok_or_else(|| UserError::new(UserErrorCode::NotFound, "There is no such person.").at(path()))?;
    if person.role == Role::Client {
        let message = "A customer's login sees its own client's connections, and no shared ones.";
        return Err(UserError::new(UserErrorCode::Invalid, message).at(path()).into());
    }
    Ok(person.id)
}
