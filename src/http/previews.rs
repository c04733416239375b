//! Requests by which nobody opens a page: previews of links, prefetches, pictures and scripts of other pages. Addresses that
//! are good for once are not used up by them.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::pages::outcome;

/// Headers by which browsers say that they fetch ahead (<https://wicg.github.io/nav-speculation/prefetch.html>, and what
/// was usual before).
const PURPOSE: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];
const AHEAD: [&str; 3] = ["prefetch", "prerender", "preview"];

/// Parts of the names by which programs say that they look at links for people (`User-Agent`, in small letters).
const BOTS: [&str; 14] = [
    "bot",
    "preview",
    "crawl",
    "spider",
    "facebookexternalhit",
    "facebookcatalog",
    "whatsapp",
    "embedly",
    "iframely",
    "mattermost",
    "slack-imgproxy",
    "vkshare",
    "google-safety",
    "scanner",
];

/// The middleware of routes whose pages are opened once: what only looks gets an answer that does nothing.
pub(super) async fn turn_away(request: Request, next: Next) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    if request.method() == Method::HEAD {
        return (StatusCode::NO_CONTENT, no_store).into_response();
    }
    // Not a success: a browser would show it as the page when the person does open it.
    if fetches_ahead(request.headers()) || is_part_of_a_page(request.headers()) {
        return (StatusCode::SERVICE_UNAVAILABLE, no_store).into_response();
    }
    if is_bot(request.headers()) {
        return outcome("Sign in at a data source", "Open this link in a browser to go on.", StatusCode::OK);
    }
    next.run(request).await
}

fn fetches_ahead(headers: &HeaderMap) -> bool {
    let values = PURPOSE.into_iter().flat_map(|name| headers.get_all(name)).filter_map(|value| value.to_str().ok());
    values.map(str::to_ascii_lowercase).any(|value| AHEAD.iter().any(|purpose| value.contains(purpose)))
}

/// Whether a browser says that it fetches a picture, a script or the like of a page, or for a script (Fetch Metadata,
/// <https://www.w3.org/TR/fetch-metadata/>). What says nothing is taken for a person.
fn is_part_of_a_page(headers: &HeaderMap) -> bool {
    let shown: [&[u8]; 3] = [b"document", b"iframe", b"frame"];
    headers.get("sec-fetch-dest").is_some_and(|destination| !shown.contains(&destination.as_bytes()))
}

fn is_bot(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let agent = agent.to_ascii_lowercase();
    // A browser that has the word in its name ("CUBOT" makes telephones) says that it navigates.
    let navigates = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    !navigates && BOTS.iter().any(|bot| agent.contains(bot))
}
