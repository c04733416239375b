//! The control panel, by browser and by curl.

use super::*;

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

async fn curl(setup: &Setup, action: &str, form: &[(&str, &str)]) -> (u16, String) {
    let reply = setup.post(&format!("/control/{action}"), &[("accept", "*/*")], form).await;
    (reply.status.as_u16(), reply.body)
}

#[tokio::test]
async fn the_panel_lists_grants_keys_and_accounts_with_a_button_each() {
    let setup = Setup::new();
    assert!(setup.get("/", &[]).await.body.contains("Nothing has been allowed yet."));
    setup.connect("ada").await;
    let page = setup.get("/", &[]).await.body;
    assert!(page.contains("Ada Lindqvist") && page.contains("Sandbox Ads · profile, ads.read, ads.spend"), "{page}");
    for (label, count) in [("Revoke", 1), ("Change key", 3), ("Withdraw access", 4), ("Start an outage", 1)] {
        assert_eq!(page.matches(&format!("<button>{label}</button>")).count(), count, "{label}");
    }
    assert!(setup.sandbox.keys().iter().all(|key| page.contains(&key.value)));
    assert!(page.contains(&format!("curl -X POST {BASE}/control/revoke -d person=ada\n")));
}

#[tokio::test]
async fn curl_revokes_by_person_product_or_number() {
    let setup = Setup::new();
    for url in [ads(), ads(), analytics()] {
        setup.connect_for(&url, "ada").await;
    }
    assert_eq!(curl(&setup, "revoke", &[("grant", "1")]).await, (200, "Revoked 1 grant.\n".to_owned()));
    let ads = [("person", "ada"), ("product", "ads")];
    assert_eq!(curl(&setup, "revoke", &ads).await, (200, "Revoked 1 grant.\n".to_owned()));
    assert_eq!(curl(&setup, "revoke", &[("person", "ben")]).await, (200, "Revoked 0 grants.\n".to_owned()));
    assert_eq!(curl(&setup, "revoke", &[("person", "ada")]).await, (200, "Revoked 1 grant.\n".to_owned()));
    let page = setup.get("/", &[]).await.body;
    assert_eq!((page.matches("revoked here").count(), page.contains(">Revoke<")), (3, false));
}

#[tokio::test]
async fn curl_changes_a_key_and_reads_the_new_one() {
    let setup = Setup::new();
    let (status, text) = curl(&setup, "change-key", &[("key", "hotels")]).await;
    let new = setup.sandbox.keys().into_iter().find(|key| key.id == "hotels").unwrap();
    assert_eq!((status, text), (200, format!("The new key of Harbour Hotels is {}\n", new.value)));
}

#[tokio::test]
async fn curl_withdraws_and_gives_back_and_switches_the_outage() {
    let setup = Setup::new();
    let (token, _) = setup.connect("ada").await;
    let account = async || setup.call("/accounts/100-303", &token).await.status.as_u16();
    let act = async |action: &str, name: &str, value: &str| curl(&setup, action, &[(name, value)]).await.0;
    assert_eq!((act("withdraw", "account", "100-303").await, account().await), (200, 403));
    assert!(setup.get("/", &[]).await.body.contains("<button>Give back</button>"));
    assert_eq!((act("give-back", "account", "100-303").await, account().await), (200, 200));
    assert_eq!((act("outage", "on", "true").await, account().await), (200, 503));
    assert_eq!((act("outage", "on", "false").await, account().await), (200, 200));
}

#[tokio::test]
async fn what_nobody_can_do_is_said_and_does_nothing() {
    let setup = Setup::new();
    for (action, name, value) in [
        ("revoke", "person", "eve"),
        ("revoke", "grant", "one"),
        ("change-key", "key", "nothing"),
        ("withdraw", "account", "nothing"),
        ("give-back", "account", "nothing"),
        ("outage", "on", "perhaps"),
    ] {
        let (status, text) = curl(&setup, action, &[(name, value)]).await;
        assert_eq!((status, text.contains(value)), (400, false), "{action}: {text}");
    }
    assert_eq!(curl(&setup, "revoke", &[("person", "ada"), ("product", "cars")]).await.0, 400);
    let bare = setup.send(Request::post("/control/outage").body(Body::empty()).unwrap()).await;
    assert_eq!((bare.status, bare.body.as_str()), (StatusCode::BAD_REQUEST, "Say on=true or on=false.\n"));
    assert_eq!(curl(&setup, "explode", &[("on", "true")]).await.0, 404);
}

#[tokio::test]
async fn a_browser_goes_back_to_the_panel_and_a_foreign_page_nowhere() {
    let setup = Setup::new();
    let done = setup.post("/control/change-key", &[BROWSER], &[("key", "lamps")]).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/#key-lamps"));
    let before = setup.sandbox.keys();
    let foreign = [BROWSER, ("sec-fetch-site", "cross-site")];
    let refused = setup.post("/control/change-key", &foreign, &[("key", "lamps")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(setup.sandbox.keys() == before);
}
