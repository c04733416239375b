//! Keys are rotated while servers are at work: everything is sealed anew with the first key, nothing is lost by a kill or by
//! others who write, and what an old key still seals is said.

use std::{collections::BTreeSet, path::Path, process::Output, sync::Arc, time::Duration};

use entity::{attempt, give_back, kept_answer};
use patchbay::{
    clock::SystemEntropy,
    sandbox::{Endpoint, Fault},
    vault::{Rotation, SealedColumn, Vault},
};
use sea_orm::{
    IntoActiveModel, QueryFilter,
    sea_query::{Expr, ExprTrait as _, Func},
};
use serde_json::Value;
use tokio::process::Command;

use super::*;
use crate::harness::{Database, Setup, http, within_patience};

const NEW: &str = "new:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// Columns of bytes that hold no secrets: hashes, a key that authenticates cursors, and what is packed or compressed.
const UNSEALED: [(&str, &str); 7] = [
    ("api_key", "hash"),
    ("attempt", "browser_hash"),
    ("attempt", "state_hash"),
    ("journal_entry", "facts"),
    ("link", "token_hash"),
    ("snapshot_part", "body"),
    ("workspace", "cursor_key"),
];

fn both() -> String {
    format!("{NEW},{KEYS}")
}

fn vault(keys: &str) -> Vault {
    Vault::new(&keys.into(), Arc::new(SystemEntropy)).unwrap()
}

fn command(database: &Database, keys: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
    command
        .args(["keys", "rotate"])
        .current_dir(database.folder())
        .env_clear()
        .env("PATCHBAY_DATABASE_URL", database.url())
        .env("PATCHBAY_ENCRYPTION_KEYS", keys)
        .env("PATCHBAY_JWT_SECRET", JWT_SECRET)
        .kill_on_drop(true);
    command
}

