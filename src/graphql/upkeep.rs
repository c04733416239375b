//! What people do with a connection that is there: remove, update, share, check, report.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use uuid::Uuid;

use super::{
    ApiError,
    authorizations::Authorization,
    connections::Connection,
    counts::int,
    disconnections::DisconnectionReason,
    execution::viewer,
    loaders::loaders,
    people::{Client, Workspace},
    scalars::{given, shown},
    services::services,
    user_error::{UserError, settle},
};
use crate::{
    connections::{Removed, Report, Update},
    error::Result,
    ids::{self, Kind},
    patch::Patch,
};

/// A connection to remove.
#[derive(InputObject)]
pub struct RemoveConnectionInput {
    /// The connection.
    connection_id: ID,
}

/// What came of removing a connection.
pub struct RemoveConnectionPayload {
    done: Option<Removed>,
    errors: Vec<UserError>,
}

/// What came of removing a connection, and what it leaves behind.
#[Object]
impl RemoveConnectionPayload {
    /// The connection's id.
    async fn removed_connection_id(&self) -> Option<ID> {
        self.done.as_ref().map(|removed| shown(Kind::Connection, removed.connection))
    }

    /// How many datasets are kept with their last rows, and taken over when the same account is connected again for the
    /// same client.
    async fn kept_datasets(&self) -> Option<i32> {
        self.done.as_ref().map(|removed| int(removed.kept_datasets))
    }

    /// Whose it was; null for one of the workspace itself.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>, ApiError> {
        let Some(client) = self.done.as_ref().and_then(|removed| removed.client) else { return Ok(None) };
        Ok(loaders(ctx)?.clients.load_one(client).await?.map(Client::from))
    }

    /// Whose counts changed.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Option<Workspace>, ApiError> {
        match self.done {
            Some(_) => Ok(Some(services(ctx)?.people.workspace(viewer(ctx)?).await?.into())),
            None => Ok(None),
        }
    }

    /// The grant that it worked through, which is given back when no other connection uses it.
    async fn authorization(&self, ctx: &Context<'_>) -> Result<Option<Authorization>, ApiError> {
        let Some(removed) = &self.done else { return Ok(None) };
        Ok(loaders(ctx)?.authorizations.load_one(removed.authorization).await?.map(Authorization::from))
    }

    /// What can be mended; empty when it was done.
    async fn errors(&self) -> &[UserError] {
        &self.errors
    }
}

/// Changes of a connection. What is absent stays as it is.
#[derive(InputObject)]
pub struct UpdateConnectionInput {
    /// The connection to change.
    connection_id: ID,
    /// What it is called from now on.
    name: MaybeUndefined<String>,
    /// Whose it is from now on; null: the workspace's own.
    client_id: MaybeUndefined<ID>,
    /// Which of the authorization's accounts it reads from now on.
    account_id: MaybeUndefined<String>,
    /// Your own id for it; null takes it away.
    external_id: MaybeUndefined<String>,
}

impl From<UpdateConnectionInput> for Update {
    fn from(input: UpdateConnectionInput) -> Self {
        Self {
            connection: given(Kind::Connection, &input.connection_id),
            name: input.name.into(),
            client: Patch::from(input.client_id).map(|id| given(Kind::Client, &id)),
            account: input.account_id.into(),
            external_id: input.external_id.into(),
        }
    }
}

