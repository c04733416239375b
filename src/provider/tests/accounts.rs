//! Lists of accounts that come in pages.

use super::*;

fn listing(accounts: &str) -> String {
    format!("[accounts]\nlist = \"/list\"\nid = \"/id\"\n{accounts}")
}

fn ids(accounts: &[Account]) -> Vec<&str> {
    accounts.iter().map(|account| account.id.as_str()).collect()
}

fn members(ids: impl IntoIterator<Item = u32>) -> Vec<Value> {
    ids.into_iter().map(|id| json!({"id": id})).collect()
}

async fn accounts(stage: &Stage, listing: &str) -> Result<Vec<Account>, Failure> {
    with_client(stage).accounts(&connector(stage, OAUTH, listing), &credential(&json!({}))).await
}

#[tokio::test]
async fn a_token_goes_into_the_query_and_the_rest_of_it_stays_as_it_is_written() {
    let stage = Stage::new(|seen| match seen.uri.query().unwrap() {
        "q=(status:(values:List(ACTIVE)))&size=2" => json_answer(json!({"list": members(1..3), "next": "a&b=c"})),
        "q=(status:(values:List(ACTIVE)))&size=2&token=a%26b%3Dc" => json_answer(json!({"list": members([2, 3])})),
        other => panic!("{other}"),
    })
    .await;
    let listing = listing(
        "url = \"BASE/accounts?q=(status:(values:List(ACTIVE)))&size=2\"\n\
         [accounts.next]\ntoken = \"/next\"\nquery = \"token\"",
    );
    assert_eq!(ids(&accounts(&stage, &listing).await.unwrap()), ["1", "2", "3"], "each once");
    assert_eq!(stage.seen()[1].header("authorization"), "Bearer old-access");
}

#[tokio::test]
async fn a_token_or_a_number_goes_into_a_json_body() {
    let stage = Stage::new(|seen| {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(body["query"], "all");
        match body["token"].as_str() {
            None => json_answer(json!({"list": members([1]), "next": "t"})),
            Some("t") => json_answer(json!({"list": members([2]), "next": null})),
            Some(other) => panic!("{other}"),
        }
    })
    .await;
    let request = "url = \"BASE/accounts\"\nmethod = \"POST\"\n";
    let by_token = listing(&format!(
        "{request}body = '{{\"query\": \"all\"}}'\n[accounts.next]\ntoken = \"/next\"\nbody = \"/token\""
    ));
    assert_eq!(ids(&accounts(&stage, &by_token).await.unwrap()), ["1", "2"]);

    let stage = Stage::new(|seen| {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        let first = body["page"]["index"].as_u64().unwrap() as u32 * 2;
        json_answer(json!({"list": members(first..(first + 2).min(5))}))
    })
    .await;
    let by_number = listing(&format!(
        "{request}body = '{{\"page\": {{\"index\": 0}}}}'\n\
         [accounts.next]\nnumber = \"pages\"\nbody = \"/page/index\"\nsize = 2"
    ));
    assert_eq!(ids(&accounts(&stage, &by_number).await.unwrap()), ["0", "1", "2", "3", "4"]);
    assert_eq!(stage.seen().len(), 3);
}

#[tokio::test]
async fn an_offset_counts_the_members_even_those_without_an_id() {
    let stage = Stage::new(|seen| match seen.uri.query().unwrap() {
        "offset=0&limit=2" => json_answer(json!({"list": [{"id": 1}, {}]})),
        "limit=2&offset=2" => json_answer(json!({"list": [{"id": 2}]})),
        other => panic!("{other}"),
    })
    .await;
    let listing = listing(
        "url = \"BASE/accounts?offset=0&limit=2\"\n\
         [accounts.next]\nnumber = \"members\"\nquery = \"offset\"\nsize = 2",
    );
    assert_eq!(ids(&accounts(&stage, &listing).await.unwrap()), ["1", "2"]);
}

const BY_ADDRESS: &str = "url = \"BASE/accounts\"\n[accounts.next]\naddress = \"/next\"";

#[tokio::test]
async fn an_address_leads_on_whole_or_relative() {
    let stage = Stage::new(|seen| match seen.uri.to_string().as_str() {
        "/accounts" => {
            let own = format!("http://{}/accounts?page=2", seen.header("host"));
            json_answer(json!({"list": members([1]), "next": own}))
        }
        "/accounts?page=2" => json_answer(json!({"list": [], "next": "/more/accounts"})),
        "/more/accounts" => json_answer(json!({"list": members([3])})),
        other => panic!("{other}"),
    })
    .await;
    assert_eq!(ids(&accounts(&stage, &listing(BY_ADDRESS)).await.unwrap()), ["1", "3"]);
}

#[tokio::test]
async fn an_address_elsewhere_is_not_asked() {
    for elsewhere in ["https://evil.example/accounts", "//evil.example/accounts", "http://127.0.0.1:1/accounts"] {
        let stage = Stage::new(move |_| json_answer(json!({"list": members([1]), "next": elsewhere}))).await;
        let refused = accounts(&stage, &listing(BY_ADDRESS)).await;
        assert!(matches!(refused, Err(Failure::Transient { .. })), "{elsewhere}");
        assert_eq!(stage.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_cut() {
    let stage = Stage::new(|_| json_answer(json!({"list": members([1]), "next": "/accounts"}))).await;
    assert_eq!(ids(&accounts(&stage, &listing(BY_ADDRESS)).await.unwrap()), ["1"]);
    assert_eq!(stage.seen().len(), 1, "a page that leads to itself is the last");

    let stage = Stage::new(|seen| {
        let page: u32 = seen.uri.query().map_or(0, |query| query.trim_start_matches("page=").parse().unwrap());
        json_answer(json!({"list": members([page]), "next": format!("/accounts?page={}", page + 1)}))
    })
    .await;
    assert_eq!(accounts(&stage, &listing(BY_ADDRESS)).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_page_that_fails_fails_the_list() {
    let stage = Stage::new(|seen| match seen.uri.query() {
        None => json_answer(json!({"list": members([1]), "next": "/accounts?page=2"})),
        Some(_) => axum::http::StatusCode::BAD_GATEWAY.into_response(),
    })
    .await;
    assert!(matches!(accounts(&stage, &listing(BY_ADDRESS)).await, Err(Failure::Transient { .. })));
}
