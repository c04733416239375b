//! Who may use a grant for more: whoever signed in last, and those who look after everything. Neither a share of a
//! connection behind it, nor having signed in once, gives that right, by whichever way it is tried.

use patchbay::sandbox::Endpoint;
use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage, id};

/// An account that Ada reaches beside those that are connected.
const FJORD: &str = "100-303";

/// Ada's grant of the advertising platform, which a MEMBER made by signing in; and everybody around it.
struct Around {
    stage: Stage,
    staff: Person,
    maker: Person,
    /// A MEMBER with whom the maker's connection is shared, and nothing else.
    sharer: Person,
    newcomer: Person,
    login: Person,
    acme: String,
    lamps: String,
    authorization: String,
}

impl Around {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let acme = stage.admin.creates_client("Acme").await;
        let staff = stage.person("Stella", "STAFF", None).await;
        let maker = stage.person("Mel", "MEMBER", None).await;
        let sharer = stage.person("Shirin", "MEMBER", None).await;
        let newcomer = stage.person("Nora", "MEMBER", None).await;
        let login = stage.person("Carl", "CLIENT", Some(&acme)).await;
        let input = json!({ "connector": "sandbox-ads", "clientId": acme, "accountId": "100-301", "name": "Lamps" });
        let lamps = maker.connects(&stage.browser(), input, "ada").await;
        let (lamps, authorization) = (id(&lamps), id(&lamps["authorization"]));
        let it = Self { stage, staff, maker, sharer, newcomer, login, acme, lamps, authorization };
        it.shares(&it.lamps, &it.sharer).await;
        it
    }

    fn admin(&self) -> &Person {
        &self.stage.admin
    }

    async fn shares(&self, connection: &str, with: &Person) {
        let input = json!({ "connectionId": connection, "userIds": [with.id] });
        self.admin().does("shareConnection", input, "").await;
    }

    async fn unshares(&self, connection: &str, with: &Person) {
        let input = json!({ "connectionId": connection, "userIds": [with.id] });
        self.admin().does("unshareConnection", input, "").await;
    }

    /// Ada's grant becomes the ADMIN's: they sign in as Ada, where the maker did.
    async fn admin_signs_in(&self) {
        let (attempt, _) = self.admin().reconnects(&self.stage.browser(), &self.lamps, "REFUSE", "ada").await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    }

    /// Whose the authorization is.
    async fn owner(&self, authorization: &str) -> Value {
        let query = format!("{{ authorization(id: \"{authorization}\") {{ createdBy {{ id }} }} }}");
        self.admin().sees(&query).await["authorization"]["createdBy"]["id"].clone()
    }

    /// A connection of Ben's account, which every MEMBER but `Nora` may reconnect: something to move onto Ada's grant.
    async fn orchards(&self) -> String {
        let input = json!({ "connector": "sandbox-ads", "accountId": "100-404", "name": "Orchards" });
        let orchards = id(&self.admin().connects(&self.stage.browser(), input, "ben").await);
        for person in [&self.maker, &self.sharer, &self.newcomer] {
            self.shares(&orchards, person).await;
        }
        orchards
    }

    /// What comes of every way to use Ada's grant for an account that it does not reach, so that nothing changes by those
    /// that are let through: `NOT_FOUND` and `CONFLICT` about the account are the answers to who may use it.
    async fn every_way(&self, who: &Person, orchards: &str) -> Vec<(&'static str, String)> {
        let query =
            format!("{{ authorization(id: \"{}\") {{ availableAccounts {{ totalCount }} }} }}", self.authorization);
        let listed = who.sees(&query).await["authorization"].clone();
        let mut came = vec![("list", listed.to_string())];
        let (authorization, lamps) = (&self.authorization, &self.lamps);
        let using = json!({ "authorizationId": authorization });
        let row = json!([{ "accountId": "100-404" }]);
        for (way, mutation, input) in [
            ("connect", "connect", json!({ "connector": "sandbox-ads", "accountId": "100-404", "using": using })),
            ("many", "connectAccounts", json!({ "authorizationId": authorization, "accounts": row })),
            ("point", "updateConnection", json!({ "connectionId": lamps, "accountId": "100-404" })),
            ("move", "reconnect", json!({ "connectionId": orchards, "authorizationId": authorization })),
        ] {
            came.push((way, self.outcome(who, mutation, input).await));
        }
        came
    }

    async fn outcome(&self, who: &Person, mutation: &str, input: Value) -> String {
        let more = if mutation == "connectAccounts" { "results { errors { code field } }" } else { "" };
        let answer = who.tries_mutation(mutation, input, more).await;
        if let Some(code) = answer.code() {
            return code.to_owned();
        }
        let payload = &answer.body["data"][mutation];
        let of_row = &payload["results"][0]["errors"][0];
        let error = if of_row.is_null() { &payload["errors"][0] } else { of_row };
        let field = error["field"].as_array().and_then(|path| path.last()).and_then(Value::as_str);
        format!("{} {}", error["code"].as_str().unwrap_or("DONE"), field.unwrap_or_default())
    }
}