/// What came of changing a connection.
#[derive(SimpleObject)]
pub struct UpdateConnectionPayload {
    /// The connection as it is now.
    connection: Option<Connection>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// By id or by e-mail address; people of the same workspace.
#[derive(InputObject)]
pub struct ShareConnectionInput {
    /// The connection to share.
    connection_id: ID,
    /// With these users.
    user_ids: Option<Vec<ID>>,
    /// With whoever has these e-mail addresses; case does not matter.
    emails: Option<Vec<String>>,
}

/// What came of sharing a connection.
#[derive(SimpleObject)]
pub struct ShareConnectionPayload {
    /// The connection as it is now.
    connection: Option<Connection>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// With whom to share a connection no longer.
#[derive(InputObject)]
pub struct UnshareConnectionInput {
    /// The connection.
    connection_id: ID,
    /// The users who lose it. One with whom it is not shared changes nothing.
    user_ids: Vec<ID>,
}

/// What came of unsharing a connection.
#[derive(SimpleObject)]
pub struct UnshareConnectionPayload {
    /// The connection as it is now.
    connection: Option<Connection>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A connection to probe.
#[derive(InputObject)]
pub struct CheckConnectionInput {
    /// The connection.
    connection_id: ID,
}

/// Probed now.
#[derive(SimpleObject)]
pub struct CheckConnectionPayload {
    /// The connection as it is now.
    connection: Option<Connection>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// What a pipeline outside found.
#[derive(InputObject)]
pub struct ReportDisconnectionInput {
    /// The connection whose pull was refused.
    connection_id: ID,
    /// Why, as far as it is known outside. Where the server can look for itself, what it finds goes before this.
    #[graphql(default_with = "entity::DisconnectionReason::Reported.into()")]
    reason: DisconnectionReason,
    /// What the source said, for people: one line of up to 500 characters, no secrets.
    message: String,
}

/// What came of a report. It is verified with a probe before it is believed: look at the connection's status.
#[derive(SimpleObject)]
pub struct ReportDisconnectionPayload {
    /// The connection as it is now.
    connection: Option<Connection>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Each person's id, or none for what is no id of a person: the domain blames it by its place.
fn people(ids: &[ID]) -> Vec<Option<Uuid>> {
    ids.iter().map(|id| ids::decode(Kind::User, id)).collect()
}

/// What people do with a connection that is there.
#[derive(Default)]
pub struct UpkeepMutation;

#[Object]
impl UpkeepMutation {
    /// Unplugs a data source. Its history and its datasets stay; the grant is given back when nothing else uses it.
    /// For ADMIN, STAFF and its owner.
    async fn remove_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection.")] input: RemoveConnectionInput,
    ) -> Result<RemoveConnectionPayload, ApiError> {
        let connection = given(Kind::Connection, &input.connection_id);
        let (done, errors) = settle(services(ctx)?.connections.remove(viewer(ctx)?, connection).await)?;
        Ok(RemoveConnectionPayload { done, errors })
    }

    /// Renames a connection, or moves it to another client or account. For whoever may tend it.
    async fn update_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateConnectionInput,
    ) -> Result<UpdateConnectionPayload, ApiError> {
        let (row, errors) = settle(services(ctx)?.connections.update(viewer(ctx)?, input.into()).await)?;
        Ok(UpdateConnectionPayload { connection: row.map(Into::into), errors })
    }

    /// Lets other people of the workspace see and tend a connection. For ADMIN, STAFF and its owner.
    async fn share_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection, and with whom.")] input: ShareConnectionInput,
    ) -> Result<ShareConnectionPayload, ApiError> {
        let connection = given(Kind::Connection, &input.connection_id);
        let users = people(&input.user_ids.unwrap_or_default());
        let emails = input.emails.unwrap_or_default();
        let shared = services(ctx)?.connections.share(viewer(ctx)?, connection, &users, &emails).await;
        let (row, errors) = settle(shared)?;
        Ok(ShareConnectionPayload { connection: row.map(Into::into), errors })
    }

    /// Takes a share back. For ADMIN, STAFF and its owner.
    async fn unshare_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection, and with whom no longer.")] input: UnshareConnectionInput,
    ) -> Result<UnshareConnectionPayload, ApiError> {
        let connection = given(Kind::Connection, &input.connection_id);
        let users = people(&input.user_ids);
        let (row, errors) = settle(services(ctx)?.connections.unshare(viewer(ctx)?, connection, &users).await)?;
        Ok(UnshareConnectionPayload { connection: row.map(Into::into), errors })
    }

    /// Asks the provider now whether a connection works, and writes down what it says. For whoever may tend it.
    async fn check_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection.")] input: CheckConnectionInput,
    ) -> Result<CheckConnectionPayload, ApiError> {
        let connection = given(Kind::Connection, &input.connection_id);
        let (row, errors) = settle(services(ctx)?.connections.check(viewer(ctx)?, connection).await)?;
        Ok(CheckConnectionPayload { connection: row.map(Into::into), errors })
    }

    /// A pipeline outside tells that its pull was refused. The server verifies with a probe before it believes it; without
    /// a probe it believes at once. For ADMIN and STAFF.
    async fn report_disconnection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection, and what happened.")] input: ReportDisconnectionInput,
    ) -> Result<ReportDisconnectionPayload, ApiError> {
        let report = Report {
            connection: given(Kind::Connection, &input.connection_id),
            reason: input.reason.into(),
            message: input.message,
        };
        let (row, errors) = settle(services(ctx)?.connections.report(viewer(ctx)?, report).await)?;
        Ok(ReportDisconnectionPayload { connection: row.map(Into::into), errors })
    }
}
