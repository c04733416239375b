//! Reminders: who is mailed of what, when, and how often.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Detector, DisconnectionReason, Status, authorization, connection, disconnection, disconnection_connection,
    reminder, reminder_disconnection, workspace,
};
use patchbay::ids::{self, Kind};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryOrder,
    sea_query::Expr,
};
use serde_json::{Value, json};

use crate::harness::{
    Person, Setup, Stage, id, leave_out,
    mail::{Fault, MailServer, Received},
    nodes,
};

/// A server that sends its mail to a mail server of the test's.
async fn stage_with_mail() -> (Stage, MailServer) {
    let mail = MailServer::start().await;
    let stage = Stage::with(Setup { settings: mail.settings(), ..Setup::default() }).await;
    (stage, mail)
}

impl Stage {
    /// Goes to `hour` (UTC) of the `day`th day from the first, 2 March 2026, and does the jobs once.
    async fn at(&self, day: i64, hour: i64) {
        self.goes_to(day, hour);
        self.run_jobs().await;
    }

    fn goes_to(&self, day: i64, hour: i64) {
        let first: DateTime<Utc> = "2026-03-02T00:00:00Z".parse().unwrap();
        let then = first + TimeDelta::days(day) + TimeDelta::hours(hour);
        self.later(then - patchbay::clock::Clock::now(&*self.clock));
    }

    /// Seven in the morning in Phoenix of the `day`th day.
    async fn morning(&self, day: i64) {
        self.at(day, 14).await;
    }

    /// A key of a new client's breaks, and is noticed; the connection, which is `owner`'s.
    async fn broken_key(&self, key: &str, owner: &Person) -> String {
        let client = self.admin_now().creates_client(key).await;
        let owner = self.signed_in(&owner.id);
        let input =
            json!({ "connector": "sandbox-billing", "clientId": client, "using": { "credentials": self.key(key) } });
        let connection = id(&owner.does("connect", input, "connection { id }").await["connection"]);
        self.sandbox.change_key(key).unwrap();
        self.after_a_probe_interval().await;
        assert_eq!(self.status(&connection).await, "DISCONNECTED");
        connection
    }

    /// When the newest disconnection's reminder left, as `person` sees it.
    async fn reminded_at(&self, person: &Person) -> Value {
        let page = self.signed_in(&person.id).sees("{ disconnections { nodes { remindedAt } } }").await;
        nodes(&page["disconnections"])[0]["remindedAt"].clone()
    }
}

/// To whom letters went, sorted.
fn recipients(letters: &[Received]) -> Vec<&str> {
    let mut to: Vec<&str> = letters.iter().flat_map(|letter| &letter.to).map(String::as_str).collect();
    to.sort_unstable();
    to
}

