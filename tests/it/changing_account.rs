//! Somebody else signs in than before: what `accountChange` says is done, never anything silently.

use patchbay::sandbox::Ended;
use serde_json::{Value, json};

use crate::harness::{Browser, Person, Stage};

const BEN: &str = "person-9128";

fn id(node: &Value) -> &str {
    node["id"].as_str().unwrap()
}

fn signed_in_as(connection: &Value) -> &str {
    connection["authorization"]["account"]["accountId"].as_str().unwrap()
}

/// Ada's site, connected for two clients by one authorization, and a browser.
struct Sites {
    stage: Stage,
    browser: Browser,
    acme: Value,
    globex: Value,
}

impl Sites {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let browser = stage.browser();
        let acme = connects(&stage, &browser, "Acme", "ada").await;
        let globex = connects(&stage, &browser, "Globex", "ada").await;
        Self { stage, browser, acme, globex }
    }

    async fn now(&self) -> (Value, Value) {
        (self.stage.admin.connection(id(&self.acme)).await, self.stage.admin.connection(id(&self.globex)).await)
    }

    /// Ben signs in where Ada did before: the attempt as it stands then.
    async fn ben_signs_in(&self, change: &str) -> Value {
        self.stage.admin.reconnects(&self.browser, id(&self.acme), change, "ben").await.0
    }

    fn ended(&self) -> Vec<Option<Ended>> {
        self.stage.sandbox.grants().iter().map(|grant| grant.ended).collect()
    }
}

async fn connects(stage: &Stage, browser: &Browser, client: &str, person: &str) -> Value {
    let client = stage.admin.creates_client(client).await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": client });
    stage.admin.connects(browser, input, person).await
}

