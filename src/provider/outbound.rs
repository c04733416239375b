//! The way out: the only HTTP client there is, for every URL that a user or a catalogue file can influence, and the only
//! socket to whoever else they name.
//!
//! It calls `https` only, and public addresses only (`addresses.rs`): literals are checked before the call, names when
//! they are resolved, and what was checked is what is dialled, so that a name cannot mean one address to the check and
//! another to the call. Each hop of a redirect passes the same guard. Time and size are limited, and no proxy is taken
//! from the environment. Hosts that the configuration allows ([`AllowedHost`]) may be private, and plain `http`; Patchbay's own
//! database ([`OwnDatabase`]) is never called.
//!
//! Why a call failed goes to the log, with the host and nothing else of the URL. To the caller, what was refused and
//! what was not there read the same: an answer that told them apart would map the network behind this server.
//! What an answer means is [`super::classify`]'s.

use std::{error::Error as StdError, io, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{self, HeaderMap},
};
use tokio::net::TcpStream;
use url::{Host, Url};

use super::{addresses, allowed::AllowedHost, own_database::OwnDatabase};
use crate::retries;

const USER_AGENT: &str = concat!("Patchbay/", env!("CARGO_PKG_VERSION"));
const MOST_REDIRECTS: usize = 5;
/// How long a socket is kept for another call. Many servers close theirs after five seconds, and a request that meets the
/// closing is lost: with it a code or a rotating token, which work once.
const IDLE: Duration = Duration::from_secs(2);

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `name`; an error where there are none.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect()) })
    }
}

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the socket is open, TLS included.
    pub connect: Duration,
    /// Until the last byte of the answer, redirects included.
    pub total: Duration,
    /// Bytes of an answer's body.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(20), body: 2 << 20 }
    }
}

/// A request to the outside. It holds secrets, hence no `Debug`.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) redirects: Redirects,
}

/// What to do when the answer is a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirects {
    /// Hand it back as the answer that it is. The token endpoint's: a redirect of it would carry secrets along.
    Never,
    /// Follow up to five, each checked; to another origin without any of the call's headers. For GET only.
    Follow,
}

/// What came back, whatever its status. It holds secrets, hence no `Debug`.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Redirects led to another origin, which was asked without the credential: its "no" says nothing about that.
    pub(super) anonymous: bool,
    /// The scheme of the call's `Authorization` (RFC 9110 §11.4), in lower case; none where it was signed in another way.
    pub(super) scheme: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Refused by the guard, not found, not there, too slow, broken off: it all reads the same.
    #[error("could not be reached")]
    Unreachable,
    #[error("answered with more than this server reads")]
    TooLarge,
}

/// The HTTP client could not be built: the system's certificates cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for providers cannot be built: {0}")]
pub struct OutboundError(#[from] reqwest::Error);

/// The way out. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    /// For everyone: https, to public addresses.
    guarded: Client,
    /// For the allowed hosts. A client of its own, since a resolver is not told the port that it resolves for.
    trusted: Client,
    /// For what is not HTTP.
    resolver: Arc<dyn Resolve>,
    allowed: Arc<[AllowedHost]>,
    own_database: Option<Arc<OwnDatabase>>,
    limits: Limits,
}

