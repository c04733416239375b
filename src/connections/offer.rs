//! What somebody without a login sees of a link: who asks, for which client and which connectors, how far they have come, and
//! nothing else of the workspace. What they do with it is [`super::following`]'s.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::{AttemptKind, AttemptStatus, attempt, client, connection, link, link_connector, user, workspace};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use url::Url;
use uuid::Uuid;

use super::{
    Connections,
    following::{Good, NoUse},
    links::Errand,
};
use crate::{
    access::Viewer,
    catalogue::{Connector, Field},
    error::{Error, Result},
    ids::{self, Kind},
    line::one_line,
    people,
    provider::Account,
};

/// How many accounts there are to choose from at most.
const MOST_ACCOUNTS: usize = 200;

/// How much of a name is shown, in characters: all of it, usually.
const LONGEST_NAME: usize = 200;

/// A link as whoever follows it sees it.
#[derive(Debug)]
pub struct Offer {
    pub kind: AttemptKind,
    /// Who asks.
    pub maker: String,
    pub workspace: String,
    /// For whom; none for the workspace itself.
    pub client: Option<String>,
    pub expires_at: DateTime<Utc>,
    /// In the order that they were named.
    pub sources: Vec<Source>,
}

/// A data source that a link offers.
#[derive(Debug)]
pub struct Source {
    pub connector: Arc<Connector>,
    /// RECONNECT: as whom somebody signed in before.
    pub account: Option<String>,
    /// What is asked first, or is all that is asked.
    pub fields: Vec<Field>,
    pub state: Standing,
}

/// How far one has come with a data source.
#[derive(Debug)]
pub enum Standing {
    /// Nothing came of it yet; of the last sign-in, why.
    Open {
        problem: Option<String>,
    },
    /// Somebody signed in, and has to say which account is meant.
    Choice {
        attempt: Uuid,
        /// The first 200; none when the provider does not answer.
        accounts: Option<Vec<Account>>,
    },
    Done,
}

impl Connections {
    /// The link of this kind whose address ends in `token`. With an attempt of the link, what came of that is told; a link
    /// that is used up is shown with the attempt that did it.
    pub async fn link(&self, kind: AttemptKind, token: &str, attempt: Option<Uuid>) -> Result<Result<Offer, NoUse>> {
        let Some(link) = self.find_link(kind, token).await? else { return Ok(Err(NoUse::Unknown)) };
        let attempt = match attempt {
            Some(attempt) => self.attempt_of(&link, attempt).await?,
            None => None,
        };
        let worked = attempt.as_ref().is_some_and(|attempt| attempt.status == AttemptStatus::Succeeded);
        let good = match self.good(link, worked).await? {
            Ok(good) => good,
            Err(no_use) => return Ok(Err(no_use)),
        };
        let sources = match &good.errand {
            Errand::Reconnect(row) => self.reconnect_source(row, attempt.as_ref()).await?.into_iter().collect(),
            Errand::Connect(_) => self.connect_sources(&good.link, attempt.as_ref()).await?,
        };
        // Their files may be gone.
        if sources.is_empty() { Ok(Err(NoUse::Over)) } else { self.offer(good, sources).await.map(Ok) }
    }

    /// The address of the page of the link that ends in `token`, where it tells what came of `attempt`.
    pub fn link_page(&self, kind: AttemptKind, token: &str, attempt: Option<Uuid>) -> Url {
        let mut url = self.link_url(kind, token);
        if let Some(attempt) = attempt {
            url.query_pairs_mut().append_pair("attempt", &ids::encode(Kind::Attempt, attempt));
        }
        url
    }

