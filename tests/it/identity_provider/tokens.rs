//! Which tokens are believed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use patchbay::clock::Clock;
use serde_json::{Value, json};

use super::{AUDIENCE, House, ISSUER, Key, VIEWER, but, claims, greeted, refuses, viewer};
use crate::harness::{JWT_SECRET, Person, Setup, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_asymmetric_algorithm_is_believed() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let house = House::new().await;
    let algorithms = [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA];
    let keys: Vec<Key> = algorithms.iter().map(|algorithm| Key::new(&format!("{algorithm:?}"), *algorithm)).collect();
    house.issuer.has(&keys.iter().collect::<Vec<_>>());
    super::a_moment(&house.stage);
    for key in &keys {
        house.accepts(&key.signs(&house.mara()), &house.stage.admin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_believed_in_every_form_that_providers_use() {
    let house = House::new().await;
    let (good, key, admin) = (house.mara(), &house.key, &house.stage.admin);
    let now = house.stage.clock.now().timestamp();
    for (claim, value) in [
        ("aud", json!([AUDIENCE])),
        ("aud", json!(["another", AUDIENCE])),
        ("aud", json!("patchbay-cli")),
        ("exp", json!(now as f64 + 600.5)),
        ("exp", json!(now - 5)),
        ("nbf", json!(now + 5)),
        ("nbf", json!(now - 5)),
        ("email", json!("MARA@Lighthouse.example")),
        ("email_verified", json!("true")),
    ] {
        house.accepts(&key.signs(&but(&good, claim, value)), admin).await;
    }
    for kind in [None, Some("JWT"), Some("at+jwt"), Some("application/at+JWT")] {
        house.accepts(&key.signs_with(&good, |header| header.typ = kind.map(str::to_owned)), admin).await;
    }
    house.accepts(&key.signs_with(&good, |header| header.kid = None), admin).await;
    let mut socket = Person::new(&house.stage.url, &admin.id, key.signs(&good)).socket().await;
    socket.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(socket.event().await["viewer"]["user"]["id"], json!(admin.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_it_the_answer_is_the_same() {
    let house = House::new().await;
    let good = house.mara();
    house.accepts(&house.key.signs(&good), &house.stage.admin).await;
    let now = house.stage.clock.now().timestamp();
    for (claim, value) in [
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("exp", json!(now - 31)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!(i64::MAX)),
        ("nbf", json!(now + 300)),
        ("nbf", json!("later")),
        ("iss", Value::Null),
        ("iss", json!("https://id.lighthouse.example")),
        ("iss", json!("https://evil.example/")),
        ("iss", json!([ISSUER])),
        ("aud", Value::Null),
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", json!(["another"])),
        ("aud", json!(7)),
        ("aud", json!("patchbay-cli, patchbay")),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("s\u{0}")),
        ("sub", json!("s".repeat(256))),
    ] {
        let forged = house.key.signs(&but(&good, claim, value.clone()));
        house.refuses(&forged, &format!("{claim}: {value}")).await;
    }
    for kind in ["logout+jwt", "dpop+jwt", "secevent+jwt"] {
        house.refuses(&house.key.signs_with(&good, |header| header.typ = Some(kind.to_owned())), kind).await;
    }
    let critical = house.key.signs_with(&good, |header| header.crit = Some(vec!["b64".to_owned()]));
    house.refuses(&critical, "a critical header").await;
    let token = house.key.signs(&good);
    for garbage in [&token[..token.len() - 4], &format!("{token}x"), "a.b.c", "..", "x"] {
        house.refuses(garbage, "garbage").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_signature_but_one_of_its_own_keys_is_believed() {
    let rsa = Key::new("rsa", Algorithm::RS256);
    let bare = Key::new("bare", Algorithm::RS256).with("alg", Value::Null);
    let encrypts = Key::new("encrypts", Algorithm::RS256).with("use", json!("enc"));
    let signs_only = Key::new("signs", Algorithm::ES256).with("key_ops", json!(["sign"]));
    let house = House::new().await;
    let secret = URL_SAFE_NO_PAD.encode(JWT_SECRET);
    let keys = [&rsa, &bare, &encrypts, &signs_only, &house.key].map(|key| key.public.clone());
    let mut all = keys.to_vec();
    all.push(json!({ "kty": "oct", "kid": "oct", "k": secret }));
    all.extend([
        json!({ "kty": "new", "kid": "new" }),
        json!(7),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "", "y": "" }),
    ]);
    house.issuer.says(&json!({ "keys": all }).to_string());
    super::a_moment(&house.stage);
    let good = house.mara();
    house.accepts(&rsa.signs(&good), &house.stage.admin).await;
    house.accepts(&bare.signs(&good), &house.stage.admin).await;

    let modulus = rsa.public["n"].as_str().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(modulus).unwrap();
    let document = rsa.public.to_string();
    let secrets: [&[u8]; 5] = [modulus.as_bytes(), &bytes, document.as_bytes(), b"", JWT_SECRET.as_bytes()];
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        for secret in secrets {
            for id in ["rsa", "oct", "k-1"] {
                let mut header = Header::new(algorithm);
                header.kid = Some(id.to_owned());
                let forged = jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret)).unwrap();
                house.refuses(&forged, "an HMAC under a public key").await;
            }
        }
    }
    for algorithm in ["none", "None", "HS256", "RS256", "ES256", "ES512", ""] {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!("{}.{}.", part(&json!({ "alg": algorithm, "kid": "rsa" })), part(&good));
        house.refuses(&unsigned, algorithm).await;
    }
    let stranger = Key::new("k-1", Algorithm::ES256);
    house.refuses(&stranger.signs(&good), "somebody else's key under a known name").await;
    house.refuses(&stranger.signs_with(&good, |header| header.kid = None), "somebody else's key without a name").await;
    let own = serde_json::from_value(stranger.public.clone()).unwrap();
    house.refuses(&stranger.signs_with(&good, |header| header.jwk = Some(own)), "a key that it brings along").await;
    house.refuses(&encrypts.signs(&good), "a key for encryption").await;
    house.refuses(&signs_only.signs(&good), "a key that verifies nothing").await;
    let as_rsa = house.key.signs_with(&good, |header| header.kid = Some("rsa".to_owned()));
    house.refuses(&as_rsa, "a key of another type").await;
    house.refuses(&rsa.clone().by(Algorithm::PS256).signs(&good), "an algorithm that the key is not for").await;
    house.accepts(&bare.by(Algorithm::PS256).signs(&good), &house.stage.admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_tokens_go_on_to_work_beside_it_and_not_in_its_place() {
    let house = House::new().await;
    house.accepts(&house.stage.admin.token, &house.stage.admin).await;

    let mut settings = house.issuer.settings();
    settings.push(("PATCHBAY_JWT_SECRET".to_owned(), String::new()));
    let alone = Stage::with(Setup { settings, ..Setup::default() }).await;
    refuses(&alone, &alone.admin.token, "nothing signs or verifies our own tokens").await;
    let mara = house.key.signs(&claims(&alone, "s-mara", "mara@lighthouse.example"));
    assert_eq!(viewer(&alone, &mara).await.body["data"]["viewer"]["user"]["id"], json!(alone.admin.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_ends_when_the_token_does() {
    let house = House::new().await;
    let now = house.stage.clock.now().timestamp();
    // It is good for half a minute more than it says, which is all but over.
    let token = house.key.signs(&but(&house.mara(), "exp", json!(now - 28)));
    let mut socket = Person::new(&house.stage.url, &house.stage.admin.id, token.clone()).socket().await;
    assert_eq!(socket.closed().await, 4403);
    house.stage.later(TimeDelta::seconds(3));
    assert_eq!(greeted(&house.stage, json!({ "authorization": format!("Bearer {token}") })).await, 4403);
}
