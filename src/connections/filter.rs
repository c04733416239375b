//! What a [`ConnectionFilter`] means: as a condition on rows, and as a test of the journal's facts. Both stand side by
//! side, so that a list and the changes that follow it agree.

use chrono::{DateTime, Utc};
use entity::{DisconnectionReason, Status, authorization, client, connection, disconnection};
use sea_orm::{
    ActiveEnum, ColumnTrait, Condition, EntityTrait, Iterable, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, ExprTrait as _, SimpleExpr, UnionType},
};
use uuid::Uuid;

use super::{
    Connections,
    search::{Search, Searched},
    visibility,
};
use crate::{
    access::Viewer,
    clock::to_microseconds,
    error::{Error, Result},
    journal::Fact,
    pages::{contains, fold},
};

/// How many values a condition may list.
const MOST_VALUES: usize = 1_000;
/// How long a search may be, in bytes: longer than any name, shorter than what SQLite takes for a pattern.
const LONGEST_SEARCH: usize = 1_000;

/// Which connections: its conditions are joined by AND, the values of one by OR. A condition that is absent says
/// nothing; an empty list names no value, so nothing matches it.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    pub status: Option<Vec<Status>>,
    pub client: Option<Vec<Uuid>>,
    /// Slugs.
    pub connector: Option<Vec<String>>,
    pub authorization: Option<Uuid>,
    pub created_by: Option<Vec<Uuid>>,
    pub relation: Option<Vec<Relation>>,
    /// Of the disconnection that it is in now: its authorization's first.
    pub reason: Option<Vec<DisconnectionReason>>,
    pub status_changed_after: Option<DateTime<Utc>>,
    /// Whether it, or its authorization, is asked and has not been seen to work since. No event tells that.
    pub failing: Option<bool>,
    /// In the connection's, the client's or the connector's name.
    pub search: Option<String>,
}

/// How a connection concerns the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    MadeByMe,
    SharedWithMe,
}

impl ConnectionFilter {
    /// `BadInput` when it asks for what no database can be asked.
    pub(super) fn check(&self) -> Result<()> {
        few(&self.client)?;
        few(&self.connector)?;
        few(&self.created_by)?;
        if self.search.as_ref().is_some_and(|search| search.contains('\0') || search.len() > LONGEST_SEARCH) {
            return Err(Error::BadInput("`search` is nothing that a name can hold.".to_owned()));
        }
        Ok(())
    }

    /// The same for what follows events, which do not tell all that a list knows.
    pub(super) fn check_followed(&self) -> Result<()> {
        if self.failing.is_some() {
            let message = "`failing` is for lists: no event tells when that begins or ends.";
            return Err(Error::BadInput(message.to_owned()));
        }
        self.check()
    }

    /// What is searched for, folded; none where that is in every name.
    pub(super) fn term(&self) -> Option<String> {
        self.search.as_deref().map(fold).filter(|term| !term.is_empty())
    }
}

// ── as a condition ──

impl Connections {
    /// The connections that `viewer` may see, that are still there and that `filter` picks.
    pub(super) fn picked(&self, viewer: &Viewer, filter: &ConnectionFilter) -> Result<Select<connection::Entity>> {
        use connection::Column::{AuthorizationId, ClientId, Connector, CreatedBy, StatusChangedAt};
        filter.check()?;
        let relations = |wanted: &Vec<Relation>| relations(viewer, wanted);
        let since = filter.status_changed_after.map(to_microseconds);
        let conditions = Condition::all()
            .add_option(filter.status.as_ref().map(|wanted| has_status(connection::Column::Status, wanted)))
            .add_option(filter.client.as_ref().map(|wanted| ClientId.is_in(wanted.iter().copied())))
            .add_option(filter.connector.as_ref().map(|wanted| Connector.is_in(slugs(wanted))))
            .add_option(filter.authorization.map(|wanted| AuthorizationId.eq(wanted)))
            .add_option(filter.created_by.as_ref().map(|wanted| CreatedBy.is_in(wanted.iter().copied())))
            .add_option(filter.relation.as_ref().map(relations))
            .add_option(filter.reason.as_ref().map(|wanted| reasons(viewer, wanted)))
            .add_option(since.map(|since| StatusChangedAt.gt(since)))
            .add_option(filter.failing.map(|wanted| failing(viewer, wanted)))
            .add_option(filter.term().map(|term| self.named(viewer, &term)));
        Ok(visibility::live_connections(viewer).filter(conditions))
    }

