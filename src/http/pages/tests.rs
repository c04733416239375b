use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use tower::ServiceExt;

use super::*;

async fn get(path: &str, headers: &[(HeaderName, &str)]) -> Response {
    let mut request = Request::builder().method(Method::GET).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    routes(true).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

fn header_of(response: &Response, name: HeaderName) -> &str {
    response.headers().get(&name).unwrap_or_else(|| panic!("there is no {name}")).to_str().unwrap()
}

fn every_file() -> impl Iterator<Item = (&'static str, &'static str)> {
    let outcome = ("outcome.html", include_str!("outcome.html"));
    [&FRONT, &EXPLORER].into_iter().chain(&ASSETS).map(|file| (file.name, &*file.text)).chain([outcome])
}

/// What stands between `before` and the next quote.
fn quoted_after<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

#[tokio::test]
async fn every_answer_is_strict_about_what_it_may_load_and_tell() {
    let browser = [(header::ACCEPT, "text/html,*/*;q=0.8")];
    let mut answers = vec![
        outcome("Connected", "All is well.", StatusCode::OK),
        outcome_that_closes("Connected", "All is well."),
        work_that_goes_on("Signing in", "This goes on.", None),
        work_that_goes_on("Connecting", "This goes on.", Some("https://patchbay.example/connect/x")),
        get("/nowhere", &browser).await,
        get("/nowhere", &[]).await,
        get("/assets/nothing.js", &[]).await,
        get("/", &browser).await,
        get("/explorer", &browser).await,
    ];
    for asset in &ASSETS {
        answers.push(get(&format!("/assets/{}", asset.name), &[]).await);
    }
    for answer in &answers {
        let policy = header_of(answer, header::CONTENT_SECURITY_POLICY);
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.split("; ").any(|directive| directive == part), "{part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(header_of(answer, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header_of(answer, header::REFERRER_POLICY), "no-referrer");
        assert_eq!(header_of(answer, header::X_FRAME_OPTIONS), "DENY");
        assert!(["no-store", "no-cache"].contains(&header_of(answer, header::CACHE_CONTROL)));
    }
}

#[tokio::test]
async fn only_a_question_has_a_form_and_it_posts_to_its_own_address() {
    let asked = question("Turn <it> off?", "Mara & Co.", "Turn \"it\" off");
    let policy = header_of(&asked, header::CONTENT_SECURITY_POLICY);
    assert_eq!(policy, CLOSED.replace("form-action 'none'", "form-action 'self'"));
    assert_eq!(header_of(&asked, header::CACHE_CONTROL), "no-store");
    let page = text(asked).await;
    assert!(
        page.contains("<form method=\"post\"><button class=\"press\">Turn &quot;it&quot; off</button></form>"),
        "{page}"
    );
    assert!(page.contains("Turn &lt;it&gt; off?") && page.contains("Mara &amp; Co."), "{page}");
}

#[tokio::test]
async fn the_explorer_alone_may_call_the_server() {
    for (path, may) in [("/explorer", true), ("/", false), ("/nowhere", false)] {
        let answer = get(path, &[(header::ACCEPT, "text/html")]).await;
        assert_eq!(header_of(&answer, header::CONTENT_SECURITY_POLICY).contains("connect-src 'self'"), may, "{path}");
    }
}

#[tokio::test]
async fn what_the_pages_load_is_there_under_the_right_type() {
    let mut loaded = BTreeSet::new();
    for (name, text) in every_file() {
        let imports = quoted_after(text, "from \"./").map(|file| format!("/assets/{file}"));
        let links = ["src=\"", "href=\""].into_iter().flat_map(|before| quoted_after(text, before)).map(str::to_owned);
        for path in links.chain(imports).filter(|path| path.starts_with("/assets/")) {
            let answer = get(&path, &[]).await;
            assert_eq!(answer.status(), StatusCode::OK, "{name} loads {path}");
            let media = header_of(&answer, header::CONTENT_TYPE);
            let expected = match path.rsplit('.').next() {
                Some("js") => "text/javascript",
                Some("css") => "text/css",
                _ => "image/svg+xml",
            };
            assert!(media.starts_with(expected), "{path} is {media}");
            loaded.insert(path.rsplit('.').next().unwrap().to_owned());
        }
    }
    assert_eq!(loaded.into_iter().collect::<Vec<_>>(), ["css", "js", "svg"], "files of every kind are loaded");
}

#[test]
fn nothing_comes_from_elsewhere_and_nothing_is_inline() {
    let mut loading = BTreeSet::new();
    let inline = regex::Regex::new(r"<style|\s(style|on[a-z]+)=|<script[^>]*>[^<]").unwrap();
    for (name, text) in every_file() {
        let local = text.replace("http://www.w3.org/2000/svg", "").replace("http://localhost:8080", "");
        assert!(!local.contains("://"), "{name} names another address");
        for before in ["src=\"", "href=\"", "from \"", "import \""] {
            for target in quoted_after(&local, before) {
                let ours = (target.starts_with('/') && !target.starts_with("//"))
                    || target.starts_with("./")
                    || target.starts_with('#');
                assert!(ours, "{name} loads {target}");
                loading.insert(before);
            }
        }
        for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "@import", "url("]
        {
            assert!(!text.contains(forbidden), "{name} has {forbidden}");
        }
        if name.ends_with(".html") {
            assert!(!inline.is_match(text), "{name} holds code or style of its own");
        }
    }
    assert!(["src=\"", "href=\"", "from \""].iter().all(|way| loading.contains(way)), "looked for {loading:?} only");
    assert!(inline.is_match("<p onclick=\"\">") && inline.is_match("<script>x</script>"));
}

