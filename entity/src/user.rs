//! A person of a workspace.

use sea_orm::entity::prelude::*;

use crate::kinds::Role;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    /// Folded for sorting and searching.
    pub name_key: String,
    pub email: String,
    /// Folded; unique in the workspace.
    pub email_key: String,
    pub role: Role,
    /// Set for role CLIENT.
    pub client_id: Option<Uuid>,
    pub active: bool,
    /// Whether they want reminder e-mails.
    pub reminder_emails: bool,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
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
