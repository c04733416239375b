//! The grant behind connections.

use sea_orm::entity::prelude::*;

use crate::kinds::{AuthMethod, Endpoint, Status};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "authorization")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub connector: String,
    pub method: AuthMethod,
    pub status: Status,
    /// Whose account it is, as the provider's identity answer says.
    pub account_id: Option<String>,
    pub account_name: Option<String>,
    /// A list of strings.
    pub scopes: Json,
    /// A list of strings: asked for, and not granted.
    pub missing_scopes: Json,
    /// Sealed by the vault; null once erased.
    pub credential: Option<Vec<u8>>,
    /// Moves with every change of the credential: the fence of every verdict and renewal.
    pub credential_version: i64,
    /// When the grant itself ends and nothing renews it.
    pub expires_at: Option<DateTimeUtc>,
    /// When the access token ends.
    pub access_expires_at: Option<DateTimeUtc>,
    pub last_refreshed_at: Option<DateTimeUtc>,
    /// When the next renewal is due; null: nothing to renew.
    pub renew_at: Option<DateTimeUtc>,
    /// Committed before a renewal is sent, cleared with its answer.
    pub renewal_sent_at: Option<DateTimeUtc>,
    /// When the next probe is due; null: it has none.
    pub probe_at: Option<DateTimeUtc>,
    /// When it was last seen to work or fail as a whole.
    pub last_checked_at: Option<DateTimeUtc>,
    /// The job run that works on it, until `claimed_until`.
    pub claimed_by: Option<Uuid>,
    pub claimed_until: Option<DateTimeUtc>,
    /// Transient failures in a row.
    pub failures: i32,
    /// Since when its provider fails transiently; null once it gave an answer that says something.
    pub failing_since: Option<DateTimeUtc>,
    /// How it fails, for people; with `failing_since`.
    pub failing_message: Option<String>,
    /// Which OAuth client of this server the grant was given to; null where that is not known, or there is none.
    pub oauth_client: Option<String>,
    /// How often the token endpoint refused its renewal in words that nobody knows, and since when, while it had this
    /// credential.
    pub refusals: i32,
    pub refused_since: Option<DateTimeUtc>,
    /// The API asks to be left alone about it.
    pub quiet_until: Option<DateTimeUtc>,
    /// The token endpoint asks so.
    pub token_quiet_until: Option<DateTimeUtc>,
    /// What refuses this server's own OAuth client, or a setting like it, and when it last did.
    pub client_refused_by: Option<Endpoint>,
    pub client_refused_at: Option<DateTimeUtc>,
    /// When what had refused it last accepted it again.
    pub client_accepted_at: Option<DateTimeUtc>,
    pub created_by: Option<Uuid>,
    pub created_at: DateTimeUtc,
    pub removed_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
