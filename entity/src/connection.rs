//! One data source plugged in for one client.

use sea_orm::entity::prelude::*;

use crate::kinds::Status;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "connection")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    /// Folded for sorting and searching.
    pub name_key: String,
    /// Unique in the workspace among those not removed.
    pub external_id: Option<String>,
    pub connector: String,
    pub client_id: Option<Uuid>,
    pub authorization_id: Uuid,
    /// Which of the authorization's accounts it reads.
    pub account_id: Option<String>,
    pub account_name: Option<String>,
    /// The chosen account's id, else the identity's, else a hash of the fields that are not secret.
    pub account_key: String,
    pub status: Status,
    pub status_changed_at: DateTimeUtc,
    /// Disconnected on its own, whatever its authorization is.
    pub lost_access: bool,
    /// When it was last seen to work or fail on its own; what its authorization shows is kept there.
    pub last_checked_at: Option<DateTimeUtc>,
    /// When its own account is probed next; null: not on its own.
    pub probe_at: Option<DateTimeUtc>,
    /// A first refusal of its account waits for a second look.
    pub refused_once: bool,
    /// Since when its own account does not answer in a way that says something, and how it fails, for people.
    pub failing_since: Option<DateTimeUtc>,
    pub failing_message: Option<String>,
    /// The owner: who connected it or last reconnected it.
    pub created_by: Option<Uuid>,
    pub created_at: DateTimeUtc,
    pub removed_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
