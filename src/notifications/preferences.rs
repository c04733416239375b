//! What a person wants by e-mail, and the link in each reminder that turns them off.
//!
//! The link works without signing in: whoever holds a letter may end the letters. It carries the person's id and a code
//! that only their workspace's key makes of it; so nothing is kept for it, and nobody makes one up.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use entity::{Topic, user, workspace};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::Notifications;
use crate::{
    access::{Action, Actor, Viewer},
    cursor::CursorKey,
    error::{Error, Result},
    ids::Kind,
    journal::{Facts, NewEntry},
    patch::Patch,
    people::{hold_people, users_of},
};

/// What the code of a link is made for.
const UNSUBSCRIBE: &str = "unsubscribe";

/// Changes of a person's own preferences.
#[derive(Debug, Clone)]
pub struct UpdatePreferences {
    pub reminder_emails: Patch<bool>,
}

/// The person whom a link is for.
#[derive(Debug, Clone)]
pub struct Subscriber {
    pub user: user::Model,
    pub workspace: workspace::Model,
}

impl Notifications {
    /// Whether the viewer is reminded by e-mail; false for an API key and for a CLIENT.
    pub async fn reminder_emails(&self, viewer: &Viewer) -> Result<bool> {
        if viewer.may(Action::BeNotified).is_err() {
            return Ok(false);
        }
        let me = users_of(viewer.workspace()).filter(user::Column::Id.eq(viewer.require_user()?));
        Ok(me.one(self.db.reader()).await?.is_some_and(|me| me.reminder_emails))
    }

    /// Changes the viewer's own preferences.
    pub async fn update_preferences(&self, viewer: &Viewer, change: UpdatePreferences) -> Result<()> {
        viewer.may(Action::BeNotified)?;
        match change.reminder_emails.or_keep("reminderEmails")? {
            Some(wanted) => {
                self.turn_reminders(viewer.workspace(), viewer.require_user()?, viewer.actor(), wanted).await
            }
            None => Ok(()),
        }
    }

    /// The link that ends the reminders of `user`.
    pub fn unsubscribe_url(&self, user: &user::Model, workspace: &workspace::Model) -> Url {
        let mut url = self.public_url.clone();
        url.set_path(&format!("unsubscribe/{}", token(user.id, workspace)));
        url
    }

    /// Whom a link with this token is for; none when no letter had it.
    pub async fn subscriber(&self, token: &str) -> Result<Option<Subscriber>> {
        let Some((id, code)) = opened(token) else { return Ok(None) };
        let Some(user) = user::Entity::find_by_id(id).one(self.db.reader()).await? else { return Ok(None) };
        let workspace = workspace::Entity::find_by_id(user.workspace_id).one(self.db.reader()).await?;
        let Some(workspace) = workspace else { return Ok(None) };
        let key = CursorKey::new(workspace.cursor_key.clone());
        Ok(key.is_code(UNSUBSCRIBE, user.id.as_bytes(), &code).then_some(Subscriber { user, workspace }))
    }

    /// Ends the reminders of whoever followed their link.
    pub async fn unsubscribe(&self, subscriber: &Subscriber) -> Result<()> {
        let (user, workspace) = (subscriber.user.id, subscriber.workspace.id);
        self.turn_reminders(workspace, user, Actor { user: Some(user), ..Actor::default() }, false).await
    }

    /// Turns reminders on or off, and tells the audit log when that changes anything.
    async fn turn_reminders(&self, workspace: Uuid, user: Uuid, actor: Actor, wanted: bool) -> Result<()> {
        let txn = self.db.begin().await?;
        hold_people(&txn, workspace).await?;
        let found = users_of(workspace).filter(user::Column::Id.eq(user)).one(&txn).await?;
        let found = found.ok_or(Error::Unauthenticated)?;
        if found.reminder_emails == wanted {
            return Ok(());
        }
        let mut changed = found.into_active_model();
        changed.reminder_emails = Set(wanted);
        changed.update(&txn).await?;
        let entry = NewEntry {
            topic: Topic::Audit,
            action: "user.preferences_changed",
            actor,
            subject: Kind::User.of(user),
            facts: Facts::None,
            details: json!({ "before": { "reminderEmails": !wanted }, "after": { "reminderEmails": wanted } }),
        };
        self.journal.commit(txn, workspace, vec![entry]).await?;
        Ok(())
    }
}

/// 16 bytes of the person's id, then the code.
fn token(user: Uuid, workspace: &workspace::Model) -> String {
    let code = CursorKey::new(workspace.cursor_key.clone()).code(UNSUBSCRIBE, user.as_bytes());
    URL_SAFE_NO_PAD.encode([&user.as_bytes()[..], &code[..]].concat())
}

fn opened(token: &str) -> Option<(Uuid, Vec<u8>)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (id, code) = bytes.split_first_chunk::<16>()?;
    Some((Uuid::from_bytes(*id), code.to_vec()))
}
