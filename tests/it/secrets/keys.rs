//! The server's own keys: without the right ones it does not start, and says which setting is to blame.

use std::process::Output;

use tokio::process::Command;

use super::*;
use crate::harness::{Database, Setup};

const OTHER: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// What becomes of `patchbay serve` on this database, when it has these keys and ends by itself.
async fn serve(database: &Database, keys: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
    command
        .arg("serve")
        .current_dir(database.folder())
        .env_clear()
        .env("PATCHBAY_LISTEN", "127.0.0.1:0")
        .env("PATCHBAY_DATABASE_URL", database.url())
        .env("PATCHBAY_JWT_SECRET", JWT_SECRET)
        .kill_on_drop(true);
    if let Some(keys) = keys {
        command.env("PATCHBAY_ENCRYPTION_KEYS", keys);
    }
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), command.output()).await;
    ended.expect("it started").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_key_it_does_not_start_and_names_the_setting() {
    let stage = Stage::new().await;
    keyed(&stage, 0).await;
    let (same_name, other_name) = (format!("test:{OTHER}"), format!("other:{OTHER}"));
    for keys in [
        None,
        Some(""),
        Some("test"),
        Some("test:not base64"),
        Some("test:c2hvcnQ="),
        Some(same_name.as_str()),
        Some(other_name.as_str()),
    ] {
        let output = serve(&stage.database, keys).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{keys:?}: {said}");
        assert!(said.contains("PATCHBAY_ENCRYPTION_KEYS"), "{keys:?}: {said}");
        assert!(!said.contains(OTHER) && !said.contains("c2hvcnQ=") && !said.contains("not base64"), "{said}");
        assert_eq!(output.stdout, b"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_before_the_old_one_seals_and_the_old_one_still_opens() {
    let stage = Stage::new().await;
    let old = keyed(&stage, 0).await;
    let settings = vec![("PATCHBAY_ENCRYPTION_KEYS".to_owned(), format!("new:{OTHER},{KEYS}"))];
    let again = Stage::with(Setup { settings, database: Some(stage.database.clone()), ..Setup::default() }).await;
    let new = again.admin.connects(&again.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    assert!(holds(&row(&again, &old).await.credential.unwrap(), b"test"), "sealed with the old one");
    assert!(holds(&row(&again, new["id"].as_str().unwrap()).await.credential.unwrap(), b"new"));
    again.admin.does("removeConnection", json!({ "connectionId": old }), "removedConnectionId").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_secret_does_not_keep_the_server_from_starting() {
    let stage = Stage::new().await;
    let connections = [keyed(&stage, 0).await, keyed(&stage, 1).await, keyed(&stage, 2).await];
    for damaged in [&connections[0], &connections[2]] {
        let found = row(&stage, damaged).await;
        let sealed = found.credential.clone().unwrap();
        let mut flipped = sealed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        tamper(&stage, &found, flipped).await;
        let again = Stage::with(Setup { database: Some(stage.database.clone()), ..Setup::default() }).await;
        assert_eq!(again.admin.sees("{ connections { totalCount } }").await["connections"]["totalCount"], 3);
        tamper(&stage, &found, sealed).await;
    }
}
