//! A mutation that is sent again with its `Idempotency-Key`: done once, answered alike; and how much anyone may ask.

mod judged;

use std::{sync::atomic::Ordering, time::Duration};

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use patchbay::sandbox::{Endpoint, Fault};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    crowding::CrowdedProvider,
    harness::{Person, Setup, Stage, Statements, http, leave_out, nodes},
};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a request with a key.
struct Reply {
    status: u16,
    /// Whether it was answered before.
    replayed: bool,
    body: Value,
}

impl Reply {
    fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
    }
}

/// Sends `body` as `person`, under the key.
async fn send(stage: &Stage, person: &Person, key: &str, body: Value) -> Reply {
    let request = http()
        .post(stage.url.join("/graphql").unwrap())
        .header("accept", "application/graphql-response+json")
        .header("idempotency-key", key)
        .bearer_auth(&person.token)
        .json(&body);
    let response = request.send().await.unwrap();
    let replayed = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
    Reply { status: response.status().as_u16(), replayed, body: response.json().await.unwrap() }
}

fn creating(name: &str) -> Value {
    let query =
        "mutation($input: CreateClientInput!) { createClient(input: $input) { client { id } errors { code } } }";
    json!({ "query": query, "variables": { "input": { "name": name } } })
}

async fn clients(stage: &Stage) -> usize {
    nodes(&stage.admin.sees("{ clients { nodes { id } } }").await["clients"]).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_twice_under_one_key_is_done_once_and_answered_alike() {
    let stage = Stage::new().await;
    let first = send(&stage, &stage.admin, "order-1", creating("Acme")).await;
    let again = send(&stage, &stage.admin, "\"order-1\"", creating("Acme")).await;
    assert!(first.body["data"]["createClient"]["client"]["id"].is_string(), "{}", first.body);
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(clients(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_knows_the_answer_and_a_restart_does_not_lose_it() {
    let stage = Stage::new().await;
    let first = send(&stage, &stage.admin, "k", creating("Acme")).await;
    let other = stage.another_node().await;
    assert_eq!(send(&other, &stage.admin, "k", creating("Acme")).await.body, first.body);
    let admin = stage.admin.clone();
    let stage = stage.restarts().await;
    assert_eq!(send(&stage, &admin, "k", creating("Acme")).await.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_the_same_key_is_refused_and_not_done() {
    let stage = Stage::new().await;
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    let other = send(&stage, &stage.admin, "k", creating("Globex")).await;
    assert_eq!((other.status, other.code()), (400, "BAD_USER_INPUT"), "{}", other.body);
    assert!(!other.body.to_string().contains("Globex"));
    assert_eq!(clients(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_senders_own() {
    let stage = Stage::new().await;
    let bob = stage.person("Bob", "STAFF", None).await;
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    let theirs = send(&stage, &bob, "k", creating("Globex")).await;
    assert!(theirs.body["data"]["createClient"]["client"]["id"].is_string(), "{}", theirs.body);
    assert_eq!(clients(&stage).await, 2);
}

/// Connects by a key that the crowded provider is asked about.
fn connecting() -> Value {
    let query = "mutation($input: ConnectInput!) { connect(input: $input) { connection { id } errors { message } } }";
    let credentials = json!([{ "name": "api_key", "value": "lamps" }]);
    json!({ "query": query, "variables": { "input": { "connector": "crowded", "using": { "credentials": credentials } } } })
}

async fn connections(stage: &Stage) -> Value {
    stage.admin.sees("{ connections { totalCount } }").await["connections"]["totalCount"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_under_one_key_do_it_once() {
    let provider = CrowdedProvider::start().await;
    let stage = provider.stage("concurrent = 20").await;
    provider.closed.store(true, Ordering::SeqCst);
    let sent = stream::iter(0..8).map(|_| send(&stage, &stage.admin, "k", connecting())).buffer_unordered(8);
    tokio::pin!(sent);
    // The one that is worked on stays with the provider, and so would every other that is.
    for _ in 0..7 {
        let other = timeout(PATIENCE, sent.next()).await.expect("it is done more than once").unwrap();
        assert_eq!((other.status, other.code()), (503, "UNAVAILABLE"), "{}", other.body);
    }
    provider.leave.add_permits(100);
    let done = sent.next().await.unwrap();
    assert!(done.body["data"]["connect"]["connection"]["id"].is_string(), "{}", done.body);
    assert_eq!(connections(&stage).await, 1);
    let again = send(&stage, &stage.admin, "k", connecting()).await;
    assert_eq!((again.replayed, &again.body), (true, &done.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_claim_on_a_key_leaves_it_to_who_has_it() {
    use sea_orm::{EntityTrait as _, sea_query::Expr};
    let provider = CrowdedProvider::start().await;
    let stage = provider.stage("concurrent = 20").await;
    provider.closed.store(true, Ordering::SeqCst);
    let (admin, slow) = (stage.admin.clone(), send(&stage, &stage.admin, "k", connecting()));
    let taking_over = async {
        provider.receives(1).await;
        // As if this node had been thought dead, and another had taken over.
        entity::kept_answer::Entity::update_many()
            .col_expr(entity::kept_answer::Column::ClaimedBy, Expr::value(uuid::Uuid::max()))
            .exec(stage.db.writer())
            .await
            .unwrap();
        provider.leave.add_permits(100);
    };
    let (slow, ()) = tokio::join!(slow, taking_over);
    assert_eq!(slow.status, 200, "{}", slow.body);
    let again = send(&stage, &admin, "k", connecting()).await;
    assert_eq!((again.status, again.replayed, again.code()), (503, false, "UNAVAILABLE"), "{}", again.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_come_at_once_are_all_done_by_one_handle() {
    let settings = vec![("PATCHBAY_DATABASE_POOL".to_owned(), "1".to_owned())];
    let stage = Stage::with(Setup { settings, ..Setup::default() }).await;
    let sent = (0..60).map(|number| {
        let (stage, key, name) = (&stage, format!("key-{number}"), format!("Client {number}"));
        async move { send(stage, &stage.admin, &key, creating(&name)).await }
    });
    for reply in futures_util::future::join_all(sent).await {
        assert!(reply.body["data"]["createClient"]["client"]["id"].is_string(), "{}", reply.body);
    }
    let count = stage.admin.sees("{ clients { totalCount } }").await;
    assert_eq!(count["clients"]["totalCount"], 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_no_answer_to_keep() {
    let stage = Stage::new().await;
    // In a payload, be it that its code is not asked for.
    let query = "mutation($input: ConnectInput!) { connect(input: $input) { connection { id } errors { message } } }";
    let input = json!({ "connector": "sandbox-billing", "using": { "credentials": stage.key("lamps") } });
    let connecting = json!({ "query": query, "variables": { "input": input } });
    stage.sandbox.fail_next(Endpoint::Keyed, Fault::ServerError, 1);
    let failed = send(&stage, &stage.admin, "k", connecting.clone()).await;
    assert!(failed.body["data"]["connect"]["errors"][0]["message"].is_string(), "{}", failed.body);
    let again = send(&stage, &stage.admin, "k", connecting).await;
    assert!(!again.replayed && again.body["data"]["connect"]["connection"]["id"].is_string(), "{}", again.body);

    // Beside what was done by another field.
    let client = stage.admin.creates_client("Globex").await;
    let query = format!(
        "mutation {{ createClient(input: {{ name: \"Acme\", externalId: \"acme\" }}) {{ client {{ id }} }} \
         createConnectLink(input: {{ clientId: \"{client}\", connectors: [\"sandbox-ads\"] }}) {{ url errors {{ code }} }} }}"
    );
    let both = json!({ "query": query });
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        stage.db.writer().execute_unprepared(&sql).await.unwrap();
    };
    rename("link", "link_away").await;
    let failed = send(&stage, &stage.admin, "l", both.clone()).await;
    assert_eq!(failed.code(), "INTERNAL", "{}", failed.body);
    rename("link_away", "link").await;
    let again = send(&stage, &stage.admin, "l", both.clone()).await;
    assert!(!again.replayed && again.body["data"]["createConnectLink"]["url"].is_string(), "{}", again.body);
    assert!(send(&stage, &stage.admin, "l", both).await.replayed);
    assert_eq!(clients(&stage).await, 2);
}

/// The first transactions that write to `table` are given up, as if each were in the way of another. What a sequence
/// counts is not undone. None on SQLite, which has one writer.
async fn gives_up_writers(stage: &Stage, table: &str, times: u32) -> bool {
    if stage.database.is_sqlite() {
        return false;
    }
    let sql = format!(
        "CREATE SEQUENCE {table}_tries; CREATE FUNCTION {table}_gives_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('{table}_tries') <= {times} THEN RAISE EXCEPTION 'planted' USING ERRCODE = '40P01'; END IF; \
         RETURN NEW; END $$; \
         CREATE TRIGGER gives_up BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_gives_up()"
    );
    stage.db.writer().execute_unprepared(&sql).await.unwrap();
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_gave_up_for_the_sake_of_another_is_done_again_where_nothing_came_of_it() {
    let stage = Stage::new().await;
    let globex = stage.admin.creates_client("Globex").await;
    if !gives_up_writers(&stage, "client", 2).await {
        return;
    }
    let done = send(&stage, &stage.admin, "k", creating("Acme")).await;
    assert!(done.body["data"]["createClient"]["client"]["id"].is_string(), "{}", done.body);
    assert_eq!(clients(&stage).await, 2);

    // The first field was done: the request as a whole is not begun again.
    gives_up_writers(&stage, "link", 1).await;
    let query = format!(
        "mutation {{ createClient(input: {{ name: \"Initech\" }}) {{ client {{ id }} }} \
         createConnectLink(input: {{ clientId: \"{globex}\", connectors: [\"sandbox-ads\"] }}) {{ url }} }}"
    );
    let half = send(&stage, &stage.admin, "l", json!({ "query": query })).await;
    assert_eq!(half.code(), "UNAVAILABLE", "{}", half.body);
    assert_eq!(clients(&stage).await, 3);
    // It gives way for ever: that is told, and ends.
    gives_up_writers(&stage, "api_key", 1000).await;
    let input = json!({ "name": "Robot", "role": "STAFF" });
    let query = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }";
    let never = send(&stage, &stage.admin, "m", json!({ "query": query, "variables": { "input": input } })).await;
    assert_eq!(never.code(), "UNAVAILABLE", "{}", never.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_a_key_is_free_again() {
    let stage = Stage::new().await;
    // PostgreSQL goes by its own clock, which no test moves.
    if !stage.database.is_sqlite() {
        return;
    }
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    stage.later(TimeDelta::hours(24) + TimeDelta::seconds(1));
    let admin = stage.signed_in(&stage.admin.id);
    let later = send(&stage, &admin, "k", creating("Globex")).await;
    assert!(!later.replayed && later.status == 200, "{}", later.body);
    stage.later(TimeDelta::hours(25));
    stage.run_jobs().await;
    assert_eq!(kept(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_can_be_mended_are_an_answer_and_a_refused_document_is_none() {
    let stage = Stage::new().await;
    let empty = send(&stage, &stage.admin, "k", creating(" ")).await;
    assert_eq!(empty.body["data"]["createClient"]["errors"][0]["code"], "INVALID", "{}", empty.body);
    assert!(send(&stage, &stage.admin, "k", creating(" ")).await.replayed);
    let broken = send(&stage, &stage.admin, "l", json!({ "query": "mutation { nothing }" })).await;
    assert_eq!(broken.status, 400, "{}", broken.body);
    assert!(!send(&stage, &stage.admin, "l", creating("Acme")).await.replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_anew_whatever_its_key() {
    let stage = Stage::new().await;
    let count = json!({ "query": "{ clients { totalCount } }" });
    assert_eq!(send(&stage, &stage.admin, "k", count.clone()).await.body["data"]["clients"]["totalCount"], 0);
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    assert_eq!(send(&stage, &stage.admin, "k", count).await.body["data"]["clients"]["totalCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_and_a_key_on_a_batch_are_refused() {
    let stage = Stage::new().await;
    for (key, body) in [(" ", creating("Acme")), ("two words", creating("Acme")), ("k", json!([creating("Acme")]))] {
        let reply = send(&stage, &stage.admin, key, body).await;
        assert_eq!((reply.status, reply.code()), (400, "BAD_USER_INPUT"), "{key}: {}", reply.body);
    }
    assert_eq!(clients(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_not_in_the_database_in_clear() {
    let stage = Stage::new().await;
    send(&stage, &stage.admin, "k", creating("Planted Name")).await;
    use sea_orm::EntityTrait as _;
    let row = entity::kept_answer::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&row.sealed).into_owned();
    assert!(!text.contains("Planted") && !text.contains("createClient"), "{text}");
}

/// How many answers are kept.
async fn kept(stage: &Stage) -> u64 {
    use sea_orm::{EntityTrait as _, PaginatorTrait as _};
    entity::kept_answer::Entity::find().count(stage.db.reader()).await.unwrap()
}

async fn allowed(burst: &str) -> Stage {
    let settings = [("PATCHBAY_MAX_RATE", "1"), ("PATCHBAY_MAX_BURST", burst)];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Stage::with(Setup { settings, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_by_aliases_count_one_by_one() {
    let stage = allowed("30").await;
    let guesses = |n: usize| {
        let guess = |i: usize| format!("g{i}: client(externalId: \"{i}\") {{ id }}");
        format!("{{ {} }}", (0..n).map(guess).collect::<Vec<_>>().join(" "))
    };
    stage.admin.sees(&guesses(25)).await;
    let refused = stage.admin.tries(&guesses(25), Value::Null).await;
    assert_eq!((refused.status, refused.code()), (429, Some("RATE_LIMITED")), "{}", refused.body);
    let wait = refused.body["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_differ_are_one_operation() {
    let stage = allowed("3").await;
    stage.admin.sees("{ viewer { id } clients { totalCount } connections { totalCount } eventCursor }").await;
    stage.admin.sees("{ viewer { id } clients { totalCount } connections { totalCount } eventCursor }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_waits_and_nobody_else_does() {
    let stage = allowed("5").await;
    let bob = stage.person("Bob", "STAFF", None).await;
    let mut refused = None;
    for _ in 0..12 {
        let answer = stage.admin.tries("{ __typename }", Value::Null).await;
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    assert_eq!(refused.unwrap().code(), Some("RATE_LIMITED"));
    bob.sees("{ viewer { id } }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_leaves_a_key_that_was_sent_again_since_it_was_found() {
    use sea_orm::{EntityTrait as _, sea_query::Expr};
    let statements = Statements::default();
    let stage = Stage::with(Setup { statements: Some(statements.watch()), ..Setup::default() }).await;
    if stage.database.is_sqlite() {
        leave_out("on SQLite a transaction that is about to lock is the one writer");
        return;
    }
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    let over = entity::kept_answer::Entity::update_many()
        .col_expr(entity::kept_answer::Column::ExpiresAt, Expr::value(chrono::DateTime::UNIX_EPOCH));
    over.exec(stage.db.writer()).await.unwrap();
    let mut locking = statements.holds(&[r#""kept_answer""#, "SKIP LOCKED"]);
    let jobs = stage.jobs.clone();
    let sweeping = tokio::spawn(async move { jobs.run_due().await.unwrap() });
    locking.arrived().await;
    let again = send(&stage, &stage.admin, "k", creating("Globex")).await;
    locking.goes_on();
    sweeping.await.unwrap();
    let kept = send(&stage, &stage.admin, "k", creating("Globex")).await;
    assert_eq!((kept.replayed, &kept.body), (true, &again.body));
}
