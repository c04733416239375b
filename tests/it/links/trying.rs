//! How often a link may be tried.

use crate::harness::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_tried_too_often_asks_for_patience_and_no_other_does() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let billing = stage.keyed("lamps", &acme).await;
    let (link, other) =
        (stage.admin.makes_reconnect_link(&billing).await, stage.admin.makes_reconnect_link(&billing).await);
    let browser = stage.browser();
    let mut last = None;
    for _ in 0..40 {
        let page = browser.submits(&link, &[("field.api_key", "")]).await;
        let refused = page.status == 429;
        last = Some(page);
        if refused {
            break;
        }
    }
    let last = last.unwrap();
    assert_eq!(last.status, 429, "{}", last.body);
    let wait: u64 = last.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
    assert_eq!(browser.opens(&link).await.status, 200, "it can still be looked at");
    assert_eq!(browser.submits(&other, &[("field.api_key", "")]).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_comes_to_nothing_soon_and_links_go_on_working() {
    let stage = Stage::new().await;
    let it = stage.shared_grant().await;
    let link = stage.admin.makes_reconnect_link(&it.lamps).await;
    let browser = stage.browser();
    let mut statuses = Vec::new();
    for n in 0..200 {
        let guess = stage.url.join(&format!("/reconnect/guess-{n}")).unwrap();
        statuses.push(browser.opens(guess.as_str()).await.status);
        if statuses.last() == Some(&429) {
            break;
        }
    }
    assert_eq!((statuses[0], statuses.last()), (404, Some(&429)), "{statuses:?}");
    assert_eq!(browser.opens(&link).await.status, 200);
}
