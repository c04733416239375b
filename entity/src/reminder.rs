//! One e-mail that reminds a person of what is disconnected: at most one a day.

use sea_orm::entity::prelude::*;

use crate::kinds::ReminderStatus;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "reminder")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub user_id: Uuid,
    /// `YYYY-MM-DD` in the workspace's zone; unique for the person.
    pub day: String,
    pub status: ReminderStatus,
    /// How often the mail server did not take it.
    pub failures: i32,
    /// How often it was handed over without an answer.
    pub unheard: i32,
    /// When to try; null once it needs no more trying.
    pub send_at: Option<DateTimeUtc>,
    /// What the mail server said last.
    pub problem: Option<String>,
    pub claimed_by: Option<Uuid>,
    pub claimed_until: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub sent_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
