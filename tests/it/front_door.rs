//! What the operator decides of the pages and numbers beside the API.

use crate::harness::{Setup, Stage, http};

async fn with(settings: &[(&str, &str)]) -> Stage {
    let settings = settings.iter().map(|(name, value)| (format!("PATCHBAY_{name}"), (*value).to_owned())).collect();
    Stage::with(Setup { settings, ..Setup::default() }).await
}

async fn get(stage: &Stage, path: &str) -> reqwest::Response {
    http().get(stage.url.join(path).unwrap()).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_come_by_https_where_the_public_address_says_so() {
    let paths = ["/", "/healthz", "/nowhere", "/oauth/start/x", "/connect/x", "/graphql", "/assets/page.css"];
    let stage = with(&[("PUBLIC_URL", "https://patchbay.example")]).await;
    for path in paths {
        let answer = get(&stage, path).await;
        let told = answer.headers().get("strict-transport-security").unwrap_or_else(|| panic!("{path}"));
        assert!(told.to_str().unwrap().starts_with("max-age="), "{path}: {told:?}");
    }
    let stage = with(&[("PUBLIC_URL", "http://patchbay.example")]).await;
    for path in paths {
        assert_eq!(get(&stage, path).await.headers().get("strict-transport-security"), None, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_explorer_unless_the_operator_wants_none() {
    for (explorer, status) in [("on", 200), ("off", 404)] {
        let stage = with(&[("EXPLORER", explorer)]).await;
        assert_eq!(get(&stage, "/explorer").await.status(), status);
        let front = get(&stage, "/").await.text().await.unwrap();
        assert_eq!(front.contains("/explorer"), status == 200, "{front}");
        assert!(front.contains("/graphql"), "{front}");
        stage.admin.sees("{ viewer { role } }").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_may_ask_for_a_bearer() {
    let stage = with(&[("METRICS_TOKEN", "count-me-in")]).await;
    let asks = async |bearer: Option<&str>| {
        let request = http().get(stage.url.join("/metrics").unwrap());
        let request = bearer.into_iter().fold(request, |request, bearer| request.bearer_auth(bearer));
        request.send().await.unwrap()
    };
    for wrong in [None, Some("count-me"), Some("count-me-in-"), Some("COUNT-ME-IN"), Some(stage.admin.token.as_str())] {
        let answer = asks(wrong).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
        assert!(!answer.text().await.unwrap().contains("patchbay_"), "{wrong:?}");
    }
    let answer = asks(Some("count-me-in")).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("patchbay_db_up 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_may_have_an_address_of_their_own() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stage = with(&[("METRICS_BIND", &free.to_string())]).await;
    assert_eq!(get(&stage, "/metrics").await.status(), 404);
    let answer = http().get(format!("http://{free}/metrics")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("patchbay_db_up 1"));
    let other = http().get(format!("http://{free}/graphql?query=%7B__typename%7D")).send().await.unwrap();
    assert_eq!(other.status(), 404, "there is nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_asked_for_the_numbers_once_a_second_at_most() {
    use std::sync::{Arc, Mutex};
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    let watch = patchbay::db::Watch::new(move |statement| {
        if statement.sql.contains("journal_head") || statement.sql.contains("incident") {
            *counted.lock().unwrap() += 1;
        }
    });
    let stage = Stage::with(Setup { statements: Some(watch), ..Setup::default() }).await;
    get(&stage, "/metrics").await;
    let once = *asked.lock().unwrap();
    assert!(once > 0);
    let many = (0..20).map(|_| get(&stage, "/metrics"));
    futures_util::future::join_all(many).await;
    assert_eq!(*asked.lock().unwrap(), once);
    stage.later(chrono::TimeDelta::seconds(1));
    get(&stage, "/metrics").await;
    assert!(*asked.lock().unwrap() > once);
}
