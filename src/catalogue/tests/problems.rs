//! What is wrong with a file, and which line is blamed for it.

use proptest::prelude::*;

use super::*;

fn problems(text: &str) -> Vec<(usize, String)> {
    let problems = parse("acme.toml", text).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.line, problem.message)).collect()
}

/// Replaces one passage and expects one problem, in the line where `at` stands, that says `words`.
#[track_caller]
fn blamed(from: &str, to: &str, at: &str, words: &str) {
    let text = altered(from, to);
    let offset = text.find(at).unwrap_or_else(|| panic!("{at:?} is not in the file"));
    let line = text[..offset].matches('\n').count() + 1;
    let found = problems(&text);
    assert!(
        matches!(&found[..], [(l, message)] if *l == line && message.contains(words)),
        "line {line}, {words:?}: {found:?}"
    );
}

#[test]
fn what_is_required_is_missed() {
    for (line, key) in [
        ("slug = \"acme\"\n", "slug"),
        ("name = \"Acme\"\n", "name"),
        ("category = \"crm\"\n", "category"),
        ("mode = \"direct_query\"\n", "mode"),
        ("requirements = \"An account.\"\n", "requirements"),
    ] {
        assert_eq!(problems(&altered(line, "")), [(1, format!("`{key}` is missing"))]);
    }
    blamed("method = \"oauth2\"\n", "", "[auth]", "[auth] `method` is missing");
    blamed("id = \"/id\"\n", "", "[identity]", "[identity] `id` is missing");
    blamed("url = \"{token.instance_url}/me\"\n", "", "[identity]", "[identity] `url` is missing");
    blamed("list = \"/data/*/accounts\"\n", "", "[accounts]", "[accounts] `list` is missing");
    blamed("base_url = \"https://{identity.dc}.api.acme.example/v1\"\n", "", "[api]", "[api] `base_url` is missing");
    let token_url = "token_url = \"https://{field.shop}.acme.example/token\"\n";
    blamed(token_url, "", "[auth]", "[auth] `token_url` is missing");
    let without_auth = &GOOD[..GOOD.find("[auth]").unwrap()];
    assert_eq!(problems(without_auth), [(1, "`auth` is missing".to_owned())]);
}

#[test]
fn a_field_without_a_name_is_missed_in_its_line() {
    blamed("name = \"region\"\n", "", "[[field]]\nlabel", "[[field]] `name` is missing");
}

#[test]
fn oauth_asks_for_an_identity() {
    let text = "slug = \"a\"\nname = \"A\"\ncategory = \"c\"\nmode = \"warehouse\"\nrequirements = \"r\"\n[auth]\n\
                method = \"oauth2\"\nauthorize_url = \"https://a.example/a\"\ntoken_url = \"https://a.example/t\"\n";
    assert_eq!(problems(text), [(7, "[auth] `method` asks for [identity], which is missing".to_owned())]);
}

#[test]
fn an_unknown_key_is_told_with_what_was_meant() {
    blamed("keep = [\"instance_url\"]\n", "keep = [\"instance_url\"]\nscops = []\n", "scops", "did you mean `scopes`?");
    let text = altered("authorize_url", "authorise_url");
    let misspelled = "[auth] unknown key `authorise_url`; did you mean `authorize_url`?";
    assert_eq!(problems(&text), [(17, "[auth] `authorize_url` is missing".to_owned()), (19, misspelled.to_owned())]);
}

#[test]
fn unknown_keys_are_found_at_every_level() {
    blamed("slug = \"acme\"\n", "slug = \"acme\"\ncolour = 1\n", "colour", "unknown key `colour`");
    blamed("label = \"Shop\"\n", "label = \"Shop\"\nhelpp = \"x\"\n", "helpp", "did you mean `help`?");
    blamed(
        "keep = [\"dc\"]\n",
        "keep = [\"dc\"]\nkepe = 1\n",
        "kepe",
        "[identity] unknown key `kepe`; did you mean `keep`?",
    );
    blamed("account_interval", "acount_interval", "acount_interval", "did you mean `account_interval`?");
    blamed("[api]\n", "[apis]\na = 1\n[api]\n", "[apis]", "did you mean `api`?");
}

