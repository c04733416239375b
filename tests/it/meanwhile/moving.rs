//! Connections that go elsewhere, and sign-ins that break, while a provider is asked about them.

use chrono::TimeDelta;
use entity::connection;
use patchbay::{
    clock::Clock,
    ids::{self, Kind},
    sandbox::{Ended, Endpoint, Fault},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::json;

use super::code;
use crate::harness::{Stage, id, leave_out};

#[tokio::test(flavor = "multi_thread")]
async fn what_stopped_working_while_it_was_asked_takes_no_connection() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let grant = stage.shared_grant().await;
    let input = json!({ "connector": "sandbox-ads", "clientId": grant.acme, "accountId": SHARED });
    let bens = admin.connects(&stage.browser(), input, "ben").await;

    // Ada's grant is revoked, and found to be, while it is asked for one more connection, and for one to move onto it.
    let mut listing = stage.holds("/accounts");
    let input = json!({ "connector": "sandbox-ads", "clientId": grant.globex, "accountId": "100-301",
                        "using": { "authorizationId": grant.authorization } });
    let connecting = stage.begins("connect", input, "connection { id }");
    listing.arrived().await;
    let mut listing_too = stage.holds("/accounts");
    let input = json!({ "connectionId": bens["id"], "authorizationId": grant.authorization });
    let moving = stage.begins("reconnect", input, "connections { id }");
    listing_too.arrived().await;
    stage.sandbox.revoke_person("ada");
    admin.does("checkConnection", json!({ "connectionId": grant.lamps }), "connection { status }").await;
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
    listing.goes_on();
    listing_too.goes_on();
    assert_eq!((code(&connecting.await.unwrap()), code(&moving.await.unwrap())), ("CONFLICT", "CONFLICT"));
    assert_eq!(admin.connection(&id(&bens)).await["authorization"]["id"], bens["authorization"]["id"]);
    assert_eq!(stage.status(&id(&bens)).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moved_or_was_removed_while_it_was_asked_about_is_left_alone() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let grant = stage.shared_grant().await;
    let input = json!({ "connector": "sandbox-ads", "clientId": grant.globex, "accountId": SHARED });
    let bens = admin.connects(&stage.browser(), input, "ben").await;
    let input = json!({ "connector": "sandbox-ads", "clientId": grant.acme, "accountId": SHARED });
    let adas = id(&admin.connects_through(&grant.authorization, input).await);

    // A check of Ada's account is refused, while its connection moves to Ben's sign-in.
    stage.sandbox.fail_next(Endpoint::Account, Fault::Forbidden, 1);
    let mut probing = stage.holds(&format!("/accounts/{SHARED}"));
    let checking = stage.begins("checkConnection", json!({ "connectionId": adas }), "connection { status }");
    probing.arrived().await;
    let input = json!({ "connectionId": adas, "authorizationId": bens["authorization"]["id"] });
    admin.does("reconnect", input, "connections { id }").await;
    probing.goes_on();
    assert_eq!(checking.await.unwrap()["connection"]["status"], "CONNECTED");
    assert_eq!(stage.disconnections().await.len(), 0);

    // It is asked to move back, and removed before the answer is there.
    let mut listing = stage.holds("/accounts");
    let input = json!({ "connectionId": adas, "authorizationId": grant.authorization });
    let moving = stage.begins("reconnect", input, "connections { id }");
    listing.arrived().await;
    admin.does("removeConnection", json!({ "connectionId": adas }), "").await;
    listing.goes_on();
    assert_eq!(code(&moving.await.unwrap()), "CONFLICT");
    assert!(admin.connection(&adas).await["removedAt"].is_string());

    // A new key is tried for what is removed meanwhile.
    let billing = stage.keyed("lamps", &grant.acme).await;
    let mut trying = stage.holds("/keyed/me");
    let input = json!({ "connectionId": billing, "credentials": stage.key("lamps") });
    let replacing = stage.begins("reconnect", input, "connections { id }");
    trying.arrived().await;
    admin.does("removeConnection", json!({ "connectionId": billing }), "").await;
    trying.goes_on();
    assert_eq!(code(&replacing.await.unwrap()), "NOT_FOUND");
    assert!(admin.connection(&billing).await["removedAt"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_for_what_is_gone_or_no_longer_theirs_changes_nothing_and_is_given_back() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let shop = |client: &str| json!({ "connector": "sandbox-ads", "clientId": client, "accountId": SHARED });
    let (acme, globex) = (admin.creates_client("Acme").await, admin.creates_client("Globex").await);
    let (first, second) = (admin.connects(&stage.browser(), shop(&acme), "ada").await, shop(&globex));
    let second = admin.connects_through(&id(&first["authorization"]), second).await;
    let share = json!({ "connectionId": second["id"], "userIds": [nina.id] });
    admin.does("shareConnection", share.clone(), "").await;

    // The first is removed, and the second not shared with her any more, while Ben's accounts are listed.
    for (person, connection) in [(admin, &first), (&nina, &second)] {
        let browser = stage.browser();
        let (attempt, url) = person.starts_reconnecting(&id(connection), "THIS_CONNECTION").await;
        let callback = browser.allows(&url, "ben").await;
        let mut listing = stage.holds("/accounts");
        let meanwhile = async {
            listing.arrived().await;
            if connection["id"] == first["id"] {
                admin.does("removeConnection", json!({ "connectionId": first["id"] }), "").await;
            } else {
                admin.does("unshareConnection", share.clone(), "").await;
            }
            listing.goes_on();
        };
        tokio::join!(browser.opens(callback.as_str()), meanwhile);
        let attempt = person.attempt(&attempt).await;
        assert_eq!(attempt["status"], "FAILED", "{attempt:#}");
        assert!(attempt["error"]["code"].is_string());
    }
    let still = admin.connection(&id(&second)).await;
    assert_eq!((&still["status"], &still["authorization"]["id"]), (&json!("CONNECTED"), &first["authorization"]["id"]));
    let ended: Vec<_> = stage.sandbox.grants().iter().map(|grant| grant.ended).collect();
    assert_eq!(ended, [None, Some(Ended::ByClient), Some(Ended::ByClient)], "Ben's are given back, Ada's is in use");

    // A client leaves while something is connected for it, and while something is put under it.
    let initech = admin.creates_client("Initech").await;
    let (attempt, url) = admin.starts_connecting(shop(&initech)).await;
    let browser = stage.browser();
    let callback = browser.allows(&url, "ben").await;
    let mut listing = stage.holds("/accounts");
    let leaving = async {
        listing.arrived().await;
        admin.does("removeClient", json!({ "clientId": initech }), "").await;
        listing.goes_on();
    };
    tokio::join!(browser.opens(callback.as_str()), leaving);
    let attempt = admin.attempt(&attempt).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("NOT_FOUND")), "{attempt:#}");

    let initech = admin.creates_client("Initech").await;
    let mut listing = stage.holds("/accounts");
    let input = json!({ "connectionId": second["id"], "clientId": initech, "accountId": "100-301" });
    let updating = stage.begins("updateConnection", input, "connection { id }");
    listing.arrived().await;
    admin.does("removeClient", json!({ "clientId": initech }), "").await;
    listing.goes_on();
    assert_eq!(code(&updating.await.unwrap()), "NOT_FOUND");
    assert_eq!(admin.connection(&id(&second)).await["client"]["id"], json!(globex));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_remove_the_same_at_once_one_has_done_it() {
    let stage = Stage::new().await;
    if stage.database.is_sqlite() {
        leave_out("on SQLite the second looks after the first has written");
        return;
    }
    let grant = stage.shared_grant().await;
    let lock = stage.locks(&grant.authorization).await;
    let removes = || stage.begins("removeConnection", json!({ "connectionId": grant.lamps }), "");
    let (first, second) = (removes(), removes());
    stage.waiting_for_locks(2).await;
    lock.ends().await;
    let both = [first.await.unwrap(), second.await.unwrap()];
    let refused: Vec<_> = both.iter().filter(|payload| payload["errors"] != json!([])).collect();
    assert_eq!(refused.len(), 1, "{both:#?}");
    assert_eq!(code(refused[0]), "NOT_FOUND");
    assert_eq!(stage.admin.audited("connection.removed").await.len(), 1);
    assert_eq!(stage.status(&grant.hotels).await, "CONNECTED", "the sign-in is in use");
}

/// The account that both Ada and Ben may read.
const SHARED: &str = "100-303";

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_moved_while_another_was_asked_about_is_not_asked_about_by_its_old_sign_in() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let input = json!({ "connector": "sandbox-ads", "clientId": grant.acme, "accountId": SHARED });
    let adas = id(&stage.admin.connects_through(&grant.authorization, input).await);
    for (connection, minutes) in [(&grant.lamps, 2), (&adas, 1)] {
        let at = stage.clock.now() - TimeDelta::minutes(minutes);
        let due = connection::Entity::update_many()
            .col_expr(connection::Column::ProbeAt, Expr::value(at))
            .filter(connection::Column::Id.eq(ids::decode(Kind::Connection, connection).unwrap()));
        due.exec(stage.db.writer()).await.unwrap();
    }
    let mut probing = stage.holds("/accounts/100-301");
    let jobs = stage.begins_jobs();
    probing.arrived().await;
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), &adas, "THIS_CONNECTION", "ben").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    let asked = stage.sandbox.calls(Endpoint::Account);
    probing.goes_on();
    jobs.await.unwrap();
    assert_eq!(stage.sandbox.calls(Endpoint::Account), asked);
}
