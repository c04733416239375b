//! What templates make of values, friendly and not.

use proptest::prelude::*;

use super::*;

/// What someone types who wants to be elsewhere.
const ATTACKS: [&str; 16] = [
    "evil.example#",
    "a/b",
    "a?b=c",
    "a@evil.example",
    "a\r\nHost: evil.example",
    "%2f%2e%2e",
    "..",
    ".",
    "a\\b",
    "a&b=c",
    "evil.example:443",
    "//evil.example",
    "бухта",
    "\u{202e}",
    "a b",
    "\0",
];

fn map(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

fn url(template: &str, value: &str) -> Result<String, RenderError> {
    let fields = map("x", value);
    Template::parse(template).unwrap().render_url(&Values::default().fields(&fields)).map(String::from)
}

fn origin(template: &str, value: &str) -> Result<String, RenderError> {
    let token = map("x", value);
    Template::parse(template).unwrap().render_url(&Values::default().token(&token)).map(String::from)
}

#[test]
fn a_value_takes_its_place_in_a_host() {
    let shop = |value| url("https://{field.x}.myshopify.com/admin", value);
    assert_eq!(shop("my-shop").unwrap(), "https://my-shop.myshopify.com/admin");
    for attack in ATTACKS {
        assert!(shop(attack).is_err(), "{attack:?}");
    }
    for attack in ["", "a.", ".a", "a..b", &"a".repeat(64)] {
        assert!(shop(attack).is_err(), "{attack:?}");
    }
}

#[test]
fn a_value_takes_its_place_in_a_port() {
    let with_port = |value| url("https://a.example:{field.x}/b", value);
    assert_eq!(with_port("8443").unwrap(), "https://a.example:8443/b");
    for attack in ["80@evil.example", "80/x", "", "99999", "x"] {
        assert!(with_port(attack).is_err(), "{attack:?}");
    }
}

#[test]
fn a_value_in_a_path_stays_one_segment() {
    let path = |value| url("https://a.example/x/{field.x}/y", value);
    assert_eq!(path("a/b").unwrap(), "https://a.example/x/a%2Fb/y");
    assert_eq!(path("evil.example#").unwrap(), "https://a.example/x/evil.example%23/y");
    assert_eq!(path("%2f%2e%2e").unwrap(), "https://a.example/x/%252f%252e%252e/y");
    assert_eq!(path("a?b=c").unwrap(), "https://a.example/x/a%3Fb%3Dc/y");
    assert_eq!(path("бу").unwrap(), "https://a.example/x/%D0%B1%D1%83/y");
    for attack in ["..", ".", ""] {
        assert!(path(attack).is_err(), "{attack:?}");
    }
}

#[test]
fn two_values_cannot_make_a_step_upwards_together() {
    assert!(url("https://a.example/x/{field.x}{field.x}/y", ".").is_err());
}

#[test]
fn a_value_in_a_query_stays_one_value() {
    let query = |value| url("https://a.example/x?q={field.x}&r=1", value);
    assert_eq!(query("a&b=c#d").unwrap(), "https://a.example/x?q=a%26b%3Dc%23d&r=1");
    assert_eq!(query("a+b c").unwrap(), "https://a.example/x?q=a%2Bb%20c&r=1");
}

#[test]
fn a_whole_origin_comes_from_the_provider() {
    let api = |value| origin("{token.x}/services/data", value);
    assert_eq!(api("https://eu1.example").unwrap(), "https://eu1.example/services/data");
    assert_eq!(api("https://eu1.example/").unwrap(), "https://eu1.example/services/data");
    assert_eq!(api("http://127.0.0.1:4000").unwrap(), "http://127.0.0.1:4000/services/data");
    assert_eq!(origin("{token.x}?a=1", "https://eu1.example/id/7").unwrap(), "https://eu1.example/id/7?a=1");
    for attack in
        ["eu1.example", "https://u@eu1.example", "https://eu1.example?x=", "https://eu1.example/#", "file:///x"]
    {
        assert!(api(attack).is_err(), "{attack:?}");
    }
    assert!(origin("{token.x}.evil.example/", "https://eu1.example").is_err());
    assert!(origin("{token.x}{token.x}", "https://eu1.example").is_err());
}

#[test]
fn an_issuer_is_compared_as_it_is_written() {
    let fields = map("x", "acme");
    let issuer = Template::parse("https://{field.x}.okta.example").unwrap();
    assert_eq!(issuer.render_url_text(&Values::default().fields(&fields)).unwrap(), "https://acme.okta.example");
}

#[test]
fn a_header_cannot_be_split() {
    let header = Template::parse("Token token={field.x}").unwrap();
    let render = |value: &str| header.render_header(&Values::default().fields(&map("x", value)));
    assert_eq!(render("a b").unwrap(), "Token token=a b");
    for attack in ["a\r\nX-Evil: 1", "a\n", "\0", "бухта"] {
        assert!(render(attack).is_err(), "{attack:?}");
    }
}

#[test]
fn json_and_forms_hold_every_value_as_it_is() {
    for attack in ATTACKS.into_iter().chain(["\",\"admin\":true,\"", "{field.x}", ""]) {
        let fields = map("x", attack);
        let values = Values::default().fields(&fields);
        let json = Template::parse_body(r#"{"query": "{ shop { id } }", "value": "{field.x}"}"#).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json.render_json(&values).unwrap()).unwrap();
        assert_eq!(json, serde_json::json!({"query": "{ shop { id } }", "value": attack}));
        let form = Template::parse_body("a=1&value={field.x}").unwrap().render_form(&values).unwrap();
        let pairs: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        assert_eq!(pairs, [("a".to_owned(), "1".to_owned()), ("value".to_owned(), attack.to_owned())]);
    }
}

#[test]
fn each_namespace_answers_for_itself() {
    let (fields, config) = (map("A", "field"), map("A", "config"));
    let values = Values::default().fields(&fields).config(&config).account(Some("1"));
    let text = Template::parse("{config.A} {account.id}").unwrap();
    assert_eq!(text.render_text(&values).unwrap(), "config 1");
    assert!(text.is_filled_by(&values));
    assert!(!text.is_filled_by(&values.account(None)));
    let missing = Template::parse("{token.A}").unwrap().render_text(&values).unwrap_err();
    assert_eq!(missing.to_string(), "{token.A} has no value");
}

#[test]
fn what_is_no_placeholder_is_refused_or_stands_for_itself() {
    let error = |text| Template::parse(text).unwrap_err().to_string();
    assert!(error("https://{feild.shop}.example").contains("did you mean `field`?"));
    assert!(error("https://{shop}.example").contains("`{shop}` is no placeholder"));
    assert!(error("https://a.example/{config.lower}").contains("capitals"));
    assert!(error("https://a.example/{account.name}").contains("`id`"));
    for text in ["a{", "a}", "{field.x", "{{field.x}", "{field.}", "{}"] {
        assert!(Template::parse(text).is_err(), "{text}");
    }
    let body = Template::parse_body("{ shop { id } } {field.x}").unwrap();
    assert_eq!(body.names().collect::<Vec<_>>(), [(Namespace::Field, "x")]);
    assert!(Template::parse_body("{feild.x}").is_err());
}

#[test]
fn no_error_and_no_debug_shows_a_value() {
    let fields = map("x", "hunter2/");
    let values = Values::default().fields(&fields);
    let error = Template::parse("https://{field.x}.example").unwrap().render_url(&values).unwrap_err();
    assert!(!format!("{error} {error:?} {values:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn a_value_in_path_or_query_never_changes_where_a_url_points(value in any::<String>()) {
        let template = "https://api.example:8443/v1/{field.x}/items?filter={field.x}&page=1";
        if let Ok(rendered) = url(template, &value) {
            let url = Url::parse(&rendered).unwrap();
            prop_assert_eq!(url.origin().ascii_serialization(), "https://api.example:8443");
            prop_assert_eq!(url.username(), "");
            prop_assert_eq!(url.password(), None);
            prop_assert_eq!(url.fragment(), None);
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            let decoded = percent_encoding::percent_decode_str(segments[1]).decode_utf8().unwrap();
            prop_assert_eq!(decoded.as_ref(), value.as_str());
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(pairs, [("filter".to_owned(), value), ("page".to_owned(), "1".to_owned())]);
        } else {
            prop_assert!(["", ".", ".."].contains(&value.as_str()), "{:?}", value);
        }
    }

    #[test]
    fn a_value_in_a_host_stays_in_front_of_its_domain(value in "\\PC{0,12}|[a-z0-9.:@/#?%\\\\-]{0,12}") {
        if let Ok(rendered) = url("https://{field.x}.shops.example/admin", &value) {
            let url = Url::parse(&rendered).unwrap();
            prop_assert!(url.host_str().unwrap().ends_with(".shops.example"));
            prop_assert_eq!(url.path(), "/admin");
            prop_assert_eq!(url.port(), None);
        }
    }

    #[test]
    fn a_header_is_one_line_whatever_the_value(value in any::<String>()) {
        let fields = map("x", &value);
        if let Ok(header) = Template::parse("Key {field.x}").unwrap().render_header(&Values::default().fields(&fields)) {
            prop_assert!(!header.contains(['\r', '\n', '\0']));
        }
    }
}
