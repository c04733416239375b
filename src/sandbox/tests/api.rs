//! The API: accounts, reports, keys, and the connector files that describe it.

use super::*;

#[tokio::test]
async fn each_person_has_accounts_and_one_is_shared() {
    let setup = Setup::new();
    let mut lists = Vec::new();
    for person in ["ada", "ben"] {
        let (token, _) = setup.connect(person).await;
        let accounts = setup.call("/accounts", &token).await.json()["accounts"].clone();
        lists.push(accounts.as_array().unwrap().iter().map(|account| account["id"].to_string()).collect::<Vec<_>>());
    }
    assert_eq!((lists[0].len(), lists[1].len()), (3, 2));
    assert_eq!(lists[0].iter().filter(|id| lists[1].contains(id)).count(), 1);
}

#[tokio::test]
async fn a_withdrawn_account_is_forbidden_until_it_is_given_back() {
    let setup = Setup::new();
    let (token, _) = setup.connect("ada").await;
    assert_eq!(setup.call("/accounts/100-301", &token).await.text("name"), "Lindqvist Lamps");
    assert!(setup.sandbox.withdraw("100-301"));
    for path in ["/accounts/100-301", "/accounts/100-301/report"] {
        assert_eq!(setup.call(path, &token).await.error(), (403, "access_withdrawn".to_owned()));
    }
    assert!(!setup.call("/accounts", &token).await.body.contains("100-301"));
    assert_eq!(setup.call("/accounts/100-302/report", &token).await.status, StatusCode::OK);
    setup.sandbox.give_back("100-301");
    assert_eq!(setup.call("/accounts/100-301/report", &token).await.status, StatusCode::OK);
    assert!(!setup.sandbox.withdraw("no-such-account"));
}

#[tokio::test]
async fn accounts_of_others_and_of_nobody_are_refused() {
    let setup = Setup::new();
    let (token, _) = setup.connect("ben").await;
    assert_eq!(setup.call("/accounts/100-301", &token).await.status, StatusCode::FORBIDDEN);
    assert_eq!(setup.call("/accounts/1", &token).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_report_has_the_columns_that_were_allowed_and_stays_the_same() {
    let setup = Setup::new();
    let (token, _) = setup.connect("ada").await;
    let report = setup.call("/accounts/100-303/report", &token).await;
    let rows = report.json()["rows"].as_array().unwrap().clone();
    assert_eq!((rows.len(), &rows[27]["date"]), (28, &"2026-11-22".into()));
    assert!(rows.iter().all(|row| (40..400).contains(&row["clicks"].as_u64().unwrap()) && row["spend"].is_u64()));
    assert_eq!(setup.call("/accounts/100-303/report", &token).await.body, report.body);

    let callback = setup.sandbox.approve_only(&ads(), "ada", &["profile", "ads.read"]).unwrap();
    let token = setup.redeem(&callback).await.text("access_token");
    assert!(!setup.call("/accounts/100-303/report", &token).await.body.contains("spend"));
}

#[tokio::test]
async fn scopes_open_their_own_product_only() {
    let setup = Setup::new();
    let answer = setup.redeem(&setup.sandbox.approve(&analytics(), "ada").unwrap()).await;
    let token = answer.text("access_token");
    assert_eq!(setup.call(&format!("/regions/{}/visits", answer.text("region")), &token).await.status, StatusCode::OK);
    assert_eq!(setup.call("/regions/south/visits", &token).await.status, StatusCode::NOT_FOUND);
    let refused = setup.call("/accounts", &token).await;
    assert_eq!(refused.error(), (403, "insufficient_scope".to_owned()));
}

#[tokio::test]
async fn a_call_without_a_bearer_token_is_unauthorized() {
    let setup = Setup::new();
    for headers in [&[][..], &[("authorization", "Bearer")], &[("authorization", "Basic eA=="), ("x-api-key", "x")]] {
        for path in ["/userinfo", "/accounts", "/accounts/100-301", "/shops/a/identity", "/keyed/me"] {
            assert_eq!(setup.get(path, headers).await.status, StatusCode::UNAUTHORIZED, "{path}");
        }
    }
}

#[tokio::test]
async fn a_key_opens_until_it_is_changed() {
    let setup = Setup::new();
    let keys = setup.sandbox.keys();
    let with = async |path: &str, key: &str| setup.get(path, &[("x-api-key", key)]).await;
    for key in &keys {
        let me = with("/keyed/me", &key.value).await;
        assert_eq!((me.text("id"), me.text("name")), (key.id.to_owned(), key.name.to_owned()));
    }
    let new = setup.sandbox.change_key(keys[0].id).unwrap();
    assert_eq!(with("/keyed/me", &keys[0].value).await.error(), (401, "invalid_key".to_owned()));
    assert_eq!(with("/keyed/me", &new.value).await.text("id"), keys[0].id);
    assert_eq!(with("/keyed/invoices", &new.value).await.json()["rows"].as_array().unwrap().len(), 28);
    assert_eq!(with("/keyed/me", &keys[1].value).await.status, StatusCode::OK);

    let newer = setup.sandbox.change_key(&new.value).unwrap();
    assert_eq!((newer.id, newer.value == new.value), (new.id, false));
    assert!(setup.sandbox.change_key("no such key").is_none());
}

/// What design and catalogue ask of every file; that they load is tested where the catalogue is.
#[test]
fn connector_files_are_whole_and_point_here() {
    let files = Setup::new().sandbox.connector_files();
    for (file, text) in &files {
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(*file, format!("{}.toml", table["slug"].as_str().unwrap()));
        for key in ["name", "category", "mode", "requirements", "auth", "identity"] {
            assert!(table.contains_key(key), "{file}: {key}");
        }
        assert!(!text.contains("@BASE@") && text.contains(BASE), "{file}");
    }
    assert_eq!(files.len(), 4);
}

/// Every address in the files is answered by the router: by anything but 404 and 405.
#[tokio::test]
async fn connector_files_name_endpoints_that_are_there() {
    let setup = Setup::new();
    for (file, text) in setup.sandbox.connector_files() {
        let filled = text.replace("{field.shop}", "north-lights").replace("{account.id}", "100-301");
        for line in filled.lines().filter(|line| line.contains("url = ") && !line.starts_with("base_url")) {
            let path = line.split('"').nth(1).unwrap().strip_prefix(BASE).unwrap();
            let post = line.starts_with("token_url") || line.starts_with("revoke_url");
            let reply = if post { setup.post(path, &[], &[]).await } else { setup.get(path, &[]).await };
            let known = ![StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&reply.status);
            assert!(known, "{file}: {line}: {}", reply.status);
        }
    }
}
