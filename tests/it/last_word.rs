//! The last word that a tray has of something is true, whatever came before: what breaks, recovers, breaks again within ten
//! minutes or after them, is reconnected or removed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    harness::{Person, Socket, Stage, each, id, ids_of, nodes},
    nodes::two_nodes_apart,
};

/// What can happen to a connection of the billing service, or in between.
#[derive(Debug, Clone, Copy)]
enum Step {
    Breaks,
    Works,
    Waits(i64),
    IsReconnected,
    IsRemovedAndConnectedAnew,
    IsRead,
}

impl Step {
    fn any(random: &mut StdRng) -> Self {
        match random.random_range(0..100) {
            0..30 => Self::Breaks,
            30..60 => Self::Works,
            60..70 => Self::Waits(3),
            70..80 => Self::Waits(11),
            80..88 => Self::IsReconnected,
            88..92 => Self::IsRemovedAndConnectedAnew,
            _ => Self::IsRead,
        }
    }
}

/// Two connections of one key each, on as many nodes as there are.
struct Lamps<'a> {
    stage: &'a Stage,
    nodes: Vec<&'a Stage>,
    connections: BTreeMap<&'static str, String>,
    /// The members, who hear of one each, and the ADMIN, who hears of both.
    people: Vec<Person>,
}

impl<'a> Lamps<'a> {
    async fn new(nodes: Vec<&'a Stage>) -> Self {
        let stage = nodes[0];
        let mut it = Self { stage, nodes, connections: BTreeMap::new(), people: vec![stage.admin.clone()] };
        for (name, key) in [("Mia", "lamps"), ("Max", "hotels")] {
            it.connects(key).await;
            let member = stage.person(name, "MEMBER", None).await;
            it.shares(key, &member).await;
            it.people.push(member);
        }
        it
    }

    async fn connects(&mut self, key: &'static str) {
        let input = json!({ "connector": "sandbox-billing", "using": { "credentials": self.stage.key(key) } });
        let made = self.stage.admin_now().does("connect", input, "connection { id }").await;
        self.connections.insert(key, id(&made["connection"]));
    }

    async fn shares(&self, key: &str, member: &Person) {
        let input = json!({ "connectionId": self.connections[key], "userIds": [member.id] });
        self.stage.admin_now().does("shareConnection", input, "connection { id }").await;
    }

    async fn does(&mut self, step: Step, random: &mut StdRng) {
        let key = if random.random_bool(0.6) { "lamps" } else { "hotels" };
        let node = self.nodes[random.random_range(0..self.nodes.len())];
        let admin = self.stage.admin_now().at(&node.url);
        let connection = self.connections[key].clone();
        let check = json!({ "connectionId": connection });
        match step {
            Step::Breaks => {
                self.stage.sandbox.fail_next(Endpoint::Keyed, Fault::Unauthorized, 1);
                admin.does("checkConnection", check, "connection { id }").await;
            }
            Step::Works => drop(admin.does("checkConnection", check, "connection { id }").await),
            Step::Waits(minutes) => self.stage.later(TimeDelta::minutes(minutes)),
            Step::IsReconnected => {
                let input = json!({ "connectionId": connection, "credentials": self.stage.key(key) });
                admin.does("reconnect", input, "").await;
            }
            Step::IsRemovedAndConnectedAnew => {
                admin.does("removeConnection", check, "").await;
                self.connects(key).await;
                let member = self.people[if key == "lamps" { 1 } else { 2 }].clone();
                self.shares(key, &member).await;
            }
            Step::IsRead => {
                let reader = &self.people[random.random_range(0..self.people.len())];
                self.stage.signed_in(&reader.id).does("markNotificationsRead", json!({}), "notifications { id }").await;
            }
        }
    }

