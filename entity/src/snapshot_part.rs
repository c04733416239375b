//! Some of a snapshot's rows, one after the other.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "snapshot_part")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub snapshot_id: Uuid,
    /// The place of its first row, from 0.
    #[sea_orm(primary_key, auto_increment = false)]
    pub first_row: i64,
    pub row_count: i64,
    /// JSON objects, one a line, compressed (LZ4).
    pub body: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
