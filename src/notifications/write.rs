//! Telling people: one row per occasion, person and kind.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use entity::{NotificationKind, Role, client, notification, user};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, sea_query::OnConflict,
};
use uuid::Uuid;

use crate::{
    access::{Action, Reach},
    clock::Entropy,
    db::Transaction,
    error::Result,
    ids,
    journal::Told,
};

/// How many rows one statement takes: a statement takes only so many values.
const BATCH: usize = 500;

/// What is to be told.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    pub workspace: Uuid,
    pub kind: NotificationKind,
    /// The disconnection, or whatever else is told of once.
    pub occasion: Uuid,
    pub disconnection: Option<Uuid>,
    pub authorization: Option<Uuid>,
    /// Its slug.
    pub connector: &'a str,
    pub connector_name: &'a str,
    pub now: DateTime<Utc>,
}

/// A connection that the news covers, as far as it matters for who hears of it.
#[derive(Debug, Clone)]
pub struct Covered {
    pub client: Option<Uuid>,
    pub owner: Option<Uuid>,
    pub shares: Vec<Uuid>,
}

/// Writes `news` to everybody who hears of `covered` and was not told before.
pub async fn write(txn: &Transaction, entropy: &dyn Entropy, news: News<'_>, covered: &[Covered]) -> Result<Vec<Told>> {
    let people = user::Entity::find()
        .filter(user::Column::WorkspaceId.eq(news.workspace))
        .filter(user::Column::Active.eq(true))
        .filter(user::Column::Role.is_in([Role::Admin, Role::Staff, Role::Member]))
        .all(txn)
        .await?;
    let names = client_names(txn, covered).await?;
    let heard = people.iter().filter_map(|person| {
        let theirs: Vec<&Covered> = covered.iter().filter(|one| hears(person, one)).collect();
        (!theirs.is_empty()).then(|| (person.id, title(&news, &theirs, &names)))
    });
    insert(txn, entropy, &news, heard.collect()).await
}

/// Writes `news` that is about no connection in particular to every ADMIN who was not told before.
pub async fn write_to_admins(txn: &Transaction, entropy: &dyn Entropy, news: News<'_>) -> Result<Vec<Told>> {
    let admins = user::Entity::find()
        .filter(user::Column::WorkspaceId.eq(news.workspace))
        .filter(user::Column::Active.eq(true))
        .filter(user::Column::Role.eq(Role::Admin))
        .all(txn)
        .await?;
    let heard = admins.iter().map(|admin| (admin.id, title(&news, &[], &HashMap::new()))).collect();
    insert(txn, entropy, &news, heard).await
}

/// Writes `news` to everybody who had been told of the same occasion as `before`: where it is about connections, to those
/// who hear of one of `covered`.
pub async fn again(
    txn: &Transaction,
    entropy: &dyn Entropy,
    news: News<'_>,
    before: NotificationKind,
    covered: &[Covered],
) -> Result<Vec<Told>> {
    let told = notification::Entity::find()
        .select_only()
        .column(notification::Column::UserId)
        .filter(notification::Column::WorkspaceId.eq(news.workspace))
        .filter(notification::Column::Occasion.eq(news.occasion))
        .filter(notification::Column::Kind.eq(before));
    let people = user::Entity::find()
        .filter(user::Column::Id.in_subquery(told.into_query()))
        .filter(user::Column::Active.eq(true))
        .all(txn)
        .await?;
    let names = client_names(txn, covered).await?;
    let heard = people.iter().filter_map(|person| {
        let theirs: Vec<&Covered> = covered.iter().filter(|one| hears(person, one)).collect();
        (covered.is_empty() || !theirs.is_empty()).then(|| (person.id, title(&news, &theirs, &names)))
    });
    insert(txn, entropy, &news, heard.collect()).await
}

fn hears(person: &user::Model, covered: &Covered) -> bool {
    match Action::BeNotified.reach(person.role) {
        Reach::Everything => true,
        Reach::MadeOrShared | Reach::Made => covered.owner == Some(person.id) || covered.shares.contains(&person.id),
        Reach::OwnClient | Reach::Nothing => false,
    }
}

async fn client_names(txn: &Transaction, covered: &[Covered]) -> Result<HashMap<Uuid, String>> {
    let ids: BTreeSet<Uuid> = covered.iter().filter_map(|one| one.client).collect();
    let mut names = HashMap::new();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    // In parts, since a statement takes only so many values.
    for part in ids.chunks(BATCH) {
        let rows = client::Entity::find().filter(client::Column::Id.is_in(part.iter().copied())).all(txn).await?;
        names.extend(rows.into_iter().map(|row| (row.id, row.name)));
    }
    Ok(names)
}

/// E.g. `Google Ads disconnected for Acme, Globex and 3 more.`
fn title(news: &News<'_>, covered: &[&Covered], names: &HashMap<Uuid, String>) -> String {
    let happened = match news.kind {
        NotificationKind::Disconnected => "disconnected",
        NotificationKind::Expiring => "will stop working soon",
        NotificationKind::Recovered => "works again",
        NotificationKind::Incident => "is failing for everyone",
    };
    let clients: BTreeSet<&str> =
        covered.iter().filter_map(|one| one.client.and_then(|id| names.get(&id)).map(String::as_str)).collect();
    let clients: Vec<&str> = clients.into_iter().collect();
    let whom = match clients.as_slice() {
        [] => String::new(),
        [one] => format!(" for {one}"),
        [one, other] => format!(" for {one} and {other}"),
        [one, other, more @ ..] => format!(" for {one}, {other} and {} more", more.len()),
    };
    format!("{} {happened}{whom}.", news.connector_name)
}

/// Writes one row for each person who was not told before, in as few statements as may be.
async fn insert(
    txn: &Transaction,
    entropy: &dyn Entropy,
    news: &News<'_>,
    mut heard: Vec<(Uuid, String)>,
) -> Result<Vec<Told>> {
    // In a fixed order, so that two transactions that tell of the same occasion cannot deadlock.
    heard.sort_unstable_by_key(|(user, _)| *user);
    let once =
        OnConflict::columns([notification::Column::UserId, notification::Column::Kind, notification::Column::Occasion])
            .do_nothing()
            .to_owned();
    let mut told = Vec::with_capacity(heard.len());
    for part in heard.chunks(BATCH) {
        let rows = part.iter().map(|(user, title)| notification::ActiveModel {
            id: Set(ids::new(news.now, entropy)),
            workspace_id: Set(news.workspace),
            user_id: Set(*user),
            kind: Set(news.kind),
            occasion: Set(news.occasion),
            disconnection_id: Set(news.disconnection),
            authorization_id: Set(news.authorization),
            connector: Set(Some(news.connector.to_owned())),
            title: Set(title.clone()),
            created_at: Set(news.now),
            read_at: Set(None),
        });
        let written =
            notification::Entity::insert_many(rows).on_conflict(once.clone()).exec_with_returning(txn).await?;
        told.extend(written.into_iter().map(|row| Told { user: row.user_id, notification: row.id }));
    }
    Ok(told)
}
