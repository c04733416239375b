//! Many accounts of one sign-in, connected by one call: a manager account with hundreds of clients.

use std::{collections::BTreeSet, time::Instant};

use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::{
    agency::{Agency, sorted},
    harness::{Person, Stage, each, id, ids_of, nodes, tables},
};

const ROWS: &str = "results { accountId connection { id name status externalId client { id } account { accountId name } \
     authorization { id } createdBy { id } } errors { code field conflictsWith { id } } }";

/// Connects rows through an authorization: what came of each.
async fn connects(person: &Person, authorization: &str, rows: &[Value]) -> Vec<Value> {
    let input = json!({ "authorizationId": authorization, "accounts": rows });
    person.does("connectAccounts", input, ROWS).await["results"].as_array().unwrap().clone()
}

/// The same, where nothing comes of any row: the error.
async fn refused(person: &Person, authorization: &str, rows: &[Value]) -> Value {
    let input = json!({ "authorizationId": authorization, "accounts": rows });
    let payload = person.mutates("connectAccounts", input, ROWS).await;
    assert_eq!((&payload["results"], payload["errors"].as_array().unwrap().len()), (&Value::Null, 1), "{payload:#}");
    payload["errors"][0].clone()
}

/// Code, path and what is in the way, of each error of a row.
fn flaws(result: &Value) -> Vec<Value> {
    assert_eq!(result["connection"], Value::Null, "{result:#}");
    let errors = result["errors"].as_array().unwrap().iter();
    errors.map(|error| json!([error["code"], error["field"], error["conflictsWith"]["id"]])).collect()
}

fn customer(number: usize) -> String {
    format!("200-{number:03}")
}

/// Signs in as Ada, manager of `accounts` customers, and connects one account of her own: connection and authorization.
async fn manager(stage: &Stage, accounts: u16) -> (String, String) {
    stage.sandbox.configure(|options| options.managed_accounts = accounts);
    let own = json!({ "connector": "sandbox-ads", "accountId": "100-301" });
    let own = stage.admin.connects(&stage.browser(), own, "ada").await;
    (id(&own), id(&own["authorization"]))
}

async fn clients(stage: &Stage, count: usize) -> Vec<String> {
    let mut clients = Vec::with_capacity(count);
    for number in 1..=count {
        clients.push(stage.admin.creates_client(&format!("Client {number:03}")).await);
    }
    clients
}

async fn entries(stage: &Stage) -> i64 {
    tables::counts(&stage.db).await["journal_entry"]
}

