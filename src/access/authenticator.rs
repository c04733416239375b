//! Turns a bearer into a viewer. Role and activity come from the database each time.
//!
//! A bearer is a token of ours, which names a user, one of an identity provider's, whose subject is bound to one user
//! in each of their workspaces, or an API key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::{binding, journal_head, user, workspace};
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect, RelationTrait, Select};
use uuid::Uuid;

use super::{
    IdentityProvider, JwtSecret, Subject, Viewer,
    api_key::{self, ApiKeys},
    identity_provider::Vouched,
};
use crate::{
    clock::SharedClock,
    db::Db,
    error::{Error, Result},
    tasks::Tasks,
};

/// Binds subjects of identity providers to users; for the room that writes of them.
pub trait Bind: Send + Sync + 'static {
    /// Binds `subject` to the active user with the address `verified_email`, in `workspace` or wherever there is one,
    /// unless the subject, or that user, is bound there already.
    fn bind<'a>(
        &'a self,
        subject: &'a Subject,
        verified_email: &'a str,
        workspace: Option<Uuid>,
    ) -> BoxFuture<'a, Result<()>>;
}

/// Verifies bearers; cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    db: Db,
    secret: Option<JwtSecret>,
    identity_provider: Option<(IdentityProvider, Arc<dyn Bind>)>,
    clock: SharedClock,
    api_keys: ApiKeys,
}

/// A user with what is known of them in one statement: the journal's number is as old as the role that it vouches for.
type Found = (user::Model, Option<workspace::Model>, Option<journal_head::Model>);

impl Authenticator {
    /// Believes tokens signed with `secret`, and those of the identity provider, as far as there are such; and API keys.
    pub fn new(
        db: Db,
        secret: Option<JwtSecret>,
        identity_provider: Option<(IdentityProvider, Arc<dyn Bind>)>,
        clock: SharedClock,
        tasks: Tasks,
    ) -> Self {
        let api_keys = ApiKeys::new(db.clone(), clock.clone(), tasks);
        Self { db, secret, identity_provider, clock, api_keys }
    }

    /// The viewer whom `bearer` names, in `workspace` where one is asked for.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], whatever is wrong with it. [`Error::WorkspaceUnnamed`] for someone in several
    /// workspaces who names none.
    pub async fn viewer(&self, bearer: &str, workspace: Option<Uuid>) -> Result<Viewer> {
        if api_key::is_key(bearer) {
            return self.api_keys.viewer(bearer, workspace).await;
        }
        let ours = self.secret.as_ref().and_then(|secret| secret.verify(bearer, self.clock.now()).ok());
        if let Some(verified) = ours {
            let found = self.active(user::Entity::find_by_id(verified.user), workspace).await?;
            return only(found, verified.expires_at);
        }
        let Some((provider, binder)) = &self.identity_provider else { return Err(Error::Unauthenticated) };
        let vouched = provider.verify(bearer).await?;
        let found = self.bound(&vouched, workspace, &**binder).await?;
        only(found, vouched.expires_at)
    }

    /// The active users to whom the subject is bound. It is bound when it comes for the first time.
    async fn bound(&self, vouched: &Vouched, workspace: Option<Uuid>, binder: &dyn Bind) -> Result<Vec<Found>> {
        let found = self.active(bound_to(&vouched.subject), workspace).await?;
        let Some(email) = vouched.verified_email.as_deref().filter(|_| found.is_empty()) else { return Ok(found) };
        binder.bind(&vouched.subject, email, workspace).await?;
        self.active(bound_to(&vouched.subject), workspace).await
    }

    /// Those of `users` who are active, in `workspace` where one is asked for. One statement; two are as many as matter.
    async fn active(&self, users: Select<user::Entity>, workspace: Option<Uuid>) -> Result<Vec<Found>> {
        let mut users = users.filter(user::Column::Active.eq(true)).limit(2);
        if let Some(workspace) = workspace {
            users = users.filter(user::Column::WorkspaceId.eq(workspace));
        }
        let found = users.find_also_related(workspace::Entity).find_also_related(journal_head::Entity);
        Ok(found.all(self.db.reader()).await?)
    }
}

fn bound_to(subject: &Subject) -> Select<user::Entity> {
    user::Entity::find()
        .join(JoinType::InnerJoin, binding::Relation::User.def().rev())
        .filter(binding::Column::Issuer.eq(&subject.issuer))
        .filter(binding::Column::Subject.eq(&subject.subject))
}

fn only(mut found: Vec<Found>, expires_at: DateTime<Utc>) -> Result<Viewer> {
    match (found.pop(), found.is_empty()) {
        (Some((user, Some(home), Some(head))), true) => Ok(Viewer::person(&user, &home, Some(expires_at), head.seq)),
        (Some(_), false) => Err(Error::WorkspaceUnnamed),
        _ => Err(Error::Unauthenticated),
    }
}
