//! Plugging in: in the browser, through an authorization that exists, or with credentials.

use entity::{AttemptKind, attempt, authorization, client, connection, link};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use url::Url;
use uuid::Uuid;

use super::{
    Connections,
    attempts::NewAttempt,
    authorizations::may_use,
    callback::refused,
    credentials::{Fresh, key_of_fields},
    held::Held,
    judged::Judged,
    lifecycle::Change,
    plan::Plan,
    plug::NewConnection,
    settle::{Choice, meanwhile},
    visibility,
};
use crate::{
    access::{Action, Viewer},
    catalogue::{Connector, FieldProblem},
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    people::names,
    provider::{Account, Credential},
};

/// What to connect.
#[derive(Debug, Clone)]
pub struct Connect {
    /// The connector's slug.
    pub connector: String,
    pub client: Option<Uuid>,
    pub name: Option<String>,
    pub account: Option<String>,
    pub external_id: Option<String>,
    pub using: ConnectUsing,
}

/// By which way. Fields are pairs of name and value.
#[derive(Clone)]
pub enum ConnectUsing {
    Browser { fields: Vec<(String, String)>, return_url: Option<String> },
    Authorization(Uuid),
    Credentials(Vec<(String, String)>),
}

impl std::fmt::Debug for ConnectUsing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Browser { .. } => "Browser",
            Self::Authorization(_) => "Authorization",
            Self::Credentials(_) => "Credentials",
        })
    }
}

/// What connecting came to.
#[derive(Debug, Clone)]
pub enum Started {
    /// It is connected.
    Connected(connection::Model),
    /// Someone has to finish it in a browser.
    Attempt(attempt::Model),
}

impl Connections {
    /// Connects a data source.
    pub async fn connect(&self, viewer: &Viewer, input: Connect) -> Result<Started> {
        viewer.may(Action::Connect)?;
        let connector = self.connector(&input.connector, "connector")?;
        let name = input.name.as_deref().map(|name| names::name("name", name)).transpose()?;
        let external_id = input.external_id.as_deref().map(|id| names::external_id("externalId", id)).transpose()?;
        let account = input.account.as_deref().map(|id| names::external_id("accountId", id)).transpose()?;
        if let Some(known) = self.known_as(viewer, external_id.as_deref()).await? {
            return Ok(Started::Connected(known));
        }
        self.require_client(viewer.workspace(), input.client).await?;
        let new = NewConnection { name, client: input.client, external_id: external_id.clone(), account: None };
        let started = match input.using {
            ConnectUsing::Browser { fields, return_url } => {
                self.connect_in_browser(viewer, &connector, new, account, fields, return_url).await
            }
            ConnectUsing::Authorization(id) => self.connect_through(viewer, &connector, new, account, id).await,
            ConnectUsing::Credentials(fields) => self.connect_with(viewer, &connector, new, account, fields).await,
        };
        match started {
            // Another call with the same external id may have been faster: this one is answered as the second of two.
            Err(Error::Rejected(errors)) => {
                let known = self.known_as(viewer, external_id.as_deref()).await?;
                known.map(Started::Connected).ok_or(Error::Rejected(errors))
            }
            started => started,
        }
    }

    async fn connect_in_browser(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        new: NewConnection,
        account: Option<String>,
        fields: Vec<(String, String)>,
        return_url: Option<String>,
    ) -> Result<Started> {
        if !connector.is_oauth() {
            return Err(Error::from(
                UserError::new(UserErrorCode::Invalid, "This data source takes credentials, not a sign-in.")
                    .at(["using", "browser"]),
            ));
        }
        let fields =
            connector.check_fields(&fields).map_err(|problem| bad_field(&problem, &["using", "browser", "fields"]))?;
        let return_url = self.checked_return_url(return_url, &["using", "browser", "returnUrl"])?;
        let plan = Plan {
            client: new.client,
            name: new.name,
            external_id: new.external_id,
            account,
            account_change: None,
            return_url,
        };
        let kind = AttemptKind::Connect;
        let attempt = NewAttempt { kind, connector, plan, connection: None, expected: None, fields, link: None };
        Ok(Started::Attempt(self.start(viewer, attempt).await?))
    }

