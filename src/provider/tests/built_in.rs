//! The built-in connectors against pages as their providers' documentation shows them: what is asked after the first.

use axum::http::{HeaderName, header};

use super::*;

/// One list of two pages, of which the first has one row.
struct Pages {
    slug: &'static str,
    query: (&'static str, Value, &'static str),
    /// `BASE` is the provider's address.
    first: Value,
    link: Option<&'static str>,
    /// The second page, and how many rows it has.
    last: (Value, usize),
    /// Its request: `/v1` is the API's own address.
    asked: (&'static str, Value),
}

fn documented() -> Vec<Pages> {
    let pages = |slug, query, first, asked: &'static str, last| Pages {
        slug,
        query,
        first,
        link: None,
        last,
        asked: (asked, Value::Null),
    };
    vec![
        Pages {
            asked: (
                "/v1/customers/7/googleAds:search",
                json!({"query": "SELECT", "pageToken": "CPii5aS87vfFTBAKGJvk36"}),
            ),
            ..pages(
                "google-ads",
                ("customers/{account.id}/googleAds:search", json!({"query": "SELECT"}), "/results"),
                json!({"results": [{"campaign": {"id": "1"}}], "nextPageToken": "CPii5aS87vfFTBAKGJvk36"}),
                "",
                (json!({"fieldMask": "campaign.id"}), 0),
            )
        },
        Pages {
            asked: ("/v1/properties/7:runReport", json!({"metrics": [{"name": "sessions"}], "limit": 1, "offset": 1})),
            ..pages(
                "google-analytics-4",
                ("properties/{account.id}:runReport", json!({"metrics": [{"name": "sessions"}], "limit": 1}), "/rows"),
                json!({"rows": [{"metricValues": [{"value": "1"}]}], "rowCount": 1}),
                "",
                (json!({"rowCount": 1, "kind": "analyticsData#runReport"}), 0),
            )
        },
        Pages {
            asked: ("/v1/sites/7/searchAnalytics/query", json!({"rowLimit": 1, "startRow": 1})),
            ..pages(
                "google-search-console",
                ("sites/{account.id}/searchAnalytics/query", json!({"rowLimit": 1}), "/rows"),
                json!({"rows": [{"keys": ["a"], "clicks": 1}]}),
                "",
                (json!({"responseAggregationType": "byPage"}), 0),
            )
        },
        pages(
            "hubspot",
            ("crm/v3/objects/contacts", json!({"limit": 1}), "/results"),
            json!({"results": [{"id": "1"}], "paging": {"next": {"after": "NTI1Cg%3D%3D", "link": "?after=x"}}}),
            "/v1/crm/v3/objects/contacts?limit=1&after=NTI1Cg%253D%253D",
            (json!({"results": [{"id": "2"}]}), 1),
        ),
        pages(
            "klaviyo",
            ("profiles", json!({}), "/data"),
            json!({"data": [{"id": "1"}], "links": {"next": "BASE/v1/profiles?page%5Bcursor%5D=bmV4dA"}}),
            "/v1/profiles?page%5Bcursor%5D=bmV4dA",
            (json!({"data": [{"id": "2"}], "links": {"next": null}}), 1),
        ),
        pages(
            "linkedin-ads",
            ("adAccounts/{account.id}/adCampaigns", json!({"q": "search"}), "/elements"),
            json!({"elements": [{"id": 1}], "metadata": {"nextPageToken": "DgGerr1iVQreCJVjZDOW"}}),
            "/v1/adAccounts/7/adCampaigns?q=search&pageToken=DgGerr1iVQreCJVjZDOW",
            (json!({"elements": [{"id": 2}], "metadata": {}}), 1),
        ),
        pages(
            "mailchimp",
            ("campaigns", json!({"count": 1}), "/campaigns"),
            json!({"campaigns": [{"id": "a"}], "total_items": 1}),
            "/v1/campaigns?count=1&offset=1",
            (json!({"campaigns": [], "total_items": 1}), 0),
        ),
        pages(
            "mailgun",
            ("events", json!({}), "/items"),
            json!({"items": [{"id": "a"}], "paging": {"next": "BASE/v1/events/W3siYSI6"}}),
            "/v1/events/W3siYSI6",
            (json!({"items": [], "paging": {"next": "BASE/v1/events/W3siYiI6"}}), 0),
        ),
        pages(
            "meta-ads",
            ("act_{account.id}/insights", json!({"fields": "clicks"}), "/data"),
            json!({"data": [{"clicks": "1"}], "paging": {"next": "BASE/v1/act_7/insights?fields=clicks&after=MTAx"}}),
            "/v1/act_7/insights?fields=clicks&after=MTAx",
            (json!({"data": [{"clicks": "2"}], "paging": {"cursors": {"after": "MTAx"}}}), 1),
        ),
        pages(
            "salesforce",
            ("query", json!({"q": "SELECT Id FROM Account"}), "/records"),
            json!({"records": [{"Id": "1"}], "done": false, "nextRecordsUrl": "/services/data/v64.0/query/01gD-2000"}),
            "/services/data/v64.0/query/01gD-2000",
            (json!({"records": [{"Id": "2"}], "done": true}), 1),
        ),
        Pages {
            link: Some("<BASE/v1/orders.json?page_info=hij&limit=1>; rel=\"next\""),
            ..pages(
                "shopify",
                ("orders.json", json!({"limit": 1}), "/orders"),
                json!({"orders": [{"id": 1}]}),
                "/v1/orders.json?page_info=hij&limit=1",
                (json!({"orders": [{"id": 2}]}), 1),
            )
        },
        pages(
            "slack",
            ("conversations.list", json!({"limit": 1}), "/channels"),
            json!({"ok": true, "channels": [{"id": "C1"}], "response_metadata": {"next_cursor": "dGVhbTpDMDYx="}}),
            "/v1/conversations.list?limit=1&cursor=dGVhbTpDMDYx%3D",
            (json!({"ok": true, "channels": [{"id": "C2"}], "response_metadata": {"next_cursor": ""}}), 1),
        ),
        pages(
            "stripe",
            ("charges", json!({"limit": 1}), "/data"),
            json!({"object": "list", "data": [{"id": "ch_1"}], "has_more": true}),
            "/v1/charges?limit=1&starting_after=ch_1",
            (json!({"object": "list", "data": [{"id": "ch_2"}], "has_more": false}), 1),
        ),
        pages(
            "xero",
            ("Invoices", json!({"pageSize": 1}), "/Invoices"),
            json!({"Invoices": [{"InvoiceID": "1"}]}),
            "/v1/Invoices?pageSize=1&page=2",
            (json!({"Invoices": []}), 0),
        ),
    ]
}