    async fn offer(&self, good: Good, sources: Vec<Source>) -> Result<Offer> {
        let Good { link, maker, errand } = good;
        let person = user::Entity::find_by_id(link.created_by).one(self.db.reader()).await?;
        let home = workspace::Entity::find_by_id(link.workspace_id).one(self.db.reader()).await?;
        let (Some(person), Some(home)) = (person, home) else {
            return Err(Error::internal("a link that nobody made"));
        };
        let client = match errand {
            Errand::Connect(client) => Some(client.name),
            Errand::Reconnect(row) => match row.client_id {
                Some(id) => self.client_name(&maker, id).await?,
                None => None,
            },
        };
        let (kind, expires_at) = (link.kind, link.expires_at);
        // To people outside: a name is not to turn round what stands beside it.
        let shown = |name: &str| one_line(name, LONGEST_NAME);
        let (maker, workspace) = (shown(&person.name), shown(&home.name));
        Ok(Offer { kind, maker, workspace, client: client.as_deref().map(shown), expires_at, sources })
    }

    async fn client_name(&self, maker: &Viewer, id: Uuid) -> Result<Option<String>> {
        let found = people::clients_of(maker.workspace()).filter(client::Column::Id.eq(id));
        Ok(found.one(self.db.reader()).await?.map(|client| client.name))
    }

    async fn reconnect_source(
        &self,
        row: &connection::Model,
        attempt: Option<&attempt::Model>,
    ) -> Result<Option<Source>> {
        let Some(connector) = self.connector_of(&row.connector) else { return Ok(None) };
        let account = self.authorization_of(row).await?.account_name.map(|name| one_line(&name, LONGEST_NAME));
        let state = self.standing(attempt, false).await?;
        let fields = fields_of(AttemptKind::Reconnect, &connector);
        Ok(Some(Source { connector, account, fields, state }))
    }

    async fn connect_sources(&self, link: &link::Model, attempt: Option<&attempt::Model>) -> Result<Vec<Source>> {
        let offered = link_connector::Entity::find()
            .filter(link_connector::Column::LinkId.eq(link.id))
            .order_by_asc(link_connector::Column::Place)
            .all(self.db.reader())
            .await?;
        let mut sources = Vec::with_capacity(offered.len());
        for row in offered {
            let Some(connector) = self.connector_of(&row.connector) else { continue };
            let its = attempt.filter(|attempt| attempt.connector == row.connector);
            let state = self.standing(its, row.used_at.is_some()).await?;
            let fields = fields_of(AttemptKind::Connect, &connector);
            sources.push(Source { connector, account: None, fields, state });
        }
        Ok(sources)
    }

    async fn standing(&self, attempt: Option<&attempt::Model>, is_used: bool) -> Result<Standing> {
        let Some(attempt) = attempt.filter(|_| !is_used) else {
            return Ok(if is_used { Standing::Done } else { Standing::Open { problem: None } });
        };
        Ok(match attempt.status {
            AttemptStatus::Succeeded => Standing::Done,
            AttemptStatus::NeedsDecision => {
                Standing::Choice { attempt: attempt.id, accounts: self.accounts_to_choose(attempt).await? }
            }
            AttemptStatus::Failed => Standing::Open { problem: attempt.error_message.clone() },
            AttemptStatus::Expired => Standing::Open { problem: Some("This took too long.".to_owned()) },
            AttemptStatus::Pending | AttemptStatus::Exchanging => Standing::Open { problem: None },
        })
    }

    async fn accounts_to_choose(&self, attempt: &attempt::Model) -> Result<Option<Vec<Account>>> {
        let opened = match self.accounts_of_attempt(attempt).await {
            // The page says that they could not be read, and that it may be opened again.
            Err(Error::Unavailable) => None,
            opened => opened?,
        };
        Ok(opened.map(|opened| opened.accounts.iter().take(MOST_ACCOUNTS).cloned().collect()))
    }
}

/// What is asked of whoever follows a link: to sign in once more, nothing.
pub(super) fn fields_of(kind: AttemptKind, connector: &Connector) -> Vec<Field> {
    if kind == AttemptKind::Reconnect && connector.is_oauth() { Vec::new() } else { connector.fields.clone() }
}
