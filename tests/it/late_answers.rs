//! Answers that come late: what they say is older than what is known by then, and takes nothing back.

use chrono::TimeDelta;
use entity::authorization;
use patchbay::sandbox::{Endpoint, Fault};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use crate::harness::{Setup, Stage, id, within_patience};

async fn check(stage: &Stage, connection: &str) -> String {
    let input = json!({ "connectionId": connection });
    let checked = stage.admin_now().does("checkConnection", input, "connection { status }").await;
    checked["connection"]["status"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_works_heals_nothing_that_was_refused_since() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let lamps = stage.keyed("lamps", &acme).await;
    let gate = stage.gates(Endpoint::Keyed, 1);
    let refused = async {
        stage.claims_run_out().await;
        stage.sandbox.fail_next(Endpoint::Keyed, Fault::Unauthorized, 1);
        assert_eq!(check(&stage, &lamps).await, "DISCONNECTED");
    };
    let (seen, ()) = stage.while_held(&gate, 1, check(&stage, &lamps), refused).await;
    assert_eq!(seen, "DISCONNECTED");
    assert_eq!(stage.disconnections().await[0]["endedAt"], Value::Null);
    assert_eq!(check(&stage, &lamps).await, "CONNECTED", "a newer one does");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_works_of_an_account_gives_back_nothing_that_was_lost_since() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let gate = stage.gates(Endpoint::Account, 1);
    let lost = async {
        stage.claims_run_out().await;
        stage.sandbox.withdraw("100-301");
        assert_eq!(check(&stage, &grant.lamps).await, "DISCONNECTED");
        stage.sandbox.give_back("100-301");
    };
    let (seen, ()) = stage.while_held(&gate, 1, check(&stage, &grant.lamps), lost).await;
    assert_eq!(seen, "DISCONNECTED");
    // Nor does it while the grant itself fails.
    let gate = stage.gates(Endpoint::Account, 1);
    let fails = async {
        stage.claims_run_out().await;
        stage.sandbox.revoke_person("ada");
        assert_eq!(check(&stage, &grant.hotels).await, "DISCONNECTED");
    };
    stage.while_held(&gate, 1, check(&stage, &grant.lamps), fails).await;
    let open = stage.admin.sees("{ disconnections(filter: { open: true }) { totalCount } }").await;
    assert_eq!(open["disconnections"]["totalCount"], 2);
    assert!(!stage.admin.titles().await.iter().any(|title| title.contains("works again")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_one_account_is_not_held_against_the_next() {
    let stage = Stage::new().await;
    let connection = json!({ "connector": "sandbox-ads", "accountId": "100-301" });
    let connection = id(&stage.admin.connects(&stage.browser(), connection, "ada").await);
    stage.sandbox.withdraw("100-301");
    stage.later(TimeDelta::hours(27));
    stage.run_jobs().await;
    assert_eq!(stage.status(&connection).await, "CONNECTED", "denied once");
    let gate = stage.gates(Endpoint::Account, 1);
    let moves = async {
        let input = json!({ "connectionId": connection, "accountId": "100-303" });
        stage.admin_now().does("updateConnection", input, "").await;
    };
    stage.while_held(&gate, 1, check(&stage, &connection), moves).await;
    assert_eq!((stage.status(&connection).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_not_sent_once_someone_signed_in_again() {
    let text = include_str!("../../src/sandbox/connectors/sandbox-shop.toml");
    let text = text.replace("slug = \"sandbox-shop\"", "slug = \"one-by-one\"") + "\n[pace]\nconcurrent = 1\n";
    let setup = Setup { connectors: vec![("one-by-one.toml".to_owned(), text)], ..Setup::default() };
    let stage = Stage::with(setup).await;
    let mut shops = Vec::new();
    for name in ["north", "south"] {
        let fields = json!([{ "name": "shop", "value": name }]);
        let input = json!({ "connector": "one-by-one", "using": { "browser": { "fields": fields } } });
        shops.push(stage.admin.connects(&stage.browser(), input, "ada").await);
    }
    let rows = async || {
        let rows = authorization::Entity::find().filter(authorization::Column::RenewAt.is_not_null());
        rows.all(stage.db.reader()).await.unwrap()
    };
    let versions = async || rows().await.iter().map(|row| row.credential_version).sum::<i64>();
    let before = versions().await;
    stage.later(TimeDelta::minutes(54));
    // The renewal of one takes the turn of the other, which was looked up before.
    let gate = stage.gates(Endpoint::Token, 1);
    let second_waits = async {
        within_patience(gate.reached_by(1)).await;
        tokio::join!(stage.run_jobs(), async {
            let is_claimed = |rows: &[authorization::Model]| rows.iter().all(|row| row.claimed_by.is_some());
            within_patience(async {
                while !is_claimed(&rows().await) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let is_next = async |shop: &Value| {
                let id =
                    patchbay::ids::decode(patchbay::ids::Kind::Authorization, &id(&shop["authorization"])).unwrap();
                let row = authorization::Entity::find_by_id(id).one(stage.db.reader()).await.unwrap().unwrap();
                row.renewal_sent_at.is_none()
            };
            let next = if is_next(&shops[0]).await { &shops[0] } else { &shops[1] };
            let (attempt, _) = stage.admin_now().reconnects(&stage.browser(), &id(next), "ASK", "ada").await;
            assert_eq!(attempt["status"], "SUCCEEDED");
            gate.open();
        });
    };
    tokio::join!(stage.run_jobs(), second_waits);
    // Of what the versions moved by, one was the sign-in: for each of the others a token was sent, and no other was.
    let renewed = u64::try_from(versions().await - before - 1).unwrap();
    assert_eq!(stage.sandbox.token_calls().refresh_token, renewed);
    for shop in &shops {
        assert_eq!(stage.status(&id(shop)).await, "CONNECTED");
    }
}
