//! One heals all: reconnecting one connection brings back every connection of its authorization, for every client.

use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage};

fn id(node: &Value) -> &str {
    node["id"].as_str().unwrap()
}

/// One connection of Ada's site for each of three clients: the admin's, Bob's (STAFF) and Nina's (MEMBER).
struct Shared {
    stage: Stage,
    bob: Person,
    nina: Person,
    admins: Value,
    bobs: Value,
    ninas: Value,
}

impl Shared {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let (bob, nina) = (stage.person("Bob", "STAFF", None).await, stage.person("Nina", "MEMBER", None).await);
        let mut made = Vec::new();
        for (owner, client) in [(&stage.admin, "Acme"), (&bob, "Globex"), (&nina, "Initech")] {
            let client = stage.admin.creates_client(client).await;
            let input = json!({ "connector": "sandbox-analytics", "clientId": client });
            made.push(owner.connects(&stage.browser(), input, "ada").await);
        }
        let [admins, bobs, ninas] = made.try_into().unwrap();
        Self { stage, bob, nina, admins, bobs, ninas }
    }

    fn all(&self) -> [&Value; 3] {
        [&self.admins, &self.bobs, &self.ninas]
    }

    async fn breaks(&self) {
        self.stage.sandbox.revoke_person("ada");
        self.stage.after_a_probe_interval().await;
    }

    async fn now(&self, connection: &Value) -> Value {
        self.stage.admin.connection(id(connection)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sign_in_heals_every_connection_of_the_authorization_across_clients() {
    let it = Shared::new().await;
    it.breaks().await;
    for connection in it.all() {
        assert_eq!(it.now(connection).await["status"], "DISCONNECTED");
    }
    let outage = it.now(&it.admins).await["disconnection"]["id"].clone();
    assert_eq!(it.now(&it.bobs).await["disconnection"]["id"], outage, "one outage covers them all");

    let cara = it.stage.person("Cara", "STAFF", None).await;
    let cursor = cara.event_cursor().await;
    let (attempt, landing) = cara.reconnects(&it.stage.browser(), id(&it.bobs), "ASK", "ada").await;
    assert_eq!(landing.status, 200);
    assert_eq!((&attempt["kind"], &attempt["status"]), (&json!("RECONNECT"), &json!("SUCCEEDED")));
    assert_eq!(attempt["expectedAccount"]["name"], "ada@lindqvist.example");
    assert_eq!((&attempt["connectionCount"], attempt["connections"].as_array().unwrap().len()), (&json!(3), 3));
    assert_eq!(attempt["stillDisconnected"], json!([]));

    let changes = cara.changes_since(&cursor).await;
    assert_eq!(changes.len(), 1, "{changes:#?}");
    let change = &changes[0];
    assert_eq!((&change["kind"], &change["connectionCount"]), (&json!("RECONNECTED"), &json!(3)));
    assert_eq!(change["by"]["id"], cara.id);
    assert_eq!(change["clients"].as_array().unwrap().len(), 3);
    assert_eq!((&change["disconnection"]["id"], &change["disconnection"]["endedBy"]), (&outage, &json!("RECONNECTED")));
    assert_eq!(change["disconnection"]["reconnectedBy"]["id"], cara.id);

    for (connection, owner) in [(&it.admins, &it.stage.admin), (&it.bobs, &it.bob), (&it.ninas, &it.nina)] {
        let now = it.now(connection).await;
        assert_eq!((&now["status"], &now["disconnection"]), (&json!("CONNECTED"), &Value::Null));
        assert_eq!(now["createdBy"]["id"], cara.id);
        assert_eq!(now["sharedWith"], json!([{ "id": owner.id }]));
        assert_eq!(now["authorization"]["id"], it.admins["authorization"]["id"]);
    }
    it.stage.after_a_probe_interval().await;
    assert_eq!(it.now(&it.ninas).await["status"], "CONNECTED", "the new grant works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_heals_all_and_becomes_the_owner_of_theirs_alone() {
    let it = Shared::new().await;
    let share = json!({ "connectionId": it.bobs["id"], "userIds": [it.nina.id] });
    it.stage.admin.does("shareConnection", share, "").await;
    it.breaks().await;
    let cursor = it.nina.event_cursor().await;
    let (attempt, _) = it.nina.reconnects(&it.stage.browser(), id(&it.bobs), "ASK", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");

    // She hears of the two that she may see.
    assert_eq!((&attempt["connectionCount"], attempt["connections"].as_array().unwrap().len()), (&json!(2), 2));
    let changes = it.nina.changes_since(&cursor).await;
    assert_eq!((changes.len(), &changes[0]["connectionCount"]), (1, &json!(2)));

    let (admins, bobs, ninas) = (it.now(&it.admins).await, it.now(&it.bobs).await, it.now(&it.ninas).await);
    for connection in [&admins, &bobs, &ninas] {
        assert_eq!(connection["status"], "CONNECTED");
    }
    assert_eq!((&admins["createdBy"]["id"], &admins["sharedWith"]), (&json!(it.stage.admin.id), &json!([])));
    assert_eq!((&bobs["createdBy"]["id"], &bobs["sharedWith"]), (&json!(it.nina.id), &json!([{ "id": it.bob.id }])));
    assert_eq!((&ninas["createdBy"]["id"], &ninas["sharedWith"]), (&json!(it.nina.id), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_is_inactive_does_not_stay() {
    let it = Shared::new().await;
    it.stage.admin.does("updateUser", json!({ "userId": it.bob.id, "active": false }), "").await;
    it.stage.admin.reconnects(&it.stage.browser(), id(&it.bobs), "ASK", "ada").await;
    let bobs = it.now(&it.bobs).await;
    assert_eq!((&bobs["createdBy"]["id"], &bobs["sharedWith"]), (&json!(it.stage.admin.id), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_tend_it_reconnects_nothing() {
    let it = Shared::new().await;
    let input = |connection: &Value| json!({ "connectionId": connection["id"] });
    let acme = it.admins["client"]["id"].as_str().unwrap();
    let carl = it.stage.person("Carl", "CLIENT", Some(acme)).await;
    for connection in [&it.admins, &it.bobs] {
        assert_eq!(carl.tries_mutation("reconnect", input(connection), "").await.code(), Some("FORBIDDEN"));
    }
    for (person, connection) in [(&it.nina, &it.admins["id"]), (&it.stage.stranger().await, &it.ninas["id"])] {
        let error = person.refused("reconnect", json!({ "connectionId": connection })).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("NOT_FOUND"), &json!(["connectionId"])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_of_it_when_they_may_not_any_more_once_they_are_back() {
    let it = Shared::new().await;
    let share = json!({ "connectionId": it.bobs["id"], "userIds": [it.nina.id] });
    it.stage.admin.does("shareConnection", share.clone(), "").await;
    it.breaks().await;
    let browser = it.stage.browser();
    let (attempt, url) = it.nina.starts_reconnecting(id(&it.bobs), "ASK").await;
    let callback = browser.allows(&url, "ada").await;
    it.stage.admin.does("unshareConnection", share, "").await;
    browser.opens(callback.as_str()).await;
    let attempt = it.nina.attempt(&attempt).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("NOT_FOUND")));
    assert_eq!(it.now(&it.bobs).await["status"], "DISCONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_access_on_its_own_is_back_only_if_it_works() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let ads = |account: &str| json!({ "connector": "sandbox-ads", "accountId": account });
    let lamps = stage.admin.connects(&browser, ads("100-301"), "ada").await;
    let fjord = stage.admin.connects(&browser, ads("100-303"), "ada").await;
    stage.sandbox.withdraw("100-303");
    let checked = stage
        .admin
        .does("checkConnection", json!({ "connectionId": fjord["id"] }), &format!("connection {{ {CONNECTION} }}"))
        .await;
    assert_eq!(checked["connection"]["disconnection"]["reason"], "ACCESS_LOST");
    assert_eq!(checked["connection"]["disconnection"]["connection"]["id"], fjord["id"]);
    assert_eq!(stage.admin.connection(id(&lamps)).await["status"], "CONNECTED");
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;

    let (attempt, _) = stage.admin.reconnects(&browser, id(&fjord), "ASK", "ada").await;
    assert_eq!((&attempt["status"], &attempt["connectionCount"]), (&json!("SUCCEEDED"), &json!(1)), "{attempt:#}");
    assert_eq!(attempt["connections"][0]["id"], lamps["id"]);
    assert_eq!(attempt["stillDisconnected"], json!([{ "id": fjord["id"] }]));
    let lost = stage.admin.connection(id(&fjord)).await;
    assert_eq!((&lost["status"], &lost["disconnection"]["reason"]), (&json!("DISCONNECTED"), &json!("ACCESS_LOST")));
    assert_eq!(lost["disconnection"]["reconnectConnectionId"], fjord["id"]);

    stage.sandbox.give_back("100-303");
    let (attempt, _) = stage.admin.reconnects(&browser, id(&fjord), "ASK", "ada").await;
    assert_eq!((&attempt["connectionCount"], &attempt["stillDisconnected"]), (&json!(2), &json!([])));
    let back = stage.admin.connection(id(&fjord)).await;
    assert_eq!((&back["status"], &back["disconnection"]), (&json!("CONNECTED"), &Value::Null));
    let open = stage.admin.sees("{ disconnections(filter: { open: true }) { totalCount } }").await;
    assert_eq!(open["disconnections"]["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_what_is_removed_finds_nothing() {
    let it = Shared::new().await;
    it.stage.admin.does("removeConnection", json!({ "connectionId": it.bobs["id"] }), "").await;
    let error = it.bob.refused("reconnect", json!({ "connectionId": it.bobs["id"] })).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("NOT_FOUND"), &json!(["connectionId"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buttons_of_an_outage_are_gone_everywhere_once_it_has_ended() {
    let it = Shared::new().await;
    it.breaks().await;
    let told = it.bob.tray().await;
    let button = told[0]["disconnection"]["reconnectConnectionId"].as_str().unwrap().to_owned();
    it.stage.admin.reconnects(&it.stage.browser(), &button, "ASK", "ada").await;
    for person in [&it.stage.admin, &it.bob, &it.nina] {
        let tray = person.tray().await;
        assert_eq!(tray.len(), 1, "{tray:#?}");
        assert_eq!(tray[0]["disconnection"]["reconnectConnectionId"], Value::Null);
        assert_ne!(tray[0]["disconnection"]["endedAt"], Value::Null);
    }
}