#[test]
fn a_value_of_another_shape_is_told() {
    blamed("name = \"Acme\"", "name = 7", "name = 7", "has to be a string, not integer");
    blamed("keep = [\"instance_url\"]\n", "keep = [\"instance_url\"]\nscopes = \"a\"\n", "scopes", "a list of strings");
    blamed("keep = [\"instance_url\"]\n", "keep = [\"instance_url\"]\nscopes = [1]\n", "scopes", "a list of strings");
    blamed("required = false", "required = \"no\"", "required = \"no\"", "true or false");
    blamed(
        "keep = [\"instance_url\"]\n",
        "keep = [\"instance_url\"]\nexpires_after_days = 0\n",
        "expires_after_days",
        "above 0",
    );
    blamed("mode = \"direct_query\"", "mode = \"direct-query\"", "mode =", "did you mean `direct_query`?");
}

#[test]
fn a_syntax_error_is_told_at_its_line_with_the_other_problems() {
    let text = altered("name = \"Acme\"", "name = Acme").replace("id = \"/id\"", "id = \"id\"");
    let found = problems(&text);
    assert!(found.iter().any(|(line, message)| *line == 2 && message.starts_with("not valid TOML")), "{found:?}");
    assert!(found.iter().any(|(line, message)| *line == 25 && message.contains("JSON Pointer")), "{found:?}");
    assert!(!found.iter().any(|(_, message)| message.contains("missing")), "{found:?}");
    let headless = problems(&altered("[auth]", "[auth"));
    assert!(matches!(&headless[..], [(17, message)] if message.starts_with("not valid TOML")), "{headless:?}");
    assert!(problems(&altered("slug = \"acme\"", "slug = \"acme\"\nslug = \"b\"")).iter().any(|(line, _)| *line == 2));
}

#[test]
fn all_problems_of_a_file_are_told_by_line() {
    let text = altered("slug = \"acme\"", "slug = \"Acme\"")
        .replace("pattern = \"[a-z0-9-]+\"", "pattern = \"[\"")
        .replace("{token.instance_url}", "{token.instance}")
        .replace("12h", "soon");
    assert_eq!(problems(&text).into_iter().map(|(line, _)| line).collect::<Vec<_>>(), [1, 10, 24, 37]);
}

#[test]
fn placeholders_name_what_is_declared() {
    blamed(
        "{field.shop}.acme.example/token",
        "{field.shpo}.acme.example/token",
        "{field.shpo}",
        "did you mean `shop`?",
    );
    blamed("{token.instance_url}", "{token.instance}", "{token.instance}", "[auth] `keep`");
    blamed(
        "https://{identity.dc}.api.acme.example/v1",
        "https://{identity.cd}.acme.example/v1",
        "{identity.cd}",
        "[identity] `keep`",
    );
    blamed(
        "{field.shop}.acme.example/token",
        "{feild.shop}.acme.example/token",
        "{feild.shop}",
        "did you mean `field`?",
    );
    blamed("{config.DEVELOPER_TOKEN}", "{config.developer_token}", "{config.developer_token}", "capitals");
}

#[test]
fn placeholders_stand_where_their_value_is_known() {
    blamed("{token.instance_url}/me", "https://{identity.dc}.acme.example/me", "{identity.dc}", "not known yet");
    blamed(
        "{field.shop}.acme.example/token",
        "{token.instance_url}.acme.example/token",
        "{token.instance_url}",
        "not known yet",
    );
    blamed(
        "https://{identity.dc}.api.acme.example/accounts",
        "https://acme.example/{account.id}",
        "acme.example/{account.id}",
        "not known yet",
    );
    let text = GOOD.replace("[accounts]", "[ignored]");
    assert!(
        problems(&text).iter().any(|(_, message)| message.contains("without [accounts] there is never an account"))
    );
}

#[test]
fn a_field_in_a_url_has_a_pattern_and_is_required() {
    blamed("acme.example/authorize", "acme.example/{field.region}", "{field.region}", "needs a `pattern`");
    let text = altered("acme.example/authorize", "acme.example/{field.region}")
        .replace("required = false", "required = false\npattern = \"[a-z]+\"");
    assert!(matches!(&problems(&text)[..], [(20, message)] if message.contains("cannot be optional")));
    accepted("{config.DEVELOPER_TOKEN}", "{field.region}");
    let param = "authorize_params = { region = \"{field.region}\" }\nkeep = [\"instance_url\"]";
    blamed("keep = [\"instance_url\"]", param, "authorize_params", "needs a `pattern`");
}

