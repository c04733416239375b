//! A list, and then the events that follow it, are the list again: for every condition of a filter, for whoever may see
//! some of it, whatever happens to connections.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::harness::{Person, Setup, Stage, id, ids_of, nodes};

const STEPS: usize = 120;

/// A small agency: what can be done to it is done by chance.
struct World {
    stage: Stage,
    staff: Person,
    member: Person,
    clients: Vec<String>,
    billing: String,
    /// Everything that is connected, by id.
    connections: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let limits = |limits: &mut patchbay::config::Limits| {
            (limits.aliases, limits.fields, limits.tokens) = (1_000, 10_000, 100_000);
            limits.complexity = 10_000_000;
        };
        let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
        let grant = stage.shared_grant().await;
        let (staff, member) = (stage.person("Sam", "STAFF", None).await, stage.person("Mia", "MEMBER", None).await);
        let billing = stage.keyed("lamps", &grant.acme).await;
        let connections = vec![grant.lamps, grant.hotels, billing.clone()];
        Self { stage, staff, member, clients: vec![grant.acme, grant.globex], billing, connections }
    }

    /// Each way to look at it: as someone who sees everything, some connections, one client's.
    async fn watchers(&self) -> Vec<Watcher> {
        let authorization =
            self.stage.admin_now().connection(&self.connections[0]).await["authorization"]["id"].clone();
        let owned_by = |person: &Person| json!({ "createdBy": [person.id] });
        let filters = vec![
            json!({}),
            json!({ "status": ["CONNECTED"] }),
            json!({ "status": ["EXPIRING", "DISCONNECTED"] }),
            json!({ "clientId": [self.clients[0]] }),
            json!({ "connector": ["sandbox-billing"] }),
            json!({ "authorizationId": authorization }),
            owned_by(&self.stage.admin),
            owned_by(&self.staff),
            json!({ "relation": ["MADE_BY_ME"] }),
            json!({ "relation": ["SHARED_WITH_ME"] }),
            json!({ "reason": ["REVOKED"] }),
            json!({ "reason": ["ACCESS_LOST"] }),
            json!({ "reason": ["CREDENTIALS_REJECTED", "EXPIRED"] }),
            json!({ "search": "lamp" }),
            json!({ "search": "globex" }),
            json!({ "search": "sandbox billing" }),
            json!({ "status": ["DISCONNECTED"], "reason": ["ACCESS_LOST"], "connector": ["sandbox-ads"] }),
        ];
        let client = self.stage.person("Cleo", "CLIENT", Some(&self.clients[0])).await;
        let people = [self.stage.admin.clone(), self.staff.clone(), self.member.clone(), client];
        let mut watchers = Vec::new();
        for person in people {
            let mut filters = filters.clone();
            // What changed from here on.
            filters.push(json!({ "statusChangedAfter": patchbay::clock::Clock::now(&*self.stage.clock).to_rfc3339() }));
            watchers.push(Watcher::new(&self.stage, person, filters).await);
        }
        watchers
    }

    fn any<'w>(&self, rng: &mut StdRng, list: &'w [String]) -> Option<&'w String> {
        list.choose(rng)
    }

    /// Does something; what it was. Whether it was refused is no matter.
    async fn step(&mut self, rng: &mut StdRng) -> String {
        let (stage, admin) = (&self.stage, self.stage.admin_now());
        let connection = self.any(rng, &self.connections).cloned().unwrap_or_default();
        let client = self.any(rng, &self.clients).cloned().unwrap_or_default();
        let said = |what: &str| format!("{what} {connection}");
        match rng.random_range(0..16) {
            0 | 1 => {
                let account = ["100-301", "100-302", "100-303"].choose(rng).unwrap();
                let mut input = json!({ "connector": "sandbox-ads", "clientId": client, "accountId": account });
                let through = admin.connection(&self.connections[0]).await["authorization"]["id"].clone();
                let who = if rng.random() { admin } else { self.stage.signed_in(&self.staff.id) };
                input["using"] = json!({ "authorizationId": through });
                let made = who.tries_mutation("connect", input, "connection { id }").await;
                let made = made.body["data"]["connect"]["connection"]["id"].as_str().map(str::to_owned);
                self.connections.extend(made.clone());
                format!("connect {made:?}")
            }
            2 | 3 => {
                stage.sandbox.revoke_person("ada");
                stage.after_a_probe_interval().await;
                "revoke".to_owned()
            }
            4 => {
                stage.sandbox.change_key("lamps");
                stage.after_a_probe_interval().await;
                "change the key".to_owned()
            }
            5 | 6 => {
                stage.sandbox.withdraw(["100-301", "100-302"].choose(rng).unwrap());
                stage.later(TimeDelta::hours(27));
                stage.run_jobs().await;
                stage.later(TimeDelta::seconds(6));
                stage.run_jobs().await;
                "withdraw an account".to_owned()
            }
            7 => {
                stage.sandbox.give_back("100-301");
                stage.sandbox.give_back("100-302");
                stage.later(TimeDelta::hours(1));
                stage.run_jobs().await;
                "give the accounts back".to_owned()
            }
            8..=10 => {
                let who = if rng.random() { admin } else { stage.signed_in(&self.staff.id) };
                if connection == self.billing {
                    let input = json!({ "connectionId": connection, "credentials": stage.key("lamps") });
                    who.tries_mutation("reconnect", input, "connections { id }").await;
                    return said("reconnect with a key");
                }
                let (person, change) =
                    if rng.random_range(0..4) == 0 { ("ben", "WHOLE_AUTHORIZATION") } else { ("ada", "ASK") };
                let input = json!({ "connectionId": connection, "accountChange": change });
                let started = who.tries_mutation("reconnect", input, "attempt { authorizationUrl }").await;
                if let Some(url) = started.body["data"]["reconnect"]["attempt"]["authorizationUrl"].as_str() {
                    stage.browser().signs_in(url, person).await;
                }
                said(&format!("reconnect as {person}"))
            }
            11 => {
                let input = json!({ "connectionId": connection, "userIds": [self.member.id, self.staff.id] });
                admin.tries_mutation("shareConnection", input, "connection { id }").await;
                said("share")
            }
            12 => {
                let input = json!({ "connectionId": connection, "userIds": [self.member.id] });
                admin.tries_mutation("unshareConnection", input, "connection { id }").await;
                said("unshare")
            }
            13 => {
                let input = json!({ "connectionId": connection, "clientId": if rng.random() { json!(client) } else { Value::Null } });
                admin.tries_mutation("updateConnection", input, "connection { id }").await;
                said("move to another client")
            }
            14 => {
                let name = ["Lamps", "Hotels", "Globex's", "LAMPS of old"].choose(rng).unwrap();
                let input = json!({ "connectionId": connection, "name": name });
                admin.tries_mutation("updateConnection", input, "connection { id }").await;
                said("rename")
            }
            _ => {
                if self.connections.len() < 4 || connection == self.connections[0] {
                    return "nothing".to_owned();
                }
                let input = json!({ "connectionId": connection });
                admin.tries_mutation("removeConnection", input, "removedConnectionId").await;
                self.connections.retain(|one| *one != connection);
                said("remove")
            }
        }
    }
}

