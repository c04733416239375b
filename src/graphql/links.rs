//! Links for people without a login: the mutations that make them.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    ApiError,
    execution::viewer,
    scalars::{DateTime, Url, given},
    services::services,
    user_error::{UserError, settle},
};
use crate::{connections::NewLink, error::Result, ids::Kind};

/// A connection that somebody without a login is to reconnect.
#[derive(InputObject)]
pub struct CreateReconnectLinkInput {
    /// The connection.
    connection_id: ID,
    /// How long the link works, in hours: 1 to 720. It ends before with what it is for, and with its maker's right to do that.
    #[graphql(default_with = "Some(72)")]
    expires_in_hours: Option<i32>,
}

/// A link that lets someone without a login (the client who owns the account) do one reconnect, once.
#[derive(SimpleObject)]
pub struct CreateReconnectLinkPayload {
    /// Shown once. Whoever has it can reconnect, so send it to nobody else.
    url: Option<Url>,
    /// When it works no longer. It ends before that when it was used, and when the connection works again.
    expires_at: Option<DateTime>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Data sources that somebody without a login is to connect.
#[derive(InputObject)]
pub struct CreateConnectLinkInput {
    /// For whom.
    client_id: ID,
    /// 1 to 20 connectors, by their slugs.
    connectors: Vec<String>,
    /// How long the link works, in hours: 1 to 720. It ends before with what it is for, and with its maker's right to do that.
    #[graphql(default_with = "Some(72)")]
    expires_in_hours: Option<i32>,
}

/// A link that lets someone without a login connect these data sources for a client, each once.
#[derive(SimpleObject)]
pub struct CreateConnectLinkPayload {
    /// Shown once. Whoever has it can connect, so send it to nobody else.
    url: Option<Url>,
    /// When it works no longer. It ends before that when all of them are connected.
    expires_at: Option<DateTime>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Links for people without a login.
#[derive(Default)]
pub struct LinksMutation;

#[Object]
impl LinksMutation {
    /// Makes a link by which somebody without a login reconnects a connection, in the name of whoever made it. Its
    /// owner stays. For whoever may tend the connection.
    async fn create_reconnect_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection, and how long the link works.")] input: CreateReconnectLinkInput,
    ) -> Result<CreateReconnectLinkPayload, ApiError> {
        let connection = given(Kind::Connection, &input.connection_id);
        let connections = &services(ctx)?.connections;
        let made = connections.create_reconnect_link(viewer(ctx)?, connection, input.expires_in_hours).await;
        let (made, errors) = settle(made)?;
        let (url, expires_at) = shown(made);
        Ok(CreateReconnectLinkPayload { url, expires_at, errors })
    }

    /// Makes a link by which somebody without a login connects data sources for a client, in the name of whoever made it, who
    /// becomes their owner. For ADMIN and STAFF.
    async fn create_connect_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The client and the data sources, and how long the link works.")]
        input: CreateConnectLinkInput,
    ) -> Result<CreateConnectLinkPayload, ApiError> {
        let client = given(Kind::Client, &input.client_id);
        let connections = &services(ctx)?.connections;
        let made =
            connections.create_connect_link(viewer(ctx)?, client, &input.connectors, input.expires_in_hours).await;
        let (made, errors) = settle(made)?;
        let (url, expires_at) = shown(made);
        Ok(CreateConnectLinkPayload { url, expires_at, errors })
    }
}

fn shown(made: Option<NewLink>) -> (Option<Url>, Option<DateTime>) {
    made.map(|made| (made.url.into(), made.expires_at.into())).unzip()
}
