//! Following a link: what somebody without a login does with it.
//!
//! It is done in the name of the link's maker ([`super::links`]), by the same ways as theirs: an attempt in the browser, or
//! credentials that are tried before they are stored. What they see of it is [`super::offer`]'s.

use std::collections::BTreeMap;

use entity::{AccountChange, AttemptKind, AttemptStatus, attempt, connection, link, link_connector};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use url::Url;
use uuid::Uuid;

use super::{
    Connections, Reconnected,
    attempts::{NewAttempt, OfLink, hash},
    credentials::Fresh,
    lifecycle::Change,
    links::Errand,
    offer::fields_of,
    plan::{Carried, Plan},
    plug::NewConnection,
    reconnect::Replacing,
    settle::{Choice, another_account, meanwhile},
};
use crate::{
    access::Viewer,
    catalogue::{Connector, FieldFault},
    error::{Error, Result},
};

/// Why a link is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoUse {
    /// There is no such link.
    Unknown,
    /// It expired, or what it is for is gone, or its maker may not do that any more.
    Over,
    /// There is nothing left to do.
    Done,
}

/// What following a link came to.
pub enum Followed {
    /// Somebody has to sign in at the provider: where to send their browser.
    Away(Url),
    /// Somebody has to choose an account: in this attempt, on the link's page.
    Asks(Uuid),
    Done,
}

/// Why nothing came of following a link. Repeats nothing that was typed.
#[derive(Debug)]
pub enum NotFollowed {
    NoUse(NoUse),
    /// What was typed into a field does not fit.
    Field {
        name: String,
        fault: FieldFault,
    },
    /// For the person, as a sentence.
    Refused(String),
}

/// A link that is of use, and in whose name.
pub(super) struct Good {
    pub(super) link: link::Model,
    pub(super) maker: Viewer,
    pub(super) errand: Errand,
}

impl Connections {
    /// Follows a link: for one of its connectors where it is a connect link, with what was typed into the connector's fields.
    pub async fn follow(
        &self,
        kind: AttemptKind,
        token: &str,
        connector: Option<&str>,
        fields: &[(String, String)],
    ) -> Result<Result<Followed, NotFollowed>> {
        let good = match self.find_good(kind, token).await? {
            Ok(good) => good,
            Err(no_use) => return Ok(Err(NotFollowed::NoUse(no_use))),
        };
        let slug = match &good.errand {
            Errand::Reconnect(row) => Some(row.connector.as_str()),
            Errand::Connect(_) => connector.filter(|slug| slug.len() <= 200),
        };
        let Some(connector) = slug.and_then(|slug| self.connector_of(slug)) else {
            return Ok(Err(NotFollowed::Refused("This data source is not to be had any more.".to_owned())));
        };
        if !self.is_open(&good.link, &connector).await? {
            return Ok(Err(NotFollowed::Refused("This is done already, or not what the link is for.".to_owned())));
        }
        let asked = fields_of(kind, &connector);
        let checked = if asked.is_empty() { Ok(BTreeMap::new()) } else { connector.check_fields(fields) };
        let checked = match checked {
            Ok(checked) => checked,
            Err(problem) => {
                let name = problem.field.unwrap_or_default();
                return Ok(Err(NotFollowed::Field { name, fault: problem.fault }));
            }
        };
        let link = OfLink { id: good.link.id, token };
        explained(match &good.errand {
            Errand::Reconnect(row) if connector.is_oauth() => self.sign_in_again(&good, &connector, row, link).await,
            Errand::Reconnect(row) => self.reconnect_with_typed(&good, &connector, row, fields).await,
            Errand::Connect(_) if connector.is_oauth() => {
                let new = new_attempt(&good, &connector, checked, link);
                let started = self.start(&good.maker, new).await;
                started.map(|attempt| Followed::Away(self.attempt_url(&attempt)))
            }
            Errand::Connect(_) => self.connect_with_typed(&good, &connector, fields, link).await,
        })
    }

    /// Says which account is meant, in an attempt of the link that waits for it.
    pub async fn choose_account(
        &self,
        kind: AttemptKind,
        token: &str,
        attempt: Uuid,
        account: String,
    ) -> Result<Result<Followed, NotFollowed>> {
        let good = match self.find_good(kind, token).await? {
            Ok(good) => good,
            Err(no_use) => return Ok(Err(NotFollowed::NoUse(no_use))),
        };
        let waits = |attempt: &attempt::Model| attempt.status == AttemptStatus::NeedsDecision;
        let Some(attempt) = self.attempt_of(&good.link, attempt).await?.filter(waits) else {
            let message = "This took too long, or was finished already. Start again.";
            return Ok(Err(NotFollowed::Refused(message.to_owned())));
        };
        explained(self.decide(&good.maker, attempt.id, Some(account), None).await.map(|_| Followed::Done))
    }

    pub(super) async fn find_link(&self, kind: AttemptKind, token: &str) -> Result<Option<link::Model>> {
        let found = link::Entity::find().filter(link::Column::TokenHash.eq(hash(token)));
        Ok(found.filter(link::Column::Kind.eq(kind)).one(self.db.reader()).await?)
    }

    /// The link, if it is of use.
    async fn find_good(&self, kind: AttemptKind, token: &str) -> Result<Result<Good, NoUse>> {
        match self.find_link(kind, token).await? {
            Some(link) => self.good(link, false).await,
            None => Ok(Err(NoUse::Unknown)),
        }
    }

