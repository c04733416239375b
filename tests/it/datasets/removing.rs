//! What becomes of datasets when their connection is removed: they stay, and are taken over when the same account is
//! connected again for the same client.

use chrono::{DateTime, Utc};
use entity::dataset;
use patchbay::{
    clock::Clock,
    ids::{self, Kind},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::{Value, json};

use super::*;
use crate::{
    agency::sorted,
    harness::{Setup, id},
};

/// A connection by key whose account nothing tells.
const KEYLESS: &str = r#"
slug = "keyless"
name = "Keyless"
category = "payments"
mode = "warehouse"
requirements = "A key."

[[field]]
name = "api_key"
label = "API key"
secret = true
required = true

[auth]
method = "api_key"
placement = "header:X-Api-Key"

[probe]
url = "@BASE@/keyed/me"

[api]
base_url = "@BASE@/keyed"
"#;

/// Removes a connection: how many datasets stay.
async fn removes(stage: &Stage, connection: &str) -> Value {
    stage.admin.does("removeConnection", json!({ "connectionId": connection }), "keptDatasets").await["keptDatasets"]
        .clone()
}

/// Connects an account of Ada's through the grant.
async fn connects(stage: &Stage, grant: &SharedGrant, client: &str, account: &str) -> String {
    let input = json!({ "connector": "sandbox-ads", "clientId": client, "accountId": account });
    id(&stage.admin.connects_through(&grant.authorization, input).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn datasets_of_a_removed_connection_stay_with_their_rows_and_say_so() {
    let (stage, grant, dataset) = one_dataset().await;
    stage.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": 30 })).await;
    let metric = stage.admin.makes_metric(&dataset, "SUM", Some("clicks")).await;
    let (rows, value) = (stage.admin.rows(&dataset).await, stage.admin.metric(&metric).await["exactValue"].clone());
    let cursor = stage.admin.event_cursor().await;
    let asked = stage.reports_asked();
    assert_eq!(removes(&stage, &grant.lamps).await, 1);

    let kept = stage.dataset(&dataset).await;
    assert_eq!((&kept["connection"], &kept["status"], &kept["rowCount"]), (&Value::Null, &json!("FRESH"), &json!(28)));
    assert_eq!(stage.admin.rows(&dataset).await, rows);
    let number = stage.admin.metric(&metric).await;
    assert_eq!((&number["exactValue"], &number["error"]["connection"]), (&value, &Value::Null));
    assert!(number["error"]["message"].as_str().unwrap().contains("removed"), "{number:#}");
    assert_eq!(stage.admin.hears_kinds(&cursor, 1).await, ["UPDATED"]);

    let error = stage.admin.refused("refreshDataset", json!({ "datasetId": dataset })).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("CONFLICT"), &json!(["datasetId"])));
    assert_eq!(stage.admin.edits_dataset(&dataset, json!({ "name": "Old days" })).await["name"], "Old days");
    stage.later(chrono::TimeDelta::minutes(40));
    stage.run_jobs().await;
    assert_eq!(stage.reports_asked(), asked, "nothing is read through what is removed");
    stage.admin.does("removeDataset", json!({ "datasetId": dataset }), "").await;
    assert_eq!((stage.dataset(&dataset).await, stage.admin.metric(&metric).await), (Value::Null, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_account_for_the_same_client_takes_them_over_and_no_other_does() {
    let (stage, grant, dataset) = one_dataset().await;
    removes(&stage, &grant.lamps).await;
    let cursor = stage.admin.event_cursor().await;
    connects(&stage, &grant, &grant.globex, "100-301").await;
    connects(&stage, &grant, &grant.acme, "100-303").await;
    assert_eq!(stage.dataset(&dataset).await["connection"], Value::Null, "another client, another account");
    let again = connects(&stage, &grant, &grant.acme, "100-301").await;
    assert_eq!(stage.dataset(&dataset).await["connection"]["id"], json!(again));
    let asked = stage.reports_asked();
    stage.run_jobs().await;
    assert_eq!((stage.reports_asked(), &stage.dataset(&dataset).await["status"]), (asked + 1, &json!("FRESH")));
    assert_eq!(stage.admin.hears_kinds(&cursor, 2).await, ["UPDATED", "REFRESHED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_whom_the_old_one_was_shared_sees_them_until_another_takes_them_over() {
    let (stage, grant, dataset) = one_dataset().await;
    let mel = stage.person("Mel", "MEMBER", None).await;
    stage.admin.does("shareConnection", json!({ "connectionId": grant.lamps, "userIds": [mel.id] }), "").await;
    let cursor = mel.event_cursor().await;
    removes(&stage, &grant.lamps).await;
    assert_eq!(mel.dataset(&dataset).await["connection"], Value::Null);
    assert_eq!(mel.rows(&dataset).await["totalCount"], 28);
    connects(&stage, &grant, &grant.acme, "100-301").await;
    stage.run_jobs().await;
    assert_eq!(mel.dataset(&dataset).await, Value::Null);
    assert_eq!(mel.hears_kinds(&cursor, 2).await, ["UPDATED", "REMOVED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_a_connection_that_is_one_of_many() {
    let (stage, grant, lamps) = one_dataset().await;
    let hotels = stage.admin.makes_dataset(&grant.hotels, "report").await;
    removes(&stage, &grant.lamps).await;
    let third = connects(&stage, &grant, &grant.acme, "100-303").await;
    removes(&stage, &grant.hotels).await;
    let accounts = json!([
        { "accountId": "100-301", "clientId": grant.acme },
        { "accountId": "100-302", "clientId": grant.globex },
    ]);
    let input = json!({ "authorizationId": grant.authorization, "accounts": accounts });
    let results = stage.admin.does("connectAccounts", input, "results { connection { id } }").await["results"].clone();
    for (place, dataset) in [&lamps, &hotels].into_iter().enumerate() {
        assert_eq!(stage.dataset(dataset).await["connection"], results[place]["connection"]);
    }
    assert_ne!(results[0]["connection"]["id"], json!(third));
    stage.run_jobs().await;
    assert_eq!(stage.dataset(&hotels).await["status"], "FRESH");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_tells_an_account_the_one_that_was_removed_is_meant_and_of_two_neither() {
    let stage =
        Stage::with(Setup { connectors: vec![("keyless.toml".to_owned(), KEYLESS.to_owned())], ..Setup::default() })
            .await;
    let acme = stage.admin.creates_client("Acme").await;
    let connect = async || {
        let input = json!({ "connector": "keyless", "clientId": acme, "using": { "credentials": stage.key("lamps") } });
        id(&stage.admin.does("connect", input, "connection { id }").await["connection"])
    };
    let first = connect().await;
    let dataset = stage.admin.makes_dataset(&first, "invoices").await;
    removes(&stage, &first).await;
    let second = connect().await;
    assert_eq!(stage.dataset(&dataset).await["connection"]["id"], json!(second));

    let third = connect().await;
    let other = stage.admin.makes_dataset(&third, "invoices").await;
    removes(&stage, &second).await;
    removes(&stage, &third).await;
    connect().await;
    for dataset in [&dataset, &other] {
        assert_eq!(stage.dataset(dataset).await["connection"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datasets_of_a_removed_client_stay_for_those_who_saw_everything() {
    let (stage, grant, dataset) = one_dataset().await;
    let carl = stage.person("Carl", "CLIENT", Some(&grant.acme)).await;
    assert_eq!(carl.dataset(&dataset).await["id"], json!(dataset));
    let input = json!({ "clientId": grant.acme, "removeConnections": true });
    stage.admin.does("removeClient", input, "").await;
    let kept = stage.dataset(&dataset).await;
    assert_eq!((&kept["connection"], &kept["rowCount"]), (&Value::Null, &json!(28)));
    let listed = stage.admin.sees("{ datasets { nodes { id } } }").await;
    assert_eq!(sorted(crate::harness::ids_of(&listed["datasets"]["nodes"])), [dataset]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_is_removed_takes_its_rows_and_metrics_with_it() {
    let (stage, _, dataset) = one_dataset().await;
    stage.admin.makes_metric(&dataset, "COUNT", None).await;
    stage.admin.refreshes(&dataset).await;
    let removed = stage.admin.does("removeDataset", json!({ "datasetId": dataset }), "removedDatasetId").await;
    assert_eq!(removed["removedDatasetId"], json!(dataset));
    let counts = crate::harness::tables::counts(&stage.db).await;
    for table in ["dataset", "metric", "snapshot", "snapshot_part"] {
        assert_eq!(counts[table], 0, "{table}");
    }
    let again = stage.admin.refused("removeDataset", json!({ "datasetId": dataset })).await;
    assert_eq!((&again["code"], &again["field"]), (&json!("NOT_FOUND"), &json!(["datasetId"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_whose_worker_was_killed_ends_and_is_told_to_have_ended_also_where_the_connection_was_removed_since()
{
    let (stage, grant, dataset) = one_dataset().await;
    let row = ids::decode(Kind::Dataset, &dataset).unwrap();
    // As a worker leaves it that was killed while it read.
    let claimed_until = async |until: DateTime<Utc>| {
        let claims = dataset::Entity::update_many()
            .col_expr(dataset::Column::ClaimedBy, Expr::value(stage.admin.uuid()))
            .col_expr(dataset::Column::ClaimedUntil, Expr::value(until))
            .filter(dataset::Column::Id.eq(row));
        claims.exec(stage.db.writer()).await.unwrap();
    };
    claimed_until("2100-01-01T00:00:00Z".parse().unwrap()).await;
    let is_due = dataset::Entity::update_many()
        .col_expr(dataset::Column::RefreshAt, Expr::value(stage.clock.now()))
        .filter(dataset::Column::Id.eq(row));
    is_due.exec(stage.db.writer()).await.unwrap();
    assert_eq!(stage.dataset(&dataset).await["status"], "REFRESHING");
    assert_eq!(removes(&stage, &grant.lamps).await, 1);

    let (cursor, asked) = (stage.admin.event_cursor().await, stage.reports_asked());
    claimed_until(DateTime::UNIX_EPOCH).await;
    stage.run_jobs().await;
    let over = dataset::Entity::find_by_id(row).one(stage.db.reader()).await.unwrap().unwrap();
    assert_eq!((over.claimed_by, over.claimed_until, over.refresh_at), (None, None, None));
    let heard = stage.admin.hears(&cursor, 1).await;
    assert_eq!((&heard[0]["kind"], &heard[0]["dataset"]["status"]), (&json!("UPDATED"), &json!("FRESH")));
    assert_eq!(stage.reports_asked(), asked);

    // One that is alive has the last word itself.
    let other = stage.admin.makes_dataset(&grant.hotels, "report").await;
    let row = ids::decode(Kind::Dataset, &other).unwrap();
    let before = dataset::Entity::find_by_id(row).one(stage.db.reader()).await.unwrap().unwrap();
    let mut reading = stage.holds("/accounts/100-302/report");
    let (admin, id) = (stage.admin.clone(), other.clone());
    let refreshing =
        tokio::spawn(async move { admin.tries_mutation("refreshDataset", json!({ "datasetId": id }), "").await });
    reading.arrived().await;
    assert_eq!(removes(&stage, &grant.hotels).await, 1);
    reading.goes_on();
    refreshing.await.unwrap();
    let over = dataset::Entity::find_by_id(row).one(stage.db.reader()).await.unwrap().unwrap();
    assert_eq!((over.claimed_by, over.claimed_until, over.refresh_at), (None, None, None));
    assert_eq!(over.snapshot_id, before.snapshot_id, "what came too late is dropped");
}
