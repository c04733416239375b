//! What was seen before a lock was taken: each test holds a statement back between the two, and changes what was seen.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{authorization, incident};
use patchbay::{
    clock::Clock,
    ids::{self, Kind},
};
use sea_orm::{EntityTrait, PaginatorTrait, sea_query::Expr};
use serde_json::json;

use super::code;
use crate::harness::{Setup, Stage, Statements, id, leave_out};

/// The last that is looked at before a lock: with whom the connection is shared.
const SHARES: &[&str] = &[r#"FROM "connection_share" WHERE "connection_share"."connection_id""#];

/// The lock itself, before it is asked for.
const LOCK: &[&str] = &[r#"FROM "authorization""#, "FOR UPDATE"];

async fn watched() -> (Stage, Statements) {
    let statements = Statements::default();
    (Stage::with(Setup { statements: Some(statements.watch()), ..Setup::default() }).await, statements)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_edit_a_dataset_at_once_one_is_told_to_look_again() {
    let (stage, statements) = watched().await;
    let grant = stage.shared_grant().await;
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    let mut looking = statements.holds(SHARES);
    let renaming = stage.begins("updateDataset", json!({ "datasetId": dataset, "name": "Mine" }), "dataset { id }");
    looking.arrived().await;
    stage.admin.edits_dataset(&dataset, json!({ "name": "Theirs", "refreshEveryMinutes": 90 })).await;
    looking.goes_on();
    assert_eq!(code(&renaming.await.unwrap()), "CONFLICT");
    let seen = stage.admin.dataset(&dataset).await;
    assert_eq!((&seen["name"], &seen["refreshEveryMinutes"]), (&json!("Theirs"), &json!(90)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_the_account_that_a_connection_has_is_told_where_it_gets_another_meanwhile() {
    let (stage, statements) = watched().await;
    let grant = stage.shared_grant().await;
    let mut looking = statements.holds(SHARES);
    let input = json!({ "connectionId": grant.lamps, "accountId": "100-301", "name": "Mine" });
    let keeping = stage.begins("updateConnection", input, "connection { id }");
    looking.arrived().await;
    let input = json!({ "connectionId": grant.lamps, "accountId": "100-303" });
    stage.admin.does("updateConnection", input, "connection { id }").await;
    looking.goes_on();
    assert_eq!(code(&keeping.await.unwrap()), "CONFLICT");
    let seen = stage.admin.connection(&grant.lamps).await;
    assert_eq!((&seen["account"]["accountId"], &seen["name"]), (&json!("100-303"), &json!("Lamps")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_removes_what_becomes_anothers_at_that_moment_removes_nothing() {
    let (stage, statements) = watched().await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let site = nina.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    let site = id(&site);
    let mut looking = statements.holds(SHARES);
    let input = json!({ "connectionId": site });
    let removing = tokio::spawn(async move { nina.tries_mutation("removeConnection", input, "").await });
    looking.arrived().await;
    // The admin who reconnects it owns it from then on, and shares it with the owner before.
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), &site, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    looking.goes_on();
    assert_eq!(removing.await.unwrap().code(), Some("FORBIDDEN"));
    assert_eq!(stage.status(&site).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_whose_last_connection_is_removed_takes_in_none_that_was_about_to_move_to_it() {
    let (stage, statements) = watched().await;
    if stage.database.is_sqlite() {
        leave_out("on SQLite a transaction that is about to lock is the one writer");
        return;
    }
    let (admin, globex) = (&stage.admin, stage.admin.creates_client("Globex").await);
    let adas = admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": globex });
    let bens = admin.connects(&stage.browser(), input, "ben").await;
    let (attempt, url) = admin.starts_reconnecting(&id(&adas), "THIS_CONNECTION").await;
    let browser = stage.browser();
    let callback = browser.allows(&url, "ben").await;
    let mut locking = statements.holds(LOCK);
    let landing = tokio::spawn(async move { browser.opens(callback.as_str()).await.status });
    locking.arrived().await;
    admin.does("removeConnection", json!({ "connectionId": bens["id"] }), "").await;
    locking.goes_on();
    assert_eq!(landing.await.unwrap(), 200);
    assert_eq!(admin.attempt(&attempt).await["status"], "SUCCEEDED");
    let its = admin.connection(&id(&adas)).await["authorization"].clone();
    let its = ids::decode(Kind::Authorization, &id(&its)).unwrap();
    let its = authorization::Entity::find_by_id(its).one(stage.db.reader()).await.unwrap().unwrap();
    assert_eq!(
        (its.account_name.as_deref(), its.removed_at),
        (bens["authorization"]["account"]["name"].as_str(), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gets_one_more_connection_while_it_is_removed_stays() {
    let (stage, statements) = watched().await;
    if stage.database.is_sqlite() {
        leave_out("on SQLite a transaction that is about to lock is the one writer");
        return;
    }
    let grant = stage.shared_grant().await;
    let mut locking = statements.holds(LOCK);
    let input = json!({ "clientId": grant.acme, "removeConnections": true });
    let removing = stage.begins("removeClient", input, "removedClientId");
    locking.arrived().await;
    let billing = stage.keyed("lamps", &grant.acme).await;
    locking.goes_on();
    assert_eq!(code(&removing.await.unwrap()), "CONFLICT");
    for connection in [&billing, &grant.lamps] {
        assert_eq!(stage.admin.connection(connection).await["client"]["id"], json!(grant.acme));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_again_at_the_moment_at_which_it_is_found_to_fail_for_everyone_is_no_incident() {
    let (stage, statements) = watched().await;
    if stage.database.is_sqlite() {
        leave_out("on SQLite a transaction that is about to lock is the one writer");
        return;
    }
    stage.shops(&["one", "two", "three"]).await;
    let fail_since = async |since: Option<DateTime<Utc>>| {
        let all =
            authorization::Entity::update_many().col_expr(authorization::Column::FailingSince, Expr::value(since));
        all.exec(stage.db.writer()).await.unwrap();
    };
    let incidents = async || incident::Entity::find().count(stage.db.reader()).await.unwrap();
    let a_while_ago = Some(stage.clock.now() - TimeDelta::minutes(11));
    fail_since(a_while_ago).await;
    let mut locking = statements.holds(&[r#"FROM "incident""#, "FOR UPDATE"]);
    let jobs = stage.begins_jobs();
    locking.arrived().await;
    fail_since(None).await;
    locking.goes_on();
    jobs.await.unwrap();
    assert_eq!(incidents().await, 0);
    fail_since(a_while_ago).await;
    stage.run_jobs().await;
    assert_eq!(incidents().await, 1);

    // It is over, which another round says first.
    fail_since(None).await;
    let mut locking = statements.holds(&[r#"FROM "incident""#, "FOR UPDATE"]);
    let jobs = stage.begins_jobs();
    locking.arrived().await;
    stage.run_jobs().await;
    locking.goes_on();
    jobs.await.unwrap();
    assert_eq!(stage.admin.audited("connector.incident_ended").await.len(), 1);
}
