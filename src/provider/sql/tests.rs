//! Databases, tried for real where the environment names one, and what comes before any database is asked.

mod guard;
mod mysql;
mod postgres;

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::net::TcpListener;
use url::Url;

use super::{target::Target, way::Way, *};
use crate::{
    catalogue,
    clock::SystemClock,
    provider::{OAuthSettings, Query, outbound::Limits},
};

const LIMITS: RowLimits = RowLimits { pages: 1, rows: 100_000, bytes: 1 << 20, time: Duration::from_secs(20) };

fn connector(driver: Driver) -> Connector {
    let file = match driver {
        Driver::Postgres => include_str!("../../../connectors/postgresql.toml"),
        Driver::MySql => include_str!("../../../connectors/mysql.toml"),
    };
    catalogue::parse("database.toml", file).unwrap()
}

fn credential(fields: &[(&str, &str)]) -> Credential {
    let usual = [("host", "db.example"), ("database", "shop"), ("username", "ann"), ("password", "planted")];
    let fields: BTreeMap<String, String> =
        usual.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Credential { fields, ..Credential::default() }
}

/// A target, and a way to where nobody says anything.
pub(super) async fn nowhere() -> (Target, Way) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port().to_string();
    let target = Target::of(Driver::Postgres, &credential(&[("host", "127.0.0.1"), ("port", &port)])).unwrap();
    let outbound = Outbound::new(vec![address.to_string().parse().unwrap()]).unwrap();
    let way = Way::open(&outbound, &target, 1000).await.unwrap();
    (target, way)
}

/// A real database, and who asks it.
struct Live {
    provider: Provider,
    connector: Connector,
    driver: Driver,
    credential: Credential,
}

impl Live {
    /// The database that the variable names. Where it names none the test is left out; under CI that is a failure, save in
    /// the round that is SQLite's.
    #[expect(clippy::disallowed_methods, reason = "the tests' own settings")]
    fn named_by(variable: &str, driver: Driver) -> Option<(Self, Url)> {
        let Some(url) = std::env::var(variable).ok().filter(|url| !url.is_empty()) else {
            let whole = std::env::var_os("CI").is_some() && std::env::var_os("PATCHBAY_TEST_SQLITE_ROUND").is_none();
            assert!(!whole, "{variable} names no database; set it, or PATCHBAY_TEST_SQLITE_ROUND where that is meant");
            eprintln!("left out: {variable} names no database");
            return None;
        };
        let url: Url = url.parse().unwrap();
        let port = url.port().unwrap_or(driver.default_port()).to_string();
        let host = url.host_str().unwrap();
        let provider = Provider::new(
            Outbound::new(vec![format!("{host}:{port}").parse().unwrap()]).unwrap(),
            OAuthSettings::default(),
            Arc::new(SystemClock),
        );
        let credential = credential(&[
            ("host", host),
            ("port", &port),
            ("database", url.path().trim_start_matches('/')),
            ("username", url.username()),
            ("password", url.password().unwrap_or("none")),
        ]);
        Some((Self { provider, connector: connector(driver), driver, credential }, url))
    }

    async fn read(&self, sql: &str, limits: &RowLimits) -> Result<Rows, NoRows> {
        let query = Query::Sql(sql.to_owned());
        self.provider.read(&self.connector, &self.credential, None, &query, limits, Haste::AtOnce).await
    }

    /// The rows as JSON.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.read(sql, &LIMITS).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.rows.iter().map(|row| row.get().to_owned()).collect()
    }

    /// The values of the one row, which has one column each.
    async fn value(&self, expression: &str) -> String {
        let row = self.rows(&format!("SELECT {expression} AS v")).await.concat();
        row.strip_prefix("{\"v\":").and_then(|row| row.strip_suffix('}')).expect(&row).to_owned()
    }

    /// What is wrong with a query.
    async fn fault(&self, sql: &str) -> String {
        match self.read(sql, &LIMITS).await {
            Err(NoRows::Query(sentence)) => sentence,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// What is too much, for limits that are usual but for this.
    async fn too_much(&self, sql: &str, limits: RowLimits) -> String {
        match self.read(sql, &limits).await {
            Err(NoRows::TooMuch(sentence)) => sentence,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The same with another field.
    fn with(&self, name: &str, value: &str) -> Self {
        let mut credential = self.credential.clone();
        credential.fields.insert(name.to_owned(), value.to_owned());
        Self { provider: self.provider.clone(), connector: self.connector.clone(), driver: self.driver, credential }
    }

    async fn probe(&self) -> Result<(), Failure> {
        self.provider.probe(&self.connector, &self.credential, None).await
    }
}

#[tokio::test]
async fn a_session_that_panics_ends_as_one_that_is_not_understood() {
    let ended: Result<(), Failure> = apart(async { panic!("as a driver would") }).await;
    assert_eq!(ended, Err(Failure::transient(classify::NOT_UNDERSTOOD)));
}
