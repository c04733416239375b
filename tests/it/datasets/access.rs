//! Who may do what to a dataset goes by what it reads through.

use serde_json::{Value, json};

use crate::{
    agency::{Agency, sorted},
    harness::{Answer, dataset_of, ids_of},
};

/// What came of a mutation: `done`, or the code of its error.
fn verdict(answer: &Answer, mutation: &str) -> String {
    let errors = &answer.body["data"][mutation]["errors"];
    let code = answer.code().or_else(|| errors[0]["code"].as_str());
    code.map_or_else(|| if errors == &json!([]) { "done" } else { "nothing" }.to_owned(), str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_tends_datasets_of_what_they_made_or_share_and_finds_no_others() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    for (connection, path, expected) in [
        (&agency.acme_visits, "visits", "done"),
        (&agency.acme_ads, "report", "done"),
        (&agency.globex_ads, "report", "NOT_FOUND"),
    ] {
        let answer = agency.member.tries_mutation("createDataset", dataset_of(connection, path), "").await;
        assert_eq!(verdict(&answer, "createDataset"), expected, "{:#}", answer.body);
        let dataset = agency.admin.makes_dataset(connection, path).await;
        let metric = agency.admin.makes_metric(&dataset, "COUNT", None).await;
        for (mutation, input) in [
            ("updateDataset", json!({ "datasetId": dataset, "name": "Renamed" })),
            ("refreshDataset", json!({ "datasetId": dataset })),
            ("createMetric", json!({ "datasetId": dataset, "name": "Days", "aggregation": "COUNT" })),
            ("removeMetric", json!({ "metricId": metric })),
            ("removeDataset", json!({ "datasetId": dataset })),
        ] {
            let answer = agency.member.tries_mutation(mutation, input, "").await;
            assert_eq!(verdict(&answer, mutation), expected, "{mutation}: {:#}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sees_a_connection_sees_its_datasets_and_metrics_and_nobody_else() {
    let agency = Agency::new().await;
    let mut all = Vec::new();
    for (connection, path) in
        [(&agency.acme_ads, "report"), (&agency.globex_ads, "report"), (&agency.acme_visits, "visits")]
    {
        let dataset = agency.admin.makes_dataset(connection, path).await;
        let metric = agency.admin.makes_metric(&dataset, "COUNT", None).await;
        all.push((dataset, metric));
    }
    for (who, seen) in [
        (&agency.admin, vec![0, 1, 2]),
        (&agency.staff, vec![0, 1, 2]),
        (&agency.member, vec![2]),
        (&agency.newcomer, vec![]),
        (&agency.acme_login, vec![0, 2]),
        (&agency.globex_login, vec![1]),
    ] {
        let lists = who.sees("{ datasets { totalCount nodes { id } } metrics { totalCount nodes { id } } }").await;
        let expected: Vec<_> = seen.iter().map(|place: &usize| all[*place].clone()).collect();
        let (datasets, metrics): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
        assert_eq!(sorted(ids_of(&lists["datasets"]["nodes"])), sorted(datasets));
        assert_eq!(sorted(ids_of(&lists["metrics"]["nodes"])), sorted(metrics));
        assert_eq!(
            (&lists["datasets"]["totalCount"], &lists["metrics"]["totalCount"]),
            (&json!(seen.len()), &json!(seen.len()))
        );
        for (place, (dataset, metric)) in all.iter().enumerate() {
            let alone = (who.dataset(dataset).await != Value::Null, who.metric(metric).await != Value::Null);
            assert_eq!(alone, (seen.contains(&place), seen.contains(&place)));
        }
    }
    let rows = agency.acme_login.rows(&all[0].0).await;
    assert_eq!(rows["totalCount"], 28, "a CLIENT reads the rows of what is theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_pick_datasets_by_connection_client_status_and_name() {
    let agency = Agency::new().await;
    let ads = agency.admin.makes_dataset(&agency.acme_ads, "report").await;
    let visits = agency.admin.makes_dataset(&agency.acme_visits, "visits").await;
    let globex = agency.admin.makes_dataset(&agency.globex_ads, "report").await;
    agency.admin.edits_dataset(&globex, json!({ "query": { "http": { "path": "nothing" } } })).await;
    for (filter, expected) in [
        (json!({}), vec![&ads, &visits, &globex]),
        (json!({ "connectionId": agency.acme_ads }), vec![&ads]),
        (json!({ "clientId": agency.acme }), vec![&ads, &visits]),
        (json!({ "status": ["FRESH"] }), vec![&ads, &visits]),
        (json!({ "status": ["FAILED", "REFRESHING"] }), vec![&globex]),
        (json!({ "status": ["NEVER_REFRESHED"] }), vec![]),
        (json!({ "status": [] }), vec![]),
        (json!({ "search": "REPORT" }), vec![&ads, &globex]),
        (json!({ "search": "report", "clientId": agency.acme }), vec![&ads]),
        (json!({ "search": "%" }), vec![]),
    ] {
        let query = "query($filter: DatasetFilter) { datasets(filter: $filter) { totalCount nodes { id } } }";
        let page = agency.admin.ask(query, json!({ "variables": { "filter": filter } })).await["datasets"].clone();
        assert_eq!(page["totalCount"], json!(expected.len()), "{filter}");
        let expected = expected.into_iter().cloned();
        assert_eq!(sorted(ids_of(&page["nodes"])), sorted(expected), "{filter}");
    }
    let of = format!("{{ connection(id: \"{}\") {{ datasets {{ totalCount nodes {{ id }} }} }} }}", agency.acme_ads);
    let page = agency.acme_login.sees(&of).await["connection"]["datasets"].clone();
    assert_eq!((&page["totalCount"], ids_of(&page["nodes"])), (&json!(1), vec![ads]));
}
