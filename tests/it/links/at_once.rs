//! A link is judged once more in the transaction that does what it is for: what changed while the provider was asked counts.

use patchbay::sandbox::Endpoint;
use serde_json::json;

use super::connections;
use crate::harness::{Person, Stage};

/// A stage where Ada and Ben reach one advertising account each, 100-301 and 100-404, with a client, and a STAFF.
async fn one_account_each() -> (Stage, String, Person) {
    let stage = Stage::new().await;
    for account in ["100-302", "100-303"] {
        stage.sandbox.withdraw(account);
    }
    let acme = stage.admin.creates_client("Acme").await;
    let stella = stage.person("Stella", "STAFF", None).await;
    (stage, acme, stella)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sign_ins_under_way_a_connect_link_works_for_one() {
    // With another data source left, and without.
    for offered in [&["sandbox-ads", "sandbox-billing"][..], &["sandbox-ads"]] {
        let (stage, acme, stella) = one_account_each().await;
        let link = stella.makes_connect_link(&acme, offered).await;
        let (one, other) = (stage.browser(), stage.browser());
        let ada = one.allows(&one.sets_out(&link, "sandbox-ads").await, "ada").await;
        let ben = other.allows(&other.sets_out(&link, "sandbox-ads").await, "ben").await;
        // Both have found the link to be good when they are asked which account they reach.
        let gate = stage.gates(Endpoint::Accounts, 2);
        let both = async { tokio::join!(one.opens(ada.as_str()), other.opens(ben.as_str())) };
        let ((first, second), ()) = stage.while_held(&gate, 2, both, async {}).await;
        for back in [first, second] {
            assert_eq!(back.status, 303, "{}", back.body);
        }
        assert_eq!(connections(&stage).await.len(), 1, "{offered:?}");
        assert_eq!(stage.admin.audited("link.used").await.len(), 1, "{offered:?}");
        let authorizations = stage.admin.sees("{ authorizations { totalCount } }").await;
        assert_eq!(authorizations["authorizations"]["totalCount"], 1, "nothing is left of who came later");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maker_who_leaves_or_may_no_more_while_the_provider_is_asked_connects_nothing() {
    for change in [json!({ "active": false }), json!({ "role": "MEMBER" })] {
        let (stage, acme, stella) = one_account_each().await;
        let link = stella.makes_connect_link(&acme, &["sandbox-ads"]).await;
        let browser = stage.browser();
        let callback = browser.allows(&browser.sets_out(&link, "sandbox-ads").await, "ada").await;
        let gate = stage.gates(Endpoint::Accounts, 1);
        let mut input = change.clone();
        input["userId"] = json!(stella.id);
        let leaves = async {
            stage.admin.does("updateUser", input, "").await;
        };
        stage.while_held(&gate, 1, browser.opens(callback.as_str()), leaves).await;
        assert_eq!(connections(&stage).await.len(), 0, "{change}");
        assert_eq!(stage.admin.audited("link.used").await.len(), 0, "{change}");
        assert!(stage.sandbox.grants().iter().all(|grant| grant.ended.is_some()), "the grant is given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_or_a_share_that_ends_meanwhile_takes_its_links_with_it() {
    // By an API key.
    let (stage, acme, _) = one_account_each().await;
    let (key, holder) = stage.admin.makes_key(json!({ "name": "CRM", "role": "STAFF" })).await;
    let link = holder.makes_connect_link(&acme, &["sandbox-billing"]).await;
    let typed = stage.sandbox.keys()[0].value.clone();
    let form = [("connector", "sandbox-billing"), ("field.api_key", typed.as_str())];
    let (browser, gate) = (stage.browser(), stage.gates(Endpoint::Keyed, 1));
    let revokes = async {
        stage.admin.does("revokeApiKey", json!({ "apiKeyId": key }), "").await;
    };
    let (page, ()) = stage.while_held(&gate, 1, browser.submits(&link, &form), revokes).await;
    assert_eq!(page.status, 410, "{}", page.body);
    assert_eq!(connections(&stage).await.len(), 0);

    // By a member with whom the connection is shared no more.
    let connection = stage.keyed("hotels", &acme).await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let share = json!({ "connectionId": connection, "userIds": [nina.id] });
    stage.admin.does("shareConnection", share.clone(), "").await;
    let link = nina.makes_reconnect_link(&connection).await;
    let typed = stage.sandbox.change_key("hotels").unwrap().value;
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&connection).await, "DISCONNECTED");
    let gate = stage.gates(Endpoint::Keyed, 1);
    let unshares = async {
        stage.admin_now().does("unshareConnection", share, "").await;
    };
    let form = [("field.api_key", typed.as_str())];
    stage.while_held(&gate, 1, browser.submits(&link, &form), unshares).await;
    assert_eq!(stage.status(&connection).await, "DISCONNECTED");
    assert_eq!(stage.admin_now().audited("link.used").await.len(), 0);
}
