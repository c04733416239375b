//! What the commands of the binary do.

use std::{net::SocketAddr, sync::Arc};

use askama::Template;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::{App, Outside, StartError, mailer, open_files, opening::open, secret, vault};
use crate::{
    access::JwtSecret,
    clock::{Clock, SharedEntropy, SystemClock, SystemEntropy},
    config::{Config, Problem, variable},
    db::DEADLINE,
    error::Error,
    ids::{self, Kind},
    journal::Journal,
    mail::Letter,
    people::{CreateWorkspace, People},
    tasks::Tasks,
    telemetry::Telemetry,
    vault::{Rotated, Rotation},
};

/// How long the token lives that a new workspace comes with.
const FIRST_TOKEN: TimeDelta = TimeDelta::hours(1);

/// A new workspace, as the command prints it.
pub struct Created {
    pub workspace_id: String,
    pub user_id: String,
    /// None where only an identity provider says who people are.
    pub token: Option<String>,
}

/// Serves until `stop` is cancelled.
pub async fn serve(mut config: Config, stop: CancellationToken) -> Result<(), StartError> {
    if let Some(files) = open_files::raise_limit() {
        open_files::fit(&mut config.limits, files, config.database_pool + 1);
    }
    let listener = bind("listen", config.listen).await?;
    let app = App::build(&config, listener.local_addr()?, Outside::default(), stop).await?;
    tracing::info!("listening at {}", app.public_url);
    if app.jobs.reminders.is_none() {
        tracing::info!("no reminders are sent: {} is not set", variable("smtp_url"));
    }
    app.run(listener).await
}

/// Listens at `address`, which the setting `key` names.
pub(super) async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let taken = |error| Problem::new(key, CannotListen(error));
    Ok(TcpListener::bind(address).await.map_err(taken)?)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen there ({0}); free the port, or choose another")]
struct CannotListen(std::io::Error);

/// Brings the database up to date.
pub async fn migrate(config: Config) -> Result<(), StartError> {
    open(&config, DEADLINE).await?.close().await;
    Ok(())
}

/// Makes a workspace with its first ADMIN.
pub async fn create_workspace(
    config: Config,
    name: String,
    admin_email: String,
    admin_name: Option<String>,
) -> Result<Created, StartError> {
    let secret = secret(&config)?;
    let people = people(&config).await?;
    let founded = people.create_workspace(CreateWorkspace { name, admin_name, admin_email }).await.map_err(told)?;
    let issue = |secret: JwtSecret| secret.issue(founded.admin.id, SystemClock.now(), FIRST_TOKEN);
    Ok(Created {
        workspace_id: ids::encode(Kind::Workspace, founded.workspace.id),
        user_id: ids::encode(Kind::User, founded.admin.id),
        token: secret.map(issue).transpose()?,
    })
}

/// Seals with the first key what other keys sealed.
pub async fn rotate_keys(config: Config) -> Result<Rotated, StartError> {
    let entropy: SharedEntropy = Arc::new(SystemEntropy);
    let vault = vault(&config, &entropy)?;
    let db = open(&config, DEADLINE).await?;
    let rotated = Rotation::new(db.clone(), vault).run().await.map_err(told);
    db.close().await;
    rotated
}

/// A bearer token for an active person.
pub async fn token(
    config: Config,
    email: String,
    workspace: Option<Uuid>,
    lifetime: TimeDelta,
) -> Result<String, StartError> {
    let secret = signing_secret(&config)?;
    let found = people(&config).await?.active_by_email(&email, workspace).await.map_err(told)?;
    match found.as_slice() {
        [] => Err("there is no active person with this e-mail address".into()),
        [person] => Ok(secret.issue(person.id, SystemClock.now(), lifetime)?),
        [..] => Err("this person is in several workspaces; say which with --workspace".into()),
    }
}

/// Sends `to` a letter that says that letters arrive.
pub async fn test_mail(config: Config, to: String) -> Result<(), StartError> {
    let mailer = mailer(&config, &Tasks::default())?.ok_or_else(|| Problem::new("smtp_url", NoMailServer))?;
    let public_url = config.public_url(config.listen)?;
    let (clock, entropy) = (SystemClock, SystemEntropy);
    let letter = Letter {
        message_id: mailer.message_id(ids::new(clock.now(), &entropy)),
        to_name: String::new(),
        to_email: to,
        subject: "A test of Patchbay's mail".to_owned(),
        text: TestText { public_url: &public_url }.render()?,
        html: TestHtml { public_url: &public_url }.render()?,
        at: clock.now(),
        unsubscribe: None,
    };
    let sent = mailer.send(&letter).await;
    mailer.close().await;
    Ok(sent.map_err(|unsent| format!("the letter was not sent: {unsent}"))?)
}

#[derive(Debug, thiserror::Error)]
#[error(
    "not set, so no mail is sent; set it to your mail server, for example smtp://USER:PASSWORD@mail.example.com:587, \
     and PATCHBAY_MAIL_FROM to the sender"
)]
struct NoMailServer;

#[derive(Template)]
#[template(
    ext = "txt",
    source = "This is a test: Patchbay can send mail.\n\nIt was sent by the server at {{ public_url }}\n"
)]
struct TestText<'a> {
    public_url: &'a Url,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<p>This is a test: Patchbay can send mail.</p>
<p>It was sent by the server at <a href="{{ public_url }}">{{ public_url }}</a></p>
"#
)]
struct TestHtml<'a> {
    public_url: &'a Url,
}

/// What our own tokens are signed with.
pub(super) fn signing_secret(config: &Config) -> Result<JwtSecret, Problem> {
    secret(config)?.ok_or_else(|| Problem::new("jwt_secret", NothingToSignWith))
}

#[derive(Debug, thiserror::Error)]
#[error(
    "not set, so tokens come from the identity provider of PATCHBAY_JWT_JWKS_URL and from nobody else; \
     to have some signed here too, set it (`openssl rand -base64 48`) and restart the server"
)]
struct NothingToSignWith;

/// The schema, as SDL.
pub fn schema_sdl() -> String {
    crate::graphql::sdl()
}

async fn people(config: &Config) -> Result<People, StartError> {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let db = open(config, DEADLINE).await?;
    let (tasks, counts) = (Tasks::default(), Telemetry::new(clock.now()).journal);
    let journal = Journal::new(db.clone(), clock.clone(), entropy.clone(), tasks, super::SLOW_TICK, counts);
    let journal = journal.await.map_err(told)?;
    Ok(People::new(db, journal, clock, entropy))
}

/// A domain error, for whoever typed the command.
fn told(error: Error) -> StartError {
    match error {
        Error::Rejected(errors) => {
            let messages: Vec<String> = errors.into_iter().map(|error| error.message).collect();
            messages.join(" ").into()
        }
        other => format!("{other:?}").into(),
    }
}
