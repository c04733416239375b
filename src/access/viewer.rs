//! The viewer: on whose behalf something is asked or done.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::{Role, user, workspace};
use uuid::Uuid;

use super::{Action, Reach};
use crate::{
    cursor::CursorKey,
    error::{Error, Result},
};

/// Who is asking, in which workspace, with what rights. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Viewer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workspace: Uuid,
    cursor_key: CursorKey,
    principal: Principal,
    role: Role,
    client: Option<Uuid>,
    expires_at: Option<DateTime<Utc>>,
    seen: i64,
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    User(Uuid),
    /// The server itself, by the job's name.
    Job(&'static str),
}

/// Who did something, as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actor {
    pub user: Option<Uuid>,
    pub api_key: Option<Uuid>,
    pub job: Option<&'static str>,
}

/// What a viewer may see of connections and all that hangs on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    Everything,
    /// What this person made, or was shared with them.
    MadeOrShared(Uuid),
    /// What belongs to this client.
    Client(Uuid),
    Nothing,
}

impl Viewer {
    /// The person `user` of `workspace`, until `expires_at`, looked up when the journal stood at `seen` or later.
    pub fn person(
        user: &user::Model,
        workspace: &workspace::Model,
        expires_at: Option<DateTime<Utc>>,
        seen: i64,
    ) -> Self {
        Self(Arc::new(Inner {
            workspace: workspace.id,
            cursor_key: CursorKey::new(workspace.cursor_key.clone()),
            principal: Principal::User(user.id),
            role: user.role,
            client: user.client_id,
            expires_at,
            seen,
        }))
    }

    /// The server itself, at work in `workspace` as `job`.
    pub fn job(job: &'static str, workspace: Uuid) -> Self {
        Self(Arc::new(Inner {
            workspace,
            cursor_key: CursorKey::new(Vec::new()),
            principal: Principal::Job(job),
            role: Role::Admin,
            client: None,
            expires_at: None,
            seen: i64::MAX,
        }))
    }

    pub fn workspace(&self) -> Uuid {
        self.0.workspace
    }

    /// The key of the cursors that this viewer gets and may send.
    pub fn cursor_key(&self) -> &CursorKey {
        &self.0.cursor_key
    }

    pub fn principal(&self) -> Principal {
        self.0.principal
    }

    /// The person, or the one for whom a key acts; none for a job.
    pub fn user(&self) -> Option<Uuid> {
        match self.0.principal {
            Principal::User(user) => Some(user),
            Principal::Job(_) => None,
        }
    }

    /// The person; for what no job ever asks.
    pub fn require_user(&self) -> Result<Uuid> {
        self.user().ok_or(Error::Forbidden)
    }

    pub fn role(&self) -> Role {
        self.0.role
    }

    /// The client of a CLIENT.
    pub fn client(&self) -> Option<Uuid> {
        self.0.client
    }

    /// When the bearer ends.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// The journal's number that everything known of this viewer is at least as young as.
    pub fn seen(&self) -> i64 {
        self.0.seen
    }

    /// Who did it, for the journal.
    pub fn actor(&self) -> Actor {
        match self.0.principal {
            Principal::User(user) => Actor { user: Some(user), ..Actor::default() },
            Principal::Job(job) => Actor { job: Some(job), ..Actor::default() },
        }
    }

    /// How far this viewer may do `action`; FORBIDDEN where not at all.
    pub fn may(&self, action: Action) -> Result<Reach> {
        match action.reach(self.0.role) {
            Reach::Nothing => Err(Error::Forbidden),
            reach => Ok(reach),
        }
    }

    /// What this viewer may see.
    pub fn sight(&self) -> Sight {
        match Action::See.reach(self.0.role) {
            Reach::Everything => Sight::Everything,
            Reach::MadeOrShared | Reach::Made => self.user().map_or(Sight::Nothing, Sight::MadeOrShared),
            Reach::OwnClient => self.0.client.map_or(Sight::Nothing, Sight::Client),
            Reach::Nothing => Sight::Nothing,
        }
    }

    /// Whether this viewer may do `action` to a connection with this owner, client and shares.
    pub fn may_on(&self, action: Action, owner: Option<Uuid>, client: Option<Uuid>, shares: &[Uuid]) -> bool {
        let made = owner.is_some() && owner == self.user();
        match action.reach(self.0.role) {
            Reach::Everything => true,
            Reach::MadeOrShared => made || self.user().is_some_and(|user| shares.contains(&user)),
            Reach::Made => made,
            Reach::OwnClient => client.is_some() && client == self.0.client,
            Reach::Nothing => false,
        }
    }
}
