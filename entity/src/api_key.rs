//! A key with which a program asks, on behalf of the person who made it.

use sea_orm::entity::prelude::*;

use crate::kinds::Role;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    /// The first characters of the secret, to recognise it by.
    pub prefix: String,
    /// SHA-256 of the secret, which is stored nowhere.
    pub hash: Vec<u8>,
    /// ADMIN, STAFF or CLIENT.
    pub role: Role,
    /// Set for role CLIENT.
    pub client_id: Option<Uuid>,
    pub read_only: bool,
    /// The person for whom it acts.
    pub created_by: Uuid,
    /// The key that made it, with which it is revoked; null where the person did.
    pub parent_id: Option<Uuid>,
    pub created_at: DateTimeUtc,
    pub expires_at: Option<DateTimeUtc>,
    /// To the minute or so.
    pub last_used_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "super::user::Entity", from = "Column::CreatedBy", to = "super::user::Column::Id")]
    Maker,
    #[sea_orm(
        belongs_to = "super::workspace::Entity",
        from = "Column::WorkspaceId",
        to = "super::workspace::Column::Id"
    )]
    Workspace,
    #[sea_orm(
        belongs_to = "super::journal_head::Entity",
        from = "Column::WorkspaceId",
        to = "super::journal_head::Column::WorkspaceId"
    )]
    JournalHead,
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Maker.def()
    }
}

impl Related<super::workspace::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Workspace.def()
    }
}

impl Related<super::journal_head::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::JournalHead.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
