//! What fails for everyone is an incident: administrators are told, nobody is asked to reconnect, and it ends by itself.

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::{
    harness::{Person, SharedGrant, Stage, each, id, ids_of},
    nodes::{two_nodes, two_nodes_apart},
};

/// The incident of a connector, as somebody sees it; null while there is none.
async fn incident(person: &Person, slug: &str) -> Value {
    let query = format!("{{ connector(slug: \"{slug}\") {{ incident {{ startedAt ours message }} }} }}");
    person.sees(&query).await["connector"]["incident"].clone()
}

/// The same, as the ADMIN sees it.
async fn incident_of(stage: &Stage, slug: &str) -> Value {
    incident(&stage.admin_now(), slug).await
}

/// The kinds in somebody's tray, newest first.
async fn told(stage: &Stage, person: &Person) -> Vec<String> {
    let tray = stage.signed_in(&person.id).tray().await;
    each(&tray, "kind").into_iter().map(str::to_owned).collect()
}

async fn after_minutes(stage: &Stage, minutes: i64) {
    stage.later(TimeDelta::minutes(minutes));
    stage.run_jobs().await;
}

async fn check(stage: &Stage, connection: &str) {
    let input = json!({ "connectionId": connection });
    stage.admin_now().does("checkConnection", input, "connection { status }").await;
}

/// The token endpoint refuses this server's client from now on.
fn refuse_our_client(stage: &Stage) {
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_client"), 10_000);
}

/// The APIs of all shops fail from now on.
fn fail_all_shops(stage: &Stage) {
    stage.sandbox.fail_next(Endpoint::Identity, Fault::ServerError, 10_000);
}