/// As who may use the grant.
const MAY: [&str; 5] = [
    r#"{"availableAccounts":{"totalCount":3}}"#,
    "NOT_FOUND accountId",
    "NOT_FOUND accountId",
    "NOT_FOUND accountId",
    "CONFLICT authorizationId",
];
/// As who sees it and may not.
const MAY_NOT: [&str; 5] = [r#"{"availableAccounts":null}"#, "FORBIDDEN", "FORBIDDEN", "FORBIDDEN", "FORBIDDEN"];
/// As who does not see it.
const HIDDEN: [&str; 5] = [
    "null",
    "NOT_FOUND authorizationId",
    "NOT_FOUND authorizationId",
    "NOT_FOUND connectionId",
    "NOT_FOUND authorizationId",
];
/// As a CLIENT, who sees what is behind their connections.
const READER: [&str; 5] = MAY_NOT;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_use_a_grant_for_more_asks_whose_it_is() {
    let it = Around::new().await;
    let orchards = it.orchards().await;
    let (_, key) = it.admin().makes_key(json!({ "name": "Tool", "role": "STAFF" })).await;
    let (_, reader) = it.admin().makes_key(json!({ "name": "Reader", "role": "CLIENT", "clientId": it.acme })).await;
    let check = async |moment: &str, all: &[(&str, &Person, [&str; 5])]| {
        for (name, who, expected) in all {
            for ((way, came), expected) in it.every_way(who, &orchards).await.into_iter().zip(expected) {
                assert_eq!(came, *expected, "{moment}: {name}, {way}");
            }
        }
    };
    let others: [(&str, &Person, [&str; 5]); 6] = [
        ("ADMIN", it.admin(), MAY),
        ("STAFF", &it.staff, MAY),
        ("a STAFF key", &key, MAY),
        ("who shares", &it.sharer, MAY_NOT),
        ("a MEMBER", &it.newcomer, HIDDEN),
        ("CLIENT", &it.login, READER),
    ];
    check("at first", &others).await;
    check("at first", &[("the maker", &it.maker, MAY), ("a CLIENT key", &reader, READER)]).await;

    it.admin_signs_in().await;
    check("signed in anew", &others).await;
    check("signed in anew", &[("who made it, and shares now", &it.maker, MAY_NOT)]).await;
    it.unshares(&it.lamps, &it.maker).await;
    check("unshared", &[("who made it", &it.maker, HIDDEN)]).await;
    check("unshared", &others).await;
    assert_eq!(it.admin().connection(&it.lamps).await["account"]["accountId"], "100-301", "nothing has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_connection_renames_it_and_points_it_at_no_other_account() {
    let it = Around::new().await;
    let both = json!({ "connectionId": it.lamps, "name": "Mine", "accountId": FJORD });
    assert_eq!(it.sharer.tries_mutation("updateConnection", both, "").await.code(), Some("FORBIDDEN"));
    let seen = it.sharer.connection(&it.lamps).await;
    assert_eq!((&seen["name"], &seen["account"]["accountId"]), (&json!("Lamps"), &json!("100-301")), "not even half");
    let same = json!({ "connectionId": it.lamps, "name": "Lights", "accountId": "100-301" });
    it.sharer.does("updateConnection", same, "").await;
    let other = json!({ "connectionId": it.lamps, "accountId": FJORD });
    it.maker.does("updateConnection", other, "").await;
    assert_eq!(it.maker.connection(&it.lamps).await["account"]["accountId"], FJORD);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_is_not_asked_for_who_may_not() {
    let it = Around::new().await;
    it.stage.sandbox.fail_next(Endpoint::Accounts, patchbay::sandbox::Fault::ServerError, 1);
    for (mutation, input) in [
        ("updateConnection", json!({ "connectionId": it.lamps, "accountId": FJORD })),
        ("connectAccounts", json!({ "authorizationId": it.authorization, "accounts": [{ "accountId": FJORD }] })),
    ] {
        assert_eq!(it.sharer.tries_mutation(mutation, input, "").await.code(), Some("FORBIDDEN"), "{mutation}");
    }
    let met = it.maker.refused("updateConnection", json!({ "connectionId": it.lamps, "accountId": FJORD })).await;
    assert_eq!(met["code"], "PROVIDER_UNAVAILABLE", "the fault still waited");
}

/// How somebody else signs in where the MEMBER did, as Ada: over a connection of theirs.
async fn signs_in(it: &Around, who: &Person, way: &str) {
    let browser = it.stage.browser();
    match way {
        "reconnecting" => {
            let (attempt, _) = who.reconnects(&browser, &it.lamps, "ASK", "ada").await;
            assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
        }
        "connecting the same account" => {
            let input = json!({ "connector": "sandbox-ads", "clientId": it.acme, "accountId": FJORD });
            who.connects(&browser, input, "ada").await;
        }
        "choosing an account" => {
            let input = json!({ "connector": "sandbox-ads", "clientId": it.acme });
            let (attempt, url) = who.starts_connecting(input).await;
            browser.signs_in(&url, "ada").await;
            let input = json!({ "attemptId": attempt, "accountId": FJORD });
            who.does("decideAttempt", input, "attempt { status }").await;
        }
        "moving another connection there" => {
            let input = json!({ "connector": "sandbox-ads", "accountId": FJORD, "name": "Fjord" });
            let fjord = id(&who.connects(&browser, input, "ben").await);
            let (attempt, _) = who.reconnects(&browser, &fjord, "THIS_CONNECTION", "ada").await;
            assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
        }
        "deciding to move one there" => {
            let input = json!({ "connector": "sandbox-ads", "accountId": FJORD, "name": "Fjord" });
            let fjord = id(&who.connects(&browser, input, "ben").await);
            let (attempt, _) = who.reconnects(&browser, &fjord, "ASK", "ada").await;
            let input = json!({ "attemptId": attempt["id"], "accountChange": "WHOLE_AUTHORIZATION" });
            who.does("decideAttempt", input, "attempt { status }").await;
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_whose_sign_in_it_is_whichever_way_they_signed_in() {
    for way in [
        "reconnecting",
        "connecting the same account",
        "choosing an account",
        "moving another connection there",
        "deciding to move one there",
    ] {
        let it = Around::new().await;
        assert_eq!(it.owner(&it.authorization).await, json!(it.maker.id), "{way}");
        signs_in(&it, &it.staff, way).await;
        assert_eq!(it.owner(&it.authorization).await, json!(it.staff.id), "{way}");
        let input = json!({ "authorizationId": it.authorization, "accounts": [{ "accountId": "100-302" }] });
        assert_eq!(
            it.maker.tries_mutation("connectAccounts", input.clone(), "").await.code(),
            Some("FORBIDDEN"),
            "{way}"
        );
        // And back to who signs in once more.
        let (attempt, _) = it.maker.reconnects(&it.stage.browser(), &it.lamps, "ASK", "ada").await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{way}: {attempt:#}");
        it.maker.does("connectAccounts", input, "results { connection { id } }").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_in_place_of_the_one_before_is_the_new_ones_too() {
    let it = Around::new().await;
    it.maker.does("updateConnection", json!({ "connectionId": it.lamps, "accountId": FJORD }), "").await;
    let (attempt, _) = it.staff.reconnects(&it.stage.browser(), &it.lamps, "WHOLE_AUTHORIZATION", "ben").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    assert_eq!(it.admin().connection(&it.lamps).await["authorization"]["id"], json!(it.authorization), "in place");
    assert_eq!(it.owner(&it.authorization).await, json!(it.staff.id));
    let orchards = json!({ "connectionId": it.lamps, "accountId": "100-404" });
    assert_eq!(it.maker.tries_mutation("updateConnection", orchards, "").await.code(), Some("FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_typed_anew_is_whose_typing_it_was() {
    let it = Around::new().await;
    let input = json!({ "connector": "sandbox-billing", "using": { "credentials": it.stage.key("lamps") } });
    let keyed = it.maker.does("connect", input, &format!("connection {{ {CONNECTION} }}")).await["connection"].clone();
    let authorization = id(&keyed["authorization"]);
    assert_eq!(it.owner(&authorization).await, json!(it.maker.id));
    let input = json!({ "connectionId": id(&keyed), "credentials": it.stage.key("lamps") });
    it.staff.does("reconnect", input, "authorization { id }").await;
    assert_eq!(it.owner(&authorization).await, json!(it.staff.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_a_renewal_and_a_recovery_leave_a_grant_whose_it_is() {
    let it = Around::new().await;
    let link = it.admin().does("createReconnectLink", json!({ "connectionId": it.lamps }), "url").await;
    follows(&it, &link, "ada").await;
    assert_eq!(it.owner(&it.authorization).await, json!(it.maker.id), "the customer signed in");
    let input = json!({ "clientId": it.acme, "connectors": ["sandbox-ads"] });
    let link = it.admin().does("createConnectLink", input, "url").await;
    let page = follows(&it, &link, "ada").await;
    it.stage
        .browser()
        .submits(&page.0, &[("connector", "sandbox-ads"), ("attempt", &page.1), ("account", FJORD)])
        .await;
    let count = it.admin().sees("{ connections { totalCount } }").await;
    assert_eq!(count["connections"]["totalCount"], 2, "by the link, through the same authorization");
    assert_eq!(it.owner(&it.authorization).await, json!(it.maker.id));
    it.stage.later(chrono::TimeDelta::days(1));
    it.stage.run_jobs().await;
    assert_eq!(it.stage.status(&it.lamps).await, "CONNECTED");
    let query = format!("{{ authorization(id: \"{}\") {{ createdBy {{ id }} }} }}", it.authorization);
    let owner = it.stage.admin_now().sees(&query).await["authorization"]["createdBy"]["id"].clone();
    assert_eq!(owner, json!(it.maker.id), "renewed");
}

/// Follows a link as `person` of the sandbox: the link's address, and the attempt where its page asks for more.
async fn follows(it: &Around, made: &Value, person: &str) -> (String, String) {
    let browser = it.stage.browser();
    let url = made["url"].as_str().unwrap().to_owned();
    let away = browser.submits(&url, &[("connector", "sandbox-ads")]).await;
    let start = away.body.split("content=\"0;url=").nth(1).unwrap_or_else(|| panic!("{}", away.body));
    let start = start.split('"').next().unwrap().to_owned();
    browser.signs_in(&start, person).await;
    let attempt = start.rsplit('/').next().unwrap().to_owned();
    (url, attempt)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_a_grant_while_the_provider_is_asked_does_nothing_more_with_it() {
    for (mutation, input) in [
        ("connectAccounts", json!({ "accounts": [{ "accountId": FJORD }] })),
        ("connect", json!({ "connector": "sandbox-ads", "accountId": FJORD })),
        ("updateConnection", json!({ "accountId": FJORD })),
    ] {
        let it = Around::new().await;
        let mut input = input;
        match mutation {
            "connect" => input["using"] = json!({ "authorizationId": it.authorization }),
            "connectAccounts" => input["authorizationId"] = json!(it.authorization),
            _ => input["connectionId"] = json!(it.lamps),
        }
        let gate = it.stage.gates(Endpoint::Accounts, 1);
        let asking = it.maker.tries_mutation(mutation, input, "");
        let (asked, ()) = it.stage.while_held(&gate, 1, asking, it.admin_signs_in()).await;
        assert_eq!(asked.code(), Some("FORBIDDEN"), "{mutation}");
        let count = it.admin().sees("{ connections { totalCount } }").await;
        assert_eq!(count["connections"]["totalCount"], 1, "{mutation}");
    }
}
