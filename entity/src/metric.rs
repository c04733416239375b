//! A number computed from a dataset.

use sea_orm::entity::prelude::*;

use crate::kinds::Aggregation;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "metric")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub dataset_id: Uuid,
    pub name: String,
    pub aggregation: Aggregation,
    pub column_name: Option<String>,
    /// In decimal digits, from the last rows that were read; null where they hold no number.
    pub value: Option<String>,
    /// For people: why those rows give no number.
    pub problem: Option<String>,
    pub created_by: Option<Uuid>,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
