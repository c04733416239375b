//! The authorization endpoint, by browser and in process.

use super::*;
use crate::sandbox::{CallbackFault, NoDecision};

async fn decide(setup: &Setup, url: &Url, form: &[(&str, &str)]) -> Reply {
    setup.post(&path(url), &[("sec-fetch-site", "same-origin")], form).await
}

#[tokio::test]
async fn the_page_offers_two_people_and_the_scopes() {
    let setup = Setup::new();
    let page = setup.get(&path(&ads()), &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    for text in ["Ada Lindqvist", "Ben Okafor", "See what each day has cost", "Sandbox Ads", ">Allow<", ">Cancel<"] {
        assert!(page.body.contains(text), "{text}");
    }
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!((page.header("x-frame-options"), page.header("x-content-type-options")), ("DENY", "nosniff"));
    assert_eq!(setup.get("/style.css", &[]).await.header("content-type"), "text/css; charset=utf-8");
}

#[tokio::test]
async fn a_login_hint_preselects_the_person() {
    let setup = Setup::new();
    let checked = async |hint: &str| {
        let page = setup.get(&path(&authorize("/authorize", "ads.read", &[("login_hint", hint)])), &[]).await.body;
        let line = page.lines().find(|line| line.contains("type=\"radio\"") && line.contains(" checked")).unwrap();
        line.contains("ben@okafor.example")
    };
    for hint in ["ben", "Ben@okafor.example", "person-9128"] {
        assert!(checked(hint).await, "{hint}");
    }
    assert!(!checked("somebody@else.example").await);
}

#[tokio::test]
async fn allowing_by_form_leads_to_a_code_for_what_was_ticked() {
    let setup = Setup::new();
    let allowed = decide(&setup, &ads(), &[("decision", "allow"), ("person", "ben"), ("scope", "ads.spend")]).await;
    assert_eq!(allowed.status, StatusCode::SEE_OTHER);
    let answer = setup.redeem(&Url::parse(allowed.header("location")).unwrap()).await;
    assert_eq!(answer.text("scope"), "profile ads.read ads.spend");
    let less = decide(&setup, &ads(), &[("decision", "allow"), ("person", "ben")]).await;
    let answer = setup.redeem(&Url::parse(less.header("location")).unwrap()).await;
    assert_eq!(answer.text("scope"), "profile ads.read");
}

#[tokio::test]
async fn cancelling_tells_the_client_access_denied() {
    let setup = Setup::new();
    let cancelled = decide(&setup, &ads(), &[("decision", "cancel"), ("person", "ada")]).await;
    let location = Url::parse(cancelled.header("location")).unwrap();
    assert_eq!(location, setup.sandbox.cancel(&ads()).unwrap());
    let told = query(&location);
    assert_eq!(
        (told["error"].as_str(), told["state"].as_str(), told["iss"].as_str()),
        ("access_denied", "state&1", BASE)
    );
}

#[tokio::test]
async fn a_decision_from_another_site_or_without_a_choice_is_refused() {
    let setup = Setup::new();
    let form = [("decision", "allow"), ("person", "ada")];
    let foreign = setup.post(&path(&ads()), &[("sec-fetch-site", "cross-site")], &form).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    for form in [&[("decision", "allow")][..], &[("decision", "allow"), ("person", "eve")], &[("person", "ada")]] {
        assert_eq!(decide(&setup, &ads(), form).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_unknown_client_or_address_gets_a_page_and_no_redirect() {
    let setup = Setup::new();
    for change in [
        ("client_id", ""),
        ("client_id", "somebody"),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://127.0.0.1.evil.example/"),
        ("redirect_uri", "http://127.0.0.1@evil.example/"),
        ("redirect_uri", "http://evil@127.0.0.1/"),
        ("redirect_uri", "http://127.0.0.1/#fragment"),
        ("redirect_uri", "javascript:alert(1)"),
    ] {
        let url = authorize("/authorize", "ads.read", &[change]);
        let reply = setup.get(&path(&url), &[]).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, ""), "{change:?}");
        assert!(matches!(setup.sandbox.approve(&url, "ada"), Err(NoDecision::Refused(_))), "{change:?}");
    }
}

#[tokio::test]
async fn loopback_addresses_and_the_registered_one_are_allowed() {
    let registered = "https://patchbay.example/oauth/callback?a=b";
    let setup = Setup::with(Options { redirect_uri: Some(registered.parse().unwrap()), ..Options::default() });
    for address in ["http://127.0.0.1:1/x", "http://localhost:8080/oauth/callback", "http://[::1]:5/", registered] {
        let url = authorize("/authorize", "ads.read", &[("redirect_uri", address)]);
        let callback = setup.sandbox.approve(&url, "ada").unwrap();
        assert!(callback.as_str().starts_with(address), "{callback}");
    }
    let other = authorize("/authorize", "ads.read", &[("redirect_uri", "https://patchbay.example/oauth/callback")]);
    assert!(setup.sandbox.approve(&other, "ada").is_err());
}

#[tokio::test]
async fn other_mistakes_are_told_to_the_client() {
    let setup = Setup::new();
    for (change, error) in [
        (("response_type", ""), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("state", ""), "invalid_request"),
        (("scope", ""), "invalid_scope"),
        (("scope", "profile"), "invalid_scope"),
        (("scope", "ads.read everything"), "invalid_scope"),
        (("scope", "ads.read analytics.read"), "invalid_scope"),
        (("scope", "shop.read"), "invalid_scope"),
    ] {
        let url = authorize("/authorize", "ads.read", &[change]);
        let reply = setup.get(&path(&url), &[]).await;
        let told = query(&Url::parse(reply.header("location")).unwrap());
        assert_eq!((reply.status, told["error"].as_str()), (StatusCode::SEE_OTHER, error), "{change:?}");
        assert_eq!(told["iss"], BASE);
    }
    let twice = Url::parse(&format!("{}&scope=profile", ads())).unwrap();
    assert_eq!(query(&setup.sandbox.approve(&twice, "ada").unwrap())["error"], "invalid_request");
}

#[tokio::test]
async fn what_a_request_carries_is_escaped_on_the_page() {
    let setup = Setup::new();
    let here = format!("{}&state2='><script>\"", path(&ads()).replace(' ', "+"));
    let encoded = here.replace('<', "%3C").replace('>', "%3E").replace('"', "%22");
    let page = setup.get(&encoded, &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("&amp;state2=&#39;%3E%3Cscript%3E%22\">"), "{}", page.body);
    assert!(!page.body.contains("<script"));
}

#[tokio::test]
async fn only_well_formed_shops_exist() {
    let setup = Setup::new();
    let page = setup.get(&path(&shop("north-lights")), &[]).await;
    assert!(page.body.contains("<b>North Lights</b>"), "{}", page.body);
    for name in ["-north", "North", "a%2Fb", "%3Cb%3E", &"a".repeat(61)] {
        let reply = setup.get(&path(&shop(name)), &[]).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, ""), "{name}");
    }
}

