//! A stage for each test: a real server on a port of its own, with a database of its own, a sandbox as its provider, and
//! time in the test's hand.
//!
//! Tests talk to it as its users do: over HTTP and websockets, with a token. What is done behind their back (jobs, the
//! clock, the provider's faults) is the stage's.

mod browser;
mod data;
mod database;
mod gates;
mod held;
pub(crate) mod mail;
mod person;
mod scene;
mod silence;
mod socket;
pub(crate) mod tables;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use patchbay::{
    access::JwtSecret,
    app::{App, Outside},
    clock::{Clock, SystemEntropy},
    config::{Config, Limits, TrustedProxies},
    db::{DEADLINE, Db, Watch},
    ids::{self, Kind},
    jobs::Jobs,
    people::{CreateWorkspace, People},
    provider::{Resolve, SystemResolver},
    sandbox::{Options, Sandbox},
    tasks::Tasks,
};
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub use browser::{Browser, Landing};
pub use data::{DATASET, METRIC, dataset_of, report};
pub use database::{Database, leave_out};
pub use gates::{InTheWay, within_patience};
pub use held::Statements;
pub use person::{Answer, CONNECTION, Person, http};
pub use scene::ids as ids_of;
pub use scene::{CHANGE, SharedGrant, each, id, nodes};
pub use silence::Way;
pub use socket::{Frame, Socket};

/// Seals what the tests store.
pub const KEYS: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Signs the tests' tokens.
pub const JWT_SECRET: &str = "a secret of at least thirty-two characters";

/// A clock in the test's hand: it moves when the test moves it, and by a millisecond at each look, so that what comes
/// later is later.
pub struct HandClock {
    now: Mutex<DateTime<Utc>>,
    /// How many of the next looks panic.
    broken: AtomicUsize,
}

impl HandClock {
    pub fn new() -> Self {
        let now = Mutex::new(Utc.with_ymd_and_hms(2026, 3, 2, 9, 0, 0).unwrap());
        Self { now, broken: AtomicUsize::new(0) }
    }

    pub fn advance(&self, by: TimeDelta) {
        *self.now.lock().unwrap() += by;
    }

    /// The next so many looks panic.
    pub fn breaks(&self, looks: usize) {
        self.broken.store(looks, Ordering::SeqCst);
    }

    /// Whether the next look panics.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst) > 0
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        let less = |left: usize| left.checked_sub(1);
        if self.broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            panic!("the clock is broken");
        }
        let mut now = self.now.lock().unwrap();
        *now += TimeDelta::milliseconds(1);
        *now
    }
}

/// A clock that goes ahead of the one in the test's hand.
struct AheadClock {
    of: Arc<HandClock>,
    by: TimeDelta,
}

impl Clock for AheadClock {
    fn now(&self) -> DateTime<Utc> {
        self.of.now() + self.by
    }
}

/// What is around servers and outlives them: time, the provider, the database.
struct World {
    clock: Arc<HandClock>,
    sandbox: Sandbox,
    provider: Url,
    database: Arc<Database>,
    gate: held::Gate,
    _serving: DropGuard,
}

/// A server with everything around it.
pub struct Stage {
    pub url: Url,
    pub clock: Arc<HandClock>,
    pub sandbox: Sandbox,
    pub jobs: Jobs,
    pub db: Db,
    pub people: People,
    pub tasks: Tasks,
    pub database: Arc<Database>,
    /// The first ADMIN of the first workspace.
    pub admin: Person,
    jwt: JwtSecret,
    setup: Setup,
    world: Arc<World>,
    running: DropGuard,
    listening: JoinHandle<()>,
}

/// How a stage differs from the usual.
#[derive(Default, Clone)]
pub struct Setup {
    /// Settings beside the usual ones, as variables.
    pub settings: Vec<(String, String)>,
    /// Connector files beside the sandbox's: name and text, in which `@BASE@` stands for the sandbox's address.
    pub connectors: Vec<(String, String)>,
    /// `host:port` of providers beside the sandbox.
    pub also_allowed: Vec<String>,
    /// The database of another stage, to be a second node on it, with a provider of its own.
    pub database: Option<Arc<Database>>,
    /// Finds the addresses of the names that are called; the system's where none is given.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// How long the database may take for anything; as long as usual where none is given.
    pub database_deadline: Option<Duration>,
    /// Is told of every statement that the server sends to its database.
    pub statements: Option<Watch>,
    /// Whether the jobs run by themselves, as in the binary.
    pub jobs_run: bool,
    /// Changes limits that no setting changes.
    pub limits: Option<fn(&mut Limits)>,
}

