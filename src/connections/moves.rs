//! Moving connections from one authorization to another, and giving them another account's key.

use entity::{DisconnectionEnd, Status, connection::Column};
use serde_json::json;
use uuid::Uuid;

use super::{
    held::{Held, last_checked},
    lifecycle::{Change, Healed},
    links::mended,
};
use crate::{access::Viewer, error::Result, ids::Kind, journal::Touched};

/// What moving may change of a connection.
const MOVED: [Column; 8] = [
    Column::AuthorizationId,
    Column::AccountKey,
    Column::Status,
    Column::StatusChangedAt,
    Column::LostAccess,
    Column::LastCheckedAt,
    Column::ProbeAt,
    Column::RefusedOnce,
];

impl Change<'_> {
    /// Moves `connections` from one held authorization onto another that works; `viewer` becomes their owner where they
    /// could reconnect them. An emptied authorization is retired.
    pub(super) async fn transfer(
        &mut self,
        from: &mut Held,
        onto: &mut Held,
        connections: &[Uuid],
        viewer: &Viewer,
    ) -> Result<()> {
        let before = from.facts();
        let (moving, staying) =
            std::mem::take(&mut from.members).into_iter().partition(|member| connections.contains(&member.row.id));
        from.members = staying;
        let connector = self.connections.connector_of(&onto.authorization.connector);
        let (mut moved, mut ended) = (Vec::new(), Vec::new());
        for mut member in moving {
            ended.extend(member.own.take().map(|own| own.id));
            let row = &mut member.row;
            row.last_checked_at = last_checked(row, &from.authorization);
            row.authorization_id = onto.id();
            if row.account_id.is_none() {
                row.account_key = onto.authorization.account_id.clone().unwrap_or_else(|| row.account_key.clone());
            }
            let had_lost = std::mem::take(&mut row.lost_access);
            row.refused_once = false;
            if row.status != onto.authorization.status {
                (row.status, row.status_changed_at) = (onto.authorization.status, self.now);
            }
            if let Some(connector) = &connector {
                let next = self.connections.account_probe_at(connector, row.account_id.as_deref(), self.now);
                // That it is listed is the provider's word that it is reached: whether it is read, a probe says soon.
                row.probe_at = if had_lost { next.map(|_| self.now) } else { next };
            }
            moved.push(row.clone());
            onto.members.push(member);
        }
        self.end_all(&ended, DisconnectionEnd::Reconnected, viewer.user()).await?;
        self.require_all_free(&moved).await?;
        self.write_members(&moved, &MOVED).await?;
        self.hand_over(onto, |id| connections.contains(id), viewer).await?;
        self.refresh_datasets(connections.iter().copied()).await?;
        self.end_links(&mended(onto, &before)).await?;
        self.tell_moved(onto, connections, &before, from.disconnection.as_ref().map(|open| open.id));
        if from.members.is_empty() {
            return self.retire(from, Healed::By(viewer).end(), viewer.user()).await;
        }
        Ok(())
    }

    fn tell_moved(
        &mut self,
        onto: &Held,
        connections: &[Uuid],
        before: &std::collections::HashMap<Uuid, crate::journal::Fact>,
        disconnection: Option<Uuid>,
    ) {
        let moved = onto.members.iter().filter(|member| connections.contains(&member.row.id));
        let touched: Vec<Touched> = moved
            .map(|member| Touched {
                connection: member.row.id,
                before: before.get(&member.row.id).cloned(),
                after: Some(onto.fact(member)),
            })
            .collect();
        let was_broken = |one: &Touched| one.before.as_ref().is_some_and(|fact| fact.status == Status::Disconnected);
        let action = if touched.iter().any(was_broken) { "connection.reconnected" } else { "connection.updated" };
        let subject = Kind::Authorization.of(onto.id());
        let details = json!({ "disconnection": disconnection, "connections": touched.len(), "moved": true });
        self.tell(action, subject, touched, details);
    }

    /// After an authorization changed its account in place: the connections that go by it get its key.
    pub(super) async fn rekey(&mut self, held: &mut Held, connections: &[Uuid]) -> Result<()> {
        let identity = held.authorization.account_id.clone();
        let mut keyed = Vec::new();
        for member in held.members.iter_mut().filter(|member| connections.contains(&member.row.id)) {
            let key = member.row.account_id.clone().or_else(|| identity.clone());
            member.row.account_key = key.unwrap_or_else(|| member.row.account_key.clone());
            keyed.push(member.row.clone());
        }
        self.require_all_free(&keyed).await?;
        self.write_members(&keyed, &[Column::AccountKey]).await
    }

    /// Gives a connection the key of its account: the chosen one's, else the authorization's, else `otherwise`.
    pub(super) async fn rekey_to(
        &mut self,
        held: &mut Held,
        connection: Uuid,
        otherwise: Option<String>,
    ) -> Result<()> {
        let identity = held.authorization.account_id.clone();
        let Some(member) = held.members.iter_mut().find(|member| member.row.id == connection) else { return Ok(()) };
        let key = member.row.account_id.clone().or(identity).or(otherwise);
        member.row.account_key = key.unwrap_or_else(|| member.row.account_key.clone());
        let row = member.row.clone();
        self.require_free(&row).await?;
        self.write_member(&row).await
    }
}