/// Someone with a cache for each filter, kept by events.
struct Watcher {
    person: Person,
    filters: Vec<Value>,
    cached: Vec<BTreeSet<String>>,
    cursor: String,
}

impl Watcher {
    async fn new(stage: &Stage, person: Person, filters: Vec<Value>) -> Self {
        let cursor = person.event_cursor().await;
        let mut watcher = Self { person, filters, cached: Vec::new(), cursor };
        watcher.cached = watcher.lists(stage).await;
        watcher
    }

    /// Asks `field` with each filter at once.
    async fn each(&self, stage: &Stage, field: &str, of_each: &str) -> Vec<Value> {
        let (mut declared, mut asked, mut variables) = (String::new(), String::new(), json!({ "after": self.cursor }));
        for (place, filter) in self.filters.iter().enumerate() {
            declared += &format!(", $f{place}: ConnectionFilter");
            asked += &format!("f{place}: {field} {of_each} ").replace("FILTER", &format!("filter: $f{place}"));
            variables[format!("f{place}")] = filter.clone();
        }
        let after = if field.contains("$after") { "$after: String!" } else { "" };
        let query = format!("query({after}{declared}) {{ {asked} }}");
        let answer = stage.signed_in(&self.person.id).ask(&query, json!({ "variables": variables })).await;
        (0..self.filters.len()).map(|place| answer[format!("f{place}")].clone()).collect()
    }

    async fn lists(&self, stage: &Stage) -> Vec<BTreeSet<String>> {
        let lists = self.each(stage, "connections(FILTER, first: 100)", "{ nodes { id } }").await;
        lists.iter().map(|list| nodes(list).iter().map(id).collect()).collect()
    }

    /// Brings the caches up to date by events alone.
    async fn hears(&mut self, stage: &Stage) {
        let of_each = "{ nodes { connections { id } removedConnectionIds } endCursor hasNextPage }";
        let changes = self.each(stage, "connectionChanges(after: $after, FILTER, first: 100)", of_each).await;
        for (cache, page) in self.cached.iter_mut().zip(&changes) {
            assert_eq!(page["hasNextPage"], false);
            for change in nodes(page) {
                cache.extend(ids_of(&change["connections"]));
                for gone in change["removedConnectionIds"].as_array().unwrap() {
                    cache.remove(gone.as_str().unwrap());
                }
            }
        }
        self.cursor = changes[0]["endCursor"].as_str().unwrap().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_kept_by_events_is_the_list() {
    let seed = 11;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    let mut watchers = world.watchers().await;
    let (mut done, mut moved) = (Vec::new(), 0);
    for _ in 0..STEPS {
        done.push(world.step(&mut rng).await);
        for watcher in &mut watchers {
            let before = watcher.cached.clone();
            watcher.hears(&world.stage).await;
            moved += before.iter().zip(&watcher.cached).filter(|(before, after)| before != after).count();
            let lists = watcher.lists(&world.stage).await;
            for (place, filter) in watcher.filters.iter().enumerate() {
                let last = &done[done.len().saturating_sub(8)..];
                assert_eq!(watcher.cached[place], lists[place], "{filter} after {last:#?}");
            }
        }
    }
    assert!(moved > STEPS, "little happened: {moved} {done:#?}");
}
