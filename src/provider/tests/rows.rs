//! Rows of APIs: pages, limits, digits, and what is said when there are none.

use std::time::Duration;

use axum::{
    body::Body,
    http::{StatusCode, header},
};

use super::*;

const LIMITS: RowLimits = RowLimits { pages: 100, rows: 1_000, bytes: 1 << 20, time: Duration::from_secs(30) };

fn api(more: &str) -> String {
    format!("[api]\nbase_url = \"BASE/v1\"\n{more}")
}

fn query(path: &str, parameters: Value, rows: &str) -> HttpQuery {
    let Value::Object(parameters) = parameters else { panic!("{parameters}") };
    HttpQuery { path: path.to_owned(), parameters, rows: rows.to_owned() }
}

fn items() -> HttpQuery {
    query("items", json!({}), "/items")
}

/// What a dataset of that API reads at the stage.
async fn read_within(stage: &Stage, api: &str, query: &HttpQuery, limits: &RowLimits) -> Result<Rows, NoRows> {
    let connector = connector(stage, OAUTH, api);
    let (query, credential) = (Query::Http(query.clone()), credential(&json!({})));
    with_client(stage).read(&connector, &credential, None, &query, limits, Haste::AtOnce).await
}

async fn read(stage: &Stage, api: &str, query: &HttpQuery) -> Result<Rows, NoRows> {
    read_within(stage, api, query, &LIMITS).await
}

/// The rows as their text.
fn texts(rows: &Rows) -> Vec<&str> {
    rows.rows.iter().map(|row| row.get()).collect()
}

fn ids(rows: &Rows) -> Vec<u64> {
    texts(rows).iter().map(|row| serde_json::from_str::<Value>(row).unwrap()["id"].as_u64().unwrap()).collect()
}

fn numbered(from: u64, to: u64) -> Vec<Value> {
    (from..to).map(|id| json!({"id": id})).collect()
}