    /// Compares every tray with what is.
    async fn assert_true(&self, what_happened: &[Step]) {
        for person in &self.people {
            let person = self.stage.signed_in(&person.id);
            let (tray, unread) = whole_tray(&person).await;
            let unread_ones = tray.iter().filter(|told| told["readAt"].is_null()).count();
            assert_eq!(unread, i64::try_from(unread_ones).unwrap());
            let mut told_of = BTreeSet::new();
            for told in &tray {
                let outage = &told["disconnection"];
                if told_of.insert(id(outage)) {
                    let recovered = outage["endedBy"] == "RECOVERED";
                    let last = if recovered { "RECOVERED" } else { "DISCONNECTED" };
                    assert_eq!(told["kind"], last, "{what_happened:?}\n{tray:#?}");
                }
            }
            for connection in self.connections.values() {
                let seen = person.connection(connection).await;
                let about = |told: &&Value| ids_of(&told["connections"]["nodes"]).contains(connection);
                let last = tray.iter().find(about);
                let open = last.is_some_and(|last| last["disconnection"]["endedAt"].is_null());
                if !seen.is_null() {
                    let is_down = seen["status"] == "DISCONNECTED";
                    assert_eq!(is_down, open, "{what_happened:?}\n{seen:#}\n{tray:#?}");
                }
            }
        }
    }
}

async fn whole_tray(person: &Person) -> (Vec<Value>, i64) {
    let query = "{ viewer { unreadNotificationCount notifications(first: 100) { nodes { id kind title readAt \
                 disconnection { id endedAt endedBy } connections { nodes { id } } } } } }";
    let viewer = person.sees(query).await["viewer"].clone();
    (nodes(&viewer["notifications"]), viewer["unreadNotificationCount"].as_i64().unwrap())
}

/// Returns once the events of a tray since `cursor`, each in its order, say that `tray` is in it.
async fn hears_of(socket: &mut Socket, cursor: &str, tray: &BTreeSet<String>) {
    let added = "subscription($after: String) { notificationAdded(after: $after) { cursor notification { id } } }";
    let removed = "subscription($after: String) { notificationsRemoved(after: $after) { cursor notificationIds } }";
    socket.subscribe("added", added, json!({ "after": cursor })).await;
    socket.subscribe("removed", removed, json!({ "after": cursor })).await;
    let (mut came, mut gone) = (BTreeSet::new(), BTreeSet::new());
    while came.difference(&gone).cloned().collect::<BTreeSet<_>>() != *tray {
        let event = socket.event().await;
        if let Some(added) = event["notificationAdded"]["notification"]["id"].as_str() {
            came.insert(added.to_owned());
        }
        let removed = event["notificationsRemoved"]["notificationIds"].as_array();
        gone.extend(removed.into_iter().flatten().map(|id| id.as_str().unwrap().to_owned()));
    }
}

