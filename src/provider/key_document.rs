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

/// The address is neither `https` nor that of an allowed host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be https, or its host must be one of PATCHBAY_ALLOWED_HOSTS")]
pub struct NotSafe;

impl KeyDocument {
    /// The document at `url`.
    ///
    /// # Errors
    /// [`NotSafe`], since whoever is on the way could put keys of their own into it.
    pub fn new(outbound: Outbound, url: Url) -> Result<Self, NotSafe> {
        if outbound.may_visit(&url) { Ok(Self { outbound, url }) } else { Err(NotSafe) }
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

    #[test]
    fn plain_http_is_for_allowed_hosts() {
        let outbound = Outbound::new(vec!["127.0.0.1:7".parse().unwrap()]).unwrap();
        let allowed = |url: &str| KeyDocument::new(outbound.clone(), url.parse().unwrap()).is_ok();
        assert!(allowed("https://id.example/jwks") && allowed("http://127.0.0.1:7/jwks"));
        assert!(!allowed("http://id.example/jwks"));
    }
}
