//! What a reminder tells: the letter about what a person is owed.

use std::collections::{BTreeSet, HashMap};

use entity::{authorization, connector, disconnection, reminder, user, workspace};
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect};
use url::Url;
use uuid::Uuid;

use super::{
    Reminders,
    owed::{Lasting, broken_for},
    runs::zone,
};
use crate::{
    error::{Error, Result},
    ids::{self, Kind},
    mail::Letter,
    notifications::letter::{MOST_TOLD, Outage, Reminder, Rest},
    people::CONNECTION_PLACE,
};

impl Reminders {
    /// The letter of a reminder that tells a person of `lasting`, the longest lasting first; none where nothing is left to
    /// tell.
    pub(super) async fn letter(
        &self,
        row: &reminder::Model,
        workspace: &workspace::Model,
        person: &user::Model,
        lasting: &[Lasting],
    ) -> Result<Option<Letter>> {
        let now = self.clock.now();
        let unsubscribe = self.notifications.unsubscribe_url(person, workspace);
        let names = connector::Entity::find().all(self.db.reader()).await?;
        let names: HashMap<String, String> = names.into_iter().map(|row| (row.slug, row.name)).collect();
        let (told, counted) = lasting.split_at(lasting.len().min(MOST_TOLD));
        let outages = self.outages(workspace, person, told, &names).await?;
        if outages.is_empty() {
            return Ok(None);
        }
        let reminder = Reminder {
            workspace: &workspace.name,
            person: &person.name,
            zone: zone(workspace)?,
            now,
            outages,
            rest: rest(counted, &names),
            unsubscribe: unsubscribe.clone(),
        };
        let words = reminder.in_words();
        Ok(Some(Letter {
            message_id: self.mailer.message_id(row.id),
            to_name: person.name.clone(),
            to_email: person.email.clone(),
            subject: words.subject,
            text: words.text,
            html: words.html,
            at: now,
            unsubscribe: Some(unsubscribe),
        }))
    }

    /// These in full, in their order, but those that healed at this moment.
    async fn outages(
        &self,
        workspace: &workspace::Model,
        person: &user::Model,
        told: &[Lasting],
        names: &HashMap<String, String>,
    ) -> Result<Vec<Outage>> {
        let its_authorization = disconnection::Entity::belongs_to(authorization::Entity)
            .from(disconnection::Column::AuthorizationId)
            .to(authorization::Column::Id);
        let rows = disconnection::Entity::find()
            .join(JoinType::InnerJoin, its_authorization.into())
            .select_also(authorization::Entity)
            .filter(disconnection::Column::Id.is_in(told.iter().map(|one| one.id)))
            .all(self.db.reader())
            .await?;
        let mut rows: HashMap<Uuid, _> = rows.into_iter().map(|(row, its)| (row.id, (row, its))).collect();
        let mut outages = Vec::with_capacity(told.len());
        for one in told {
            let Some((row, authorization)) = rows.remove(&one.id) else { continue };
            let broken = broken_for(self.db.reader(), person, row.id).await?;
            let Some(first) = broken.first() else { continue };
            let url = self.connection_url(workspace, first.connection_id)?;
            let connections = broken.len();
            let clients: BTreeSet<String> = broken.into_iter().filter_map(|one| one.client).collect();
            outages.push(Outage {
                connector: names.get(&row.connector).unwrap_or(&row.connector).clone(),
                account: authorization.and_then(|authorization| authorization.account_name),
                clients: clients.into_iter().collect(),
                connections,
                since: row.started_at,
                message: row.message,
                url,
            });
        }
        Ok(outages)
    }

    /// Where a button leads: the workspace's own address for the connection, or the console at it.
    fn connection_url(&self, workspace: &workspace::Model, connection: Uuid) -> Result<Url> {
        let id = ids::encode(Kind::Connection, connection);
        match &workspace.connection_url {
            Some(theirs) => Url::parse(&theirs.replace(CONNECTION_PLACE, &id))
                .map_err(|_| Error::internal("a workspace whose connectionUrl is none")),
            None => {
                let mut console = self.notifications.public_url.clone();
                console.set_fragment(Some(&format!("/connections/{id}")));
                Ok(console)
            }
        }
    }
}

/// What is said of those that are not told in full.
fn rest(counted: &[Lasting], names: &HashMap<String, String>) -> Rest {
    let slugs: BTreeSet<&String> = counted.iter().map(|one| &one.connector).collect();
    Rest {
        count: counted.len(),
        connectors: slugs.into_iter().map(|slug| names.get(slug).unwrap_or(slug).clone()).collect(),
        newest: counted.last().map(|one| one.started_at),
    }
}