    async fn connect_through(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        mut new: NewConnection,
        account: Option<String>,
        id: Uuid,
    ) -> Result<Started> {
        let path = ["using", "authorizationId"];
        let row = self.usable_authorization(viewer, connector, id, &path).await?;
        let judged = Judged::from(&row);
        new.account = self.chosen(connector, &self.usable_credential(&row).await?, account.as_deref()).await?;
        let mut change = Change::begin(self, viewer).await?;
        let mut held = change.hold_working(viewer, &judged, &path).await?;
        let connection = change.plug(&mut held, connector, new, viewer).await?;
        change.commit().await?;
        Ok(Started::Connected(connection))
    }

    async fn connect_with(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        mut new: NewConnection,
        account: Option<String>,
        fields: Vec<(String, String)>,
    ) -> Result<Started> {
        let path = ["using", "credentials"];
        if connector.is_oauth() {
            let error = UserError::new(UserErrorCode::Invalid, "This data source is connected by signing in.");
            return Err(error.at(path).into());
        }
        let fresh = self.try_credentials(connector, &fields, &path).await?;
        new.account = self.chosen(connector, &fresh.credential, account.as_deref()).await?;
        self.plug_typed(viewer, connector, &fresh, new, None).await.map(Started::Connected)
    }

    /// Connects with credentials that were tried; using up the link, where that is what somebody follows.
    pub(super) async fn plug_typed(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        fresh: &Fresh,
        new: NewConnection,
        link: Option<&link::Model>,
    ) -> Result<connection::Model> {
        let mut change = Change::begin(self, viewer).await?;
        let held = change.authorize(connector, fresh, viewer.user()).await?;
        let mut held = held.ok_or_else(meanwhile)?;
        let key = key_of_fields(connector, &fresh.credential.fields);
        let connection = change.plug_as(&mut held, connector, new, viewer, key).await?;
        if let Some(link) = link {
            change.use_up(link, connector, connection.id).await?;
        }
        change.commit().await?;
        Ok(connection)
    }

    /// Tries typed credentials at the provider, before anything is stored.
    pub(super) async fn try_credentials(
        &self,
        connector: &Connector,
        fields: &[(String, String)],
        path: &[&str],
    ) -> Result<Fresh> {
        let fields = connector.check_fields(fields).map_err(|problem| bad_field(&problem, path))?;
        if !self.provider.is_configured(connector) {
            let message = "This server is not configured for this connector.";
            return Err(UserError::new(UserErrorCode::NotConfigured, message).into());
        }
        let refused = |failure| Error::from(refused(&failure).at(path.iter().copied()));
        let mut credential = Credential { fields, ..Credential::default() };
        let account = self.provider.identify(connector, &mut credential).await.map_err(refused)?;
        if connector.has_probe() {
            self.provider.probe(connector, &credential, None).await.map_err(refused)?;
        }
        Ok(Fresh::typed(credential, account))
    }

    /// An OAuth authorization of this connector that the viewer may use for more.
    pub(super) async fn usable_authorization(
        &self,
        viewer: &Viewer,
        connector: &Connector,
        id: Uuid,
        path: &[&str],
    ) -> Result<authorization::Model> {
        let row = self.permitted_authorization(viewer, id, path).await?;
        if row.connector != connector.slug || row.method != entity::AuthMethod::OAuth2 {
            let error = UserError::new(UserErrorCode::Invalid, "This authorization does not fit this data source.");
            return Err(error.at(path.iter().copied()).into());
        }
        if row.status == entity::Status::Disconnected { Err(disconnected(id, path).into()) } else { Ok(row) }
    }