#[tokio::test]
async fn an_outcome_shows_its_texts_and_never_runs_them() {
    let answer = outcome("<script>alert(1)</script>", "\"Ads\" & 'Co' <img src=x> {title}", StatusCode::BAD_REQUEST);
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(header_of(&answer, header::CACHE_CONTROL), "no-store");
    assert_eq!(header_of(&answer, header::CONTENT_TYPE), "text/html; charset=utf-8");
    let page = text(answer).await;
    assert!(page.contains("<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>"), "{page}");
    assert!(page.contains("&quot;Ads&quot; &amp; &#39;Co&#39; &lt;img src=x&gt; {title}"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
}

#[tokio::test]
async fn a_success_closes_its_window_and_a_failure_stays() {
    let closing = text(outcome_that_closes("Connected", "All is well.")).await;
    assert!(closing.contains("src=\"/assets/close.js\"") && closing.contains("class=\"outcome good\""));
    let failed = text(outcome("Not connected", "The provider said no.", StatusCode::BAD_GATEWAY)).await;
    assert!(!failed.contains("close.js") && failed.contains("class=\"outcome bad\""));
}

#[tokio::test]
async fn what_is_not_there_is_a_page_for_people_and_json_for_programs() {
    let secret = "/reconnectt/secret-of-a-link";
    let page = get(secret, &[(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")]).await;
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    let page = text(page).await;
    assert!(page.contains("There is nothing here") && page.contains("href=\"/\"") && !page.contains("secret-of"));

    let json = get(secret, &[(header::ACCEPT, "*/*")]).await;
    assert_eq!(json.status(), StatusCode::NOT_FOUND);
    assert_eq!(header_of(&json, header::CONTENT_TYPE), "application/json");
    let json: serde_json::Value = serde_json::from_str(&text(json).await).unwrap();
    assert_eq!(json, serde_json::json!({ "error": "There is nothing at this path." }));
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_told_that_it_is_still_good() {
    let first = get("/assets/page.css", &[]).await;
    assert_eq!(header_of(&first, header::CACHE_CONTROL), "no-cache");
    let tag = header_of(&first, header::ETAG).to_owned();
    let again = get("/assets/page.css", &[(header::IF_NONE_MATCH, &format!("W/\"older\", {tag}"))]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(text(again).await, "");
    let changed = get("/assets/page.css", &[(header::IF_NONE_MATCH, "W/\"older\"")]).await;
    assert_eq!(changed.status(), StatusCode::OK);
}