async fn rotates(database: &Database, keys: &str) -> (Option<i32>, String, String) {
    let ended = tokio::time::timeout(Duration::from_secs(60), command(database, keys).output()).await;
    let Output { status, stdout, stderr } = ended.expect("it goes on for ever").unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// What every sealed column holds, with its place.
async fn all_sealed(stage: &Stage) -> Vec<(SealedColumn, uuid::Uuid, Vec<u8>)> {
    let db = stage.db.reader();
    let mut all = Vec::new();
    let authorizations = authorization::Entity::find().all(db).await.unwrap();
    all.extend(
        authorizations
            .into_iter()
            .filter_map(|row| Some((SealedColumn::AuthorizationCredential, row.id, row.credential?))),
    );
    let attempts = attempt::Entity::find().all(db).await.unwrap();
    all.extend(attempts.into_iter().filter_map(|row| Some((SealedColumn::AttemptSecret, row.id, row.secret?))));
    let answers = kept_answer::Entity::find().all(db).await.unwrap();
    all.extend(answers.into_iter().map(|row| (SealedColumn::KeptAnswer, row.id, row.sealed)));
    let grants = give_back::Entity::find().all(db).await.unwrap();
    all.extend(grants.into_iter().map(|row| (SealedColumn::GiveBackCredential, row.id, row.credential)));
    all
}

/// Creates a client under an idempotency key.
async fn creates(stage: &Stage, who: &crate::harness::Person, name: &str) -> Value {
    let query = format!("mutation {{ createClient(input: {{ name: \"{name}\" }}) {{ client {{ id }} }} }}");
    let request = http().post(stage.url.join("/graphql").unwrap()).header("idempotency-key", name);
    request.bearer_auth(&who.token).json(&json!({ "query": query })).send().await.unwrap().json().await.unwrap()
}

/// Something in every sealed column: a connection of it, and the answer that is kept.
async fn something_of_each(stage: &Stage) -> (String, Value) {
    let site = json!({ "connector": "sandbox-analytics" });
    let gone = stage.admin.connects(&stage.browser(), site.clone(), "ada").await;
    stage.sandbox.fail_next(Endpoint::Revoke, Fault::ServerError, 100);
    stage.admin.does("removeConnection", json!({ "connectionId": gone["id"] }), "").await;
    let kept = stage.admin.connects(&stage.browser(), site, "ben").await;
    let (_, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-ads" })).await;
    stage.browser().signs_in(&url, "ada").await;
    let answer = creates(stage, &stage.admin, "Acme").await;
    keyed(stage, 0).await;
    (kept["id"].as_str().unwrap().to_owned(), answer)
}

#[test]
fn every_column_of_bytes_is_known_to_hold_secrets_or_none() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("entity/src");
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let Some((_, after)) = source.split_once("table_name = \"") else { continue };
        let table = after.split_once('"').unwrap().0;
        for line in source.lines().filter(|line| line.contains("Vec<u8>")) {
            let column = line.trim().trim_start_matches("pub ").split(':').next().unwrap();
            found.insert((table.to_owned(), column.to_owned()));
        }
    }
    let sealed = SealedColumn::ALL.map(|column| (column.table(), column.column()));
    let known = sealed.into_iter().chain(UNSEALED).map(|(table, column)| (table.to_owned(), column.to_owned()));
    assert_eq!(found, known.collect::<BTreeSet<_>>(), "a column of secrets has to be in `SealedColumn`");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_sealed_with_the_first_key_and_the_old_one_may_go() {
    let stage = Stage::new().await;
    let (connection, answer) = something_of_each(&stage).await;
    let before = all_sealed(&stage).await;
    let columns: BTreeSet<SealedColumn> = before.iter().map(|(column, ..)| *column).collect();
    assert_eq!(columns, BTreeSet::from(SealedColumn::ALL), "there is something to rotate in each");

    let (code, said, log) = rotates(&stage.database, &both()).await;
    assert_eq!(code, Some(0), "{log}");
    let count = before.len();
    assert_eq!(
        said,
        format!("new: {count} secrets, {count} of them sealed anew just now\ntest: no secrets left; it may go\n")
    );
    for (column, row, sealed) in all_sealed(&stage).await {
        let was = before.iter().find(|one| (one.0, one.1) == (column, row)).unwrap();
        let opened = vault(NEW).open(column.of(row), &sealed).unwrap();
        assert_eq!(opened, vault(KEYS).open(column.of(row), &was.2).unwrap(), "{column:?}");
    }
    let (code, said, _) = rotates(&stage.database, &both()).await;
    assert_eq!(
        (code, said.lines().next()),
        (Some(0), Some(&*format!("new: {count} secrets, 0 of them sealed anew just now")))
    );

    // Without the old key everything goes on.
    let settings = vec![("PATCHBAY_ENCRYPTION_KEYS".to_owned(), NEW.to_owned())];
    let new = Stage::with(Setup { settings, database: Some(stage.database.clone()), ..Setup::default() }).await;
    let admin = new.admin.clone();
    assert_eq!(creates(&new, &admin, "Acme").await, answer, "what was kept");
    assert_eq!(admin.connection(&connection).await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_loses_nothing_and_another_ends_it() {
    let stage = Stage::new().await;
    creates(&stage, &stage.admin, "Acme").await;
    let one = kept_answer::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    let old = vault(KEYS);
    let count = 20_000_u64;
    let rows: Vec<_> = (1..count)
        .map(|number| {
            let id = uuid::Uuid::from_u128(rand::random());
            let sealed = old.seal(SealedColumn::KeptAnswer.of(id), format!("secret {id}").as_bytes());
            kept_answer::Model { id, idempotency_key: number.to_string(), sealed, ..one.clone() }.into_active_model()
        })
        .collect();
    for part in rows.chunks(1_000) {
        kept_answer::Entity::insert_many(part.iter().cloned()).exec_without_returning(stage.db.writer()).await.unwrap();
    }
    let anew = async || {
        let beginning = Func::cust("substr").args([Expr::col(kept_answer::Column::Sealed), Expr::val(1), Expr::val(5)]);
        let mark = Expr::expr(beginning).eq(b"\x01\x03new".to_vec());
        let these = kept_answer::Entity::find().filter(mark);
        sea_orm::PaginatorTrait::count(these, stage.db.reader()).await.unwrap()
    };
    let mut running = command(&stage.database, &both()).stdout(std::process::Stdio::null()).spawn().unwrap();
    within_patience(async {
        while anew().await == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    running.kill().await.unwrap();
    let done = anew().await;
    assert!((1..count).contains(&done), "it was killed in the middle: {done} of {count}");

    let opens = async |keys: &str| {
        let ring = vault(keys);
        let mut opened = 0_u64;
        for row in kept_answer::Entity::find().all(stage.db.reader()).await.unwrap() {
            let secret = ring.open(SealedColumn::KeptAnswer.of(row.id), &row.sealed).unwrap();
            assert!(row.id == one.id || secret.as_slice() == format!("secret {}", row.id).as_bytes());
            opened += 1;
        }
        opened
    };
    assert_eq!(opens(&both()).await, count, "each opens with one of the two");
    let (code, said, log) = rotates(&stage.database, &both()).await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(
        said,
        format!(
            "new: {count} secrets, {} of them sealed anew just now\ntest: no secrets left; it may go\n",
            count - done
        )
    );
    assert_eq!(opens(NEW).await, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_that_go_on_meanwhile_are_not_undone() {
    // It seals with the old key still, as a node does that has not been restarted, and opens what the new one sealed.
    let settings = vec![("PATCHBAY_ENCRYPTION_KEYS".to_owned(), format!("{KEYS},{NEW}"))];
    let stage = Stage::with(Setup { settings, ..Setup::default() }).await;
    stage.shops(&["lamps", "hotels", "orchards", "fjord", "harbour"]).await;
    let rotation = Arc::new(Rotation::new(stage.db.clone(), vault(&both())));
    for _ in 0..4 {
        stage.later(chrono::TimeDelta::hours(12));
        let rotating = async {
            for _ in 0..5 {
                rotation.run().await.unwrap();
            }
        };
        tokio::join!(stage.run_jobs(), rotating, async { rotation.run().await.unwrap() });
    }
    for connection in
        stage.admin_now().sees("{ connections { nodes { status } } }").await["connections"]["nodes"].as_array().unwrap()
    {
        assert_eq!(connection["status"], "CONNECTED");
    }
    let rotated = rotation.run().await.unwrap();
    assert_eq!((rotated.keys[1].secrets, rotated.unknown, rotated.unopened.len()), (0, 0, 0));
    let ring = vault(NEW);
    for row in authorization::Entity::find().all(stage.db.reader()).await.unwrap() {
        ring.open(SealedColumn::AuthorizationCredential.of(row.id), row.credential.as_deref().unwrap()).unwrap();
        assert!(row.credential_version > 1, "it was renewed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_is_named_and_its_key_has_to_stay() {
    let stage = Stage::new().await;
    let connection = keyed(&stage, 0).await;
    keyed(&stage, 1).await;
    let found = row(&stage, &connection).await;
    let mut damaged = found.credential.clone().unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    tamper(&stage, &found, damaged.clone()).await;
    let (code, said, log) = rotates(&stage.database, &both()).await;
    assert_eq!(
        (code, &*said),
        (Some(1), "new: 1 secret, 1 of them sealed anew just now\ntest: 1 secret left; it has to stay\n"),
        "{log}"
    );
    assert!(
        log.contains(&found.id.to_string()) && log.contains("damaged") && log.contains("1 secret is not sealed"),
        "{log}"
    );
    assert_eq!(row(&stage, &connection).await.credential, Some(damaged), "it stays as it is");
    // With a key that is missing it is the same.
    let (code, said, log) = rotates(&stage.database, "third:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=").await;
    assert_eq!((code, &*said), (Some(1), "third: 0 secrets, 0 of them sealed anew just now\n"), "{log}");
    assert!(log.contains("a key that is not configured") && log.contains("2 secrets are not sealed"), "{log}");
    for secret in [&NEW[4..], &KEYS[5..], "AgICAgIC"] {
        assert!(!log.contains(secret) && !said.contains(secret));
    }
}
