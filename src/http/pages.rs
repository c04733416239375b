//! The pages of this server: the front page, the explorer, and what a person reads at the end of a round trip.
//!
//! They are plain files beside this one, embedded as they are, without a build step. They load nothing from anywhere else, and they hold
//! no secret and no state: what they show of a workspace, their scripts ask of `/graphql` with the bearer that the person has.
//! What happened in a round trip, and how to say it, is told to [`outcome`] by whoever ran it.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

#[cfg(test)]
mod tests;

/// `/`, `/assets/{file}`, [`nothing_here`] as the fallback, and with `explorer` also `/explorer`.
pub(super) fn routes(explorer: bool) -> Router {
    let front = if explorer { &FRONT } else { &*FRONT_ALONE };
    let routes = Router::new()
        .route("/", get(move |headers: HeaderMap| async move { file(front, &headers) }))
        .route("/assets/{file}", get(asset))
        .fallback(nothing_here);
    if explorer {
        return routes.route("/explorer", get(|headers: HeaderMap| async move { file(&EXPLORER, &headers) }));
    }
    routes
}

/// A page with one thing to say: how an OAuth round trip ended, or that a link is not valid. Both texts are shown as they are, escaped.
pub(super) fn outcome(title: &str, message: &str, status: StatusCode) -> Response {
    ending(status, title, message, "<p class=\"hint\">You can close this window.</p>")
}

/// The same for a round trip that succeeded (200): the window closes itself after a moment, where the browser lets it.
pub(super) fn outcome_that_closes(title: &str, message: &str) -> Response {
    let tail = "<p class=\"hint\">This window closes by itself. If it stays, you can close it.</p>\n\
                <script src=\"/assets/close.js\" defer></script>";
    ending(StatusCode::OK, title, message, tail)
}

/// Work takes longer than a browser can wait for (202): the page loads again by itself, or `next`, to show what came of it.
pub(super) fn work_that_goes_on(title: &str, message: &str, next: Option<&str>) -> Response {
    let hint = "<p class=\"hint\">This page looks again by itself.</p>";
    let mut page = ending(StatusCode::ACCEPTED, title, message, hint);
    let refresh = next.map_or_else(|| "2".to_owned(), |next| format!("2; url={next}"));
    // An address that no header can hold leaves the page as it is, to be loaded by hand.
    if let Ok(refresh) = HeaderValue::from_str(&refresh) {
        page.headers_mut().insert(header::REFRESH, refresh);
    }
    page
}

/// A page that asks before anything is done (200): its button, which says `button`, posts an empty form to the page's own address.
pub(super) fn question(title: &str, message: &str, button: &str) -> Response {
    let form = format!("<form method=\"post\"><button class=\"press\">{}</button></form>", Text(button));
    page(StatusCode::OK, ASKING, title, message, &form)
}

/// 429: too many requests came; the page is there again after so many seconds.
pub(super) fn too_many(seconds: u32) -> Response {
    let message = "There were too many requests. Wait a moment, then load the page again.";
    let page = outcome("Not so fast", message, StatusCode::TOO_MANY_REQUESTS);
    ([(header::RETRY_AFTER, seconds.to_string())], page).into_response()
}

/// 404, as a page for a browser and as JSON for everybody else. The path is not repeated: it may hold a secret that was mistyped.
pub(super) async fn nothing_here(headers: HeaderMap) -> Response {
    if !wants_html(&headers) {
        let body = r#"{"error":"There is nothing at this path."}"#;
        return (StatusCode::NOT_FOUND, secured("application/json", CLOSED, "no-store"), body).into_response();
    }
    let tail = "<p class=\"hint\"><a href=\"/\">To the front page</a></p>";
    let message = "The address may be mistyped, or what was here has moved.";
    ending(StatusCode::NOT_FOUND, "There is nothing here", message, tail)
}

/// Nothing but this server's own style sheets, scripts and pictures; no frames around it, no forms; nothing from a string becomes code.
const CLOSED: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The explorer also calls this server, by HTTP and by websocket: 'self' covers both (since CSP Level 3).
const CALLING: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                       form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A page that asks is answered at its own address, and nowhere else.
const ASKING: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// An embedded file.
struct File {
    name: &'static str,
    media: &'static str,
    policy: &'static str,
    text: Cow<'static, str>,
}

