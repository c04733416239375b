//! Changes of the people: their inputs, their payloads, their mutations.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::{
    ApiError,
    execution::viewer,
    people::{Client, Role, User, Workspace},
    scalars::{given, shown},
    services,
    user_error::{UserError, settle},
};
use crate::{error::Result, ids::Kind, patch::Patch, people};

/// A client to make. With an externalId that is known already: returns the client that has it.
#[derive(InputObject)]
pub struct CreateClientInput {
    /// What it is called: up to 200 characters.
    name: String,
    /// Your own id for it, unique in the workspace.
    external_id: Option<String>,
}

/// What came of making a client.
#[derive(SimpleObject)]
pub struct CreateClientPayload {
    /// The client; the one that was there, when its externalId was known already.
    client: Option<Client>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Changes of a client. What is absent stays as it is.
#[derive(InputObject)]
pub struct UpdateClientInput {
    /// The client to change.
    client_id: ID,
    /// What it is called from now on.
    name: MaybeUndefined<String>,
    /// Your own id for it; null takes it away.
    external_id: MaybeUndefined<String>,
}

/// What came of changing a client.
#[derive(SimpleObject)]
pub struct UpdateClientPayload {
    /// The client as it is now.
    client: Option<Client>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A client to remove.
#[derive(InputObject)]
pub struct RemoveClientInput {
    /// The client to remove.
    client_id: ID,
    /// Whether its connections are removed with it. Without: CONFLICT while it has any.
    #[graphql(default_with = "Some(false)")]
    remove_connections: Option<bool>,
}

/// What came of removing a client.
#[derive(SimpleObject)]
pub struct RemoveClientPayload {
    /// The id of the client that was.
    removed_client_id: Option<ID>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A person to add.
#[derive(InputObject)]
pub struct CreateUserInput {
    /// What they are called: up to 200 characters.
    name: String,
    /// Where they are reached; unique in the workspace, and case does not matter.
    email: String,
    /// What they may do.
    role: Role,
    /// For role CLIENT.
    client_id: Option<ID>,
}

/// What came of adding a person.
#[derive(SimpleObject)]
pub struct CreateUserPayload {
    /// The new user.
    user: Option<User>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Changes of a person. What is absent stays as it is. Takes effect on sockets that are open, too.
#[derive(InputObject)]
pub struct UpdateUserInput {
    /// The user to change.
    user_id: ID,
    /// What they are called from now on.
    name: MaybeUndefined<String>,
    /// What they may do from now on. CONFLICT when no active ADMIN would be left.
    role: MaybeUndefined<Role>,
    /// For role CLIENT. Any other role leaves the client by itself.
    client_id: MaybeUndefined<ID>,
    /// Whether they may come in. CONFLICT when no active ADMIN would be left.
    active: MaybeUndefined<bool>,
}

/// What came of changing a person.
#[derive(SimpleObject)]
pub struct UpdateUserPayload {
    /// The user as they are now.
    user: Option<User>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Changes of the viewer's workspace. What is absent stays as it is.
#[derive(InputObject)]
pub struct UpdateWorkspaceInput {
    /// What it is called from now on.
    name: MaybeUndefined<String>,
    /// IANA name, e.g. America/Phoenix.
    time_zone: MaybeUndefined<String>,
    /// Hour and minute of the daily reminder run, HH:MM in timeZone.
    reminder_time: MaybeUndefined<String>,
    /// How long a connection stays disconnected before its owner is e-mailed: 1 to 720 hours.
    reminder_after_hours: MaybeUndefined<i32>,
    /// Where buttons in e-mails lead, with {connectionId} in it: by https, or http on localhost. Null: the console.
    connection_url: MaybeUndefined<String>,
}

/// What came of changing the workspace.
#[derive(SimpleObject)]
pub struct UpdateWorkspacePayload {
    /// The workspace as it is now.
    workspace: Option<Workspace>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

impl From<CreateClientInput> for people::CreateClient {
    fn from(input: CreateClientInput) -> Self {
        Self { name: input.name, external_id: input.external_id }
    }
}

impl From<UpdateClientInput> for people::UpdateClient {
    fn from(input: UpdateClientInput) -> Self {
        Self {
            client: given(Kind::Client, &input.client_id),
            name: input.name.into(),
            external_id: input.external_id.into(),
        }
    }
}

impl From<CreateUserInput> for people::CreateUser {
    fn from(input: CreateUserInput) -> Self {
        Self {
            name: input.name,
            email: input.email,
            role: input.role.into(),
            client: input.client_id.map(|id| given(Kind::Client, &id)),
        }
    }
}

impl From<UpdateUserInput> for people::UpdateUser {
    fn from(input: UpdateUserInput) -> Self {
        Self {
            user: given(Kind::User, &input.user_id),
            name: input.name.into(),
            role: Patch::from(input.role).map(Into::into),
            client: Patch::from(input.client_id).map(|id| given(Kind::Client, &id)),
            active: input.active.into(),
        }
    }
}

impl From<UpdateWorkspaceInput> for people::UpdateWorkspace {
    fn from(input: UpdateWorkspaceInput) -> Self {
        Self {
            name: input.name.into(),
            time_zone: input.time_zone.into(),
            reminder_time: input.reminder_time.into(),
            reminder_after_hours: input.reminder_after_hours.into(),
            connection_url: input.connection_url.into(),
        }
    }
}

/// The mutations about people.
#[derive(Default)]
pub struct PeopleMutation;

#[Object]
impl PeopleMutation {
    /// Makes a client. With an externalId that is known already: returns the client that has it. For ADMIN and STAFF.
    async fn create_client(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The client to make.")] input: CreateClientInput,
    ) -> Result<CreateClientPayload, ApiError> {
        let done = services(ctx)?.people.create_client(viewer(ctx)?, input.into()).await;
        let (client, errors) = settle(done)?;
        Ok(CreateClientPayload { client: client.map(Client::from), errors })
    }