async fn decides(person: &Person, attempt: &Value, decision: Value) -> Value {
    let mut input = decision;
    input["attemptId"] = attempt["id"].clone();
    person.mutates("decideAttempt", input, "attempt { status connectionCount error { code } }").await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_it_asks_and_refusing_changes_nothing() {
    let it = Sites::new().await;
    let before = it.now().await;
    let attempt = it.ben_signs_in("ASK").await;
    assert_eq!(attempt["status"], "NEEDS_DECISION");
    assert_eq!(attempt["signedInAs"]["accountId"], BEN);
    assert_eq!(attempt["expectedAccount"]["accountId"], "person-7041");
    assert_eq!(it.now().await, before);

    for undecided in [json!({}), json!({ "accountChange": "ASK" })] {
        let error = decides(&it.stage.admin, &attempt, undecided).await["errors"][0].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["accountChange"])));
    }
    let refused = decides(&it.stage.admin, &attempt, json!({ "accountChange": "REFUSE" })).await["attempt"].clone();
    assert_eq!((&refused["status"], &refused["error"]["code"]), (&json!("FAILED"), &json!("ACCOUNT_MISMATCH")));
    assert_eq!(it.now().await, before);
    assert_eq!(it.ended(), [None, None, Some(Ended::ByClient)], "Ben's grant goes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuse_is_a_mismatch_and_nothing_changes() {
    let it = Sites::new().await;
    let before = it.now().await;
    let attempt = it.ben_signs_in("REFUSE").await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("ACCOUNT_MISMATCH")));
    assert_eq!(it.now().await, before);
    assert_eq!(it.ended(), [None, None, Some(Ended::ByClient)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_account_is_no_change_whatever_was_said() {
    for change in ["ASK", "REFUSE", "THIS_CONNECTION", "WHOLE_AUTHORIZATION"] {
        let it = Sites::new().await;
        it.stage.sandbox.revoke_person("ada");
        it.stage.after_a_probe_interval().await;
        let (attempt, _) = it.stage.admin.reconnects(&it.browser, id(&it.acme), change, "ada").await;
        assert_eq!((&attempt["status"], &attempt["connectionCount"]), (&json!("SUCCEEDED"), &json!(2)), "{change}");
        let (acme, globex) = it.now().await;
        assert_eq!(acme["authorization"]["id"], globex["authorization"]["id"]);
        assert_eq!((&acme["status"], &globex["status"]), (&json!("CONNECTED"), &json!("CONNECTED")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn this_connection_moves_alone() {
    for at_once in [true, false] {
        let it = Sites::new().await;
        it.stage.sandbox.revoke_person("ada");
        it.stage.after_a_probe_interval().await;
        let attempt = it.ben_signs_in(if at_once { "THIS_CONNECTION" } else { "ASK" }).await;
        if !at_once {
            let decided = decides(&it.stage.admin, &attempt, json!({ "accountChange": "THIS_CONNECTION" })).await;
            assert_eq!(
                (&decided["attempt"]["status"], &decided["attempt"]["connectionCount"]),
                (&json!("SUCCEEDED"), &json!(1))
            );
        }
        let (acme, globex) = it.now().await;
        assert_eq!((acme["status"].as_str(), signed_in_as(&acme)), (Some("CONNECTED"), BEN));
        assert_ne!(acme["authorization"]["id"], globex["authorization"]["id"]);
        assert_eq!((&globex["status"], &globex["disconnection"]["endedAt"]), (&json!("DISCONNECTED"), &Value::Null));
        assert_eq!(globex["authorization"]["id"], it.globex["authorization"]["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_authorization_moves_together_and_the_old_grant_goes_back() {
    for at_once in [true, false] {
        let it = Sites::new().await;
        let attempt = it.ben_signs_in(if at_once { "WHOLE_AUTHORIZATION" } else { "ASK" }).await;
        if !at_once {
            let decided = decides(&it.stage.admin, &attempt, json!({ "accountChange": "WHOLE_AUTHORIZATION" })).await;
            assert_eq!(
                (&decided["attempt"]["status"], &decided["attempt"]["connectionCount"]),
                (&json!("SUCCEEDED"), &json!(2))
            );
        }
        let (acme, globex) = it.now().await;
        for connection in [&acme, &globex] {
            assert_eq!((connection["status"].as_str(), signed_in_as(connection)), (Some("CONNECTED"), BEN));
        }
        assert_eq!(acme["authorization"]["id"], globex["authorization"]["id"]);
        assert_eq!(it.ended()[1..], [Some(Ended::ByClient), None], "the one that was in use is given back");
        let seen = it.stage.admin.sees("{ authorizations { totalCount } }").await;
        assert_eq!(seen["authorizations"]["totalCount"], 1);
        it.stage.after_a_probe_interval().await;
        assert_eq!(it.now().await.1["status"], "CONNECTED");

        // Ada's site is free for the client again, Ben's is taken.
        let again = json!({ "connector": "sandbox-analytics", "clientId": it.acme["client"]["id"] });
        it.stage.admin.connects(&it.browser, again.clone(), "ada").await;
        let (attempt, url) = it.stage.admin.starts_connecting(again).await;
        it.browser.signs_in(&url, "ben").await;
        let attempt = it.stage.admin.attempt(&attempt).await;
        assert_eq!(attempt["error"]["conflictsWith"]["id"], it.acme["id"], "{attempt:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn onto_an_account_that_is_authorized_already_the_two_become_one() {
    let it = Sites::new().await;
    let bob = it.stage.person("Bob", "STAFF", None).await;
    let initech = it.stage.admin.creates_client("Initech").await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": initech });
    let bens = bob.connects(&it.browser, input, "ben").await;
    let attempt = it.ben_signs_in("WHOLE_AUTHORIZATION").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    let (acme, globex) = it.now().await;
    for connection in [&acme, &globex] {
        assert_eq!(connection["authorization"]["id"], bens["authorization"]["id"]);
    }
    let query = "query($id: ID!) { authorization(id: $id) { removedAt } authorizations { totalCount } }";
    let left = it.stage.admin.ask(query, json!({ "variables": { "id": it.acme["authorization"]["id"] } })).await;
    assert_ne!(left["authorization"]["removedAt"], Value::Null);
    assert_eq!(left["authorizations"]["totalCount"], 1);
    assert_eq!(it.ended()[1], Some(Ended::ByClient), "the emptied one's grant is given back");

    // Ben's authorization was working: nobody reconnected Bob's connection, and it stays his.
    let bobs = it.stage.admin.connection(id(&bens)).await;
    assert_eq!((&bobs["createdBy"]["id"], &bobs["sharedWith"]), (&json!(bob.id), &json!([])));
    // And it lives by the newer grant.
    assert!(it.stage.sandbox.revoke_grant(3));
    it.stage.after_a_probe_interval().await;
    assert_eq!(it.stage.admin.connection(id(&bens)).await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_authorization_that_others_move_onto_is_healed_too() {
    let it = Sites::new().await;
    let bens = connects(&it.stage, &it.browser, "Initech", "ben").await;
    it.stage.sandbox.revoke_person("ben");
    it.stage.after_a_probe_interval().await;
    assert_eq!(it.stage.admin.connection(id(&bens)).await["status"], "DISCONNECTED");
    let cursor = it.stage.admin.event_cursor().await;
    it.ben_signs_in("THIS_CONNECTION").await;
    assert_eq!(it.stage.admin.connection(id(&bens)).await["status"], "CONNECTED");
    let (acme, globex) = it.now().await;
    assert_eq!((signed_in_as(&acme), signed_in_as(&globex)), (BEN, "person-7041"));
    let changes = it.stage.admin.changes_since(&cursor).await;
    let kinds: Vec<_> = changes.iter().map(|change| change["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["RECONNECTED", "UPDATED"]);
    assert_eq!(changes[0]["connections"], json!([{ "id": bens["id"] }]));
    assert_eq!(changes[1]["connections"], json!([{ "id": it.acme["id"] }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_other_account_already_is_in_conflict_and_nothing_moves() {
    let it = Sites::new().await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": it.acme["client"]["id"] });
    let bens = it.stage.admin.connects(&it.browser, input, "ben").await;
    let before = it.now().await;
    for change in ["THIS_CONNECTION", "WHOLE_AUTHORIZATION"] {
        let attempt = it.ben_signs_in(change).await;
        assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("CONFLICT")), "{change}");
        assert_eq!(attempt["error"]["conflictsWith"]["id"], bens["id"]);
        assert_eq!(it.now().await, before);
    }
    it.stage.after_a_probe_interval().await;
    assert_eq!(it.stage.admin.connection(id(&bens)).await["status"], "CONNECTED");
    assert_eq!(it.now().await.0["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_new_sign_in_does_not_reach_is_in_conflict_until_another_is_chosen() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let ads = |account: &str| json!({ "connector": "sandbox-ads", "accountId": account });
    let fjord = stage.admin.connects(&browser, ads("100-303"), "ada").await;
    let lamps = stage.admin.connects(&browser, ads("100-301"), "ada").await;
    let before = stage.admin.connection(id(&fjord)).await;

    // Ben reaches the one, and not the other that would have to come along.
    let (attempt, _) = stage.admin.reconnects(&browser, id(&fjord), "WHOLE_AUTHORIZATION", "ben").await;
    assert_eq!(
        (&attempt["error"]["code"], &attempt["error"]["conflictsWith"]["id"]),
        (&json!("CONFLICT"), &lamps["id"])
    );
    assert_eq!(stage.admin.connection(id(&fjord)).await, before);

    let (attempt, _) = stage.admin.reconnects(&browser, id(&lamps), "ASK", "ben").await;
    assert_eq!(attempt["status"], "NEEDS_DECISION");
    let alone = decides(&stage.admin, &attempt, json!({ "accountChange": "THIS_CONNECTION" })).await;
    assert_eq!(
        (&alone["errors"][0]["code"], &alone["errors"][0]["conflictsWith"]["id"]),
        (&json!("CONFLICT"), &lamps["id"])
    );
    assert_eq!(stage.admin.connection(id(&lamps)).await["account"]["accountId"], "100-301");

    let chosen = json!({ "accountChange": "THIS_CONNECTION", "accountId": "100-404" });
    let decided = decides(&stage.admin, &attempt, chosen).await;
    assert_eq!((&decided["errors"], &decided["attempt"]["status"]), (&json!([]), &json!("SUCCEEDED")));
    let moved = stage.admin.connection(id(&lamps)).await;
    assert_eq!((signed_in_as(&moved), &moved["account"]["name"]), (BEN, &json!("Okafor Orchards")));
    assert_eq!(stage.admin.connection(id(&fjord)).await["authorization"]["id"], before["authorization"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_does_not_move_what_they_may_not_tend() {
    let it = Sites::new().await;
    let nina = it.stage.person("Nina", "MEMBER", None).await;
    let share = json!({ "connectionId": it.acme["id"], "userIds": [nina.id] });
    it.stage.admin.does("shareConnection", share, "").await;
    let before = it.now().await;
    let (attempt, _) = nina.reconnects(&it.browser, id(&it.acme), "WHOLE_AUTHORIZATION", "ben").await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("REJECTED")));
    assert_eq!(attempt["error"]["conflictsWith"], Value::Null, "nothing is said of what she does not see");
    assert_eq!(it.now().await, before);

    let (attempt, _) = nina.reconnects(&it.browser, id(&it.acme), "THIS_CONNECTION", "ben").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    let (acme, globex) = it.now().await;
    assert_eq!((&acme["createdBy"]["id"], &globex["createdBy"]["id"]), (&json!(nina.id), &json!(it.stage.admin.id)));
}