impl World {
    async fn new(database: Option<Arc<Database>>) -> Self {
        let clock = Arc::new(HandClock::new());
        let (listener, provider) = listener(0).await;
        let sandbox = Sandbox::new(clock.clone(), Arc::new(SystemEntropy), &provider, Options::default());
        let serving = CancellationToken::new();
        let gate = held::Gate::default();
        tokio::spawn(axum_serve(listener, gate.around(sandbox.router()), serving.clone()));
        let database = match database {
            Some(database) => database,
            None => Arc::new(Database::migrated().await),
        };
        Self { clock, sandbox, provider, database, gate, _serving: serving.drop_guard() }
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let world = Arc::new(World::new(setup.database.clone()).await);
        Box::pin(Self::on(world, setup, 0, TimeDelta::zero())).await
    }

    /// Another node of the same setting: the same database, the same provider, the same time.
    pub async fn another_node(&self) -> Self {
        self.another_node_ahead(TimeDelta::zero()).await
    }

    /// The same, but its clock is ahead.
    pub async fn another_node_ahead(&self, by: TimeDelta) -> Self {
        Box::pin(Self::on(self.world.clone(), self.setup.clone(), 0, by)).await
    }

    /// Stops the server and starts it once more, at the same address.
    pub async fn restarts(self) -> Self {
        self.restarts_after(async |_| {}).await
    }

    /// The same; while no server runs, `meanwhile` has the database.
    pub async fn restarts_after(self, meanwhile: impl AsyncFnOnce(&Database)) -> Self {
        let Self { url, setup, world, running, listening, .. } = self;
        drop(running);
        listening.await.unwrap();
        meanwhile(&world.database).await;
        Box::pin(Self::on(world, setup, url.port().unwrap(), TimeDelta::zero())).await
    }

    async fn on(world: Arc<World>, setup: Setup, port: u16, ahead: TimeDelta) -> Self {
        let World { clock, sandbox, provider, database, .. } = &*world;
        let (listener, url) = listener(port).await;
        let connectors = connectors(sandbox, provider, &setup.connectors);
        let folder = connector_files(&database.folder(), sandbox, &connectors);
        let variables = variables(database, &folder, provider, sandbox, &connectors, &setup);
        let mut config = Config::from_variables(variables).unwrap();
        // A provider of these tests takes a new token at once, or not at all.
        config.limits.token_taken_within = std::time::Duration::from_millis(20);
        if let Some(change) = setup.limits {
            change(&mut config.limits);
        }
        let setup_runs = setup.jobs_run;
        let resolver = setup.resolver.clone().unwrap_or_else(|| Arc::new(SystemResolver));
        let entropy = Arc::new(SystemEntropy);
        let its_clock = Arc::new(AheadClock { of: clock.clone(), by: ahead });
        let database_deadline = setup.database_deadline.unwrap_or(DEADLINE);
        let statements = setup.statements.clone();
        let outside = Outside { clock: its_clock, entropy, resolver, database_deadline, statements };
        let stop = CancellationToken::new();
        let mut app =
            Box::pin(App::build(&config, listener.local_addr().unwrap(), outside, stop.clone())).await.unwrap();
        let (jobs, db, people, tasks) = (app.jobs.clone(), app.db.clone(), app.people.clone(), app.tasks.clone());
        let jwt = JwtSecret::new(&JWT_SECRET.into()).unwrap();
        let listening = tokio::spawn(async move {
            if setup_runs { app.run(listener).await.unwrap() } else { app.listen(listener).await }
        });

        let admin = found(&people, &jwt, clock, &url, "Lighthouse", "mara@lighthouse.example").await;
        let (clock, sandbox, database) = (clock.clone(), sandbox.clone(), database.clone());
        let running = stop.drop_guard();
        Self { url, clock, sandbox, jobs, db, people, tasks, database, admin, jwt, setup, world, running, listening }
    }

    /// The ADMIN of another workspace on the same server.
    pub async fn stranger(&self) -> Person {
        found(&self.people, &self.jwt, &self.clock, &self.url, "Elsewhere", "eve@elsewhere.example").await
    }

