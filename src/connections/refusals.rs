//! When a token endpoint that refuses a renewal, and does not say that the grant has ended, is believed all the same.
//!
//! What no row of the table knows may be a mistake of the provider's that passes. So it counts only where it was said
//! several times, over some minutes, and the grant is of no use meanwhile. What blames this server's OAuth client is
//! everybody's trouble, unless the grant was given to another client, or the same client is accepted elsewhere.

use chrono::TimeDelta;
use entity::{Detector, DisconnectionReason, Endpoint, authorization};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::Expr};

use super::{
    Connections,
    checks::Look,
    findings::fault,
    lifecycle::{Change, Fault},
    messages,
};
use crate::error::Result;

/// How often a refusal that nobody knows has to come, at least,
const SEVERAL: i32 = 3;
/// and over how long.
const LASTING: TimeDelta = TimeDelta::minutes(10);

impl Connections {
    /// Notes a refusal that no row knows. What is wrong, where it has come often enough, while the API refuses the access
    /// token or that has ended; or where the grant is of another OAuth client.
    pub(super) async fn refused_for_good(
        &self,
        change: &Change<'_>,
        row: &authorization::Model,
        look: &Look,
    ) -> Result<Option<Fault>> {
        if self.is_of_another_client(row) {
            return Ok(Some(self.another_client(look)));
        }
        change.note_refusal(row).await?;
        let lasts = row.refused_since.is_some_and(|since| change.now - since >= LASTING);
        let ended = row.access_expires_at.is_some_and(|end| end <= change.now);
        let is_for_good = lasts && row.refusals + 1 >= SEVERAL && (ended || look.refused);
        Ok(is_for_good.then(|| fault(look, self.why_broken(look), Detector::TokenRenewal)))
    }

    /// Notes that this server's OAuth client is refused. What is wrong, where that is this grant's trouble alone.
    pub(super) async fn refused_with_client(
        &self,
        change: &Change<'_>,
        row: &authorization::Model,
        look: &Look,
    ) -> Result<Option<Fault>> {
        if !self.is_of_another_client(row) && !self.is_client_accepted_elsewhere(change, row).await? {
            change.note_client_refused(row, Endpoint::Token).await?;
            if row.refused_since.is_none() {
                change.note_refusal(row).await?;
            }
            return Ok(None);
        }
        change.forget_client_refused(row).await?;
        self.refused_for_good(change, row, look).await
    }

    /// Whether the grant was given to another OAuth client than this server has today.
    fn is_of_another_client(&self, row: &authorization::Model) -> bool {
        let today = self.connector_of(&row.connector).and_then(|known| self.provider.oauth_client(&known));
        row.oauth_client.as_ref().zip(today.as_ref()).is_some_and(|(before, today)| before != today)
    }

    fn another_client(&self, look: &Look) -> Fault {
        Fault {
            message: messages::of_another_client(&look.connector.name),
            ..fault(look, DisconnectionReason::Revoked, Detector::TokenRenewal)
        }
    }

    /// Whether the token endpoint accepted this grant's OAuth client for another grant since it first refused it here.
    async fn is_client_accepted_elsewhere(&self, change: &Change<'_>, row: &authorization::Model) -> Result<bool> {
        let (Some(client), Some(since)) = (&row.oauth_client, row.refused_since) else { return Ok(false) };
        let accepted: Option<i32> = authorization::Entity::find()
            .select_only()
            .expr(Expr::value(1))
            .filter(authorization::Column::WorkspaceId.eq(row.workspace_id))
            .filter(authorization::Column::Connector.eq(&row.connector))
            .filter(authorization::Column::OauthClient.eq(client))
            .filter(authorization::Column::Id.ne(row.id))
            .filter(authorization::Column::LastRefreshedAt.gte(since))
            .limit(1)
            .into_tuple()
            .one(&change.txn)
            .await?;
        Ok(accepted.is_some())
    }
}
