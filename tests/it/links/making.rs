//! Making links: what may be asked for, and what is stored of them.

use chrono::{DateTime, TimeDelta};
use patchbay::clock::Clock;
use serde_json::{Value, json};

use crate::{agency::Agency, harness::Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_for_as_long_as_was_asked_and_no_longer() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    for (hours, lasts) in [(json!(1), 1), (json!(720), 720), (Value::Null, 72)] {
        let input = json!({ "connectionId": it.lamps, "expiresInHours": hours });
        let made = stage.admin_now().does("createReconnectLink", input, "url expiresAt").await;
        let end = DateTime::parse_from_rfc3339(made["expiresAt"].as_str().unwrap()).unwrap();
        let life = end.signed_duration_since(stage.clock.now());
        assert!((TimeDelta::hours(lasts) - life).abs() < TimeDelta::minutes(1), "{lasts}: {life}");
        let url = made["url"].as_str().unwrap();
        assert!(url.starts_with(stage.url.join("/reconnect/").unwrap().as_str()), "{url}");
        assert_eq!(url.rsplit('/').next().unwrap().len(), 43, "32 random bytes");

        let browser = stage.browser();
        stage.later(TimeDelta::hours(lasts) - TimeDelta::minutes(2));
        assert_eq!(browser.opens(url).await.status, 200);
        stage.later(TimeDelta::minutes(2));
        assert!(super::spent(&browser, url).await.contains(super::OVER));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_named() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    for hours in [0, -1, 721, i32::MAX] {
        for (mutation, input) in [
            ("createReconnectLink", json!({ "connectionId": it.lamps, "expiresInHours": hours })),
            (
                "createConnectLink",
                json!({ "clientId": it.acme, "connectors": ["sandbox-ads"], "expiresInHours": hours }),
            ),
        ] {
            let error = stage.admin.refused(mutation, input).await;
            assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["expiresInHours"])), "{hours}");
        }
    }
    let many: Vec<String> = (0..21).map(|n| format!("connector-{n}")).collect();
    for (connectors, code, field) in [
        (json!([]), "INVALID", json!(["connectors"])),
        (json!(many), "INVALID", json!(["connectors"])),
        (json!(["sandbox-ads", "sandbox-ads"]), "INVALID", json!(["connectors", "1"])),
        (json!(["sandbox-ads", "nowhere"]), "NOT_FOUND", json!(["connectors", "1"])),
        (json!(["google-ads"]), "NOT_CONFIGURED", json!(["connectors", "0"])),
    ] {
        let input = json!({ "clientId": it.acme, "connectors": connectors });
        let error = stage.admin.refused("createConnectLink", input).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some(code), &field), "{error:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_make_links_for_what_they_tend_and_clients_none() {
    let agency = Agency::new().await;
    let reconnect = |connection: &str| json!({ "connectionId": connection });
    let connect = json!({ "clientId": agency.acme, "connectors": ["sandbox-ads"] });
    agency.member.does("createReconnectLink", reconnect(&agency.acme_visits), "url").await;
    let error = agency.member.refused("createReconnectLink", reconnect(&agency.acme_ads)).await;
    assert_eq!(error["code"], "NOT_FOUND");
    agency.shares(&agency.acme_ads, &agency.member).await;
    agency.member.does("createReconnectLink", reconnect(&agency.acme_ads), "url").await;
    for (who, mutation, input) in [
        (&agency.member, "createConnectLink", connect.clone()),
        (&agency.acme_login, "createConnectLink", connect),
        (&agency.acme_login, "createReconnectLink", reconnect(&agency.acme_ads)),
    ] {
        assert_eq!(who.tries_mutation(mutation, input, "").await.code(), Some("FORBIDDEN"), "{mutation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_links_and_they_end_with_it() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let (key, holder) = stage.admin.makes_key(json!({ "name": "Onboarding", "role": "STAFF" })).await;
    let link = holder.makes_connect_link(&acme, &["sandbox-analytics", "sandbox-billing"]).await;
    let browser = stage.browser();
    let page = browser.follows(&link, "sandbox-analytics", "ada").await;
    assert!(super::said(&page).contains("Sandbox Analytics Connected"), "{}", page.body);
    assert_eq!(super::connections(&stage).await[0]["createdBy"]["id"], stage.admin.id);
    stage.admin.does("revokeApiKey", json!({ "apiKeyId": key }), "").await;
    assert!(super::spent(&browser, &link).await.contains(super::OVER));
}