/// Ada's grant, with a token endpoint that refuses this server's client since a round of jobs.
async fn our_client_is_refused() -> (Stage, SharedGrant) {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    refuse_our_client(&stage);
    after_minutes(&stage, 54).await;
    (stage, grant)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_of_ours_is_told_to_the_admins_once_and_to_nobody_else() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let second = stage.person("Ann", "ADMIN", None).await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let member = stage.person("Mia", "MEMBER", None).await;
    let input = json!({ "connectionId": grant.lamps, "userIds": [member.id] });
    stage.admin.does("shareConnection", input, "connection { id }").await;
    refuse_our_client(&stage);
    after_minutes(&stage, 54).await;

    let seen = incident_of(&stage, "sandbox-ads").await;
    assert_eq!(seen["ours"], true, "{seen:#}");
    assert!(seen["message"].as_str().unwrap().starts_with("Sandbox Ads refuses this server's own OAuth client"));
    assert!(seen["startedAt"].is_string());
    assert_eq!(incident(&stage.signed_in(&staff.id), "sandbox-ads").await, seen);
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null, "another connector");

    for admin in [&stage.admin, &second] {
        assert_eq!(told(&stage, admin).await, ["INCIDENT"]);
        let query = "{ viewer { notifications { nodes { title connector { slug } clients { nodes { id } } \
                     connections { nodes { id } } disconnection { id } } } } }";
        let tray = stage.signed_in(&admin.id).sees(query).await;
        let notification = &tray["viewer"]["notifications"]["nodes"][0];
        assert_eq!(notification["title"], "Sandbox Ads is failing for everyone.");
        assert_eq!(
            (&notification["connector"]["slug"], &notification["disconnection"]),
            (&json!("sandbox-ads"), &Value::Null)
        );
        assert_eq!(ids_of(&notification["clients"]["nodes"]), [&*grant.acme, &*grant.globex]);
        assert_eq!(ids_of(&notification["connections"]["nodes"]), [&*grant.lamps, &*grant.hotels]);
    }
    for person in [&staff, &member] {
        assert_eq!(told(&stage, person).await, [""; 0]);
    }
    let connector = stage.admin_now().sees("{ connector(slug: \"sandbox-ads\") { id } }").await["connector"].clone();
    let logged = stage.admin_now().audited("connector.incident_started").await;
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0]["subject"], json!({ "__typename": "Connector", "id": connector["id"] }));
    assert_eq!((&logged[0]["details"]["ours"], &logged[0]["user"]), (&json!(true), &Value::Null));

    for _ in 0..10 {
        after_minutes(&stage, 7).await;
    }
    assert_eq!(incident_of(&stage, "sandbox-ads").await, seen, "it goes on");
    assert_eq!(told(&stage, &stage.admin).await, ["INCIDENT"]);
    assert_eq!(stage.admin_now().audited("connector.incident_started").await.len(), 1);
    for connection in [&grant.lamps, &grant.hotels] {
        assert_eq!(stage.status(connection).await, "CONNECTED");
    }
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself_once_we_are_accepted_and_what_waited_is_asked_at_once() {
    let stage = Stage::new().await;
    let shops = stage.shops(&["north", "south", "east"]).await;
    refuse_our_client(&stage);
    after_minutes(&stage, 54).await;
    // Long enough for the backoff to be minutes.
    for _ in 0..60 {
        after_minutes(&stage, 1).await;
    }
    let late = stage.person("Ann", "ADMIN", None).await;
    stage.sandbox.clear_faults();
    let calls = stage.sandbox.token_calls().refresh_token;
    stage.run_jobs().await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, calls, "all of them wait");
    assert_eq!(incident_of(&stage, "sandbox-shop").await["ours"], true);

    check(&stage, &id(&shops[0])).await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, calls + 1);
    stage.run_jobs().await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null);
    assert_eq!(told(&stage, &stage.admin).await, ["RECOVERED", "INCIDENT"]);
    assert_eq!(stage.admin_now().titles().await[0], "Sandbox Shop works again.");
    assert_eq!(told(&stage, &late).await, [""; 0], "who was not told of it is not told that it is over");
    assert_eq!(stage.admin_now().audited("connector.incident_ended").await.len(), 1);

    stage.run_jobs().await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, calls + 3, "the other two did not wait for their backoff");
    for shop in &shops {
        assert_eq!(stage.status(&id(shop)).await, "CONNECTED");
    }
    assert_eq!(stage.admin_now().audited("connector.incident_started").await.len(), 1);
    assert!(stage.sandbox.grants().iter().all(|grant| grant.ended.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_starts_again_within_ten_minutes_of_its_end_is_the_same_and_told_once() {
    let (stage, grant) = our_client_is_refused().await;
    let first = incident_of(&stage, "sandbox-ads").await;
    let accept = async || {
        stage.sandbox.clear_faults();
        stage.sandbox.expire_access_tokens();
        check(&stage, &grant.lamps).await;
        stage.run_jobs().await;
        assert_eq!(incident_of(&stage, "sandbox-ads").await, Value::Null);
    };
    let refuse = async || {
        refuse_our_client(&stage);
        stage.sandbox.expire_access_tokens();
        check(&stage, &grant.lamps).await;
        stage.run_jobs().await;
    };
    accept().await;
    stage.later(TimeDelta::minutes(9));
    refuse().await;
    assert_eq!(incident_of(&stage, "sandbox-ads").await, first, "it is the same one");
    assert_eq!(told(&stage, &stage.admin).await, ["INCIDENT"], "that it works again is taken back");

    accept().await;
    assert_eq!(told(&stage, &stage.admin).await, ["RECOVERED", "INCIDENT"]);
    stage.later(TimeDelta::minutes(11));
    refuse().await;
    assert_ne!(
        incident_of(&stage, "sandbox-ads").await["startedAt"],
        first["startedAt"],
        "after ten it is another one"
    );
    assert_eq!(told(&stage, &stage.admin).await, ["INCIDENT", "RECOVERED", "INCIDENT"]);
}

/// Three shops whose APIs fail for long enough.
async fn three_fail() -> Stage {
    let stage = Stage::new().await;
    stage.shops(&["north", "south", "east"]).await;
    fail_all_shops(&stage);
    after_minutes(&stage, 17).await;
    after_minutes(&stage, 11).await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await["ours"], false);
    stage
}

/// How often each of these is in the audit log: incidents that started, changed and ended.
async fn logged(stage: &Stage) -> [usize; 3] {
    let mut counts = [0; 3];
    for (count, what) in counts.iter_mut().zip(["started", "changed", "ended"]) {
        *count = stage.admin_now().audited(&format!("connector.incident_{what}")).await.len();
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_on_in_another_way_is_the_same_until_all_of_it_is_over() {
    let stage = three_fail().await;
    let first = incident_of(&stage, "sandbox-shop").await;
    // Tokens have to be renewed, and the token endpoint refuses this server.
    refuse_our_client(&stage);
    after_minutes(&stage, 50).await;
    let ours = incident_of(&stage, "sandbox-shop").await;
    assert_eq!((&ours["ours"], &ours["startedAt"]), (&json!(true), &first["startedAt"]), "{ours:#}");
    assert!(ours["message"].as_str().unwrap().contains("own OAuth client"), "{ours:#}");
    assert_eq!((told(&stage, &stage.admin).await, logged(&stage).await), (vec!["INCIDENT".to_owned()], [1, 1, 0]));

    // This server is accepted once more, and the APIs fail still: what was noted of that was kept.
    stage.sandbox.clear_faults();
    fail_all_shops(&stage);
    for _ in 0..3 {
        after_minutes(&stage, 16).await;
    }
    let theirs = incident_of(&stage, "sandbox-shop").await;
    assert_eq!(theirs, first, "as it was");
    assert_eq!((told(&stage, &stage.admin).await, logged(&stage).await), (vec!["INCIDENT".to_owned()], [1, 2, 0]));

    stage.sandbox.clear_faults();
    after_minutes(&stage, 16).await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null);
    assert_eq!(told(&stage, &stage.admin).await, ["RECOVERED", "INCIDENT"]);
    assert_eq!(logged(&stage).await, [1, 2, 1]);

    // Within ten minutes something else is wrong: it was not over.
    stage.sandbox.expire_access_tokens();
    refuse_our_client(&stage);
    after_minutes(&stage, 1).await;
    let shop = stage.admin_now().sees("{ connections(first: 1) { nodes { id } } }").await;
    check(&stage, &id(&shop["connections"]["nodes"][0])).await;
    stage.run_jobs().await;
    let again = incident_of(&stage, "sandbox-shop").await;
    assert_eq!((&again["ours"], &again["startedAt"]), (&json!(true), &first["startedAt"]));
    assert_eq!(told(&stage, &stage.admin).await, ["INCIDENT"]);
    stage.sandbox.clear_faults();
    for _ in 0..2 {
        after_minutes(&stage, 17).await;
    }
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null);
    assert_eq!(told(&stage, &stage.admin).await, ["RECOVERED", "INCIDENT"], "and the real end is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_whose_clocks_are_apart_tell_the_same_of_one_that_changes() {
    let Some((first, second)) = two_nodes_apart(TimeDelta::minutes(5)).await else { return };
    first.shops(&["north", "south", "east"]).await;
    let rounds = async |count: usize| {
        for _ in 0..count {
            first.later(TimeDelta::minutes(9));
            tokio::join!(first.run_jobs(), second.run_jobs());
        }
    };
    fail_all_shops(&first);
    rounds(5).await;
    refuse_our_client(&first);
    rounds(8).await;
    assert_eq!(incident_of(&first, "sandbox-shop").await["ours"], true);
    assert_eq!(told(&first, &first.admin).await, ["INCIDENT"]);
    first.sandbox.clear_faults();
    fail_all_shops(&first);
    rounds(5).await;
    assert_eq!(incident_of(&first, "sandbox-shop").await["ours"], false);
    assert_eq!(told(&first, &first.admin).await, ["INCIDENT"]);
    first.sandbox.clear_faults();
    rounds(4).await;
    assert_eq!(incident_of(&first, "sandbox-shop").await, Value::Null);
    assert_eq!(told(&first, &first.admin).await, ["RECOVERED", "INCIDENT"]);
    assert_eq!(logged(&first).await, [1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_authorization_that_fails_has_troubles_of_its_own() {
    let stage = Stage::new().await;
    stage.shops(&["north"]).await;
    fail_all_shops(&stage);
    for _ in 0..6 {
        after_minutes(&stage, 17).await;
    }
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null);
    assert_eq!(told(&stage, &stage.admin).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_that_fail_for_ten_minutes_are_an_incident_until_they_work_again() {
    let stage = Stage::new().await;
    let shops = stage.shops(&["north", "south", "east"]).await;
    let elsewhere = stage.stranger().await;
    elsewhere.connects_shop(&stage.browser(), "west").await;
    fail_all_shops(&stage);
    after_minutes(&stage, 17).await;
    after_minutes(&stage, 9).await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null, "nine minutes are not long");
    after_minutes(&stage, 1).await;
    let seen = incident_of(&stage, "sandbox-shop").await;
    assert_eq!(seen["ours"], false);
    assert!(seen["message"].as_str().unwrap().starts_with("Sandbox Shop fails for most of what is connected."));
    assert_eq!(told(&stage, &stage.admin).await, ["INCIDENT"]);
    assert_eq!(incident(&elsewhere, "sandbox-shop").await, Value::Null, "nothing crosses a workspace");
    assert_eq!(told(&stage, &elsewhere).await, [""; 0]);

    for _ in 0..4 {
        after_minutes(&stage, 15).await;
    }
    assert_eq!(incident_of(&stage, "sandbox-shop").await, seen);
    stage.sandbox.clear_faults();
    after_minutes(&stage, 16).await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null);
    assert_eq!(told(&stage, &stage.admin).await, ["RECOVERED", "INCIDENT"]);
    for action in ["connector.incident_started", "connector.incident_ended"] {
        assert_eq!(stage.admin_now().audited(action).await.len(), 1, "{action}");
    }
    for shop in &shops {
        assert_eq!(stage.status(&id(shop)).await, "CONNECTED");
    }
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_ten_that_fail_are_none() {
    let stage = Stage::new().await;
    stage.shops(&["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]).await;
    for shop in ["one", "two", "three"] {
        stage.sandbox.set_shop_outage(shop, true);
    }
    for _ in 0..4 {
        after_minutes(&stage, 17).await;
    }
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null);

    // With six of ten it is most of them.
    for shop in ["four", "five", "six"] {
        stage.sandbox.set_shop_outage(shop, true);
    }
    after_minutes(&stage, 17).await;
    after_minutes(&stage, 11).await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await["ours"], false);
    stage.sandbox.set_shop_outage("four", false);
    after_minutes(&stage, 16).await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await, Value::Null, "five of ten are not most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_revoked_during_an_incident_is_disconnected_all_the_same() {
    let stage = Stage::new().await;
    let shops = stage.shops(&["north", "south", "east", "west"]).await;
    fail_all_shops(&stage);
    after_minutes(&stage, 17).await;
    after_minutes(&stage, 11).await;
    assert_eq!(incident_of(&stage, "sandbox-shop").await["ours"], false);

    let revoked = stage.sandbox.grants()[0].id;
    assert!(stage.sandbox.revoke_grant(revoked));
    after_minutes(&stage, 26).await;
    let north = stage.admin_now().connection(&id(&shops[0])).await;
    assert_eq!((&north["status"], &north["disconnection"]["reason"]), (&json!("DISCONNECTED"), &json!("REVOKED")));
    for shop in &shops[1..] {
        assert_eq!(stage.status(&id(shop)).await, "CONNECTED");
    }
    assert_eq!(stage.disconnections().await.len(), 1);
    assert_eq!(told(&stage, &stage.admin).await, ["DISCONNECTED", "INCIDENT"]);
    assert_eq!(incident_of(&stage, "sandbox-shop").await["ours"], false, "the other three fail still");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_find_it_open_one_and_close_it_once() {
    let Some((first, second)) = two_nodes().await else { return };
    first.shops(&["north", "south", "east"]).await;
    fail_all_shops(&first);
    for _ in 0..6 {
        first.later(TimeDelta::minutes(7));
        tokio::join!(first.run_jobs(), second.run_jobs());
    }
    assert_eq!(incident_of(&first, "sandbox-shop").await["ours"], false);
    assert_eq!(told(&first, &first.admin).await, ["INCIDENT"]);
    first.sandbox.clear_faults();
    for _ in 0..3 {
        first.later(TimeDelta::minutes(7));
        tokio::join!(first.run_jobs(), second.run_jobs());
    }
    assert_eq!(incident_of(&first, "sandbox-shop").await, Value::Null);
    assert_eq!(told(&first, &first.admin).await, ["RECOVERED", "INCIDENT"]);
    for action in ["connector.incident_started", "connector.incident_ended"] {
        assert_eq!(first.admin_now().audited(action).await.len(), 1, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refuses_us_has_to_accept_us_and_another_api_of_the_provider_does_not_count() {
    let stage = Stage::new().await;
    stage.shared_grant().await;
    let body = json!({ "error": { "code": 403, "errors": [{ "reason": "accessNotConfigured" }] } });
    let switched_off = Fault::Exactly { status: 403, headers: Vec::new(), body: body.to_string() };
    stage.sandbox.fail_next(Endpoint::Account, switched_off, 10_000);
    stage.later(TimeDelta::hours(27));
    stage.run_jobs().await;
    let seen = incident_of(&stage, "sandbox-ads").await;
    assert_eq!(seen["ours"], true, "{seen:#}");
    for _ in 0..5 {
        stage.after_a_probe_interval().await;
    }
    assert_eq!(incident_of(&stage, "sandbox-ads").await, seen, "its own probe works all the time");
    assert_eq!(told(&stage, &stage.admin).await, ["INCIDENT"]);

    stage.sandbox.clear_faults();
    for _ in 0..2 {
        stage.after_a_probe_interval().await;
    }
    assert_eq!(incident_of(&stage, "sandbox-ads").await, Value::Null);
    assert_eq!(told(&stage, &stage.admin).await, ["RECOVERED", "INCIDENT"]);
    assert_eq!(stage.disconnections().await.len(), 0);
}
