//! Which authorizations were told to wait by a provider's endpoint, and when last: a connector as a whole pauses only
//! after several of them were.

use sea_orm::entity::prelude::*;

use crate::kinds::Endpoint;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "wait_request")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub connector: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint: Endpoint,
    #[sea_orm(primary_key, auto_increment = false)]
    pub authorization_id: Uuid,
    pub workspace_id: Uuid,
    pub at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
