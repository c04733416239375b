//! Token answers as providers send them.

use proptest::prelude::*;
use serde_json::json;

use crate::catalogue::{Auth, Connector, parse};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn connector(auth: &str) -> Connector {
    let file = format!(
        r#"
        slug = "crm"
        name = "CRM"
        category = "crm"
        mode = "warehouse"
        requirements = "Nothing."
        [auth]
        method = "oauth2"
        authorize_url = "https://crm.example/authorize"
        token_url = "https://crm.example/token"
        {auth}
        [identity]
        url = "https://crm.example/me"
        id = "/sub"
        "#
    );
    parse("crm.toml", &file).unwrap()
}

/// What the answer `said` makes of what was known `before`.
fn granted(auth: &str, said: Value, before: &Credential) -> Grant {
    let connector = connector(auth);
    let Auth::OAuth2(oauth) = &connector.auth else { panic!("not OAuth") };
    let answer = serde_json::from_value(normalised(said, &oauth.scope_separator)).unwrap();
    grant(oauth, &answer, before, now())
}

fn first(auth: &str, said: Value) -> Grant {
    granted(auth, said, &Credential::default())
}

fn tokens(grant: &Grant) -> &OAuthTokens {
    grant.credential.oauth.as_ref().unwrap()
}

#[test]
fn every_lifetime_comes_out_sane() {
    let ten_years = Some(TimeDelta::days(3650));
    for (said, life) in [
        (json!(3600), Some(TimeDelta::hours(1))),
        (json!("3600"), Some(TimeDelta::hours(1))),
        (json!(" 3600 "), Some(TimeDelta::hours(1))),
        (json!(3600.9), Some(TimeDelta::hours(1))),
        (json!("3.6e3"), Some(TimeDelta::hours(1))),
        (json!(1), Some(TimeDelta::seconds(1))),
        (json!(1e18), ten_years),
        (json!(u64::MAX), ten_years),
        (json!("999999999999999999999999"), ten_years),
        (json!("inf"), ten_years),
        (json!(0), None),
        (json!(-1), None),
        (json!(-1e300), None),
        (json!("-5"), None),
        (json!("NaN"), None),
        (json!("soon"), None),
        (json!(""), None),
        (json!(0.5), None),
        (json!("1 hour"), None),
        (json!(null), None),
        (json!(true), None),
        (json!([3600]), None),
        (json!({"seconds": 3600}), None),
    ] {
        let grant = first("", json!({"access_token": "a", "token_type": "Bearer", "expires_in": said.clone()}));
        assert_eq!(tokens(&grant).access_expires_at, life.map(|life| now() + life), "{said}");
    }
    let silent = first("", json!({"access_token": "a", "token_type": "Bearer"}));
    assert_eq!(tokens(&silent).access_expires_at, None);
}

#[test]
fn a_bare_answer_is_enough() {
    let grant = first("", json!({"access_token": "a"}));
    assert_eq!(tokens(&grant).token_type, "bearer");
    assert_eq!(tokens(&grant).access_expires_at, None);
    assert!(tokens(&grant).refresh_token.is_none());
    assert_eq!(grant.ends_at, None);
}

