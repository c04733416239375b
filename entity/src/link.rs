//! A link that lets someone without a login connect or reconnect, for whoever made it.

use sea_orm::entity::prelude::*;

use crate::kinds::{AttemptKind, LinkEnd};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "link")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// What it lets someone do: RECONNECT a connection, or CONNECT data sources of a client.
    pub kind: AttemptKind,
    /// SHA-256 of what the address ends in.
    pub token_hash: Vec<u8>,
    /// RECONNECT: the connection.
    pub connection_id: Option<Uuid>,
    /// CONNECT: the client.
    pub client_id: Option<Uuid>,
    /// For whom it acts.
    pub created_by: Uuid,
    /// The key it was made with.
    pub api_key_id: Option<Uuid>,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    pub ended_at: Option<DateTimeUtc>,
    pub ended_by: Option<LinkEnd>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
