//! The link of an attempt, and where its browser ends: who may open it, and where it may be sent afterwards.

use serde_json::{Value, json};

use crate::harness::{Stage, http};

fn analytics(return_url: &str) -> Value {
    json!({ "connector": "sandbox-analytics", "using": { "browser": { "returnUrl": return_url } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_browser_to_open_a_link_owns_it() {
    let stage = Stage::new().await;
    let (first, second) = (stage.browser(), stage.browser());
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    let callback = first.allows(&url, "ada").await;
    for browser in [&second, &first] {
        let landing = browser.opens(&url).await;
        assert_eq!((landing.status, landing.location), (410, None));
    }
    assert_eq!(first.opens(callback.as_str()).await.status, 200);
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opened_by_two_browsers_at_once_sends_one_of_them_on() {
    let stage = Stage::new().await;
    let (one, other) = (stage.browser(), stage.browser());
    let (_, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    let (first, second) = tokio::join!(one.opens(&url), other.opens(&url));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 410]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_looks_uses_nothing_up() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    assert_eq!(browser.peeks(&url).await, 204);
    let callback = browser.allows(&url, "ada").await;
    assert_eq!(browser.peeks(callback.as_str()).await, 204);
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    assert_eq!(browser.opens(callback.as_str()).await.status, 200);
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_and_prefetches_use_no_address_up() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    let looks = [
        ("purpose", "prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "prefetch"),
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("sec-purpose", "Prefetch; anonymous-client-ip"),
        ("sec-fetch-dest", "image"),
        ("sec-fetch-dest", "empty"),
        ("user-agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
        ("user-agent", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
        ("user-agent", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5"),
        ("user-agent", "WhatsApp/2.23.20.0"),
        ("user-agent", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"),
        ("user-agent", "LinkedInBot/1.0 (compatible; Mozilla/5.0)"),
    ];
    for (name, value) in looks {
        let answer = http().get(&url).header(name, value).send().await.unwrap();
        assert_ne!(answer.status(), 303, "{name}: {value}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{name}: {value}");
        assert!(!answer.headers().contains_key("set-cookie"), "{name}: {value}");
    }
    let callback = browser.allows(&url, "ada").await;
    for (name, value) in looks {
        http().get(callback.clone()).header(name, value).send().await.unwrap();
    }
    assert_eq!(stage.sandbox.token_calls().authorization_code, 0);
    assert_eq!(browser.opens(callback.as_str()).await.status, 200);
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_of_one_browser_come_to_a_result_each() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let acme = stage.admin.creates_client("Acme").await;
    let (one, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    let first = browser.allows(&url, "ada").await;
    let (other, url) =
        stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics", "clientId": acme })).await;
    let second = browser.allows(&url, "ada").await;
    // They come back in the other order.
    assert_eq!(browser.opens(second.as_str()).await.status, 200);
    assert_eq!(browser.opens(first.as_str()).await.status, 200);
    let (one, other) = (stage.admin.attempt(&one).await, stage.admin.attempt(&other).await);
    assert_eq!(one["connections"][0]["client"], Value::Null);
    assert_eq!(other["connections"][0]["client"]["id"], acme);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_that_reconnect_the_same_connection_heal_it_once() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let connection = stage.admin.connects(&browser, json!({ "connector": "sandbox-analytics" }), "ada").await;
    let connection = connection["id"].as_str().unwrap();
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let (one, url) = stage.admin.starts_reconnecting(connection, "ASK").await;
    let first = browser.allows(&url, "ada").await;
    let (other, url) = stage.admin.starts_reconnecting(connection, "ASK").await;
    let second = browser.allows(&url, "ada").await;
    tokio::join!(browser.opens(first.as_str()), browser.opens(second.as_str()));
    for attempt in [one, other] {
        assert_eq!(stage.admin.attempt(&attempt).await["status"], "SUCCEEDED");
    }
    let seen = stage.admin.sees("{ disconnections { nodes { endedBy } } connections { totalCount } }").await;
    assert_eq!(seen["disconnections"]["nodes"], json!([{ "endedBy": "RECONNECTED" }]));
    assert_eq!(seen["connections"]["totalCount"], 1);
    stage.after_a_probe_interval().await;
    assert_eq!(stage.admin.connection(connection).await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_no_attempt_says_the_same_as_one_that_is_over() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    stage.later(chrono::TimeDelta::minutes(10));
    let over = stage.browser().opens(&url).await;
    let unknown = stage.browser().opens(&url.replace(&id, "attempt_01jd8fd6pcfkpbt9xtn24zb9qd")).await;
    assert_eq!((over.status, over.body), (unknown.status, unknown.body));
    let nonsense = stage.browser().opens(&url.replace(&id, "%3Cscript%3E")).await;
    assert_eq!(nonsense.status, 404);
    assert!(!nonsense.body.contains("<script>"), "{}", nonsense.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_the_callbacks_alone() {
    let stage = Stage::new().await;
    let (_, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    let headers = stage.browser().opens(&url).await.headers;
    let cookie = headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/oauth/callback"] {
        assert!(cookie.split("; ").any(|found| found == part), "{part}: {cookie}");
    }
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["referrer-policy"], "no-referrer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_goes_back_to_where_it_was_asked_for_with_what_came_of_it() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let back = "https://app.example/sources?tab=2#top";
    let (id, url) = stage.admin.starts_connecting(analytics(back)).await;
    let landing = browser.signs_in(&url, "ada").await;
    let expected = format!("https://app.example/sources?tab=2&attempt={id}&status=SUCCEEDED#top");
    assert_eq!((landing.status, landing.location.unwrap().as_str()), (303, expected.as_str()));

    let (id, url) = stage.admin.starts_connecting(analytics("https://app.example/sources")).await;
    let landing = browser.cancels(&url).await;
    let expected = format!("https://app.example/sources?attempt={id}&status=FAILED");
    assert_eq!(landing.location.unwrap().as_str(), expected);

    let input = json!({ "connector": "sandbox-ads", "using": { "browser": { "returnUrl": "https://app.example/" } } });
    let (id, url) = stage.admin.starts_connecting(input).await;
    let landing = browser.signs_in(&url, "ada").await;
    let expected = format!("https://app.example/?attempt={id}&status=NEEDS_DECISION");
    assert_eq!(landing.location.unwrap().as_str(), expected);

    let seen = stage.admin.sees("{ connections { nodes { id } } }").await;
    let connection = seen["connections"]["nodes"][0]["id"].as_str().unwrap();
    let input = json!({ "connectionId": connection, "returnUrl": "https://app.example/" });
    let started = stage.admin.does("reconnect", input, "attempt { authorizationUrl }").await;
    let landing = browser.signs_in(started["attempt"]["authorizationUrl"].as_str().unwrap(), "ada").await;
    assert_eq!(landing.location.unwrap().host_str(), Some("app.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_an_origin_that_is_not_allowed() {
    let stage = Stage::new().await;
    let own = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    for bad in [
        "https://evil.example/",
        "https://app.example.evil.example/",
        "https://app.example@evil.example/",
        "https://user:password@app.example/",
        "https://app.example:8443/",
        "http://app.example/",
        r"https:\\evil.example",
        "javascript:alert(1)//https://app.example",
        "data:text/html,hunter2",
        "blob:https://app.example/hunter2",
    ] {
        let error = stage.admin.refused("connect", analytics(bad)).await;
        let at = json!(["using", "browser", "returnUrl"]);
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &at), "{bad}");
        assert!(!error.to_string().contains("evil"), "{error}");
        let reconnect = json!({ "connectionId": own["id"], "returnUrl": bad });
        let error = stage.admin.refused("reconnect", reconnect).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &json!(["returnUrl"])), "{bad}");
    }
    // No absolute address at all: the type says no.
    for bad in ["//evil.example", r"\\evil.example", "/\\evil.example", "evil.example", ""] {
        let answer = stage.admin.tries_mutation("connect", analytics(bad), "").await;
        assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{bad}: {:#}", answer.body);
        assert!(!answer.body.to_string().contains("evil"), "{:#}", answer.body);
    }
}
