//! A database for one test: a SQLite file, or a PostgreSQL database where `PATCHBAY_TEST_POSTGRES` names a server.
//!
//! Migrating takes longer than many a test, so the migrations run once in each process, and databases are copied from
//! what they made.

use std::{
    path::PathBuf,
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use patchbay::db::Db;
use sea_orm::sqlx::{AssertSqlSafe, Connection, PgConnection, query_scalar, raw_sql};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::spawn_blocking};
use url::Url;

/// The name of a database that a test process copies begins so.
const TEMPLATE: &str = "patchbay_it_template_";

/// The shortest and the longest deadline of a test that waits for one.
const SHORT: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(6);

/// Gone, with all that is in it, once the test has ended.
pub struct Database {
    url: String,
    folder: TempDir,
    /// Its name, where it is a PostgreSQL server's.
    postgres: Option<String>,
}

impl Database {
    /// Without tables, as an operator hands it over.
    pub async fn new() -> Self {
        spawn_blocking(|| Self::made(false)).await.unwrap()
    }

    /// With all tables, and nothing in them.
    pub async fn migrated() -> Self {
        spawn_blocking(|| Self::made(true)).await.unwrap()
    }

    fn made(migrated: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let Some(postgres) = Postgres::of_this_process() else {
            let file = folder.path().join("test.db");
            if migrated {
                std::fs::write(&file, migrated_file()).unwrap();
            }
            return Self { url: format!("sqlite://{}", file.display()), folder, postgres: None };
        };
        let name = format!("patchbay_it_{:032x}", rand::random::<u128>());
        let template = if migrated { format!(" TEMPLATE {}", postgres.template) } else { String::new() };
        postgres.execute(format!("CREATE DATABASE {name}{template}"));
        Self { url: at(&postgres.server, &name), folder, postgres: Some(name) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A folder of the test's own; the SQLite file is in it.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn is_sqlite(&self) -> bool {
        self.postgres.is_none()
    }

    /// A short deadline for what a server asks of this database, in which it opens new handles all the same. A password is
    /// hashed thousands of times when a handle is opened, which takes an unoptimised build a while; and tests have four
    /// handles opened at once, on one core at worst, in two fifths of the deadline. It leaves twice the time for that.
    pub async fn short_deadline(&self) -> Duration {
        if self.is_sqlite() {
            return SHORT;
        }
        let begun = Instant::now();
        PgConnection::connect(self.url()).await.unwrap().close().await.unwrap();
        (begun.elapsed() * 20).clamp(SHORT * 2, LONGEST)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let (Some(name), Some(postgres)) = (self.postgres.take(), Postgres::of_this_process()) {
            postgres.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// The bytes of a SQLite file after all migrations.
fn migrated_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let making = thread::spawn(|| {
            let folder = TempDir::new().unwrap();
            let file = folder.path().join("template.db");
            runtime().block_on(migrate(&format!("sqlite://{}", file.display())));
            std::fs::read(file).unwrap()
        });
        making.join().unwrap()
    })
}

/// The PostgreSQL server, and the one connection by which this process makes and drops databases there.
struct Postgres {
    server: String,
    template: String,
    orders: mpsc::Sender<(String, mpsc::Sender<()>)>,
}

impl Postgres {
    /// None where the tests run on SQLite.
    fn of_this_process() -> Option<&'static Self> {
        static POSTGRES: OnceLock<Option<Postgres>> = OnceLock::new();
        POSTGRES.get_or_init(|| server().map(Self::start)).as_ref()
    }

    fn start(server: String) -> Self {
        let template = format!("{TEMPLATE}{:016x}", rand::random::<u64>());
        let (orders, taken) = mpsc::channel::<(String, mpsc::Sender<()>)>();
        let (url, name) = (server.clone(), template.clone());
        // It ends with the process, and so does its connection.
        thread::spawn(move || {
            let runtime = runtime();
            let mut admin = runtime.block_on(PgConnection::connect(&url)).unwrap();
            runtime.block_on(drop_templates_left_behind(&mut admin));
            runtime.block_on(make_template(&mut admin, &url, &name));
            for (sql, done) in taken {
                runtime.block_on(execute(&mut admin, sql)).unwrap();
                done.send(()).unwrap();
            }
        });
        Self { server, template, orders }
    }

    /// Returns when it is done. It may be called where nothing can be awaited.
    fn execute(&self, sql: String) {
        let (done, waited) = mpsc::channel();
        self.orders.send((sql, done)).unwrap();
        waited.recv().unwrap();
    }
}

/// A process cannot clean up after its last test, so the next one does: the lock of a process that ended is free.
async fn drop_templates_left_behind(admin: &mut PgConnection) {
    let sql = "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, $1)";
    let names: Vec<String> = query_scalar(sql).bind(TEMPLATE).fetch_all(&mut *admin).await.unwrap();
    for name in names {
        let sql = "SELECT pg_try_advisory_lock(hashtext($1))";
        let ended: bool = query_scalar(sql).bind(&name).fetch_one(&mut *admin).await.unwrap();
        if ended {
            // Another process may have dropped it since.
            let _ = execute(admin, format!("ALTER DATABASE {name} IS_TEMPLATE false")).await;
            execute(admin, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
            execute(admin, format!("SELECT pg_advisory_unlock(hashtext('{name}'))")).await.unwrap();
        }
    }
}

async fn make_template(admin: &mut PgConnection, server: &str, name: &str) {
    execute(admin, format!("SELECT pg_advisory_lock(hashtext('{name}'))")).await.unwrap();
    execute(admin, format!("CREATE DATABASE {name} IS_TEMPLATE true")).await.unwrap();
    migrate(&at(server, name)).await;
}

/// Runs a statement of this module's own making.
async fn execute(admin: &mut PgConnection, sql: String) -> Result<(), sea_orm::sqlx::Error> {
    raw_sql(AssertSqlSafe(sql)).execute(admin).await.map(drop)
}

async fn migrate(url: &str) {
    let db = Db::open(url, 1).await.unwrap();
    db.migrate().await.unwrap();
    db.close().await;
}

/// The address of a database of that server.
fn at(server: &str, name: &str) -> String {
    let mut url = Url::parse(server).unwrap();
    url.set_path(name);
    url.into()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Leaves a test out for want of a PostgreSQL server. Under CI that is a failure, save in the round that is SQLite's.
pub fn leave_out(why: &str) {
    let whole = std::env::var_os("CI").is_some() && std::env::var_os("PATCHBAY_TEST_SQLITE_ROUND").is_none();
    assert!(!whole, "{why}: set PATCHBAY_TEST_POSTGRES, or PATCHBAY_TEST_SQLITE_ROUND where that is meant");
    eprintln!("left out: {why}");
}

fn server() -> Option<String> {
    std::env::var("PATCHBAY_TEST_POSTGRES").ok().filter(|server| !server.is_empty())
}

/// How many handles each server has, where `PATCHBAY_TEST_POOL` says it: with one, whatever needs a second fails.
pub fn pool() -> Option<String> {
    std::env::var("PATCHBAY_TEST_POOL").ok().filter(|size| !size.is_empty())
}
