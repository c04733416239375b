//! A tenant: an agency or a company. Nothing crosses it.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "workspace")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    /// IANA name.
    pub time_zone: String,
    /// `HH:MM` in `time_zone`.
    pub reminder_time: String,
    pub reminder_after_hours: i32,
    /// The last reminder run that was prepared: its instant.
    pub reminded_at: Option<DateTimeUtc>,
    pub connection_url: Option<String>,
    /// Authenticates the cursors handed out in this workspace.
    pub cursor_key: Vec<u8>,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
