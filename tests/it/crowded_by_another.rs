//! What all workspaces share, each has a part of: one that wants all of it holds up no other.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use entity::dataset;
use futures_util::future::join_all;
use patchbay::{
    db::{Db, of_workspace},
    sandbox::Endpoint,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use crate::harness::{Database, Person, Stage, id, leave_out};

/// Datasets of as many shops, three of each: more are not read through one connection at once.
async fn datasets_of_shops(stage: &Stage, admin: &Person, shops: &[&str]) -> Vec<String> {
    let mut datasets = Vec::new();
    for shop in shops {
        let connection = id(&admin.connects_shop(&stage.browser(), shop).await);
        for _ in 0..3 {
            datasets.push(admin.makes_dataset(&connection, "orders").await);
        }
    }
    datasets
}

async fn refreshes(admin: &Person, dataset: &str) -> Option<String> {
    let answer = admin.tries_mutation("refreshDataset", json!({ "datasetId": dataset }), "dataset { status }").await;
    answer.code().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_sources_of_one_hang_another_reads_and_who_would_wait_for_long_is_told() {
    let stage = Stage::new().await;
    let stranger = stage.stranger().await;
    let ours = datasets_of_shops(&stage, &stage.admin, &["one", "two", "three", "four", "five"]).await;
    let theirs = datasets_of_shops(&stage, &stranger, &["six"]).await;
    // Twelve of sixteen places are one workspace's.
    let (hanging, late) = ours.split_at(12);
    let gate = stage.gates(Endpoint::Report, hanging.len());
    let hanging = join_all(hanging.iter().map(|dataset| refreshes(&stage.admin, dataset)));
    let meanwhile = async { tokio::join!(refreshes(&stranger, &theirs[0]), refreshes(&stage.admin, &late[0])) };
    let (hung, (their_answer, late_answer)) = stage.while_held(&gate, 12, hanging, meanwhile).await;
    assert_eq!(their_answer, None, "the other workspace");
    assert_eq!(late_answer.as_deref(), Some("UNAVAILABLE"));
    assert!(hung.iter().all(Option::is_none), "{hung:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dataset_that_is_due_does_not_wait_for_all_those_of_another_that_were_due_before() {
    let stage = Stage::new().await;
    let stranger = stage.stranger().await;
    let ours = datasets_of_shops(&stage, &stage.admin, &["one", "two", "three", "four"]).await;
    stage.later(TimeDelta::minutes(1));
    let stranger = stage.signed_in(&stranger.id);
    let theirs = datasets_of_shops(&stage, &stranger, &["five"]).await;
    let daily = json!({ "refreshEveryMinutes": 1440 });
    for dataset in &ours {
        stage.admin_now().edits_dataset(dataset, daily.clone()).await;
    }
    stage.later(TimeDelta::minutes(1));
    let stranger = stage.signed_in(&stranger.id);
    stranger.edits_dataset(&theirs[0], daily).await;
    stage.later(TimeDelta::days(2));

    // Eight are refreshed at once.
    let gate = stage.gates(Endpoint::Report, 8);
    let claimed = async {
        let claimed = dataset::Entity::find().filter(dataset::Column::ClaimedUntil.is_not_null());
        claimed.all(stage.db.reader()).await.unwrap()
    };
    let ((), claimed) = stage.while_held(&gate, 8, stage.run_jobs(), claimed).await;
    let workspaces: BTreeSet<Uuid> = claimed.iter().map(|row| row.workspace_id).collect();
    assert_eq!((claimed.len(), workspaces.len()), (8, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_workspaces_operations_leave_handles_of_the_database_to_the_others() {
    let database = Database::migrated().await;
    if database.is_sqlite() {
        leave_out("a file has one writer");
        return;
    }
    let db = Db::open(database.url(), 4).await.unwrap();
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let begins = |workspace| {
        let db = db.clone();
        tokio::spawn(of_workspace(workspace, async move { db.begin().await }))
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(begins(one).await.unwrap().unwrap());
    }
    let mut fourth = begins(one);
    assert!(timeout(Duration::from_millis(100), &mut fourth).await.is_err(), "three of four are its part");
    begins(other).await.unwrap().unwrap().rollback().await.unwrap();
    held.pop().unwrap().rollback().await.unwrap();
    held.push(fourth.await.unwrap().unwrap());
    for transaction in held {
        transaction.rollback().await.unwrap();
    }
    db.close().await;
}