#[tokio::test]
async fn each_is_asked_for_a_second_page_as_its_documentation_says() {
    let built_in = catalogue::Catalogue::load(None).unwrap();
    let paging = built_in.all().filter(|it| it.api.as_ref().is_some_and(|api| api.pagination.is_some()));
    let documented = documented();
    let slugs: Vec<&str> = documented.iter().map(|pages| pages.slug).collect();
    assert_eq!(paging.map(|it| it.slug.as_str()).collect::<Vec<_>>(), slugs);
    for Pages { slug, query: (path, parameters, at), first, link, last, asked } in documented {
        let (rows, last) = (1 + last.1, last.0);
        let stage = Stage::new(move |seen| {
            let here = |text: &str| text.replace("BASE", &format!("http://{}", seen.header("host")));
            let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
            let is_last = seen.uri == asked.0 && body == asked.1;
            let body = here(&(if is_last { &last } else { &first }).to_string());
            let link = link.filter(|_| !is_last).map(|link| (header::LINK, here(link)));
            let kind: (HeaderName, String) = (header::CONTENT_TYPE, "application/json".to_owned());
            (axum::response::AppendHeaders([kind].into_iter().chain(link).collect::<Vec<_>>()), body).into_response()
        })
        .await;
        let mut connector = Connector::clone(built_in.get(slug).unwrap());
        let api = connector.api.as_mut().unwrap();
        api.base_url = catalogue::Template::parse(&stage.url("/v1")).unwrap();
        let fields = ["api_key", "username", "password"].map(|name| (name.to_owned(), "k".to_owned()));
        let credential = Credential { fields: fields.into(), ..credential(&json!({})) };
        let Value::Object(parameters) = parameters else { panic!("{slug}") };
        let query = Query::Http(HttpQuery { path: path.to_owned(), parameters, rows: at.to_owned() });
        let limits = RowLimits { pages: 5, rows: 10, bytes: 1 << 20, time: std::time::Duration::from_secs(30) };
        let read = with_client(&stage).read(&connector, &credential, Some("7"), &query, &limits, Haste::AtOnce).await;
        let seen = stage.seen();
        let requests: Vec<_> = seen.iter().map(|seen| format!("{} {} {}", seen.method, seen.uri, seen.body)).collect();
        assert_eq!(read.map(|read| read.rows.len()), Ok(rows), "{slug}: {requests:#?}");
        assert_eq!(requests.len(), 2, "{slug}: {requests:#?}");
    }
}
