//! What happened, in order.

use sea_orm::entity::prelude::*;

use crate::kinds::Topic;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "journal_entry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub id: Uuid,
    pub topic: Topic,
    /// E.g. `connection.disconnected`.
    pub action: String,
    pub at: DateTimeUtc,
    pub actor_user: Option<Uuid>,
    pub actor_key: Option<Uuid>,
    /// The job that acted, where no person did.
    pub actor_job: Option<String>,
    pub subject_kind: String,
    pub subject_id: Uuid,
    /// What filters and visibility need of each touched connection, before and after: packed.
    pub facts: Option<Vec<u8>>,
    pub details: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
