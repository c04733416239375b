//! What concerns many is written by as many statements as what concerns a few: by one for each batch, and by none for each row.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use entity::{AttemptStatus, Role, authorization, client, connection, kept_answer, notification, user};
use patchbay::{
    clock::{Clock, SystemEntropy},
    ids::{self, Kind},
};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Setup, Stage, Statements, id, mail::MailServer};

const FEW: usize = 3;
/// Still one batch.
const MANY: usize = 60;

/// A stage whose statements are noted, and how many there are of what is done.
struct Counted {
    stage: Stage,
    statements: Statements,
}

impl Counted {
    async fn with(settings: Vec<(String, String)>) -> Self {
        let statements = Statements::default();
        let setup = Setup { settings, statements: Some(statements.watch()), ..Setup::default() };
        Self { stage: Stage::with(setup).await, statements }
    }

    async fn new() -> Self {
        Self::with(Vec::new()).await
    }

    /// How often each statement was sent by `work`: each by its words alone, since a list has as many values as it has rows.
    async fn by(self, work: impl AsyncFnOnce(&Stage)) -> BTreeMap<String, usize> {
        self.statements.take();
        work(&self.stage).await;
        let mut counted = BTreeMap::new();
        for sql in self.statements.take() {
            let words = sql.split_whitespace().filter(|word| !word.contains(['?', '$']));
            *counted.entry(words.collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
        assert!(!counted.is_empty());
        counted
    }

    async fn row(&self, connection: &str) -> connection::Model {
        let id = ids::decode(Kind::Connection, connection).unwrap();
        connection::Entity::find_by_id(id).one(self.stage.db.reader()).await.unwrap().unwrap()
    }

    fn new_id(&self) -> Uuid {
        ids::new(self.stage.clock.now(), &SystemEntropy)
    }

    /// So many more connections like this one, through its authorization; each is given to `differs` first.
    async fn more_like(&self, like: &connection::Model, count: usize, differs: impl Fn(usize, &mut connection::Model)) {
        let rows = (0..count).map(|number| {
            let mut row = connection::Model {
                id: self.new_id(),
                account_key: format!("{} {number}", like.account_key),
                ..like.clone()
            };
            differs(number, &mut row);
            row.into_active_model().reset_all()
        });
        connection::Entity::insert_many(rows).exec_without_returning(self.stage.db.writer()).await.unwrap();
    }

    /// So many more clients.
    async fn more_clients(&self, workspace_id: Uuid, count: usize) -> Vec<Uuid> {
        let row = |number: usize| client::Model {
            id: self.new_id(),
            workspace_id,
            name: format!("Client {number}"),
            name_key: format!("client {number}"),
            external_id: None,
            created_at: self.stage.clock.now(),
            removed_at: None,
        };
        let rows: Vec<client::Model> = (0..count).map(row).collect();
        let all = rows.iter().cloned().map(|row| row.into_active_model().reset_all());
        client::Entity::insert_many(all).exec_without_returning(self.stage.db.writer()).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    }

    /// So many more people of the staff.
    async fn more_staff(&self, workspace_id: Uuid, count: usize) -> Vec<Uuid> {
        let row = |number: usize| user::Model {
            id: self.new_id(),
            workspace_id,
            name: format!("Sam {number}"),
            name_key: format!("sam {number}"),
            email: format!("sam{number}@lighthouse.example"),
            email_key: format!("sam{number}@lighthouse.example"),
            role: Role::Staff,
            client_id: None,
            active: true,
            reminder_emails: true,
            created_at: self.stage.clock.now(),
        };
        let rows: Vec<user::Model> = (0..count).map(row).collect();
        let all = rows.iter().cloned().map(|row| row.into_active_model().reset_all());
        user::Entity::insert_many(all).exec_without_returning(self.stage.db.writer()).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    }
}

/// No statement is sent for each row. What is looked at from time to time may be sent a little more often.
async fn assert_grows_with_batches(what: &str, counted: impl AsyncFn(usize) -> BTreeMap<String, usize>) {
    let (few, many) = (counted(FEW).await, counted(MANY).await);
    let more: Vec<_> = many
        .iter()
        .filter(|(sql, count)| **count > few.get(*sql).copied().unwrap_or_default() + (MANY - FEW) / 2)
        .collect();
    assert!(more.is_empty(), "{what} sends for each of {MANY} what it does not for {FEW}:\n{more:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_removed_with_its_connections_and_their_sign_ins_in_batches() {
    assert_grows_with_batches("a sign-in that is shared", async |count| {
        let counted = Counted::new().await;
        let grant = counted.stage.shared_grant().await;
        let lamps = counted.row(&grant.lamps).await;
        counted.more_like(&lamps, count, |_, _| {}).await;
        let input = json!({ "clientId": grant.acme, "removeConnections": true });
        counted.by(async |stage| drop(stage.admin.does("removeClient", input, "").await)).await
    })
    .await;
    assert_grows_with_batches("a sign-in for each", async |count| {
        let counted = Counted::new().await;
        let acme = counted.stage.admin.creates_client("Acme").await;
        let billing = counted.stage.keyed("lamps", &acme).await;
        let billing = counted.row(&billing).await;
        let its = authorization::Entity::find_by_id(billing.authorization_id);
        let its = its.one(counted.stage.db.reader()).await.unwrap().unwrap();
        // Their secrets are left out: each is sealed for its own row.
        let copies: Vec<authorization::Model> = (0..count)
            .map(|number| authorization::Model {
                id: counted.new_id(),
                account_id: Some(format!("account {number}")),
                credential: None,
                ..its.clone()
            })
            .collect();
        let rows = copies.iter().cloned().map(|row| row.into_active_model().reset_all());
        authorization::Entity::insert_many(rows).exec_without_returning(counted.stage.db.writer()).await.unwrap();
        counted.more_like(&billing, count, |number, row| row.authorization_id = copies[number].id).await;
        let input = json!({ "clientId": acme, "removeConnections": true });
        counted.by(async |stage| drop(stage.admin.does("removeClient", input, "").await)).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_sign_in_is_healed_moved_or_changed_in_batches() {
    // To the same account, to another that is new, and to another that is there.
    for (who, is_there) in [("ada", false), ("ben", false), ("ben", true)] {
        assert_grows_with_batches(who, async |count| {
            let counted = Counted::new().await;
            let input = json!({ "connector": "sandbox-analytics" });
            let site = counted.stage.admin.connects(&counted.stage.browser(), input.clone(), "ada").await;
            let row = counted.row(&id(&site)).await;
            let clients = counted.more_clients(row.workspace_id, count).await;
            // Each client's is another person's.
            let staff = counted.more_staff(row.workspace_id, count).await;
            let differs = |number: usize, copy: &mut connection::Model| {
                copy.client_id = Some(clients[number]);
                copy.created_by = Some(staff[number]);
                copy.account_key.clone_from(&row.account_key);
            };
            counted.more_like(&row, count, differs).await;
            if is_there {
                let globex = counted.stage.admin.creates_client("Globex").await;
                let input = json!({ "connector": "sandbox-analytics", "clientId": globex });
                counted.stage.admin.connects(&counted.stage.browser(), input, "ben").await;
            }
            counted.stage.sandbox.revoke_person("ada");
            counted.stage.after_a_probe_interval().await;
            let site = id(&site);
            counted
                .by(async |stage| {
                    let admin = stage.admin_now();
                    let (attempt, _) = admin.reconnects(&stage.browser(), &site, "WHOLE_AUTHORIZATION", who).await;
                    assert_eq!(attempt["status"], AttemptStatus::Succeeded.as_str(), "{attempt:#}");
                    assert_eq!(attempt["connectionCount"], count + 1);
                })
                .await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_are_connected_in_batches() {
    assert_grows_with_batches("connecting accounts", async |count| {
        let counted = Counted::new().await;
        counted.stage.sandbox.configure(|options| options.managed_accounts = 60);
        let own = json!({ "connector": "sandbox-ads", "accountId": "100-301" });
        let own = counted.stage.admin.connects(&counted.stage.browser(), own, "ada").await;
        let row = |number: usize| json!({ "accountId": format!("200-{number:03}") });
        let rows: Vec<Value> = (1..=count).map(row).collect();
        let input = json!({ "authorizationId": own["authorization"]["id"], "accounts": rows });
        counted
            .by(async |stage| {
                let done = stage.admin.does("connectAccounts", input, "results { connection { id } }").await;
                assert_eq!(done["results"].as_array().unwrap().len(), count);
            })
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_people_are_told_and_many_notifications_are_read_in_batches() {
    assert_grows_with_batches("telling people", async |count| {
        let counted = Counted::new().await;
        let grant = counted.stage.shared_grant().await;
        let lamps = counted.row(&grant.lamps).await;
        counted.more_staff(lamps.workspace_id, count).await;
        counted.stage.sandbox.revoke_person("ada");
        counted
            .by(async |stage| {
                stage.after_a_probe_interval().await;
                assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
            })
            .await
    })
    .await;
    assert_grows_with_batches("reading them", async |count| {
        let counted = Counted::new().await;
        counted.stage.shared_grant().await;
        counted.stage.sandbox.revoke_person("ada");
        counted.stage.after_a_probe_interval().await;
        let told = notification::Entity::find().one(counted.stage.db.reader()).await.unwrap().unwrap();
        let more = (0..count).map(|_| {
            let more = notification::Model { id: counted.new_id(), occasion: counted.new_id(), ..told.clone() };
            more.into_active_model().reset_all()
        });
        notification::Entity::insert_many(more).exec_without_returning(counted.stage.db.writer()).await.unwrap();
        counted
            .by(async |stage| {
                let read = stage.admin_now().does("markNotificationsRead", json!({}), "notifications { id }").await;
                assert_eq!(read["notifications"].as_array().unwrap().len(), count + 1);
            })
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reminders_of_many_people_are_prepared_in_batches() {
    assert_grows_with_batches("a run of reminders", async |count| {
        let mail = MailServer::start().await;
        let counted = Counted::with(mail.settings()).await;
        let grant = counted.stage.shared_grant().await;
        let lamps = counted.row(&grant.lamps).await;
        let staff = counted.more_staff(lamps.workspace_id, count).await;
        counted.more_like(&lamps, count, |number, row| row.created_by = Some(staff[number])).await;
        counted.stage.sandbox.revoke_person("ada");
        counted.stage.after_a_probe_interval().await;
        counted.stage.later(TimeDelta::days(2));
        let all = counted.by(async |stage| stage.run_jobs().await).await;
        assert_eq!(mail.letters().len(), count + 1);
        // Letters are written and leave one by one.
        all.into_iter()
            .filter(|(sql, _)| sql.starts_with("INSERT INTO"))
            .filter(|(sql, _)| !sql.contains("journal"))
            .collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_deleted_some_at_a_time() {
    let counted = Counted::new().await;
    let stage = &counted.stage;
    let workspace_id = counted.row(&stage.shared_grant().await.lamps).await.workspace_id;
    let row = |number: usize| kept_answer::Model {
        id: counted.new_id(),
        workspace_id,
        principal: stage.admin.uuid(),
        idempotency_key: format!("key-{number}"),
        sealed: Vec::new(),
        claimed_by: None,
        claimed_until: None,
        expires_at: DateTime::UNIX_EPOCH,
    };
    let rows = (0..501).map(|number| row(number).into_active_model().reset_all());
    kept_answer::Entity::insert_many(rows).exec_without_returning(stage.db.writer()).await.unwrap();
    let sent = counted.by(async |stage| stage.run_jobs().await).await;
    let deletes = sent.iter().filter(|(sql, _)| sql.starts_with(r#"DELETE FROM "kept_answer""#));
    assert_eq!(deletes.map(|(_, count)| count).sum::<usize>(), 2, "others write in between");
}
