//! The viewer: on whose behalf something is asked or done.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::{Role, api_key, user, workspace};
use uuid::Uuid;

use super::{Action, Reach, acting};
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
    read_only: bool,
    expires_at: Option<DateTime<Utc>>,
    seen: i64,
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    User(Uuid),
    /// An API key, for the person who made it.
    ApiKey {
        key: Uuid,
        maker: Uuid,
    },
    /// The server itself, by the job's name.
    Job(&'static str),
}

/// Who did something, as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
            read_only: false,
            expires_at,
            seen,
        }))
    }

    /// The API key `key` of `workspace`, which acts for `maker`; none when they no longer have what it needs. Looked up
    /// when the journal stood at `seen` or later.
    pub(super) fn key(
        key: &api_key::Model,
        maker: &user::Model,
        workspace: &workspace::Model,
        seen: i64,
    ) -> Option<Self> {
        let role = acting(key.role, maker.role)?;
        Some(Self(Arc::new(Inner {
            workspace: workspace.id,
            cursor_key: CursorKey::new(workspace.cursor_key.clone()),
            principal: Principal::ApiKey { key: key.id, maker: maker.id },
            role,
            client: key.client_id,
            read_only: key.read_only,
            expires_at: key.expires_at,
            seen,
        })))
    }

    /// The server itself, at work in `workspace` as `job`.
    pub fn job(job: &'static str, workspace: Uuid) -> Self {
        Self(Arc::new(Inner {
            workspace,
            cursor_key: CursorKey::new(Vec::new()),
            principal: Principal::Job(job),
            role: Role::Admin,
            client: None,
            read_only: false,
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
            Principal::ApiKey { maker, .. } => Some(maker),
            Principal::Job(_) => None,
        }
    }

    /// The id of whoever asks, be it a person or a key; none for a job.
    pub fn id(&self) -> Option<Uuid> {
        self.api_key().or(self.user())
    }

    /// The API key; none for a person.
    pub fn api_key(&self) -> Option<Uuid> {
        match self.0.principal {
            Principal::ApiKey { key, .. } => Some(key),
            Principal::User(_) | Principal::Job(_) => None,
        }
    }

    /// The person; for what no job ever asks.
    pub fn require_user(&self) -> Result<Uuid> {
        self.user().ok_or(Error::Forbidden)
    }

    /// What they may do; for a key, what it may do now.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Whether it may query and subscribe, and mutate nothing.
    pub fn is_read_only(&self) -> bool {
        self.0.read_only
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
            Principal::ApiKey { key, maker } => Actor { user: Some(maker), api_key: Some(key), job: None },
            Principal::Job(job) => Actor { job: Some(job), ..Actor::default() },
        }
    }

    /// How far this viewer may do `action`; FORBIDDEN where not at all.
    pub fn may(&self, action: Action) -> Result<Reach> {
        match self.reach(action) {
            Reach::Nothing => Err(Error::Forbidden),
            reach => Ok(reach),
        }
    }

    fn reach(&self, action: Action) -> Reach {
        match (self.0.principal, action) {
            // The tray is the person's: a program does not read it for them.
            (Principal::ApiKey { .. }, Action::BeNotified) => Reach::Nothing,
            _ => action.reach(self.0.role),
        }
    }

    /// What this viewer may see.
    pub fn sight(&self) -> Sight {
        match self.reach(Action::See) {
            Reach::Everything => Sight::Everything,
            Reach::MadeOrShared | Reach::Made => self.user().map_or(Sight::Nothing, Sight::MadeOrShared),
            Reach::OwnClient => self.0.client.map_or(Sight::Nothing, Sight::Client),
            Reach::Nothing => Sight::Nothing,
        }
    }

    /// Whether this viewer may do `action` to a connection with this owner, client and shares.
    pub fn may_on(&self, action: Action, owner: Option<Uuid>, client: Option<Uuid>, shares: &[Uuid]) -> bool {
        let made = owner.is_some() && owner == self.user();
        match self.reach(action) {
            Reach::Everything => true,
            Reach::MadeOrShared => made || self.user().is_some_and(|user| shares.contains(&user)),
            Reach::Made => made,
            Reach::OwnClient => client.is_some() && client == self.0.client,
            Reach::Nothing => false,
        }
    }
}
