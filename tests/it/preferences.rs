//! Whether somebody is reminded by e-mail: their own choice, by the API or by the link in each letter.

use entity::{user, workspace};
use patchbay::ids::{self, Kind};
use reqwest::{Method, Response, header};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel};
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Person, Stage, http};

const MUTATION: &str = "updateNotificationPreferences";

async fn is_reminded(person: &Person) -> bool {
    person.sees("{ viewer { reminderEmails } }").await["viewer"]["reminderEmails"].as_bool().unwrap()
}

async fn chooses(person: &Person, input: Value) -> Value {
    person.does(MUTATION, input, "viewer { reminderEmails }").await["viewer"]["reminderEmails"].clone()
}

async fn rows(stage: &Stage, person: &Person) -> (user::Model, workspace::Model) {
    let id = ids::decode(Kind::User, &person.id).unwrap();
    let user = user::Entity::find_by_id(id).one(stage.db.reader()).await.unwrap().unwrap();
    let workspace = workspace::Entity::find_by_id(user.workspace_id).one(stage.db.reader()).await.unwrap().unwrap();
    (user, workspace)
}

/// As it is in their letters.
async fn link(stage: &Stage, person: &Person) -> Url {
    let (user, workspace) = rows(stage, person).await;
    stage.jobs.notifications.unsubscribe_url(&user, &workspace)
}

async fn opens(method: Method, url: Url) -> Response {
    let request = http().request(method.clone(), url);
    // What mail clients send (RFC 8058 §3.2).
    let request = if method == Method::POST {
        let form = "application/x-www-form-urlencoded";
        request.header(header::CONTENT_TYPE, form).body("List-Unsubscribe=One-Click")
    } else {
        request
    };
    request.send().await.unwrap()
}

fn header_of<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_reminded_until_they_choose_otherwise() {
    let stage = Stage::new().await;
    let ned = stage.person("Ned", "MEMBER", None).await;
    assert!(is_reminded(&ned).await);
    assert_eq!(chooses(&ned, json!({ "reminderEmails": false })).await, false);
    assert!(!is_reminded(&ned).await);
    assert!(is_reminded(&stage.admin).await, "it is each person's own");
    assert_eq!(chooses(&ned, json!({})).await, false, "what is absent stays");
    assert_eq!(chooses(&ned, json!({ "reminderEmails": false })).await, false);
    assert_eq!(chooses(&ned, json!({ "reminderEmails": true })).await, true);

    let entries = stage.admin.audited("user.preferences_changed").await;
    let (on, off) = (json!({ "reminderEmails": true }), json!({ "reminderEmails": false }));
    assert_eq!(entries.len(), 2, "what changes nothing is not told: {entries:#?}");
    for (before, after) in [(&on, &off), (&off, &on)] {
        let details = json!({ "before": before, "after": after });
        let entry = entries.iter().find(|entry| entry["details"] == details);
        let entry = entry.unwrap_or_else(|| panic!("{details} is not in {entries:#?}"));
        assert_eq!((&entry["user"]["id"], &entry["subject"]["id"]), (&json!(ned.id), &json!(ned.id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_and_a_key_are_not_reminded_and_choose_nothing() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let client = stage.person("Cleo", "CLIENT", Some(&acme)).await;
    let (_, key) = stage.admin.makes_key(json!({ "name": "Pipeline", "role": "ADMIN" })).await;
    for who in [&client, &key] {
        assert!(!is_reminded(who).await);
        let answer = who.tries_mutation(MUTATION, json!({ "reminderEmails": false }), "").await;
        assert_eq!(answer.code(), Some("FORBIDDEN"), "{:#}", answer.body);
    }
    assert!(is_reminded(&stage.admin).await, "a key does not choose for whoever made it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_in_a_letter_asks_and_its_button_turns_reminders_off() {
    let stage = Stage::new().await;
    let link = link(&stage, &stage.admin).await;
    assert_eq!(link.origin(), stage.url.origin());
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let page = opens(method, link.clone()).await;
        assert_eq!(page.status(), 200);
        let policy = header_of(&page, "content-security-policy");
        assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(header_of(&page, "x-frame-options"), "DENY");
        assert_eq!(
            (header_of(&page, "referrer-policy"), header_of(&page, "cache-control")),
            ("no-referrer", "no-store")
        );
    }
    let page = opens(Method::GET, link.clone()).await.text().await.unwrap();
    assert!(page.contains("<form method=\"post\">") && page.contains("Lighthouse"), "{page}");
    assert!(is_reminded(&stage.admin).await, "looking changes nothing");

    for _ in 0..2 {
        let page = opens(Method::POST, link.clone()).await;
        assert_eq!((page.status().as_u16(), page.headers().get(header::SET_COOKIE)), (200, None));
        let page = page.text().await.unwrap();
        assert!(page.contains("No more reminders") && !page.contains("<form"), "{page}");
        assert!(!is_reminded(&stage.admin).await);
    }
    let page = opens(Method::GET, link.clone()).await.text().await.unwrap();
    assert!(page.contains("No more reminders"), "whoever comes back is told: {page}");

    let entries = stage.admin.audited("user.preferences_changed").await;
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(entries[0]["user"]["id"], *stage.admin.id);
    assert_eq!(chooses(&stage.admin, json!({ "reminderEmails": true })).await, true, "they may change their mind");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_link_turns_anything_off() {
    let stage = Stage::new().await;
    let stranger = stage.stranger().await;
    let (user, workspace) = rows(&stage, &stage.admin).await;
    let (foreigner, elsewhere) = rows(&stage, &stranger).await;
    let ours = stage.jobs.notifications.unsubscribe_url(&user, &workspace);
    let token = ours.path_segments().unwrap().next_back().unwrap().to_owned();
    let of_key_elsewhere = stage.jobs.notifications.unsubscribe_url(&user, &elsewhere);
    let of_them_by_our_key = stage.jobs.notifications.unsubscribe_url(&foreigner, &workspace);
    let altered: String = token.chars().rev().collect();
    let mut wrong = vec![of_key_elsewhere, of_them_by_our_key];
    for other in ["x", &token[..22], &token[..42], &format!("{token}AAAA"), &altered, &stage.admin.id, "%00", "%FF"] {
        wrong.push(stage.url.join(&format!("/unsubscribe/{other}")).unwrap());
    }
    for url in wrong {
        for method in [Method::GET, Method::POST] {
            let page = opens(method, url.clone()).await;
            assert!([400, 404].contains(&page.status().as_u16()), "{url}: {}", page.status());
            assert!(!page.text().await.unwrap().contains("Mara"));
        }
    }
    assert!(is_reminded(&stage.admin).await && is_reminded(&stranger).await);

    let mut renewed = workspace.clone().into_active_model();
    renewed.cursor_key = Set(vec![7; 32]);
    renewed.update(stage.db.writer()).await.unwrap();
    assert_eq!(opens(Method::POST, ours).await.status(), 404, "a new key ends the links of the old one");
}
