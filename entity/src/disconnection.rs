//! One outage, from detection to its end.

use sea_orm::entity::prelude::*;

use crate::kinds::{Detector, DisconnectionEnd, DisconnectionReason};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "disconnection")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub authorization_id: Uuid,
    /// Set when this one lost access on its own.
    pub connection_id: Option<Uuid>,
    pub connector: String,
    pub reason: DisconnectionReason,
    pub detected_by: Detector,
    pub message: String,
    /// The credential that failed; once it ended by itself, the one that worked again.
    pub credential_version: i64,
    pub started_at: DateTimeUtc,
    pub ended_at: Option<DateTimeUtc>,
    pub ended_by: Option<DisconnectionEnd>,
    pub reconnected_by: Option<Uuid>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