    /// An authorization, of whatever kind, that the viewer may use for more.
    pub(super) async fn permitted_authorization(
        &self,
        viewer: &Viewer,
        id: Uuid,
        path: &[&str],
    ) -> Result<authorization::Model> {
        let seen = visibility::authorizations(viewer)
            .filter(authorization::Column::Id.eq(id))
            .filter(authorization::Column::RemovedAt.is_null())
            .one(self.db.reader())
            .await?;
        let unknown =
            || UserError::new(UserErrorCode::NotFound, "There is nothing with this id.").at(path.iter().copied());
        let row = seen.ok_or_else(unknown)?;
        if may_use(viewer, &row) { Ok(row) } else { Err(Error::Forbidden) }
    }

    /// The account that is meant, where the connector has several: without a browser nothing can ask.
    async fn chosen(
        &self,
        connector: &Connector,
        credential: &Credential,
        wanted: Option<&str>,
    ) -> Result<Option<Account>> {
        match self.choose(connector, credential, wanted, &["accountId"]).await? {
            Choice::Only => Ok(None),
            Choice::This(account) => Ok(Some(account)),
            Choice::Open => Err(Error::invalid("accountId", "Say which of the available accounts is meant.")),
        }
    }

    pub(super) async fn require_client(&self, workspace: Uuid, client: Option<Uuid>) -> Result<()> {
        let Some(id) = client else { return Ok(()) };
        let found = client::Entity::find_by_id(id)
            .filter(client::Column::WorkspaceId.eq(workspace))
            .filter(client::Column::RemovedAt.is_null())
            .one(self.db.reader())
            .await?;
        if found.is_some() { Ok(()) } else { Err(Error::not_found("clientId")) }
    }

    /// A `returnUrl` whose origin is allowed.
    pub(super) fn checked_return_url(&self, given: Option<String>, path: &[&str]) -> Result<Option<String>> {
        let Some(given) = given else { return Ok(None) };
        let allowed = |url: &Url| {
            let origin = url.origin();
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && (origin == self.settings.public_url.origin() || self.settings.allowed_origins.contains(&origin))
        };
        match Url::parse(&given).ok().filter(allowed).filter(|_| given.len() <= 2_000) {
            Some(url) => Ok(Some(url.into())),
            None => {
                Err(UserError::new(UserErrorCode::Invalid, "This address is not at an origin that the server allows.")
                    .at(path.iter().copied())
                    .into())
            }
        }
    }
}

impl Change<'_> {
    /// Locks an authorization whose accounts were judged, to add connections to it: it has to work, be of the same
    /// account still, and the viewer's to use.
    pub(super) async fn hold_working(&mut self, viewer: &Viewer, judged: &Judged, path: &[&str]) -> Result<Held> {
        let held = self.hold_one(judged.authorization()).await?.ok_or_else(meanwhile)?;
        held.require_as_judged(judged)?;
        held.require_usable(viewer)?;
        let works = held.authorization.status != entity::Status::Disconnected;
        if works { Ok(held) } else { Err(disconnected(held.id(), path).into()) }
    }
}

/// The live OAuth authorization of this account.
pub(super) async fn find_authorization<C: ConnectionTrait>(
    db: &C,
    workspace: Uuid,
    connector: &str,
    account: &str,
) -> Result<Option<Uuid>> {
    let row = authorization::Entity::find()
        .filter(authorization::Column::WorkspaceId.eq(workspace))
        .filter(authorization::Column::Connector.eq(connector))
        .filter(authorization::Column::AccountId.eq(account))
        .filter(authorization::Column::Method.eq(entity::AuthMethod::OAuth2))
        .filter(authorization::Column::RemovedAt.is_null())
        .one(db)
        .await?;
    Ok(row.map(|row| row.id))
}

pub(super) fn disconnected(authorization: Uuid, path: &[&str]) -> UserError {
    UserError::new(UserErrorCode::Conflict, "This authorization is disconnected. Reconnect it first.")
        .at(path.iter().copied())
        .against(Conflict::Authorization(authorization))
}

/// What was typed wrongly, at its place below `path`.
pub(super) fn bad_field(problem: &FieldProblem, path: &[&str]) -> UserError {
    let place = problem.index.map(|index| index.to_string());
    let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).chain(place).collect();
    UserError::new(UserErrorCode::Invalid, problem.to_string()).at(path)
}