#[test]
fn no_secret_is_shown_in_a_browser() {
    let text = altered("pattern = \"[a-z0-9-]+\"", "pattern = \"[a-z0-9-]+\"\nsecret = true");
    assert!(matches!(&problems(&text)[..], [(20, message)] if message.contains("shown in a browser")));
    blamed(
        "acme.example/authorize",
        "acme.example/{config.CLIENT_SECRET}",
        "{config.CLIENT_SECRET}",
        "shown in a browser",
    );
}

#[test]
fn urls_are_urls_once_their_placeholders_are_filled_in() {
    let authorize = "https://{field.shop}.acme.example/authorize";
    for (url, words) in [
        ("ftp://acme.example", "begins with `https://`"),
        ("acme.example", "begins with `https://`"),
        ("https://", "not a URL"),
        ("https://user@acme.example", "no user"),
        ("https://acme.example/#top", "fragment"),
        ("https://acme.example/a b", "as it would be sent"),
        ("https://acme.example/a/../b", "as it would be sent"),
        ("https://acme.example:99999/", "not a URL"),
        ("{field.shop}/authorize", "write the scheme"),
        ("https://{shop}.acme.example/", "is no placeholder"),
    ] {
        blamed(authorize, url, url, words);
    }
    accepted(authorize, "http://127.0.0.1:4000/authorize?display=page");
    accepted(authorize, "{config.HOME}/authorize");
    blamed("acme.example/v1\"", "acme.example/v1?a=1\"", "/v1?a=1", "no query");
    blamed("[auth]\n", "[auth]\nissuer = \"acme\"\n", "issuer", "begins with `https://`");
    blamed("name = \"Acme\"\n", "name = \"Acme\"\ndocs_url = \"docs\"\n", "docs_url", "not a URL");
}

#[test]
fn keys_of_another_method_are_told() {
    let text = "slug = \"a\"\nname = \"A\"\ncategory = \"c\"\nmode = \"warehouse\"\nrequirements = \"r\"\n[auth]\n\
                method = \"api_key\"\nplacement = \"query:key\"\nscopes = [\"a\"]\ndriver = \"mysql\"\n";
    let found = problems(text);
    assert!(
        matches!(&found[..], [(9, scopes), (10, driver)] if scopes.contains("belongs to `method = \"oauth2\"`") && driver.contains("belongs to `method = \"fields\"`")),
        "{found:?}"
    );
    let text = altered("method = \"oauth2\"", "method = \"oauth\"\nscops = []");
    assert!(
        matches!(&problems(&text)[..], [(18, method), (19, key)] if method.contains("`oauth2`") && key.contains("`scopes`"))
    );
    blamed("[auth]\n", "[auth]\ndriver = \"postgres\"\n", "driver", "belongs to `method = \"fields\"`");
}

#[test]
fn a_database_has_its_fields_and_is_not_asked_over_http() {
    let fields = ["host", "port", "database", "username", "password", "tls"].map(|name| {
        let secret = name == "password";
        format!("[[field]]\nname = \"{name}\"\nsecret = {secret}\n")
    });
    let database =
        |fields: &[String]| format!("{PLAIN}{}[auth]\nmethod = \"fields\"\ndriver = \"postgres\"\n", fields.concat());
    let whole = database(&fields);
    let connector = parse("a.toml", &whole).unwrap();
    assert_eq!(connector.driver(), Some(Driver::Postgres));
    assert!(connector.has_probe() && connector.probe.request.is_none());
    for missing in 0..fields.len() {
        let mut others = fields.to_vec();
        others.remove(missing);
        let found = problems(&database(&others));
        assert!(matches!(&found[..], [(_, message)] if message.contains("asks for a [[field]] `")), "{found:?}");
    }
    for (from, to, words) in [
        ("secret = true", "secret = false", "`password` has to be secret"),
        ("\"username\"\nsecret = false", "\"username\"\nsecret = true", "`username` must not be secret"),
        ("\"host\"\n", "\"host\"\nrequired = false\n", "`host` has to be required"),
    ] {
        let found = problems(&whole.replace(from, to));
        assert!(matches!(&found[..], [(_, message)] if message.contains(words)), "{words}: {found:?}");
    }
    for table in ["[identity]\nurl = \"https://a.example\"\nid = \"\"\n", "[probe]\nurl = \"https://a.example\"\n"] {
        let found = problems(&format!("{whole}{table}"));
        assert!(matches!(&found[..], [(_, message)] if message.contains("not asked over HTTP")), "{found:?}");
    }
    let bare = format!("{PLAIN}[auth]\nmethod = \"fields\"\n");
    assert!(matches!(&problems(&bare)[..], [(7, message)] if message.contains("at least one [[field]]")));
}

