//! What may be asked, and where it is asked then.

use serde_json::{Map, json};

use super::*;
use crate::catalogue::Catalogue;

fn path(path: &str) -> Result<(), QueryFault> {
    check_path(path, true)
}

/// Where a path leads below that address, for the account `7/8`.
fn url(base: &str, path: &str) -> Result<String, NoRows> {
    let url = below(base, path)?.render_url(&Values::default().account(Some("7/8")));
    url.map(|url| url.to_string()).map_err(unwritten)
}

#[test]
fn a_path_leads_below_the_api() {
    let base = "https://api.example/v1";
    for (path, leads) in [
        ("", ""),
        ("/", ""),
        ("contacts", "/contacts"),
        ("/contacts/", "/contacts/"),
        ("properties/{account.id}:runReport", "/properties/7%2F8:runReport"),
        ("act_{account.id}/insights", "/act_7%2F8/insights"),
        ("lists/ann@mg.example/members", "/lists/ann@mg.example/members"),
        ("sites/sc-domain%3Aa.example", "/sites/sc-domain%3Aa.example"),
        ("a..b/.well-known/...", "/a..b/.well-known/..."),
    ] {
        assert_eq!(check_path(path, true), Ok(()), "{path}");
        assert_eq!(url(base, path).unwrap(), format!("{base}{leads}"), "{path}");
        assert_eq!(
            url("https://api.example/v1/", path).unwrap().trim_end_matches('/'),
            format!("{base}{leads}").trim_end_matches('/')
        );
    }
}

#[test]
fn a_path_leads_nowhere_else() {
    for (attack, fault) in [
        ("//evil.example/x", QueryFault::PathClimbs),
        ("///evil.example", QueryFault::PathClimbs),
        ("https://evil.example/x", QueryFault::PathClimbs),
        ("a//b", QueryFault::PathClimbs),
        ("..", QueryFault::PathClimbs),
        ("../admin", QueryFault::PathClimbs),
        ("a/../../admin", QueryFault::PathClimbs),
        ("a/./b", QueryFault::PathClimbs),
        ("%2e%2e/admin", QueryFault::PathClimbs),
        (".%2E/admin", QueryFault::PathClimbs),
        ("a%2f..%2f..%2fadmin", QueryFault::PathClimbs),
        ("a%5c..%5cadmin", QueryFault::PathClimbs),
        ("a/..;/..;x=1/admin", QueryFault::PathClimbs),
        ("a/.;/admin", QueryFault::PathClimbs),
        ("a/%2e%2e;v=1/admin", QueryFault::PathClimbs),
        ("a/..%3b/admin", QueryFault::PathClimbs),
        ("a/%252e%252e/admin", QueryFault::PathClimbs),
        ("a/%25252e./admin", QueryFault::PathClimbs),
        ("a/%ef%bc%8e%ef%bc%8e/admin", QueryFault::PathClimbs),
        ("a/..%20/admin", QueryFault::PathClimbs),
        ("a/%c0%ae%c0%ae/admin", QueryFault::PathCharacters),
        ("a/%2500", QueryFault::PathCharacters),
        ("\\\\evil.example", QueryFault::PathCharacters),
        ("a\\b", QueryFault::PathCharacters),
        ("..\\admin", QueryFault::PathClimbs),
        ("a#b", QueryFault::PathCharacters),
        ("a b", QueryFault::PathCharacters),
        ("é", QueryFault::PathCharacters),
        ("a\tb", QueryFault::PathCharacters),
        ("a\r\nX-Evil: 1", QueryFault::PathCharacters),
        (".\t./admin", QueryFault::PathCharacters),
        ("a%00b", QueryFault::PathCharacters),
        ("a%0d%0ab", QueryFault::PathCharacters),
        ("a?b=c", QueryFault::PathQuery),
        ("a/{config.DEVELOPER_TOKEN}", QueryFault::PathPlaceholder),
        ("a/{field.api_key}", QueryFault::PathPlaceholder),
        ("a/{token.instance_url}", QueryFault::PathPlaceholder),
        ("a/{account.name}", QueryFault::PathPlaceholder),
        ("a/{b}", QueryFault::PathPlaceholder),
        ("a/{", QueryFault::PathPlaceholder),
    ] {
        assert_eq!(path(attack), Err(fault), "{attack:?}");
    }
    assert_eq!(path(&"a".repeat(LONGEST + 1)), Err(QueryFault::PathLength));
    assert_eq!(check_path("a/{account.id}", false), Err(QueryFault::PathAccount));
}

#[test]
fn an_account_is_one_part_of_a_path_or_refused() {
    let asked = |account: Option<&str>| {
        let url = below("https://api.example/v1", "accounts/{account.id}/x").unwrap();
        url.render_url(&Values::default().account(account)).map_err(unwritten).map(|url| url.to_string())
    };
    assert_eq!(asked(Some("../../x?y#z")).unwrap(), "https://api.example/v1/accounts/..%2F..%2Fx%3Fy%23z/x");
    for (account, words) in [(Some(".."), "cannot stand"), (Some(""), "cannot stand"), (None, "has none")] {
        assert!(matches!(asked(account), Err(NoRows::Query(why)) if why.contains(words)), "{account:?}");
    }
}

