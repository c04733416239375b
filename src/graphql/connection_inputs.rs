//! Which connections a list shows, and how it sorts them.

use async_graphql::{Enum, ID, InputObject};
use uuid::Uuid;

use super::{
    disconnections::DisconnectionReason,
    people::OrderDirection,
    scalars::{DateTime, given},
};
use crate::{connections, ids::Kind};

/// Whether something works. New values may come: treat an unknown one like CONNECTED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::Status")]
pub enum ConnectionStatus {
    /// Works, and is not known to stop.
    Connected,
    /// Works today, and is known to stop on `authorization.expiresAt` unless someone reconnects it.
    Expiring,
    /// Does not work until someone reconnects it, or it works again by itself.
    Disconnected,
}

/// What connections have to do with the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "connections::Relation")]
pub enum ConnectionRelation {
    /// The viewer is their owner.
    MadeByMe,
    /// Someone shared them with the viewer.
    SharedWithMe,
}

/// Which connections to show. Conditions are joined by AND, the values in a list by OR; an absent condition, and null,
/// says nothing. An id of nothing that the viewer can see matches nothing.
#[derive(Debug, Clone, InputObject)]
pub struct ConnectionFilter {
    /// How they are.
    status: Option<Vec<ConnectionStatus>>,
    /// Of these clients.
    client_id: Option<Vec<ID>>,
    /// Slugs.
    connector: Option<Vec<String>>,
    /// Through this authorization.
    authorization_id: Option<ID>,
    /// Owned by these users.
    created_by: Option<Vec<ID>>,
    /// What they have to do with the viewer.
    relation: Option<Vec<ConnectionRelation>>,
    /// Disconnected now, for one of these reasons.
    reason: Option<Vec<DisconnectionReason>>,
    /// Whose status changed after this instant.
    status_changed_after: Option<DateTime>,
    /// Whether it is asked and has not been seen to work since (`failingSince`). Lists alone take it: no event tells when that
    /// begins or ends.
    failing: Option<bool>,
    /// In the connection's, the client's and the connector's name; case does not matter, % and _ are themselves.
    search: Option<String>,
}

impl From<ConnectionFilter> for connections::ConnectionFilter {
    fn from(filter: ConnectionFilter) -> Self {
        Self {
            status: filter.status.map(each),
            client: filter.client_id.map(|ids| given_each(Kind::Client, &ids)),
            connector: filter.connector,
            authorization: filter.authorization_id.map(|id| given(Kind::Authorization, &id)),
            created_by: filter.created_by.map(|ids| given_each(Kind::User, &ids)),
            relation: filter.relation.map(each),
            reason: filter.reason.map(each),
            status_changed_after: filter.status_changed_after.map(|at| at.0),
            failing: filter.failing,
            search: filter.search,
        }
    }
}

/// The filter that was given, for the connections of one client.
pub(super) fn within_client(filter: Option<ConnectionFilter>, client: Uuid) -> connections::ConnectionFilter {
    let mut filter = decoded(filter);
    let excluded = filter.client.as_ref().is_some_and(|clients| !clients.contains(&client));
    filter.client = Some(vec![if excluded { Uuid::nil() } else { client }]);
    filter
}

/// The filter that was given, for the connections of one authorization.
pub(super) fn within_authorization(
    filter: Option<ConnectionFilter>,
    authorization: Uuid,
) -> connections::ConnectionFilter {
    let mut filter = decoded(filter);
    let excluded = filter.authorization.is_some_and(|other| other != authorization);
    filter.authorization = Some(if excluded { Uuid::nil() } else { authorization });
    filter
}

/// The filter that was given, or one that says nothing.
pub(super) fn decoded(filter: Option<ConnectionFilter>) -> connections::ConnectionFilter {
    filter.map(Into::into).unwrap_or_default()
}

/// Each value as the domain has it.
pub(super) fn each<T: Into<U>, U>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(Into::into).collect()
}

/// Each id; those of nothing as the id of nothing.
pub(super) fn given_each(kind: Kind, ids: &[ID]) -> Vec<Uuid> {
    ids.iter().map(|id| given(kind, id)).collect()
}

/// What connections can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "connections::OrderField")]
pub enum ConnectionOrderField {
    /// ASC: disconnected first, then expiring; among equals the newest change first.
    Status,
    /// By when their status changed.
    StatusChangedAt,
    /// By name; case does not matter.
    Name,
    /// By when they were made.
    CreatedAt,
}

/// How a list of connections is sorted.
#[derive(Debug, Clone, Copy, InputObject)]
pub struct ConnectionOrder {
    /// What it is sorted by.
    field: ConnectionOrderField,
    /// Which way.
    #[graphql(default_with = "OrderDirection::Asc")]
    direction: OrderDirection,
}

impl From<ConnectionOrder> for connections::ConnectionOrder {
    fn from(order: ConnectionOrder) -> Self {
        Self { field: order.field.into(), descending: order.direction == OrderDirection::Desc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(client: Option<Uuid>, authorization: Option<Uuid>) -> ConnectionFilter {
        let shown = |kind, id| super::super::scalars::shown(kind, id);
        ConnectionFilter {
            client_id: client.map(|id| vec![shown(Kind::Client, id)]),
            authorization_id: authorization.map(|id| shown(Kind::Authorization, id)),
            status: None,
            connector: None,
            created_by: None,
            relation: None,
            reason: None,
            status_changed_after: None,
            failing: None,
            search: None,
        }
    }

    #[test]
    fn a_client_shows_none_of_another_clients_connections() {
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(within_client(None, mine).client, Some(vec![mine]));
        assert_eq!(within_client(Some(filter(Some(mine), None)), mine).client, Some(vec![mine]));
        assert_eq!(within_client(Some(filter(Some(other), None)), mine).client, Some(vec![Uuid::nil()]));
    }

    #[test]
    fn an_authorization_shows_none_of_anothers_connections() {
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(within_authorization(Some(filter(None, Some(mine))), mine).authorization, Some(mine));
        assert_eq!(within_authorization(Some(filter(None, Some(other))), mine).authorization, Some(Uuid::nil()));
    }
}