#[test]
fn names_are_not_given_twice() {
    blamed("name = \"region\"", "name = \"shop\"", "name = \"shop\"\nlabel = \"Region\"", "`shop` is declared twice");
    blamed("keep = [\"dc\"]", "keep = [\"dc\", \"dc\"]", "keep = [\"dc\"", "there twice");
    blamed("login-account =", "Developer-Token =", "Developer-Token", "there twice");
    let scopes = "keep = [\"instance_url\"]\nscopes = [\"a\"]\noptional_scopes = [\"a\"]";
    blamed("keep = [\"instance_url\"]", scopes, "optional_scopes", "among `scopes` too");
}

#[test]
fn what_patchbay_sends_itself_cannot_be_set() {
    let with = |line: &str| format!("keep = [\"instance_url\"]\n{line}");
    let keep = "keep = [\"instance_url\"]";
    blamed(keep, &with("authorize_params = { state = \"x\" }"), "authorize_params", "set by Patchbay");
    blamed(keep, &with("token_params = { client_secret = \"x\" }"), "token_params", "set by Patchbay");
    blamed(keep, &with("login_hint_param = \"scope\""), "login_hint_param", "set by Patchbay");
    blamed(keep, "keep = [\"instance_url\", \"access_token\"]", "keep", "kept anyway");
    blamed("developer-token =", "Authorization =", "Authorization", "carries the credential");
    blamed("developer-token =", "Host =", "Host", "transport");
    let both = with("authorize_params = { hint = \"x\" }\nlogin_hint_param = \"hint\"");
    blamed(keep, &both, "login_hint_param", "among `authorize_params` too");
}

#[test]
fn requests_are_whole() {
    blamed("method = \"POST\"\n", "", "body = ", "a body goes with");
    blamed("method = \"POST\"", "method = \"GET\"", "body = ", "a body goes with");
    blamed("accounts { id } }\"}'", "accounts { id } }\"'", "body = ", "begins like JSON");
    blamed("[probe]\n", "[probe]\nmethod = \"POST\"\n", "method = \"POST\"\naccount_url", "asks for `url`");
    blamed(
        "account_interval",
        "account_method = \"POST\"\naccount_body = \"{ x\"\naccount_interval",
        "account_body",
        "begins like JSON",
    );
    let nameless = altered("accounts/{account.id}", "accounts").replace(", login-account = \"{account.id}\"", "");
    assert!(
        matches!(&problems(&nameless)[..], [(36, message)] if message.contains("nothing in it names {account.id}"))
    );
    accepted("accounts/{account.id}", "accounts");
}

#[test]
fn pointers_are_pointers() {
    blamed("id = \"/id\"", "id = \"$.id\"", "$.id", "JSON Pointer");
    blamed("id = \"/id\"", "id = \"/*/id\"", "/*/id", "a list only");
    blamed("/data/*/accounts", "data/accounts", "data/accounts", "JSON Pointer");
}

#[test]
fn what_is_kept_has_one_name_each() {
    accepted("keep = [\"dc\"]", "keep = [\"dc\", \"/login/login_id\"]");
    blamed("keep = [\"dc\"]", "keep = [\"dc\", \"/login/dc\"]", "keep = [\"dc", "two of them would be named `dc`");
    blamed("keep = [\"dc\"]", "keep = [\"dc\", \"/login/a b\"]", "\"/login", "named in letters");
    blamed("keep = [\"dc\"]", "keep = [\"dc\", \"/login/*/id\"]", "\"/login", "a list only");
    blamed("[\"instance_url\"]", "[\"instance_url\", \"/refresh_token\"]", "\"/refresh_token", "kept anyway");
}

