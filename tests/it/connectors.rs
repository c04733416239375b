//! The connectors that are built in: each can be connected against the answers that its provider's documentation shows,
//! and its file says what people and operators need to know.
//!
//! `connectors/answers/SLUG.json` holds the answers of one provider, with the pages that show them; see
//! [`script::Script`]. A connector without one fails here. Databases answer no requests and have none: they are asked for
//! real by the tests of `src/provider/sql`.

mod files;
mod replay;
mod script;

use std::{
    fs,
    path::{Path, PathBuf},
};

use patchbay::catalogue;
use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage};

use self::{
    replay::Replay,
    script::{Account, Script, Verdict},
};

/// Slug and text of the built-in connectors that are asked over HTTP.
fn asked_over_http() -> Vec<(String, String)> {
    let is_database = |text: &str| catalogue::parse("", text).unwrap().driver().is_some();
    built_in().into_iter().filter(|(_, text)| !is_database(text)).collect()
}

/// Slug and text of every built-in connector file, by slug.
fn built_in() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    paths.sort();
    let slug = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (slug(path), fs::read_to_string(path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connects_renews_and_breaks_by_the_answers_of_its_documentation() {
    let mut failed = Vec::new();
    for (slug, file) in asked_over_http() {
        eprintln!("{slug}:");
        if tokio::spawn(plays(slug.clone(), file)).await.is_err() {
            failed.push(slug);
        }
    }
    assert_eq!(failed, Vec::<String>::new());
}

/// Connects one connector and lets a day pass; then comes what its provider says when things go wrong.
async fn plays(slug: String, file: String) {
    let script = Script::of(&slug);
    let replay = Replay::new(&script).await;
    let stage = Stage::with(replay.setup(&slug, &file, &script)).await;

    replay.plays(&script.connect);
    let connection = match &script.authorize {
        Some(_) => signs_in(&stage, &slug, &script, &replay).await,
        None => gives_a_key(&stage, &slug, &script).await,
    };
    replay.was_asked_for_all();
    let fresh = is_as_expected(&stage, &connection, &script).await;

    replay.plays(&script.day_later);
    stage.later(chrono::TimeDelta::hours(27));
    stage.run_jobs().await;
    replay.was_asked_for_all();
    still_works(&stage, &connection, &script, &fresh).await;

    for verdict in &script.verdicts {
        replay.plays_before(&verdict.exchanges, &script.day_later);
        comes_to(&stage.admin_now(), &connection, verdict).await;
        replay.was_asked_for_all();
    }
}

/// Signs in as the script's person and chooses its account; the connection's id.
async fn signs_in(stage: &Stage, slug: &str, script: &Script, replay: &Replay) -> String {
    let fields: Vec<Value> =
        script.fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let input = json!({ "connector": slug, "using": { "browser": { "fields": fields } } });
    let (attempt, url) = stage.admin.starts_connecting(input).await;
    let browser = stage.browser();
    let callback = replay.sends_back(&browser.departs(&url).await, script);
    let landing = browser.opens(callback.as_str()).await;
    assert_eq!(landing.status, 200, "{}", landing.body);

    let mut seen = stage.admin.attempt(&attempt).await;
    assert_eq!(seen["signedInAs"], script.expect.account.json(), "{seen:#}");
    if let Some(choice) = &script.expect.choose {
        assert_eq!(seen["status"], "NEEDS_DECISION", "{seen:#}");
        let listed = seen["availableAccounts"]["nodes"].as_array().unwrap();
        let mut listed: Vec<Account> = listed.iter().map(Account::of).collect();
        listed.sort();
        assert_eq!(listed, script.expect.accounts, "by id");
        stage.admin.does("decideAttempt", json!({ "attemptId": attempt, "accountId": choice }), "attempt { id }").await;
        seen = stage.admin.attempt(&attempt).await;
    }
    assert_eq!(seen["status"], "SUCCEEDED", "{seen:#}");
    seen["connections"][0]["id"].as_str().unwrap().to_owned()
}

/// Connects with the script's fields as the credentials; the connection's id.
async fn gives_a_key(stage: &Stage, slug: &str, script: &Script) -> String {
    let credentials: Vec<Value> =
        script.fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let input = json!({
        "connector": slug, "accountId": script.expect.choose, "using": { "credentials": credentials },
    });
    let connected = stage.admin.does("connect", input, "connection { id }").await;
    connected["connection"]["id"].as_str().unwrap().to_owned()
}

/// Whose it is, what it reads and what was granted; the grant.
async fn is_as_expected(stage: &Stage, connection: &str, script: &Script) -> Value {
    let seen = stage.admin.connection(connection).await;
    assert_eq!(seen["status"], "CONNECTED", "{seen:#}");
    assert_eq!(seen["authorization"]["account"], script.expect.account.json());
    let chosen = script.expect.chosen().map_or(Value::Null, Account::json);
    assert_eq!(seen["account"], chosen, "{seen:#}");
    let grant = grant(&stage.admin, connection).await;
    assert_eq!(grant["scopes"], json!(script.expect.scopes));
    assert_eq!(grant["missingScopes"], json!([]));
    lives(stage, &grant, script.expect.lives);
    grant
}

async fn still_works(stage: &Stage, connection: &str, script: &Script, fresh: &Value) {
    let seen = stage.admin_now().connection(connection).await;
    assert_eq!(seen["status"], "CONNECTED", "{seen:#}");
    let grant = grant(&stage.admin_now(), connection).await;
    assert_eq!(grant["scopes"], json!(script.expect.scopes), "a renewal takes none away");
    assert_eq!(script.renews(), grant["lastRefreshedAt"] != fresh["lastRefreshedAt"], "{grant:#}");
    lives(stage, &grant, script.expect.lives_a_day_later);
}

/// The grant's end is that many seconds away; `None`: it has none.
fn lives(stage: &Stage, grant: &Value, seconds: Option<i64>) {
    use patchbay::clock::Clock;
    let end = grant["expiresAt"].as_str().map(|end| end.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
    match (end, seconds) {
        (None, None) => {}
        (Some(end), Some(seconds)) => {
            let off = (end - stage.clock.now()).num_seconds() - seconds;
            assert!(off.abs() <= 60, "{off} s off: {grant:#}");
        }
        _ => panic!("it should live for {seconds:?} s: {grant:#}"),
    }
}

async fn grant(person: &Person, connection: &str) -> Value {
    let query =
        "query($id: ID) { connection(id: $id) { authorization { scopes missingScopes expiresAt lastRefreshedAt } } }";
    let seen = person.ask(query, json!({ "variables": { "id": connection } })).await;
    seen["connection"]["authorization"].clone()
}

/// Has the connection looked at, which comes to the verdict's reason, or leaves it connected.
async fn comes_to(person: &Person, connection: &str, verdict: &Verdict) {
    let input = json!({ "connectionId": connection });
    let seen = person.does("checkConnection", input, &format!("connection {{ {CONNECTION} }}")).await;
    let reason = seen["connection"]["disconnection"]["reason"].as_str();
    assert_eq!(reason, verdict.reason.as_deref(), "{}: {seen:#}", verdict.when);
}