macro_rules! embedded {
    ($name:literal, $media:literal, $policy:ident) => {
        File {
            name: $name,
            media: $media,
            policy: $policy,
            text: Cow::Borrowed(include_str!(concat!("pages/", $name))),
        }
    };
}

static FRONT: File = embedded!("front.html", "text/html; charset=utf-8", CLOSED);
/// The front page of a server without an explorer: what leads there is left out.
static FRONT_ALONE: LazyLock<File> = LazyLock::new(|| {
    let lines = FRONT.text.lines().filter(|line| !line.contains("/explorer"));
    File { text: Cow::Owned(lines.map(|line| format!("{line}\n")).collect()), ..FRONT }
});
static EXPLORER: File = embedded!("explorer.html", "text/html; charset=utf-8", CALLING);
static ASSETS: [File; 18] = [
    embedded!("icon.svg", "image/svg+xml", CLOSED),
    embedded!("page.css", "text/css; charset=utf-8", CLOSED),
    embedded!("front.css", "text/css; charset=utf-8", CLOSED),
    embedded!("link.css", "text/css; charset=utf-8", CLOSED),
    embedded!("explorer.css", "text/css; charset=utf-8", CLOSED),
    embedded!("close.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("origin.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("explorer.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("access.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("documents.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("editor.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("elements.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("examples.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("results.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("schema.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("schema-panel.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("skeleton.js", "text/javascript; charset=utf-8", CLOSED),
    embedded!("transports.js", "text/javascript; charset=utf-8", CLOSED),
];

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => file(asset, &headers),
        None => nothing_here(headers).await,
    }
}

/// The entity tag of all files: they change together, with the build. Weak, since a proxy may compress them.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let files = [&FRONT, &EXPLORER].into_iter().chain(&ASSETS);
    let digest = files.fold(Sha256::new(), |digest, file| digest.chain_update(file.text.as_bytes())).finalize();
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..12]))
});

/// The file, or 304 for whoever has it already. Browsers ask each time, so that a new build shows at once.
fn file(file: &'static File, headers: &HeaderMap) -> Response {
    let held = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let fresh = held.flat_map(|tags| tags.split(',')).any(|tag| tag.trim() == BUILD.as_str());
    let tag = [(header::ETAG, BUILD.as_str())];
    let secured = secured(file.media, file.policy, "no-cache");
    if fresh {
        return (StatusCode::NOT_MODIFIED, tag, secured).into_response();
    }
    (tag, secured, &*file.text).into_response()
}

/// `tail` is markup.
fn ending(status: StatusCode, title: &str, message: &str, tail: &str) -> Response {
    page(status, CLOSED, title, message, tail)
}

/// `tail` is markup.
fn page(status: StatusCode, policy: &'static str, title: &str, message: &str, tail: &str) -> Response {
    let tone = if status.is_success() { "good" } else { "bad" };
    let page = format!(
        include_str!("pages/outcome.html"),
        tone = tone,
        title = Text(title),
        message = Text(message),
        tail = tail
    );
    (status, secured("text/html; charset=utf-8", policy, "no-store"), page).into_response()
}

/// The headers of everything here. No referrer: the address of a round trip's end holds its code and state.
fn secured(media: &'static str, policy: &'static str, cache: &'static str) -> [(HeaderName, HeaderValue); 6] {
    [
        (header::CONTENT_TYPE, media),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, cache),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Says what frame-ancestors does, to browsers and scanners that do not read it.
        (header::X_FRAME_OPTIONS, "DENY"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// Whether a person asks, through a browser.
fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|ranges| ranges.to_str().ok());
    accepted.flat_map(|ranges| ranges.split(',')).any(|range| range.trim().starts_with("text/html"))
}

/// A text on its way into HTML, as content or in a quoted attribute.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            character => fmt::Write::write_char(f, character),
        })
    }
}