/// How many entries of this action the audit log has.
async fn audited(stage: &Stage, action: &str) -> u64 {
    let query = format!("{{ auditLog(filter: {{ action: \"{action}\" }}) {{ totalCount }} }}");
    stage.admin_now().sees(&query).await["auditLog"]["totalCount"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_clients_are_connected_by_one_call_break_once_and_are_healed_by_one_sign_in() {
    let stage = Stage::new().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let (own, authorization) = manager(&stage, 300).await;
    let clients = clients(&stage, 300).await;
    let row = |(place, client): (usize, &String)| json!({ "accountId": customer(place + 1), "clientId": client });
    let rows: Vec<Value> = clients.iter().enumerate().map(row).collect();
    let (cursor, before) = (stage.admin.event_cursor().await, entries(&stage).await);
    let asked = stage.sandbox.calls(Endpoint::Accounts);

    let started = Instant::now();
    let results = connects(&stage.admin, &authorization, &rows).await;
    eprintln!("300 accounts were connected in {:?}", started.elapsed());
    assert_eq!((results.len(), stage.sandbox.calls(Endpoint::Accounts)), (300, asked + 1));
    for ((place, client), result) in clients.iter().enumerate().zip(&results) {
        let connection = &result["connection"];
        assert_eq!((&result["accountId"], &result["errors"]), (&json!(customer(place + 1)), &json!([])));
        assert_eq!((&connection["client"]["id"], &connection["status"]), (&json!(client), &json!("CONNECTED")));
        assert_eq!(connection["account"]["accountId"], customer(place + 1));
        assert_eq!(connection["name"], format!("Sandbox Ads – Customer {:03}", place + 1));
        assert_eq!(
            (id(&connection["authorization"]), id(&connection["createdBy"])),
            (authorization.clone(), stage.admin.id.clone())
        );
    }
    let connected: Vec<String> = results.iter().map(|result| id(&result["connection"])).collect();
    assert_eq!(connected.iter().collect::<BTreeSet<_>>().len(), 300);

    // One event and one entry for all of them.
    let added = told_once(&stage, &cursor, "ADDED").await;
    assert_eq!(added["authorization"]["id"], *authorization);
    assert_eq!(ids_of(&added["addedConnections"]), ids_of(&added["connections"]));
    assert_eq!(entries(&stage).await, before + 1);
    let query = r#"{ auditLog(first: 1) { nodes { action subject { id } details } } }"#;
    let entry = stage.admin.sees(query).await["auditLog"]["nodes"][0].clone();
    assert_eq!((&entry["action"], &entry["subject"]["id"]), (&json!("connection.added"), &json!(authorization)));
    let told: BTreeSet<String> = ids_of(&entry["details"]["connections"]).into_iter().collect();
    assert_eq!(told, connected.iter().cloned().collect());

    // Broken at the provider: noticed once, told each of the two once.
    stage.admin.does("removeConnection", json!({ "connectionId": own }), "").await;
    let (cursor, before) = (stage.admin.event_cursor().await, entries(&stage).await);
    assert_eq!(stage.sandbox.revoke_person("ada"), 1);
    stage.after_a_probe_interval().await;
    let broken = told_once(&stage, &cursor, "DISCONNECTED").await;
    assert_eq!(broken["addedConnections"], json!([]));
    assert_eq!((entries(&stage).await, audited(&stage, "connection.disconnected").await), (before + 2, 1));
    let outages = stage.disconnections().await;
    assert_eq!((outages.len(), &outages[0]["connections"]["totalCount"]), (1, &json!(300)));
    for person in [&stage.admin, &staff] {
        let tray = stage.signed_in(&person.id).tray().await;
        assert_eq!(each(&tray, "kind"), ["DISCONNECTED"]);
        assert_eq!(tray[0]["title"], "Sandbox Ads disconnected for Client 001, Client 002 and 298 more.");
    }

    // Healed by whoever reconnects one of them.
    let cursor = stage.admin_now().event_cursor().await;
    let (attempt, _) = stage.admin_now().reconnects(&stage.browser(), &connected[150], "ASK", "ada").await;
    assert_eq!((&attempt["status"], &attempt["connectionCount"]), (&json!("SUCCEEDED"), &json!(300)), "{attempt:#}");
    let healed = told_once(&stage, &cursor, "RECONNECTED").await;
    assert_eq!(healed["disconnection"]["id"], outages[0]["id"]);
    assert_eq!(audited(&stage, "connection.reconnected").await, 1);
    let query =
        "{ connections(filter: { status: [CONNECTED] }) { totalCount } viewer { notifications { totalCount } } }";
    let now = stage.admin_now().sees(query).await;
    assert_eq!(
        (&now["connections"]["totalCount"], &now["viewer"]["notifications"]["totalCount"]),
        (&json!(300), &json!(1))
    );
}

/// The one change since `cursor`, of this kind and of 300 connections, the first 100 of which are named.
async fn told_once(stage: &Stage, cursor: &str, kind: &str) -> Value {
    let changes = stage.changes_since(cursor).await;
    assert_eq!(each(&changes, "kind"), [kind]);
    let change = changes[0].clone();
    assert_eq!(change["connectionCount"], 300);
    let (named, clients) = (ids_of(&change["connections"]), ids_of(&change["clients"]));
    assert_eq!((named.len(), clients.len(), named.is_sorted()), (100, 100, true));
    change
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stand_or_fall_alone() {
    let agency = Agency::new().await;
    let stage = &agency.stage;
    stage.sandbox.configure(|options| options.managed_accounts = 9);
    let known = json!({ "connectionId": agency.globex_ads, "externalId": "crm-1" });
    agency.admin.does("updateConnection", known, "").await;
    let elsewhere = stage.stranger().await.creates_client("Elsewhere").await;
    let nothing = "client_01jd8q3v9zf4x8b7n2m6k5t0ce";
    let (acme, globex) = (&agency.acme, &agency.globex);
    let rows = [
        json!({ "accountId": "200-001", "clientId": acme }),
        json!({ "accountId": "200-999", "clientId": acme }),
        json!({ "accountId": "200-002", "clientId": nothing }),
        json!({ "accountId": "200-002", "clientId": elsewhere }),
        json!({ "accountId": "200-001", "clientId": acme, "name": "Twice" }),
        json!({ "accountId": "100-301", "clientId": acme }),
        json!({ "accountId": "200-003", "clientId": acme, "name": "a\nb", "externalId": "" }),
        json!({ "accountId": "200-999", "clientId": nothing }),
        json!({ "accountId": "200-004", "clientId": globex, "externalId": "crm-1" }),
        json!({ "accountId": "200-004", "name": "Our own", "externalId": "crm-2" }),
        json!({ "accountId": "200-005", "clientId": globex, "externalId": "crm-2" }),
        json!({ "accountId": "200-001", "clientId": globex }),
    ];
    let (cursor, before) = (stage.admin.event_cursor().await, entries(stage).await);
    let results = connects(&agency.admin, &agency.ads_authorization, &rows).await;
    let at = |row: usize, field: &str| json!(["accounts", row.to_string(), field]);
    let new: Vec<String> = [0, 9, 11].iter().map(|row| id(&results[*row]["connection"])).collect();

    assert_eq!(flaws(&results[1]), [json!(["NOT_FOUND", at(1, "accountId"), null])]);
    assert_eq!(flaws(&results[2]), [json!(["NOT_FOUND", at(2, "clientId"), null])]);
    assert_eq!(flaws(&results[3]), [json!(["NOT_FOUND", at(3, "clientId"), null])]);
    assert_eq!(flaws(&results[4]), [json!(["CONFLICT", ["accounts", "4"], new[0]])]);
    assert_eq!(flaws(&results[5]), [json!(["CONFLICT", ["accounts", "5"], agency.acme_ads])]);
    assert_eq!(
        flaws(&results[6]),
        [json!(["INVALID", at(6, "name"), null]), json!(["INVALID", at(6, "externalId"), null])]
    );
    let nowhere = [json!(["NOT_FOUND", at(7, "accountId"), null]), json!(["NOT_FOUND", at(7, "clientId"), null])];
    assert_eq!(flaws(&results[7]), nowhere);
    assert_eq!(id(&results[8]["connection"]), agency.globex_ads, "it is known by its external id");
    let own = &results[9]["connection"];
    assert_eq!((&own["name"], &own["client"], &own["externalId"]), (&json!("Our own"), &Value::Null, &json!("crm-2")));
    assert_eq!(id(&results[10]["connection"]), new[1], "the row above has this external id by now");

    let changes = stage.changes_since(&cursor).await;
    assert_eq!((each(&changes, "kind"), ids_of(&changes[0]["connections"])), (vec!["ADDED"], sorted(new.clone())));
    assert_eq!(entries(stage).await, before + 1);

    // The same once more adds nothing, and nobody hears of it.
    let again = connects(&agency.admin, &agency.ads_authorization, &rows).await;
    let flawed: Vec<usize> = (0..rows.len()).filter(|row| again[*row]["connection"].is_null()).collect();
    assert_eq!(flawed, [0, 1, 2, 3, 4, 5, 6, 7, 11]);
    assert_eq!(flaws(&again[11]), [json!(["CONFLICT", ["accounts", "11"], new[2]])]);
    assert_eq!((id(&again[9]["connection"]), entries(stage).await), (new[1].clone(), before + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_of_all_rows_is_said_once() {
    let agency = Agency::new().await;
    let (admin, sandbox) = (&agency.admin, &agency.stage.sandbox);
    let row = json!({ "accountId": "100-303", "clientId": agency.acme });
    let one = std::slice::from_ref(&row);
    let stranger = agency.stage.stranger().await;
    let before = tables::counts(&agency.stage.db).await;

    for rows in [vec![], vec![row.clone(); 501]] {
        let error = refused(admin, &agency.ads_authorization, &rows).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["accounts"])));
    }
    for (who, nothing) in [
        (admin, "authorization_01jd8q3v9zf4x8b7n2m6k5t0ce"),
        (admin, agency.acme_ads.as_str()),
        (&stranger, agency.ads_authorization.as_str()),
        (&agency.newcomer, agency.ads_authorization.as_str()),
    ] {
        let error = refused(who, nothing, one).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("NOT_FOUND"), &json!(["authorizationId"])));
    }
    let error = refused(admin, &agency.visits_authorization, one).await;
    assert_eq!(
        (&error["code"], &error["field"]),
        (&json!("INVALID"), &json!(["authorizationId"])),
        "it has no accounts"
    );

    sandbox.fail_next(Endpoint::Accounts, Fault::ServerError, 1);
    assert_eq!(refused(admin, &agency.ads_authorization, one).await["code"], "PROVIDER_UNAVAILABLE");
    assert_eq!(tables::counts(&agency.stage.db).await, before);

    agency.ada_leaves().await;
    let admin = agency.stage.admin_now();
    let error = refused(&admin, &agency.ads_authorization, one).await;
    assert_eq!((&error["code"], &error["conflictsWith"]["id"]), (&json!("CONFLICT"), &json!(agency.ads_authorization)));
    for connection in [&agency.acme_ads, &agency.globex_ads] {
        admin.does("removeConnection", json!({ "connectionId": connection }), "").await;
    }
    assert_eq!(refused(&admin, &agency.ads_authorization, one).await["code"], "NOT_FOUND", "it is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_connects_many_through_their_own_and_learns_nothing_of_what_they_cannot_see() {
    let agency = Agency::new().await;
    let through_adas = json!({ "connector": "sandbox-ads", "clientId": agency.globex, "accountId": "100-303", "externalId": "hidden" });
    agency.admin.connects_through(&agency.ads_authorization, through_adas).await;
    let known = json!({ "connectionId": agency.acme_visits, "externalId": "seen" });
    agency.member.does("updateConnection", known, "").await;
    let bens = json!({ "connector": "sandbox-ads", "clientId": agency.globex, "accountId": "100-404" });
    let bens = agency.member.connects(&agency.stage.browser(), bens, "ben").await;

    let rows = [
        json!({ "accountId": "100-404", "clientId": agency.acme }),
        json!({ "accountId": "100-303", "clientId": agency.globex }),
        json!({ "accountId": "100-303", "clientId": agency.acme, "externalId": "hidden" }),
        json!({ "accountId": "100-404", "clientId": agency.globex }),
        json!({ "accountId": "100-303", "clientId": agency.acme, "externalId": "seen" }),
    ];
    let results = connects(&agency.member, &id(&bens["authorization"]), &rows).await;
    assert_eq!(id(&results[0]["connection"]["createdBy"]), agency.member.id);
    assert_eq!(flaws(&results[1]), [json!(["CONFLICT", ["accounts", "1"], null])], "it is not theirs to see");
    assert_eq!(flaws(&results[2]), [json!(["CONFLICT", ["accounts", "2", "externalId"], null])]);
    assert_eq!(flaws(&results[3]), [json!(["CONFLICT", ["accounts", "3"], id(&bens)])]);
    assert_eq!(id(&results[4]["connection"]), agency.acme_visits);

    // What is shared with them shows them the authorization, and does not make it theirs.
    agency.shares(&agency.acme_ads, &agency.member).await;
    let input = json!({ "authorizationId": agency.ads_authorization, "accounts": rows });
    for who in [&agency.member, &agency.acme_login] {
        let answer = who.tries_mutation("connectAccounts", input.clone(), "results { accountId }").await;
        assert_eq!(answer.code(), Some("FORBIDDEN"), "{:#}", answer.body);
    }
}

/// Two calls at once that name the same external ids: the same connections come of both.
async fn at_once(one: (&Person, &str), other: (&Person, &str), rows: &[Value]) -> Vec<String> {
    let (first, second) = tokio::join!(connects(one.0, one.1, rows), connects(other.0, other.1, rows));
    let ids = |results: &[Value]| -> Vec<String> { results.iter().map(|result| id(&result["connection"])).collect() };
    assert_eq!(ids(&first), ids(&second));
    ids(&first)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_at_once_connect_each_external_id_once() {
    let agency = Agency::new().await;
    let bens = json!({ "connector": "sandbox-ads", "accountId": "100-404" });
    let bens = id(&agency.staff.connects(&agency.stage.browser(), bens, "ben").await["authorization"]);
    let clients = clients(&agency.stage, 30).await;
    let row = |account: &str, client: &String| json!({ "accountId": account, "clientId": client, "externalId": format!("{account} {client}") });
    let (admins, staffs) = ((&agency.admin, agency.ads_authorization.as_str()), (&agency.staff, bens.as_str()));
    let total = async || {
        let seen = agency.admin.sees("{ connections { totalCount } }").await;
        seen["connections"]["totalCount"].as_u64().unwrap()
    };
    let before = total().await;

    // Through one authorization, they wait for each other.
    let rows: Vec<Value> = clients.iter().map(|client| row("100-301", client)).collect();
    at_once(admins, (&agency.staff, admins.1), &rows).await;
    assert_eq!(total().await, before + 30);

    // Through two that reach the same account, in opposite order too, they meet in the tables.
    for part in clients.chunks(10) {
        let mut rows: Vec<Value> = part.iter().map(|client| row("100-303", client)).collect();
        at_once(admins, staffs, &rows).await;
        rows.reverse();
        at_once(staffs, admins, &rows).await;
    }
    assert_eq!(total().await, before + 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_accounts_are_listed_in_pages_with_what_reads_them() {
    let stage = Stage::new().await;
    let (own, authorization) = manager(&stage, 300).await;
    let clients = clients(&stage, 101).await;
    let row = |client: &String| json!({ "accountId": customer(7), "clientId": client });
    let rows: Vec<Value> = clients.iter().map(row).collect();
    let results = connects(&stage.admin, &authorization, &rows).await;

    let listed = async |arguments: String| {
        let query = format!(
            "{{ authorization(id: \"{authorization}\") {{ availableAccounts({arguments}) {{ totalCount \
             pageInfo {{ hasNextPage endCursor }} nodes {{ accountId name connections {{ id }} }} }} }} }}"
        );
        stage.admin.sees(&query).await["authorization"]["availableAccounts"].clone()
    };
    let (mut all, mut arguments) = (Vec::new(), "first: 100".to_owned());
    loop {
        let page = listed(arguments).await;
        assert_eq!(page["totalCount"], 303);
        all.extend(nodes(&page));
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        arguments = format!("first: 100, after: {}", page["pageInfo"]["endCursor"]);
    }
    let names = each(&all, "name");
    assert_eq!((names.len(), names.is_sorted_by(|one, next| one.to_lowercase() < next.to_lowercase())), (303, true));
    for account in &all {
        let reading = ids_of(&account["connections"]);
        match account["accountId"].as_str().unwrap() {
            "100-301" => assert_eq!(reading, [&*own]),
            "200-007" => {
                let all = sorted(results.iter().map(|result| id(&result["connection"])));
                assert_eq!(reading, all[..100], "the first hundred of a hundred and one");
            }
            _ => assert_eq!(reading, [""; 0]),
        }
    }

    let found = listed("search: \"CUSTOMER 29\", first: 3".to_owned()).await;
    assert_eq!((&found["totalCount"], &found["pageInfo"]["hasNextPage"]), (&json!(10), &json!(true)));
    assert_eq!(each(&nodes(&found), "accountId"), ["200-290", "200-291", "200-292"]);
    let found = listed("search: \"200-30\"".to_owned()).await;
    assert_eq!(each(&nodes(&found), "accountId"), ["200-300"]);

    // And while an attempt asks which of them is meant.
    let (attempt, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-ads" })).await;
    stage.browser().signs_in(&url, "ada").await;
    let query = format!(
        "{{ authorizationAttempt(id: \"{attempt}\") {{ status availableAccounts(search: \"customer 00\", first: 100) \
         {{ totalCount nodes {{ accountId connections {{ id }} }} }} }} }}"
    );
    let asking = stage.admin.sees(&query).await["authorizationAttempt"].clone();
    assert_eq!((&asking["status"], &asking["availableAccounts"]["totalCount"]), (&json!("NEEDS_DECISION"), &json!(9)));
    assert_eq!(ids_of(&asking["availableAccounts"]["nodes"][6]["connections"]).len(), 100);
}