const MARA: &str = "mara@lighthouse.example";

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_mailed_the_next_morning_but_one_and_never_again_of_the_same() {
    let (stage, mail) = stage_with_mail().await;
    let connection = stage.broken_key("lamps", &stage.admin).await;
    stage.morning(0).await;
    assert_eq!(mail.letters().len(), 0, "it is not a day old");
    assert_eq!(stage.reminded_at(&stage.admin).await, Value::Null);
    stage.morning(1).await;
    let letters = mail.letters();
    assert_eq!(recipients(&letters), [MARA]);
    assert_eq!(letters[0].subject(), "Sandbox Billing is disconnected for lamps");
    for part in [&letters[0].text, &letters[0].html] {
        assert!(part.contains(&connection), "the button leads to the connection: {part}");
    }
    assert!(stage.reminded_at(&stage.admin).await.is_string());
    for day in 2..5 {
        stage.morning(day).await;
    }
    assert_eq!(mail.letters().len(), 1);
    let entries = stage.admin_now().audited("reminder.sent").await;
    assert_eq!(entries[0]["details"], json!({ "day": "2026-03-03", "disconnections": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_outage_of_fifty_connections_of_three_owners_makes_three_mails_each_with_its_own_list() {
    let (stage, mail) = stage_with_mail().await;
    stage.sandbox.configure(|options| options.managed_accounts = 50);
    let (sam, sue) = (stage.person("Sam", "STAFF", None).await, stage.person("Sue", "STAFF", None).await);
    let own = json!({ "connector": "sandbox-ads", "accountId": "200-001" });
    let own = stage.admin.connects(&stage.browser(), own, "ada").await;
    let mut number = 1;
    for (owner, count) in [(&stage.admin, 9), (&sam, 20), (&sue, 20)] {
        let mut rows = Vec::new();
        for _ in 0..count {
            number += 1;
            let client = stage.admin.creates_client(&format!("Client {number:02}")).await;
            rows.push(json!({ "accountId": format!("200-{number:03}"), "clientId": client }));
        }
        let input = json!({ "authorizationId": own["authorization"]["id"], "accounts": rows });
        let payload = owner.does("connectAccounts", input, "results { connection { id } errors { message } }").await;
        assert_eq!(payload["results"].as_array().unwrap().len(), count, "{payload:#}");
    }
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;

    stage.morning(1).await;
    let letters = mail.letters();
    assert_eq!(recipients(&letters), [MARA, "sam@lighthouse.example", "sue@lighthouse.example"]);
    let to = |name: &str| letters.iter().find(|letter| letter.to[0].starts_with(name)).unwrap();
    for (name, connections, first, not) in [
        ("mara", 10, "Client 02", "Client 11"),
        ("sam", 20, "Client 11", "Client 31"),
        ("sue", 20, "Client 31", "Client 30"),
    ] {
        for part in [&to(name).text, &to(name).html] {
            assert!(part.contains(&format!("{connections} connections")), "{part}");
            assert!(part.contains(first) && !part.contains(not), "{name}: {part}");
        }
    }
    stage.morning(2).await;
    assert_eq!(mail.letters().len(), 3, "none the day after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_exact_to_the_microsecond() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    let run: DateTime<Utc> = "2026-03-03T14:00:00Z".parse().unwrap();
    let begins = async |at: DateTime<Utc>| {
        let all = disconnection::Entity::update_many().col_expr(disconnection::Column::StartedAt, Expr::value(at));
        all.exec(stage.db.writer()).await.unwrap();
    };
    begins(run - TimeDelta::hours(24) + TimeDelta::microseconds(1)).await;
    stage.morning(1).await;
    assert_eq!(mail.letters().len(), 0, "23:59:59.999999");
    // The same run, prepared anew.
    let anew =
        workspace::Entity::update_many().col_expr(workspace::Column::RemindedAt, Expr::value(None::<DateTime<Utc>>));
    anew.exec(stage.db.writer()).await.unwrap();
    begins(run - TimeDelta::hours(24)).await;
    stage.run_jobs().await;
    assert_eq!(mail.letters().len(), 1, "24:00:00");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hours_and_the_zone_are_the_workspaces() {
    let (stage, mail) = stage_with_mail().await;
    let input = json!({ "timeZone": "Europe/Berlin", "reminderTime": "18:30", "reminderAfterHours": 2 });
    stage.admin.does("updateWorkspace", input, "workspace { id }").await;
    stage.broken_key("lamps", &stage.admin).await;
    stage.at(0, 17).await;
    assert_eq!(mail.letters().len(), 0);
    stage.later(TimeDelta::minutes(30));
    stage.run_jobs().await;
    assert_eq!(mail.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_healed_before_is_not_mailed_and_what_breaks_again_is_a_new_matter() {
    let (stage, mail) = stage_with_mail().await;
    let connection = stage.broken_key("lamps", &stage.admin).await;
    stage.at(1, 13).await;
    let reconnect = async || {
        let input = json!({ "connectionId": connection, "credentials": stage.key("lamps") });
        stage.admin_now().does("reconnect", input, "connections { id }").await;
    };
    reconnect().await;
    stage.morning(1).await;
    assert_eq!(mail.letters().len(), 0, "healed at six");

    stage.sandbox.change_key("lamps").unwrap();
    stage.after_a_probe_interval().await;
    stage.morning(2).await;
    assert_eq!(mail.letters().len(), 0, "not yet a day old");
    stage.morning(3).await;
    assert_eq!(mail.letters().len(), 1);

    reconnect().await;
    stage.sandbox.change_key("lamps").unwrap();
    stage.after_a_probe_interval().await;
    stage.morning(5).await;
    assert_eq!(mail.letters().len(), 2, "another disconnection, another reminder");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_heals_while_its_reminder_waits_is_not_told_any_more() {
    let (stage, mail) = stage_with_mail().await;
    let connection = stage.broken_key("lamps", &stage.admin).await;
    mail.fail_next(Fault::Recipient("451 4.3.0 later"));
    stage.morning(1).await;
    let input = json!({ "connectionId": connection, "credentials": stage.key("lamps") });
    stage.admin_now().does("reconnect", input, "connections { id }").await;
    stage.morning(2).await;
    assert_eq!(mail.letters().len(), 0);
    let rows = reminder::Entity::find().all(stage.db.reader()).await.unwrap();
    assert_eq!(rows[0].status, entity::ReminderStatus::Dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admins_are_mailed_for_an_owner_who_left() {
    let (stage, mail) = stage_with_mail().await;
    let (sam, ann) = (stage.person("Sam", "STAFF", None).await, stage.person("Ann", "ADMIN", None).await);
    stage.broken_key("lamps", &sam).await;
    stage.broken_key("hotels", &ann).await;
    stage.admin_now().does("updateUser", json!({ "userId": sam.id, "active": false }), "user { id }").await;
    stage.morning(1).await;
    let letters = mail.letters();
    assert_eq!(recipients(&letters), ["ann@lighthouse.example", MARA]);
    let to = |name: &str| letters.iter().find(|letter| letter.to[0].starts_with(name)).unwrap();
    assert!(to("ann").text.contains("lamps") && to("ann").text.contains("hotels"));
    assert!(to("mara").text.contains("lamps") && !to("mara").text.contains("hotels"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_no_reminders_gets_none_and_nobody_gets_them_instead() {
    let (stage, mail) = stage_with_mail().await;
    let sam = stage.person("Sam", "STAFF", None).await;
    sam.does("updateNotificationPreferences", json!({ "reminderEmails": false }), "viewer { id }").await;
    stage.broken_key("lamps", &sam).await;
    stage.morning(1).await;
    assert_eq!(mail.letters().len(), 0);
    let sam = stage.signed_in(&sam.id);
    sam.does("updateNotificationPreferences", json!({ "reminderEmails": true }), "viewer { id }").await;
    stage.morning(2).await;
    assert_eq!(recipients(&mail.letters()), ["sam@lighthouse.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_letter_that_never_left_was_to_tell_is_told_another_day() {
    let (stage, mail) = stage_with_mail().await;
    let sam = stage.person("Sam", "STAFF", None).await;
    stage.broken_key("lamps", &sam).await;
    mail.fail_next(Fault::Recipient("451 4.3.0 later"));
    stage.morning(1).await;
    let wants = async |wanted: bool| {
        let input = json!({ "reminderEmails": wanted });
        stage.signed_in(&sam.id).does("updateNotificationPreferences", input, "viewer { id }").await;
    };
    wants(false).await;
    stage.later(TimeDelta::minutes(1));
    stage.run_jobs().await;
    wants(true).await;
    stage.at(1, 20).await;
    assert_eq!(mail.letters().len(), 0, "there was nobody to tell when it was to leave");
    stage.morning(2).await;
    assert_eq!(recipients(&mail.letters()), ["sam@lighthouse.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_when_their_own_reminder_left_and_those_who_see_all_the_first() {
    let (stage, _mail) = stage_with_mail().await;
    let member = stage.person("Mia", "MEMBER", None).await;
    let connection = stage.broken_key("lamps", &member).await;
    let other = stage.person("Max", "MEMBER", None).await;
    let input = json!({ "connectionId": connection, "userIds": [other.id] });
    stage.admin_now().does("shareConnection", input, "connection { id }").await;
    let client = id(&stage.admin_now().connection(&connection).await["client"]);
    let login = stage.person("Cleo", "CLIENT", Some(&client)).await;
    stage.morning(1).await;
    let hers = stage.reminded_at(&member).await;
    assert!(hers.is_string());
    assert_eq!(stage.reminded_at(&stage.admin).await, hers);
    for somebody in [&other, &login] {
        assert_eq!(stage.reminded_at(somebody).await, Value::Null, "nobody reminded them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_wants_to_be_asked_again_is_within_three_seconds_then_ever_more_slowly() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    for answer in ["421 4.3.2 closing", "451 4.3.0 later", "450 4.2.1 busy", "452 4.2.2 full"] {
        mail.fail_next(Fault::Recipient(answer));
    }
    stage.morning(1).await;
    assert_eq!(mail.attempts(), 1);
    for (seconds, refusals) in [(3, 2), (1, 2), (2, 3), (3, 3), (2, 4)] {
        stage.later(TimeDelta::seconds(seconds));
        stage.run_jobs().await;
        assert_eq!(mail.attempts(), refusals, "{seconds} s later");
    }
    assert_eq!(mail.letters().len(), 0);
    stage.later(TimeDelta::seconds(9));
    stage.run_jobs().await;
    assert_eq!(mail.letters().len(), 1);
    stage.morning(2).await;
    assert_eq!(mail.letters().len(), 1, "exactly one was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_another_try_is_due_at_once_after_a_restart() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    stage.morning(1).await;
    assert_eq!(mail.letters().len(), 1);
    stage.broken_key("hotels", &stage.admin_now()).await;
    for _ in 0..10 {
        mail.fail_next(Fault::Recipient("421 4.3.2 closing"));
    }
    stage.morning(3).await;
    for _ in 0..9 {
        stage.later(TimeDelta::minutes(10));
        stage.run_jobs().await;
    }
    assert_eq!((mail.attempts(), mail.letters().len()), (11, 1));
    stage.run_jobs().await;
    assert_eq!(mail.letters().len(), 1, "it waits");
    let stage = stage.restarts().await;
    stage.run_jobs().await;
    assert_eq!(mail.letters().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_leave_takes_along_what_comes_meanwhile() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    stage.at(0, 20).await;
    stage.broken_key("hotels", &stage.admin_now()).await;
    mail.fail_next(Fault::Recipient("451 4.3.0 later"));
    stage.morning(1).await;
    stage.morning(2).await;
    let letters = mail.letters();
    assert_eq!(letters.len(), 1, "one mail for both");
    assert!(letters[0].text.contains("lamps") && letters[0].text.contains("hotels"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_is_recorded_and_not_tried_again() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    mail.fail_next(Fault::Recipient("550 5.1.1 nobody of that name"));
    stage.morning(1).await;
    for day in 2..4 {
        stage.morning(day).await;
    }
    assert_eq!((mail.attempts(), mail.letters().len()), (1, 0));
    let entries = stage.admin_now().audited("reminder.refused").await;
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["details"]["problem"].as_str().unwrap().contains("550"), "{entries:#?}");
    assert_eq!(stage.reminded_at(&stage.admin).await, Value::Null, "it did not leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_taking_was_not_heard_is_handed_over_again_under_the_same_message_id() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    mail.fail_next(Fault::DropAfterLetter);
    stage.morning(1).await;
    stage.later(TimeDelta::seconds(3));
    stage.run_jobs().await;
    let letters = mail.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].header("Message-ID"), letters[1].header("Message-ID"));
    assert!(stage.reminded_at(&stage.admin).await.is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_never_heard_gets_a_letter_three_times() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    for _ in 0..5 {
        mail.fail_next(Fault::DropAfterLetter);
    }
    stage.morning(1).await;
    for _ in 0..10 {
        stage.later(TimeDelta::minutes(10));
        stage.run_jobs().await;
    }
    assert_eq!(mail.letters().len(), 3);
    assert_eq!(stage.admin_now().audited("reminder.refused").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_down_over_the_hour_mails_on_its_return_once() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    // No job runs for three days and more.
    stage.at(4, 23).await;
    assert_eq!(mail.letters().len(), 1);
    stage.run_jobs().await;
    stage.morning(5).await;
    assert_eq!(mail.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_the_hour_makes_no_second_mail_of_a_day() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    stage.at(0, 16).await;
    stage.broken_key("hotels", &stage.admin_now()).await;
    stage.morning(1).await;
    assert_eq!(mail.letters().len(), 1, "of the lamps: the hotels are not a day old");
    let input = json!({ "reminderTime": "12:00" });
    stage.admin_now().does("updateWorkspace", input, "workspace { id }").await;
    stage.at(1, 20).await;
    assert_eq!(mail.letters().len(), 1, "this day's mail has left");
    stage.at(2, 20).await;
    assert_eq!(mail.letters().len(), 2);
    assert!(mail.letters()[1].text.contains("hotels") && !mail.letters()[1].text.contains("lamps"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_button_leads_where_the_workspace_says() {
    let (stage, mail) = stage_with_mail().await;
    let input = json!({ "connectionUrl": "https://app.example/sources/{connectionId}?from=mail" });
    stage.admin.does("updateWorkspace", input, "workspace { id }").await;
    let connection = stage.broken_key("lamps", &stage.admin).await;
    stage.morning(1).await;
    let url = format!("https://app.example/sources/{connection}?from=mail");
    assert!(mail.letters()[0].text.contains(&url) && mail.letters()[0].html.contains(&url));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_make_no_header_and_no_markup() {
    let (stage, mail) = stage_with_mail().await;
    let row = entity::user::Entity::find_by_id(stage.admin.uuid()).one(stage.db.reader()).await.unwrap().unwrap();
    let mut row = row.into_active_model();
    // No name as this is taken today; an older version, or another tool, may have written it.
    row.name = Set("Mara\r\nBcc: eve@evil.example\r\n\r\n<script>alert(1)</script>".to_owned());
    entity::user::Entity::update(row).exec(stage.db.writer()).await.unwrap();
    let connection = stage.broken_key("lamps", &stage.admin).await;
    let client = id(&stage.admin_now().connection(&connection).await["client"]);
    let input = json!({ "clientId": client, "name": "<img src=https://evil.example/x>" });
    stage.admin_now().does("updateClient", input, "client { id }").await;
    stage.morning(1).await;
    let letters = mail.letters();
    assert_eq!(recipients(&letters), [MARA]);
    assert_eq!(letters[0].header("Bcc"), None);
    assert_eq!(letters[0].header("To").map(|to| to.contains("Bcc: eve@evil.example")), Some(true), "it stays a name");
    assert!(!letters[0].html.contains("<script") && !letters[0].html.contains("<img"));
    assert!(letters[0].html.contains("&#60;img") || letters[0].html.contains("&lt;img"), "{}", letters[0].html);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_from_a_mail_reader_ends_reminders() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    stage.morning(1).await;
    let letter = &mail.letters()[0];
    assert_eq!(letter.header("List-Unsubscribe-Post"), Some("List-Unsubscribe=One-Click"));
    let url = letter.header("List-Unsubscribe").unwrap().trim_matches(['<', '>']).to_owned();
    let answer = crate::harness::http().post(url).body("List-Unsubscribe=One-Click").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    stage.broken_key("hotels", &stage.admin_now()).await;
    stage.morning(3).await;
    assert_eq!(mail.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_at_the_hour_send_one_mail_even_with_clocks_five_minutes_apart() {
    let (first, mail) = stage_with_mail().await;
    if first.database.is_sqlite() {
        leave_out("several nodes need PostgreSQL");
        return;
    }
    let second = first.another_node_ahead(TimeDelta::minutes(5)).await;
    for key in ["lamps", "hotels", "orchards"] {
        first.broken_key(key, &first.admin).await;
    }
    first.at(1, 13).await;
    for _ in 0..70 {
        first.later(TimeDelta::minutes(1));
        tokio::join!(first.run_jobs(), second.run_jobs());
    }
    assert_eq!(mail.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_inherits_the_claim_of_a_server_that_was_killed_sends_its_reminder() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    mail.fail_next(Fault::Recipient("451 4.3.0 later"));
    stage.morning(1).await;
    let claimed = async |until: &str| {
        let until: DateTime<Utc> = until.parse().unwrap();
        let claim = reminder::Entity::update_many()
            .col_expr(reminder::Column::ClaimedBy, Expr::value(uuid::Uuid::from_u128(1)))
            .col_expr(reminder::Column::ClaimedUntil, Expr::value(until));
        claim.exec(stage.db.writer()).await.unwrap();
        stage.later(TimeDelta::minutes(1));
        stage.run_jobs().await;
    };
    // By the database's time, which on PostgreSQL no test has in hand.
    claimed("2100-01-01T00:00:00Z").await;
    assert_eq!(mail.letters().len(), 0, "somebody is at it");
    claimed("2026-01-01T00:00:00Z").await;
    assert_eq!(mail.letters().len(), 1);
}

/// Connects `count` more shops for nobody, each by an authorization of its own, all disconnected since `since`.
async fn nobodys_outages(stage: &Stage, count: u32, since: DateTime<Utc>) {
    let shop = id(&stage.admin_now().connects_shop(&stage.browser(), "first").await);
    let row = connection::Entity::find_by_id(ids::decode(Kind::Connection, &shop).unwrap())
        .one(stage.db.reader())
        .await
        .unwrap()
        .unwrap();
    let its = authorization::Entity::find_by_id(row.authorization_id).one(stage.db.reader()).await.unwrap().unwrap();
    let (mut authorizations, mut connections, mut outages, mut links) = (vec![], vec![], vec![], vec![]);
    for number in 0..count {
        let mut its = its.clone();
        its.id = uuid::Uuid::from_u128(0x0196_0000_0000_7000_8000_0000_0000_0000 + u128::from(number));
        its.account_id = Some(format!("shop-{number}"));
        (its.status, its.created_by) = (Status::Disconnected, None);
        (its.probe_at, its.renew_at) = (None, None);
        let mut row = row.clone();
        (row.id, row.authorization_id) = (its.id, its.id);
        row.account_key = format!("shop-{number}");
        (row.status, row.created_by, row.probe_at) = (Status::Disconnected, None, None);
        let open = disconnection::Model {
            id: its.id,
            workspace_id: row.workspace_id,
            authorization_id: its.id,
            connection_id: None,
            connector: row.connector.clone(),
            reason: DisconnectionReason::Revoked,
            detected_by: Detector::Probe,
            message: "It was revoked.".to_owned(),
            credential_version: 1,
            started_at: since + TimeDelta::milliseconds(number.into()),
            ended_at: None,
            ended_by: None,
            reconnected_by: None,
        };
        links.push(disconnection_connection::ActiveModel {
            disconnection_id: Set(open.id),
            connection_id: Set(row.id),
            workspace_id: Set(row.workspace_id),
        });
        authorizations.push(its.into_active_model().reset_all());
        connections.push(row.into_active_model().reset_all());
        outages.push(open.into_active_model().reset_all());
    }
    let db = stage.db.writer();
    authorization::Entity::insert_many(authorizations).exec_without_returning(db).await.unwrap();
    connection::Entity::insert_many(connections).exec_without_returning(db).await.unwrap();
    disconnection::Entity::insert_many(outages).exec_without_returning(db).await.unwrap();
    disconnection_connection::Entity::insert_many(links).exec_without_returning(db).await.unwrap();
}

/// Has the database take no reminder of the disconnection that began last, until it is mended.
async fn the_last_cannot_be_written(stage: &Stage) {
    let last = disconnection::Entity::find().order_by_desc(disconnection::Column::StartedAt);
    let last = last.one(stage.db.reader()).await.unwrap().unwrap().id.simple().to_string();
    let break_it = if stage.db.is_sqlite() {
        vec![format!(
            "CREATE TRIGGER away BEFORE INSERT ON reminder_disconnection WHEN NEW.disconnection_id = x'{last}' \
             BEGIN SELECT RAISE(ABORT, 'away'); END"
        )]
    } else {
        vec![
            format!(
                "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.disconnection_id = '{last}'::uuid THEN RAISE EXCEPTION 'away'; END IF; RETURN NEW; END $$"
            ),
            "CREATE TRIGGER away BEFORE INSERT ON reminder_disconnection FOR EACH ROW EXECUTE FUNCTION away()"
                .to_owned(),
        ]
    };
    for statement in break_it {
        stage.db.writer().execute_unprepared(&statement).await.unwrap();
    }
}

async fn it_can_be_written(stage: &Stage) {
    let mend = if stage.db.is_sqlite() { "DROP TRIGGER away" } else { "DROP TRIGGER away ON reminder_disconnection" };
    stage.db.writer().execute_unprepared(mend).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_many_is_written_in_parts_and_each_letter_counts_what_it_does_not_list() {
    let (stage, mail) = stage_with_mail().await;
    for number in 1..=11 {
        stage.person(&format!("Admin{number:02}"), "ADMIN", None).await;
    }
    nobodys_outages(&stage, 250, "2026-03-02T09:00:00Z".parse().unwrap()).await;
    the_last_cannot_be_written(&stage).await;
    stage.morning(1).await;
    let written = async || reminder_disconnection::Entity::find().count(stage.db.reader()).await.unwrap();
    assert!((1..250 * 12).contains(&written().await), "what was written before it failed stays: {}", written().await);
    assert_eq!(mail.letters().len(), 0, "and no letter leaves with a part");

    it_can_be_written(&stage).await;
    stage.run_jobs().await;
    assert_eq!(written().await, 250 * 12);
    let letters = mail.letters();
    assert_eq!((letters.len(), recipients(&letters).len()), (12, 12), "one for each ADMIN");
    for letter in &letters {
        assert!(letter.text.contains("250 data sources have been disconnected"), "{}", letter.text);
        assert!(letter.text.contains("210 more data sources are disconnected"), "{}", letter.text);
        assert_eq!(letter.text.matches("\nReconnect:").count(), 40);
    }
    for day in 2..4 {
        stage.morning(day).await;
    }
    assert_eq!(mail.letters().len(), 12, "and of each once");
    let entries = stage.admin_now().audited("reminder.sent").await;
    assert_eq!(entries.len(), 12);
    assert_eq!(entries[0]["details"]["disconnections"], 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_kept_up_while_a_mail_server_is_slow_and_who_lost_it_writes_nothing() {
    let (stage, mail) = stage_with_mail().await;
    stage.broken_key("lamps", &stage.admin).await;
    mail.fail_next(Fault::Hang);
    let connections = mail.connections();
    stage.goes_to(1, 14);
    let jobs = stage.jobs.clone();
    let delivering = tokio::spawn(async move { jobs.run_due().await });
    let row = async || reminder::Entity::find().one(stage.db.reader()).await.unwrap();
    // However long that takes: it is kept up every few seconds.
    let waits = async {
        while mail.connections() == connections {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let first = row().await.unwrap().claimed_until.unwrap();
        while row().await.unwrap().claimed_until.unwrap() <= first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waits).await.is_ok(), "the claim is not kept up");

    let taken = reminder::Entity::update_many()
        .col_expr(reminder::Column::ClaimedBy, Expr::value(uuid::Uuid::from_u128(1)))
        .col_expr(
            reminder::Column::ClaimedUntil,
            Expr::value("2100-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap()),
        );
    taken.exec(stage.db.writer()).await.unwrap();
    let before = row().await;
    mail.close_connections();
    delivering.await.unwrap().unwrap();
    assert_eq!(row().await, before, "it is another's to say what became of it");
    assert_eq!(stage.admin_now().audited("reminder.sent").await.len(), 0);
}
