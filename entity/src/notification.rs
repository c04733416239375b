//! What one person is told, once per occasion and kind.

use sea_orm::entity::prelude::*;

use crate::kinds::NotificationKind;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "notification")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub user_id: Uuid,
    pub kind: NotificationKind,
    /// The disconnection, or whatever else it is told of once.
    pub occasion: Uuid,
    pub disconnection_id: Option<Uuid>,
    pub authorization_id: Option<Uuid>,
    pub connector: Option<String>,
    pub title: String,
    pub created_at: DateTimeUtc,
    pub read_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
