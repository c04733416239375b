//! The people of a workspace and its clients: how they come, change, are found and listed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    agency::{id, ids, sorted},
    harness::{Person, Stage},
};

// ── clients ──

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_made_renamed_and_found() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let input = json!({ "name": "  Große Agentur, Inc. ", "externalId": " Ä-7 " });
    let made = admin.does("createClient", input, "client { id name externalId createdAt }").await["client"].clone();
    assert_eq!((&made["name"], &made["externalId"]), (&json!("Große Agentur, Inc."), &json!(" Ä-7 ")));

    let by_id = format!(r#"{{ client(id: "{}") {{ id name externalId createdAt }} }}"#, id(&made));
    assert_eq!(admin.sees(&by_id).await["client"], made);
    let by_external_id = r#"{ client(externalId: " Ä-7 ") { id name externalId createdAt } }"#;
    assert_eq!(admin.sees(by_external_id).await["client"], made);
    assert_eq!(admin.sees(r#"{ client(externalId: "Ä-7") { id } }"#).await["client"], Value::Null, "to the letter");

    let kept =
        admin.does("updateClient", json!({ "clientId": id(&made) }), "client { id name externalId createdAt }").await;
    assert_eq!(kept["client"], made, "what is absent stays");
    let renamed = json!({ "clientId": id(&made), "name": "Ômega", "externalId": null });
    let renamed = admin.does("updateClient", renamed, "client { name externalId }").await;
    assert_eq!(renamed["client"], json!({ "name": "Ômega", "externalId": null }));
    assert_eq!(found(admin, "clients", "ÔMEGA").await, ["Ômega"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_that_is_known_returns_its_client_however_many_ask_at_once() {
    let stage = Stage::new().await;
    let asking = (0..8).map(|number| {
        let admin = stage.admin.clone();
        tokio::spawn(async move {
            let input = json!({ "name": format!("Acme {number}"), "externalId": "acme" });
            let made = admin.does("createClient", input, "client { id name }").await;
            made["client"].to_string()
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut made = BTreeSet::new();
    for one in asking {
        made.insert(one.await.unwrap());
    }
    assert_eq!(made.len(), 1, "everybody has the same: {made:?}");
    assert_eq!(stage.admin.sees("{ clients { totalCount } }").await["clients"]["totalCount"], 1);
    assert_eq!(audited(&stage.admin, "client.created").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_of_another_client_is_a_conflict_that_names_it() {
    let stage = Stage::new().await;
    let input = json!({ "name": "Acme", "externalId": "a" });
    let acme = id(&stage.admin.does("createClient", input, "client { id }").await["client"]);
    let globex = stage.admin.creates_client("Globex").await;
    let taken = json!({ "clientId": globex, "name": "Globex Inc.", "externalId": "a" });
    let refused = stage.admin.mutates("updateClient", taken, "client { id }").await;
    assert_eq!(refused["client"], Value::Null);
    assert_eq!(said(&refused), [("CONFLICT".to_owned(), "externalId".to_owned())]);
    assert_eq!(id(&refused["errors"][0]["conflictsWith"]), acme);
    assert_eq!(found(&stage.admin, "clients", "Globex").await, ["Globex"], "nothing is half-written");
    let same = json!({ "clientId": acme, "externalId": "a" });
    stage.admin.does("updateClient", same, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_listed_in_every_order_and_walked_both_ways() {
    let stage = Stage::new().await;
    for name in ["beta", "Alpha_1", "alpha%2", "Zeta", "Ärger"] {
        stage.admin.creates_client(name).await;
    }
    let (made, by_name) =
        (["beta", "Alpha_1", "alpha%2", "Zeta", "Ärger"], ["alpha%2", "Alpha_1", "beta", "Zeta", "Ärger"]);
    let turned = |names: [&'static str; 5]| names.into_iter().rev().collect::<Vec<_>>();
    let orders = [
        ("", made.to_vec()),
        ("orderBy: { field: NAME }", by_name.to_vec()),
        ("orderBy: { field: NAME, direction: DESC }", turned(by_name)),
        ("orderBy: { field: CREATED_AT }", made.to_vec()),
        ("orderBy: { field: CREATED_AT, direction: DESC }", turned(made)),
    ];
    for (order, expected) in orders {
        assert_eq!(walked(&stage.admin, "clients", order, "first", "after", "endCursor").await, expected, "{order}");
        let mut backward = walked(&stage.admin, "clients", order, "last", "before", "startCursor").await;
        backward.reverse();
        assert_eq!(backward, expected, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_one_name_are_walked_without_losing_one() {
    let stage = Stage::new().await;
    for _ in 0..5 {
        stage.admin.creates_client("Acme").await;
    }
    let query = "query($after: String) { clients(first: 2, after: $after, orderBy: { field: NAME }) \
                 { nodes { id } pageInfo { hasNextPage endCursor } } }";
    let (mut seen, mut after) = (BTreeSet::new(), Value::Null);
    loop {
        let page = stage.admin.ask(query, json!({ "variables": { "after": after } })).await["clients"].clone();
        seen.extend(ids(&page["nodes"]));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
}

// ── users ──

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_added_changed_and_leaves() {
    let stage = Stage::new().await;
    let (admin, acme) = (&stage.admin, stage.admin.creates_client("Acme").await);
    let fields = "user { id name email role client { id } active }";
    let input = json!({ "name": " Carl ", "email": " Carl@Acme.example ", "role": "CLIENT", "clientId": acme });
    let carl = admin.does("createUser", input, fields).await["user"].clone();
    let expected = json!({
        "id": carl["id"], "name": "Carl", "email": "Carl@Acme.example",
        "role": "CLIENT", "client": { "id": acme }, "active": true,
    });
    assert_eq!(carl, expected);

    let update = async |change: Value| {
        let mut input = change;
        input["userId"] = carl["id"].clone();
        admin.does("updateUser", input, fields).await["user"].clone()
    };
    let staff = update(json!({ "role": "STAFF" })).await;
    assert_eq!(
        (&staff["role"], &staff["client"]),
        (&json!("STAFF"), &Value::Null),
        "who is no CLIENT leaves the client"
    );
    let back = update(json!({ "role": "CLIENT", "clientId": acme, "name": "Carla", "active": false })).await;
    assert_eq!((&back["name"], &back["client"]["id"], &back["active"]), (&json!("Carla"), &json!(acme), &json!(false)));
    assert_eq!(update(json!({})).await, back, "what is absent stays");
    let listed =
        admin.sees(r#"{ users(search: "carla") { nodes { id name email role client { id } active } } }"#).await;
    assert_eq!(listed["users"]["nodes"], json!([back]), "who left is listed still");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_client_login_has_a_client_and_it_has_to() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let wrong = [("CLIENT", Value::Null), ("ADMIN", json!(acme)), ("STAFF", json!(acme)), ("MEMBER", json!(acme))];
    for (role, client) in &wrong {
        let input = json!({ "name": "Ned", "email": "ned@x.example", "role": role, "clientId": client });
        let refused = stage.admin.mutates("createUser", input, "user { id }").await;
        assert_eq!(said(&refused), [("INVALID".to_owned(), "clientId".to_owned())], "{role}");
    }
    let ned = stage.person("Ned", "STAFF", None).await;
    for change in [json!({ "clientId": acme }), json!({ "role": "CLIENT" })] {
        let mut input = change.clone();
        input["userId"] = json!(ned.id);
        let refused = stage.admin.mutates("updateUser", input, "user { id }").await;
        assert_eq!(said(&refused), [("INVALID".to_owned(), "clientId".to_owned())], "{change}");
    }
    let carl = stage.person("Carl", "CLIENT", Some(&acme)).await;
    let cleared =
        stage.admin.mutates("updateUser", json!({ "userId": carl.id, "clientId": null }), "user { id }").await;
    assert_eq!(said(&cleared), [("INVALID".to_owned(), "clientId".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_somebodys_alone_whatever_its_case_and_though_they_left() {
    let stage = Stage::new().await;
    let ned = stage.person("Ned", "STAFF", None).await;
    stage.admin.does("updateUser", json!({ "userId": ned.id, "active": false }), "").await;
    for address in ["ned@lighthouse.example", "NED@Lighthouse.Example", " ned@lighthouse.example "] {
        let input = json!({ "name": "Other", "email": address, "role": "STAFF" });
        let refused = stage.admin.mutates("createUser", input, "user { id }").await;
        assert_eq!(
            (&refused["user"], said(&refused)),
            (&Value::Null, vec![("CONFLICT".to_owned(), "email".to_owned())])
        );
        assert_eq!(id(&refused["errors"][0]["conflictsWith"]), ned.id, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_given_once_however_many_ask_at_once() {
    let stage = Stage::new().await;
    let asking: Vec<_> = (0..8)
        .map(|number| {
            let admin = stage.admin.clone();
            tokio::spawn(async move {
                let input = json!({ "name": format!("Eve {number}"), "email": "eve@x.example", "role": "STAFF" });
                said(&admin.mutates("createUser", input, "user { id }").await)
            })
        })
        .collect();
    let mut added = 0;
    for one in asking {
        match one.await.unwrap().as_slice() {
            [] => added += 1,
            [(code, field)] => assert_eq!((code.as_str(), field.as_str()), ("CONFLICT", "email")),
            more => panic!("{more:?}"),
        }
    }
    assert_eq!(added, 1);
    assert_eq!(found(&stage.admin, "users", "eve@").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_can_neither_step_down_nor_leave() {
    let stage = Stage::new().await;
    let leave = |who: &Person| json!({ "userId": who.id, "active": false });
    let step_down = |who: &Person| json!({ "userId": who.id, "role": "STAFF" });
    let mut both = step_down(&stage.admin);
    both["active"] = json!(false);
    for (change, field) in [(leave(&stage.admin), "active"), (step_down(&stage.admin), "role"), (both, "active")] {
        let refused = stage.admin.mutates("updateUser", change.clone(), "user { id }").await;
        assert_eq!(said(&refused), [("CONFLICT".to_owned(), field.to_owned())], "{change}");
    }
    // One who may not come in is none.
    let other = stage.person("Other", "ADMIN", None).await;
    stage.admin.does("updateUser", leave(&other), "").await;
    assert_eq!(said(&stage.admin.mutates("updateUser", step_down(&stage.admin), "").await).len(), 1);
    stage.admin.does("updateUser", json!({ "userId": other.id, "active": true }), "").await;
    stage.admin.does("updateUser", step_down(&stage.admin), "").await;
    assert_eq!(stage.admin.sees("{ viewer { role } }").await["viewer"]["role"], "STAFF");
    assert_eq!(said(&other.mutates("updateUser", leave(&other), "").await).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_admins_who_demote_each_other_one_stays() {
    let stage = Stage::new().await;
    for round in 0..8 {
        let other = stage.person(&format!("Other{round}"), "ADMIN", None).await;
        let demotes = |by: &Person, whom: &Person| {
            let (by, input) = (by.clone(), json!({ "userId": whom.id, "role": "STAFF" }));
            tokio::spawn(async move { by.tries_mutation("updateUser", input, "user { role }").await })
        };
        let (one, two) = (demotes(&stage.admin, &other), demotes(&other, &stage.admin));
        for demotion in [one, two] {
            let answer = demotion.await.unwrap();
            let code = answer.code().or_else(|| answer.body["data"]["updateUser"]["errors"][0]["code"].as_str());
            assert!(matches!(code, None | Some("FORBIDDEN" | "CONFLICT")), "{:#}", answer.body);
        }
        let left = if stage.admin.sees("{ viewer { role } }").await["viewer"]["role"] == "ADMIN" {
            &stage.admin
        } else {
            &other
        };
        let admins = left.sees("{ users { nodes { role active } } }").await;
        let admins = admins["users"]["nodes"].as_array().unwrap().iter().filter(|one| one["role"] == "ADMIN").count();
        assert_eq!(admins, 1, "round {round}");
        if left.id == other.id {
            other.does("updateUser", json!({ "userId": stage.admin.id, "role": "ADMIN" }), "").await;
            stage.admin.does("updateUser", json!({ "userId": other.id, "role": "STAFF" }), "").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_people_stands_in_the_audit_log_and_what_changes_nothing_does_not() {
    let stage = Stage::new().await;
    let before = stage.admin.sees("{ auditLog { totalCount } }").await["auditLog"]["totalCount"].as_u64().unwrap();
    let ned = stage.person("Ned", "STAFF", None).await;
    let acme = stage.admin.creates_client("Acme").await;
    for change in [
        json!({ "role": "MEMBER" }),
        json!({ "role": "MEMBER" }),
        json!({ "name": "Ned N.", "active": false }),
        json!({ "active": true }),
        json!({ "name": "" }),
        json!({}),
    ] {
        let mut input = change;
        input["userId"] = json!(ned.id);
        stage.admin.mutates("updateUser", input, "").await;
    }
    stage.admin.does("updateClient", json!({ "clientId": acme, "name": "Acme" }), "").await;
    stage.admin.does("updateClient", json!({ "clientId": acme, "name": "Acme Inc." }), "").await;
    let log = stage.admin.sees("{ auditLog { totalCount nodes { action user { id } subject { id } } } }").await;
    let entries = log["auditLog"]["nodes"].as_array().unwrap();
    let count = usize::try_from(log["auditLog"]["totalCount"].as_u64().unwrap() - before).unwrap();
    let told: Vec<(String, String)> = entries[..count]
        .iter()
        .rev()
        .map(|entry| {
            assert_eq!(id(&entry["user"]), stage.admin.id);
            (entry["action"].as_str().unwrap().to_owned(), id(&entry["subject"]))
        })
        .collect();
    let expected = [
        ("user.created", &ned.id),
        ("client.created", &acme),
        ("user.role_changed", &ned.id),
        ("user.deactivated", &ned.id),
        ("user.updated", &ned.id),
        ("user.activated", &ned.id),
        ("client.updated", &acme),
    ];
    assert_eq!(told, expected.map(|(action, subject)| (action.to_owned(), subject.clone())));
}

// ── searching, walking, bad input ──

#[tokio::test(flavor = "multi_thread")]
async fn percent_and_underscore_are_themselves_in_a_search() {
    let stage = Stage::new().await;
    for name in ["100% Cotton", "100 Percent", "snake_case", "snakeXcase", r"back\slash", "Straße", "ＷＩＤＥ"] {
        stage.admin.creates_client(name).await;
    }
    let searches = [
        ("%", vec!["100% Cotton"]),
        ("100%", vec!["100% Cotton"]),
        ("_", vec!["snake_case"]),
        ("E_C", vec!["snake_case"]),
        (r"\", vec![r"back\slash"]),
        (r"\%", vec![]),
        ("%%", vec![]),
        ("'; DROP TABLE client; --", vec![]),
        ("STRAßE", vec!["Straße"]),
        ("wide", vec!["ＷＩＤＥ"]),
        ("  snake  ", vec!["snakeXcase", "snake_case"]),
    ];
    for (search, expected) in searches {
        assert_eq!(found(&stage.admin, "clients", search).await, expected, "{search}");
    }
    assert_eq!(found(&stage.admin, "clients", "").await.len(), 7, "nothing to look for is no condition");

    stage.admin.does("createUser", json!({ "name": "A_1", "email": "a%b@x.example", "role": "STAFF" }), "").await;
    for (search, expected) in
        [("%", vec!["A_1"]), ("_", vec!["A_1"]), ("A%B@", vec!["A_1"]), ("MARA@light", vec!["Mara"]), ("a_b", vec![])]
    {
        assert_eq!(found(&stage.admin, "users", search).await, expected, "{search}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_walked_both_ways_and_counted() {
    let stage = Stage::new().await;
    for name in ["Ann", "Bob", "Cid"] {
        stage.person(name, "STAFF", None).await;
    }
    let expected = ["Mara", "Ann", "Bob", "Cid"];
    assert_eq!(walked(&stage.admin, "users", "", "first", "after", "endCursor").await, expected);
    let mut backward = walked(&stage.admin, "users", "", "last", "before", "startCursor").await;
    backward.reverse();
    assert_eq!(backward, expected);
    let query = r#"{ users(first: 0) { totalCount nodes { id } }
                     found: users(search: "lighthouse", first: 1) { totalCount } }"#;
    assert_eq!(
        stage.admin.sees(query).await,
        json!({ "users": { "totalCount": 4, "nodes": [] }, "found": { "totalCount": 4 } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_value_is_an_error_at_its_field_that_does_not_repeat_it() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let ned = stage.person("Ned", "STAFF", None).await;
    let (nul, newline, ansi) = ("hunter2\0", "hunter2\r\nBcc: all@x.example", "hunter2\u{1b}[31m");
    let (long, huge) = ("hunter2".repeat(40), "hunter2".repeat(150_000));
    let mut tries = Vec::new();
    for bad in ["", " ", nul, newline, ansi, &long, &huge] {
        tries.extend([
            ("createClient", json!({ "name": bad }), vec!["name"]),
            ("createClient", json!({ "name": "Fine", "externalId": bad }), vec!["externalId"]),
            ("updateClient", json!({ "clientId": acme, "name": bad, "externalId": "" }), vec!["name", "externalId"]),
            ("createUser", json!({ "name": bad, "email": "fine@x.example", "role": "STAFF" }), vec!["name"]),
            ("createUser", json!({ "name": "Fine", "email": format!("{bad}@"), "role": "STAFF" }), vec!["email"]),
            ("updateUser", json!({ "userId": ned.id, "name": bad }), vec!["name"]),
        ]);
    }
    for bad in
        ["hunter2", "@hunter2", "hunter2@", "hunter@2@x", "hunter 2@x", "hunter@2,c@d", "Hunter <a@b>", "hunter@2;c"]
    {
        tries.push(("createUser", json!({ "name": "Fine", "email": bad, "role": "STAFF" }), vec!["email"]));
    }
    tries.extend([
        ("createUser", json!({ "name": "", "email": "", "role": "CLIENT" }), vec!["name", "email", "clientId"]),
        (
            "updateUser",
            json!({ "userId": ned.id, "name": null, "role": null, "active": null }),
            vec!["name", "role", "active"],
        ),
        ("updateClient", json!({ "clientId": acme, "name": null }), vec!["name"]),
    ]);
    for (mutation, input, fields) in tries {
        let refused = stage.admin.mutates(mutation, input.clone(), "").await;
        let expected: Vec<_> = fields.iter().map(|field| ("INVALID".to_owned(), (*field).to_owned())).collect();
        assert_eq!(said(&refused), expected, "{mutation} {:.200}", input.to_string());
        assert!(!refused.to_string().to_lowercase().contains("hunter"), "{mutation}: {refused:#}");
    }
    assert_eq!(found(&stage.admin, "clients", "").await, ["Acme"], "nothing is half-written");
    assert_eq!(sorted(found(&stage.admin, "users", "").await), ["Mara", "Ned"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_argument_of_a_list_is_bad_user_input_and_not_repeated() {
    let stage = Stage::new().await;
    let long = "hunter2".repeat(40);
    for list in ["clients", "users"] {
        let bad = [
            "first: -1",
            "first: 101",
            "first: 1000000",
            "last: -1",
            "last: 101",
            "first: 1, last: 1",
            r#"search: "hunter2\u0000""#,
            r#"search: "hunter2\n2""#,
            &format!(r#"search: "{long}""#),
            "first: 99999999999",
            r#"first: "hunter2""#,
        ];
        for arguments in bad {
            let answer = stage
                .admin
                .tries(&format!("{{ {list}({arguments}) {{ totalCount nodes {{ id }} }} }}"), Value::Null)
                .await;
            assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{list}({arguments}): {:#}", answer.body);
            assert!(answer.body["data"].is_null() && !answer.body.to_string().contains("hunter2"), "{:#}", answer.body);
        }
    }
    for arguments in ["", r#"(id: "client_0", externalId: "x")"#, r#"(externalId: "hunter2\u0000")"#] {
        let answer = stage.admin.tries(&format!("{{ client{arguments} {{ id }} }}"), Value::Null).await;
        assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "client{arguments}: {:#}", answer.body);
        assert!(!answer.body.to_string().contains("hunter2"), "{:#}", answer.body);
    }
}

// ── what these tests ask ──

/// The names that a search finds, sorted.
async fn found(person: &Person, list: &str, search: &str) -> Vec<String> {
    let query = format!("query($search: String) {{ {list}(search: $search) {{ totalCount nodes {{ name }} }} }}");
    let seen = person.ask(&query, json!({ "variables": { "search": search } })).await[list].clone();
    let names = sorted(names(&seen));
    assert_eq!(seen["totalCount"], json!(names.len()));
    names
}

fn names(page: &Value) -> Vec<String> {
    page["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

/// The names of a list, walked row by row.
async fn walked(person: &Person, list: &str, order: &str, take: &str, from: &str, next: &str) -> Vec<String> {
    let query = format!(
        "query($cursor: String) {{ {list}({take}: 1, {from}: $cursor, {order}) \
         {{ nodes {{ name }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    let more = if take == "first" { "hasNextPage" } else { "hasPreviousPage" };
    let (mut walked, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = person.ask(&query, json!({ "variables": { "cursor": cursor } })).await[list].clone();
        walked.extend(names(&page));
        cursor = page["pageInfo"][next].clone();
        if page["pageInfo"][more] == false {
            return walked;
        }
    }
}

/// Code and field of each error of a payload.
fn said(payload: &Value) -> Vec<(String, String)> {
    let errors = payload["errors"].as_array().unwrap_or_else(|| panic!("{payload:#}"));
    let field = |error: &Value| {
        let path = error["field"].as_array().into_iter().flatten();
        path.map(|part| part.as_str().unwrap()).collect::<Vec<_>>().join(".")
    };
    errors.iter().map(|error| (error["code"].as_str().unwrap().to_owned(), field(error))).collect()
}

async fn audited(person: &Person, action: &str) -> u64 {
    let query = format!(r#"{{ auditLog(filter: {{ action: "{action}" }}) {{ totalCount }} }}"#);
    person.sees(&query).await["auditLog"]["totalCount"].as_u64().unwrap()
}
