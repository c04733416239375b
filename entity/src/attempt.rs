//! One browser round trip to a provider, to connect or to reconnect.

use sea_orm::entity::prelude::*;

use crate::kinds::{AttemptKind, AttemptStatus};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "attempt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub kind: AttemptKind,
    pub status: AttemptStatus,
    pub connector: String,
    /// Who started it, and alone sees it.
    pub started_by: Uuid,
    /// The key it was started with.
    pub api_key_id: Option<Uuid>,
    /// The link it was started by.
    pub link_id: Option<Uuid>,
    /// What to make of it: the plan, as JSON without secrets.
    pub plan: Json,
    /// RECONNECT: the connection.
    pub connection_id: Option<Uuid>,
    /// SHA-256 of the state parameter, of one that departed. It is good for one exchange, while PENDING.
    pub state_hash: Option<Vec<u8>>,
    /// SHA-256 of the cookie of the browser that opened it first.
    pub browser_hash: Option<Vec<u8>>,
    /// Sealed: state and PKCE verifier while PENDING, the grant while NEEDS_DECISION; null once it has ended.
    pub secret: Option<Vec<u8>>,
    pub signed_in_id: Option<String>,
    pub signed_in_name: Option<String>,
    pub expected_id: Option<String>,
    pub expected_name: Option<String>,
    /// The connections it connected or reconnected: a list of ids.
    pub connections: Json,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    /// What is in the way, as a node id.
    pub error_conflict: Option<String>,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    pub ended_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