impl Outbound {
    /// The way out, with the system's resolver and the usual limits. Installs rustls' crypto provider where nobody has.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(allowed: Vec<AllowedHost>) -> Result<Self, OutboundError> {
        Self::with(allowed, Arc::new(SystemResolver), Limits::default())
    }

    /// The same, with a resolver and limits of the caller's.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with(allowed: Vec<AllowedHost>, resolver: Arc<dyn Resolve>, limits: Limits) -> Result<Self, OutboundError> {
        // An error means that one is installed already, which is what is wanted.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let guarded = Names { resolver: resolver.clone(), public_only: true };
        let trusted = Names { resolver: resolver.clone(), public_only: false };
        Ok(Self {
            guarded: client(guarded, limits)?,
            trusted: client(trusted, limits)?,
            resolver,
            allowed: allowed.into(),
            own_database: None,
            limits,
        })
    }

    /// The same, which never leads to Patchbay's own database.
    #[must_use]
    pub fn keeping_away_from(self, own: Option<OwnDatabase>) -> Self {
        Self { own_database: own.map(Arc::new), ..self }
    }

    /// The same for what the operator's own settings name: that host may be private, and speak plain `http`.
    pub(super) fn trusting(&self, url: &Url) -> Self {
        let named = AllowedHost::of(url);
        Self { allowed: self.allowed.iter().cloned().chain(named).collect(), ..self.clone() }
    }

    /// Whether a person's browser may be sent to `url`: `https`, or an allowed host's `http`.
    pub(super) fn may_visit(&self, url: &Url) -> bool {
        url.scheme() == "https" || url.scheme() == "http" && self.is_allowed(url)
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Opens a socket to a host that is not asked over HTTP, under the same guard. `database`: which one is asked for there.
    pub(super) async fn dial_socket(&self, host: &Host, port: u16, database: &str) -> Result<TcpStream, NoAnswer> {
        retries::note_done();
        let opening = tokio::time::timeout(self.limits.connect, self.open_socket(host, port, database));
        let opened = opening.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.map_err(|error| {
            tracing::debug!(%host, port, %error, "a host could not be reached");
            NoAnswer::Unreachable
        })
    }

    async fn open_socket(&self, host: &Host, port: u16, database: &str) -> io::Result<TcpStream> {
        let mut found = self.addresses(host).await?;
        if self.is_own_database(&found, port, Some(database)).await {
            return Err(io::Error::other("this is Patchbay's own database"));
        }
        if !self.allowed.iter().any(|known| known.is(host.clone(), Some(port))) {
            found.retain(|address| addresses::is_public(*address));
        }
        let dialled: Vec<_> = found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        if dialled.is_empty() {
            return Err(io::Error::other("no address of this host may be called"));
        }
        TcpStream::connect(&*dialled).await
    }

    async fn addresses(&self, host: &Host) -> io::Result<Vec<IpAddr>> {
        match host {
            Host::Domain(name) => self.resolver.resolve(name).await,
            Host::Ipv4(address) => Ok(vec![(*address).into()]),
            Host::Ipv6(address) => Ok(vec![(*address).into()]),
        }
    }

    async fn is_own_database(&self, found: &[IpAddr], port: u16, database: Option<&str>) -> bool {
        match &self.own_database {
            Some(own) => own.is_at(&*self.resolver, found, port, database).await,
            None => false,
        }
    }

    /// Whether a URL leads to Patchbay's own database, which does not speak HTTP, and might take it for something else.
    async fn leads_to_own_database(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return false };
        if self.own_database.as_ref().is_none_or(|own| !own.is_on(port)) {
            return false;
        }
        let found = self.addresses(&host.to_owned()).await.unwrap_or_default();
        self.is_own_database(&found, port, None).await
    }

    /// Asks, and waits for the whole answer.
    pub(super) async fn send(&self, call: Call) -> Result<Answer, NoAnswer> {
        self.send_for(call, self.limits.body).await
    }

    /// The same for an answer of another size: its body may have `most` bytes.
    pub(super) async fn send_for(&self, call: Call, most: usize) -> Result<Answer, NoAnswer> {
        retries::note_done();
        let host = call.url.host_str().unwrap_or_default().to_owned();
        tokio::time::timeout(self.limits.total, self.follow(call, most)).await.unwrap_or_else(|_| {
            tracing::debug!(host, "a provider took too long");
            Err(NoAnswer::Unreachable)
        })
    }

    async fn follow(&self, mut call: Call, most: usize) -> Result<Answer, NoAnswer> {
        let (mut anonymous, scheme) = (false, scheme(&call.headers));
        for _ in 0..=MOST_REDIRECTS {
            let response = self.dial(&call).await?;
            let Some(next) = next_hop(&call, &response) else {
                return read(response, anonymous, scheme, most).await;
            };
            if next.origin() != call.url.origin() {
                call.headers.clear();
                anonymous = true;
            }
            call.url = next;
        }
        tracing::debug!(host = call.url.host_str(), "a provider redirects without end");
        Err(NoAnswer::Unreachable)
    }

    /// One request, one answer, whose body is still to be read.
    async fn dial(&self, call: &Call) -> Result<Response, NoAnswer> {
        if self.leads_to_own_database(&call.url).await {
            tracing::debug!(host = call.url.host_str(), "a call to Patchbay's own database was refused");
            return Err(NoAnswer::Unreachable);
        }
        let request = self
            .client_for(&call.url)?
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone())
            .body(call.body.clone());
        request.send().await.map_err(|error| unreachable(call.url.host_str(), error))
    }

    /// The client that may call `url`, if any may.
    fn client_for(&self, url: &Url) -> Result<&Client, NoAnswer> {
        if matches!(url.scheme(), "https" | "http") && is_plain(url) && self.is_allowed(url) {
            return Ok(&self.trusted);
        }
        if url.scheme() == "https" && is_plain(url) && is_name_or_public(url) {
            return Ok(&self.guarded);
        }
        tracing::debug!(scheme = url.scheme(), host = url.host_str(), "a call to the outside was refused");
        Err(NoAnswer::Unreachable)
    }

    fn is_allowed(&self, url: &Url) -> bool {
        self.allowed.iter().any(|host| host.covers(url))
    }
}

