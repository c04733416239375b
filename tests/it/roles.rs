//! What each role may do: every root field of the server's own SDL, for each role and for nobody.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    agency::{Agency, ask_with, id},
    harness::{Answer, Frame, Person, Socket},
    schema_fields,
};

/// What comes of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is answered, or done.
    Done,
    /// There is nothing to be seen, and nothing wrong: null, or no event.
    Nothing,
    /// BAD_USER_INPUT: as for an id of nothing.
    Unknown,
    Forbidden,
}
use Outcome::{Done, Forbidden, Nothing, Unknown};

/// A root field as it is asked, with words in place of ids, and what comes of it for each of [`ROLES`].
type Row = (&'static str, [Outcome; 4]);

const ROLES: [&str; 4] = ["ADMIN", "STAFF", "MEMBER", "CLIENT"];

const EVERYONE: [Outcome; 4] = [Done, Done, Done, Done];
const NOT_CLIENTS: [Outcome; 4] = [Done, Done, Done, Forbidden];
const STAFF: [Outcome; 4] = [Done, Done, Forbidden, Forbidden];
const ADMINS: [Outcome; 4] = [Done, Forbidden, Forbidden, Forbidden];

const QUERIES: &[Row] = &[
    ("viewer { id role user { name } }", EVERYONE),
    (r#"node(id: "@connection") { id }"#, EVERYONE),
    (r#"nodes(ids: ["@connection"]) { id }"#, EVERYONE),
    ("connectors { totalCount nodes { slug } }", EVERYONE),
    (r#"connector(slug: "sandbox-ads") { id }"#, EVERYONE),
    ("clients { totalCount nodes { id } }", EVERYONE),
    (r#"client(id: "@client") { id }"#, EVERYONE),
    ("connections { totalCount nodes { id } }", EVERYONE),
    (r#"connection(id: "@connection") { id }"#, EVERYONE),
    ("authorizations { totalCount nodes { id } }", EVERYONE),
    (r#"authorization(id: "@authorization") { id }"#, EVERYONE),
    ("disconnections { totalCount nodes { id } }", EVERYONE),
    ("datasets { totalCount nodes { id } }", EVERYONE),
    (r#"dataset(id: "@dataset") { id name rowCount }"#, EVERYONE),
    ("metrics { totalCount nodes { id } }", EVERYONE),
    (r#"metric(id: "@metric") { id exactValue error { message } }"#, EVERYONE),
    // A CLIENT starts no attempts, and nobody sees those of others.
    (r#"authorizationAttempt(id: "@attempt") { id }"#, [Done, Done, Done, Nothing]),
    ("users { totalCount nodes { id } }", NOT_CLIENTS),
    ("apiKeys { totalCount nodes { id } }", ADMINS),
    ("auditLog { totalCount nodes { id } }", ADMINS),
    ("eventCursor", EVERYONE),
    (r#"connectionChanges(after: "@cursor") { nodes { kind } endCursor }"#, EVERYONE),
];

const MUTATIONS: &[Row] = &[
    (
        r#"connect(input: { connector: "sandbox-analytics", clientId: "@client", using: { browser: {} } })
           { attempt { id } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"connectAccounts(input: { authorizationId: "@manager", accounts: [{ accountId: "100-404", clientId: "@client" }] })
           { results { accountId connection { id } } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"decideAttempt(input: { attemptId: "@waiting", accountId: "100-303" })
           { attempt { status } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"updateConnection(input: { connectionId: "@connection", name: "Renamed" }) { errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (r#"checkConnection(input: { connectionId: "@connection" }) { errors { code message field } }"#, NOT_CLIENTS),
    (
        r#"reportDisconnection(input: { connectionId: "@connection", message: "401" }) { errors { code message field } }"#,
        STAFF,
    ),
    (
        r#"shareConnection(input: { connectionId: "@connection", userIds: ["@colleague"] })
           { errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"unshareConnection(input: { connectionId: "@connection", userIds: ["@colleague"] })
           { errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"reconnect(input: { connectionId: "@connection" }) { attempt { id } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"createReconnectLink(input: { connectionId: "@connection" }) { url errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"createConnectLink(input: { clientId: "@client", connectors: ["sandbox-ads"] })
           { url errors { code message field } }"#,
        STAFF,
    ),
    ("markNotificationsRead(input: {}) { viewer { id } errors { code message field } }", NOT_CLIENTS),
    (
        "updateNotificationPreferences(input: { reminderEmails: false }) { viewer { reminderEmails } errors { code message field } }",
        NOT_CLIENTS,
    ),
    (r#"createClient(input: { name: "Initech" }) { client { id } errors { code message field } }"#, STAFF),
    (r#"updateClient(input: { clientId: "@client", name: "Acme Inc." }) { errors { code message field } }"#, STAFF),
    (
        r#"createUser(input: { name: "Ned", email: "ned@lighthouse.example", role: STAFF })
           { user { id } errors { code message field } }"#,
        ADMINS,
    ),
    (r#"updateUser(input: { userId: "@colleague", name: "Nora N." }) { errors { code message field } }"#, ADMINS),
    (
        r#"createApiKey(input: { name: "Reports", role: STAFF }) { apiKey { id } errors { code message field } }"#,
        ADMINS,
    ),
    (r#"revokeApiKey(input: { apiKeyId: "@key" }) { errors { code message field } }"#, ADMINS),
    (r#"updateWorkspace(input: { name: "Lighthouse Ltd." }) { errors { code message field } }"#, ADMINS),
    (
        r#"createDataset(input: { connectionId: "@orchards", name: "Days", query: { http: { path: "report", rowsPointer: "/rows" } } })
           { dataset { id } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"updateDataset(input: { datasetId: "@dataset", name: "Renamed" }) { dataset { id } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"refreshDataset(input: { datasetId: "@dataset" }) { dataset { id } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (
        r#"createMetric(input: { datasetId: "@dataset", name: "Days", aggregation: COUNT })
           { metric { id } errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (r#"removeMetric(input: { metricId: "@metric" }) { removedMetricId errors { code message field } }"#, NOT_CLIENTS),
    (
        r#"removeDataset(input: { datasetId: "@dataset" }) { removedDatasetId errors { code message field } }"#,
        NOT_CLIENTS,
    ),
    (r#"removeClient(input: { clientId: "@spare" }) { errors { code message field } }"#, STAFF),
    (r#"removeConnection(input: { connectionId: "@connection" }) { errors { code message field } }"#, NOT_CLIENTS),
];

const SUBSCRIPTIONS: &[Row] = &[
    (r#"connectionsChanged(after: "@cursor") { kind }"#, EVERYONE),
    (r#"datasetsChanged(after: "@cursor") { kind }"#, EVERYONE),
    // The tray of a CLIENT is empty, and stays so.
    (r#"notificationAdded(after: "@cursor") { notification { id } }"#, [Done, Done, Done, Nothing]),
    (r#"notificationsRead(after: "@cursor") { notifications { id } }"#, [Done, Done, Done, Nothing]),
    // Nothing that was told here became untrue.
    (r#"notificationsRemoved(after: "@cursor") { notificationIds }"#, [Nothing; 4]),
    (r#"authorizationAttemptChanged(id: "@attempt") { id status }"#, [Done, Done, Done, Unknown]),
];

#[test]
fn every_root_field_has_a_row_and_every_row_a_field() {
    let rows = |root: &'static str, rows: &[Row]| -> Vec<(String, String)> {
        rows.iter().map(|(call, _)| (root.to_owned(), name(call).to_owned())).collect()
    };
    let table = [rows("Query", QUERIES), rows("Mutation", MUTATIONS), rows("Subscription", SUBSCRIPTIONS)].concat();
    let table: BTreeSet<_> = table.into_iter().collect();
    let is_root = |owner: &str| matches!(owner, "Query" | "Mutation" | "Subscription");
    let fields = schema_fields::fields().into_iter().filter(|field| is_root(&field.owner));
    let fields: BTreeSet<_> = fields.map(|field| (field.owner, field.name)).collect();
    let difference: Vec<_> = table.symmetric_difference(&fields).collect();
    assert!(difference.is_empty(), "on one side only, of the table and the schema: {difference:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_may_do_everything() {
    the_table_holds_for("ADMIN").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_may_do_all_but_administer() {
    the_table_holds_for("STAFF").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_do_all_to_what_they_made_and_manages_neither_clients_nor_people() {
    the_table_holds_for("MEMBER").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_what_is_theirs_and_changes_nothing() {
    the_table_holds_for("CLIENT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_its_role_may_and_has_no_tray() {
    for role in ["ADMIN", "STAFF", "CLIENT"] {
        the_table_holds(&Cast::with_key(role, false).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_reads_sees_what_its_role_sees_and_changes_nothing() {
    the_table_holds(&Cast::with_key("ADMIN", true).await).await;
}

async fn the_table_holds_for(role: &'static str) {
    the_table_holds(&Cast::new(role).await).await;
}

async fn the_table_holds(cast: &Cast) {
    let mut wrong = Vec::new();
    for (kind, rows) in [("query", QUERIES), ("mutation", MUTATIONS)] {
        for (call, expected) in rows {
            let expected = cast.expects(kind, name(call), expected);
            let answer = cast.viewer.tries(&format!("{kind} {{ {} }}", cast.spoken(call)), Value::Null).await;
            if outcome(&answer, name(call)) != Ok(expected) {
                wrong.push(format!("{kind} {}: expected {expected:?}, but {:#}", name(call), answer.body));
            }
        }
    }
    for (call, expected) in SUBSCRIPTIONS {
        let expected = cast.expects("subscription", name(call), expected);
        let found = cast.subscribes(&cast.spoken(call), expected).await;
        if found != Ok(expected) {
            wrong.push(format!("subscription {}: expected {expected:?}, but {found:?}", name(call)));
        }
    }
    assert!(wrong.is_empty(), "{} {:?}\n{}", cast.role, cast.key, wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_may_do_anything() {
    let cast = Cast::new("ADMIN").await;
    let url = &cast.agency.stage.url;
    for (kind, rows) in [("query", QUERIES), ("mutation", MUTATIONS), ("subscription", SUBSCRIPTIONS)] {
        for (call, _) in rows.iter().filter(|_| kind != "subscription") {
            let answer = ask_with(url, &[], &format!("{kind} {{ {} }}", cast.spoken(call))).await;
            assert_eq!(answer.code(), Some("UNAUTHENTICATED"), "{call}: {:#}", answer.body);
            assert_eq!((answer.status, &answer.body["data"]), (401, &Value::Null), "{call}: {:#}", answer.body);
        }
    }
    for (call, _) in SUBSCRIPTIONS {
        let mut socket = Socket::open(url).await;
        socket.init(json!({})).await;
        socket.subscribe("1", &format!("subscription {{ {} }}", cast.spoken(call)), json!({})).await;
        assert_eq!(socket.closed().await, 4401, "{call}");
    }
    let kept = cast.agency.admin.connection(&cast.agency.acme_visits).await;
    assert_eq!((&kept["name"], &kept["removedAt"]), (&json!("Acme Visits"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_permitted_is_forbidden_before_anything_is_looked_up() {
    let agency = Agency::new().await;
    let nothing = "connection_01jd8q3v9zf4x8b7n2m6k5t0ce";
    let never = [
        (&agency.acme_login, "removeConnection", json!({ "connectionId": nothing })),
        (&agency.acme_login, "reconnect", json!({ "connectionId": "" })),
        (&agency.acme_login, "createReconnectLink", json!({ "connectionId": nothing, "expiresInHours": 0 })),
        (&agency.member, "createConnectLink", json!({ "clientId": nothing, "connectors": [] })),
        (&agency.acme_login, "updateConnection", json!({ "connectionId": nothing, "name": null })),
        (&agency.acme_login, "shareConnection", json!({ "connectionId": nothing })),
        (&agency.acme_login, "connectAccounts", json!({ "authorizationId": nothing, "accounts": [] })),
        (&agency.acme_login, "decideAttempt", json!({ "attemptId": nothing })),
        (&agency.acme_login, "connect", json!({ "connector": "none", "using": { "browser": {} } })),
        (&agency.acme_login, "markNotificationsRead", json!({ "notificationIds": [nothing] })),
        (&agency.acme_login, "updateNotificationPreferences", json!({ "reminderEmails": null })),
        (
            &agency.acme_login,
            "createDataset",
            json!({ "connectionId": nothing, "name": "", "query": { "sql": "" }, "refreshEveryMinutes": 0 }),
        ),
        (&agency.acme_login, "updateDataset", json!({ "datasetId": nothing, "name": null })),
        (&agency.acme_login, "refreshDataset", json!({ "datasetId": "" })),
        (&agency.acme_login, "removeDataset", json!({ "datasetId": nothing })),
        (&agency.acme_login, "createMetric", json!({ "datasetId": nothing, "name": "", "aggregation": "SUM" })),
        (&agency.acme_login, "removeMetric", json!({ "metricId": nothing })),
        (&agency.member, "createClient", json!({ "name": "" })),
        (&agency.member, "updateClient", json!({ "clientId": nothing, "name": null })),
        (&agency.staff, "createUser", json!({ "name": "", "email": "", "role": "CLIENT" })),
        (&agency.staff, "updateUser", json!({ "userId": nothing })),
        (&agency.staff, "createApiKey", json!({ "name": "", "role": "MEMBER" })),
        (&agency.staff, "revokeApiKey", json!({ "apiKeyId": nothing })),
        (&agency.staff, "updateWorkspace", json!({ "timeZone": "" })),
        (&agency.member, "removeClient", json!({ "clientId": nothing })),
    ];
    for (who, mutation, input) in never {
        let answer = who.tries_mutation(mutation, input, "").await;
        assert_eq!(answer.code(), Some("FORBIDDEN"), "{mutation}: {:#}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_tends_what_is_shared_disposes_of_what_they_made_and_finds_nothing_else() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    let shop = json!({
        "connector": "sandbox-shop", "clientId": agency.globex,
        "using": { "browser": { "fields": [{ "name": "shop", "value": "north-lights" }] } },
    });
    let hidden = agency.admin.connects(&agency.stage.browser(), shop, "ben").await;

    let targets = [&agency.acme_visits, &agency.acme_ads, &id(&hidden)];
    let mutations = [
        ("updateConnection", json!({ "name": "Renamed" }), ["done", "done", "NOT_FOUND"]),
        ("checkConnection", json!({}), ["done", "done", "NOT_FOUND"]),
        ("reconnect", json!({}), ["done", "done", "NOT_FOUND"]),
        ("createReconnectLink", json!({}), ["done", "done", "NOT_FOUND"]),
        ("shareConnection", json!({ "userIds": [agency.newcomer.id] }), ["done", "FORBIDDEN", "NOT_FOUND"]),
        ("unshareConnection", json!({ "userIds": [agency.newcomer.id] }), ["done", "FORBIDDEN", "NOT_FOUND"]),
        ("removeConnection", json!({}), ["done", "FORBIDDEN", "NOT_FOUND"]),
    ];
    for (mutation, mut input, expected) in mutations {
        for (target, expected) in targets.iter().zip(expected) {
            input["connectionId"] = json!(target);
            let answer = agency.member.tries_mutation(mutation, input.clone(), "").await;
            assert_eq!(verdict(&answer, mutation), expected, "{mutation}: {:#}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_connects_more_only_through_an_authorization_they_made() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    let shop = json!({
        "connector": "sandbox-shop", "clientId": agency.globex,
        "using": { "browser": { "fields": [{ "name": "shop", "value": "north-lights" }] } },
    });
    let hidden = agency.admin.connects(&agency.stage.browser(), shop, "ben").await;
    let through = [
        ("sandbox-analytics", agency.visits_authorization.clone(), "done"),
        ("sandbox-ads", agency.ads_authorization.clone(), "FORBIDDEN"),
        ("sandbox-shop", id(&hidden["authorization"]), "NOT_FOUND"),
    ];
    for (connector, authorization, expected) in through {
        let input = json!({
            "connector": connector, "clientId": agency.globex, "using": { "authorizationId": authorization },
        });
        let answer = agency.member.tries_mutation("connect", input, "").await;
        assert_eq!(verdict(&answer, "connect"), expected, "{connector}: {:#}", answer.body);
    }

    // Nor do they move what they tend onto one that another made.
    let bens = json!({ "connector": "sandbox-ads", "clientId": agency.globex, "accountId": "100-404" });
    let bens = agency.admin.connects(&agency.stage.browser(), bens, "ben").await;
    agency.shares(&id(&bens), &agency.member).await;
    let move_there = json!({ "connectionId": agency.acme_ads, "authorizationId": id(&bens["authorization"]) });
    let answer = agency.member.tries_mutation("reconnect", move_there, "").await;
    assert_eq!(verdict(&answer, "reconnect"), "FORBIDDEN", "{:#}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_flags_promise_is_what_is_permitted() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    let flags = async |who: &Person, connection: &str| {
        let seen = who.connection(connection).await;
        let flag = |name: &str| seen[name].as_bool().unwrap_or_else(|| panic!("{seen:#}"));
        [flag("viewerCanReconnect"), flag("viewerCanRemove"), flag("viewerCanShare")]
    };
    for connection in [&agency.acme_visits, &agency.acme_ads] {
        assert_eq!(flags(&agency.admin, connection).await, [true, true, true]);
        assert_eq!(flags(&agency.staff, connection).await, [true, true, true]);
        assert_eq!(flags(&agency.acme_login, connection).await, [false, false, false]);
    }
    assert_eq!(flags(&agency.member, &agency.acme_visits).await, [true, true, true]);
    assert_eq!(flags(&agency.member, &agency.acme_ads).await, [true, false, false]);

    agency.member.does("removeConnection", json!({ "connectionId": agency.acme_visits }), "").await;
    for who in [&agency.admin, &agency.member] {
        assert_eq!(flags(who, &agency.acme_visits).await, [false, false, false], "it is gone");
    }
}

/// An agency in which something has happened, seen by someone of one role.
struct Cast {
    agency: Agency,
    viewer: Person,
    role: &'static str,
    key: Option<Key>,
    words: Vec<(&'static str, String)>,
}

/// What an API key changes of what its role may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Full,
    ReadOnly,
}

impl Cast {
    async fn new(role: &'static str) -> Self {
        let agency = Agency::new().await;
        let viewer = match role {
            "ADMIN" => &agency.admin,
            "STAFF" => &agency.staff,
            "MEMBER" => &agency.member,
            _ => &agency.acme_login,
        };
        let viewer = viewer.clone();
        Self::seen_by(agency, viewer, role, None).await
    }

    /// The same, seen by an API key that the ADMIN made.
    async fn with_key(role: &'static str, read_only: bool) -> Self {
        let agency = Agency::new().await;
        let client = (role == "CLIENT").then_some(&agency.acme);
        let input = json!({ "name": "Dashboard", "role": role, "clientId": client, "readOnly": read_only });
        let (_, holder) = agency.admin.makes_key(input).await;
        Self::seen_by(agency, holder, role, Some(if read_only { Key::ReadOnly } else { Key::Full })).await
    }

    async fn seen_by(agency: Agency, viewer: Person, role: &'static str, key: Option<Key>) -> Self {
        let cursor = agency.admin.event_cursor().await;
        let dataset = agency.member.makes_dataset(&agency.acme_visits, "visits").await;
        let metric = agency.member.makes_metric(&dataset, "COUNT", None).await;
        agency.ben_leaves().await;
        // Who can start nothing tries what somebody else started.
        let starter = if role == "CLIENT" || key == Some(Key::ReadOnly) { &agency.member } else { &viewer };
        let (attempt, _) = starts(starter, "sandbox-analytics", &agency.globex).await;
        let (waiting, url) = starts(starter, "sandbox-ads", &agency.acme).await;
        agency.stage.browser().signs_in(&url, "ada").await;
        assert_eq!(starter.attempt(&waiting).await["status"], "NEEDS_DECISION");
        let bens = json!({ "connector": "sandbox-ads", "clientId": agency.globex, "accountId": "100-404" });
        let bens = starter.connects(&agency.stage.browser(), bens, "ben").await;
        let words = vec![
            ("connection", agency.acme_visits.clone()),
            ("manager", id(&bens["authorization"])),
            ("orchards", id(&bens)),
            ("dataset", dataset),
            ("metric", metric),
            ("authorization", agency.visits_authorization.clone()),
            ("client", agency.acme.clone()),
            ("spare", agency.admin.creates_client("Umbrella").await),
            ("colleague", agency.newcomer.id.clone()),
            ("key", agency.admin.makes_key(json!({ "name": "Old", "role": "STAFF" })).await.0),
            ("attempt", attempt),
            ("waiting", waiting),
            ("cursor", cursor),
        ];
        Self { agency, viewer, role, key, words }
    }

    /// What is to come of a field, of which the table says this.
    fn expects(&self, root: &str, field: &str, by_role: &[Outcome; 4]) -> Outcome {
        let of_role = by_role[ROLES.iter().position(|known| *known == self.role).unwrap()];
        match (self.key, root, field) {
            (None, ..) => of_role,
            (Some(_), "mutation", "markNotificationsRead" | "updateNotificationPreferences") => Forbidden,
            (Some(_), "subscription", "notificationAdded" | "notificationsRead") => Nothing,
            (Some(Key::ReadOnly), "mutation", _) => Forbidden,
            // It can start none.
            (Some(Key::ReadOnly), "query", "authorizationAttempt") => Nothing,
            (Some(Key::ReadOnly), "subscription", "authorizationAttemptChanged") => Unknown,
            (Some(_), ..) => of_role,
        }
    }

    /// The call with ids in place of its words.
    fn spoken(&self, call: &str) -> String {
        let replaced =
            |call: String, (word, id): &(&str, String)| call.replace(&format!("\"@{word}\""), &format!("\"{id}\""));
        self.words.iter().fold(call.to_owned(), replaced)
    }

    /// What comes of a subscription that has something to replay. That nothing comes shows when another one has
    /// replayed the same on the same socket.
    async fn subscribes(&self, call: &str, expected: Outcome) -> Result<Outcome, Frame> {
        let mut socket = self.viewer.socket().await;
        socket.subscribe("asked", &format!("subscription {{ {call} }}"), json!({})).await;
        if expected == Nothing {
            let other = self.spoken(r#"subscription { connectionsChanged(after: "@cursor") { kind } }"#);
            socket.subscribe("other", &other, json!({})).await;
            let cursor = &self.words.iter().find(|(word, _)| *word == "cursor").unwrap().1;
            for _ in self.viewer.changes_since(cursor).await {
                match socket.next().await {
                    Frame::Message(message) if message["id"] == "other" => {}
                    frame => return Err(frame),
                }
            }
            assert!(socket.is_quiet().await, "{call}");
            return Ok(Nothing);
        }
        match socket.next().await {
            Frame::Message(message) if message["type"] == "next" && message["payload"]["errors"].is_null() => Ok(Done),
            Frame::Message(message) if message["type"] == "error" => {
                match message["payload"][0]["extensions"]["code"].as_str() {
                    Some("FORBIDDEN") => Ok(Forbidden),
                    Some("BAD_USER_INPUT") => Ok(Unknown),
                    _ => Err(Frame::Message(message)),
                }
            }
            frame => Err(frame),
        }
    }
}

/// Starts connecting in a browser: the attempt's id and link.
async fn starts(person: &Person, connector: &str, client: &str) -> (String, String) {
    let input = json!({ "connector": connector, "clientId": client, "using": { "browser": {} } });
    let started = person.does("connect", input, "attempt { id authorizationUrl }").await;
    (id(&started["attempt"]), started["attempt"]["authorizationUrl"].as_str().unwrap().to_owned())
}

/// The field that a call asks for.
fn name(call: &str) -> &str {
    call.split(['(', ' ']).next().unwrap()
}

fn outcome(answer: &Answer, field: &str) -> Result<Outcome, ()> {
    let (data, errors) = (&answer.body["data"][field], &answer.body["errors"]);
    match answer.code() {
        Some("FORBIDDEN") if data.is_null() => Ok(Forbidden),
        None if errors.is_null() && data.is_null() => Ok(Nothing),
        None if errors.is_null() && (data["errors"].is_null() || data["errors"] == json!([])) => Ok(Done),
        _ => Err(()),
    }
}

/// What came of a mutation: `done`, or the code of its error.
fn verdict(answer: &Answer, mutation: &str) -> String {
    let errors = &answer.body["data"][mutation]["errors"];
    let code = answer.code().or_else(|| errors[0]["code"].as_str());
    code.map_or_else(|| if errors == &json!([]) { "done" } else { "nothing" }.to_owned(), str::to_owned)
}