async fn walk(nodes: Vec<&Stage>, seed: u64, steps: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut it = Lamps::new(nodes).await;
    let mut happened = Vec::new();
    for _ in 0..steps {
        let step = Step::any(&mut random);
        it.does(step, &mut random).await;
        happened.push(step);
        it.assert_true(&happened).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_the_last_word_of_every_tray_is_true() {
    let stage = Stage::new().await;
    walk(vec![&stage], 1, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_node_it_happens_at_the_last_word_of_every_tray_is_true() {
    let Some((first, second)) = two_nodes_apart(TimeDelta::minutes(5)).await else { return };
    walk(vec![&first, &second], 2, 60).await;
}

async fn is(stage: &Stage, connection: &str, works: bool) {
    if !works {
        stage.sandbox.fail_next(Endpoint::Keyed, Fault::Unauthorized, 1);
    }
    let input = json!({ "connectionId": connection });
    let checked = stage.admin_now().does("checkConnection", input, "connection { status }").await;
    assert_eq!(checked["connection"]["status"], if works { "CONNECTED" } else { "DISCONNECTED" });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_read_that_it_works_again_is_told_that_it_does_not_and_nobody_else_is() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let lamps = stage.keyed("lamps", &acme).await;
    let cursor = stage.admin.event_cursor().await;
    is(&stage, &lamps, false).await;
    is(&stage, &lamps, true).await;
    let kinds = async |person: &Person| {
        let tray = stage.signed_in(&person.id).tray().await;
        tray.iter().map(|told| (told["kind"].clone(), told["readAt"].is_null())).collect::<Vec<_>>()
    };
    stage.admin.does("markNotificationsRead", json!({}), "notifications { id }").await;
    assert_eq!(kinds(&staff).await, [(json!("RECOVERED"), true), (json!("DISCONNECTED"), true)]);
    let before: Vec<String> = staff.tray().await.iter().map(id).collect();

    is(&stage, &lamps, false).await;
    assert_eq!(kinds(&stage.admin).await, [(json!("DISCONNECTED"), true)], "she had read that it works");
    assert_eq!(kinds(&staff).await, [(json!("DISCONNECTED"), true)]);
    assert_eq!(id(&staff.tray().await[0]), before[1], "he had not, and is not told again");

    // Who follows a tray knows what is in it.
    is(&stage, &lamps, true).await;
    let mut socket = stage.admin.socket().await;
    let (tray, _) = whole_tray(&stage.admin).await;
    hears_of(&mut socket, &cursor, &tray.iter().map(id).collect()).await;
    assert_eq!(each(&tray, "kind"), ["RECOVERED", "DISCONNECTED"]);

    let mut window = staff.socket().await;
    let removed = "subscription($after: String) { notificationsRemoved(after: $after) { notificationIds viewer { \
                   unreadNotificationCount } } }";
    window.subscribe("1", removed, json!({ "after": cursor })).await;
    let event = window.event().await["notificationsRemoved"].clone();
    assert_eq!(event, json!({ "notificationIds": [before[0]], "viewer": { "unreadNotificationCount": 2 } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_that_something_works_which_does_not() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let member = stage.person("Mia", "MEMBER", None).await;
    let share = json!({ "connectionId": grant.hotels, "userIds": [member.id] });
    stage.admin.does("shareConnection", share, "connection { id }").await;
    // Hotels lose access on their own, then the whole grant fails for a moment.
    stage.sandbox.withdraw("100-302");
    let check = async |connection: &str| {
        let input = json!({ "connectionId": connection });
        stage.admin_now().does("checkConnection", input, "connection { status }").await;
    };
    check(&grant.hotels).await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 1);
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_grant"), 1);
    check(&grant.lamps).await;
    check(&grant.lamps).await;
    assert_eq!(
        (stage.status(&grant.lamps).await, stage.status(&grant.hotels).await),
        ("CONNECTED".into(), "DISCONNECTED".into())
    );
    assert_eq!(stage.admin.titles().await[0], "Sandbox Ads works again for Acme.");
    let hers = member.tray().await;
    assert!(!each(&hers, "kind").contains(&"RECOVERED"), "{hers:#?}");
    stage.sandbox.give_back("100-302");
    check(&grant.hotels).await;
    assert_eq!(member.titles().await[0], "Sandbox Ads works again for Globex.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_outlives_its_grant_brings_nothing_back() {
    let stage = Stage::new().await;
    let lamps = stage.shared_grant().await.lamps;
    // The grant has ended, and the API does not know yet.
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_grant"), 1_000);
    stage.later(TimeDelta::minutes(58));
    stage.run_jobs().await;
    assert_eq!(stage.status(&lamps).await, "DISCONNECTED");
    let probes = stage.sandbox.calls(Endpoint::Identity);
    for _ in 0..3 {
        let input = json!({ "connectionId": lamps });
        stage.admin_now().does("checkConnection", input, "connection { status }").await;
        assert_eq!(stage.status(&lamps).await, "DISCONNECTED");
    }
    assert_eq!(stage.sandbox.calls(Endpoint::Identity), probes, "it is not asked with that token");
}
