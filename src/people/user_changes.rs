//! How users come, change, leave and return; and that one active ADMIN always stays.

use entity::{Role, user};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, IntoActiveModel, PaginatorTrait, QueryFilter};
use serde_json::json;
use uuid::Uuid;

use super::{
    People, User, audit, client_stays,
    names::{self, both},
    users::{self, standing, users_of},
};
use crate::{
    access::{Action, Actor, Viewer},
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    ids::Kind,
    journal::{DEACTIVATED, NewEntry, ROLE_CHANGED},
    pages,
    patch::Patch,
};

/// A user who is to come. Only a CLIENT has a client, and has to.
#[derive(Debug, Clone)]
pub struct CreateUser {
    pub name: String,
    pub email: String,
    pub role: Role,
    pub client: Option<Uuid>,
}

/// Changes of one user. Who stops being a CLIENT leaves the client, also when `client` is kept.
#[derive(Debug, Clone)]
pub struct UpdateUser {
    pub user: Uuid,
    pub name: Patch<String>,
    pub role: Patch<Role>,
    pub client: Patch<Uuid>,
    pub active: Patch<bool>,
}

impl People {
    /// Adds a user. CONFLICT with whoever has the address already, active or not.
    pub async fn create_user(&self, viewer: &Viewer, new: CreateUser) -> Result<User> {
        viewer.may(Action::Administer)?;
        let workspace = viewer.workspace();
        let spelled = both(names::name("name", &new.name), names::email("email", &new.email));
        let ((name, email), ()) = both(spelled, fits(new.role, new.client))?;
        let row = self.new_user(workspace, name, email, new.role, new.client);

        let txn = self.begin(workspace).await?;
        both(address_is_free(&txn, &row).await, client_stays(&txn, workspace, row.client_id).await)?;
        row.clone().into_active_model().insert(&txn).await?;
        self.journal.commit(txn, workspace, vec![users::created(viewer.actor(), &row)]).await?;
        Ok(User::seen_by(viewer, row))
    }

    pub(super) fn new_user(
        &self,
        workspace: Uuid,
        name: String,
        email: String,
        role: Role,
        client: Option<Uuid>,
    ) -> user::Model {
        user::Model {
            id: self.new_id(),
            workspace_id: workspace,
            name_key: pages::fold(&name),
            name,
            email_key: pages::fold(&email),
            email,
            role,
            client_id: client,
            active: true,
            reminder_emails: true,
            created_at: self.clock.now(),
        }
    }

    /// Changes a user. CONFLICT when no active ADMIN would be left.
    pub async fn update_user(&self, viewer: &Viewer, change: UpdateUser) -> Result<User> {
        viewer.may(Action::Administer)?;
        let change = change.checked()?;
        let txn = self.begin(viewer.workspace()).await?;
        let found = users_of(viewer.workspace()).filter(user::Column::Id.eq(change.user)).one(&txn).await?;
        let before = found.ok_or_else(|| Error::not_found("userId"))?;
        let after = change.applied_to(before.clone())?;
        let entries = told(viewer.actor(), &before, &after);
        if entries.is_empty() {
            return Ok(User::seen_by(viewer, before));
        }
        // Who belonged to a client that was removed cannot come back as they were.
        if after.client_id != before.client_id || (after.active && !before.active) {
            client_stays(&txn, viewer.workspace(), after.client_id).await?;
        }
        an_admin_stays(&txn, &before, &after).await?;
        after.clone().into_active_model().reset_all().update(&txn).await?;
        self.journal.commit(txn, viewer.workspace(), entries).await?;
        Ok(User::seen_by(viewer, after))
    }
}

/// An update whose every value is valid by itself.
struct Checked {
    user: Uuid,
    name: Option<String>,
    role: Option<Role>,
    client: Patch<Uuid>,
    active: Option<bool>,
}

impl UpdateUser {
    fn checked(self) -> Result<Checked> {
        let name = self.name.checked(|name| names::name("name", &name)).and_then(|name| name.or_keep("name"));
        let standing = both(self.role.or_keep("role"), self.active.or_keep("active"));
        let (name, (role, active)) = both(name, standing)?;
        Ok(Checked { user: self.user, name, role, client: self.client, active })
    }
}

impl Checked {
    fn applied_to(self, mut user: user::Model) -> Result<user::Model> {
        if let Some(name) = self.name {
            user.name_key = pages::fold(&name);
            user.name = name;
        }
        user.role = self.role.unwrap_or(user.role);
        let before = user.client_id.filter(|_| user.role == Role::Client);
        user.client_id = self.client.after(before);
        user.active = self.active.unwrap_or(user.active);
        fits(user.role, user.client_id)?;
        Ok(user)
    }
}

/// Whether someone of this role may have, or do without, this client.
fn fits(role: Role, client: Option<Uuid>) -> Result<()> {
    match (role, client) {
        (Role::Client, None) => Err(Error::invalid("clientId", "Someone of role CLIENT belongs to a client.")),
        (Role::Admin | Role::Staff | Role::Member, Some(_)) => {
            Err(Error::invalid("clientId", "Only someone of role CLIENT belongs to a client."))
        }
        (Role::Client, Some(_)) | (Role::Admin | Role::Staff | Role::Member, None) => Ok(()),
    }
}

async fn address_is_free(db: &impl ConnectionTrait, user: &user::Model) -> Result<()> {
    let same = users_of(user.workspace_id).filter(user::Column::EmailKey.eq(&user.email_key));
    match same.one(db).await? {
        None => Ok(()),
        Some(other) => Err(UserError::new(UserErrorCode::Conflict, "Someone has this e-mail address already.")
            .at(["email"])
            .against(Conflict::User(other.id))
            .into()),
    }
}

/// Refuses to take the last active ADMIN out of the workspace.
async fn an_admin_stays(db: &impl ConnectionTrait, before: &user::Model, after: &user::Model) -> Result<()> {
    let runs = |user: &user::Model| user.active && user.role == Role::Admin;
    if !runs(before) || runs(after) {
        return Ok(());
    }
    let others = users_of(before.workspace_id)
        .filter(user::Column::Role.eq(Role::Admin))
        .filter(user::Column::Active.eq(true))
        .filter(user::Column::Id.ne(before.id))
        .count(db)
        .await?;
    if others > 0 {
        return Ok(());
    }
    let field = if after.active { "role" } else { "active" };
    let message = "This is the last active ADMIN of the workspace: make someone else one first.";
    Err(UserError::new(UserErrorCode::Conflict, message).at([field]).into())
}

/// What the journal is told of a change: nothing when nothing changed. That someone may no longer come in goes first:
/// whoever follows the journal as them stops there.
pub(super) fn told(actor: Actor, before: &user::Model, after: &user::Model) -> Vec<NewEntry> {
    let mut entries = Vec::new();
    let mut tell = |action, details| entries.push(audit(action, actor, Kind::User, after.id, details));
    if before.active != after.active {
        let action = if after.active { "user.activated" } else { DEACTIVATED };
        tell(action, json!({ "before": { "active": before.active }, "after": { "active": after.active } }));
    }
    if (before.role, before.client_id) != (after.role, after.client_id) {
        tell(ROLE_CHANGED, json!({ "before": standing(before), "after": standing(after) }));
    }
    if before.name != after.name {
        tell("user.updated", json!({ "before": { "name": before.name }, "after": { "name": after.name } }));
    }
    entries
}