    /// Renames a client or changes its externalId. For ADMIN and STAFF.
    async fn update_client(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateClientInput,
    ) -> Result<UpdateClientPayload, ApiError> {
        let done = services(ctx)?.people.update_client(viewer(ctx)?, input.into()).await;
        let (client, errors) = settle(done)?;
        Ok(UpdateClientPayload { client: client.map(Client::from), errors })
    }

    /// Removes a client: its logins may no longer come in, and its keys are refused. CONFLICT while it has connections,
    /// unless they are to be removed with it. For ADMIN and STAFF.
    async fn remove_client(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The client to remove.")] input: RemoveClientInput,
    ) -> Result<RemoveClientPayload, ApiError> {
        let client = given(Kind::Client, &input.client_id);
        let with_connections = input.remove_connections.unwrap_or(false);
        let done = services(ctx)?.connections.remove_client(viewer(ctx)?, client, with_connections).await;
        let (done, errors) = settle(done)?;
        Ok(RemoveClientPayload { removed_client_id: done.map(|()| shown(Kind::Client, client)), errors })
    }

    /// Adds a person to the workspace. For ADMIN.
    async fn create_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The person to add.")] input: CreateUserInput,
    ) -> Result<CreateUserPayload, ApiError> {
        let done = services(ctx)?.people.create_user(viewer(ctx)?, input.into()).await;
        let (user, errors) = settle(done)?;
        Ok(CreateUserPayload { user: user.map(User::from), errors })
    }

    /// Changes a person's name, role, client or activity. Takes effect on sockets that are open, too. For ADMIN.
    async fn update_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateUserInput,
    ) -> Result<UpdateUserPayload, ApiError> {
        let done = services(ctx)?.people.update_user(viewer(ctx)?, input.into()).await;
        let (user, errors) = settle(done)?;
        Ok(UpdateUserPayload { user: user.map(User::from), errors })
    }
    /// Changes the settings of the viewer's workspace. For ADMIN.
    async fn update_workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateWorkspaceInput,
    ) -> Result<UpdateWorkspacePayload, ApiError> {
        let done = services(ctx)?.people.update_workspace(viewer(ctx)?, input.into()).await;
        let (workspace, errors) = settle(done)?;
        Ok(UpdateWorkspacePayload { workspace: workspace.map(Workspace::from), errors })
    }
}
