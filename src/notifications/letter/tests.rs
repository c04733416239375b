use chrono::TimeDelta;
use insta::{assert_snapshot, with_settings};

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn outage(connector: &str, clients: &[&str], since: &str) -> Outage {
    Outage {
        connector: connector.to_owned(),
        account: Some("ads@northwind.example".to_owned()),
        clients: clients.iter().map(|client| (*client).to_owned()).collect(),
        connections: clients.len(),
        since: at(since),
        message: format!(
            "{connector} no longer accepts this authorization: it was revoked, or a password was changed. Reconnect to sign in again."
        ),
        url: Url::parse("https://patchbay.example/console/connections/con_01h455vb4pex5vsknk084sn02q?view=1&from=mail")
            .unwrap(),
    }
}

fn reminder(outages: Vec<Outage>) -> Reminder<'static> {
    Reminder {
        workspace: "Northwind Agency",
        person: "Maya Lindqvist",
        zone: chrono_tz::America::Phoenix,
        now: at("2026-11-27T14:00:00Z"),
        outages,
        rest: Rest::default(),
        unsubscribe: Url::parse("https://patchbay.example/unsubscribe/AAECAwQFBgcICQ").unwrap(),
    }
}

fn many_clients(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("Client {number:03}")).collect()
}

/// The longest lasting first: of 1, 2 and 200 clients, and of the workspace itself.
fn several() -> Reminder<'static> {
    let salesforce = outage("Salesforce", &["Globex"], "2026-11-20T09:30:00Z");
    let mut google = outage("Google Ads", &[], "2026-11-24T22:05:00Z");
    google.clients = many_clients(200);
    google.connections = 231;
    let mut postgres = outage("PostgreSQL", &[], "2026-11-25T03:00:00Z");
    postgres.account = None;
    postgres.connections = 1;
    postgres.message = "PostgreSQL no longer accepts the key or password. Reconnect with the new one.".to_owned();
    let hubspot = outage("HubSpot", &["Acme", "Umbrella"], "2026-11-26T13:12:00Z");
    reminder(vec![salesforce, google, postgres, hubspot])
}

fn hostile() -> Reminder<'static> {
    let nasty = "\u{202e}<script>alert(\"x\")</script>\r\n\r\nReconnect:\r\nhttps://evil.example/\u{1b}[31m\u{2028}\u{85}'&{{ why }}\0";
    let mut outage = outage(nasty, &[nasty, "\u{200f}\u{2066}\u{feff}", &"long ".repeat(100)], "2026-11-26T13:12:00Z");
    outage.account = Some(nasty.to_owned());
    outage.message = nasty.to_owned();
    outage.url = Url::parse("https://console.example/?a=\"><script>&b='\u{202e}").unwrap();
    let nasty = "\"><img src=x onerror=alert(1)>\nBcc: everyone@example.com\u{202e}";
    Reminder { workspace: nasty, person: nasty, ..reminder(vec![outage]) }
}

fn are_as_before(name: &str, words: &Words) {
    with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!(format!("{name}.txt"), words.text);
        assert_snapshot!(format!("{name}.html"), words.html);
    });
}

#[test]
fn one_outage_of_one_client() {
    let words = reminder(vec![outage("Google Ads", &["Acme"], "2026-11-26T13:12:00Z")]).in_words();
    assert_eq!(words.subject, "Google Ads is disconnected for Acme");
    are_as_before("one", &words);
}

#[test]
fn several_outages_of_1_2_and_200_clients() {
    let words = several().in_words();
    assert_eq!(words.subject, "Salesforce, Google Ads, PostgreSQL and 1 more are disconnected");
    are_as_before("several", &words);
}

