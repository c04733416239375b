//! Grants that nobody uses any more, until the provider has them back.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "give_back")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub connector: String,
    /// Whose account the grant is of; null where the connector cannot say.
    pub account_id: Option<String>,
    /// Sealed.
    pub credential: Vec<u8>,
    pub created_at: DateTimeUtc,
    /// When to try, or to try again.
    pub due_at: DateTimeUtc,
    /// How often it was tried in vain.
    pub tries: i32,
    /// Who is giving it back now, and until when.
    pub claimed_by: Option<Uuid>,
    pub claimed_until: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
