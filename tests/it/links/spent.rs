//! When a link is of no use: it then does nothing, whoever is on the way by it.

use entity::link;
use sea_orm::EntityTrait;
use serde_json::json;

use super::{DONE, OVER, connections, said, spent};
use crate::harness::{SharedGrant, Stage};

/// Ada's grant is gone, and a link of Stella's (STAFF) reconnects it.
async fn broken() -> (Stage, SharedGrant, crate::harness::Person, String) {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let stella = stage.person("Stella", "STAFF", None).await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let link = stella.makes_reconnect_link(&it.lamps).await;
    (stage, it, stella, link)
}

async fn ends(stage: &Stage) -> Vec<Option<entity::LinkEnd>> {
    let links = link::Entity::find().all(stage.db.reader()).await.unwrap();
    links.into_iter().map(|link| link.ended_by).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_works_again_by_other_means_needs_no_link() {
    let (stage, it, _, link) = broken().await;
    let others = stage.admin_now().makes_reconnect_link(&it.hotels).await;
    stage.admin_now().reconnects(&stage.browser(), &it.hotels, "ASK", "ada").await;
    assert_eq!(ends(&stage).await, [Some(entity::LinkEnd::Healed); 2], "of every connection that was healed");
    for link in [link, others] {
        assert!(spent(&stage.browser(), &link).await.contains(DONE));
    }
    assert_eq!(stage.admin_now().audited("link.used").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_recovers_by_itself_needs_no_link_and_what_works_keeps_its_own() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let early = stage.admin.makes_reconnect_link(&it.hotels).await;
    stage.sandbox.withdraw("100-301");
    for _ in 0..3 {
        stage.later(chrono::TimeDelta::days(1));
        stage.run_jobs().await;
    }
    assert_eq!(stage.status(&it.lamps).await, "DISCONNECTED");
    let link = stage.admin_now().makes_reconnect_link(&it.lamps).await;
    stage.sandbox.give_back("100-301");
    stage.later(chrono::TimeDelta::days(2));
    stage.run_jobs().await;
    assert_eq!(stage.status(&it.lamps).await, "CONNECTED");
    assert!(spent(&stage.browser(), &link).await.contains(DONE));
    let kinds = ends(&stage).await;
    assert_eq!(kinds.iter().filter(|end| end.is_none()).count(), 1, "{early} was for another: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_connection_or_client_has_no_link() {
    let (stage, it, stella, link) = broken().await;
    let connect = stella.makes_connect_link(&it.acme, &["sandbox-billing"]).await;
    let browser = stage.browser();
    let callback = browser.allows(&browser.sets_out(&link, "sandbox-ads").await, "ada").await;
    stage.admin_now().does("removeConnection", json!({ "connectionId": it.lamps }), "").await;
    let back = browser.opens(callback.as_str()).await;
    assert_eq!(browser.comes_back(&link, &back).await.status, 410);
    assert!(spent(&browser, &link).await.contains(OVER));

    stage.admin_now().does("removeClient", json!({ "clientId": it.acme }), "").await;
    assert!(spent(&browser, &connect).await.contains(OVER));
    assert_eq!(stage.status(&it.hotels).await, "DISCONNECTED", "who was on the way changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maker_who_left_or_may_no_more_has_none_either() {
    for change in [json!({ "active": false }), json!({ "role": "MEMBER" })] {
        let (stage, it, stella, link) = broken().await;
        let connect = stella.makes_connect_link(&it.acme, &["sandbox-billing"]).await;
        let browser = stage.browser();
        let callback = browser.allows(&browser.sets_out(&link, "sandbox-ads").await, "ada").await;
        let mut input = change.clone();
        input["userId"] = json!(stella.id);
        stage.admin_now().does("updateUser", input, "").await;
        let back = browser.opens(callback.as_str()).await;
        assert_eq!(browser.comes_back(&link, &back).await.status, 410, "{change}");
        for link in [&link, &connect] {
            assert!(spent(&browser, link).await.contains(OVER), "{change}");
        }
        let key = stage.sandbox.keys()[0].value.clone();
        browser.submits(&connect, &[("connector", "sandbox-billing"), ("field.api_key", &key)]).await;
        assert_eq!(connections(&stage).await.len(), 2, "{change}");
        assert_eq!(stage.status(&it.lamps).await, "DISCONNECTED", "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_expires_while_somebody_is_away_does_nothing() {
    let (stage, it, stella, _) = broken().await;
    let input = json!({ "connectionId": it.lamps, "expiresInHours": 1 });
    let link = stella.does("createReconnectLink", input, "url").await["url"].as_str().unwrap().to_owned();
    let browser = stage.browser();
    stage.later(chrono::TimeDelta::minutes(58));
    let callback = browser.allows(&browser.sets_out(&link, "sandbox-ads").await, "ada").await;
    stage.later(chrono::TimeDelta::minutes(3));
    let back = browser.opens(callback.as_str()).await;
    let page = browser.comes_back(&link, &back).await;
    assert_eq!(page.status, 410, "{}", page.body);
    assert!(said(&page).contains(OVER));
    assert_eq!(stage.status(&it.lamps).await, "DISCONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_the_other_kind_reads_like_none() {
    let (stage, _, _, link) = broken().await;
    let browser = stage.browser();
    let nowhere = stage.url.join("/reconnect/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let unknown = browser.opens(nowhere.as_str()).await;
    let other_kind = browser.opens(&link.replace("/reconnect/", "/connect/")).await;
    assert_eq!((unknown.status, other_kind.status), (404, 404));
    assert_eq!(unknown.body, other_kind.body);
    assert!(said(&unknown).contains(OVER), "{}", unknown.body);
    assert_eq!(browser.submits(nowhere.as_str(), &[]).await.status, 404);
    assert_eq!(ends(&stage).await, [None::<entity::LinkEnd>]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_used_stays_so_whatever_works_again_later() {
    let (stage, it, _, link) = broken().await;
    let browser = stage.browser();
    browser.follows(&link, "sandbox-ads", "ada").await;
    let used = link::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    assert_eq!(used.ended_by, Some(entity::LinkEnd::Used));
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    stage.admin_now().reconnects(&stage.browser(), &it.lamps, "ASK", "ada").await;
    assert_eq!(link::Entity::find().one(stage.db.reader()).await.unwrap(), Some(used));
}
