//! Whoever sees only a part of a workspace sees nothing of the rest: not beside what they see, not by filters, counts,
//! orders or cursors, and not in what they are told.

use serde_json::{Value, json};

use crate::{
    agency::{Agency, id, ids, sorted},
    harness::{Person, Socket},
};

/// All that hangs on connections, by every way from one to another.
const EVERYWHERE: &str = r#"{
    viewer {
        workspace { connectionCounts { total connected expiring disconnected } }
        unreadNotificationCount
        notifications(first: 3) {
            totalCount nodes { title clients(first: 3) { nodes { id name } } connections(first: 3) { nodes { id name } } }
        }
    }
    clients(first: 3) {
        totalCount nodes { id name connectionCounts { total } connections(first: 3) { totalCount nodes { id name } } }
    }
    connectors { nodes { slug connectionCounts { total connected expiring disconnected } } }
    connections(first: 5) {
        totalCount
        nodes {
            id name account { accountId name } client { id name connections(first: 3) { nodes { id name } } }
            createdBy { id email client { id } } sharedWith { id }
            authorization {
                id
                connections(first: 3) { totalCount nodes { id name client { id name } } }
                clients(first: 3) { totalCount nodes { id name connections(first: 3) { nodes { id } } } }
                disconnection { id connections(first: 3) { totalCount nodes { id name client { id name } } } }
                availableAccounts(first: 3) { nodes { accountId connections { id name } } }
            }
            disconnection {
                id reconnectConnectionId connection { id }
                connections(first: 3) { totalCount nodes { id name client { id name } } }
                authorization {
                    connections(first: 3) { totalCount nodes { id name } } clients(first: 3) { nodes { id name } }
                }
            }
            disconnections(first: 3) { totalCount nodes { id connections(first: 3) { nodes { id name } } } }
        }
    }
    authorizations(first: 3) {
        totalCount
        nodes {
            id
            connections(first: 3) { totalCount nodes { id name } } clients(first: 3) { totalCount nodes { id name } }
        }
    }
    disconnections(first: 3) {
        totalCount
        nodes {
            id reconnectConnectionId connection { id }
            connections(first: 3) { totalCount nodes { id name client { id name } } }
        }
    }
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reaches_no_other_client_through_an_authorization_that_both_share() {
    let agency = Agency::new().await;
    let cursor = agency.admin.event_cursor().await;
    agency.ada_leaves().await;
    let hidden = [&agency.globex, &agency.globex_ads, "Globex", "100-302"];

    let all = agency.admin.sees(EVERYWHERE).await.to_string();
    assert!(hidden.iter().all(|hidden| all.contains(hidden)), "the question reaches everything: {all}");
    let seen = agency.acme_login.sees(EVERYWHERE).await;
    for hidden in hidden {
        assert!(!seen.to_string().contains(hidden), "{hidden} is seen: {seen:#}");
    }
    let connections = seen["connections"]["nodes"].as_array().unwrap();
    let ads = connections.iter().find(|one| one["id"] == json!(agency.acme_ads)).unwrap();
    let acme = json!({ "id": agency.acme, "name": "Acme" });
    let own = json!({ "totalCount": 1, "nodes": [{ "id": agency.acme_ads, "name": "Acme Ads", "client": acme }] });
    assert_eq!((&ads["authorization"]["connections"], &ads["disconnection"]["connections"]), (&own, &own));

    let by_id = format!(
        r#"{{ connection(id: "{ads}") {{ id }} client(id: "{client}") {{ id }} nodes(ids: ["{ads}", "{client}"]) {{ id }}
             connections(filter: {{ clientId: ["{client}"] }}) {{ totalCount nodes {{ id }} }}
             disconnections(filter: {{ clientId: "{client}" }}) {{ totalCount nodes {{ id }} }}
             ofConnection: disconnections(filter: {{ connectionId: "{ads}" }}) {{ totalCount nodes {{ id }} }}
             behind: connections(filter: {{ authorizationId: "{authorization}" }}) {{ totalCount nodes {{ id }} }} }}"#,
        ads = agency.globex_ads,
        client = agency.globex,
        authorization = agency.ads_authorization,
    );
    let nothing = json!({ "totalCount": 0, "nodes": [] });
    let expected = json!({
        "connection": null, "client": null, "nodes": [null, null],
        "connections": nothing, "disconnections": nothing, "ofConnection": nothing,
        "behind": { "totalCount": 1, "nodes": [{ "id": agency.acme_ads }] },
    });
    assert_eq!(agency.acme_login.sees(&by_id).await, expected);

    let change = the_change(&agency.acme_login, &cursor).await;
    assert_eq!(change["kind"], "DISCONNECTED");
    assert_eq!((ids(&change["connections"]), &change["connectionCount"]), (vec![agency.acme_ads.clone()], &json!(1)));
    assert_eq!(ids(&change["clients"]), [agency.acme.as_str()]);
    assert!(hidden.iter().all(|hidden| !change.to_string().contains(hidden)), "{change:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_the_names_of_people_and_nothing_more_of_them() {
    let agency = Agency::new().await;
    let query = format!(
        r#"{{ connection(id: "{}") {{
                 createdBy {{ name email }} sharedWith {{ name email }} authorization {{ createdBy {{ email }} }}
             }}
             node(id: "{}") {{ id }} viewer {{ user {{ name email }} }} }}"#,
        agency.acme_ads, agency.admin.id
    );
    agency.shares(&agency.acme_ads, &agency.member).await;
    let expected = json!({
        "connection": {
            "createdBy": { "name": "Mara", "email": null }, "sharedWith": [{ "name": "Mel", "email": null }],
            "authorization": { "createdBy": { "email": null } },
        },
        "node": null,
        "viewer": { "user": { "name": "Carl", "email": null } },
    });
    assert_eq!(agency.acme_login.sees(&query).await, expected);
    let seen = agency.member.sees(&query).await;
    assert_eq!(seen["connection"]["createdBy"]["email"], "mara@lighthouse.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_sees_what_they_made_and_what_is_shared_with_them_and_nothing_else() {
    let agency = Agency::new().await;
    agency.ada_leaves().await;
    assert_eq!(listed(&agency.newcomer).await, Vec::<String>::new());
    assert_eq!(listed(&agency.member).await, [agency.acme_visits.as_str()]);
    let seen = agency.member.sees(EVERYWHERE).await;
    for hidden in [&agency.acme_ads, &agency.globex_ads, &agency.ads_authorization, "Acme Ads", "Globex Ads"] {
        assert!(!seen.to_string().contains(hidden), "{hidden} is seen: {seen:#}");
    }
    // Which clients there are is no secret to a MEMBER; what they have is.
    assert_eq!(sorted(ids(&seen["clients"]["nodes"])), sorted([agency.acme.clone(), agency.globex.clone()]));
    assert_eq!(seen["disconnections"], json!({ "totalCount": 0, "nodes": [] }));

    agency.shares(&agency.acme_ads, &agency.member).await;
    assert_eq!(listed(&agency.member).await, sorted([agency.acme_visits.clone(), agency.acme_ads.clone()]));
    let seen = agency.member.sees(EVERYWHERE).await;
    for hidden in [&agency.globex_ads, "Globex Ads"] {
        assert!(!seen.to_string().contains(hidden), "{hidden} is seen: {seen:#}");
    }
    let disconnection = &seen["disconnections"]["nodes"][0];
    assert_eq!(disconnection["reconnectConnectionId"], json!(agency.acme_ads));
    assert_eq!(disconnection["connections"]["totalCount"], 1);

    agency.unshares(&agency.acme_ads, &agency.member).await;
    assert_eq!(listed(&agency.member).await, [agency.acme_visits.as_str()]);
    assert_eq!(agency.member.connection(&agency.acme_ads).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_of_what_the_viewer_may_see() {
    let agency = Agency::new().await;
    agency.ada_leaves().await;
    let counts = |total: u64, connected: u64, disconnected: u64| {
        let expiring = 0;
        json!({ "total": total, "connected": connected, "expiring": expiring, "disconnected": disconnected })
    };
    let expected = [
        (&agency.admin, counts(3, 1, 2), vec![("Acme", counts(2, 1, 1)), ("Globex", counts(1, 0, 1))], counts(2, 0, 2)),
        (&agency.staff, counts(3, 1, 2), vec![("Acme", counts(2, 1, 1)), ("Globex", counts(1, 0, 1))], counts(2, 0, 2)),
        (
            &agency.member,
            counts(1, 1, 0),
            vec![("Acme", counts(1, 1, 0)), ("Globex", counts(0, 0, 0))],
            counts(0, 0, 0),
        ),
        (
            &agency.newcomer,
            counts(0, 0, 0),
            vec![("Acme", counts(0, 0, 0)), ("Globex", counts(0, 0, 0))],
            counts(0, 0, 0),
        ),
        (&agency.acme_login, counts(2, 1, 1), vec![("Acme", counts(2, 1, 1))], counts(1, 0, 1)),
        (&agency.globex_login, counts(1, 0, 1), vec![("Globex", counts(1, 0, 1))], counts(1, 0, 1)),
    ];
    let query = r#"{ viewer { user { name } workspace { connectionCounts { total connected expiring disconnected } } }
        clients(orderBy: { field: NAME }) { nodes { name connectionCounts { total connected expiring disconnected } } }
        connector(slug: "sandbox-ads") { connectionCounts { total connected expiring disconnected } } }"#;
    for (who, whole, by_client, of_ads) in expected {
        let seen = who.sees(query).await;
        let by_client: Vec<Value> =
            by_client.into_iter().map(|(name, counts)| json!({ "name": name, "connectionCounts": counts })).collect();
        assert_eq!(seen["viewer"]["workspace"]["connectionCounts"], whole, "{seen:#}");
        assert_eq!(seen["clients"]["nodes"], json!(by_client), "{seen:#}");
        assert_eq!(seen["connector"]["connectionCounts"], of_ads, "{seen:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_searches_find_nothing_that_is_hidden() {
    let agency = Agency::new().await;
    agency.ada_leaves().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    let (mine, shared) = (vec![agency.acme_visits.clone()], vec![agency.acme_ads.clone()]);
    let both = sorted([agency.acme_visits.clone(), agency.acme_ads.clone()]);
    let none = Vec::new();
    let filters = [
        (json!({}), &both),
        (json!({ "relation": ["MADE_BY_ME"] }), &mine),
        (json!({ "relation": ["SHARED_WITH_ME"] }), &shared),
        (json!({ "relation": ["MADE_BY_ME", "SHARED_WITH_ME"] }), &both),
        (json!({ "createdBy": [agency.admin.id] }), &shared),
        (json!({ "createdBy": [agency.member.id] }), &mine),
        (json!({ "clientId": [agency.globex] }), &none),
        (json!({ "clientId": [agency.acme, agency.globex] }), &both),
        (json!({ "authorizationId": agency.ads_authorization }), &shared),
        (json!({ "connector": ["sandbox-ads"] }), &shared),
        (json!({ "status": ["DISCONNECTED"] }), &shared),
        (json!({ "reason": ["REVOKED"] }), &shared),
        (json!({ "statusChangedAfter": "2020-01-01T00:00:00Z" }), &both),
        (json!({ "search": "globex" }), &none),
        (json!({ "search": "ads" }), &shared),
        (json!({ "search": "acme" }), &both),
        (json!({ "search": "a" }), &both),
    ];
    let query = "query($filter: ConnectionFilter) { connections(filter: $filter) \
                 { totalCount nodes { id } pageInfo { hasNextPage } } }";
    for (filter, expected) in &filters {
        let found = agency.member.ask(query, json!({ "variables": { "filter": filter } })).await;
        assert_eq!(&sorted(ids(&found["connections"]["nodes"])), *expected, "{filter}");
        assert_eq!(found["connections"]["totalCount"], json!(expected.len()), "{filter}");
        assert_eq!(found["connections"]["pageInfo"]["hasNextPage"], false, "{filter}");
    }
    // The same filters find what is hidden, for those who may see it.
    for filter in [json!({ "search": "globex" }), json!({ "clientId": [agency.globex] })] {
        let found = agency.admin.ask(query, json!({ "variables": { "filter": filter } })).await;
        assert_eq!(ids(&found["connections"]["nodes"]), [agency.globex_ads.as_str()], "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walking_a_list_steps_over_what_is_hidden_without_a_trace() {
    let agency = Agency::new().await;
    agency.ada_leaves().await;
    agency.shares(&agency.globex_ads, &agency.member).await;
    // In each of these orders something hidden lies before, between or behind what the MEMBER sees.
    for order in ["STATUS", "STATUS_CHANGED_AT", "NAME", "CREATED_AT"] {
        for direction in ["ASC", "DESC"] {
            let order = format!("orderBy: {{ field: {order}, direction: {direction} }}");
            let forward = walks(&agency.member, &order, "first", "after").await;
            let mut backward = walks(&agency.member, &order, "last", "before").await;
            backward.reverse();
            assert_eq!(
                sorted(forward.clone()),
                sorted([agency.acme_visits.clone(), agency.globex_ads.clone()]),
                "{order}"
            );
            assert_eq!(forward, backward, "{order}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_somebody_else_was_given_shows_nothing_that_is_hidden() {
    let agency = Agency::new().await;
    let all = agency.admin.sees("{ connections { edges { cursor node { id } } } }").await;
    for edge in all["connections"]["edges"].as_array().unwrap() {
        for direction in ["after", "before"] {
            let query = format!(
                "query($cursor: String) {{ connections({direction}: $cursor) {{ totalCount nodes {{ id }} }} }}"
            );
            let seen = agency.member.ask(&query, json!({ "variables": { "cursor": edge["cursor"] } })).await;
            assert_eq!(seen["connections"]["totalCount"], 1);
            assert!(ids(&seen["connections"]["nodes"]).iter().all(|id| *id == agency.acme_visits), "{seen:#}");
        }
    }
    // The same of the journal: a cursor is a place in time and no right.
    let cursor = agency.admin.event_cursor().await;
    agency.renames(&agency.acme_ads, "Renamed").await;
    agency.renames(&agency.acme_visits, "Seen").await;
    let change = the_change(&agency.member, &cursor).await;
    assert_eq!(ids(&change["connections"]), [agency.acme_visits.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_adds_a_connection_to_what_a_member_hears_of_and_unsharing_removes_it() {
    let agency = Agency::new().await;
    let (mut member, mut admin) = (listens(&agency.member).await, listens(&agency.admin).await);

    agency.shares(&agency.acme_ads, &agency.member).await;
    let added = change(&mut member).await;
    assert_eq!((&added["kind"], ids(&added["connections"])), (&json!("ADDED"), vec![agency.acme_ads.clone()]));
    assert_eq!(
        (ids(&added["addedConnections"]), &added["removedConnectionIds"]),
        (vec![agency.acme_ads.clone()], &json!([]))
    );
    assert_eq!((&added["connectionCount"], ids(&added["clients"])), (&json!(1), vec![agency.acme.clone()]));
    assert_eq!(id(&added["by"]), agency.admin.id);
    let updated = change(&mut admin).await;
    assert_eq!(
        (&updated["kind"], &updated["addedConnections"]),
        (&json!("UPDATED"), &json!([])),
        "to whoever saw it before"
    );
    assert_eq!(updated["clients"], json!([]), "nobody's counts changed for them");

    agency.unshares(&agency.acme_ads, &agency.member).await;
    let removed = change(&mut member).await;
    assert_eq!((&removed["kind"], &removed["connections"]), (&json!("REMOVED"), &json!([])));
    assert_eq!(removed["removedConnectionIds"], json!([agency.acme_ads]));
    assert_eq!(ids(&removed["clients"]), [agency.acme.as_str()], "its counts changed for them");
    assert_eq!(change(&mut admin).await["kind"], "UPDATED");
    assert_eq!(agency.member.connection(&agency.acme_ads).await, Value::Null);

    agency.renames(&agency.acme_ads, "Out of sight").await;
    agency.renames(&agency.acme_visits, "In sight").await;
    assert_eq!(ids(&change(&mut member).await["connections"]), [agency.acme_visits.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_a_connection_to_another_client_takes_it_from_one_login_and_gives_it_to_the_other() {
    let agency = Agency::new().await;
    let (mut acme, mut globex) = (listens(&agency.acme_login).await, listens(&agency.globex_login).await);
    let moved = json!({ "connectionId": agency.acme_ads, "clientId": agency.globex });
    agency.admin.does("updateConnection", moved, "").await;

    let lost = change(&mut acme).await;
    assert_eq!((&lost["kind"], &lost["removedConnectionIds"]), (&json!("REMOVED"), &json!([agency.acme_ads])));
    assert_eq!(ids(&lost["clients"]), [agency.acme.as_str()], "where it went is not theirs to know");
    assert!(!lost.to_string().contains("Globex"), "{lost:#}");
    let gained = change(&mut globex).await;
    assert_eq!((&gained["kind"], ids(&gained["addedConnections"])), (&json!("ADDED"), vec![agency.acme_ads.clone()]));
    assert_eq!(ids(&gained["clients"]), [agency.globex.as_str()]);

    assert_eq!(agency.acme_login.connection(&agency.acme_ads).await, Value::Null);
    assert_eq!(agency.globex_login.connection(&agency.acme_ads).await["client"]["id"], json!(agency.globex));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_tells_a_member_of_what_they_see_and_nobody_else_of_theirs() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    agency.ada_leaves().await;

    let told = |tray: &[Value]| {
        let titles = tray.iter().map(|one| one["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let connections = tray.iter().flat_map(|one| ids(&one["connections"]["nodes"]));
        (titles.join(" "), sorted(connections))
    };
    let (title, connections) = told(&agency.member.tray().await);
    assert!(title.contains("Acme") && !title.contains("Globex"), "{title}");
    assert_eq!(connections, [agency.acme_ads.as_str()]);
    let (title, connections) = told(&agency.staff.tray().await);
    assert!(title.contains("Acme") && title.contains("Globex"), "{title}");
    assert_eq!(connections, sorted([agency.acme_ads.clone(), agency.globex_ads.clone()]));
    for person in [&agency.newcomer, &agency.acme_login, &agency.globex_login] {
        let seen =
            person.sees("{ viewer { unreadNotificationCount notifications { totalCount nodes { id } } } }").await;
        let empty = json!({ "unreadNotificationCount": 0, "notifications": { "totalCount": 0, "nodes": [] } });
        assert_eq!(seen["viewer"], empty);
    }

    let theirs = id(&agency.staff.tray().await[0]);
    for other in [&agency.admin, &agency.member, &agency.acme_login] {
        let node = other.sees(&format!(r#"{{ node(id: "{theirs}") {{ id }} }}"#)).await;
        assert_eq!(node["node"], Value::Null, "a tray is its owner's alone");
    }
    let read = agency.admin.mutates("markNotificationsRead", json!({ "notificationIds": [theirs] }), "").await;
    assert_eq!(read["errors"][0]["code"], "NOT_FOUND");
    assert_eq!(agency.staff.tray().await[0]["readAt"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_was_told_of_shows_nothing_any_more_once_they_lost_sight_of_it() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    agency.ada_leaves().await;
    agency.unshares(&agency.acme_ads, &agency.member).await;
    let tray = agency.member.tray().await;
    assert_eq!(tray.len(), 1, "who was told stays told");
    assert_eq!((&tray[0]["connections"]["nodes"], &tray[0]["disconnection"]), (&json!([]), &Value::Null), "{tray:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_shown_to_admin_staff_and_the_maker_with_the_connections_that_each_may_see() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    let accounts = async |who: &Person, authorization: &str| {
        let query = format!(
            r#"{{ authorization(id: "{authorization}")
                  {{ availableAccounts {{ totalCount nodes {{ accountId connections {{ id }} }} }} }} }}"#
        );
        who.sees(&query).await["authorization"]["availableAccounts"].clone()
    };
    let all = json!({ "totalCount": 3, "nodes": [
        { "accountId": "100-303", "connections": [] },
        { "accountId": "100-302", "connections": [{ "id": agency.globex_ads }] },
        { "accountId": "100-301", "connections": [{ "id": agency.acme_ads }] },
    ] });
    for who in [&agency.admin, &agency.staff] {
        assert_eq!(accounts(who, &agency.ads_authorization).await, all);
    }
    for who in [&agency.member, &agency.acme_login] {
        assert_eq!(accounts(who, &agency.ads_authorization).await, Value::Null);
    }

    // Ben sees an account that is connected through Ada already, out of the MEMBER's sight.
    let fjord = json!({ "connector": "sandbox-ads", "clientId": agency.globex, "accountId": "100-303" });
    let fjord = id(&agency.admin.connects_through(&agency.ads_authorization, fjord).await);
    let own = json!({ "connector": "sandbox-ads", "clientId": agency.acme, "accountId": "100-404" });
    let own = agency.member.connects(&agency.stage.browser(), own, "ben").await;
    let of_fjord = |page: Value| page["nodes"][0].clone();
    let through = id(&own["authorization"]);
    let hidden = json!({ "accountId": "100-303", "connections": [] });
    assert_eq!(of_fjord(accounts(&agency.member, &through).await), hidden);
    let shown = json!({ "accountId": "100-303", "connections": [{ "id": fjord }] });
    assert_eq!(of_fjord(accounts(&agency.staff, &through).await), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_seen_by_whoever_started_it_alone() {
    let agency = Agency::new().await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": agency.globex, "using": { "browser": {} } });
    let started = agency.member.does("connect", input, "attempt { id }").await;
    let attempt = id(&started["attempt"]);
    let query = format!(r#"{{ authorizationAttempt(id: "{attempt}") {{ id }} node(id: "{attempt}") {{ id }} }}"#);
    assert_eq!(id(&agency.member.sees(&query).await["authorizationAttempt"]), attempt);
    for other in [&agency.admin, &agency.staff, &agency.newcomer, &agency.acme_login] {
        assert_eq!(other.sees(&query).await, json!({ "authorizationAttempt": null, "node": null }));
    }
    let decided = agency.admin.mutates("decideAttempt", json!({ "attemptId": attempt, "accountId": "1" }), "").await;
    assert_eq!(decided["errors"][0]["code"], "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_what_is_hidden_names_nothing() {
    let agency = Agency::new().await;
    let hidden = json!({ "connectionId": agency.acme_ads, "externalId": "ads-1" });
    agency.admin.does("updateConnection", hidden, "").await;
    let taken = json!({ "connectionId": agency.acme_visits, "externalId": "ads-1" });
    let refused = agency.member.mutates("updateConnection", taken, "connection { id }").await;
    assert_eq!(
        (&refused["errors"][0]["code"], &refused["errors"][0]["conflictsWith"]),
        (&json!("CONFLICT"), &Value::Null)
    );

    let (acme, using) = (&agency.acme, json!({ "browser": {} }));
    let input = json!({ "connector": "sandbox-ads", "clientId": acme, "accountId": "100-301", "using": using });
    let started = agency.member.does("connect", input, "attempt { id authorizationUrl }").await;
    agency.stage.browser().signs_in(started["attempt"]["authorizationUrl"].as_str().unwrap(), "ada").await;
    let attempt = agency.member.attempt(&id(&started["attempt"])).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("CONFLICT")), "{attempt:#}");
    assert_eq!(attempt["error"]["conflictsWith"], Value::Null);
    assert!(!attempt.to_string().contains(&agency.acme_ads), "{attempt:#}");
}

// ── what people see and hear ──

/// The ids of every connection that somebody sees, sorted; the count has to agree.
async fn listed(person: &Person) -> Vec<String> {
    let seen = person.sees("{ connections { totalCount nodes { id } } }").await;
    let found = sorted(ids(&seen["connections"]["nodes"]));
    assert_eq!(seen["connections"]["totalCount"], json!(found.len()));
    found
}

/// Walks the list of connections row by row: each page says that there is more exactly while there is.
async fn walks(person: &Person, order: &str, take: &str, from: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let query = format!(
            "query($cursor: String) {{ connections({order}, {take}: 1, {from}: $cursor) \
             {{ totalCount nodes {{ id }} pageInfo {{ hasNextPage hasPreviousPage startCursor }} }} }}"
        );
        let page = person.ask(&query, json!({ "variables": { "cursor": cursor } })).await["connections"].clone();
        found.extend(ids(&page["nodes"]));
        cursor = page["pageInfo"]["startCursor"].clone();
        let more = if take == "first" { "hasNextPage" } else { "hasPreviousPage" };
        assert_eq!(page["pageInfo"][more], json!(page["totalCount"] != json!(found.len())), "{page:#}");
        if page["pageInfo"][more] == false {
            return found;
        }
    }
}

const CHANGE: &str = "kind connectionCount connections { id name client { id name } } addedConnections { id } \
    removedConnectionIds clients { id name } authorization { id connections { nodes { id name } } } \
    disconnection { id connections { nodes { id name } } } by { id }";

/// The one change since a cursor, as the subscription and the query have it: they agree.
async fn the_change(person: &Person, cursor: &str) -> Value {
    let mut socket = person.socket().await;
    let subscription = format!("subscription($after: String) {{ connectionsChanged(after: $after) {{ {CHANGE} }} }}");
    socket.subscribe("1", &subscription, json!({ "after": cursor })).await;
    let heard = change(&mut socket).await;
    let query = format!("query($after: String!) {{ connectionChanges(after: $after) {{ nodes {{ {CHANGE} }} }} }}");
    let polled = person.ask(&query, json!({ "variables": { "after": cursor } })).await;
    assert_eq!(polled["connectionChanges"]["nodes"], json!([heard]));
    heard
}

/// A socket on which somebody hears of every change from now on.
async fn listens(person: &Person) -> Socket {
    let cursor = person.event_cursor().await;
    let mut socket = person.socket().await;
    let subscription = format!("subscription($after: String) {{ connectionsChanged(after: $after) {{ {CHANGE} }} }}");
    socket.subscribe("1", &subscription, json!({ "after": cursor })).await;
    socket
}

async fn change(socket: &mut Socket) -> Value {
    socket.event().await["connectionsChanged"].clone()
}
