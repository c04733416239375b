//! What a reminder tells: the letter about what a person is owed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{authorization, connector, disconnection, reminder, workspace};
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect};
use url::Url;
use uuid::Uuid;

use super::{
    Reminders,
    owed::{BATCH, Broken, Owed},
    runs::zone,
};
use crate::{
    error::{Error, Result},
    ids::{self, Kind},
    mail::Letter,
    notifications::letter::{Outage, Reminder},
    people::CONNECTION_PLACE,
};

impl Reminders {
    /// The letter of a reminder that tells a person what they are owed.
    pub(super) async fn letter(
        &self,
        row: &reminder::Model,
        workspace: &workspace::Model,
        owed: &Owed,
    ) -> Result<Letter> {
        let (now, person) = (self.clock.now(), &owed.person);
        let unsubscribe = self.notifications.unsubscribe_url(person, workspace);
        let reminder = Reminder {
            workspace: &workspace.name,
            person: &person.name,
            zone: zone(workspace)?,
            now,
            outages: self.outages(workspace, &owed.outages).await?,
            unsubscribe: unsubscribe.clone(),
        };
        let words = reminder.in_words();
        Ok(Letter {
            message_id: self.mailer.message_id(row.id),
            to_name: person.name.clone(),
            to_email: person.email.clone(),
            subject: words.subject,
            text: words.text,
            html: words.html,
            at: now,
            unsubscribe: Some(unsubscribe),
        })
    }

    /// The longest lasting first.
    async fn outages(&self, workspace: &workspace::Model, owed: &BTreeMap<Uuid, Vec<Broken>>) -> Result<Vec<Outage>> {
        let names = connector::Entity::find().all(self.db.reader()).await?;
        let names: HashMap<String, String> = names.into_iter().map(|row| (row.slug, row.name)).collect();
        let ids: Vec<Uuid> = owed.keys().copied().collect();
        let mut outages = Vec::with_capacity(ids.len());
        for part in ids.chunks(BATCH) {
            let its_authorization = disconnection::Entity::belongs_to(authorization::Entity)
                .from(disconnection::Column::AuthorizationId)
                .to(authorization::Column::Id);
            let rows = disconnection::Entity::find()
                .join(JoinType::InnerJoin, its_authorization.into())
                .select_also(authorization::Entity)
                .filter(disconnection::Column::Id.is_in(part.iter().copied()))
                .all(self.db.reader())
                .await?;
            for (row, authorization) in rows {
                let broken = owed.get(&row.id).map(Vec::as_slice).unwrap_or_default();
                let connector = names.get(&row.connector).unwrap_or(&row.connector).clone();
                let account = authorization.and_then(|authorization| authorization.account_name);
                outages.push(self.outage(workspace, row, connector, account, broken)?);
            }
        }
        outages.sort_by_key(|outage| outage.since);
        Ok(outages)
    }

    fn outage(
        &self,
        workspace: &workspace::Model,
        row: disconnection::Model,
        connector: String,
        account: Option<String>,
        broken: &[Broken],
    ) -> Result<Outage> {
        let first = broken.first().ok_or_else(|| Error::internal("a disconnection of nothing"))?;
        let clients: BTreeSet<&str> = broken.iter().filter_map(|one| one.client.as_deref()).collect();
        Ok(Outage {
            connector,
            account,
            clients: clients.into_iter().map(str::to_owned).collect(),
            connections: broken.len(),
            since: row.started_at,
            message: row.message,
            url: self.connection_url(workspace, first.connection_id)?,
        })
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
