//! The audit log as the API shows it.

use async_graphql::{Context, ID, InputObject, Object};

use super::{
    ApiError,
    api_keys::ApiKey,
    execution::viewer,
    loaders::loaders,
    node::{self, Node},
    page::{Page, asked},
    people::User,
    scalars::{DateTime, Json, given, shown},
    services::{counted, services},
};
use crate::{
    error::Result,
    ids::{Kind, NodeId},
    journal,
};

/// Something that was done.
pub struct AuditEntry(journal::AuditEntry);

impl From<journal::AuditEntry> for AuditEntry {
    fn from(row: journal::AuditEntry) -> Self {
        Self(row)
    }
}

/// Something that was done, by someone or by the server itself.
#[Object]
impl AuditEntry {
    /// The entry's id.
    pub async fn id(&self) -> ID {
        shown(Kind::AuditEntry, self.0.id)
    }

    /// When it was done.
    async fn at(&self) -> DateTime {
        self.0.at.into()
    }

    /// E.g. connection.added, connection.disconnected, connection.reconnected, connection.removed, user.role_changed.
    async fn action(&self) -> &str {
        &self.0.action
    }

    /// Null when the server itself acted.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<User>, ApiError> {
        let Some(id) = self.0.actor_user else { return Ok(None) };
        Ok(loaders(ctx)?.users.load_one(id).await?.map(User::from))
    }

    /// The key with which they did it; null when they did it themselves.
    async fn api_key(&self, ctx: &Context<'_>) -> Result<Option<ApiKey>, ApiError> {
        let Some(id) = self.0.actor_key else { return Ok(None) };
        Ok(loaders(ctx)?.api_keys.load_one(id).await?.map(ApiKey::from))
    }

    /// What it was done to.
    async fn subject(&self, ctx: &Context<'_>) -> Result<Option<Node>, ApiError> {
        match Kind::from_prefix(&self.0.subject_kind) {
            Some(kind) => node::find(ctx, NodeId { kind, id: self.0.subject_id }).await,
            None => Ok(None),
        }
    }

    /// What else there is to know, by action; never a secret.
    async fn details(&self) -> Json {
        self.0.details.clone().into()
    }
}

/// Which entries to show. Conditions are joined by AND; an absent one, and null, says nothing.
#[derive(Debug, Clone, InputObject)]
pub struct AuditFilter {
    /// E.g. connection.removed.
    action: Option<String>,
    /// Done by this user, or by a key for them.
    user_id: Option<ID>,
    /// Done by this key.
    api_key_id: Option<ID>,
    /// Done to this thing, of whatever kind.
    subject_id: Option<ID>,
    /// Done after this instant.
    after: Option<DateTime>,
    /// Done before this instant.
    before: Option<DateTime>,
}

impl From<AuditFilter> for journal::AuditFilter {
    fn from(filter: AuditFilter) -> Self {
        // An id of nothing is the subject of no entry.
        let nothing = Kind::Viewer.of(uuid::Uuid::nil());
        Self {
            action: filter.action,
            user: filter.user_id.map(|id| given(Kind::User, &id)),
            api_key: filter.api_key_id.map(|id| given(Kind::ApiKey, &id)),
            subject: filter.subject_id.map(|id| id.parse().unwrap_or(nothing)),
            after: filter.after.map(|at| at.0),
            before: filter.before.map(|at| at.0),
        }
    }
}

/// The queries about the audit log.
#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// Who did what, newest first. For ADMIN.
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which entries; without it, all.")] filter: Option<AuditFilter>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<AuditEntry>, ApiError> {
        let filter: journal::AuditFilter = filter.map(Into::into).unwrap_or_default();
        let page = services(ctx)?.journal.audit(viewer(ctx)?, &filter, &asked(first, after, last, before)).await?;
        let total = counted(ctx, move |services, viewer| {
            let filter = filter.clone();
            async move { services.journal.count_audit(&viewer, &filter).await }
        })?;
        Ok(Page::new(page, total))
    }
}
