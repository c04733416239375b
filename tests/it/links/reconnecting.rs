//! Reconnecting by a link: it heals all, moves nothing, and is used up.

use serde_json::{Value, json};

use super::{DONE, connections, onward, said, spent};
use crate::harness::{Stage, each, id};

async fn last_outage(stage: &Stage) -> Value {
    let query = "{ disconnections(first: 1) { nodes { endedBy reconnectedBy { id } } } }";
    stage.admin_now().sees(query).await["disconnections"]["nodes"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sign_in_heals_every_client_and_owners_stay() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let stella = stage.person("Stella", "STAFF", None).await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&it.lamps).await, "DISCONNECTED");

    let link = stella.makes_reconnect_link(&it.lamps).await;
    let (browser, cursor) = (stage.browser(), stella.event_cursor().await);
    let page = browser.opens(&link).await;
    assert_eq!(page.status, 200);
    let words = said(&page);
    assert!(words.contains("Stella of Lighthouse asks you to reconnect Sandbox Ads for Acme."), "{words}");
    assert!(words.contains("You sign in at Sandbox Ads as ada@lindqvist.example"), "{words}");
    assert!(!words.contains("Globex") && !words.contains("Hotels"), "nothing of another client: {words}");

    let page = browser.follows(&link, "sandbox-ads", "ada").await;
    assert_eq!(page.status, 200);
    assert!(said(&page).contains("It works again"), "{}", page.body);
    for connection in connections(&stage).await {
        assert_eq!(connection["status"], "CONNECTED", "{connection:#}");
        assert_eq!((&connection["createdBy"]["id"], &connection["sharedWith"]), (&json!(stage.admin.id), &json!([])));
    }
    assert_eq!(last_outage(&stage).await, json!({ "endedBy": "RECONNECTED", "reconnectedBy": { "id": stella.id } }));
    let changes = stella.changes_since(&cursor).await;
    assert_eq!(each(&changes, "kind"), ["RECONNECTED"]);
    assert_eq!((&changes[0]["connectionCount"], &changes[0]["by"]["id"]), (&json!(2), &json!(stella.id)));

    assert!(spent(&browser, &link).await.contains(DONE));
    for (action, details) in [("link.created", ["kind", "expiresAt"]), ("link.used", ["kind", "connector"])] {
        let entries = stage.admin_now().audited(action).await;
        assert_eq!(entries.len(), 1, "{action}: {entries:#?}");
        assert_eq!(entries[0]["user"]["id"], stella.id);
        assert_eq!(entries[0]["subject"], json!({ "__typename": "Connection", "id": it.lamps }));
        for detail in details {
            assert!(entries[0]["details"][detail].is_string(), "{entries:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_typed_into_a_form_and_tried_before_it_is_stored() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let billing = stage.keyed("lamps", &acme).await;
    let changed = stage.sandbox.change_key("lamps").unwrap().value;
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&billing).await, "DISCONNECTED");

    let stella = stage.person("Stella", "STAFF", None).await;
    let (link, browser) = (stella.makes_reconnect_link(&billing).await, stage.browser());
    let form = browser.opens(&link).await.body;
    assert!(form.contains("type=\"password\"") && form.contains("name=\"field.api_key\""), "{form}");
    for (typed, complaint) in
        [("", "Fill this in."), ("hunter2", "did not accept this"), ("a\0b", "a character that is not allowed")]
    {
        let page = browser.submits(&link, &[("field.api_key", typed)]).await;
        assert_eq!(page.status, 422);
        assert!(said(&page).contains(complaint) && !page.body.contains("hunter2"), "{}", page.body);
        assert_eq!(stage.status(&billing).await, "DISCONNECTED");
    }
    let other = stage.sandbox.keys().into_iter().find(|key| key.id != "lamps").unwrap().value;
    let page = browser.submits(&link, &[("field.api_key", &other)]).await;
    assert_eq!(page.status, 422, "the key of another account");
    assert!(said(&page).contains("another account than before. Use Lindqvist Lamps."), "{}", page.body);

    let page = browser.submits(&link, &[("field.api_key", &changed)]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(said(&page).contains("It works again"), "{}", page.body);
    let now = stage.admin_now().connection(&billing).await;
    assert_eq!((&now["status"], &now["createdBy"]["id"]), (&json!("CONNECTED"), &json!(stage.admin.id)));
    assert_eq!(
        (&now["sharedWith"], last_outage(&stage).await["reconnectedBy"]["id"].clone()),
        (&json!([]), json!(stella.id))
    );
    assert!(spent(&browser, &link).await.contains(DONE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_is_known_from_before_and_not_asked_for() {
    let stage = Stage::new().await;
    let shop = id(&stage.shops(&["lamp-store"]).await[0]);
    let (link, browser) = (stage.admin.makes_reconnect_link(&shop).await, stage.browser());
    assert!(!browser.opens(&link).await.body.contains("name=\"field."));
    let page = browser.follows(&link, "sandbox-shop", "ada").await;
    assert!(said(&page).contains("It works again"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cancels_or_signs_in_as_another_may_try_again() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let (link, browser) = (stage.admin.makes_reconnect_link(&it.lamps).await, stage.browser());

    let start = browser.sets_out(&link, "sandbox-ads").await;
    let back = browser.cancels(&start).await;
    let page = browser.comes_back(&link, &back).await;
    assert!(said(&page).contains("The sign-in was cancelled at the data source."), "{}", page.body);
    assert!(said(&page).contains("Sign in at Sandbox Ads"), "it can be tried again");

    let page = browser.follows(&link, "sandbox-ads", "ben").await;
    let expected = "This is another account than before. Use ada@lindqvist.example. Nothing was changed.";
    assert!(said(&page).contains(expected), "{}", page.body);
    assert!(!page.body.contains("Globex") && !page.body.contains("Hotels"));
    assert_eq!(stage.status(&it.lamps).await, "DISCONNECTED");
    assert_eq!(stage.admin_now().audited("link.used").await.len(), 0);

    let page = browser.follows(&link, "sandbox-ads", "ada").await;
    assert!(said(&page).contains("It works again"), "{}", page.body);
    assert_eq!(stage.status(&it.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_come_back_at_once_one_has_used_it() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let link = stage.admin.makes_reconnect_link(&it.lamps).await;
    let (one, other) = (stage.browser(), stage.browser());
    let first = one.allows(&one.sets_out(&link, "sandbox-ads").await, "ada").await;
    let second = other.allows(&other.sets_out(&link, "sandbox-ads").await, "ada").await;
    tokio::join!(one.opens(first.as_str()), other.opens(second.as_str()));
    assert_eq!(stage.status(&it.lamps).await, "CONNECTED");
    assert_eq!(stage.admin_now().audited("link.used").await.len(), 1);
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&it.lamps).await, "CONNECTED", "what lost was not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_the_way_sends_by_itself_and_by_a_link() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let link = stage.admin.makes_reconnect_link(&it.lamps).await;
    let away = stage.browser().submits(&link, &[]).await;
    let start = onward(&away);
    assert!(start.starts_with(stage.url.join("/oauth/start/attempt_").unwrap().as_str()), "{start}");
    assert!(away.body.contains(&format!("<a href=\"{start}\">")), "{}", away.body);
}
