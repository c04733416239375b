//! Which web pages may call: those of this server and those of the configuration.
//!
//! Browsers send `Origin` with every websocket and with calls across origins; what is no browser sends none, and has nobody's cookies.
//! The request's `Host` is not consulted: a page that rebinds its own name to this address would say it, too.

use std::net::SocketAddr;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

use super::graphql::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED};

/// Origins that may call (RFC 6454), as browsers write them.
#[derive(Debug, Clone)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// The origin of `public_url`, those of the address listened on, and `allowed`.
    pub fn new(public_url: &Url, listen: SocketAddr, allowed: &[Url]) -> Self {
        let configured = allowed.iter().chain([public_url]).map(|url| url.origin().ascii_serialization());
        let texts = configured.chain(of_address(listen)).filter(|text| text != "null");
        Self(texts.filter_map(|text| HeaderValue::from_str(&text).ok()).collect())
    }

    /// Whether a request with these headers may open a socket: no `Origin`, or one that may call.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        headers.get_all(ORIGIN).iter().all(|origin| self.0.contains(origin))
    }

    /// Answers browsers that ask whether a page may call. Credentials are bearers in a header, never cookies.
    pub fn cors(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.0.clone()))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                ACCEPT,
                AUTHORIZATION,
                CONTENT_TYPE,
                HeaderName::from_static("patchbay-workspace"),
                IDEMPOTENCY_KEY,
            ])
            .expose_headers([RETRY_AFTER, HeaderName::from_static("x-request-id"), IDEMPOTENCY_REPLAYED])
            .max_age(std::time::Duration::from_secs(3_600))
    }
}

fn of_address(listen: SocketAddr) -> Vec<String> {
    let port = listen.port();
    let mut origins = vec![format!("http://{listen}")];
    if listen.ip().is_loopback() || listen.ip().is_unspecified() {
        origins.extend(["localhost", "127.0.0.1", "[::1]"].map(|host| format!("http://{host}:{port}")));
    }
    if port == 80 {
        origins = origins.into_iter().map(|origin| origin.trim_end_matches(":80").to_owned()).collect();
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origin: &str) -> bool {
        let public = Url::parse("https://patchbay.example/console/").unwrap();
        let allowed = [Url::parse("https://app.example:8443").unwrap()];
        let origins = Origins::new(&public, "127.0.0.1:8080".parse().unwrap(), &allowed);
        let headers = [(ORIGIN, HeaderValue::from_str(origin).unwrap())].into_iter().collect();
        origins.admit(&headers)
    }

    #[test]
    fn pages_of_this_server_and_of_the_configuration_may_call() {
        for origin in
            ["https://patchbay.example", "https://app.example:8443", "http://localhost:8080", "http://127.0.0.1:8080"]
        {
            assert!(admits(origin), "{origin}");
        }
    }

    #[test]
    fn other_pages_may_not() {
        for origin in [
            "https://evil.example",
            "null",
            "http://patchbay.example",
            "https://patchbay.example.evil.example",
            "https://app.example",
            "http://localhost:8081",
            "https://patchbay.example/",
        ] {
            assert!(!admits(origin), "{origin}");
        }
    }
}
