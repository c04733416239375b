//! Users as others see them: the list, and whoever appears beside a thing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{Role, user};
use sea_orm::{ColumnTrait, Condition, EntityTrait, Order as Direction, PaginatorTrait, QueryFilter, Select};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{People, audit, names};
use crate::{
    access::{Action, Actor, Reach, Viewer},
    error::{Error, Result},
    ids::{self, Kind},
    journal::NewEntry,
    pages::{self, Key, Order, Page, PageArgs},
};

/// A person, as a viewer may see them. To a CLIENT everybody else is a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    pub name: String,
    /// None to a CLIENT.
    pub email: Option<String>,
    /// None to a CLIENT, but of themselves; like what follows.
    pub role: Option<Role>,
    /// The client of a CLIENT.
    pub client: Option<Uuid>,
    pub active: Option<bool>,
    pub created_at: Option<DateTime<Utc>>,
}

impl User {
    pub(super) fn seen_by(viewer: &Viewer, row: user::Model) -> Self {
        let all = viewer.may(Action::SeePeople).is_ok();
        // A key of role CLIENT acts for a person of the workspace, and is not them.
        let more = all || (viewer.api_key().is_none() && viewer.user() == Some(row.id));
        Self {
            id: row.id,
            name: row.name,
            email: all.then_some(row.email),
            role: more.then_some(row.role),
            client: row.client_id.filter(|_| more),
            active: more.then_some(row.active),
            created_at: more.then_some(row.created_at),
        }
    }
}

impl People {
    /// The users of the workspace whose name or address contains `search`, by id. FORBIDDEN to a CLIENT.
    pub async fn users(&self, viewer: &Viewer, search: Option<&str>, args: &PageArgs) -> Result<Page<User>> {
        let order = Order::by("users", user::Column::Id, Direction::Asc, |user: &user::Model| vec![Key::Id(user.id)]);
        let select = listed(viewer, search)?;
        let page = pages::read(self.db.reader(), select, args, order, viewer.cursor_key()).await?;
        Ok(page.map(|row| User::seen_by(viewer, row)))
    }

    /// How many users that list has.
    pub async fn count_users(&self, viewer: &Viewer, search: Option<&str>) -> Result<u64> {
        Ok(listed(viewer, search)?.count(self.db.reader()).await?)
    }

    /// One user by id. A CLIENT finds nobody but themselves.
    pub async fn user(&self, viewer: &Viewer, id: Uuid) -> Result<Option<User>> {
        let hidden = viewer.may(Action::SeePeople).is_err() && viewer.user() != Some(id);
        if hidden {
            return Ok(None);
        }
        Ok(self.users_by_ids(viewer, &[id]).await?.remove(&id))
    }

    /// The person who asks, or for whom a key asks.
    pub async fn me(&self, viewer: &Viewer) -> Result<User> {
        let found = self.user(viewer, viewer.require_user()?).await?;
        found.ok_or(Error::Unauthenticated)
    }

    /// The users with these ids. For whoever appears beside a thing that the viewer sees (its owner, say): everyone may
    /// read their names.
    pub async fn users_by_ids(&self, viewer: &Viewer, ids: &[Uuid]) -> Result<HashMap<Uuid, User>> {
        let select = users_of(viewer.workspace()).filter(user::Column::Id.is_in(ids.iter().copied()));
        let rows = select.all(self.db.reader()).await?;
        Ok(rows.into_iter().map(|row| (row.id, User::seen_by(viewer, row))).collect())
    }
}

/// Every user of the workspace, active or not.
pub fn users_of(workspace: Uuid) -> Select<user::Entity> {
    user::Entity::find().filter(user::Column::WorkspaceId.eq(workspace))
}

fn listed(viewer: &Viewer, search: Option<&str>) -> Result<Select<user::Entity>> {
    let select = match viewer.may(Action::SeePeople)? {
        Reach::Everything => users_of(viewer.workspace()),
        // The table grants nobody less of the list than all of it.
        Reach::OwnClient | Reach::Made | Reach::MadeOrShared | Reach::Nothing => return Err(Error::Forbidden),
    };
    Ok(match names::search(search)? {
        None => select,
        Some(term) => select.filter(
            Condition::any()
                .add(pages::contains(user::Column::NameKey, term))
                .add(pages::contains(user::Column::EmailKey, term)),
        ),
    })
}

/// The audit entry of a user's beginning.
pub(super) fn created(actor: Actor, user: &user::Model) -> NewEntry {
    let mut after = standing(user);
    after["name"] = json!(user.name);
    after["email"] = json!(user.email);
    audit("user.created", actor, Kind::User, user.id, json!({ "after": after }))
}

/// What a user is in the workspace, for the audit log.
pub(super) fn standing(user: &user::Model) -> Value {
    json!({ "role": user.role.as_str(), "clientId": user.client_id.map(|client| ids::encode(Kind::Client, client)) })
}
