//! How users are bound to the subjects of an identity provider.
//!
//! A subject is bound once, by an address that the provider has verified, and stays bound whatever becomes of the
//! address on either side. A user who is bound is not taken over by another subject with the same address.

use entity::{binding, user};
use futures_util::{FutureExt, future::BoxFuture};
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::json;
use uuid::Uuid;

use super::{People, audit, names};
use crate::{
    access::{Actor, Bind, Subject},
    error::Result,
    ids::Kind,
    pages,
};

impl Bind for People {
    fn bind<'a>(
        &'a self,
        subject: &'a Subject,
        verified_email: &'a str,
        workspace: Option<Uuid>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            // Whoever has no address that a user could have is nobody here.
            let Ok(email) = names::email("email", verified_email) else { return Ok(()) };
            let mut named = active(&email);
            if let Some(workspace) = workspace {
                named = named.filter(user::Column::WorkspaceId.eq(workspace));
            }
            for user in named.all(self.db.reader()).await? {
                self.bind_to(subject, &email, &user).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl People {
    /// Binds the subject to `user`, who was found by the address, unless one of them is bound already.
    async fn bind_to(&self, subject: &Subject, email: &str, user: &user::Model) -> Result<()> {
        // Folding joins letters that look alike, and an address with one is somebody else's: for letters beyond ASCII,
        // the address must be the same one by one.
        if !user.email.eq_ignore_ascii_case(email) || is_bound(self.db.reader(), subject, user).await? {
            return Ok(());
        }
        let txn = self.begin(user.workspace_id).await?;
        let still_there = active(email).filter(user::Column::Id.eq(user.id)).one(&txn).await?.is_some();
        if !still_there || is_bound(&txn, subject, user).await? {
            return Ok(());
        }
        let row = binding::Model {
            issuer: subject.issuer.clone(),
            subject: subject.subject.clone(),
            workspace_id: user.workspace_id,
            user_id: user.id,
            bound_at: self.clock.now(),
        };
        row.into_active_model().insert(&txn).await?;
        let actor = Actor { user: Some(user.id), ..Actor::default() };
        let details = json!({ "after": { "issuer": subject.issuer, "subject": subject.subject } });
        let entry = audit("user.bound", actor, Kind::User, user.id, details);
        self.journal.commit(txn, user.workspace_id, vec![entry]).await?;
        Ok(())
    }
}

/// The active users with this address, in every workspace.
fn active(email: &str) -> sea_orm::Select<user::Entity> {
    user::Entity::find().filter(user::Column::EmailKey.eq(pages::fold(email))).filter(user::Column::Active.eq(true))
}

/// Whether the subject is bound in the user's workspace, or the user by its issuer.
async fn is_bound(db: &impl ConnectionTrait, subject: &Subject, user: &user::Model) -> Result<bool> {
    use binding::Column::{Issuer, Subject as Sub, UserId, WorkspaceId};
    let there = Condition::all().add(Sub.eq(&subject.subject)).add(WorkspaceId.eq(user.workspace_id));
    let bound = binding::Entity::find()
        .filter(Issuer.eq(&subject.issuer))
        .filter(Condition::any().add(UserId.eq(user.id)).add(there));
    Ok(bound.one(db).await?.is_some())
}