#[tokio::test]
async fn nobody_decides_in_process_what_is_not_here() {
    let sandbox = Setup::new().sandbox;
    let elsewhere = Url::parse("http://127.0.0.1:9001/authorize?client_id=x").unwrap();
    assert_eq!(sandbox.approve(&elsewhere, "ada"), Err(NoDecision::NotHere));
    assert_eq!(sandbox.approve(&Url::parse(BASE).unwrap().join("/token").unwrap(), "ada"), Err(NoDecision::NotHere));
    assert_eq!(sandbox.approve(&ads(), "eve"), Err(NoDecision::UnknownPerson));
}

#[tokio::test]
async fn callback_faults_bend_the_next_redirects_and_no_more() {
    let setup = Setup::new();
    setup.sandbox.fail_next_callback(CallbackFault::WrongIss, 1);
    setup.sandbox.fail_next_callback(CallbackFault::NoIss, 1);
    setup.sandbox.fail_next_callback(CallbackFault::Error("server_error"), 1);
    let told = || query(&setup.sandbox.approve(&ads(), "ada").unwrap());
    assert_eq!(told()["iss"], "https://another-issuer.example");
    let second = told();
    assert_eq!((second.contains_key("iss"), second.contains_key("code")), (false, true));
    assert_eq!(told()["error"], "server_error");
    assert_eq!(told()["iss"], BASE);
}
