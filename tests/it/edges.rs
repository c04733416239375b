//! Limits at their very edge: what is just within one is taken, and one more is refused.

use serde_json::{Value, json};

use crate::harness::{Person, Setup, Stage, http};

impl Person {
    /// The code of the first error of a document without variables; none where it is answered.
    async fn refusal(&self, document: &str) -> Option<String> {
        self.tries(document, Value::Null).await.code().map(str::to_owned)
    }

    /// What a mutation says is wrong; null where it is done.
    async fn flaw(&self, name: &str, input: Value) -> Value {
        self.mutates(name, input, "").await["errors"][0].clone()
    }
}

/// A document that selects `levels` fields within each other.
fn nested(levels: usize) -> String {
    let ways = ["connections(first: 1)", "nodes", "authorization"].iter().cycle().take(levels - 1);
    let opened: String = ways.map(|way| format!("{way} {{ ")).collect();
    format!("{{ {opened} __typename {} }}", "} ".repeat(levels - 1))
}

/// Variables that hold so many of something.
type Filled = fn(usize) -> Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_document_may_be_as_large_as_it_may_be_and_no_larger() {
    let settings = [("TOKENS", "300"), ("DEPTH", "6"), ("ALIASES", "5"), ("DIRECTIVES", "4"), ("BATCH", "3")];
    let settings = settings.map(|(name, most)| (format!("PATCHBAY_MAX_{name}"), most.to_owned())).into();
    let limits: fn(&mut patchbay::config::Limits) = |limits| {
        (limits.document_bytes, limits.fields, limits.body_bytes) = (4_096, 200, 8_192);
    };
    let stage = Stage::with(Setup { settings, limits: Some(limits), ..Setup::default() }).await;
    let times = |count: usize, part: &str| part.repeat(count);
    let aliases = |count: usize| (0..count).map(|n| format!("a{n}: __typename ")).collect::<String>();
    let padded = |bytes: usize| format!("{:bytes$}", "{ __typename }");
    let cases: [(&str, String, String); 5] = [
        ("levels", nested(6), nested(7)),
        ("fields", format!("{{ {} }}", times(200, "__typename ")), format!("{{ {} }}", times(201, "__typename "))),
        ("aliases", format!("{{ {} }}", aliases(5)), format!("{{ {} }}", aliases(6))),
        (
            "directives",
            format!("{{ {} }}", times(4, "__typename @include(if: true) ")),
            format!("{{ {} }}", times(5, "__typename @include(if: true) ")),
        ),
        ("bytes", padded(4_096), padded(4_097)),
    ];
    for (what, within, beyond) in cases {
        assert_eq!(stage.admin.refusal(&within).await, None, "{what}: {within}");
        let code = stage.admin.refusal(&beyond).await.unwrap_or_else(|| panic!("{what}: {beyond}"));
        assert_eq!(code, "TOO_COMPLEX", "{what}");
    }
    // Twelve tokens beside the ids, of which there are too many in any case.
    let ids = |count: usize| format!("{{ nodes(ids: [{}]) {{ __typename }} }}", times(count, "\"\" "));
    assert_eq!(stage.admin.refusal(&ids(288)).await.as_deref(), Some("BAD_USER_INPUT"));
    assert_eq!(stage.admin.refusal(&ids(289)).await.as_deref(), Some("TOO_COMPLEX"));

    let send = async |body: String| {
        let request = http().post(stage.url.join("/graphql").unwrap()).bearer_auth(&stage.admin.token);
        request.header("content-type", "application/json").body(body).send().await.unwrap().status().as_u16()
    };
    let batch = |count: usize| Value::from(vec![json!({ "query": "{ __typename }" }); count]).to_string();
    assert_eq!((send(batch(3)).await, send(batch(4)).await), (200, 400));
    let body = |bytes: usize| format!("{:bytes$}", r#"{"query":"{ __typename }"}"#);
    assert_eq!((send(body(8_192)).await, send(body(8_193)).await), (200, 413));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_give_may_be_as_much_as_it_may_be_and_no_more() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let grant = stage.shared_grant().await;
    let sam = stage.person("Sam", "STAFF", None).await;

    // Lists and texts of queries.
    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let listed = "query($filter: ConnectionFilter) { connections(filter: $filter) { totalCount } }";
    let lists: [(&str, Filled, usize); 3] = [
        (nodes, |count| json!({ "ids": vec![""; count] }), 100),
        (listed, |count| json!({ "filter": { "connector": vec!["sandbox-ads"; count] } }), 1_000),
        (listed, |count| json!({ "filter": { "search": "x".repeat(count) } }), 1_000),
    ];
    for (query, give, most) in lists {
        let ask = async |count: usize| admin.tries(query, json!({ "variables": give(count) })).await;
        let (within, beyond) = (ask(most).await, ask(most + 1).await);
        assert_eq!((within.code(), beyond.code()), (None, Some("BAD_USER_INPUT")), "{query}: {}", within.body);
    }
    for first in [0, 100] {
        assert_eq!(admin.refusal(&format!("{{ connections(first: {first}) {{ totalCount }} }}")).await, None);
    }

    // Numbers and lists of mutations.
    let dataset = admin.makes_dataset(&grant.lamps, "report").await;
    for (minutes, fits) in [(0, false), (1, true), (44_640, true), (44_641, false)] {
        let input = json!({ "datasetId": dataset, "refreshEveryMinutes": minutes });
        assert_eq!(admin.flaw("updateDataset", input).await.is_null(), fits, "{minutes} minutes");
    }
    let share = |count: usize| json!({ "connectionId": grant.lamps, "userIds": vec![&sam.id; count] });
    assert_eq!(admin.flaw("shareConnection", share(100)).await, Value::Null);
    assert_eq!(admin.flaw("shareConnection", share(101)).await["field"], json!(["userIds"]));
    let link = |count: usize| json!({ "clientId": grant.acme, "connectors": vec!["sandbox-ads"; count] });
    let named_twice = admin.flaw("createConnectLink", link(20)).await;
    assert_eq!(named_twice["field"], json!(["connectors", "1"]), "that is another flaw");
    assert_eq!(admin.flaw("createConnectLink", link(21)).await["field"], json!(["connectors"]));
    let address = |bytes: usize| format!("{:x<bytes$}", "https://app.example/");
    for (bytes, fits) in [(2_000, true), (2_001, false)] {
        let using = json!({ "browser": { "returnUrl": address(bytes) } });
        let flaw = admin.flaw("connect", json!({ "connector": "sandbox-analytics", "using": using })).await;
        assert_eq!(flaw.is_null(), fits, "{bytes} bytes: {flaw}");
    }
}