    /// A new person of the first workspace; a CLIENT belongs to `client`.
    pub async fn person(&self, name: &str, role: &str, client: Option<&str>) -> Person {
        let input = serde_json::json!({
            "name": name, "email": format!("{}@lighthouse.example", name.to_lowercase()), "role": role, "clientId": client,
        });
        let created = self
            .admin
            .ask(
                "mutation($input: CreateUserInput!) { createUser(input: $input) { user { id } errors { message } } }",
                input,
            )
            .await;
        let id = created["createUser"]["user"]["id"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned();
        self.signed_in(&id)
    }

    /// Somebody who exists, with a token of an hour.
    pub fn signed_in(&self, id: &str) -> Person {
        Person::new(&self.url, id, self.token(id, TimeDelta::hours(1)))
    }

    /// A token that lives for `lifetime` from now.
    pub fn token(&self, user: &str, lifetime: TimeDelta) -> String {
        let user = ids::decode(Kind::User, user).unwrap();
        self.jwt.issue(user, self.clock.now(), lifetime).unwrap()
    }

    /// Lets time pass.
    pub fn later(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// One round of every job.
    pub async fn run_jobs(&self) {
        self.jobs.run_due().await.unwrap();
    }

    /// Job ticks, each with its round.
    pub async fn after_ticks(&self, ticks: usize) {
        for _ in 0..ticks {
            self.later(TimeDelta::seconds(5));
            self.run_jobs().await;
        }
    }

    /// Lets a probe interval pass, and the jobs do their round.
    pub async fn after_a_probe_interval(&self) {
        self.later(TimeDelta::minutes(17));
        self.run_jobs().await;
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser::new(self.sandbox.clone())
    }
}

/// At `port`, or at any that is free for 0.
async fn listener(port: u16) -> (TcpListener, Url) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    (listener, url)
}

async fn axum_serve(listener: TcpListener, router: axum::Router, stop: CancellationToken) {
    patchbay::http::server::serve(listener, router, &Limits::default(), &TrustedProxies::default(), stop).await;
}

/// Name and text of every connector file.
fn connectors(sandbox: &Sandbox, provider: &Url, more: &[(String, String)]) -> Vec<(String, String)> {
    let base = provider.as_str().trim_end_matches('/');
    let more = more.iter().map(|(name, text)| (name.clone(), text.replace("@BASE@", base)));
    sandbox.connector_files().into_iter().chain(more).collect()
}

fn connector_files(folder: &std::path::Path, sandbox: &Sandbox, files: &[(String, String)]) -> PathBuf {
    let folder = folder.join(format!("connectors-{}", sandbox.client_secret().expose_secret()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn variables(
    database: &Database,
    folder: &std::path::Path,
    provider: &Url,
    sandbox: &Sandbox,
    connectors: &[(String, String)],
    setup: &Setup,
) -> Vec<(String, String)> {
    let host = format!("{}:{}", provider.host_str().unwrap(), provider.port().unwrap());
    let hosts: Vec<String> = std::iter::once(host).chain(setup.also_allowed.iter().cloned()).collect();
    let mut variables = vec![
        ("PATCHBAY_DATABASE_URL".to_owned(), database.url().to_owned()),
        ("PATCHBAY_ENCRYPTION_KEYS".to_owned(), KEYS.to_owned()),
        ("PATCHBAY_JWT_SECRET".to_owned(), JWT_SECRET.to_owned()),
        ("PATCHBAY_CONNECTORS_DIR".to_owned(), folder.display().to_string()),
        ("PATCHBAY_ALLOWED_HOSTS".to_owned(), hosts.join(",")),
        ("PATCHBAY_ALLOWED_ORIGINS".to_owned(), "https://app.example".to_owned()),
    ];
    variables.extend(database::pool().map(|size| ("PATCHBAY_DATABASE_POOL".to_owned(), size)));
    for (name, _) in connectors {
        let slug = name.trim_end_matches(".toml").replace('-', "_").to_uppercase();
        variables.push((format!("PATCHBAY_OAUTH_{slug}_CLIENT_ID"), sandbox.client_id().to_owned()));
        let secret = sandbox.client_secret().expose_secret().to_owned();
        variables.push((format!("PATCHBAY_OAUTH_{slug}_CLIENT_SECRET"), secret));
    }
    for (name, value) in setup.settings.iter().cloned() {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    }
    variables
}

async fn found(people: &People, jwt: &JwtSecret, clock: &HandClock, url: &Url, name: &str, email: &str) -> Person {
    let new =
        CreateWorkspace { name: name.to_owned(), admin_name: Some("Mara".to_owned()), admin_email: email.to_owned() };
    // A second node on the same database finds the workspace there.
    let admin = match people.active_by_email(email, None).await.unwrap().pop() {
        Some(admin) => admin,
        None => people.create_workspace(new).await.unwrap().admin,
    };
    let token = jwt.issue(admin.id, clock.now(), TimeDelta::hours(24)).unwrap();
    Person::new(url, &ids::encode(Kind::User, admin.id), token)
}
