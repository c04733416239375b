//! What becomes of files: connectors and catalogues. What is wrong with them is in `tests/problems.rs`.

use std::time::Duration;

use super::*;

mod problems;

const GOOD: &str = r#"slug = "acme"
name = "Acme"
category = "crm"
mode = "direct_query"
requirements = "An account."

[[field]]
name = "shop"
label = "Shop"
pattern = "[a-z0-9-]+"

[[field]]
name = "region"
label = "Region"
required = false

[auth]
method = "oauth2"
authorize_url = "https://{field.shop}.acme.example/authorize"
token_url = "https://{field.shop}.acme.example/token"
keep = ["instance_url"]

[identity]
url = "{token.instance_url}/me"
id = "/id"
keep = ["dc"]

[accounts]
url = "https://{identity.dc}.api.acme.example/accounts"
method = "POST"
body = '{"query": "{ accounts { id } }"}'
list = "/data/*/accounts"
id = ""

[probe]
account_url = "https://api.acme.example/accounts/{account.id}"
account_interval = "12h"

[api]
base_url = "https://{identity.dc}.api.acme.example/v1"
headers = { developer-token = "{config.DEVELOPER_TOKEN}", login-account = "{account.id}" }
"#;

/// The good file with one passage replaced.
fn altered(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// Replaces one passage and expects the file still to be good.
#[track_caller]
fn accepted(from: &str, to: &str) -> Connector {
    parse("acme.toml", &altered(from, to)).unwrap_or_else(|found| panic!("{found:?}"))
}

#[test]
fn the_built_in_connectors_are_good() {
    let catalogue = Catalogue::load(None).unwrap();
    let slugs: Vec<_> = catalogue.all().map(|connector| connector.slug.as_str()).collect();
    for slug in ["google-analytics-4", "shopify", "stripe"] {
        assert!(slugs.contains(&slug), "{slugs:?}");
    }
    assert!(slugs.is_sorted());
    let stripe = catalogue.get("stripe").unwrap();
    assert_eq!(catalogue.by_id(stripe.id).unwrap().slug, "stripe");
    assert_eq!(
        stripe.fields.iter().map(|field| (field.name.as_str(), field.secret)).collect::<Vec<_>>(),
        [("api_key", true)]
    );
}

#[test]
fn properties_of_google_analytics_are_found_under_their_accounts() {
    let catalogue = Catalogue::load(None).unwrap();
    let connector = catalogue.get("google-analytics-4").unwrap();
    let answer = serde_json::json!({"accountSummaries": [
        {"displayName": "Acme", "propertySummaries": [{"property": "properties/1000", "displayName": "Shop"}]},
        {"displayName": "Empty"},
        {"displayName": "Beta", "propertySummaries": [{"property": "properties/2000", "displayName": "Blog"}]},
    ]});
    let found = connector.accounts.as_ref().unwrap().read(&answer);
    assert_eq!(
        found.iter().map(|a| (a.id.as_str(), a.name.as_str())).collect::<Vec<_>>(),
        [("1000", "Shop"), ("2000", "Blog")]
    );
    let probe = connector.probe.account_request.as_ref().unwrap();
    let url = probe.url.render_url(&Values::default().account(Some("1000"))).unwrap();
    assert_eq!(url.as_str(), "https://analyticsdata.googleapis.com/v1beta/properties/1000/metadata");
}

#[test]
fn a_shop_is_asked_at_its_own_host_with_its_own_header() {
    let catalogue = Catalogue::load(None).unwrap();
    let connector = catalogue.get("shopify").unwrap();
    let fields = connector.check_fields(&[("shop".to_owned(), "acme".to_owned())]).unwrap();
    let oauth = connector.oauth().unwrap();
    let url = oauth.authorize_url.render_url(&Values::default().fields(&fields)).unwrap();
    assert_eq!(url.as_str(), "https://acme.myshopify.com/admin/oauth/authorize");
    assert!(matches!(&oauth.placement, Placement::Header { name, .. } if name == "X-Shopify-Access-Token"));
    for attack in ["evil.example#", "evil.example/", "a@b", "acme.myshopify.com", "Acme", ""] {
        assert!(connector.check_fields(&[("shop".to_owned(), attack.to_owned())]).is_err(), "{attack:?}");
    }
}

#[test]
fn a_file_becomes_a_connector() {
    let connector = parse("acme.toml", GOOD).unwrap();
    assert_eq!(connector.id, crate::ids::connector_id("acme"));
    assert_eq!(connector.mode, DataMode::DirectQuery);
    assert!(connector.field("shop").unwrap().required);
    assert!(!connector.field("region").unwrap().required);
    let oauth = connector.oauth().unwrap();
    assert!(oauth.pkce);
    assert_eq!(
        (oauth.client_auth, oauth.refresh, oauth.scope_separator.as_str()),
        (ClientAuth::Basic, Refresh::Token, " ")
    );
    assert!(matches!(oauth.placement, Placement::Bearer));
    assert_eq!(connector.accounts.as_ref().unwrap().request.method, Method::Post);
    assert_eq!(connector.probe.account_interval, Duration::from_secs(12 * 3600));
    assert_eq!(connector.config_names().into_iter().collect::<Vec<_>>(), ["DEVELOPER_TOKEN"]);
}

#[test]
fn the_probe_is_the_identity_request_unless_the_file_has_its_own() {
    let probe = |connector: Connector| connector.probe.request.unwrap().url.source().to_owned();
    assert_eq!(probe(parse("acme.toml", GOOD).unwrap()), "{token.instance_url}/me");
    let own = accepted("[probe]\n", "[probe]\nurl = \"https://api.acme.example/ping\"\n");
    assert_eq!(probe(own), "https://api.acme.example/ping");
}

#[test]
fn the_example_for_authors_is_good_and_shows_every_key() {
    let readme = include_str!("../../connectors/README.md");
    let example = readme.split("```").nth(1).unwrap().trim_start_matches("toml");
    let connector = parse("README.md", example).unwrap_or_else(|found| panic!("{found:?}"));
    assert_eq!(connector.oauth().unwrap().token_params["audience"].as_literal(), Some("api"));
    for key in auth::OAUTH2_KEYS {
        assert!(example.contains(&format!("\n{key} = ")), "{key}");
    }
}

const PLAIN: &str = "slug = \"a\"\nname = \"A\"\ncategory = \"c\"\nmode = \"warehouse\"\nrequirements = \"r\"\n";

#[test]
fn a_key_and_a_password_bring_their_fields_along() {
    let names = |auth: &str| {
        let connector = parse("a.toml", &format!("{PLAIN}{auth}")).unwrap();
        connector.fields.into_iter().map(|field| (field.name, field.secret, field.required)).collect::<Vec<_>>()
    };
    let field = |name: &str, secret, required| (name.to_owned(), secret, required);
    assert_eq!(names("[auth]\nmethod = \"api_key\"\n"), [field("api_key", true, true)]);
    assert_eq!(
        names(
            "[[field]]\nname = \"site\"\n[[field]]\nname = \"password\"\nrequired = false\n[auth]\nmethod = \"basic\"\n"
        ),
        [field("site", false, true), field("password", true, false), field("username", false, true)]
    );
    let open = format!("{PLAIN}[[field]]\nname = \"api_key\"\nsecret = false\n[auth]\nmethod = \"api_key\"\n");
    let problems = parse("a.toml", &open).unwrap_err();
    assert_eq!(problems[0].to_string(), "a.toml:8: [[field]] `secret`: this credential is a secret");
}

#[test]
fn a_folder_adds_connectors_and_replaces_built_in_ones() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("acme.toml"), GOOD).unwrap();
    fs::write(dir.path().join("pay.toml"), altered("slug = \"acme\"", "slug = \"stripe\"")).unwrap();
    fs::write(dir.path().join("notes.txt"), "no connector").unwrap();
    fs::write(dir.path().join(".draft.toml"), "no connector").unwrap();
    let catalogue = Catalogue::load(Some(dir.path())).unwrap();
    assert_eq!(catalogue.get("acme").unwrap().name, "Acme");
    assert_eq!(catalogue.get("stripe").unwrap().name, "Acme");
    assert!(catalogue.get("shopify").is_some());
    assert_eq!(check(dir.path()), []);
}

#[test]
fn a_folder_is_checked_whole() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), format!("# first\n{GOOD}")).unwrap();
    fs::write(dir.path().join("b.toml"), format!("# second\n{GOOD}")).unwrap();
    fs::write(dir.path().join("c.toml"), "slug = \"c\"\nmode = \"x\"\n").unwrap();
    fs::write(dir.path().join("d.toml"), b"name = \"ok\"\nslug = \"\xff\"").unwrap();
    let found: Vec<_> = check(dir.path()).iter().map(ToString::to_string).collect();
    let of = |file: &str| found.iter().filter(|line| line.contains(file)).cloned().collect::<Vec<_>>();
    assert!(
        matches!(&of("b.toml:")[..], [line] if line.contains("b.toml:2: `slug`: `acme` is the slug of")),
        "{found:?}"
    );
    assert_eq!(of("c.toml:").len(), 5, "{found:?}");
    assert!(of("d.toml:")[0].ends_with("d.toml:2: not UTF-8"), "{found:?}");
    assert!(Catalogue::load(Some(dir.path())).is_err());
    assert_eq!(check(&dir.path().join("nowhere")).len(), 1);
}
