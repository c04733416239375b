//! What was judged while a provider was asked is judged again once it is locked: a change that someone else decided meanwhile
//! stands, and a connection's key always agrees with its account.

use chrono::TimeDelta;
use entity::{authorization, connection};
use patchbay::{
    clock::Clock,
    sandbox::{Ended, Endpoint},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    harness::{Landing, Person, Setup, Stage, id},
    regaining::DAYS,
};

const ADA: &str = "person-7041";
const BEN: &str = "person-9128";

/// Every connection has the key of the account that it reads, else of the one that signed in.
async fn assert_keys_agree(stage: &Stage) {
    let live = connection::Entity::find().filter(connection::Column::RemovedAt.is_null());
    for row in live.all(stage.db.reader()).await.unwrap() {
        let its =
            authorization::Entity::find_by_id(row.authorization_id).one(stage.db.reader()).await.unwrap().unwrap();
        assert_eq!(its.removed_at, None, "{row:?}");
        let account = row.account_id.clone().or(its.account_id);
        assert_eq!(Some(row.account_key.clone()), account, "{row:?}");
    }
}

/// Ada's site for two clients, by one authorization: the connections.
async fn two_sites(stage: &Stage) -> (String, String) {
    let mut made = Vec::new();
    for client in ["Acme", "Globex"] {
        let client = stage.admin.creates_client(client).await;
        let input = json!({ "connector": "sandbox-analytics", "clientId": client });
        made.push(id(&stage.admin.connects(&stage.browser(), input, "ada").await));
    }
    let [acme, globex] = made.try_into().unwrap();
    (acme, globex)
}

/// A connection of an account that both Ada and Ben reach, by Ada's authorization.
async fn fjord(stage: &Stage) -> Value {
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-303" });
    stage.admin.connects(&stage.browser(), input, "ada").await
}

async fn signed_in_as(stage: &Stage, connection: &str) -> String {
    let seen = stage.admin_now().connection(connection).await;
    seen["authorization"]["account"]["accountId"].as_str().unwrap().to_owned()
}

/// Ben's account takes the place of Ada's behind a connection, as someone decides.
async fn ben_takes_over(stage: &Stage, connection: &str) {
    let admin = stage.admin_now();
    let (attempt, _) = admin.reconnects(&stage.browser(), connection, "WHOLE_AUTHORIZATION", "ben").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
}

