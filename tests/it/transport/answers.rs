//! An answer has a budget of bytes, by every way in; what describes the schema has one of fields.

use serde_json::{Value, json};

use super::*;
use crate::harness::{Setup, report};

/// A budget of 100,000 bytes, and a dataset of 100 rows with some 2,000 bytes each: half of them fit.
async fn stage_with_rows() -> (Stage, String) {
    let limits = |limits: &mut patchbay::config::Limits| limits.answer_bytes = 100_000;
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    let grant = stage.shared_grant().await;
    let text = "x".repeat(2_000);
    let rows: Vec<String> = (0..100).map(|n| format!(r#"{{"n": {n}, "text": "{text}"}}"#)).collect();
    stage.reports(report(&format!("[{}]", rows.join(","))), 1);
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    (stage, dataset)
}

/// Asks for so many pages of so many rows.
fn pages(dataset: &str, pages: usize, rows: usize) -> String {
    let page = |n| format!("p{n}: dataset(id: \"{dataset}\") {{ rows(first: {rows}) {{ nodes }} }} ");
    format!("{{ {} }}", (0..pages).map(page).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_charged_when_they_are_read_however_often_they_are_asked_for() {
    let (stage, dataset) = stage_with_rows().await;
    for (many, rows, fits) in
        [(1, 40, true), (2, 20, true), (1, 100, false), (2, 40, false), (90, 1, false), (90, 100, false)]
    {
        let reply = ask(&stage, &json!({ "query": pages(&dataset, many, rows) })).await;
        let what = format!("{many} pages of {rows} rows");
        if fits {
            assert_eq!(reply.status, 200, "{what}: {}", reply.text);
            continue;
        }
        assert_eq!((reply.status, reply.code()), (400, json!("TOO_COMPLEX")), "{what}");
        assert!(reply.text.contains("100000 bytes") && reply.text.len() < 500, "{what}");
        assert_eq!(reply.json().get("data"), None, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_a_batch_share_a_budget_and_a_mutation_beyond_it_is_not_begun() {
    let (stage, dataset) = stage_with_rows().await;
    let rows = json!({ "query": pages(&dataset, 1, 20) });
    let rename = "mutation { updateWorkspace(input: { name: \"Renamed\" }) { errors { message } } }";
    let batch = json!([rows, rows, rows, rows, { "query": rename }]);
    let answers = ask(&stage, &batch).await.json();
    let codes: Vec<Value> =
        answers.as_array().unwrap().iter().map(|it| it["errors"][0]["extensions"]["code"].clone()).collect();
    assert_eq!(codes[..2], [Value::Null, Value::Null], "{answers:#}");
    assert_eq!(codes[2..], [json!("TOO_COMPLEX"), json!("TOO_COMPLEX"), json!("TOO_COMPLEX")], "{answers:#}");
    assert_ne!(stage.admin.sees("{ viewer { workspace { name } } }").await["viewer"]["workspace"]["name"], "Renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_over_sockets_and_event_streams_and_each_answer_has_its_own() {
    let (stage, dataset) = stage_with_rows().await;
    let mut socket = stage.admin.socket().await;
    for (id, rows, code) in [("a", 100, Some("TOO_COMPLEX")), ("b", 40, None), ("c", 40, None)] {
        socket.subscribe(id, &pages(&dataset, 1, rows), json!({})).await;
        match code {
            Some(code) => assert_eq!(socket.error().await, code),
            None => {
                assert_eq!(socket.event().await["p0"]["rows"]["nodes"].as_array().unwrap().len(), rows);
                assert!(matches!(socket.next().await, Frame::Message(message) if message["type"] == "complete"));
            }
        }
    }
    let stream = post(&stage, Some(&stage.admin.token), "text/event-stream");
    let reply = Reply::of(stream.body(json!({ "query": pages(&dataset, 1, 100) }).to_string())).await;
    assert!(reply.text.contains("TOO_COMPLEX") && reply.text.len() < 500, "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_many_fields_is_charged_field_by_field() {
    let limits = |limits: &mut patchbay::config::Limits| limits.answer_bytes = 20_000;
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    for n in 0..60 {
        stage.admin.creates_client(&format!("{n} {}", "long ".repeat(30))).await;
    }
    let clients = |first: usize| {
        format!(
            "{{ clients(first: {first}) {{ nodes {{ {} }} }} }}",
            (0..40).map(|n| format!("n{n}: name ")).collect::<String>()
        )
    };
    let few = ask(&stage, &json!({ "query": clients(2) })).await;
    assert_eq!(few.status, 200, "{}", few.text);
    let many = ask(&stage, &json!({ "query": clients(60) })).await;
    assert_eq!((many.status, many.code()), (400, json!("TOO_COMPLEX")));
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_beyond_what_tools_need_is_refused_by_every_way_in_also_to_who_is_nobody() {
    let stage = Stage::new().await;
    let circle = "{ __type(name: \"Node\") { possibleTypes { interfaces { possibleTypes { interfaces { possibleTypes { \
                  interfaces { possibleTypes { interfaces { possibleTypes { name } } } } } } } } } } }";
    let mut url = stage.url.join("/graphql").unwrap();
    url.query_pairs_mut().append_pair("query", circle);
    let by_get = crate::harness::http().get(url).header("accept", STRICT);
    assert_eq!(Reply::of(by_get).await.code(), json!("TOO_COMPLEX"));
    let body = json!({ "query": circle }).to_string();
    assert_eq!(Reply::of(post(&stage, None, STRICT).body(body.clone())).await.code(), json!("TOO_COMPLEX"));
    let batch = Reply::of(post(&stage, None, STRICT).body(format!("[{body},{body}]"))).await;
    assert_eq!(batch.text.matches("TOO_COMPLEX").count(), 2, "{}", batch.text);
    let stream = Reply::of(post(&stage, None, "text/event-stream").body(body)).await;
    assert!(stream.text.contains("TOO_COMPLEX"), "{}", stream.text);
    let mut socket = stage.admin.socket().await;
    socket.subscribe("circle", circle, json!({})).await;
    assert_eq!(socket.error().await, "TOO_COMPLEX");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_describe_its_schema_names_nothing_of_it() {
    let limits = |limits: &mut patchbay::config::Limits| limits.introspection = false;
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    let refused = ask(&stage, &json!({ "query": "{ __schema { types { name } } }" })).await;
    assert_eq!((refused.status, refused.code()), (400, json!("BAD_USER_INPUT")), "{}", refused.text);
    for wrong in [
        "{ conections { id } }",
        "{ clients(firs: 1) { totalCount } }",
        "{ viewer { nam } }",
        "{ clients(first: \"a\") { totalCount } }",
    ] {
        let said = ask(&stage, &json!({ "query": wrong })).await.text;
        for name in ["Query", "Viewer", "connections", "clients", "first", "Int"] {
            assert!(!said.contains(name), "{wrong}: {said}");
        }
    }
    assert_eq!(ask(&stage, &json!({ "query": "{ viewer { __typename } }" })).await.status, 200);
}