#[test]
fn a_list_goes_on_in_one_way_and_from_what_the_first_request_says() {
    let next = |keys: &str| format!("id = \"\"\n[accounts.next]\n{keys}\n");
    let blamed = |keys: &str, at: &str, words: &str| blamed("id = \"\"\n", &next(keys), at, words);
    for good in [
        "link = true",
        "address = \"/next\"",
        "token = \"/next\"\nquery = \"pageToken\"",
        "address = \"/next\"\nuntil_empty = true",
        "token = \"/next\"\nmore = \"/more\"\nquery = \"pageToken\"",
        "last = \"/id\"\nquery = \"after\"",
        "token = \"/next\"\nbody = \"/pageToken\"",
        "number = \"pages\"\nquery = \"page\"\nsize = 100",
        "number = \"members\"\nquery = \"offset\"\nfirst = 0\nsize = 100\nsize_query = \"limit\"",
    ] {
        let text = GOOD.replace("acme.example/accounts\"", "acme.example/accounts?page=1\"");
        let text = text.replacen("id = \"\"\n", &next(good), 1);
        assert!(parse("acme.toml", &text).unwrap().accounts.unwrap().next.is_some(), "{good}");
    }
    blamed("", "[accounts.next]", "one of `link`, `address`, `token`, `last`, `number` is missing");
    blamed("address = \"/next\"\ntoken = \"/next\"", "token =", "in one way only");
    blamed("adress = \"/next\"\ntoken = \"/t\"\nquery = \"t\"", "adress", "did you mean `address`?");
    blamed("address = \"next\"", "address", "JSON Pointer");
    blamed("address = \"/next\"\nquery = \"t\"", "query =", "means nothing beside `address`");
    blamed("token = \"/next\"\nquery = \"t\"\nsize = 9", "size", "means nothing beside `token`");
    blamed("token = \"/next\"", "token =", "asks for `query` or `body`");
    blamed("token = \"/next\"\nquery = \"t\"\nbody = \"/t\"", "body = \"/t", "one place only");
    blamed("token = \"/next\"\nbody = \"/paging/token\"", "body = \"/p", "no such place");
    blamed("number = \"page\"\nquery = \"page\"\nsize = 9", "number", "did you mean `pages`?");
    blamed("number = \"pages\"\nquery = \"page\"\nsize = 9", "query =", "first page's number");
    blamed("link = false", "link =", "it is `true`");
    blamed("link = true\nsize = 9", "size", "means nothing beside `link`");
    blamed("address = \"/next\"\nmore = \"/more\"", "more", "means nothing beside `address`");
    blamed("last = \"/id\"", "last", "asks for `query` or `body`");
    let sized = "number = \"pages\"\nquery = \"page\"\nfirst = 1\nsize = 9\n";
    blamed(&format!("{sized}size_query = \"n\"\nsize_body = \"/query\""), "size_body", "`size_query` names one");
    blamed("number = \"pages\"\nquery = \"page\"\nfirst = -1\nsize = 9", "first", "a whole number");
}

#[test]
fn a_datasets_list_goes_on_from_a_request_that_is_made_later() {
    let api = |keys: &str| format!("[api]\n{keys}base_url");
    let post = "method = \"POST\"\npaths = \"reports/[^/]+:run\"\n";
    let next = |post: &str, keys: &str| format!("[api]\n{post}pagination = {{ {keys} }}\nbase_url");
    let good = accepted("[api]\nbase_url", &next(post, "token = \"/next\", body = \"/page/token\""));
    assert!(good.api.unwrap().pagination.is_some());
    let numbered = "number = \"pages\", query = \"page\", first = 0, size = 9, size_query = \"per_page\"";
    accepted("[api]\nbase_url", &next("", numbered));
    accepted("[api]\nbase_url", &api("omits_empty_lists = true\nmethod = \"GET\"\n"));
    let blamed_api = |to: &str, at: &str, words: &str| blamed("[api]\nbase_url", to, at, words);
    blamed_api(&api("method = \"PUT\"\n"), "method = \"PUT\"", "[api] `method` is one of");
    blamed_api(&api("omits_empty_lists = \"yes\"\n"), "omits_empty_lists", "true or false");
    blamed_api(&api("paginaton = { link = true }\n"), "paginaton", "did you mean `pagination`?");
    blamed_api(&api("method = \"POST\"\n"), "method = \"POST\"\nbase_url", "asks for `paths`");
    let blamed_next = |keys: &str, words: &str| blamed_api(&next("", keys), "pagination", words);
    blamed_next("", "[api.pagination] one of `link`,");
    blamed_next("token = \"/next\", body = \"/token\"", "`method = \"POST\"`");
    blamed_next("number = \"pages\", query = \"page\", size = 9", "asks for `first`");
    blamed_next("number = \"pages\", query = \"page\", first = 1", "asks for `size`");
    blamed_next("link = true, address = \"/next\"", "in one way only");
    blamed_next("link = true, page = 1", "[api.pagination] unknown key `page`");
    blamed_api(&next(post, "token = \"/next\", body = \"\""), "pagination", "no such place");
}

