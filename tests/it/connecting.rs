//! Plugging a data source in: in the browser, and through an authorization that exists already.

use patchbay::sandbox::Ended;
use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage};

const ADA: &str = "ada@lindqvist.example";

/// What the workspace has: how many connections and authorizations.
async fn counts(person: &Person) -> (u64, u64) {
    let seen = person.sees("{ connections { totalCount } authorizations { totalCount } }").await;
    let count = |list: &str| seen[list]["totalCount"].as_u64().unwrap();
    (count("connections"), count("authorizations"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_in_the_browser_plugs_a_source_in() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let cursor = stage.admin.event_cursor().await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": acme, "using": { "browser": {} } });
    let fields = "connection { id } attempt { id kind status authorizationUrl signedInAs { name } connections { id } }";
    let started = stage.admin.does("connect", input, fields).await;
    let attempt = &started["attempt"];
    assert_eq!(started["connection"], Value::Null);
    assert_eq!((attempt["kind"].as_str(), attempt["status"].as_str()), (Some("CONNECT"), Some("PENDING")));
    assert_eq!((&attempt["signedInAs"], &attempt["connections"]), (&Value::Null, &json!([])));

    let landing = stage.browser().signs_in(attempt["authorizationUrl"].as_str().unwrap(), "ada").await;
    assert_eq!(landing.status, 200, "{}", landing.body);

    let done = stage.admin.attempt(attempt["id"].as_str().unwrap()).await;
    assert_eq!((done["status"].as_str(), done["connectionCount"].as_u64()), (Some("SUCCEEDED"), Some(1)));
    assert_eq!(done["signedInAs"], json!({ "accountId": "person-7041", "name": ADA }));
    let connection = &done["connections"][0];
    assert_eq!(connection["name"], format!("Sandbox Analytics – {ADA}"));
    assert_eq!(connection["status"], "CONNECTED");
    assert_eq!(connection["client"]["id"], acme);
    assert_eq!(connection["account"], Value::Null, "a site has no accounts to choose from");
    assert_eq!(connection["authorization"]["account"]["accountId"], "person-7041");
    assert_eq!(connection["createdBy"]["id"], stage.admin.id);

    let changes = stage.admin.changes_since(&cursor).await;
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!(changes[0]["kind"], "ADDED");
    assert_eq!(changes[0]["addedConnections"][0]["id"], connection["id"]);
    assert_eq!(changes[0]["by"]["id"], stage.admin.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_given_name_and_external_id_are_kept() {
    let stage = Stage::new().await;
    let input = json!({ "connector": "sandbox-analytics", "name": "  Lamps, web  ", "externalId": "crm-17" });
    let connection = stage.admin.connects(&stage.browser(), input, "ada").await;
    assert_eq!((connection["name"].as_str(), connection["externalId"].as_str()), (Some("Lamps, web"), Some("crm-17")));
    assert_eq!(connection["client"], Value::Null, "it is the workspace's own");
    let found = stage.admin.sees("{ connection(externalId: \"crm-17\") { id } }").await;
    assert_eq!(found["connection"]["id"], connection["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connector_asks_for_is_checked_before_the_browser_step() {
    let stage = Stage::new().await;
    let shop = |fields: Value| json!({ "connector": "sandbox-shop", "using": { "browser": { "fields": fields } } });
    let field = |name: &str, value: &str| json!({ "name": name, "value": value });
    let place = |index: Option<&str>| {
        let mut path = vec!["using", "browser", "fields"];
        path.extend(index);
        json!(path)
    };
    for (fields, at) in [
        (json!([]), place(None)),
        (json!([field("shop", "evil.example#")]), place(Some("0"))),
        (json!([field("shop", "north-lights"), field("owner", "hunter2")]), place(Some("1"))),
        (json!([field("shop", "north-lights"), field("shop", "hunter2")]), place(Some("1"))),
    ] {
        let error = stage.admin.refused("connect", shop(fields.clone())).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &at), "{fields}");
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains("evil") && !message.contains("hunter2"), "{message}");
    }

    let input = shop(json!([field("shop", "north-lights")]));
    let connection = stage.admin.connects(&stage.browser(), input, "ben").await;
    assert_eq!(connection["name"], "Sandbox Shop – North Lights");
    assert_eq!(connection["authorization"]["account"]["accountId"], "shop-north-lights");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_that_was_named_is_the_one_that_is_connected() {
    let stage = Stage::new().await;
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-302" });
    let connection = stage.admin.connects(&stage.browser(), input, "ada").await;
    assert_eq!(connection["account"], json!({ "accountId": "100-302", "name": "Harbour Hotels" }));
    assert_eq!(connection["name"], "Sandbox Ads – Harbour Hotels");
    assert_eq!(connection["authorization"]["account"]["name"], ADA);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_sign_in_does_not_reach_is_not_connected_and_the_grant_goes_back() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-ads", "accountId": "100-404" })).await;
    stage.browser().signs_in(&url, "ada").await;
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((attempt["status"].as_str(), attempt["error"]["code"].as_str()), (Some("FAILED"), Some("NOT_FOUND")));
    assert_eq!(counts(&stage.admin).await, (0, 0));
    assert_eq!(stage.sandbox.grants()[0].ended, Some(Ended::ByClient));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_several_accounts_the_attempt_asks_which_one() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-ads" })).await;
    stage.browser().signs_in(&url, "ada").await;

    let asking = stage.admin.attempt(&id).await;
    assert_eq!(asking["status"], "NEEDS_DECISION");
    assert_eq!(asking["signedInAs"]["name"], ADA);
    let mut accounts: Vec<_> = asking["availableAccounts"]["nodes"].as_array().unwrap().iter().collect();
    accounts.sort_by_key(|account| account["accountId"].as_str().map(str::to_owned));
    let names: Vec<_> = accounts.iter().map(|account| account["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Lindqvist Lamps", "Harbour Hotels", "Fjord Outfitters"]);
    assert_eq!(counts(&stage.admin).await, (0, 0), "nothing is connected before it is decided");

    let undecided = stage.admin.refused("decideAttempt", json!({ "attemptId": id })).await;
    assert_eq!((undecided["code"].as_str(), &undecided["field"]), (Some("INVALID"), &json!(["accountId"])));
    let unknown = stage.admin.refused("decideAttempt", json!({ "attemptId": id, "accountId": "100-404" })).await;
    assert_eq!((unknown["code"].as_str(), &unknown["field"]), (Some("NOT_FOUND"), &json!(["accountId"])));

    let decision = json!({ "attemptId": id, "accountId": "100-303" });
    let fields = format!("attempt {{ status connections {{ {CONNECTION} }} availableAccounts {{ totalCount }} }}");
    let decided = stage.admin.does("decideAttempt", decision.clone(), &fields).await["attempt"].clone();
    assert_eq!(decided["status"], "SUCCEEDED");
    assert_eq!(decided["connections"][0]["name"], "Sandbox Ads – Fjord Outfitters");
    assert_eq!(decided["availableAccounts"], Value::Null, "there is nothing to choose any more");

    let again = stage.admin.refused("decideAttempt", decision).await;
    assert_eq!((again["code"].as_str(), &again["field"]), (Some("INVALID"), &json!(["attemptId"])));
    assert_eq!(counts(&stage.admin).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_account_is_taken_without_asking() {
    let stage = Stage::new().await;
    stage.sandbox.withdraw("100-303");
    let connection = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-ads" }), "ben").await;
    assert_eq!(connection["account"], json!({ "accountId": "100-404", "name": "Okafor Orchards" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_refused_where_the_source_has_none_to_choose_from() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics", "accountId": "7" })).await;
    stage.browser().signs_in(&url, "ada").await;
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((attempt["status"].as_str(), attempt["error"]["code"].as_str()), (Some("FAILED"), Some("INVALID")));
    assert_eq!(counts(&stage.admin).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_exists_connects_more_at_once_without_a_browser() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let ads =
        |account: &str, client: &str| json!({ "connector": "sandbox-ads", "accountId": account, "clientId": client });
    let first = stage.admin.connects(&stage.browser(), ads("100-301", &acme), "ada").await;
    let authorization = first["authorization"]["id"].as_str().unwrap();

    let bob = stage.person("Bob", "STAFF", None).await;
    let second = bob.connects_through(authorization, ads("100-302", &globex)).await;
    assert_eq!(
        (second["status"].as_str(), second["client"]["id"].as_str()),
        (Some("CONNECTED"), Some(globex.as_str()))
    );
    assert_eq!(second["authorization"]["id"], authorization);
    assert_eq!(second["createdBy"]["id"], bob.id);
    assert_eq!(stage.sandbox.token_calls().authorization_code, 1, "nobody signed in again");
    assert_eq!(counts(&stage.admin).await, (2, 1));

    let through = |mut input: Value, authorization: &str| {
        input["using"] = json!({ "authorizationId": authorization });
        input
    };
    let unsaid = through(json!({ "connector": "sandbox-ads", "clientId": globex }), authorization);
    let error = bob.refused("connect", unsaid).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &json!(["accountId"])));
    let error = bob.refused("connect", through(ads("100-404", &globex), authorization)).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("NOT_FOUND"), &json!(["accountId"])));
    let error = bob.refused("connect", through(json!({ "connector": "sandbox-analytics" }), authorization)).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &json!(["using", "authorizationId"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_is_not_there_or_elsewhere_or_removed_is_not_found() {
    let stage = Stage::new().await;
    let input = json!({ "connector": "sandbox-analytics" });
    let (stranger, browser) = (stage.stranger().await, stage.browser());
    let theirs = stranger.connects(&browser, input.clone(), "ada").await;
    let gone = stage.admin.connects(&browser, input, "ben").await;
    stage.admin.does("removeConnection", json!({ "connectionId": gone["id"] }), "").await;
    for id in [&theirs["authorization"]["id"], &gone["authorization"]["id"], &gone["id"], &json!("nonsense")] {
        let using = json!({ "connector": "sandbox-analytics", "using": { "authorizationId": id } });
        let error = stage.admin.refused("connect", using).await;
        assert_eq!(
            (error["code"].as_str(), &error["field"]),
            (Some("NOT_FOUND"), &json!(["using", "authorizationId"]))
        );
    }
    assert_eq!(counts(&stage.admin).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_connected_through_a_dead_authorization() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let first = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let authorization = &first["authorization"]["id"];
    let through = json!({ "authorizationId": authorization });
    let input = json!({ "connector": "sandbox-analytics", "clientId": acme, "using": through });
    let error = stage.admin.refused("connect", input).await;
    assert_eq!((error["code"].as_str(), &error["conflictsWith"]["id"]), (Some("CONFLICT"), authorization));
    assert_eq!(counts(&stage.admin).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_goes_through_their_own_authorizations_only_and_signs_in_anywhere() {
    let stage = Stage::new().await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let acme = stage.admin.creates_client("Acme").await;
    let ads = |account: &str| json!({ "connector": "sandbox-ads", "accountId": account, "clientId": acme });
    let own = nina.connects(&stage.browser(), ads("100-404"), "ben").await;
    let more = nina.connects_through(own["authorization"]["id"].as_str().unwrap(), ads("100-303")).await;
    assert_eq!(more["createdBy"]["id"], nina.id);

    let admins = stage.admin.connects(&stage.browser(), ads("100-301"), "ada").await;
    let mut input = ads("100-302");
    input["using"] = json!({ "authorizationId": admins["authorization"]["id"] });
    assert_eq!(nina.refused("connect", input.clone()).await["code"], "NOT_FOUND", "she does not see it");
    let share = json!({ "connectionId": admins["id"], "userIds": [nina.id] });
    stage.admin.does("shareConnection", share, "").await;
    let answer = nina.tries_mutation("connect", input, "").await;
    assert_eq!(answer.code(), Some("FORBIDDEN"), "she sees it, and did not make it");

    // Whoever can sign in as the account may connect more of it.
    let signed_in = nina.connects(&stage.browser(), ads("100-302"), "ada").await;
    assert_eq!(signed_in["authorization"]["id"], admins["authorization"]["id"]);
    assert_eq!(signed_in["createdBy"]["id"], nina.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_without_settings_on_this_server_cannot_be_connected() {
    let stage = Stage::new().await;
    let input = json!({ "connector": "google-analytics-4", "using": { "browser": {} } });
    assert_eq!(stage.admin.refused("connect", input).await["code"], "NOT_CONFIGURED");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_by_its_field_and_not_repeated() {
    let stage = Stage::new().await;
    let (stranger, long) = (stage.stranger().await, "hunter2".repeat(150_000));
    let theirs = stranger.creates_client("Theirs").await;
    let key = json!([{ "name": "api_key", "value": "hunter2" }]);
    for (part, code, at) in [
        (json!({ "connector": "hunter2" }), "NOT_FOUND", json!(["connector"])),
        (json!({ "name": "" }), "INVALID", json!(["name"])),
        (json!({ "name": long }), "INVALID", json!(["name"])),
        (json!({ "name": "hunter2\0" }), "INVALID", json!(["name"])),
        (json!({ "externalId": " " }), "INVALID", json!(["externalId"])),
        (json!({ "accountId": "hunter2\n" }), "INVALID", json!(["accountId"])),
        (json!({ "clientId": "hunter2" }), "NOT_FOUND", json!(["clientId"])),
        (json!({ "clientId": theirs }), "NOT_FOUND", json!(["clientId"])),
        (json!({ "clientId": stage.admin.id }), "NOT_FOUND", json!(["clientId"])),
        (json!({ "using": { "credentials": key } }), "INVALID", json!(["using", "credentials"])),
        (json!({ "using": { "browser": { "fields": key } } }), "INVALID", json!(["using", "browser", "fields", "0"])),
    ] {
        let mut input = json!({ "connector": "sandbox-analytics", "using": { "browser": {} } });
        input.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let error = stage.admin.refused("connect", input).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some(code), &at), "{error:#}");
        assert!(!error.to_string().contains("hunter2"), "{error:#}");
    }
    assert_eq!(counts(&stage.admin).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_login_connects_nothing_whatever_it_names() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let carl = stage.person("Carl", "CLIENT", Some(&acme)).await;
    for connector in ["sandbox-analytics", "nonsense"] {
        let input = json!({ "connector": connector, "clientId": acme, "using": { "browser": {} } });
        assert_eq!(carl.tries_mutation("connect", input, "").await.code(), Some("FORBIDDEN"), "{connector}");
    }
}
