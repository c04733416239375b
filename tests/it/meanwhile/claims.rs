//! Claims: kept up while their work lasts, and of no use to a worker that lost its own.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{authorization, dataset, kept_answer, reminder};
use patchbay::{
    clock::Clock,
    ids::{self, Kind},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{
    Setup, Stage, Statements, http, id,
    mail::{Fault, MailServer},
    within_patience,
};

/// How long a claim may take to be kept up. It is no measure: that is done every few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

impl Stage {
    async fn authorization_behind(&self, connection: &str) -> authorization::Model {
        let seen = self.admin_now().connection(connection).await;
        let id = ids::decode(Kind::Authorization, seen["authorization"]["id"].as_str().unwrap()).unwrap();
        authorization::Entity::find_by_id(id).one(self.db.reader()).await.unwrap().unwrap()
    }

    async fn dataset_row(&self, dataset: &str) -> dataset::Model {
        let id = ids::decode(Kind::Dataset, dataset).unwrap();
        dataset::Entity::find_by_id(id).one(self.db.reader()).await.unwrap().unwrap()
    }

    /// Another worker takes a dataset over, as after this one was frozen for longer than its claim lasts.
    async fn another_takes_dataset(&self, dataset: Uuid) -> (Option<Uuid>, Option<DateTime<Utc>>) {
        let (run, until) = (Uuid::from_u128(4711), Utc::now().max(self.clock.now()) + TimeDelta::days(1));
        let taken = dataset::Entity::update_many()
            .col_expr(dataset::Column::ClaimedBy, Expr::value(run))
            .col_expr(dataset::Column::ClaimedUntil, Expr::value(until))
            .filter(dataset::Column::Id.eq(dataset));
        taken.exec(self.db.writer()).await.unwrap();
        let row = dataset::Entity::find_by_id(dataset).one(self.db.reader()).await.unwrap().unwrap();
        (row.claimed_by, row.claimed_until)
    }

    /// The same of an authorization.
    async fn another_takes_authorization(&self, authorization: Uuid) -> (Option<Uuid>, Option<DateTime<Utc>>) {
        let (run, until) = (Uuid::from_u128(4711), Utc::now().max(self.clock.now()) + TimeDelta::days(1));
        let taken = authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedBy, Expr::value(run))
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(until))
            .filter(authorization::Column::Id.eq(authorization));
        taken.exec(self.db.writer()).await.unwrap();
        let row = authorization::Entity::find_by_id(authorization).one(self.db.reader()).await.unwrap().unwrap();
        (row.claimed_by, row.claimed_until)
    }

    /// Tokens are to be renewed now, and nothing else is due.
    async fn tokens_are_due(&self) {
        let due = authorization::Entity::update_many()
            .col_expr(authorization::Column::RenewAt, Expr::value(self.clock.now()))
            .filter(authorization::Column::RenewAt.is_not_null());
        due.exec(self.db.writer()).await.unwrap();
    }

    async fn kept_answers(&self) -> Vec<kept_answer::Model> {
        kept_answer::Entity::find().all(self.db.reader()).await.unwrap()
    }
}