async fn decides(person: &Person, attempt: &str, decision: Value) -> Value {
    let mut input = decision;
    input["attemptId"] = json!(attempt);
    person.mutates("decideAttempt", input, "attempt { status error { code } }").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_one_account_is_not_done_to_another() {
    let stage = Stage::new().await;
    let (acme, globex) = two_sites(&stage).await;
    let browser = stage.browser();
    let (attempt, url) = stage.admin.starts_reconnecting(&acme, "WHOLE_AUTHORIZATION").await;
    let (link_like, refusing) = stage.admin.starts_reconnecting(&acme, "REFUSE").await;
    ben_takes_over(&stage, &globex).await;

    // Ada was expected when it was started, so whoever started it meant no change of account at all.
    browser.signs_in(&url, "ada").await;
    let asked = stage.admin.attempt(&attempt).await;
    assert_eq!((&asked["status"], &asked["expectedAccount"]["accountId"]), (&json!("NEEDS_DECISION"), &json!(BEN)));
    assert_eq!(signed_in_as(&stage, &acme).await, BEN, "what was decided stands");
    browser.signs_in(&refusing, "ada").await;
    assert_eq!(stage.admin.attempt(&link_like).await["error"]["code"], "ACCOUNT_MISMATCH");

    // Now it is said of the account that it has.
    let decided = decides(&stage.admin, &attempt, json!({ "accountChange": "WHOLE_AUTHORIZATION" })).await;
    assert_eq!((&decided["errors"], &decided["attempt"]["status"]), (&json!([]), &json!("SUCCEEDED")));
    assert_eq!((signed_in_as(&stage, &acme).await.as_str(), signed_in_as(&stage, &globex).await.as_str()), (ADA, ADA));
    assert_keys_agree(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_about_an_account_that_is_gone_meanwhile_is_asked_for_once_more() {
    let stage = Stage::new().await;
    let (acme, _) = two_sites(&stage).await;
    ben_takes_over(&stage, &acme).await;
    // Ada waits to be decided about, while the connection has Ben's account.
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), &acme, "ASK", "ada").await;
    let attempt = id(&attempt);
    assert_eq!(stage.admin.attempt(&attempt).await["expectedAccount"]["accountId"], BEN);
    // Its account is changed once more, as by a third person's sign-in.
    let third = authorization::Entity::update_many()
        .col_expr(authorization::Column::AccountId, Expr::value("person-0"))
        .filter(authorization::Column::AccountId.eq(BEN));
    third.exec(stage.db.writer()).await.unwrap();

    let whole = json!({ "accountChange": "WHOLE_AUTHORIZATION" });
    let refused = decides(&stage.admin, &attempt, whole.clone()).await;
    assert_eq!(refused["errors"][0]["code"], "CONFLICT", "{refused:#}");
    let asked = stage.admin.attempt(&attempt).await;
    assert_eq!(
        (&asked["status"], &asked["expectedAccount"]["accountId"]),
        (&json!("NEEDS_DECISION"), &json!("person-0"))
    );
    let decided = decides(&stage.admin, &attempt, whole).await;
    assert_eq!(decided["attempt"]["status"], "SUCCEEDED", "{decided:#}");
    assert_eq!(signed_in_as(&stage, &acme).await, ADA);
    assert_keys_agree(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_not_chosen_of_an_authorization_that_became_anothers() {
    let stage = Stage::new().await;
    let connection = id(&fjord(&stage).await);
    let gate = stage.gates(Endpoint::Accounts, 1);
    let input = json!({ "connectionId": connection, "accountId": "100-301" });
    let update = stage.admin.mutates("updateConnection", input, "connection { id }");
    let (update, ()) = stage.while_held(&gate, 1, update, ben_takes_over(&stage, &connection)).await;
    assert_eq!(update["errors"][0]["code"], "CONFLICT", "Ben does not reach it: {update:#}");
    let seen = stage.admin.connection(&connection).await;
    assert_eq!((&seen["account"]["accountId"], &seen["status"]), (&json!("100-303"), &json!("CONNECTED")));
    assert_keys_agree(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_says_whose_a_key_is_an_account_is_chosen_by_the_same_key_only() {
    let (before, identity) = DAYS.split_once("[identity]").unwrap();
    let text = format!("{before}[accounts]{}", identity.split_once("[accounts]").unwrap().1);
    let stage = Stage::with(Setup { connectors: vec![("days.toml".to_owned(), text)], ..Setup::default() }).await;
    let day = |ago: i64| (stage.clock.now() - TimeDelta::days(ago)).date_naive().to_string();
    let using = json!({ "credentials": stage.key("lamps") });
    let input = json!({ "connector": "days", "accountId": day(1), "using": using });
    let connection = id(&stage.admin.does("connect", input, "connection { id }").await["connection"]);
    let mut listing = stage.holds("/keyed/invoices");
    let update = async {
        let input = json!({ "connectionId": connection, "accountId": day(2) });
        stage.admin.mutates("updateConnection", input, "connection { id }").await
    };
    let another_key = async {
        listing.arrived().await;
        let input = json!({ "connectionId": connection, "credentials": stage.key("hotels") });
        stage.admin.does("reconnect", input, "connections { id }").await;
        listing.goes_on();
    };
    let (update, ()) = tokio::join!(update, another_key);
    assert_eq!(update["errors"][0]["code"], "CONFLICT", "who knows what it reaches: {update:#}");
    assert_eq!(stage.admin.connection(&connection).await["account"]["accountId"], day(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_connected_through_an_authorization_that_became_anothers() {
    let stage = Stage::new().await;
    let fjord = fjord(&stage).await;
    let authorization = id(&fjord["authorization"]);
    let gate = stage.gates(Endpoint::Accounts, 2);
    let one = json!({
        "connector": "sandbox-ads", "accountId": "100-301", "using": { "authorizationId": authorization },
    });
    let many = json!({ "authorizationId": authorization, "accounts": [{ "accountId": "100-302" }] });
    let both = async {
        tokio::join!(
            stage.admin.mutates("connect", one, "connection { id }"),
            stage.admin.mutates("connectAccounts", many, "results { connection { id } }")
        )
    };
    let connection = id(&fjord);
    let ((one, many), ()) = stage.while_held(&gate, 2, both, ben_takes_over(&stage, &connection)).await;
    for refused in [one, many] {
        assert_eq!(refused["errors"][0]["code"], "CONFLICT", "{refused:#}");
    }
    let all = stage.admin.sees("{ connections { totalCount } }").await;
    assert_eq!(all["connections"]["totalCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_moved_to_an_authorization_that_became_anothers_nor_back_from_the_dead() {
    let stage = Stage::new().await;
    let moving = fjord(&stage).await;
    let client = stage.admin.creates_client("Acme").await;
    let bens = json!({ "connector": "sandbox-ads", "accountId": "100-303", "clientId": client });
    let bens = stage.admin.connects(&stage.browser(), bens, "ben").await;
    let input = json!({ "connectionId": moving["id"], "authorizationId": bens["authorization"]["id"] });
    let moves = || stage.admin.mutates("reconnect", input.clone(), "connections { id }");

    // Ada's authorization takes in Ben's: the one that was asked is no more.
    let gate = stage.gates(Endpoint::Accounts, 1);
    let adas = async {
        let (attempt, _) = stage.admin.reconnects(&stage.browser(), &id(&bens), "WHOLE_AUTHORIZATION", "ada").await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    };
    let (moved, ()) = stage.while_held(&gate, 1, moves(), adas).await;
    assert_eq!(moved["errors"][0]["code"], "CONFLICT", "{moved:#}");
    assert_eq!(signed_in_as(&stage, &id(&moving)).await, ADA);

    // The one that is to be moved is removed meanwhile.
    let other = stage.admin.creates_client("Globex").await;
    let bens = json!({ "connector": "sandbox-ads", "accountId": "100-303", "clientId": other });
    let bens = stage.admin.connects(&stage.browser(), bens, "ben").await;
    let input = json!({ "connectionId": moving["id"], "authorizationId": bens["authorization"]["id"] });
    let gate = stage.gates(Endpoint::Accounts, 1);
    let removing = async {
        stage.admin.does("removeConnection", json!({ "connectionId": moving["id"] }), "").await;
    };
    let moves = stage.admin.mutates("reconnect", input, "connections { id }");
    let (moved, ()) = stage.while_held(&gate, 1, moves, removing).await;
    assert_eq!(moved["errors"][0]["code"], "CONFLICT", "{moved:#}");
    let gone = stage.admin.connection(&id(&moving)).await;
    assert!(gone.is_null() || gone["removedAt"].is_string(), "{gone:#}");
    assert_keys_agree(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_type_credentials_at_once_none_undoes_what_the_other_decided() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let connection = stage.keyed("lamps", &acme).await;
    let reconnect = |key: &str, change: Option<&str>| {
        let mut input = json!({ "connectionId": connection, "credentials": stage.key(key) });
        if let Some(change) = change {
            input["accountChange"] = json!(change);
        }
        let admin = stage.admin.clone();
        async move { admin.mutates("reconnect", input, "disconnection { id }").await }
    };
    let hotels_are_meant = async {
        assert_eq!(reconnect("hotels", Some("THIS_CONNECTION")).await["errors"], json!([]));
    };
    // The same account as before, until someone decided on another.
    let gate = stage.gates(Endpoint::Keyed, 1);
    let same = reconnect("lamps", None);
    let (same, ()) = stage.while_held(&gate, 1, same, hotels_are_meant).await;
    assert_eq!(same["errors"][0]["code"], "ACCOUNT_MISMATCH", "{same:#}");
    assert_eq!(signed_in_as(&stage, &connection).await, "hotels");

    // Another account, decided when the one to change from was another.
    let gate = stage.gates(Endpoint::Keyed, 1);
    let orchards = reconnect("orchards", Some("THIS_CONNECTION"));
    let lamps_are_meant = async {
        assert_eq!(reconnect("lamps", Some("THIS_CONNECTION")).await["errors"], json!([]));
    };
    let (orchards, ()) = stage.while_held(&gate, 1, orchards, lamps_are_meant).await;
    assert_eq!(orchards["errors"][0]["code"], "CONFLICT", "{orchards:#}");
    assert_eq!(signed_in_as(&stage, &connection).await, "lamps");
    assert_keys_agree(&stage).await;

    // The same account as is there by then: whoever comes second is no hindrance.
    let gate = stage.gates(Endpoint::Keyed, 1);
    let (second, first) = stage.while_held(&gate, 1, reconnect("lamps", None), reconnect("lamps", None)).await;
    assert_eq!((&first["errors"], &second["errors"]), (&json!([]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_no_more_once_the_provider_has_answered_changes_nothing() {
    let stage = Stage::new().await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-303" });
    let connection = id(&nina.connects(&stage.browser(), input, "ada").await);
    let gate = stage.gates(Endpoint::Accounts, 1);
    let input = json!({ "connectionId": connection, "accountId": "100-301" });
    let update = nina.tries_mutation("updateConnection", input, "connection { id }");
    // The sign-in is another's from then on.
    let sign_in = async {
        stage.admin.reconnects(&stage.browser(), &connection, "REFUSE", "ada").await;
    };
    let (update, _) = stage.while_held(&gate, 1, update, sign_in).await;
    assert_eq!(update.code(), Some("FORBIDDEN"), "{:#}", update.body);
    assert_eq!(stage.admin.connection(&connection).await["account"]["accountId"], "100-303");
}

/// Somebody comes back from the provider, signed in as `person`, and waits as the `place`th for a lock.
async fn comes_back(stage: &Stage, url: &str, person: &str, place: i64) -> JoinHandle<Landing> {
    let browser = stage.browser();
    let callback = browser.allows(url, person).await;
    let back = tokio::spawn(async move { browser.opens(callback.as_str()).await });
    stage.waiting_for_locks(place).await;
    back
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sign_ins_that_wait_for_one_lock_do_what_was_decided_and_ask_about_the_rest() {
    let stage = Stage::new().await;
    if stage.database.is_sqlite() {
        eprintln!("skipped: on SQLite one transaction waits for the other before it reads");
        return;
    }
    let (acme, globex) = two_sites(&stage).await;
    let authorization = id(&stage.admin.connection(&acme).await["authorization"]);
    let initech = stage.admin.creates_client("Initech").await;
    let (_, to_ben) = stage.admin.starts_reconnecting(&acme, "WHOLE_AUTHORIZATION").await;
    let (again, to_ada) = stage.admin.starts_reconnecting(&globex, "ASK").await;
    let connecting = json!({ "connector": "sandbox-analytics", "clientId": initech });
    let (connected, to_connect) = stage.admin.starts_connecting(connecting).await;

    let lock = stage.locks(&authorization).await;
    let ben = comes_back(&stage, &to_ben, "ben", 1).await;
    let ada = comes_back(&stage, &to_ada, "ada", 2).await;
    let new = comes_back(&stage, &to_connect, "ada", 3).await;
    lock.ends().await;
    for back in [ben, ada, new] {
        assert_eq!(back.await.unwrap().status, 200);
    }
    assert_eq!((signed_in_as(&stage, &acme).await.as_str(), signed_in_as(&stage, &globex).await.as_str()), (BEN, BEN));
    let asked = stage.admin.attempt(&again).await;
    assert_eq!((&asked["status"], &asked["expectedAccount"]["accountId"]), (&json!("NEEDS_DECISION"), &json!(BEN)));
    let connected = stage.admin.attempt(&connected).await;
    assert_eq!(connected["status"], "SUCCEEDED", "{connected:#}");
    assert_eq!(connected["connections"][0]["authorization"]["account"]["accountId"], ADA);
    assert_keys_agree(&stage).await;
    let ended: Vec<_> = stage.sandbox.grants().iter().map(|grant| grant.ended).collect();
    assert!(!ended[2..].contains(&Some(Ended::ByClient)), "all that are in use, or wait, live: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_finds_a_connection_that_moved_while_it_waited() {
    let stage = Stage::new().await;
    if stage.database.is_sqlite() {
        eprintln!("skipped: on SQLite one transaction waits for the other before it reads");
        return;
    }
    let moving = fjord(&stage).await;
    let client = stage.admin.creates_client("Acme").await;
    let bens = json!({ "connector": "sandbox-ads", "accountId": "100-404", "clientId": client });
    let bens = stage.admin.connects(&stage.browser(), bens, "ben").await;
    let lock = stage.locks(&id(&moving["authorization"])).await;
    let spawned = |mutation: &'static str, input: Value| {
        let admin = stage.admin.clone();
        tokio::spawn(async move { admin.mutates(mutation, input, "").await })
    };
    let onto = json!({ "connectionId": moving["id"], "authorizationId": bens["authorization"]["id"] });
    let moved = spawned("reconnect", onto);
    stage.waiting_for_locks(1).await;
    let removed = spawned("removeConnection", json!({ "connectionId": moving["id"] }));
    stage.waiting_for_locks(2).await;
    let renamed = spawned("updateConnection", json!({ "connectionId": bens["id"], "name": "Orchards" }));
    lock.ends().await;
    for done in [moved, removed, renamed] {
        let done = done.await.unwrap();
        assert_eq!(done["errors"], json!([]), "{done:#}");
    }
    let all = stage.admin.sees("{ connections { nodes { id } } }").await;
    assert_eq!(all["connections"]["nodes"], json!([{ "id": bens["id"] }]));
}
