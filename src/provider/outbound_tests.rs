//! The guard, tried from outside: who is called, who is not, and what is read of the answer.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    sync::Mutex,
};

use axum::{body::Body, http::header::LOCATION, response::IntoResponse};

use super::{
    super::stage::{Seen, Stage},
    *,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Gives one list of addresses after the other, then none, and counts how often it is asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Vec<IpAddr>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() })
    }
}

impl Resolve for Script {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

const SHORT: Limits =
    Limits { connect: Duration::from_millis(500), total: Duration::from_millis(1500), body: 64 * 1024 };

fn outbound(allowed: &[&str], resolver: Arc<dyn Resolve>) -> Outbound {
    let allowed = allowed.iter().map(|host| host.parse().unwrap()).collect();
    Outbound::with(allowed, resolver, SHORT).unwrap()
}

fn guarded() -> Outbound {
    outbound(&[], Arc::new(SystemResolver))
}

fn allowing(stages: &[&Stage]) -> Outbound {
    let allowed: Vec<String> = stages.iter().map(|stage| stage.address.to_string()).collect();
    outbound(&allowed.iter().map(String::as_str).collect::<Vec<_>>(), Script::new([]))
}

fn call(method: Method, url: &str, redirects: Redirects) -> Call {
    let headers = [(header::AUTHORIZATION, "Bearer planted".parse().unwrap())].into_iter().collect();
    Call { method, url: url.parse().expect(url), headers, body: Vec::new(), redirects }
}

fn get(url: &str) -> Call {
    call(Method::GET, url, Redirects::Follow)
}

fn said(answer: Result<Answer, NoAnswer>) -> Result<String, NoAnswer> {
    answer.map(|answer| format!("{} {}", answer.status.as_u16(), String::from_utf8_lossy(&answer.body)))
}

fn fine(_: &Seen) -> Response<Body> {
    "fine".into_response()
}

type Response<B> = axum::http::Response<B>;

fn redirect(to: String) -> Response<Body> {
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)]).into_response()
}

#[tokio::test]
async fn private_addresses_are_not_called_in_any_notation() {
    let stage = TouchCounter::new().await;
    let (outbound, port) = (guarded(), stage.port);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0.0.0.0",
        "0",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "１２７.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
    ] {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{port}/");
            assert_eq!(said(outbound.send(get(&url)).await), Err(NoAnswer::Unreachable), "{url}");
        }
    }
    assert_eq!(stage.touched(), 0);
}

