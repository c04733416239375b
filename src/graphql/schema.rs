//! The roots of the schema, and the schema as text.

use async_graphql::{MergedObject, MergedSubscription, SDLExportOptions, SchemaBuilder};

use super::{
    api_keys::{ApiKeysMutation, ApiKeysQuery},
    attempts::{AttemptsQuery, AttemptsSubscription},
    audit::AuditQuery,
    authorizations::AuthorizationsQuery,
    budget::Meter,
    catalogue::CatalogueQuery,
    changes::{ChangesQuery, ChangesSubscription},
    connect::ConnectMutation,
    connect_accounts::ConnectAccountsMutation,
    connections::ConnectionsQuery,
    dataset_changes::{DatasetsMutation, DatasetsSubscription},
    datasets::DatasetsQuery,
    disconnections::DisconnectionsQuery,
    event_cursor::EventCursorQuery,
    links::LinksMutation,
    metrics::MetricsQuery,
    node::NodeQuery,
    notifications::{NotificationsMutation, NotificationsSubscription},
    people::PeopleQuery,
    people_changes::PeopleMutation,
    services::Services,
    upkeep::UpkeepMutation,
};

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    NodeQuery,
    PeopleQuery,
    ApiKeysQuery,
    CatalogueQuery,
    ConnectionsQuery,
    AuthorizationsQuery,
    DisconnectionsQuery,
    DatasetsQuery,
    MetricsQuery,
    AttemptsQuery,
    AuditQuery,
    EventCursorQuery,
    ChangesQuery,
);

/// What can be changed. Each takes one `input`; what can be mended is in the payload's `errors`.
#[derive(MergedObject, Default)]
pub struct Mutation(
    ConnectMutation,
    ConnectAccountsMutation,
    LinksMutation,
    UpkeepMutation,
    DatasetsMutation,
    NotificationsMutation,
    PeopleMutation,
    ApiKeysMutation,
);

/// What can be followed. Every event carries the `cursor` of its place in the workspace's journal; `after` replays
/// what came since, in order, then goes on live. CURSOR_EXPIRED: read the list again.
#[derive(MergedSubscription, Default)]
pub struct Subscription(ChangesSubscription, DatasetsSubscription, NotificationsSubscription, AttemptsSubscription);

/// The schema of this server.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// The schema over these rooms.
pub fn build(services: Services) -> Schema {
    builder().data(services).finish()
}

/// The same, which charges each field that it writes to the [budget](super::Budget) of its answer. Slower: for heavy answers.
pub fn build_metered(services: Services) -> Schema {
    builder().data(services).extension(Meter).finish()
}

/// The schema as text, with its descriptions: the same for the same code, whatever the configuration.
pub fn sdl() -> String {
    builder().finish().sdl_with_options(SDLExportOptions::new().use_space_ident().prefer_single_line_descriptions())
}

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    // Documents are guarded, and suggestions reworded, before anything gets here: see `execution`.
    async_graphql::Schema::build(Query::default(), Mutation::default(), Subscription::default()).disable_suggestions()
}
