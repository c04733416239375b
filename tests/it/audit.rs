//! The audit log: who did what, for ADMINs.

mod mutations;

use serde_json::{Value, json};

use crate::harness::{Person, Stage, each, id, nodes};

const ENTRY: &str = "id at action user { id } subject { __typename id } details";

/// The entries that match `filter`, oldest first.
async fn log(person: &Person, filter: Value) -> Vec<Value> {
    let query = format!(
        "query($filter: AuditFilter) {{ auditLog(filter: $filter, first: 100) {{ nodes {{ {ENTRY} }} totalCount }} }}"
    );
    let page = person.ask(&query, json!({ "variables": { "filter": filter } })).await["auditLog"].clone();
    let mut entries = nodes(&page);
    assert_eq!(page["totalCount"], entries.len());
    entries.reverse();
    entries
}

/// A stage on which much was done, and who did it.
async fn busy() -> (Stage, Person, String) {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    staff.reconnects(&stage.browser(), &grant.lamps, "ASK", "ada").await;
    staff.does("updateConnection", json!({ "connectionId": grant.lamps, "name": "Lights" }), "connection { id }").await;
    let input = json!({ "connectionId": grant.lamps, "userIds": [stage.admin.id] });
    staff.does("unshareConnection", input, "connection { id }").await;
    stage.admin.does("removeConnection", json!({ "connectionId": grant.hotels }), "removedConnectionId").await;
    stage.admin.does("updateUser", json!({ "userId": staff.id, "role": "MEMBER" }), "user { id }").await;
    (stage, staff, grant.lamps)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_in_order_what_people_and_the_server_did() {
    let (stage, staff, lamps) = busy().await;
    let entries = log(&stage.admin, Value::Null).await;
    let told: Vec<&str> =
        each(&entries, "action").into_iter().filter(|action| action.starts_with("connection.")).collect();
    let expected = [
        "connection.added",
        "connection.added",
        "connection.disconnected",
        "connection.reconnected",
        "connection.updated",
        "connection.updated",
        "connection.removed",
    ];
    assert_eq!(told, expected);
    let actions = each(&entries, "action");
    for action in ["client.created", "user.created", "attempt.started", "user.role_changed"] {
        assert!(actions.contains(&action), "no {action} in {actions:?}");
    }
    assert!(!actions.contains(&"notification.added"), "{actions:?}");
    let times: Vec<&str> = each(&entries, "at");
    assert!(times.is_sorted(), "{times:?}");

    let by = |action: &str| entries.iter().rfind(|entry| entry["action"] == action).unwrap();
    assert_eq!(by("connection.disconnected")["user"], Value::Null, "the server itself noticed");
    assert_eq!(by("connection.disconnected")["subject"]["__typename"], "Authorization");
    assert_eq!(by("connection.reconnected")["user"]["id"], *staff.id);
    assert_eq!(by("connection.removed")["user"]["id"], *stage.admin.id);
    assert_eq!(by("connection.updated")["subject"], json!({ "__typename": "Connection", "id": lamps }));
    assert_eq!(by("user.role_changed")["subject"], json!({ "__typename": "User", "id": staff.id }));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_filtered_by_action_person_subject_and_time() {
    let (stage, staff, lamps) = busy().await;
    let all = log(&stage.admin, Value::Null).await;
    let pick =
        |keep: &dyn Fn(&Value) -> bool| -> Vec<String> { all.iter().filter(|entry| keep(entry)).map(id).collect() };
    let found = async |filter: Value| -> Vec<String> { log(&stage.admin, filter).await.iter().map(id).collect() };

    let removed = found(json!({ "action": "connection.removed" })).await;
    assert_eq!((removed.len(), &removed), (1, &pick(&|entry| entry["action"] == "connection.removed")));
    let theirs = found(json!({ "userId": staff.id })).await;
    assert_eq!(theirs, pick(&|entry| entry["user"]["id"] == *staff.id));
    assert!(theirs.len() >= 3, "{theirs:?}");
    let about = found(json!({ "subjectId": lamps })).await;
    assert_eq!(about, pick(&|entry| entry["subject"]["id"] == *lamps));
    assert!(about.len() >= 2, "{about:?}");
    let moment = all[all.len() / 2]["at"].clone();
    let (older, newer) = (found(json!({ "before": moment })).await, found(json!({ "after": moment })).await);
    assert_eq!(older, pick(&|entry| entry["at"].as_str() < moment.as_str()));
    assert_eq!(newer, pick(&|entry| entry["at"].as_str() > moment.as_str()));
    let both = json!({ "userId": staff.id, "action": "connection.updated" });
    assert_eq!(found(both).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_names_and_nobody_knows_finds_nothing() {
    let (stage, ..) = busy().await;
    let stranger = stage.stranger().await;
    for filter in [
        json!({ "action": "connection.exploded" }),
        json!({ "userId": stranger.id }),
        json!({ "subjectId": stranger.id }),
        json!({ "userId": "nonsense" }),
        json!({ "subjectId": "nonsense" }),
        json!({ "after": "2100-01-01T00:00:00Z" }),
    ] {
        assert_eq!(log(&stage.admin, filter.clone()).await.len(), 0, "{filter}");
    }
    let query = "query($filter: AuditFilter) { auditLog(filter: $filter) { totalCount } }";
    let refused = stage.admin.tries(query, json!({ "variables": { "filter": { "action": "a\u{0}b" } } })).await;
    assert_eq!(refused.code(), Some("BAD_USER_INPUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workspace_has_a_log_of_its_own() {
    let (stage, ..) = busy().await;
    let stranger = stage.stranger().await;
    stranger.creates_client("Theirs").await;
    let mine: Vec<String> = log(&stage.admin, Value::Null).await.iter().map(id).collect();
    let theirs = log(&stranger, Value::Null).await;
    assert!(theirs.iter().all(|entry| !mine.contains(&id(entry))));
    assert_eq!(each(&theirs, "action").last(), Some(&"client.created"));
    let query = "query($id: ID!) { node(id: $id) { __typename id } }";
    let foreign = stranger.ask(query, json!({ "variables": { "id": mine[0] } })).await;
    assert_eq!(foreign["node"], Value::Null);
    let own = stage.admin.ask(query, json!({ "variables": { "id": mine[0] } })).await;
    assert_eq!(own["node"], json!({ "__typename": "AuditEntry", "id": mine[0] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_read_it() {
    let (stage, ..) = busy().await;
    let client = stage.admin.creates_client("Umbrella").await;
    let entry = id(&log(&stage.admin, Value::Null).await[0]);
    for (name, role, client) in [("Stu", "STAFF", None), ("Mia", "MEMBER", None), ("Cleo", "CLIENT", Some(&*client))] {
        let person = stage.person(name, role, client).await;
        let refused = person.tries("{ auditLog { nodes { id } } }", Value::Null).await;
        assert_eq!(refused.code(), Some("FORBIDDEN"), "{role}");
        let query = "query($id: ID!) { node(id: $id) { id } }";
        let seen = person.ask(query, json!({ "variables": { "id": entry } })).await;
        assert_eq!(seen["node"], Value::Null, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_in_pages_newest_first_and_holds_no_secret() {
    let (stage, ..) = busy().await;
    let acme = stage.admin.creates_client("Acme & Sons").await;
    stage.keyed("lamps", &acme).await;
    let query = "query($after: String) { auditLog(first: 3, after: $after) { nodes { id details } \
                 pageInfo { hasNextPage endCursor } } }";
    let (mut walked, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = stage.admin.ask(query, json!({ "variables": { "after": after } })).await["auditLog"].clone();
        walked.extend(nodes(&page));
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    let mut all: Vec<String> = log(&stage.admin, Value::Null).await.iter().map(id).collect();
    all.reverse();
    assert_eq!(walked.iter().map(id).collect::<Vec<_>>(), all);
    let everything = Value::Array(walked).to_string();
    let key = stage.key("lamps")[0]["value"].as_str().unwrap().to_owned();
    assert!(!everything.contains(&key) && !everything.contains("sandbox_"), "{everything}");
}
