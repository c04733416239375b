//! What the catalogue last said of a connector, so that one whose file is gone can still be named.

use sea_orm::entity::prelude::*;

use crate::kinds::{AuthMethod, DataMode};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "connector")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub category: String,
    pub method: AuthMethod,
    pub mode: DataMode,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