    /// Whether the address of a link of this kind ends in `token`.
    pub async fn knows_link(&self, kind: AttemptKind, token: &str) -> Result<bool> {
        Ok(self.find_link(kind, token).await?.is_some())
    }

    /// The link, if it is of use; while its time lasts also one that has ended, for whoever `worked` with it.
    pub(super) async fn good(&self, link: link::Model, worked: bool) -> Result<Result<Good, NoUse>> {
        if link.ended_at.is_some() && !worked {
            return Ok(Err(NoUse::Done));
        }
        let Some(maker) = self.acting(link.created_by, link.api_key_id).await? else { return Ok(Err(NoUse::Over)) };
        Ok(self.errand(&maker, &link).await?.map(|errand| Good { link, maker, errand }).ok_or(NoUse::Over))
    }

    /// An attempt that was started by this very link.
    pub(super) async fn attempt_of(&self, link: &link::Model, id: Uuid) -> Result<Option<attempt::Model>> {
        let found = attempt::Entity::find_by_id(id).filter(attempt::Column::LinkId.eq(link.id));
        Ok(found.one(self.db.reader()).await?.map(|row| self.as_of_now(row)))
    }

    /// Whether the link is still to be used for this connector.
    async fn is_open(&self, link: &link::Model, connector: &Connector) -> Result<bool> {
        if link.kind == AttemptKind::Reconnect {
            return Ok(true);
        }
        let row = link_connector::Entity::find_by_id((link.id, connector.slug.clone())).one(self.db.reader()).await?;
        Ok(row.is_some_and(|row| row.used_at.is_none()))
    }

    async fn sign_in_again(
        &self,
        good: &Good,
        connector: &Connector,
        row: &connection::Model,
        link: OfLink<'_>,
    ) -> Result<Followed> {
        let change = AccountChange::Refuse;
        match self.reconnect_in_browser(&good.maker, connector, row, change, None, Some(link)).await? {
            Reconnected::Attempt(attempt) => Ok(Followed::Away(self.attempt_url(&attempt))),
            Reconnected::Done { .. } => Ok(Followed::Done),
        }
    }

    async fn reconnect_with_typed(
        &self,
        good: &Good,
        connector: &Connector,
        row: &connection::Model,
        fields: &[(String, String)],
    ) -> Result<Followed> {
        let before = self.authorization_of(row).await?;
        let fresh = self.try_credentials(connector, fields, &[]).await?;
        let mismatch = another_account(before.account_name.as_deref());
        let replacing =
            Replacing { viewer: &good.maker, connector, row, before: &before, fresh: &fresh, link: Some(&good.link) };
        self.replace(replacing, Err(mismatch)).await?;
        Ok(Followed::Done)
    }

    async fn connect_with_typed(
        &self,
        good: &Good,
        connector: &Connector,
        fields: &[(String, String)],
        link: OfLink<'_>,
    ) -> Result<Followed> {
        let fresh = self.try_credentials(connector, fields, &[]).await?;
        let account = match self.choose(connector, &fresh.credential, None, &[]).await? {
            Choice::Only => None,
            Choice::This(account) => Some(account),
            Choice::Open => return self.ask_account(good, connector, &fresh, link).await,
        };
        let new = NewConnection { name: None, client: good.link.client_id, external_id: None, account };
        self.plug_typed(&good.maker, connector, &fresh, new, Some(&good.link)).await?;
        Ok(Followed::Done)
    }

    /// Lets what was typed, and works, wait in an attempt until somebody says which account is meant.
    async fn ask_account(
        &self,
        good: &Good,
        connector: &Connector,
        fresh: &Fresh,
        link: OfLink<'_>,
    ) -> Result<Followed> {
        let row = self.start(&good.maker, new_attempt(good, connector, BTreeMap::new(), link)).await?;
        let carried = Carried { waiting: Some(fresh.into()), ..Carried::default() };
        let sealed = self.seal_carried(row.id, &carried)?;
        let mut change = Change::begin(self, &good.maker).await?;
        if !change.let_wait(&row, Some(sealed), None).await? {
            return Err(meanwhile());
        }
        change.commit().await?;
        Ok(Followed::Asks(row.id))
    }
}

fn new_attempt<'a>(
    good: &Good,
    connector: &'a Connector,
    fields: BTreeMap<String, String>,
    link: OfLink<'a>,
) -> NewAttempt<'a> {
    let plan = Plan { client: good.link.client_id, ..Plan::default() };
    let kind = AttemptKind::Connect;
    NewAttempt { kind, connector, plan, connection: None, expected: None, fields, link: Some(link) }
}

/// What the person can mend, told apart from what only the operator can.
fn explained(outcome: Result<Followed>) -> Result<Result<Followed, NotFollowed>> {
    match outcome {
        Ok(followed) => Ok(Ok(followed)),
        Err(Error::Rejected(errors)) => {
            let message = errors.into_iter().next().map(|error| error.message);
            Ok(Err(NotFollowed::Refused(message.unwrap_or_else(|| "This did not work.".to_owned()))))
        }
        Err(Error::Forbidden) => Ok(Err(NotFollowed::NoUse(NoUse::Over))),
        Err(other) => Err(other),
    }
}
