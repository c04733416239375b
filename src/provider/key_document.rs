//! The key document (JWK Set) of the customer's identity provider, fetched like anything else from outside.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{FutureExt, future::BoxFuture};
use reqwest::{
    Method,
    header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue},
};
use url::Url;

use super::outbound::{Call, Outbound, Redirects};
use crate::access::{self, KeySource, NoKeys};

/// Requests wait for it, hence less than other providers get.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the identity provider's keys are.
pub struct KeyDocument {
    outbound: Outbound,
    url: Url,
}

impl KeyDocument {
    /// The document at `url`, which the operator's own settings name: it may be in a private network.
    pub fn new(outbound: &Outbound, url: Url) -> Self {
        Self { outbound: outbound.trusting(&url), url }
    }

    async fn get(&self) -> Result<access::KeyDocument, NoKeys> {
        let call = Call {
            method: Method::GET,
            url: self.url.clone(),
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]),
            body: Vec::new(),
            redirects: Redirects::Follow,
        };
        let sent = tokio::time::timeout(PATIENCE, self.outbound.send(call)).await.map_err(|_| NoKeys::Unreachable)?;
        let answer = sent.map_err(|_| NoKeys::Unreachable)?;
        if !answer.status.is_success() {
            return Err(NoKeys::Status(answer.status.as_u16()));
        }
        Ok(access::KeyDocument { max_age: max_age(&answer.headers), body: answer.body })
    }
}

impl KeySource for KeyDocument {
    fn fetch(&self) -> BoxFuture<'_, Result<access::KeyDocument, NoKeys>> {
        self.get().boxed()
    }
}

/// `Cache-Control: max-age` in seconds (RFC 9111 §5.2.2.1).
fn max_age(headers: &HeaderMap) -> Option<TimeDelta> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut directives = lines.flat_map(|line| line.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let seconds = directives.find_map(|directive| directive.strip_prefix("max-age=")?.parse::<u32>().ok())?;
    Some(TimeDelta::seconds(seconds.into()))
}

#[cfg(test)]
mod tests {
    use axum::{Router, response::Redirect, routing::get};
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    fn age(lines: &[&'static str]) -> Option<i64> {
        let headers = lines.iter().map(|line| (CACHE_CONTROL, HeaderValue::from_static(line))).collect();
        max_age(&headers).map(|age| age.num_seconds())
    }

    #[test]
    fn max_age_is_found_among_the_other_directives() {
        assert_eq!(age(&["public, Max-Age=600, must-revalidate"]), Some(600));
        assert_eq!(age(&["public", "max-age=0"]), Some(0));
        for none in [&["no-store"][..], &["max-age=soon"], &["s-maxage=5"], &["max-age=-1"], &[]] {
            assert_eq!(age(none), None, "{none:?}");
        }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the world around the server")]
    async fn its_host_may_be_private_and_no_other_is_reached_by_a_redirect() {
        let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = format!("http://{}/keys", inside.local_addr().unwrap());
        let keys = Router::new()
            .route("/keys", get(|| async { "{}" }))
            .route("/moved", get(move || async move { Redirect::temporary(&elsewhere) }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, keys).await });
        let outbound = Outbound::new(Vec::new()).unwrap();
        let at = |path: &str| KeyDocument::new(&outbound, format!("http://{address}{path}").parse().unwrap());
        assert_eq!(at("/keys").get().await.unwrap().body, b"{}");
        assert!(at("/moved").get().await.is_err());
        assert!(timeout(Duration::from_millis(50), inside.accept()).await.is_err(), "nobody came");
        let call = Call {
            method: Method::GET,
            url: format!("http://{address}/keys").parse().unwrap(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            redirects: Redirects::Never,
        };
        assert!(outbound.send(call).await.is_err(), "who types that address does not get there");
    }
}