    fn named(&self, viewer: &Viewer, term: &str) -> Condition {
        let clients = visibility::column(clients_named(viewer, term), client::Column::Id);
        Condition::any()
            .add(contains(connection::Column::NameKey, term))
            .add(connection::Column::ClientId.in_subquery(clients))
            .add(connection::Column::Connector.is_in(self.connectors_named(term)))
    }

    /// The slugs of connectors in whose name the folded `term` stands, those without a file too.
    pub(super) fn connectors_named(&self, term: &str) -> Vec<String> {
        let today = self.catalogue.all().map(|connector| (&connector.slug, &connector.name));
        let forgotten = self.forgotten_connectors().map(|row| (&row.slug, &row.name));
        today.chain(forgotten).filter(|(_, name)| fold(name).contains(term)).map(|(slug, _)| slug.clone()).collect()
    }
}

/// `BadInput` when a condition lists more values than a statement should carry.
pub(super) fn few<T>(values: &Option<Vec<T>>) -> Result<()> {
    if values.as_ref().is_none_or(|values| values.len() <= MOST_VALUES) {
        return Ok(());
    }
    Err(Error::BadInput(format!("A filter lists at most {MOST_VALUES} values for a condition.")))
}

/// Whether `column` holds one of `wanted`. The numbers stand in the statement itself: with a parameter in their place
/// PostgreSQL would not see that few connections are disconnected. The highest is said as well: it walks an index from
/// there, where it would walk past all others.
pub(super) fn has_status(column: impl ColumnTrait, wanted: &[Status]) -> SimpleExpr {
    let mut ranks: Vec<i16> =
        Status::iter().filter(|status| wanted.contains(status)).map(|status| status.to_value()).collect();
    ranks.sort_unstable();
    let constant = |rank: i16| Expr::Constant(rank.into());
    let held = Expr::col(column.as_column_ref()).is_in(ranks.iter().copied().map(constant));
    match ranks.as_slice() {
        [_, .., highest] => held.and(Expr::col(column.as_column_ref()).lte(constant(*highest))),
        _ => held,
    }
}

/// Whether a disconnection is for one of the reasons `wanted`.
pub(super) fn has_reason(wanted: &[DisconnectionReason]) -> SimpleExpr {
    disconnection::Column::Reason.is_in(DisconnectionReason::iter().filter(|reason| wanted.contains(reason)))
}

/// The slugs that a database can be asked for: PostgreSQL takes no NUL, and no connector has one.
pub(super) fn slugs(wanted: &[String]) -> impl Iterator<Item = String> {
    wanted.iter().filter(|slug| !slug.contains('\0')).cloned()
}

fn relations(viewer: &Viewer, wanted: &[Relation]) -> Condition {
    let Some(user) = viewer.user() else { return Condition::all().add(Expr::value(false)) };
    let (made, shared) = (wanted.contains(&Relation::MadeByMe), wanted.contains(&Relation::SharedWithMe));
    // Never an OR: for that, both databases walk all connections.
    match (made, shared) {
        (false, false) => Condition::all().add(Expr::value(false)),
        (true, false) => Condition::all().add(connection::Column::CreatedBy.eq(user)),
        (false, true) => Condition::all().add(connection::Column::Id.in_subquery(visibility::shared_with(user))),
        (true, true) => Condition::all().add(connection::Column::Id.in_subquery(visibility::made_or_shared(user))),
    }
}

/// The connections in a disconnection with one of these reasons. One of its own speaks only while there is none of
/// its authorization.
fn reasons(viewer: &Viewer, wanted: &[DisconnectionReason]) -> Condition {
    use disconnection::Column::{AuthorizationId, ConnectionId, EndedAt, WorkspaceId};
    let open = || {
        let here = disconnection::Entity::find().filter(WorkspaceId.eq(viewer.workspace()));
        here.filter(EndedAt.is_null())
    };
    let because = || open().filter(has_reason(wanted));
    let whole = |select: Select<_>| visibility::column(select.filter(ConnectionId.is_null()), AuthorizationId);
    let own = |select: Select<_>| visibility::column(select.filter(ConnectionId.is_not_null()), ConnectionId);
    let on_its_own = Condition::all()
        .add(connection::Column::Id.in_subquery(own(because())))
        .add(connection::Column::AuthorizationId.not_in_subquery(whole(open())));
    let behind = connection::Column::AuthorizationId.in_subquery(whole(because()));
    // It follows that they are disconnected; that it is said spares a walk through all the others.
    Condition::all()
        .add(has_status(connection::Column::Status, &[Status::Disconnected]))
        .add(Condition::any().add(behind).add(on_its_own))
}