#[test]
fn an_answer_is_told_by_its_status_or_by_what_it_says() {
    let row = |keys: &str| format!("[[auth.answer]]\n{keys}\n\n[identity]\n");
    for good in [
        "status = 400\nmeans = \"rejected\"",
        "pointer = \"/error/code\"\nvalue = 17\nmeans = \"transient\"",
        "pointer = \"/ok\"\nvalue = false\nmeans = \"our_client\"",
        "status = 403\npointer = \"\"\npattern = \"gone.*\"\nmeans = \"rejected\"",
    ] {
        assert_eq!(accepted("[identity]\n", &row(good)).oauth().unwrap().answers.len(), 1, "{good}");
    }
    let blamed_row = |keys: &str, at: &str, words: &str| blamed("[identity]\n", &row(keys), at, words);
    blamed_row("means = \"rejected\"", "[[auth.answer]]", "one of `status`, `pointer` is missing");
    blamed_row("status = 400", "[[auth.answer]]", "`means` is missing");
    blamed_row("status = 99\nmeans = \"rejected\"", "status = 99", "200 to 599");
    blamed_row("status = \"4xx\"\nmeans = \"rejected\"", "status", "a whole number");
    blamed_row("status = 400\nmeans = \"revoked\"", "means", "is one of `rejected`, `transient`, `our_client`");
    blamed_row("status = 400\nmeans = \"renew\"", "means", "is one of");
    blamed_row("status = 400\nvalue = \"x\"\nmeans = \"rejected\"", "value", "asks for `pointer`");
    blamed_row("pointer = \"/a\"\nmeans = \"rejected\"", "[[auth.answer]]", "one of `value`, `pattern` is missing");
    blamed_row("pointer = \"a\"\nvalue = 1\nmeans = \"rejected\"", "pointer", "JSON Pointer");
    blamed_row("pointer = \"/a\"\nvalue = 1.5\nmeans = \"rejected\"", "value", "a whole number");
    blamed_row("pointer = \"/a\"\npattern = \"(\"\nmeans = \"rejected\"", "pattern = \"(", "unclosed");
    blamed_row("pointer = \"/a\"\nvalue = 1\npattern = \"1\"\nmeans = \"rejected\"", "pattern = \"1", "not both");
    let api = accepted("[api]\nbase_url", "[[api.answer]]\nstatus = 403\nmeans = \"renew\"\n\n[api]\nbase_url");
    assert_eq!(api.known_answers().len(), 1);
}

#[test]
fn iss_can_only_be_demanded_where_it_can_be_checked() {
    blamed("[auth]\n", "[auth]\niss_required = true\n", "iss_required", "asks for `issuer`");
    let checked = accepted("[auth]\n", "[auth]\niss_required = true\nissuer = \"https://{field.shop}.acme.example\"\n");
    assert!(checked.oauth().unwrap().iss_required);
}

proptest! {
    #[test]
    fn no_text_whatever_makes_the_reader_panic(from in 0..GOOD.len(), cut in 0..40usize, put in "[\\PC\n]{0,8}") {
        let to = (from + cut).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..from], &GOOD[to..]);
        let lines = text.matches('\n').count() + 1;
        for (line, message) in problems(&text) {
            prop_assert!((1..=lines).contains(&line), "{}: {}", line, message);
            prop_assert!(!message.contains('\n'), "{}", message);
        }
    }
}
