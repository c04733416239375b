//! Rows as pages: walked to their end, of one snapshot, whatever is refreshed meanwhile.

use patchbay::sandbox::Fault;
use serde_json::{Value, json};

use super::*;
use crate::{agency::Agency, harness::report};

/// So many rows, each with its number and a mark.
fn numbered(count: usize, mark: &str) -> Fault {
    let rows: Vec<String> = (0..count).map(|n| format!(r#"{{"n": {n}, "mark": "{mark}"}}"#)).collect();
    report(&format!("[{}]", rows.join(",")))
}

/// A page of a dataset's rows, or the code of the error.
async fn page(person: &Person, dataset: &str, first: Value, after: Value) -> Result<Value, String> {
    let query = "query($id: ID, $first: Int, $after: String) { dataset(id: $id) { rows(first: $first, after: $after) \
                 { nodes totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";
    let answer = person.tries(query, json!({ "variables": { "id": dataset, "first": first, "after": after } })).await;
    match answer.code() {
        None => Ok(answer.body["data"]["dataset"]["rows"].clone()),
        Some(code) => Err(code.to_owned()),
    }
}

/// The numbers of a page's rows.
fn numbers(page: &Value) -> Vec<u64> {
    nodes(page).iter().map(|row| row["n"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_on_one_page_in_its_order() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.reports(numbered(2_500, "a"), 1);
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    for (first, size) in [(Value::Null, 100), (json!(100), 100), (json!(97), 97)] {
        let (mut walked, mut after) = (Vec::new(), Value::Null);
        loop {
            let page = page(&stage.admin, &dataset, first.clone(), after.clone()).await.unwrap();
            let (numbers, info) = (numbers(&page), &page["pageInfo"]);
            assert_eq!((&page["totalCount"], &info["hasPreviousPage"]), (&json!(2_500), &json!(!walked.is_empty())));
            assert!(numbers.len() == size || info["hasNextPage"] == false);
            walked.extend(numbers);
            if info["hasNextPage"] == false {
                break;
            }
            after = info["endCursor"].clone();
        }
        assert_eq!(walked, (0..2_500).collect::<Vec<_>>());
    }
    let first = page(&stage.admin, &dataset, json!(1), Value::Null).await.unwrap();
    assert_eq!(first["pageInfo"]["startCursor"], first["pageInfo"]["endCursor"]);
    let none = page(&stage.admin, &dataset, json!(0), Value::Null).await.unwrap();
    assert_eq!(
        (numbers(&none).len(), &none["totalCount"], &none["pageInfo"]["hasNextPage"]),
        (0, &json!(2_500), &json!(true))
    );
    for first in [101, -1, i32::MAX] {
        assert_eq!(page(&stage.admin, &dataset, json!(first), Value::Null).await, Err("BAD_USER_INPUT".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_walks_the_pages_is_not_cut_off_by_one_refresh_but_by_two() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.reports(numbered(250, "old"), 1);
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    let first = page(&stage.admin, &dataset, json!(100), Value::Null).await.unwrap();
    let after = first["pageInfo"]["endCursor"].clone();
    stage.reports(numbered(120, "new"), 1);
    stage.admin.refreshes(&dataset).await;
    let second = page(&stage.admin, &dataset, json!(100), after.clone()).await.unwrap();
    assert_eq!(
        (numbers(&second)[0], &second["nodes"][0]["mark"], &second["totalCount"]),
        (100, &json!("old"), &json!(250))
    );
    let anew = page(&stage.admin, &dataset, json!(100), Value::Null).await.unwrap();
    assert_eq!((&anew["nodes"][0]["mark"], &anew["totalCount"]), (&json!("new"), &json!(120)));

    // A refresh that failed forgets nothing.
    stage.reports(Fault::ServerError, 1);
    stage.admin.refreshes(&dataset).await;
    assert!(page(&stage.admin, &dataset, json!(100), after.clone()).await.is_ok());
    stage.reports(numbered(10, "newest"), 1);
    stage.admin.refreshes(&dataset).await;
    assert_eq!(page(&stage.admin, &dataset, json!(100), after).await, Err("BAD_USER_INPUT".to_owned()));
    let newer = anew["pageInfo"]["endCursor"].clone();
    let rest = page(&stage.admin, &dataset, json!(100), newer).await.unwrap();
    assert_eq!((numbers(&rest).len(), &rest["nodes"][0]["mark"]), (20, &json!("new")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_good_for_the_rows_of_its_own_dataset_in_its_own_workspace() {
    let (stage, grant, dataset) = one_dataset().await;
    let other = stage.admin.makes_dataset(&grant.lamps, "report").await;
    let first = page(&stage.admin, &dataset, json!(1), Value::Null).await.unwrap();
    let cursor = first["pageInfo"]["endCursor"].clone();
    assert_eq!(page(&stage.admin, &other, json!(1), cursor.clone()).await, Err("BAD_USER_INPUT".to_owned()));
    let staff = stage.person("Stella", "STAFF", None).await;
    assert!(page(&staff, &dataset, json!(1), cursor).await.is_ok(), "a colleague goes on where somebody stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_read_live_come_from_their_source_and_are_null_without_it() {
    let agency = Agency::new().await;
    let stage = &agency.stage;
    let dataset = agency.admin.makes_dataset(&agency.acme_visits, "visits").await;
    assert_eq!(agency.admin.dataset(&dataset).await["mode"], "DIRECT_QUERY");
    let asked = stage.reports_asked();
    page(&agency.admin, &dataset, json!(100), Value::Null).await.unwrap();
    assert_eq!(stage.reports_asked(), asked, "what it was made of serves for a moment, too");
    stage.later(chrono::TimeDelta::seconds(11));
    stage.only_reports(numbered(150, "live"));
    let first = page(&agency.acme_login, &dataset, json!(100), Value::Null).await.unwrap();
    assert_eq!((numbers(&first).len(), &first["totalCount"]), (100, &json!(150)));
    let asked = stage.reports_asked();
    let rest = page(&agency.admin, &dataset, json!(100), first["pageInfo"]["endCursor"].clone()).await.unwrap();
    assert_eq!((numbers(&rest)[0], numbers(&rest).len()), (100, 50));
    assert_eq!(stage.reports_asked(), asked, "one answer serves others for a moment");

    let metric = agency.admin.makes_metric(&dataset, "COUNT", None).await;
    let cursor = agency.admin.event_cursor().await;
    stage.later(chrono::TimeDelta::seconds(11));
    stage.only_reports(Fault::ServerError);
    assert_eq!(page(&agency.admin, &dataset, json!(100), Value::Null).await, Ok(Value::Null));
    let failed = agency.admin.dataset(&dataset).await;
    assert_eq!((&failed["status"], &failed["rowCount"]), (&json!("FAILED"), &json!(150)));
    assert_eq!(agency.admin.metric(&metric).await["exactValue"], "150", "the last values are kept");
    stage.only_reports(numbered(3, "again"));
    let asked = stage.reports_asked();
    assert_eq!(page(&agency.admin, &dataset, json!(100), Value::Null).await, Ok(Value::Null));
    assert_eq!(stage.reports_asked(), asked, "a source that fails is not asked by every page");
    stage.later(chrono::TimeDelta::seconds(11));
    assert_eq!(page(&agency.admin, &dataset, json!(100), Value::Null).await.unwrap()["totalCount"], 3);
    assert_eq!(agency.admin.metric(&metric).await["exactValue"], "3");
    assert_eq!(agency.admin.hears_kinds(&cursor, 2).await, ["FAILED", "REFRESHED"]);
}