#[tokio::test]
async fn public_hosts_are_called_by_https_only_and_without_a_user() {
    let script = Script::new([]);
    let outbound = outbound(&[], script.clone());
    for url in ["http://provider.example/", "ftp://provider.example/", "https://user@provider.example/", "data:,x"] {
        assert_eq!(said(outbound.send(get(url)).await), Err(NoAnswer::Unreachable), "{url}");
    }
    assert!(script.asked.lock().unwrap().is_empty(), "not even looked up");
    assert!(outbound.send(get("https://provider.example/")).await.is_err());
    assert_eq!(*script.asked.lock().unwrap(), ["provider.example"]);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_called() {
    let stage = Stage::new(fine).await;
    let script = Script::new([vec![LOOPBACK]]);
    let url = format!("https://provider.example:{}/", stage.address.port());
    assert_eq!(said(outbound(&[], script).send(get(&url)).await), Err(NoAnswer::Unreachable));
    assert!(stage.seen().is_empty());
}

#[tokio::test]
async fn a_name_cannot_change_its_mind_between_the_check_and_the_call() {
    let stage = TouchCounter::new().await;
    // A public address that nobody has, then the loopback.
    let public: IpAddr = "3ffe::1".parse().unwrap();
    let script = Script::new([vec![public], vec![LOOPBACK], vec![LOOPBACK]]);
    let url = format!("https://provider.example:{}/", stage.port);
    let outbound = outbound(&[], script.clone());
    assert!(outbound.send(get(&url)).await.is_err());
    assert_eq!(script.asked.lock().unwrap().len(), 1, "what was checked is what was dialled");
    assert!(outbound.send(get(&url)).await.is_err());
    assert_eq!(stage.touched(), 0);
}

#[tokio::test]
async fn of_a_name_with_addresses_of_both_kinds_only_the_public_ones_are_dialled() {
    let stage = TouchCounter::new().await;
    let script = Script::new([vec![LOOPBACK, "3ffe::1".parse().unwrap(), "::1".parse().unwrap()]]);
    let url = format!("https://provider.example:{}/", stage.port);
    assert!(outbound(&[], script).send(get(&url)).await.is_err());
    assert_eq!(stage.touched(), 0);
}

#[tokio::test]
async fn the_guard_does_call_a_checked_address() {
    // The other tests would pass with a client that calls nobody. Without TLS on the other side this call fails too, but
    // only after it has arrived: the same call, allowed.
    let stage = TouchCounter::new().await;
    let script = Script::new([vec![LOOPBACK]]);
    let url = format!("https://provider.example:{}/", stage.port);
    assert!(outbound(&["provider.example"], script).send(get(&url)).await.is_err());
    assert_eq!(stage.touched(), 1);
}

#[tokio::test]
async fn an_allowed_host_may_be_private_and_speak_http() {
    let stage = Stage::new(fine).await;
    assert_eq!(said(allowing(&[&stage]).send(get(&stage.url("/x"))).await).as_deref(), Ok("200 fine"));
    let by_name = outbound(&["provider.test"], Script::new([vec![LOOPBACK]]));
    let url = format!("http://provider.test:{}/", stage.address.port());
    assert_eq!(said(by_name.send(get(&url)).await).as_deref(), Ok("200 fine"));
    assert_eq!(stage.seen()[0].header("user-agent"), concat!("Patchbay/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn an_allowed_port_allows_no_other_port() {
    let (open, closed) = (Stage::new(fine).await, Stage::new(fine).await);
    let outbound = allowing(&[&open]);
    assert!(outbound.send(get(&closed.url("/"))).await.is_err());
    assert!(closed.seen().is_empty());
}

#[tokio::test]
async fn refused_and_unreachable_read_the_same() {
    let there = Stage::new(fine).await;
    let gone = Stage::nobody().await.address;
    let outbound = outbound(&[&gone.to_string()], Script::new([]));
    let failures = [
        outbound.send(get(&there.url("/"))).await.err(),
        outbound.send(get(&format!("http://{gone}/"))).await.err(),
        outbound.send(get("https://nowhere.example/")).await.err(),
        outbound.send(get("https://10.0.0.1/")).await.err(),
    ];
    assert_eq!(failures, [Some(NoAnswer::Unreachable); 4]);
    assert_eq!(NoAnswer::Unreachable.to_string(), "could not be reached");
}

#[tokio::test]
async fn a_redirect_is_handed_back_where_it_must_not_be_followed() {
    let target = Stage::new(fine).await;
    let to = target.url("/");
    let stage = Stage::new(move |_| redirect(to.clone())).await;
    let outbound = allowing(&[&stage, &target]);
    for call in [
        call(Method::POST, &stage.url("/token"), Redirects::Never),
        call(Method::GET, &stage.url("/token"), Redirects::Never),
        call(Method::POST, &stage.url("/api"), Redirects::Follow),
    ] {
        assert_eq!(said(outbound.send(call).await).as_deref(), Ok("307 "));
    }
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_inside_is_not_followed() {
    let inside = Stage::new(fine).await;
    let to = inside.url("/latest/meta-data");
    let stage = Stage::new(move |_| redirect(to.clone())).await;
    assert_eq!(said(allowing(&[&stage]).send(get(&stage.url("/"))).await), Err(NoAnswer::Unreachable));
    assert_eq!(stage.seen().len(), 1);
    assert!(inside.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_takes_the_credential_along_to_its_own_origin_only() {
    let other = Stage::new(fine).await;
    let to = other.url("/there");
    let stage = Stage::new(move |seen| match seen.uri.path() {
        "/" => redirect("/moved".to_owned()),
        _ => redirect(to.clone()),
    })
    .await;
    let answer = allowing(&[&stage, &other]).send(get(&stage.url("/"))).await.unwrap();
    assert!(answer.anonymous);
    assert_eq!(stage.seen()[1].uri.path(), "/moved");
    assert_eq!(stage.seen()[1].header("authorization"), "Bearer planted");
    assert_eq!(other.seen()[0].header("authorization"), "");
}

#[tokio::test]
async fn redirects_without_end_are_given_up() {
    let stage = Stage::new(|_| redirect("/again".to_owned())).await;
    assert_eq!(said(allowing(&[&stage]).send(get(&stage.url("/"))).await), Err(NoAnswer::Unreachable));
    assert_eq!(stage.seen().len(), MOST_REDIRECTS + 1);
}

#[tokio::test]
async fn an_answer_of_256_megabytes_is_cut() {
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = sent.clone();
    let stage = Stage::new(move |_| {
        let counter = counter.clone();
        let chunks = (0..256 * 16).map(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, io::Error>(vec![b' '; 64 * 1024])
        });
        Body::from_stream(futures_util::stream::iter(chunks)).into_response()
    })
    .await;
    assert_eq!(said(allowing(&[&stage]).send(get(&stage.url("/"))).await), Err(NoAnswer::TooLarge));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(sent < 1000, "{sent} chunks of 64 KiB were taken");
}

#[tokio::test]
async fn an_answer_of_just_the_limit_is_read() {
    let stage = Stage::new(|_| "x".repeat(SHORT.body).into_response()).await;
    let answer = allowing(&[&stage]).send(get(&stage.url("/"))).await.unwrap();
    assert_eq!(answer.body.len(), SHORT.body);
}

#[tokio::test]
async fn a_provider_that_drips_is_left() {
    let stage = Stage::new(|_| {
        let drops = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, io::Error>("."), ()))
        });
        Body::from_stream(drops).into_response()
    })
    .await;
    assert_eq!(said(allowing(&[&stage]).send(get(&stage.url("/"))).await), Err(NoAnswer::Unreachable));
}

#[test]
fn a_browser_is_sent_to_https_or_to_an_allowed_host() {
    let outbound = outbound(&["127.0.0.1:9000"], Script::new([]));
    let may_visit = |url: &str| outbound.may_visit(&url.parse().unwrap());
    assert!(may_visit("https://provider.example/authorize"));
    assert!(may_visit("http://127.0.0.1:9000/authorize"));
    assert!(!may_visit("http://provider.example/authorize"));
    assert!(!may_visit("javascript:alert(1)"));
}

/// Listens on the loopback and counts who connects, whatever they say.
struct TouchCounter {
    port: u16,
    touched: Arc<std::sync::atomic::AtomicUsize>,
}

impl TouchCounter {
    #[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, touched) = (listener.local_addr().unwrap().port(), Arc::default());
        let counter: Arc<std::sync::atomic::AtomicUsize> = Arc::clone(&touched);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        Self { port, touched }
    }

    fn touched(&self) -> usize {
        self.touched.load(std::sync::atomic::Ordering::Relaxed)
    }
}