/// Waits until `deadline` is later than it was.
async fn is_kept_up(what: &str, deadline: impl AsyncFn() -> Option<DateTime<Utc>>) {
    let first = deadline().await.unwrap_or_else(|| panic!("{what} is not claimed"));
    let later = async {
        while deadline().await.unwrap_or_else(|| panic!("{what} lost its claim")) <= first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, later).await.is_ok(), "the claim on {what} is not kept up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_kept_up_while_its_work_lasts_and_by_its_holder_alone() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let grant = stage.shared_grant().await;
    let (lamps, hotels) = (stage.keyed("lamps", &grant.acme).await, stage.keyed("hotels", &grant.globex).await);
    let (lost, kept) = (admin.makes_dataset(&lamps, "invoices").await, admin.makes_dataset(&hotels, "invoices").await);
    let before = stage.dataset_row(&lost).await;

    // Two that another worker takes over: they began first, so they would be kept up first.
    let mut reading = stage.holds("/keyed/invoices");
    let refreshing_lost = stage.begins("refreshDataset", json!({ "datasetId": lost }), "dataset { id }");
    reading.arrived().await;
    let taken_dataset = stage.another_takes_dataset(before.id).await;
    let mut probing = stage.holds("/keyed/me");
    let checking_lost = stage.begins("checkConnection", json!({ "connectionId": lamps }), "connection { id }");
    probing.arrived().await;
    let probed = stage.authorization_behind(&lamps).await.id;
    let taken_authorization = stage.another_takes_authorization(probed).await;

    // And one of each kind that is left to its worker.
    let mut reading_too = stage.holds("/keyed/invoices");
    let refreshing = stage.begins("refreshDataset", json!({ "datasetId": kept }), "dataset { id }");
    reading_too.arrived().await;
    let mut probing_too = stage.holds("/keyed/me");
    let query = "mutation($input: CheckConnectionInput!) { checkConnection(input: $input) { connection { id } } }";
    let asking = http()
        .post(stage.url.join("/graphql").unwrap())
        .header("idempotency-key", "slow")
        .bearer_auth(&admin.token)
        .json(&json!({ "query": query, "variables": { "input": { "connectionId": hotels } } }));
    let checking = tokio::spawn(asking.send());
    probing_too.arrived().await;
    stage.tokens_are_due().await;
    let mut renewing = stage.holds("/token");
    let jobs = stage.begins_jobs();
    renewing.arrived().await;

    tokio::join!(
        is_kept_up("a dataset", async || stage.dataset_row(&kept).await.claimed_until),
        is_kept_up("an authorization that a person checks", async || {
            stage.authorization_behind(&hotels).await.claimed_until
        }),
        is_kept_up("one that a job renews", async || stage.authorization_behind(&grant.lamps).await.claimed_until),
        is_kept_up("an answer", async || stage.kept_answers().await[0].claimed_until),
    );
    let now = stage.dataset_row(&lost).await;
    assert_eq!((now.claimed_by, now.claimed_until), taken_dataset, "the other's claim is its own to keep up");
    let now = stage.authorization_behind(&lamps).await;
    assert_eq!((now.claimed_by, now.claimed_until), taken_authorization);

    for held in [reading, probing, reading_too, probing_too, renewing] {
        held.goes_on();
    }
    refreshing_lost.await.unwrap();
    checking_lost.await.unwrap();
    let now = stage.dataset_row(&lost).await;
    assert_eq!((now.claimed_by, now.claimed_until), taken_dataset, "and its own to give back");
    assert_eq!((now.last_refreshed_at, now.snapshot_id), (before.last_refreshed_at, before.snapshot_id));
    let now = stage.authorization_behind(&lamps).await;
    assert_eq!((now.claimed_by, now.claimed_until), taken_authorization);

    refreshing.await.unwrap();
    jobs.await.unwrap();
    assert_eq!(checking.await.unwrap().unwrap().status(), 200);
    let (dataset, answers) = (stage.dataset_row(&kept).await, stage.kept_answers().await);
    assert_eq!((dataset.claimed_by, answers[0].claimed_until), (None, None));
    for connection in [&hotels, &grant.lamps] {
        assert_eq!(stage.authorization_behind(connection).await.claimed_by, None);
    }
    let renewals = stage.sandbox.token_calls().refresh_token;
    assert_eq!((renewals, id(&stage.admin_now().connection(&grant.lamps).await)), (1, grant.lamps.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_that_another_worker_took_over_is_not_kept_up_for_it() {
    let (mail, statements) = (MailServer::start().await, Statements::default());
    let setup = Setup { settings: mail.settings(), statements: Some(statements.watch()), ..Setup::default() };
    let stage = Stage::with(setup).await;
    stage.shared_grant().await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    stage.later(TimeDelta::days(2));
    mail.fail_next(Fault::Hang);
    let mut claimed = statements.holds(&[r#"UPDATE "reminder" SET "claimed_by""#]);
    let jobs = stage.begins_jobs();
    claimed.arrived().await;
    claimed.goes_on();
    let row = async || reminder::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    within_patience(async {
        while row().await.claimed_by.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    reminder::Entity::update_many()
        .col_expr(reminder::Column::ClaimedBy, Expr::value(Uuid::from_u128(4711)))
        .col_expr(reminder::Column::ClaimedUntil, Expr::value(Utc::now().max(stage.clock.now()) + TimeDelta::days(1)))
        .exec(stage.db.writer())
        .await
        .unwrap();
    let taken = row().await;
    // Keeping up comes round, and once more: the first time is over then.
    for _ in 0..2 {
        let mut keeping_up = statements.holds(&[r#"UPDATE "reminder" SET "claimed_until""#]);
        keeping_up.arrived().await;
        keeping_up.goes_on();
    }
    assert_eq!(row().await, taken);
    mail.close_connections();
    jobs.await.unwrap();
    assert_eq!(row().await, taken);
}
