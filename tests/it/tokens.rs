//! Who somebody is: which bearers are refused, however they come, and which pages may open sockets.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use hmac::{Hmac, Mac};
use patchbay::{
    clock::Clock,
    ids::{self, Kind},
};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error as SocketError, client::IntoClientRequest, http::HeaderValue},
};
use url::Url;
use uuid::Uuid;

use crate::{
    agency::{Agency, ask_with},
    harness::{JWT_SECRET, KEYS, Person, Socket, Stage, http},
};

const VIEWER: &str = "{ viewer { user { id } } }";

// ── bearers ──

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_token_there_is_no_data() {
    let stage = Stage::new().await;
    let valid = ask_with(&stage.url, &[("authorization", &format!("Bearer {}", stage.admin.token))], VIEWER).await;
    assert_eq!(valid.body["data"]["viewer"]["user"]["id"], json!(stage.admin.id));

    refused(&stage, &[]).await;
    let (token, cut) = (&stage.admin.token, &stage.admin.token[..stage.admin.token.len() - 3]);
    for authorization in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer garbage",
        "Bearer a.b.c",
        "Bearer ..",
        &format!("Bearer {cut}"),
        &format!("Bearer {token}x"),
        &format!("Bearer {token} {token}"),
        &format!("Basic {token}"),
        token,
    ] {
        refused(&stage, &[("authorization", authorization)]).await;
    }
    let bearer = format!("Bearer {token}");
    refused(&stage, &[("authorization", &bearer), ("authorization", "Bearer garbage")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refused_from_the_second_it_expires() {
    let stage = Stage::new().await;
    let bearer = format!("Bearer {}", stage.token(&stage.admin.id, TimeDelta::minutes(5)));
    let answer = ask_with(&stage.url, &[("authorization", &bearer)], VIEWER).await;
    assert_eq!(answer.body["data"]["viewer"]["user"]["id"], json!(stage.admin.id));
    stage.later(TimeDelta::minutes(5));
    refused(&stage, &[("authorization", &bearer)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_is_refused() {
    let stage = Stage::new().await;
    let (now, user) = (stage.clock.now().timestamp(), &stage.admin.id);
    let good = json!({ "iss": "patchbay", "aud": "patchbay", "sub": user, "exp": now + 600 });
    let hs256 = json!({ "alg": "HS256", "typ": "at+jwt" });
    let key = JWT_SECRET.as_bytes();
    let control =
        ask_with(&stage.url, &[("authorization", &format!("Bearer {}", signed(&hs256, &good, key)))], VIEWER).await;
    assert_eq!(
        control.body["data"]["viewer"]["user"]["id"],
        json!(user),
        "what is forged below differs in one thing each"
    );

    let but = |whole: &Value, part: Value| {
        let mut whole = whole.clone();
        whole.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        whole
    };
    let headers = [
        json!({ "alg": "RS256" }),
        json!({ "alg": "HS384" }),
        json!({ "alg": "HS512" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "" }),
        json!({ "alg": null }),
        // What else is signed with the secret.
        json!({ "typ": "JWT" }),
        json!({ "typ": "jwt" }),
        json!({ "typ": "logout+jwt" }),
        json!({ "typ": "secevent+jwt" }),
        json!({ "typ": "" }),
        json!({ "typ": null }),
        json!({ "typ": ["at+jwt"] }),
        // What has to be understood and is not.
        json!({ "crit": ["exp"] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": ["https://evil.example/all"], "https://evil.example/all": true }),
        json!({ "crit": [] }),
    ];
    let mut forged: Vec<String> = headers.iter().map(|part| signed(&but(&hs256, part.clone()), &good, key)).collect();
    forged.push(signed(&json!({ "alg": "HS256" }), &good, key));
    forged.extend(
        ["none", "None", "nOnE", "HS256"]
            .map(|alg| format!("{}.", unsigned(&but(&hs256, json!({ "alg": alg })), &good))),
    );
    let attackers = b"an attacker's key, as long as it must be";
    let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(attackers) });
    let own_key = but(&hs256, json!({ "jwk": jwk, "jku": "https://evil.example" }));
    forged.extend([signed(&own_key, &good, attackers), signed(&hs256, &good, attackers), signed(&hs256, &good, b"")]);
    let claims = [
        json!({ "exp": null }),
        json!({ "exp": (now + 600).to_string() }),
        json!({ "exp": now }),
        json!({ "exp": 0 }),
        json!({ "exp": -1 }),
        json!({ "exp": i64::MAX }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": now + 300 }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": [user] }),
        json!({ "sub": "mara@lighthouse.example" }),
        json!({ "sub": ids::encode(Kind::User, Uuid::from_u128(7)) }),
        json!({ "sub": ids::encode(Kind::Viewer, stage.admin.uuid()) }),
        json!({ "sub": stage.admin.uuid() }),
        json!({ "iss": "https://id.example" }),
        json!({ "iss": "Patchbay" }),
        json!({ "iss": "" }),
        json!({ "iss": null }),
        json!({ "iss": ["patchbay"] }),
        json!({ "aud": "another-service" }),
        json!({ "aud": "" }),
        json!({ "aud": null }),
        json!({ "aud": ["patchbay"] }),
        json!({ "aud": ["another-service", "patchbay"] }),
    ];
    forged.extend(claims.iter().map(|part| signed(&hs256, &but(&good, part.clone()), key)));
    forged.extend(["iss", "aud", "sub", "exp"].map(|claim| {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(claim);
        signed(&hs256, &without, key)
    }));
    forged.push(signed(&hs256, &json!([user, now + 600]), key));
    for token in forged {
        refused(&stage, &[("authorization", &format!("Bearer {token}"))]).await;
        let mut socket = Socket::open(&stage.url).await;
        socket
            .send(json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } }))
            .await;
        assert_eq!(socket.closed().await, 4403, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_no_workspace_but_its_own() {
    let stage = Stage::new().await;
    let stranger = stage.stranger().await;
    let workspace = async |person: &Person| {
        let seen = person.sees("{ viewer { workspace { id } } }").await;
        seen["viewer"]["workspace"]["id"].as_str().unwrap().to_owned()
    };
    let (own, foreign) = (workspace(&stage.admin).await, workspace(&stranger).await);
    let bearer = format!("Bearer {}", stage.admin.token);
    let headers = |named: &str| {
        [("authorization".to_owned(), bearer.clone()), ("patchbay-workspace".to_owned(), named.to_owned())]
    };
    let named = headers(&own);
    let answer = ask_with(&stage.url, &borrowed(&named), VIEWER).await;
    assert_eq!(answer.body["data"]["viewer"]["user"]["id"], json!(stage.admin.id));
    for other in [&foreign, "", "garbage", &stage.admin.id] {
        refused(&stage, &borrowed(&headers(other))).await;
        let mut socket = Socket::open(&stage.url).await;
        let payload = json!({ "authorization": bearer, "Patchbay-Workspace": other });
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(socket.closed().await, 4403, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_url_is_refused_even_if_it_is_valid() {
    let stage = Stage::new().await;
    let token = &stage.admin.token;
    let bearer = format!("Bearer {token}");
    for name in ["access_token", "token", "authorization", "Access_Token", "api_key", "jwt"] {
        let mut url = stage.url.join("/graphql").unwrap();
        url.query_pairs_mut().append_pair("query", VIEWER).append_pair(name, token);
        for headers in [&[][..], &[("authorization", bearer.as_str())]] {
            let request =
                headers.iter().fold(http().get(url.clone()), |request, (name, value)| request.header(*name, *value));
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), 400, "{name}");
            let body: Value = response.json().await.unwrap();
            assert!(body["data"].is_null() && !body.to_string().contains(token.as_str()), "{name}: {body:#}");
        }
        let address = url.as_str().replacen("http", "ws", 1);
        assert_eq!(handshake(&address, None).await, 400, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_came_in_a_url_or_was_refused_is_not_in_the_logs() {
    let server = Process::start().await;
    for address in ["/graphql?access_token=PLANTED-IN-URL", "/graphql?query=%7B__typename%7D&token=PLANTED-IN-URL"] {
        let response = http().get(server.url.join(address).unwrap()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 400);
        let address = server.url.join(address).unwrap().as_str().replacen("http", "ws", 1);
        assert_eq!(handshake(&address, None).await, 400);
    }
    let answer = ask_with(&server.url, &[("authorization", "Bearer PLANTED-IN-HEADER")], VIEWER).await;
    assert_eq!(answer.code(), Some("UNAUTHENTICATED"));
    let mut socket = Socket::open(&server.url).await;
    let payload = json!({ "authorization": "Bearer PLANTED-IN-PAYLOAD" });
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(socket.closed().await, 4403);

    let logs = server.stop();
    assert!(logs.contains("listening at"), "{logs}");
    assert!(!logs.contains("PLANTED"), "{}", logs.lines().filter(|line| line.contains("PLANTED")).collect::<String>());
}

// ── people who leave ──

#[tokio::test(flavor = "multi_thread")]
async fn who_was_deactivated_is_refused_at_once_and_comes_back_when_activated() {
    let agency = Agency::new().await;
    let bearer = format!("Bearer {}", agency.staff.token);
    agency.changes(&agency.staff, json!({ "active": false })).await;
    refused(&agency.stage, &[("authorization", &bearer)]).await;
    let mut socket = Socket::open(&agency.stage.url).await;
    socket.send(json!({ "type": "connection_init", "payload": { "authorization": bearer } })).await;
    assert_eq!(socket.closed().await, 4403);

    agency.changes(&agency.staff, json!({ "active": true })).await;
    assert_eq!(agency.staff.sees(VIEWER).await["viewer"]["user"]["id"], json!(agency.staff.id));
}

// ── pages of strangers ──

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_stranger_opens_no_socket_and_one_of_ours_does() {
    let stage = Stage::new().await;
    let own = stage.url.origin().ascii_serialization();
    let address = stage.url.join("/graphql").unwrap().as_str().replacen("http", "ws", 1);
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://APP.example/",
        "",
    ] {
        assert_eq!(handshake(&address, Some(origin)).await, 403, "{origin}");
    }
    for origin in ["https://app.example", &own] {
        assert_eq!(handshake(&address, Some(origin)).await, 101, "{origin}");
    }
    assert_eq!(handshake(&address, None).await, 101, "what is no browser says nothing");
}

// ── what these tests say and hear ──

/// Nobody is served, whichever media type is asked for.
async fn refused(stage: &Stage, headers: &[(&str, &str)]) {
    let answer = ask_with(&stage.url, headers, VIEWER).await;
    assert_eq!((answer.status, answer.code()), (401, Some("UNAUTHENTICATED")), "{headers:?}: {:#}", answer.body);
    assert!(answer.body["data"].is_null(), "{headers:?}: {:#}", answer.body);
    let told = answer.body.to_string();
    assert!(headers.iter().all(|(_, value)| value.len() < 8 || !told.contains(value)), "{told}");

    let request = http().post(stage.url.join("/graphql").unwrap()).json(&json!({ "query": VIEWER }));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let plain: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(plain["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{headers:?}: {plain:#}");
    assert!(plain["data"].is_null(), "{headers:?}: {plain:#}");
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A JWT of these parts, signed with HMAC-SHA256 whatever its header says.
fn signed(header: &Value, claims: &Value, key: &[u8]) -> String {
    let text = unsigned(header, claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// The status that a websocket's opening is answered with.
async fn handshake(address: &str, origin: Option<&str>) -> u16 {
    let mut request = address.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(SocketError::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// The binary, serving, with everything logged.
struct Process {
    child: std::process::Child,
    folder: tempfile::TempDir,
    url: Url,
}

impl Process {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let variables = [
            ("PATCHBAY_LISTEN", "127.0.0.1:0"),
            ("PATCHBAY_ENCRYPTION_KEYS", KEYS),
            ("PATCHBAY_JWT_SECRET", JWT_SECRET),
            ("PATCHBAY_LOG", "trace"),
        ];
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_patchbay"))
            .current_dir(folder.path())
            .env_clear()
            .envs(variables)
            .stderr(log)
            .spawn()
            .unwrap();
        let url =
            tokio::time::timeout(Duration::from_secs(60), address(folder.path())).await.expect("it does not listen");
        Self { child, folder, url }
    }

    /// Ends it: what it logged.
    fn stop(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// The address that a process logs once it listens.
async fn address(folder: &std::path::Path) -> Url {
    loop {
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        if let Some(rest) = log.split_once("listening at ").map(|(_, rest)| rest)
            && let Some((address, _)) = rest.split_once(char::is_whitespace)
        {
            return address.parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
