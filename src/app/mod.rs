//! The composition root: builds every part once and hands each what it needs.
//!
//! [`App`] is a server that is built and not listening yet; the commands of the binary stand below it. Tests build one
//! with a clock, randomness and a name resolver of their own.

mod commands;
mod demo;
mod open_files;
mod opening;
mod seed;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use entity::Topic;
use opening::open;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use commands::{Created, create_workspace, migrate, rotate_keys, schema_sdl, serve, test_mail, token};
pub use demo::demo;

use crate::{
    access::{Authenticator, Bind, IdentityProvider, JwtSecret},
    catalogue::Catalogue,
    clock::{NodeClock, SharedClock, SharedEntropy, SystemClock, SystemEntropy},
    config::{Config, Limits, Problem, TrustedProxies, variable},
    connections::{self, Connections},
    datasets::{self, Datasets},
    db::{self, Db, Watch},
    graphql::{self, Api, KeptAnswers, RequestIds, Services},
    http::{self, Origins, Routers, Site, Transport, server::serve as serve_http},
    jobs::{self, Jobs},
    journal::{Journal, Refusals},
    mail::{BadMailSetting, Mailer},
    notifications::{Notifications, Reminders, RemindersParts},
    people::People,
    provider::{
        self, AllowedHost, KeyDocument, OAuthSettings, Outbound, OwnDatabase, Provider, Resolve, SystemResolver,
    },
    tasks::Tasks,
    telemetry::Telemetry,
    vault::Vault,
};

/// A lost ring is made up for within this time.
const SLOW_TICK: Duration = Duration::from_secs(2);
/// How long stopping may take before what is left is cut off: longer than a provider may take to answer, so that the
/// tokens of an answer that is on its way are stored.
const DRAIN: Duration = Duration::from_secs(25);

/// Why the server does not start, for whoever started it.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// What a server takes from the outside world.
#[derive(Clone)]
pub struct Outside {
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    pub resolver: Arc<dyn Resolve>,
    /// How long the database may take for anything.
    pub database_deadline: Duration,
    /// Is told of every statement that the server sends to its database.
    pub statements: Option<Watch>,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            clock: Arc::new(NodeClock::over(Arc::new(SystemClock))),
            entropy: Arc::new(SystemEntropy),
            resolver: Arc::new(SystemResolver),
            database_deadline: db::DEADLINE,
            statements: None,
        }
    }
}

/// A server, built.
pub struct App {
    pub db: Db,
    pub people: People,
    pub connections: Connections,
    pub jobs: Jobs,
    pub tasks: Tasks,
    pub public_url: Url,
    router: Router,
    /// Where `/metrics` is served alone.
    metrics: Option<(TcpListener, Router)>,
    limits: Limits,
    trusted_proxies: TrustedProxies,
    stop: CancellationToken,
}

