//! Secrets: sealed where they lie, refused when they were touched, erased when they are no longer needed, shown nowhere.

mod damaged;
mod keys;
mod planted;
mod rotation;

use entity::authorization;
use patchbay::{
    config::Config,
    ids::{self, Kind},
    provider::Credential,
};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait};
use serde_json::json;

use crate::harness::{Database, JWT_SECRET, KEYS, Stage};

/// Connects with the sandbox's key of this number: the connection's id.
async fn keyed(stage: &Stage, key: usize) -> String {
    let fields = json!([{ "name": "api_key", "value": stage.sandbox.keys()[key].value }]);
    let input = json!({ "connector": "sandbox-billing", "using": { "credentials": fields } });
    let payload = stage.admin.does("connect", input, "connection { id }").await;
    payload["connection"]["id"].as_str().unwrap().to_owned()
}

/// The row of a connection's authorization.
async fn row(stage: &Stage, connection: &str) -> authorization::Model {
    let seen = stage.admin.connection(connection).await;
    let id = ids::decode(Kind::Authorization, seen["authorization"]["id"].as_str().unwrap()).unwrap();
    authorization::Entity::find_by_id(id).one(stage.db.reader()).await.unwrap().unwrap()
}

/// Puts another sealed credential into a row, behind the server's back.
async fn tamper(stage: &Stage, row: &authorization::Model, credential: Vec<u8>) {
    let mut changed: authorization::ActiveModel = row.clone().into();
    changed.credential = Set(Some(credential));
    changed.update(stage.db.writer()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_erases_the_secret_here_and_gives_the_grant_back_there() {
    let stage = Stage::new().await;
    let ads = json!({ "connector": "sandbox-analytics" });
    let connection = stage.admin.connects(&stage.browser(), ads, "ada").await;
    let id = connection["id"].as_str().unwrap();
    let before = row(&stage, id).await;
    let sealed = before.credential.clone().unwrap();
    stage.admin.does("removeConnection", json!({ "connectionId": id }), "").await;

    let after = authorization::Entity::find_by_id(before.id).one(stage.db.reader()).await.unwrap().unwrap();
    assert_eq!((after.credential, after.removed_at.is_some()), (None, true));
    assert!(stage.sandbox.grants().iter().all(|grant| grant.ended.is_some()), "the provider ended the grant");
    if stage.database.is_sqlite() {
        stage.db.writer().execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        let files = files(&stage.database.folder());
        assert!(files.iter().any(|(_, bytes)| bytes.starts_with(b"SQLite format 3")));
        for (name, bytes) in files {
            assert!(!holds(&bytes, &sealed), "{name} still holds what was sealed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_has_ended_holds_no_secret() {
    let stage = Stage::new().await;
    let started = async || {
        let input = json!({ "connector": "sandbox-ads", "using": { "browser": {} } });
        let payload = stage.admin.does("connect", input, "attempt { id authorizationUrl }").await["attempt"].clone();
        (payload["id"].as_str().unwrap().to_owned(), payload["authorizationUrl"].as_str().unwrap().to_owned())
    };
    let (cancelled, url) = started().await;
    stage.browser().cancels(&url).await;
    let (decided, url) = started().await;
    stage.browser().signs_in(&url, "ada").await;
    let secrets = async || {
        let rows = entity::attempt::Entity::find().all(stage.db.reader()).await.unwrap();
        rows.iter().filter(|row| row.secret.is_some()).count()
    };
    assert_eq!(secrets().await, 1, "the one that waits for a decision");
    stage.admin.does("decideAttempt", json!({ "attemptId": decided, "accountId": "100-301" }), "").await;
    assert_eq!(secrets().await, 0, "{cancelled} and {decided} have ended");
    let (_, url) = started().await;
    stage.browser().signs_in(&url, "ben").await;
    assert_eq!(secrets().await, 1);
    stage.later(chrono::TimeDelta::hours(1));
    stage.run_jobs().await;
    assert_eq!(secrets().await, 0, "nobody decided in time");
    assert!(stage.sandbox.grants().last().unwrap().ended.is_some(), "and the grant was given back");
}

#[test]
fn debug_shows_no_secret() {
    let variables = [
        ("PATCHBAY_ENCRYPTION_KEYS", KEYS),
        ("PATCHBAY_JWT_SECRET", JWT_SECRET),
        ("PATCHBAY_DATABASE_URL", "postgres://me:planted-password@db.example/patchbay"),
        ("PATCHBAY_OAUTH_GOOGLE_ADS_CLIENT_SECRET", "planted-client-secret"),
        ("PATCHBAY_OAUTH_GOOGLE_ADS_DEVELOPER_TOKEN", "planted-developer-token"),
    ];
    let config = Config::from_variables(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
    let credential: Credential = serde_json::from_value(json!({
        "fields": { "api_key": "planted-key", "shop": "planted-shop" },
        "oauth": {
            "access_token": "planted-access", "token_type": "Bearer", "refresh_token": "planted-refresh",
            "access_expires_at": null, "scopes": [], "ends_at": null,
        },
        "token": { "instance_url": "planted-kept" },
        "identity": { "dc": "planted-told" },
    }))
    .unwrap();
    for shown in [format!("{config:?} {config:#?}"), format!("{credential:?} {credential:#?}")] {
        assert!(!shown.contains("planted") && !shown.contains(JWT_SECRET) && !shown.contains(&KEYS[5..]), "{shown}");
    }
}

/// Every file of a folder and below, with its name.
fn files(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    files
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_database_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let database = Database::new().await;
    let folder = database.folder();
    let db = patchbay::db::Db::open(&format!("sqlite://{}", folder.join("own.db").display()), 2).await.unwrap();
    db.migrate().await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["own.db", "own.db-wal", "own.db-shm"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    db.close().await;
    // One that the operator gave other rights keeps them.
    let shared = folder.join("shared.db");
    std::fs::write(&shared, "").unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o660)).unwrap();
    patchbay::db::Db::open(&format!("sqlite://{}", shared.display()), 1).await.unwrap().close().await;
    assert_eq!(mode(&shared), 0o660);
}
