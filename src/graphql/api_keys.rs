//! API keys: the list, making and revoking them.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use entity::api_key;
use secrecy::ExposeSecret;

use super::{
    ApiError,
    execution::viewer,
    loaders::loaders,
    page::{Page, asked},
    people::{Client, Role, User},
    scalars::{DateTime, given, shown},
    services::{counted, services},
    user_error::{UserError, settle},
};
use crate::{
    error::{Error, Result},
    ids::Kind,
    people,
};

/// A key with which a program asks.
pub struct ApiKey(api_key::Model);

impl From<api_key::Model> for ApiKey {
    fn from(row: api_key::Model) -> Self {
        Self(row)
    }
}

/// Acts for the person who made it, within its own role, and never beyond what that person may do now. Owns nothing, has no tray.
#[Object]
impl ApiKey {
    /// The key's id, which is no secret.
    pub async fn id(&self) -> ID {
        shown(Kind::ApiKey, self.0.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The first characters, to recognise it by. The rest was shown once.
    async fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// ADMIN, STAFF or CLIENT.
    async fn role(&self) -> Role {
        self.0.role.into()
    }

    /// Set for role CLIENT: the one client that it reads.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>, ApiError> {
        let Some(client) = self.0.client_id else { return Ok(None) };
        Ok(loaders(ctx)?.clients.load_one(client).await?.map(Client::from))
    }

    /// May query and subscribe, and mutate nothing.
    async fn read_only(&self) -> bool {
        self.0.read_only
    }

    /// For whom it acts.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<User, ApiError> {
        let maker = loaders(ctx)?.users.load_one(self.0.created_by).await?;
        Ok(maker.ok_or_else(|| Error::internal("an API key that nobody made"))?.into())
    }

    /// The key that made it, with which it is revoked; null where a person did.
    async fn made_by_key(&self, ctx: &Context<'_>) -> Result<Option<ApiKey>, ApiError> {
        let Some(key) = self.0.parent_id else { return Ok(None) };
        Ok(loaders(ctx)?.api_keys.load_one(key).await?.map(ApiKey::from))
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// From when on it is refused; null: never.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(Into::into)
    }

    /// When it was last used, to the minute or so; null before.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(Into::into)
    }
}

/// A key to make. It acts for whoever makes it.
#[derive(InputObject)]
pub struct CreateApiKeyInput {
    /// What it is called: up to 200 characters.
    name: String,
    /// ADMIN, STAFF or CLIENT.
    role: Role,
    /// For role CLIENT.
    client_id: Option<ID>,
    /// Whether it may query and subscribe, and mutate nothing.
    #[graphql(default_with = "Some(false)")]
    read_only: Option<bool>,
    /// From when on it is refused, in the future. Without it: never. A key that has an end makes only keys that end no later.
    expires_at: Option<DateTime>,
}

impl From<CreateApiKeyInput> for people::CreateApiKey {
    fn from(input: CreateApiKeyInput) -> Self {
        Self {
            name: input.name,
            role: input.role.into(),
            client: input.client_id.map(|id| given(Kind::Client, &id)),
            read_only: input.read_only.unwrap_or(false),
            expires_at: input.expires_at.map(|at| at.0),
        }
    }
}

/// What came of making a key.
#[derive(SimpleObject)]
pub struct CreateApiKeyPayload {
    /// The new key.
    api_key: Option<ApiKey>,
    /// Shown once.
    secret: Option<String>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A key to refuse from now on.
#[derive(InputObject)]
pub struct RevokeApiKeyInput {
    /// The key to revoke.
    api_key_id: ID,
}

/// What came of revoking a key.
#[derive(SimpleObject)]
pub struct RevokeApiKeyPayload {
    /// The id of the key that was.
    revoked_api_key_id: Option<ID>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// The queries about API keys.
#[derive(Default)]
pub struct ApiKeysQuery;

#[Object]
impl ApiKeysQuery {
    /// The keys of the workspace, without those that were revoked. For ADMIN.
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<ApiKey>, ApiError> {
        let page = services(ctx)?.people.api_keys(viewer(ctx)?, &asked(first, after, last, before)).await?;
        let total = counted(ctx, |services, viewer| async move { services.people.count_api_keys(&viewer).await })?;
        Ok(Page::new(page, total))
    }
}

/// The mutations about API keys.
#[derive(Default)]
pub struct ApiKeysMutation;

#[Object]
impl ApiKeysMutation {
    /// Makes an API key that acts for the viewer. Its secret is shown this once. For ADMIN.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key to make.")] input: CreateApiKeyInput,
    ) -> Result<CreateApiKeyPayload, ApiError> {
        let done = services(ctx)?.people.create_api_key(viewer(ctx)?, input.into()).await;
        let (made, errors) = settle(done)?;
        let (api_key, secret) = made.unzip();
        let secret = secret.map(|secret| secret.expose_secret().to_owned());
        Ok(CreateApiKeyPayload { api_key: api_key.map(ApiKey::from), secret, errors })
    }

    /// Refuses a key from now on, on sockets that are open, too, and with it the keys that it made. For ADMIN.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key to revoke.")] input: RevokeApiKeyInput,
    ) -> Result<RevokeApiKeyPayload, ApiError> {
        let key = given(Kind::ApiKey, &input.api_key_id);
        let (done, errors) = settle(services(ctx)?.people.revoke_api_key(viewer(ctx)?, key).await)?;
        Ok(RevokeApiKeyPayload { revoked_api_key_id: done.map(|()| shown(Kind::ApiKey, key)), errors })
    }
}