impl App {
    /// Builds a server that will listen at `bound`, on a database that is brought up to date first. It stops when `stop`
    /// is cancelled.
    pub async fn build(
        config: &Config,
        bound: SocketAddr,
        outside: Outside,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let Outside { clock, entropy, .. } = outside.clone();
        let public_url = config.public_url(bound)?;
        let catalogue = catalogue(config)?;
        let vault = vault(config, &entropy)?;
        let secret = secret(config)?;
        let outbound = outbound(config, &outside)?;
        let telemetry = Telemetry::new(clock.now());
        let tasks = Tasks::new(telemetry.panics.clone());
        let identity_provider = identity_provider(config, &outbound, &clock, &tasks);
        let provider = provider(config, &catalogue, outbound, &outside);
        let db = open(config, outside.database_deadline).await?;
        let db = match &outside.statements {
            Some(watch) => db.watched(watch),
            None => db,
        };
        // Before anything is written by it.
        jobs::compare_clocks(&db, &*clock).await.map_err(broken)?;
        // Plans go by it, and a migration or a restored file may have brought much.
        if let Err(error) = db.optimize().await {
            tracing::warn!(%error, "the database could not look at how its tables have grown");
        }
        let counts = telemetry.journal.clone();
        let journal = Journal::new(db.clone(), clock.clone(), entropy.clone(), tasks.clone(), SLOW_TICK, counts).await;
        let journal = journal.map_err(broken)?;
        let people = People::new(db.clone(), journal.clone(), clock.clone(), entropy.clone());
        let notifications = Notifications::new(db.clone(), journal.clone(), clock.clone(), public_url.clone());
        let connections = Connections::new(connections::Parts {
            db: db.clone(),
            journal: journal.clone(),
            catalogue: catalogue.clone(),
            provider: provider.clone(),
            vault: vault.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            settings: connection_settings(config, &public_url),
            providers: telemetry.providers.clone(),
            tasks: tasks.clone(),
        })
        .await
        .map_err(broken)?;
        connections.check_keys().await.map_err(|_| Problem::new("encryption_keys", WrongKeys))?;
        let datasets = Datasets::new(datasets::Parts {
            db: db.clone(),
            journal: journal.clone(),
            catalogue: catalogue.clone(),
            connections: connections.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            tasks: tasks.clone(),
            settings: datasets::Settings { job_tick: config.job_tick, probe_interval: config.probe_interval },
        });
        let kept_answers = KeptAnswers::new(db.clone(), vault, clock.clone(), entropy.clone());
        let reminders = mailer(config, &tasks)?.map(|mailer| {
            Reminders::new(RemindersParts {
                db: db.clone(),
                journal: journal.clone(),
                notifications: notifications.clone(),
                mailer,
                letters: telemetry.letters.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            })
        });
        if let Some(reminders) = &reminders {
            reminders.hurry().await.map_err(broken)?;
        }
        let jobs = Jobs::new(jobs::Parts {
            db: db.clone(),
            clock: clock.clone(),
            connections: connections.clone(),
            datasets: datasets.clone(),
            notifications: notifications.clone(),
            reminders,
            journal: journal.clone(),
            kept_answers: kept_answers.clone(),
            settings: job_settings(config),
            telemetry: telemetry.jobs.clone(),
            tasks: tasks.clone(),
        });
        let services = Services {
            people: people.clone(),
            catalogue,
            provider,
            connections: connections.clone(),
            datasets: datasets.clone(),
            notifications: notifications.clone(),
            journal: journal.clone(),
        };
        if let Some(identity_provider) = &identity_provider {
            identity_provider.get_ready().await;
        }
        let identity_provider = identity_provider.map(|provider| (provider, Arc::new(people.clone()) as Arc<dyn Bind>));
        let authenticator = Authenticator::new(db.clone(), secret, identity_provider, clock.clone(), tasks.clone());
        let request_ids = RequestIds::new(clock.clone(), entropy.clone());
        let refusals = Some(Refusals::new(journal.clone()));
        let (schema, metered) = (graphql::build(services.clone()), graphql::build_metered(services));
        let (limits, telemetry_of) = (config.limits.clone(), telemetry.clone());
        let api = Api::new(schema, metered, limits, kept_answers, telemetry_of, entropy, refusals, tasks.clone());
        let origins = Origins::new(&public_url, bound, &allowed_origins(config));
        let transport = Transport::new(http::Parts {
            api,
            authenticator,
            clock,
            request_ids,
            origins,
            limits: config.limits.clone(),
            telemetry,
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let site = Site {
            connections: connections.clone(),
            datasets,
            notifications,
            journal,
            db: db.clone(),
            public_url: public_url.clone(),
            explorer: config.explorer,
            metrics_token: config.metrics_token.clone(),
            metrics_apart: config.metrics_bind.is_some(),
        };
        let Routers { public: router, metrics } = http::routers(&transport, site);
        let metrics = match config.metrics_bind.zip(metrics) {
            Some((address, router)) => Some((commands::bind("metrics_bind", address).await?, router)),
            None => None,
        };
        let (limits, trusted_proxies) = (config.limits.clone(), config.trusted_proxies.clone());
        Ok(Self { db, people, connections, jobs, tasks, public_url, router, metrics, limits, trusted_proxies, stop })
    }

    /// Serves on `listener`, with the jobs beside, until told to stop; then waits for requests, sockets, jobs and every
    /// effect that has begun, while the database is still open.
    pub async fn run(mut self, listener: TcpListener) -> Result<(), StartError> {
        self.jobs.start(&self.stop);
        let stop = self.stop.clone();
        tokio::select! {
            () = self.listen(listener) => {}
            () = overdue(&stop) => {
                let unfinished = self.tasks.unfinished();
                tracing::warn!(%unfinished, "what was not done in {} s was cut off", DRAIN.as_secs());
            }
        }
        if let Some(reminders) = &self.jobs.reminders {
            reminders.close().await;
        }
        self.db.close().await;
        Ok(())
    }

    /// Serves without the jobs, for a caller that runs those by hand; returns when all that was begun has ended.
    pub async fn listen(&mut self, listener: TcpListener) {
        let metrics = self.metrics.take();
        let (limits, proxies, stop) = (&self.limits, &self.trusted_proxies, &self.stop);
        let public = serve_http(listener, self.router.clone(), limits, proxies, stop.clone());
        let metrics = async {
            if let Some((listener, router)) = metrics {
                serve_http(listener, router, limits, proxies, stop.clone()).await;
            }
        };
        tokio::join!(public, metrics);
        self.tasks.drained().await;
    }
}

/// Returns when stopping has taken long enough.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

#[derive(Debug, thiserror::Error)]
#[error("the keys do not open what this database holds; give the keys it was sealed with")]
struct WrongKeys;

const NEW_KEY: &str = "make one with `echo \"main:$(openssl rand -base64 32)\"`, and keep a copy";
const NEW_SECRET: &str = "make one with `openssl rand -base64 48`";

fn broken(error: crate::error::Error) -> StartError {
    format!("the server could not be built: {error:?}").into()
}

fn catalogue(config: &Config) -> Result<Catalogue, StartError> {
    Catalogue::load(config.connectors_dir.as_deref()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        StartError::from(format!(
            "there are bad connector files; mend them (`patchbay connectors check DIR` checks again), or unset {}:\n{}",
            variable("connectors_dir"),
            lines.join("\n")
        ))
    })
}

/// What opens and seals the secrets.
fn vault(config: &Config, entropy: &SharedEntropy) -> Result<Vault, Problem> {
    Vault::new(&config.encryption_keys, entropy.clone())
        .map_err(|error| Problem::new("encryption_keys", format!("{error}; {NEW_KEY}")))
}

/// What our own tokens are signed with, if there are any.
fn secret(config: &Config) -> Result<Option<JwtSecret>, Problem> {
    let secret = config.jwt_secret.as_ref().map(JwtSecret::new).transpose();
    secret.map_err(|error| Problem::new("jwt_secret", format!("{error}; {NEW_SECRET}")))
}

fn identity_provider(
    config: &Config,
    outbound: &Outbound,
    clock: &SharedClock,
    tasks: &Tasks,
) -> Option<IdentityProvider> {
    let meant = config.identity_provider.clone()?;
    if meant.jwks_url.scheme() == "http" {
        // Who is on the way could put keys of their own into it.
        tracing::warn!("PATCHBAY_JWT_JWKS_URL is plain http: have it https, unless its way is yours alone");
    }
    let document = KeyDocument::new(outbound, meant.jwks_url);
    let (clock, tasks) = (clock.clone(), tasks.clone());
    Some(IdentityProvider::new(meant.issuer, meant.audiences, Arc::new(document), clock, tasks))
}

fn mailer(config: &Config, tasks: &Tasks) -> Result<Option<Mailer>, Problem> {
    let Some(meant) = &config.mail else { return Ok(None) };
    let mailer = Mailer::new(&meant.smtp_url, &meant.from, tasks.clone()).map_err(|error| match error {
        BadMailSetting::Url(message) => Problem::new("smtp_url", message),
        BadMailSetting::From(message) => Problem::new("mail_from", message),
    });
    mailer.map(Some)
}

fn outbound(config: &Config, outside: &Outside) -> Result<Outbound, StartError> {
    let allowed: Result<Vec<AllowedHost>, _> = config.allowed_hosts.iter().map(|host| host.parse()).collect();
    let allowed = allowed.map_err(|error| Problem::new("allowed_hosts", error))?;
    let own =
        db::place_of(config.database_url.expose_secret()).map(|(host, port, name)| OwnDatabase::new(host, port, name));
    Ok(Outbound::with(allowed, outside.resolver.clone(), provider::Limits::default())?.keeping_away_from(own))
}

fn provider(config: &Config, catalogue: &Catalogue, outbound: Outbound, outside: &Outside) -> Provider {
    let slugs: Vec<&str> = catalogue.all().map(|connector| connector.slug.as_str()).collect();
    let (clients, warnings) = config.oauth_settings(&slugs);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let exposed = clients.into_iter().map(|(slug, values)| {
        let values = values.into_iter().map(|(name, value)| (name, value.expose_secret().to_owned()));
        (slug, values.collect())
    });
    Provider::new(outbound, OAuthSettings::new(exposed), outside.clock.clone())
}

/// Configuration has checked that they parse.
fn allowed_origins(config: &Config) -> Vec<Url> {
    config.allowed_origins.iter().filter_map(|origin| Url::parse(origin).ok()).collect()
}

fn connection_settings(config: &Config, public_url: &Url) -> connections::Settings {
    connections::Settings {
        public_url: public_url.clone(),
        allowed_origins: allowed_origins(config).iter().map(Url::origin).collect(),
        probe_interval: config.probe_interval,
        unverified_after: config.unverified_after,
        job_tick: config.job_tick,
        token_taken_within: config.limits.token_taken_within,
        regain_within: config.limits.regain_within,
    }
}

fn job_settings(config: &Config) -> jobs::Settings {
    let topics = [Topic::Connections, Topic::Datasets, Topic::Notifications, Topic::Attempts, Topic::Audit];
    jobs::Settings {
        tick: config.job_tick,
        keep: topics.into_iter().map(|topic| (topic, config.journal_keep.of(topic))).collect(),
        history: config.history_keep,
    }
}