#[test]
fn parameters_go_into_the_query_as_they_are() {
    let parameters = json!({
        "fields": "id,name", "ids": [1, "a&b=c", null, true], "none": null, "q": "(a:b) é+", "empty": [], "x y": ""
    });
    let written: Vec<String> =
        parameters.as_object().unwrap().iter().flat_map(|(name, value)| pairs(name, value)).collect();
    let mut written: Vec<&str> = written.iter().map(String::as_str).collect();
    written.sort_unstable();
    let wanted = ["fields=id,name", "ids=1", "ids=a%26b%3Dc", "ids=true", "q=(a:b)%20%C3%A9%2B", "x%20y="];
    assert_eq!(written, wanted);
}

#[test]
fn parameters_are_scalars_and_lists_of_them() {
    for good in [json!("a"), json!(1.5), json!(null), json!([]), json!(["a", 1, null])] {
        assert!(is_scalar_or_list(&good), "{good}");
    }
    for bad in [json!({}), json!([[]]), json!([{"a": 1}]), json!({"a": 1})] {
        assert!(!is_scalar_or_list(&bad), "{bad}");
    }
}

#[test]
fn each_fault_names_its_field_and_is_a_sentence() {
    for (fault, field) in
        [(QueryFault::PathClimbs, "path"), (QueryFault::Parameters, "parameters"), (QueryFault::Pointer, "rowsPointer")]
    {
        assert_eq!(fault.field(), field);
        assert!(fault.to_string().ends_with('.'), "{fault}");
    }
}

fn parameters(parameters: Value) -> Map<String, Value> {
    parameters.as_object().unwrap().clone()
}

#[test]
fn no_parameter_asks_for_another_method() {
    for acting in [
        json!({"method": "delete"}),
        json!({"method": "POST"}),
        json!({"METHOD": " Put "}),
        json!({"_method": "PATCH"}),
        json!({"$httpMethod": "DELETE"}),
        json!({"X-HTTP-Method-Override": "DELETE"}),
        json!({"x_http_method": ["GET", "delete"]}),
        json!({"fields": "id", "method": "delete"}),
    ] {
        assert!(acts::overrides_method(&parameters(acting.clone())), "{acting}");
    }
    for reading in [
        json!({"method": "GET"}),
        json!({"method": "user.getRecentTracks"}),
        json!({"payment_method": "delete"}),
        json!({"method": 7, "_method": null}),
        json!({"action": "delete"}),
    ] {
        assert!(!acts::overrides_method(&parameters(reading.clone())), "{reading}");
    }
}

#[test]
fn no_dataset_asks_where_tokens_are_given_out_and_ended() {
    let connector = |name: &str| {
        let catalogue = Catalogue::load(None).unwrap();
        catalogue.get(name).unwrap().clone()
    };
    let check = |connector: &Connector, path: &str| {
        let query = HttpQuery { path: path.to_owned(), parameters: Map::new(), rows: String::new() };
        query.check(connector)
    };
    let refused = |name: &str, paths: &[&str]| {
        let connector = connector(name);
        paths.iter().for_each(|path| assert!(check(&connector, path).is_err(), "{name}: {path}"));
    };
    let reads = |name: &str, paths: &[&str]| {
        let connector = connector(name);
        paths.iter().for_each(|path| assert_eq!(check(&connector, path), Ok(()), "{name}: {path}"));
    };
    refused("slack", &["auth.revoke", "oauth.v2.access", "chat.postMessage", "auth.test;x", "conversations.join"]);
    reads("slack", &["conversations.list", "/users.info", "auth.test", "team.profile.get"]);
    refused("meta-ads", &["oauth/access_token", "oauth/client_code", "me/permissions/x", "me;a/permissions"]);
    reads("meta-ads", &["me", "me/adaccounts", "act_{account.id}/insights", "act_7/campaigns"]);
    refused("hubspot", &["oauth/v3/token", "oauth/v1/refresh-tokens/x", "automation/v4/flows"]);
    reads("hubspot", &["crm/v3/objects/contacts", "account-info/v3/details"]);
    refused("salesforce", &["tooling/executeAnonymous", "tooling/query", "composite/batch"]);
    reads("salesforce", &["query", "sobjects/Account/describe", "limits"]);

    // Whatever the file leaves open.
    let mut open = Connector::clone(&connector("meta-ads"));
    open.api.as_mut().unwrap().paths = None;
    for path in [
        "oauth/access_token",
        "/oauth/access_token/",
        "OAuth/Access_Token",
        "oauth/access%5ftoken",
        "oauth;a=1/access_token",
    ] {
        assert_eq!(check(&open, path), Err(QueryFault::PathOfTokens), "{path}");
    }
    assert_eq!(check(&open, "oauth/access_tokens"), Ok(()));
}