fn of_query(why: Result<Rows, NoRows>) -> String {
    match why {
        Err(NoRows::Query(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn too_much(why: Result<Rows, NoRows>) -> String {
    match why {
        Err(NoRows::TooMuch(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn failure(why: Result<Rows, NoRows>) -> Failure {
    match why {
        Err(NoRows::Failure(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn text_answer(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}

#[tokio::test]
async fn every_digit_and_the_order_of_columns_are_kept() {
    let stage = Stage::new(|_| {
        text_answer(
            r#"{"a/b": [{"rows": [
                {"z": 12345678901234567890.123456789, "a": {"b": 1e999, "c": [1, {"d": 2}]}},
                7.10,
                {"n": -0.0, "z": null}
            ]}]}"#,
        )
    })
    .await;
    let rows = read(&stage, &api(""), &query("items", json!({}), "/a~1b/0/rows")).await.unwrap();
    assert_eq!(
        texts(&rows),
        [
            r#"{"z": 12345678901234567890.123456789, "a": {"b": 1e999, "c": [1, {"d": 2}]}}"#,
            r#"{"value":7.10}"#,
            r#"{"n": -0.0, "z": null}"#,
        ]
    );
    assert_eq!(rows.columns, ["z", "a.b", "a.c", "value", "n"]);
}

#[tokio::test]
async fn a_request_has_the_parameters_the_credential_and_the_headers_of_the_api() {
    let stage = Stage::new(|_| json_answer(json!([]))).await;
    let api = ACCOUNTS.replace("{config.DEVELOPER_TOKEN}", "{account.id}");
    let query = Query::Http(query("/a/{account.id}/b", json!({"fields": "x,y", "ids": [1, 2]}), ""));
    let (connector, credential) = (connector(&stage, OAUTH, &api), credential(&json!({})));
    let read = |account| {
        let (provider, connector, credential, query) = (with_client(&stage), &connector, &credential, &query);
        async move { provider.read(connector, credential, account, query, &LIMITS, Haste::InTurn(uuid::Uuid::nil())).await }
    };
    assert_eq!(read(Some("7/8")).await.unwrap().rows.len(), 0);
    let seen = &stage.seen()[0];
    assert_eq!(seen.uri.to_string(), "/v1/a/7%2F8/b?fields=x,y&ids=1&ids=2");
    assert_eq!(seen.header("authorization"), "Bearer old-access");
    assert_eq!(seen.header("developer-token"), "7/8");
    assert!(of_query(read(None).await).contains("this connection has none"));
    assert!(of_query(read(Some("..")).await).contains("account's id"));
    assert_eq!(stage.seen().len(), 1);
}

#[tokio::test]
async fn a_parameter_cannot_take_the_place_of_the_credential() {
    let stage = Stage::new(|_| json_answer(json!([]))).await;
    let connector = connector(&stage, "method = \"api_key\"\nplacement = \"query:key\"", &api(""));
    let credential =
        Credential { fields: BTreeMap::from([("api_key".to_owned(), "own".to_owned())]), ..Credential::default() };
    let query = Query::Http(query("items", json!({"key": "other", "a": 1}), ""));
    provider(&stage, &[]).read(&connector, &credential, None, &query, &LIMITS, Haste::AtOnce).await.unwrap();
    assert_eq!(stage.seen()[0].uri.query(), Some("a=1&key=own"));
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_asked() {
    let stage = Stage::new(|_| json_answer(json!([]))).await;
    for bad in [
        query("../me", json!({}), ""),
        query("items", json!({"a": {"b": 1}}), ""),
        query("items", json!({}), "items"),
        query("items/{account.id}", json!({}), ""),
    ] {
        of_query(read(&stage, &api(""), &bad).await);
    }
    of_query(read(&stage, "", &items()).await);
    assert!(stage.seen().is_empty());
}

#[tokio::test]
async fn pages_are_linked_by_a_header() {
    let stage = Stage::new(|seen| match seen.uri.to_string().as_str() {
        "/v1/items?limit=2" => {
            let next =
                [(header::LINK, "<http://HOST/v1/items?page=b>; rel=\"next\"".replace("HOST", seen.header("host")))];
            (next, axum::Json(json!({"items": numbered(0, 2)}))).into_response()
        }
        "/v1/items?page=b" => {
            ([(header::LINK, "</v1/items?page=c>; rel=next")], axum::Json(json!({"items": []}))).into_response()
        }
        "/v1/items?page=c" => {
            ([(header::LINK, "</v1/items?page=b>; rel=prev")], axum::Json(json!({"items": numbered(2, 3)})))
                .into_response()
        }
        other => panic!("{other}"),
    })
    .await;
    let api = api("pagination = { link = true }");
    let rows = read(&stage, &api, &query("items", json!({"limit": 2}), "/items")).await.unwrap();
    assert_eq!(ids(&rows), [0, 1, 2], "an empty page goes on");
    assert!(stage.seen().iter().all(|seen| seen.header("authorization") == "Bearer old-access"));
}

#[tokio::test]
async fn pages_are_led_to_by_a_token_in_the_answer_or_in_its_last_row() {
    let stage = Stage::new(|seen| match seen.uri.query() {
        Some("after=mine&q=x") => {
            json_answer(json!({"items": numbered(0, 2), "paging": {"next": "a&b"}, "more": true}))
        }
        Some("q=x&after=a%26b") => {
            json_answer(json!({"items": numbered(2, 3), "paging": {"next": "c"}, "more": false}))
        }
        Some("q=x&after=1") => json_answer(json!({"items": numbered(2, 4), "more": false})),
        other => panic!("{other:?}"),
    })
    .await;
    let asked = query("items", json!({"q": "x", "after": "mine"}), "/items");
    let token = api("pagination = { token = \"/paging/next\", more = \"/more\", query = \"after\" }");
    assert_eq!(ids(&read(&stage, &token, &asked).await.unwrap()), [0, 1, 2], "pagination goes before parameters");
    let last = api("pagination = { last = \"/id\", more = \"/more\", query = \"after\" }");
    assert_eq!(ids(&read(&stage, &last, &asked).await.unwrap()), [0, 1, 2, 3]);
}

#[tokio::test]
async fn pages_are_numbered_from_the_first_number_of_the_file_or_of_the_query() {
    let stage = Stage::new(|seen| {
        let pairs: BTreeMap<String, u64> = url::form_urlencoded::parse(seen.uri.query().unwrap().as_bytes())
            .map(|(name, value)| (name.into_owned(), value.parse().unwrap()))
            .collect();
        let (from, size) = ((pairs["page"] - 1) * pairs["per_page"], pairs["per_page"]);
        json_answer(json!({"items": numbered(from.min(7), (from + size).min(7))}))
    })
    .await;
    let api =
        api("pagination = { number = \"pages\", query = \"page\", first = 1, size = 3, size_query = \"per_page\" }");
    assert_eq!(ids(&read(&stage, &api, &items()).await.unwrap()), (0..7).collect::<Vec<_>>());
    assert_eq!(stage.seen().len(), 3);
    let own = query("items", json!({"page": 2, "per_page": 2}), "/items");
    assert_eq!(ids(&read(&stage, &api, &own).await.unwrap()), (2..7).collect::<Vec<_>>());
    assert_eq!(stage.seen().len(), 6);
}

#[tokio::test]
async fn parameters_of_a_post_are_its_body_and_so_is_what_leads_on() {
    let stage = Stage::new(|seen| {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!((seen.header("content-type"), seen.uri.query()), ("application/json", None));
        assert_eq!(body["metrics"], json!([{"name": "sessions"}]));
        assert_eq!(body["limit"], 2);
        match body["offset"].as_u64() {
            Some(offset @ (0 | 2)) => json_answer(json!({"rows": numbered(offset, offset + 2)})),
            Some(4) => json_answer(json!({"rowCount": 4})),
            other => panic!("{other:?}"),
        }
    })
    .await;
    let api = api("method = \"POST\"\npaths = \".*\"\nomits_empty_lists = true\n\
         pagination = { number = \"members\", body = \"/offset\", first = 0, size = 2, size_body = \"/limit\" }");
    let report = query("report", json!({"metrics": [{"name": "sessions"}]}), "/rows");
    assert_eq!(ids(&read(&stage, &api, &report).await.unwrap()), [0, 1, 2, 3]);
}

#[tokio::test]
async fn an_address_in_the_answer_leads_on_and_one_that_leads_to_itself_ends_the_list() {
    let stage = Stage::new(|seen| match seen.uri.to_string().as_str() {
        "/v1/items" => json_answer(json!({"items": numbered(0, 1), "next": "/v1/query/2"})),
        "/v1/query/2" => json_answer(json!({"items": numbered(1, 2), "next": "/v1/query/2"})),
        other => panic!("{other}"),
    })
    .await;
    let api = api("pagination = { address = \"/next\" }");
    assert_eq!(ids(&read(&stage, &api, &items()).await.unwrap()), [0, 1]);
}

#[tokio::test]
async fn a_next_page_elsewhere_is_not_asked() {
    let other = Stage::new(|_| json_answer(json!({"items": []}))).await;
    for next in ["https://evil.example/items".to_owned(), "//evil.example/items".to_owned(), other.url("/v1/items")] {
        let stage = Stage::new(move |_| json_answer(json!({"items": numbered(0, 1), "next": next}))).await;
        let why = of_query(read(&stage, &api("pagination = { address = \"/next\" }"), &items()).await);
        assert!(why.contains("goes on at another address") && !why.contains("evil"), "{why}");
        assert_eq!(stage.seen().len(), 1);
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn there_are_no_more_pages_rows_and_bytes_than_the_limits_say() {
    let stage = Stage::new(|seen| {
        let page: u64 = seen.uri.query().map_or(0, |query| query.trim_start_matches("page=").parse().unwrap());
        let next = (page < 4).then(|| format!("/v1/items?page={}", page + 1));
        json_answer(json!({"items": numbered(page * 2, page * 2 + 2), "next": next}))
    })
    .await;
    let api = api("pagination = { address = \"/next\" }");
    let within = |limits: RowLimits| {
        let (stage, api) = (&stage, &api);
        async move { read_within(stage, api, &items(), &limits).await }
    };
    assert_eq!(within(RowLimits { pages: 5, rows: 10, ..LIMITS }).await.unwrap().rows.len(), 10, "just as much");
    assert!(too_much(within(RowLimits { pages: 4, ..LIMITS }).await).contains("more than 4 pages"));
    assert!(too_much(within(RowLimits { rows: 9, ..LIMITS }).await).contains("more than 9 rows"));
    let asked = stage.seen().len();
    assert!(too_much(within(RowLimits { rows: 1, ..LIMITS }).await).contains("more than 1 rows"));
    assert_eq!(stage.seen().len(), asked + 1, "the first page is too much already");
    assert!(too_much(within(RowLimits { bytes: 100, ..LIMITS }).await).contains("larger than 100 bytes"));
}

#[tokio::test]
async fn an_answer_of_33_mib_is_cut_and_one_of_31_is_read() {
    let stage = Stage::new(|seen| {
        let mib = if seen.uri.path().ends_with("33") { 33 } else { 31 };
        let chunk = format!("\"{}\",", "x".repeat((1 << 20) - 3));
        let chunks = std::iter::once("[".to_owned()).chain(std::iter::repeat_n(chunk, mib)).chain(["1]".to_owned()]);
        Body::from_stream(futures_util::stream::iter(chunks.map(Ok::<_, std::io::Error>))).into_response()
    })
    .await;
    let limits = RowLimits { bytes: 32 << 20, ..LIMITS };
    let rows = read_within(&stage, &api(""), &query("31", json!({}), ""), &limits).await.unwrap();
    assert_eq!((rows.rows.len(), rows.columns), (32, vec!["value".to_owned()]));
    let why = too_much(read_within(&stage, &api(""), &query("33", json!({}), ""), &limits).await);
    assert!(why.contains("larger than 32 MiB"), "{why}");
}

#[tokio::test]
async fn reading_takes_no_longer_than_the_limit_says() {
    let stage = Stage::new(|_| {
        Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>()).into_response()
    })
    .await;
    let limits = RowLimits { time: Duration::from_millis(50), ..LIMITS };
    let why = too_much(read_within(&stage, &api(""), &items(), &limits).await);
    assert!(why.contains("longer than 50ms"), "{why}");
}

#[tokio::test]
async fn what_is_where_the_rows_should_be_is_a_list_an_object_or_nothing() {
    let stage = Stage::new(|seen| match seen.uri.path() {
        "/v1/none" => StatusCode::NO_CONTENT.into_response(),
        _ => json_answer(json!({"one": {"id": 7}, "text": "x", "null": null, "empty": []})),
    })
    .await;
    let asked = |path: &str, at: &str| query(path, json!({}), at);
    assert_eq!(ids(&read(&stage, &api(""), &asked("some", "/one")).await.unwrap()), [7], "an object is one row");
    assert_eq!(read(&stage, &api(""), &asked("some", "/empty")).await.unwrap().rows.len(), 0);
    assert_eq!(read(&stage, &api(""), &asked("none", "/items")).await.unwrap().rows.len(), 0);
    let leaves_out = api("omits_empty_lists = true");
    for at in ["/missing", "/null", "/empty/0", "/text/x"] {
        let why = of_query(read(&stage, &api(""), &asked("some", at)).await);
        assert_eq!(why, "The answer has no list of rows at rowsPointer.", "{at}");
        assert_eq!(read(&stage, &leaves_out, &asked("some", at)).await.unwrap().rows.len(), 0, "{at}");
    }
    of_query(read(&stage, &leaves_out, &asked("some", "/text")).await);
}

#[tokio::test]
async fn a_status_that_blames_the_request_is_the_querys_fault() {
    let stage = Stage::new(|seen| {
        let (_, status) = seen.uri.path().rsplit_once('/').unwrap();
        let body = if seen.uri.query().is_some() { "{\"message\": \"planted\"}" } else { "<html>planted</html>" };
        (StatusCode::from_u16(status.parse().unwrap()).unwrap(), body).into_response()
    })
    .await;
    for status in [400, 404, 405, 406, 410, 413, 414, 415, 422] {
        for parameters in [json!({}), json!({"json": true})] {
            let why = of_query(read(&stage, &api(""), &query(&status.to_string(), parameters, "")).await);
            assert!(why.contains(&format!("({status})")) && !why.contains("planted"), "{why}");
            assert_eq!(why.contains("nothing at this path"), matches!(status, 404 | 410), "{why}");
        }
    }
    for status in [402, 409, 418, 451, 500, 502, 503] {
        let why = failure(read(&stage, &api(""), &query(&status.to_string(), json!({}), "")).await);
        assert!(matches!(why, Failure::Transient { .. }), "{status}");
    }
    let refused = |status: &str| query(status, json!({"json": true}), "");
    assert_eq!(failure(read(&stage, &api(""), &refused("401")).await), Failure::Rejected(Rejection::Unauthorized));
    assert_eq!(failure(read(&stage, &api(""), &refused("403")).await), Failure::Rejected(Rejection::Forbidden));
}

#[tokio::test]
async fn what_a_body_says_goes_before_its_status_wherever_the_rows_would_be() {
    let stage = Stage::new(|seen| match seen.uri.path() {
        "/v1/meta" => {
            let error = json!({"error": {"type": "OAuthException", "code": 190, "message": "planted"}});
            (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
        }
        "/v1/busy" => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "17")], "{}").into_response(),
        _ => json_answer(json!({"ok": false, "error": "invalid_auth"})),
    })
    .await;
    for at in ["/data", "/error", "/error/code", ""] {
        let why = failure(read(&stage, &api(""), &query("meta", json!({}), at)).await);
        assert_eq!(why, Failure::Rejected(Rejection::Unauthorized), "{at}");
        let why = failure(read(&stage, &api(""), &query("slack", json!({}), at)).await);
        assert_eq!(why, Failure::Rejected(Rejection::Unauthorized), "{at}");
    }
    let why = failure(read(&stage, &api(""), &query("busy", json!({}), "")).await);
    assert!(matches!(why, Failure::Transient { retry_after: Some(wait), .. } if wait == Duration::from_secs(17)));
}

#[tokio::test]
async fn what_is_no_json_is_transient() {
    let stage = Stage::new(|seen| match seen.uri.path() {
        "/v1/html" => "<html></html>".into_response(),
        "/v1/cut" => "[{\"a\": 1}, {\"a\":".into_response(),
        "/v1/two" => "[] []".into_response(),
        _ => Body::empty().into_response(),
    })
    .await;
    for path in ["html", "cut", "two", "empty"] {
        let why = failure(read(&stage, &api(""), &query(path, json!({}), "")).await);
        assert!(matches!(why, Failure::Transient { what, .. } if what.contains("not JSON")), "{path}");
    }
}

#[tokio::test]
async fn redirects_are_followed_and_elsewhere_says_nothing_of_the_credential() {
    let other = Stage::new(|seen| match seen.uri.path() {
        "/rows" => json_answer(json!({"items": numbered(0, 1)})),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    })
    .await;
    let (rows, denied) = (other.url("/rows"), other.url("/denied"));
    let stage = Stage::new(move |seen| {
        let to = match seen.uri.path() {
            "/v1/items" => "/v2/items",
            "/v2/items" => &rows,
            _ => &denied,
        };
        (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
    })
    .await;
    let allowed = [&stage, &other].map(|stage| stage.address.to_string().parse().unwrap());
    let outbound = Outbound::new(allowed.to_vec()).unwrap();
    let provider = Provider::new(outbound, OAuthSettings::default(), Arc::new(Noon));
    let (connector, credential) = (connector(&stage, OAUTH, &api("")), credential(&json!({})));
    let read = |path: &str| {
        let (provider, connector, credential) = (&provider, &connector, &credential);
        let query = Query::Http(query(path, json!({}), "/items"));
        async move { provider.read(connector, credential, None, &query, &LIMITS, Haste::AtOnce).await }
    };
    assert_eq!(ids(&read("items").await.unwrap()), [0]);
    assert_eq!(stage.seen()[1].header("authorization"), "Bearer old-access");
    assert_eq!(other.seen()[0].header("authorization"), "");
    assert!(matches!(failure(read("denied").await), Failure::Transient { .. }));
}

#[tokio::test]
async fn a_server_that_stops_reads_nothing_that_nobody_waits_for() {
    let stage = Stage::new(|_| json_answer(json!({"items": []}))).await;
    let (provider, connector, credential) =
        (with_client(&stage), connector(&stage, OAUTH, &api("")), credential(&json!({})));
    provider.stop_turns();
    let query = Query::Http(items());
    let why = provider.read(&connector, &credential, None, &query, &LIMITS, Haste::InTurn(uuid::Uuid::nil())).await;
    assert_eq!(why.unwrap_err(), NoRows::Stopping);
    assert!(stage.seen().is_empty());
    assert!(provider.read(&connector, &credential, None, &query, &LIMITS, Haste::AtOnce).await.is_ok());
}

#[tokio::test]
async fn a_place_that_lies_too_deep_is_not_looked_for() {
    let stage = Stage::new(|_| text_answer(&format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)))).await;
    let why = of_query(read(&stage, &api(""), &query("items", json!({}), &"/0".repeat(800))).await);
    assert!(why.contains("at most 32 steps"), "{why}");
    assert!(stage.seen().is_empty());
    assert!(read(&stage, &api(""), &query("items", json!({}), &"/0".repeat(32))).await.is_ok());
}

#[tokio::test]
async fn rows_that_hold_the_credential_are_not_shown() {
    let stage = Stage::new(|seen| {
        let (_, token) = seen.header("authorization").split_once(' ').unwrap();
        let next = format!("https://graph.example/items?access_token={token}&after=x");
        json_answer(json!({"items": [{"id": 7}], "paging": {"next": next}}))
    })
    .await;
    assert_eq!(ids(&read(&stage, &api(""), &items()).await.unwrap()), [7]);
    for at in ["/paging", ""] {
        let why = of_query(read(&stage, &api(""), &query("items", json!({}), at)).await);
        assert!(why.contains("hold the credential"), "{why}");
    }
    let escaped = Stage::new(|seen| {
        let (_, token) = seen.header("authorization").split_once(' ').unwrap();
        text_answer(&format!("{{\"items\": [{{\"a\": \"\\u00{:02x}{}\"}}]}}", token.as_bytes()[0], &token[1..]))
    })
    .await;
    let why = of_query(read(&escaped, &api(""), &items()).await);
    assert!(why.contains("hold the credential"), "{why}");
}
