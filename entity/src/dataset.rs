//! Rows asked of a connection.

use sea_orm::entity::prelude::*;

use crate::kinds::DatasetStatus;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "dataset")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// What it reads through; a removed one until another takes its place.
    pub connection_id: Uuid,
    pub name: String,
    /// Folded for searching.
    pub name_key: String,
    /// Unique in the workspace.
    pub external_id: Option<String>,
    /// What it asks its source.
    pub query: Json,
    /// Moves with every edit, and with every change of what it reads through: the fence of every refresh.
    pub version: i64,
    pub refresh_every_minutes: Option<i32>,
    /// When the next refresh is due; null: none is.
    pub refresh_at: Option<DateTimeUtc>,
    /// Of its last refresh.
    pub status: DatasetStatus,
    /// For people: why its last refresh failed.
    pub error: Option<String>,
    /// Reconnecting is what mends it: it is refreshed when its connection works again.
    pub needs_reconnect: bool,
    pub failed_at: Option<DateTimeUtc>,
    /// Failures in a row.
    pub failures: i32,
    /// Its source has answered this very query before: that it refuses it now says something about the connection.
    pub proven: bool,
    /// A list of strings.
    pub columns: Json,
    pub row_count: i64,
    /// The rows of its last good refresh; null where they are read live.
    pub snapshot_id: Option<Uuid>,
    pub last_refreshed_at: Option<DateTimeUtc>,
    /// The run that refreshes it, until `claimed_until`.
    pub claimed_by: Option<Uuid>,
    pub claimed_until: Option<DateTimeUtc>,
    pub created_by: Option<Uuid>,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