#[test]
fn names_stay_names_whatever_is_in_them() {
    let words = hostile().in_words();
    assert_eq!(
        words.subject,
        "<script>alert(\"x\")</script> Reconnect:… is disconnected for long long long long long long long long…, (no name) and 1 more"
    );
    are_as_before("hostile", &words);
    let hidden = |letter: char| {
        (letter.is_control() && letter != '\n')
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for form in [&words.subject, &words.text, &words.html] {
        assert!(!form.contains(hidden), "{form:?}");
    }
    assert!(!words.subject.contains('\n'));
    assert!(!words.html.contains("<script") && !words.html.contains("<img"), "{}", words.html);
}

#[test]
fn a_name_makes_no_line_of_its_own() {
    let tame = reminder(vec![outage("Google Ads", &["Acme", "Globex"], "2026-11-26T13:12:00Z")]).in_words();
    assert_eq!(hostile().in_words().text.lines().count(), tame.text.lines().count());
}

#[test]
fn the_subject_says_what_broke() {
    let since = "2026-11-26T13:12:00Z";
    let subject = |outages: Vec<Outage>| reminder(outages).in_words().subject;
    let google = |clients: &[&str]| outage("Google Ads", clients, since);
    assert_eq!(subject(vec![google(&[])]), "Google Ads is disconnected");
    assert_eq!(subject(vec![google(&["Acme", "Globex"])]), "Google Ads is disconnected for Acme and Globex");
    assert_eq!(
        subject(vec![google(&["Acme", "Globex", "Hooli"])]),
        "Google Ads is disconnected for Acme, Globex and 1 more"
    );
    assert_eq!(
        subject(vec![google(&["Globex"]), google(&["Acme", "Globex"])]),
        "Google Ads is disconnected for Acme and Globex",
    );
    let others = ["Stripe", "HubSpot", "Stripe", "Xero"].map(|connector| outage(connector, &["Acme"], since));
    assert_eq!(subject(others.to_vec()), "Stripe, HubSpot and Xero are disconnected");
    let long = subject(vec![outage(&"g".repeat(500), &[&"ü".repeat(500), &"a".repeat(500)], since)]);
    assert_eq!(long.chars().count(), 3 * 40 + " is disconnected for  and ".len(), "{long}");
}

#[test]
fn what_is_only_counted_is_part_of_every_number() {
    let since = "2026-11-20T13:12:00Z";
    let first: Vec<Outage> = (0..40).map(|n| outage("Google Ads", &[&format!("Client {n:02}")], since)).collect();
    let counted = |count, connectors: &[&str]| Rest {
        count,
        connectors: connectors.iter().map(|name| (*name).to_owned()).collect(),
        newest: Some(at("2026-11-26T13:00:00Z")),
    };
    let words = Reminder { rest: counted(19_960, &["Google Ads"]), ..reminder(first.clone()) }.in_words();
    assert_eq!(words.subject, "Google Ads is disconnected for Client 00, Client 01 and others");
    for said in ["20000 data sources have been disconnected for 25 hours or longer", "19960 more data sources are"] {
        assert!(words.text.contains(said) && words.html.contains(said), "{said}: {}", words.text);
    }
    assert!(words.html.contains("and 19997 more"), "{}", words.html);
    let words = Reminder { rest: counted(1, &["Stripe"]), ..reminder(first[..1].to_vec()) }.in_words();
    assert_eq!(words.subject, "Google Ads and Stripe are disconnected");
    assert!(words.text.contains("2 data sources have been"), "{}", words.text);
}

#[test]
fn nothing_is_loaded_and_nothing_else_is_linked() {
    let words = several().in_words();
    let urls: Vec<&str> = words.html.split('"').filter(|part| part.contains("://")).collect();
    assert_eq!(words.html.matches("http").count(), urls.len(), "{}", words.html);
    for url in &urls {
        assert!(
            words.html.contains(&format!("<a class=\"press\" href=\"{url}\""))
                || words.html.contains(&format!("<a class=\"link\" href=\"{url}\"")),
            "{url}"
        );
    }
    assert_eq!(urls.len(), 4 + 1);
    for loaded in ["<img", "<script", "<link", "@import", "url(", "src=", "background=", "@font-face"] {
        assert!(!words.html.contains(loaded), "{loaded}");
    }
}

#[test]
fn a_letter_is_never_clipped() {
    let everywhere = |mut outage: Outage| {
        outage.clients = many_clients(200);
        vec![outage; 1_000]
    };
    let words = reminder(everywhere(outage("Google Ads", &[], "2026-11-20T13:12:00Z"))).in_words();
    assert!(words.html.len() < 100_000 && words.text.len() < 100_000, "{} {}", words.html.len(), words.text.len());
    assert_eq!(words.html.matches(">Reconnect</a>").count(), 40);
    assert_eq!(words.text.matches("\nReconnect:\n").count(), 40);
    assert!(words.text.contains("960 more data sources are disconnected."), "{}", words.text);

    let ampersands = "&".repeat(10_000);
    let mut longest = outage(&ampersands, &[], "2026-11-20T13:12:00Z");
    longest.account = Some(ampersands.clone());
    longest.message = ampersands.clone();
    longest.clients = vec![ampersands.clone(); 200];
    longest.url = Url::parse(&format!("https://console.example/{}", "&".repeat(2_000))).unwrap();
    let words = Reminder { person: &ampersands, workspace: &ampersands, ..reminder(vec![longest; 1_000]) }.in_words();
    assert!(words.html.len() < 100_000, "{}", words.html.len());
    assert!(words.html.matches(">Reconnect</a>").count() >= 5, "{}", words.html);
    assert!(words.html.contains("more data sources are disconnected"));
}

#[test]
fn both_forms_say_the_same() {
    let words = several().in_words();
    // Neither what nobody sees nor what only looks.
    let body = words.html.split_once("</div>").unwrap().1;
    for line in words.text.lines().filter(|line| !line.starts_with('-')) {
        let said = line.trim_end_matches(':').replace('&', "&#38;");
        let said = said.split(['(', ')']).map(str::trim).filter(|part| !part.is_empty());
        for part in said {
            let part = part.trim_start_matches("For: ").trim_start_matches("Since: ");
            assert!(body.contains(part), "{part:?} is not in the HTML");
        }
    }
}

#[test]
fn spans_and_moments_are_said_as_people_say_them() {
    let spans = [
        (0, "less than an hour"),
        (59, "less than an hour"),
        (60, "an hour"),
        (24 * 60, "24 hours"),
        (25 * 60 + 59, "25 hours"),
        (47 * 60 + 59, "47 hours"),
        (48 * 60, "2 days"),
        (72 * 60 - 1, "2 days"),
        (45 * 24 * 60, "45 days"),
        (-90, "less than an hour"),
    ];
    for (minutes, said) in spans {
        assert_eq!(phrases::lasting(TimeDelta::minutes(minutes)), said);
    }
    let instant = at("2026-11-01T05:30:00Z");
    let moments = [
        (chrono_tz::America::New_York, "Sunday, 1 November 2026, 01:30 EDT"),
        (chrono_tz::America::Phoenix, "Saturday, 31 October 2026, 22:30 MST"),
        (chrono_tz::America::Sao_Paulo, "Sunday, 1 November 2026, 02:30 UTC-03"),
        (chrono_tz::Asia::Kathmandu, "Sunday, 1 November 2026, 11:15 UTC+0545"),
        (chrono_tz::UTC, "Sunday, 1 November 2026, 05:30 UTC"),
    ];
    for (zone, said) in moments {
        assert_eq!(phrases::moment(instant, zone), said);
    }
}
