//! The pages of links: strict about what they may do, and harmless to look at.

use serde_json::json;

use super::said;
use crate::harness::{Stage, http, tables};

#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let reconnect = stage.admin.makes_reconnect_link(&it.lamps).await;
    let connect = stage.admin.makes_connect_link(&it.acme, &["sandbox-billing", "sandbox-shop"]).await;
    let (browser, before) = (stage.browser(), tables::counts(&stage.db).await);
    for link in [&reconnect, &connect] {
        assert_eq!(browser.peeks(link).await, 204);
        for _ in 0..3 {
            assert_eq!(browser.opens(link).await.status, 200);
        }
    }
    assert_eq!(tables::counts(&stage.db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_keeps_the_address_to_itself_and_lets_nothing_in() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let link = stage.admin.makes_reconnect_link(&it.lamps).await;
    let (browser, nowhere) = (stage.browser(), stage.url.join("/connect/nothing").unwrap());
    let answers = [
        browser.opens(&link).await,
        browser.submits(&link, &[]).await,
        browser.opens(nowhere.as_str()).await,
        browser.submits(nowhere.as_str(), &[]).await,
    ];
    for answer in answers {
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.split("; ").any(|directive| directive == part), "{part} is not in {policy}");
        }
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("x-robots-tag").contains("noindex"));
        assert!(!answer.body.contains("<script") && !answer.body.contains(" style="), "{}", answer.body);
        assert!(!answer.body.contains(link.rsplit('/').next().unwrap()), "the page does not repeat its address");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_only_names() {
    let stage = Stage::new().await;
    let client = stage.admin.creates_client("<script>alert(1)</script>").await;
    let rename = json!({ "name": "\"><img src=x onerror=alert(1)>" });
    stage.admin.does("updateWorkspace", rename, "").await;
    let rename = json!({ "userId": stage.admin.id, "name": "Mara </strong><b>{{ 7 * 7 }}" });
    stage.admin.does("updateUser", rename, "").await;
    let link = stage.admin.makes_connect_link(&client, &["sandbox-shop"]).await;
    let browser = stage.browser();
    let page = browser.opens(&link).await.body;
    for hostile in ["<script", "<img", "<b>"] {
        assert!(!page.contains(hostile), "{hostile} is in {page}");
    }
    assert!(page.contains("{{ 7 * 7 }}"), "{page}");

    let typed = "\"><script>alert(2)</script>";
    let page = browser.submits(&link, &[("connector", "sandbox-shop"), ("field.shop", typed)]).await;
    assert!(page.status == 422 && !page.body.contains("<script"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_form_of_a_fair_size_is_read() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let link = stage.admin.makes_reconnect_link(&it.lamps).await;
    let send = async |media: &str, body: String| {
        http().post(&link).header("content-type", media).body(body).send().await.unwrap().status().as_u16()
    };
    let form = "application/x-www-form-urlencoded";
    assert_eq!(send(form, "x".repeat(64 * 1024 + 1)).await, 413);
    assert_eq!(send("application/json", "{}".to_owned()).await, 415);
    assert_eq!(send("multipart/form-data; boundary=x", "--x--".to_owned()).await, 415);
    assert_eq!(send("text/plain", String::new()).await, 415);
    assert_eq!(send(form, "field.key=%ff%fe&&=&connector=%00".to_owned()).await, 200, "what is no field is left out");
    assert_eq!(http().put(&link).send().await.unwrap().status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_is_said_for_each() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let link = stage.admin.makes_connect_link(&acme, &["sandbox-ads", "postgresql"]).await;
    let page = said(&stage.browser().opens(&link).await);
    assert!(page.contains("What you need") && page.contains("Sign in as Ada Lindqvist"), "{page}");
    assert!(!page.contains("CREATE ROLE") && !page.contains("**") && !page.contains("]("), "{page}");
}
