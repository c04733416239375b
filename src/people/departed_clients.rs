//! How a client leaves, and who leaves with it. Its connections are another room's, which removes them in the same
//! transaction.

use chrono::{DateTime, Utc};
use entity::{api_key, client, user};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, IntoActiveModel, QueryFilter, QuerySelect};
use serde_json::json;
use uuid::Uuid;

use super::{api_keys, audit, clients::described, clients_of, user_changes::told, users_of};
use crate::{
    access::{Action, Viewer},
    db::Transaction,
    error::{Error, Result},
    ids::Kind,
    journal::NewEntry,
};

/// Removes a client while [`hold_people`](super::hold_people) holds: its logins may no longer come in, its keys are refused, and nothing new
/// becomes the client's. What the journal is told comes back; those who follow it as one of these stop at the first of
/// it.
pub async fn remove_client(
    txn: &Transaction,
    viewer: &Viewer,
    client: Uuid,
    now: DateTime<Utc>,
) -> Result<Vec<NewEntry>> {
    viewer.may(Action::ManageClients)?;
    let (workspace, actor) = (viewer.workspace(), viewer.actor());
    // Waits for whoever makes a connection of it ([`client_stays`](super::client_stays)).
    let found = clients_of(workspace).filter(client::Column::Id.eq(client)).lock_exclusive().one(txn).await?;
    let row = found.ok_or_else(|| Error::not_found("clientId"))?;
    let mut entries = Vec::new();
    let logins = users_of(workspace).filter(user::Column::ClientId.eq(client)).filter(user::Column::Active.eq(true));
    for login in logins.all(txn).await? {
        let after = user::Model { active: false, ..login.clone() };
        entries.extend(told(actor, &login, &after));
        after.into_active_model().reset_all().update(txn).await?;
    }
    for key in api_keys::live(workspace).filter(api_key::Column::ClientId.eq(client)).all(txn).await? {
        entries.extend(api_keys::revoke(txn, actor, key, now).await?);
    }
    entries.push(audit("client.removed", actor, Kind::Client, client, json!({ "before": described(&row) })));
    client::ActiveModel { id: Set(client), removed_at: Set(Some(now)), ..Default::default() }.update(txn).await?;
    Ok(entries)
}
