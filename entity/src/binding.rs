//! Whom an identity provider means by a subject: one user in each workspace.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "binding")]
pub struct Model {
    /// `iss` of the provider's tokens.
    #[sea_orm(primary_key, auto_increment = false)]
    pub issuer: String,
    /// `sub` of the provider's tokens.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: Uuid,
    /// Unique with the issuer.
    pub user_id: Uuid,
    pub bound_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "super::user::Entity", from = "Column::UserId", to = "super::user::Column::Id")]
    User,
}

impl ActiveModelBehavior for ActiveModel {}
