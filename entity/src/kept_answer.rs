//! The answer to a mutation that came with an idempotency key, kept for whoever sends it again.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "kept_answer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// Whose key it is: a user's id, or that of an API key.
    pub principal: Uuid,
    pub idempotency_key: String,
    /// Sealed: what was asked, and the answer once there is one.
    pub sealed: Vec<u8>,
    /// The run that works on it; null once it is answered.
    pub claimed_by: Option<Uuid>,
    /// Until when that is; null once it is answered.
    pub claimed_until: Option<DateTimeUtc>,
    pub expires_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