#[test]
fn nothing_of_an_odd_answer_is_in_the_way() {
    let odd = json!({"access_token": "a", "token_type": 7, "refresh_token": "", "scope": 7, "id": {"deep": [1e300]}});
    let grant = first(r#"scopes = ["read"]"#, odd);
    assert!(tokens(&grant).refresh_token.is_none());
    assert_eq!(grant.scopes, ["read"]);
}

#[test]
fn scopes_are_read_in_every_spelling() {
    for (separator, said) in [
        (" ", json!("read write")),
        (" ", json!("read,write")),
        (",", json!("read,write")),
        (",", json!("read, write")),
        (",", json!("read write")),
        ("|", json!("read|write")),
        (" ", json!(["read", "write"])),
        (" ", json!("  read  write ")),
    ] {
        let auth = format!("scopes = [\"read\"]\noptional_scopes = [\"write\"]\nscope_separator = \"{separator}\"");
        let grant = first(&auth, json!({"access_token": "a", "scope": said.clone()}));
        assert_eq!(grant.scopes, ["read", "write"], "{said}");
        assert!(grant.missing_required.is_empty() && grant.missing_optional.is_empty(), "{said}");
    }
}

#[test]
fn scopes_may_come_under_their_plural() {
    let auth = "scopes = [\"read\"]\noptional_scopes = [\"write\"]";
    for said in [json!(["read", "write"]), json!("read write")] {
        let grant = first(auth, json!({"access_token": "a", "scopes": said.clone()}));
        assert_eq!(grant.scopes, ["read", "write"], "{said}");
    }
    let fewer = first(auth, json!({"access_token": "a", "scopes": ["write"]}));
    assert_eq!(fewer.missing_required, ["read"]);
    let both = first(auth, json!({"access_token": "a", "scope": "read", "scopes": ["read", "write"]}));
    assert_eq!(both.scopes, ["read"]);
}

#[test]
fn fewer_scopes_than_asked_for_are_noticed() {
    let auth = "scopes = [\"read\", \"list\"]\noptional_scopes = [\"write\"]";
    let grant = first(auth, json!({"access_token": "a", "scope": "read"}));
    assert_eq!(grant.missing_required, ["list"]);
    assert_eq!(grant.missing_optional, ["write"]);
}

#[test]
fn scopes_that_are_said_to_be_none_are_those_asked_for() {
    for said in [json!(""), json!(" "), json!([]), json!([""])] {
        let grant = first("scopes = [\"read\", \"list\"]", json!({"access_token": "a", "scope": said}));
        assert_eq!(grant.scopes, ["read", "list"]);
        assert!(grant.missing_required.is_empty());
    }
}

#[test]
fn silence_about_scopes_means_those_asked_for_and_later_those_granted() {
    let auth = "scopes = [\"read\"]\noptional_scopes = [\"write\"]";
    assert_eq!(first(auth, json!({"access_token": "a"})).scopes, ["read", "write"]);
    let fewer = first(auth, json!({"access_token": "a", "refresh_token": "r", "scope": "read"}));
    let renewed = granted(auth, json!({"access_token": "b"}), &fewer.credential);
    assert_eq!(renewed.scopes, ["read"]);
    assert_eq!(renewed.missing_optional, ["write"]);
}

#[test]
fn scopes_that_providers_grant_under_another_name_are_granted() {
    let google = first(
        r#"scopes = ["openid", "email"]"#,
        json!({"access_token": "a", "scope": "https://www.googleapis.com/auth/userinfo.email openid"}),
    );
    assert!(google.missing_required.is_empty());
    let microsoft = r#"scopes = ["offline_access", "files"]"#;
    let with = first(microsoft, json!({"access_token": "a", "refresh_token": "r", "scope": "files"}));
    assert!(with.missing_required.is_empty());
    let without = first(microsoft, json!({"access_token": "a", "scope": "files"}));
    assert_eq!(without.missing_required, ["offline_access"]);
}

#[test]
fn no_refresh_token_in_the_answer_keeps_the_old_one() {
    let before = first("", json!({"access_token": "a", "refresh_token": "old", "expires_in": 60})).credential;
    let kept = granted("", json!({"access_token": "b", "expires_in": 60}), &before);
    assert_eq!(tokens(&kept).refresh_token.as_ref().unwrap().expose_secret(), "old");
    assert_eq!(tokens(&kept).access_token.expose_secret(), "b");
    let rotated = granted("", json!({"access_token": "b", "refresh_token": "new"}), &before);
    assert_eq!(tokens(&rotated).refresh_token.as_ref().unwrap().expose_secret(), "new");
}

#[test]
fn kept_members_outlive_answers_without_them() {
    let auth = r#"keep = ["instance_url", "org"]"#;
    let before =
        first(auth, json!({"access_token": "a", "instance_url": "https://one.example", "org": 7, "other": "x"}));
    let texts = |grant: &Grant| grant.credential.token.clone().into_iter().collect::<Vec<_>>();
    let expected = |url: &str| vec![("instance_url".to_owned(), url.to_owned()), ("org".to_owned(), "7".to_owned())];
    assert_eq!(texts(&before), expected("https://one.example"));
    let moved = granted(auth, json!({"access_token": "b", "instance_url": "https://two.example"}), &before.credential);
    assert_eq!(texts(&moved), expected("https://two.example"));
}

#[test]
fn a_grant_that_renews_itself_has_no_end() {
    let said = json!({"access_token": "a", "refresh_token": "r", "expires_in": 3600, "refresh_token_expires_in": 7200});
    assert_eq!(first("", said).ends_at, None);
}

#[test]
fn a_grant_without_a_refresh_token_ends_with_its_access_token() {
    let said = json!({"access_token": "a", "expires_in": 3600});
    let end = Some(now() + TimeDelta::hours(1));
    assert_eq!(first("", said.clone()).ends_at, end);
    assert_eq!(first("refresh = \"none\"\nexpires_after_days = 60", said).ends_at, end);
}

#[test]
fn a_grant_that_is_said_to_live_some_days_ends_then() {
    let days = |days| Some(now() + TimeDelta::days(days));
    let none = "refresh = \"none\"\nexpires_after_days = 60";
    assert_eq!(first(none, json!({"access_token": "a"})).ends_at, days(60));
    let linkedin = "expires_after_days = 365";
    let said = json!({"access_token": "a", "refresh_token": "r", "refresh_token_expires_in": 86_400});
    assert_eq!(first(linkedin, said).ends_at, days(1));
    assert_eq!(first(linkedin, json!({"access_token": "a", "refresh_token": "r"})).ends_at, days(365));
}

#[test]
fn renewing_does_not_move_an_end_that_nobody_moved() {
    let auth = "expires_after_days = 365";
    let mut before = first(auth, json!({"access_token": "a", "refresh_token": "r"})).credential;
    let end = Some(now() + TimeDelta::days(30));
    before.oauth.as_mut().unwrap().ends_at = end;
    assert_eq!(granted(auth, json!({"access_token": "b", "refresh_token": "r"}), &before).ends_at, end);
}

#[test]
fn an_exchange_moves_the_end_only_with_a_new_token_or_a_new_word() {
    let auth = "refresh = \"exchange\"\nexpires_after_days = 60";
    let days = |days| Some(now() + TimeDelta::days(days));
    let mut before = first(auth, json!({"access_token": "a"})).credential;
    before.oauth.as_mut().unwrap().ends_at = days(20);
    assert_eq!(granted(auth, json!({"access_token": "a"}), &before).ends_at, days(20));
    assert_eq!(granted(auth, json!({"access_token": "b"}), &before).ends_at, days(60));
    assert_eq!(granted(auth, json!({"access_token": "a", "expires_in": 864_000}), &before).ends_at, days(10));
}

#[test]
fn debug_of_an_answer_shows_no_secret() {
    let said = json!({
        "access_token": "planted-a", "refresh_token": "planted-r", "authed_user": {"access_token": "planted-u"},
    });
    let answer: TokenAnswer = serde_json::from_value(normalised(said, " ")).unwrap();
    let shown = format!("{answer:?}");
    assert!(shown.contains("authed_user") && !shown.contains("planted"), "{shown}");
}

/// What providers put where a lifetime, scopes or a token belong, and what they never should.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "-?[0-9]{1,30}(\\.[0-9]{1,3})?(e[0-9]{1,4})?".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from))
}

proptest! {
    #[test]
    fn whatever_stands_beside_a_token_the_grant_is_sane(
        life in anything(), scope in anything(), kind in anything(), refresh in anything(), end in anything()
    ) {
        let said = json!({
            "access_token": "a", "token_type": kind, "expires_in": life, "scope": scope, "refresh_token": refresh,
            "refresh_token_expires_in": end,
        });
        let grant = first("", said.clone());
        let (tokens, ten_years) = (tokens(&grant), now() + TimeDelta::days(3_651));
        let sane = |at: Option<DateTime<Utc>>| at.is_none_or(|at| at > now() && at < ten_years);
        prop_assert!(sane(tokens.access_expires_at) && sane(tokens.ends_at), "{}", said);
        prop_assert!(tokens.scopes.iter().all(|scope| !scope.is_empty() && !scope.contains(' ')), "{}", said);
        prop_assert!(tokens.refresh_token.as_ref().is_none_or(|token| !token.expose_secret().is_empty()), "{}", said);
    }
}
