//! A database for one test: a SQLite file, or a PostgreSQL database where `PATCHBAY_TEST_POSTGRES` names a server.

use std::path::PathBuf;

use sea_orm::{ConnectionTrait, Database as SeaOrm};
use tempfile::TempDir;
use url::Url;

/// Gone, with all that is in it, once the test has ended.
pub struct Database {
    url: String,
    folder: TempDir,
    /// The server's own database, and the name of ours there.
    postgres: Option<(String, String)>,
}

impl Database {
    pub async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let Some(server) = server() else {
            let url = format!("sqlite://{}", folder.path().join("test.db").display());
            return Self { url, folder, postgres: None };
        };
        let name = format!("patchbay_it_{:032x}", rand::random::<u128>());
        let admin = SeaOrm::connect(&server).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        admin.close().await.unwrap();
        let mut url = Url::parse(&server).unwrap();
        url.set_path(&name);
        Self { url: url.into(), folder, postgres: Some((server, name)) }
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
}

#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
fn server() -> Option<String> {
    std::env::var("PATCHBAY_TEST_POSTGRES").ok().filter(|server| !server.is_empty())
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some((server, name)) = self.postgres.take() else { return };
        // A test's runtime may be gone already.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin = SeaOrm::connect(&server).await.unwrap();
                admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
            });
        });
        dropping.join().unwrap();
    }
}
