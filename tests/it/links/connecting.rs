//! Connecting by a link: each data source once, with whatever it asks for.

use serde_json::json;

use super::{DONE, connections, said, spent};
use crate::harness::{Setup, Stage, each};

/// A key that reaches several accounts: here the days of a report.
const DAYS: &str = r#"
    slug = "days"
    name = "Days"
    category = "payments"
    mode = "warehouse"
    requirements = "A key."
    [[field]]
    name = "api_key"
    label = "API key"
    secret = true
    [auth]
    method = "api_key"
    placement = "header:X-Api-Key"
    [identity]
    url = "@BASE@/keyed/me"
    id = "/id"
    name = "/name"
    [accounts]
    url = "@BASE@/keyed/invoices"
    list = "/rows"
    id = "/date"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_connects_a_key_and_an_account_of_several_each_once() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let stella = stage.person("Stella", "STAFF", None).await;
    let link = stella.makes_connect_link(&acme, &["sandbox-billing", "sandbox-ads"]).await;
    let browser = stage.browser();
    let page = browser.opens(&link).await;
    let words = said(&page);
    assert!(words.contains("Stella of Lighthouse asks you to connect these data sources for Acme."), "{words}");
    assert!(words.find("Sandbox Billing").unwrap() < words.find("Sandbox Ads").unwrap(), "as they were named");

    let key = stage.sandbox.keys()[0].value.clone();
    let typed = [("connector", "sandbox-billing"), ("field.api_key", key.as_str())];
    let done = browser.submits(&link, &typed).await;
    assert_eq!((done.status, done.location.unwrap().as_str()), (303, link.as_str()));
    let page = browser.opens(&link).await;
    assert!(said(&page).contains("Sandbox Billing Connected"), "{}", page.body);
    let again = browser.submits(&link, &typed).await;
    assert_eq!(again.status, 422, "each once: {}", again.body);

    let page = browser.follows(&link, "sandbox-ads", "ben").await;
    assert!(said(&page).contains("Which account is meant?"), "{}", page.body);
    let attempt = page.body.split("name=\"attempt\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let unknown = browser.submits(&link, &[("attempt", attempt), ("account", "100-301")]).await;
    assert_eq!(unknown.status, 422, "Ada's account, not Ben's: {}", unknown.body);
    assert!(said(&unknown).contains("Which account is meant?"), "{}", unknown.body);
    let done = browser.submits(&link, &[("attempt", attempt), ("account", "100-404")]).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert!(said(&done).contains("It is connected"), "{}", done.body);

    let made = connections(&stage).await;
    assert_eq!(made.len(), 2);
    for connection in &made {
        assert_eq!((&connection["status"], &connection["client"]["id"]), (&json!("CONNECTED"), &json!(acme)));
        assert_eq!(connection["createdBy"]["id"], stella.id, "it acts for its maker");
    }
    assert_eq!(made[0]["account"]["accountId"], "100-404");
    assert!(spent(&browser, &link).await.contains(DONE));
    let used = stage.admin.audited("link.used").await;
    assert_eq!(
        used.iter().map(|entry| &entry["details"]["connector"]).collect::<Vec<_>>(),
        ["sandbox-billing", "sandbox-ads"]
    );
    assert_eq!(used[0]["subject"], json!({ "__typename": "Client", "id": acme }));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_asked_before_the_sign_in() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let (link, browser) = (stage.admin.makes_connect_link(&acme, &["sandbox-shop"]).await, stage.browser());
    let form = browser.opens(&link).await.body;
    assert!(form.contains("name=\"field.shop\"") && form.contains(" required pattern=\""), "{form}");
    let wrong = browser.submits(&link, &[("connector", "sandbox-shop"), ("field.shop", "evil.example#")]).await;
    assert_eq!(wrong.status, 422);
    assert!(said(&wrong).contains("does not have the form that it has to have"), "{}", wrong.body);
    assert!(wrong.body.contains("value=\"evil.example#\""), "what is no secret need not be typed again");

    let away = browser.submits(&link, &[("connector", "sandbox-shop"), ("field.shop", "lamp-store")]).await;
    let back = browser.signs_in(&super::onward(&away), "ada").await;
    let page = browser.comes_back(&link, &back).await;
    assert!(said(&page).contains("It is connected"), "{}", page.body);
    assert_eq!(each(&connections(&stage).await, "status"), ["CONNECTED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_come_back_at_once_one_connects() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let link = stage.admin.makes_connect_link(&acme, &["sandbox-analytics"]).await;
    let (one, other) = (stage.browser(), stage.browser());
    let ada = one.allows(&one.sets_out(&link, "sandbox-analytics").await, "ada").await;
    let ben = other.allows(&other.sets_out(&link, "sandbox-analytics").await, "ben").await;
    let (first, second) = tokio::join!(one.opens(ada.as_str()), other.opens(ben.as_str()));
    for back in [first, second] {
        assert_eq!(back.status, 303, "{}", back.body);
    }
    assert_eq!(connections(&stage).await.len(), 1);
    assert_eq!(stage.admin.audited("link.used").await.len(), 1);
    let authorizations = stage.admin.sees("{ authorizations { totalCount } }").await;
    assert_eq!(authorizations["authorizations"]["totalCount"], 1, "nothing is left of who came later");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_another_link_is_none_of_this_one() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let for_acme = stage.admin.makes_connect_link(&acme, &["sandbox-ads"]).await;
    let for_globex = stage.admin.makes_connect_link(&globex, &["sandbox-ads"]).await;
    let browser = stage.browser();
    let start = browser.sets_out(&for_acme, "sandbox-ads").await;
    let back = browser.signs_in(&start, "ben").await.location.unwrap();
    let attempt = back.query_pairs().next().unwrap().1.into_owned();

    let page = browser.opens(&format!("{for_globex}?attempt={attempt}")).await;
    assert!(page.status == 200 && !page.body.contains("100-404"), "{}", page.body);
    let form = [("connector", "sandbox-ads"), ("attempt", &attempt), ("account", "100-404")];
    let page = browser.submits(&for_globex, &form).await;
    assert_eq!(page.status, 422, "{}", page.body);
    assert!(said(&page).contains("This took too long, or was finished already."), "{}", page.body);
    assert_eq!(connections(&stage).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_connected_for_the_client_already_is_not_connected_again() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    stage.keyed("lamps", &acme).await;
    let (link, browser) = (stage.admin.makes_connect_link(&acme, &["sandbox-billing"]).await, stage.browser());
    let key = stage.sandbox.keys().into_iter().find(|key| key.id == "lamps").unwrap().value;
    let page = browser.submits(&link, &[("connector", "sandbox-billing"), ("field.api_key", &key)]).await;
    assert_eq!(page.status, 422);
    assert!(said(&page).contains("This account is connected for this client already."), "{}", page.body);
    assert_eq!(connections(&stage).await.len(), 1);
    assert_eq!(browser.opens(&link).await.status, 200, "it is not used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_reaches_several_accounts_waits_for_the_choice_and_is_typed_once() {
    let stage =
        Stage::with(Setup { connectors: vec![("days.toml".to_owned(), DAYS.to_owned())], ..Setup::default() }).await;
    let acme = stage.admin.creates_client("Acme").await;
    let (link, browser) = (stage.admin.makes_connect_link(&acme, &["days"]).await, stage.browser());
    let key = stage.sandbox.keys()[0].value.clone();
    let asks = browser.submits(&link, &[("connector", "days"), ("field.api_key", &key)]).await;
    let page = browser.comes_back(&link, &asks).await;
    assert!(said(&page).contains("Which account is meant?") && !page.body.contains(&key), "{}", page.body);
    assert_eq!(connections(&stage).await.len(), 0);

    let value =
        |name: &str| page.body.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap().split('"').next().unwrap();
    let done = browser.submits(&link, &[("attempt", value("attempt")), ("account", value("account"))]).await;
    assert!(said(&done).contains("It is connected"), "{}", done.body);
    let made = connections(&stage).await;
    assert_eq!((made.len(), made[0]["status"].as_str()), (1, Some("CONNECTED")));
    assert_eq!(made[0]["account"]["accountId"], value("account"));
}