/// The answer, whose body may have `most` bytes.
async fn read(
    mut response: Response,
    anonymous: bool,
    scheme: Option<String>,
    most: usize,
) -> Result<Answer, NoAnswer> {
    let host = response.url().host_str().map(str::to_owned);
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(host.as_deref(), error))? {
        if body.len() + chunk.len() > most {
            tracing::debug!(host, limit = most, "a provider's answer was cut");
            return Err(NoAnswer::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body, anonymous, scheme })
}

fn scheme(headers: &HeaderMap) -> Option<String> {
    let (scheme, _) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(scheme.to_ascii_lowercase())
}

#[expect(clippy::disallowed_methods, reason = "this is the one HTTP client")]
fn client(names: Names, limits: Limits) -> Result<Client, reqwest::Error> {
    Client::builder()
        .https_only(names.public_only)
        .dns_resolver(names)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(limits.connect)
        .pool_idle_timeout(IDLE)
        .user_agent(USER_AGENT)
        .build()
}

/// No user and password in it, which would travel as a header.
fn is_plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// A name will be checked when it is resolved; a literal is checked here, since nothing resolves it. The `url` crate has
/// normalised it by now: `2130706433`, `0x7f.1` and `0177.0.0.1` are all 127.0.0.1.
fn is_name_or_public(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(address)) => addresses::is_public(address.into()),
        Some(Host::Ipv6(address)) => addresses::is_public(address.into()),
        None => false,
    }
}

/// Where the answer wants the call to go on, if it may.
fn next_hop(call: &Call, response: &Response) -> Option<Url> {
    let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    if !moved || call.method != Method::GET || call.redirects == Redirects::Never {
        return None;
    }
    call.url.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()
}

/// Logs why, tells nobody.
fn unreachable(host: Option<&str>, error: reqwest::Error) -> NoAnswer {
    // The URL may hold a key.
    let error = error.without_url();
    let mut causes = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes = format!("{causes}: {error}");
        cause = error.source();
    }
    tracing::debug!(host, causes, "a provider could not be reached");
    NoAnswer::Unreachable
}

/// Resolves names for reqwest, which dials these addresses and no others.
struct Names {
    resolver: Arc<dyn Resolve>,
    public_only: bool,
}

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (resolver, public_only) = (self.resolver.clone(), self.public_only);
        Box::pin(async move {
            let mut found = resolver.resolve(name.as_str()).await?;
            found.retain(|address| !public_only || addresses::is_public(*address));
            if found.is_empty() {
                return Err(io::Error::other("no address of this name may be called").into());
            }
            // Port 0: reqwest puts the URL's in.
            let dialled = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(dialled) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