/// The connections whose authorization fails, or their own account: `wanted`, or all others.
fn failing(viewer: &Viewer, wanted: bool) -> SimpleExpr {
    let behind = authorization::Entity::find()
        .filter(authorization::Column::WorkspaceId.eq(viewer.workspace()))
        .filter(authorization::Column::RemovedAt.is_null())
        .filter(authorization::Column::FailingSince.is_not_null());
    let here = || {
        let ids = connection::Entity::find().select_only().column(connection::Column::Id);
        let here = ids.filter(connection::Column::WorkspaceId.eq(viewer.workspace()));
        here.filter(connection::Column::RemovedAt.is_null())
    };
    let through = here()
        .filter(connection::Column::AuthorizationId.in_subquery(visibility::column(behind, authorization::Column::Id)));
    let own = here().filter(connection::Column::FailingSince.is_not_null());
    // Never an OR: for that, both databases walk all connections.
    let failing = through.into_query().union(UnionType::Distinct, own.into_query()).to_owned();
    let is_failing = Expr::col((connection::Entity, connection::Column::Id)).in_subquery(failing);
    if wanted { is_failing } else { is_failing.not() }
}

pub(super) fn clients_named(viewer: &Viewer, term: &str) -> Select<client::Entity> {
    client::Entity::find()
        .filter(client::Column::WorkspaceId.eq(viewer.workspace()))
        .filter(contains(client::Column::NameKey, term))
}

// ── as a test of facts ──

/// A filter made ready for the journal's facts.
pub(super) struct FactTest<'a> {
    filter: &'a ConnectionFilter,
    user: Option<Uuid>,
    searched: Option<&'a Searched>,
}

impl<'a> FactTest<'a> {
    /// `search` has to be of the filter.
    pub(super) fn new(viewer: &Viewer, filter: &'a ConnectionFilter, search: &'a Search) -> Self {
        FactTest { filter, user: viewer.user(), searched: search.searched() }
    }
}

impl FactTest<'_> {
    /// Whether a connection that is as `fact` has it matches.
    pub(super) fn matches(&self, fact: &Fact) -> bool {
        let filter = self.filter;
        let since = filter.status_changed_after.map(to_microseconds);
        among(&filter.status, &fact.status)
            && among_some(&filter.client, fact.client)
            && among(&filter.connector, &fact.connector)
            && filter.authorization.is_none_or(|wanted| fact.authorization == wanted)
            && among_some(&filter.created_by, fact.owner)
            && filter.relation.as_ref().is_none_or(|wanted| wanted.iter().any(|relation| self.relates(*relation, fact)))
            && among_some(&filter.reason, fact.reason)
            && since.is_none_or(|since| fact.status_changed_at() > since)
            && self.searched.is_none_or(|searched| searched.finds(fact))
    }

    fn relates(&self, relation: Relation, fact: &Fact) -> bool {
        self.user.is_some_and(|user| match relation {
            Relation::MadeByMe => fact.owner == Some(user),
            Relation::SharedWithMe => fact.shares.contains(&user),
        })
    }
}

fn among<T: PartialEq>(wanted: &Option<Vec<T>>, value: &T) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted.contains(value))
}

