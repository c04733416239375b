//! Which connections a kept answer tells of, and whether whoever asks again still sees them: a share that was taken back
//! takes the answer with it.
//!
//! What it tells of is found by the ids in it, and in what was asked. Of those that were not to be seen then, nothing is
//! kept: that they are there must not show later.

use std::collections::HashSet;

use entity::{connection, dataset, metric};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect, QueryTrait};
use uuid::Uuid;

use crate::{
    access::{Sight, Viewer},
    connections::visible,
    db::Db,
    error::Result,
    ids::{Kind, NodeId},
};

/// How many ids go into one statement.
const PART: usize = 500;

/// The ids in a text, of whatever kind.
pub(super) fn ids_in(text: &str) -> HashSet<NodeId> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter_map(|word| word.parse().ok()).collect()
}

/// The connections among `named`, and those behind the datasets and metrics among them, as far as the viewer sees them.
/// None of them where they see everything anyway.
pub(super) async fn connections_seen(db: &Db, viewer: &Viewer, named: &HashSet<NodeId>) -> Result<Vec<Uuid>> {
    let mut seen = HashSet::new();
    if viewer.sight() == Sight::Everything {
        return Ok(Vec::new());
    }
    let of = |kind: Kind| named.iter().filter(move |node| node.kind == kind).map(|node| node.id).collect::<Vec<_>>();
    for part in of(Kind::Connection).chunks(PART) {
        seen.extend(those_seen(db, viewer, connection::Column::Id.is_in(part.iter().copied())).await?);
    }
    let behind = |datasets: sea_orm::Select<dataset::Entity>| {
        datasets.select_only().column(dataset::Column::ConnectionId).into_query()
    };
    for part in of(Kind::Dataset).chunks(PART) {
        let these = dataset::Entity::find().filter(dataset::Column::Id.is_in(part.iter().copied()));
        seen.extend(those_seen(db, viewer, connection::Column::Id.in_subquery(behind(these))).await?);
    }
    for part in of(Kind::Metric).chunks(PART) {
        let metrics = metric::Entity::find().filter(metric::Column::Id.is_in(part.iter().copied()));
        let datasets = metrics.select_only().column(metric::Column::DatasetId).into_query();
        let these = dataset::Entity::find().filter(dataset::Column::Id.in_subquery(datasets));
        seen.extend(those_seen(db, viewer, connection::Column::Id.in_subquery(behind(these))).await?);
    }
    Ok(seen.into_iter().collect())
}

async fn those_seen(db: &Db, viewer: &Viewer, which: impl sea_orm::sea_query::IntoCondition) -> Result<Vec<Uuid>> {
    let seen = visible(viewer).filter(which.into_condition()).select_only().column(connection::Column::Id);
    Ok(seen.into_tuple().all(db.reader()).await?)
}

/// Whether the viewer sees all of `connections` that there still are.
pub(super) async fn sees_still(db: &Db, viewer: &Viewer, connections: &[Uuid]) -> Result<bool> {
    for part in connections.chunks(PART) {
        let these = || connection::Column::Id.is_in(part.iter().copied());
        let there = connection::Entity::find().filter(these()).count(db.reader()).await?;
        if visible(viewer).filter(these()).count(db.reader()).await? < there {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids;

    #[test]
    fn ids_are_found_wherever_they_stand() {
        let (one, other) = (Kind::Connection.of(ids::connector_id("a")), Kind::ApiKey.of(ids::connector_id("b")));
        let text = format!("{{\"id\":\"{one}\",\"of\":[\"{other}\"],\"more\":\"connection_none x_{one}\"}}");
        assert_eq!(ids_in(&text), HashSet::from([one, other]));
    }
}
