//! Workspaces: how one begins, and what it says of itself.

use entity::{Role, user, workspace};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::json;
use uuid::Uuid;

use super::{
    People, audit,
    names::{self, both},
    users,
};
use crate::{
    access::{Actor, Viewer},
    clock::random,
    error::{Error, Result},
    ids::Kind,
    journal, pages,
};

/// When reminders leave until somebody says otherwise: an IANA zone, and an hour in it.
const TIME_ZONE: &str = "America/Phoenix";
const REMINDER_TIME: &str = "07:00";
const REMINDER_AFTER_HOURS: i32 = 24;

/// A workspace that is to begin.
#[derive(Debug, Clone)]
pub struct CreateWorkspace {
    pub name: String,
    /// By default the address.
    pub admin_name: Option<String>,
    pub admin_email: String,
}

/// A workspace with its first ADMIN.
#[derive(Debug, Clone)]
pub struct Founded {
    pub workspace: workspace::Model,
    pub admin: user::Model,
}

impl People {
    /// Begins a workspace with its first ADMIN and a journal. Nobody is there yet who could be the viewer: this is for
    /// the command line.
    pub async fn create_workspace(&self, new: CreateWorkspace) -> Result<Founded> {
        let admin_name = new.admin_name.as_deref().unwrap_or(&new.admin_email);
        let admin = both(names::name("adminName", admin_name), names::email("adminEmail", &new.admin_email));
        let (name, (admin_name, admin_email)) = both(names::name("name", &new.name), admin)?;
        let workspace = self.new_workspace(name);
        let admin = self.new_user(workspace.id, admin_name, admin_email, Role::Admin, None);

        let txn = self.db.begin().await?;
        workspace.clone().into_active_model().insert(&txn).await?;
        admin.clone().into_active_model().insert(&txn).await?;
        journal::open(&txn, workspace.id).await?;
        let actor = Actor { job: Some("workspace create"), ..Actor::default() };
        let details = json!({ "after": { "name": &workspace.name } });
        let entries = vec![
            audit("workspace.created", actor, Kind::Workspace, workspace.id, details),
            users::created(actor, &admin),
        ];
        self.journal.commit(txn, workspace.id, entries).await?;
        Ok(Founded { workspace, admin })
    }

    fn new_workspace(&self, name: String) -> workspace::Model {
        workspace::Model {
            id: self.new_id(),
            name,
            time_zone: TIME_ZONE.to_owned(),
            reminder_time: REMINDER_TIME.to_owned(),
            reminder_after_hours: REMINDER_AFTER_HOURS,
            reminded_at: None,
            connection_url: None,
            cursor_key: random::<32>(&*self.entropy).to_vec(),
            created_at: self.clock.now(),
        }
    }

    /// The viewer's workspace.
    pub async fn workspace(&self, viewer: &Viewer) -> Result<workspace::Model> {
        let found = workspace::Entity::find_by_id(viewer.workspace()).one(self.db.reader()).await?;
        found.ok_or(Error::Unauthenticated)
    }

    /// The active users with this address, in every workspace or in the one that is named: for the command line, which
    /// signs tokens for them.
    pub async fn active_by_email(&self, email: &str, workspace: Option<Uuid>) -> Result<Vec<user::Model>> {
        let email = names::email("email", email)?;
        let mut select = user::Entity::find()
            .filter(user::Column::EmailKey.eq(pages::fold(&email)))
            .filter(user::Column::Active.eq(true));
        if let Some(workspace) = workspace {
            select = select.filter(user::Column::WorkspaceId.eq(workspace));
        }
        Ok(select.all(self.db.reader()).await?)
    }
}