fn among_some<T: PartialEq>(wanted: &Option<Vec<T>>, value: Option<T>) -> bool {
    wanted.as_ref().is_none_or(|wanted| value.is_some_and(|value| wanted.contains(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const ACME: Uuid = Uuid::from_u128(2);
    const GRANT: Uuid = Uuid::from_u128(3);
    const OTHER: Uuid = Uuid::from_u128(9);

    fn fact() -> Fact {
        Fact {
            name: "Straße 100%".to_owned(),
            connector: "google-ads".to_owned(),
            authorization: GRANT,
            client: Some(ACME),
            owner: Some(ME),
            shares: vec![OTHER],
            status: Status::Disconnected,
            status_changed_at: 5_000_000,
            reason: Some(DisconnectionReason::Revoked),
        }
    }

    fn is_found(filter: &ConnectionFilter, user: Uuid, fact: &Fact) -> bool {
        let google: &[String] = &["google-ads".to_owned()];
        let searched = filter.term().map(|term| {
            let connectors = google.iter().filter(|_| term == "google").cloned().collect();
            Searched::new(connectors, [ACME].into_iter().filter(|_| term == "acme").collect(), term)
        });
        FactTest { filter, user: Some(user), searched: searched.as_ref() }.matches(fact)
    }

    fn matches(filter: ConnectionFilter) -> bool {
        is_found(&filter, ME, &fact())
    }

    #[test]
    fn an_absent_condition_says_nothing() {
        assert!(matches(ConnectionFilter::default()));
        let nameless = Fact { client: None, owner: None, reason: None, ..fact() };
        assert!(is_found(&ConnectionFilter::default(), ME, &nameless));
    }

    #[test]
    fn the_values_of_a_condition_are_joined_by_or_and_conditions_by_and() {
        let status = Some(vec![Status::Connected, Status::Disconnected]);
        assert!(matches(ConnectionFilter { status: status.clone(), ..Default::default() }));
        assert!(matches(ConnectionFilter {
            status: status.clone(),
            client: Some(vec![OTHER, ACME]),
            ..Default::default()
        }));
        assert!(!matches(ConnectionFilter { status, client: Some(vec![OTHER]), ..Default::default() }));
        assert!(!matches(ConnectionFilter { status: Some(vec![Status::Expiring]), ..Default::default() }));
    }

    #[test]
    fn an_empty_list_matches_nothing() {
        for filter in [
            ConnectionFilter { status: Some(Vec::new()), ..Default::default() },
            ConnectionFilter { client: Some(Vec::new()), ..Default::default() },
            ConnectionFilter { connector: Some(Vec::new()), ..Default::default() },
            ConnectionFilter { created_by: Some(Vec::new()), ..Default::default() },
            ConnectionFilter { relation: Some(Vec::new()), ..Default::default() },
            ConnectionFilter { reason: Some(Vec::new()), ..Default::default() },
        ] {
            assert!(!matches(filter.clone()), "{filter:?}");
        }
    }

    #[test]
    fn each_condition_asks_about_its_own_part() {
        let by = |owner| ConnectionFilter { created_by: Some(vec![owner]), ..Default::default() };
        assert!(matches(by(ME)) && !matches(by(OTHER)));
        let behind = |grant| ConnectionFilter { authorization: Some(grant), ..Default::default() };
        assert!(matches(behind(GRANT)) && !matches(behind(OTHER)));
        let of = |slug: &str| ConnectionFilter { connector: Some(vec![slug.to_owned()]), ..Default::default() };
        assert!(matches(of("google-ads")) && !matches(of("google")));
        let because = |reason| ConnectionFilter { reason: Some(vec![reason]), ..Default::default() };
        assert!(matches(because(DisconnectionReason::Revoked)) && !matches(because(DisconnectionReason::Expired)));
    }

    #[test]
    fn a_relation_is_the_viewers_own() {
        let related = |user, relation| {
            is_found(&ConnectionFilter { relation: Some(vec![relation]), ..Default::default() }, user, &fact())
        };
        assert!(related(ME, Relation::MadeByMe) && !related(ME, Relation::SharedWithMe));
        assert!(related(OTHER, Relation::SharedWithMe) && !related(OTHER, Relation::MadeByMe));
    }

    #[test]
    fn a_change_counts_only_after_the_instant_cut_to_microseconds() {
        let after = |seconds, nanoseconds| ConnectionFilter {
            status_changed_after: DateTime::from_timestamp(seconds, nanoseconds),
            ..Default::default()
        };
        assert!(matches(after(4, 999_999_999)));
        assert!(!matches(after(5, 0)) && !matches(after(5, 1)));
    }

    #[test]
    fn a_search_looks_at_the_name_the_client_and_the_connector_and_takes_signs_as_themselves() {
        let search = |text: &str| ConnectionFilter { search: Some(text.to_owned()), ..Default::default() };
        for found in ["STRAßE", "straße", "100%", "Google", "ACME", "", "   "] {
            assert!(matches(search(found)), "{found}");
        }
        for missed in ["1_0", "%0", "globex", "meta"] {
            assert!(!matches(search(missed)), "{missed}");
        }
    }

    #[test]
    fn what_no_database_can_be_asked_is_bad_input() {
        let many = ConnectionFilter { client: Some(vec![ACME; MOST_VALUES + 1]), ..Default::default() };
        let nul = ConnectionFilter { search: Some("a\0b".to_owned()), ..Default::default() };
        let long = ConnectionFilter { search: Some("a".repeat(LONGEST_SEARCH + 1)), ..Default::default() };
        for filter in [many, nul, long] {
            assert!(matches!(filter.check(), Err(Error::BadInput(_))));
        }
        assert!(ConnectionFilter { client: Some(vec![ACME; MOST_VALUES]), ..Default::default() }.check().is_ok());
    }
}
