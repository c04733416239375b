//! The settings of a workspace.

use serde_json::{Value, json};

use crate::harness::Stage;

const WORKSPACE: &str = "workspace { name timeZone reminderTime reminderAfterHours connectionUrl }";

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_changes_what_is_given_and_the_rest_stays() {
    let stage = Stage::new().await;
    let updates = async |input: Value| stage.admin.does("updateWorkspace", input, WORKSPACE).await["workspace"].clone();
    let url = "https://app.example/sources/{connectionId}";
    let first = json!({
        "name": "Lighthouse Ltd.", "timeZone": "Europe/Berlin", "reminderTime": "08:30", "reminderAfterHours": 48,
        "connectionUrl": url,
    });
    assert_eq!(updates(first.clone()).await, first);
    assert_eq!(updates(json!({})).await, first);
    let mut second = first.clone();
    (second["name"], second["connectionUrl"]) = (json!("Lighthouse"), Value::Null);
    assert_eq!(updates(json!({ "name": "Lighthouse", "connectionUrl": null })).await, second);
    let seen = stage.admin.sees(&format!("{{ viewer {{ {WORKSPACE} }} }}")).await;
    assert_eq!(seen["viewer"]["workspace"], second);

    let log = r#"{ auditLog(filter: { action: "workspace.updated" }) { nodes { user { id } subject { __typename } details } } }"#;
    let log = stage.admin.sees(log).await["auditLog"]["nodes"].clone();
    assert_eq!(log.as_array().unwrap().len(), 2, "what changes nothing is not told: {log:#}");
    assert_eq!(log[0]["details"], json!({ "before": first, "after": second }));
    assert_eq!(
        (&log[0]["user"]["id"], &log[0]["subject"]["__typename"]),
        (&json!(stage.admin.id), &json!("Workspace"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_setting_is_invalid_at_its_field_and_nothing_changes() {
    let stage = Stage::new().await;
    let whole = format!("{{ viewer {{ {WORKSPACE} }} }}");
    let before = stage.admin.sees(&whole).await;
    for (field, value) in [
        ("name", json!("")),
        ("name", Value::Null),
        ("timeZone", json!("Mars/Olympus")),
        ("timeZone", Value::Null),
        ("reminderTime", json!("7:00")),
        ("reminderTime", json!("24:00")),
        ("reminderTime", Value::Null),
        ("reminderAfterHours", json!(0)),
        ("reminderAfterHours", json!(-1)),
        ("reminderAfterHours", json!(721)),
        ("reminderAfterHours", Value::Null),
        ("connectionUrl", json!("http://app.example/{connectionId}")),
        ("connectionUrl", json!("https://app.example/")),
        ("connectionUrl", json!("javascript:alert('{connectionId}')")),
    ] {
        let mut input = json!({ "name": "Changed" });
        input[field] = value;
        let payload = stage.admin.mutates("updateWorkspace", input.clone(), WORKSPACE).await;
        assert_eq!(payload["workspace"], Value::Null, "{input}");
        let error = &payload["errors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!([field])), "{input}");
    }
    let all = json!({ "name": "", "timeZone": "", "reminderTime": "", "reminderAfterHours": 0, "connectionUrl": "" });
    let payload = stage.admin.mutates("updateWorkspace", all, WORKSPACE).await;
    assert_eq!(payload["errors"].as_array().unwrap().len(), 5, "each is told: {payload:#}");
    assert_eq!(stage.admin.sees(&whole).await, before);
}
