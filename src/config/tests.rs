use chrono::TimeDelta;
use secrecy::ExposeSecret;

use super::*;

const KEY: &str = "main:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const SECRET: &str = "a secret of more than thirty-two characters";

/// The two settings without which there is no start, and `more`.
fn variables(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let needed = [("PATCHBAY_ENCRYPTION_KEYS", KEY), ("PATCHBAY_JWT_SECRET", SECRET)];
    needed.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn configure(text: &str, more: &[(&str, &str)]) -> Result<Config, Problems> {
    let file = ConfigFile { name: "patchbay.toml".to_owned(), text: text.to_owned() };
    Config::build(Some(file), variables(more))
}

fn with(more: &[(&str, &str)]) -> Config {
    configure("", more).unwrap()
}

/// Everything that is wrong, one a line.
fn complaints(text: &str, more: &[(&str, &str)]) -> String {
    let problems = configure(text, more).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn warnings(text: &str, more: &[(&str, &str)]) -> String {
    let config = configure(text, more).unwrap();
    config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn with_two_secrets_set_the_rest_has_defaults() {
    let config = with(&[]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database_url.expose_secret(), "sqlite://patchbay.db");
    assert_eq!(config.probe_interval, Duration::from_secs(900));
    assert_eq!(config.job_tick, Duration::from_secs(5));
    assert_eq!(config.journal_keep.of(entity::Topic::Audit), TimeDelta::days(90));
    assert!(config.history_keep > TimeDelta::days(729));
    assert_eq!(config.logging, Logging { filter: "info".to_owned(), format: LogFormat::Text });
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.warnings, []);
}

#[test]
fn the_file_goes_over_the_defaults_and_the_environment_over_the_file() {
    let file = "listen = '127.0.0.1:1'\njob_tick = '1s'\nmax_depth = 20";
    let config = configure(file, &[("PATCHBAY_LISTEN", "127.0.0.1:2")]).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.job_tick, Duration::from_secs(1));
    assert_eq!(config.limits.depth, 20);
    assert_eq!(config.probe_interval, Duration::from_secs(900));
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let config = configure("listen = '127.0.0.1:1'", &[("PATCHBAY_LISTEN", ""), ("PATCHBAY_PROBE_INTERVAL", "")]);
    let config = config.unwrap();
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.probe_interval, Duration::from_secs(900));
}

#[test]
fn a_list_is_written_with_commas_or_as_a_list_of_the_file() {
    let origins = ["https://a.example", "http://b.example:3000"];
    let commas = with(&[("PATCHBAY_ALLOWED_ORIGINS", "https://A.example:443/, http://b.example:3000,")]);
    assert_eq!(commas.allowed_origins, origins);
    let list = configure("allowed_origins = ['https://a.example', 'http://b.example:3000']", &[]).unwrap();
    assert_eq!(list.allowed_origins, origins);
    assert_eq!(with(&[("PATCHBAY_ALLOWED_HOSTS", "crm, db:5432")]).allowed_hosts, ["crm", "db:5432"]);
}

#[test]
fn the_secrets_have_to_be_there_and_the_complaint_says_how_to_make_them() {
    let problems = Config::from_variables([]).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "the configuration cannot be used:\
         \n  PATCHBAY_ENCRYPTION_KEYS: not set, and nothing is stored unsealed; make a key with \
         `echo \"main:$(openssl rand -base64 32)\"` and keep a copy: without it no stored secret opens\
         \n  PATCHBAY_JWT_SECRET: not set; make one with `openssl rand -base64 48`, or let an identity provider say \
         who people are (PATCHBAY_JWT_JWKS_URL)"
    );
}

#[test]
fn an_unknown_key_of_the_file_is_an_error_that_names_it() {
    assert_eq!(
        complaints("listne = 'x'\ncolour = 1", &[]),
        "`listne` in patchbay.toml: there is no such setting; did you mean `listen`?\
         \n`colour` in patchbay.toml: there is no such setting"
    );
}

#[test]
fn an_unknown_variable_of_ours_is_a_warning_and_others_are_ignored() {
    let variables = [("PATCHBAY_LISTNE", "x"), ("PATCHBAY_CONFIG", "patchbay.toml"), ("PATH", "/bin")];
    assert_eq!(warnings("", &variables), "PATCHBAY_LISTNE: there is no such setting; did you mean `PATCHBAY_LISTEN`?");
}

#[test]
fn every_value_that_cannot_be_used_is_named_with_what_is_wanted_and_is_not_repeated() {
    let wrong = [
        ("LISTEN", "VALUE", "not an address with a port"),
        ("LISTEN", "localhost", "write for example 127.0.0.1:8080"),
        ("PUBLIC_URL", "VALUE", "must be the scheme, host and port"),
        ("PUBLIC_URL", "https://VALUE.example/path", "nothing after it"),
        ("PUBLIC_URL", "https://user:VALUE@host.example", "nothing after it"),
        ("PUBLIC_URL", "ftp://VALUE.example", "write for example https://patchbay.example.com"),
        ("DATABASE_URL", "mysql://me:VALUE@host/db", "must be sqlite://FILE or postgres://"),
        ("DATABASE_URL", "postgres://me:VALUE/x@host/db", "percent-encoded"),
        ("DATABASE_URL", "sqlite::memory:", "must name a file"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("CONNECTORS_DIR", "/VALUE", "there is no such folder"),
        ("ALLOWED_ORIGINS", "*", "must be origins"),
        ("ALLOWED_ORIGINS", "https://a.example,VALUE", "must be origins"),
        ("ALLOWED_ORIGINS", "https://a.example/VALUE", "must be origins"),
        ("PROBE_INTERVAL", "VALUE", "not a span of time"),
        ("PROBE_INTERVAL", "15", "write for example 30s, 15m or 1h"),
        ("PROBE_INTERVAL", "0s", "must be between 1s and 7d"),
        ("JOB_TICK", "1h", "must be between 10ms and 1m"),
        ("JOURNAL_KEEP", "VALUE", "not a span of time; write for example 90d or 90d,audit=2y"),
        ("JOURNAL_KEEP", "1h", "must be between 1d and 100y"),
        ("JOURNAL_KEEP", "audit=2y", "has no general span"),
        ("JOURNAL_KEEP", "90d,VALUE=1d", "the topics are connections, datasets, notifications, attempts, audit"),
        ("JOURNAL_KEEP", "90d,audit=1d,audit=2d", "names the topic audit twice"),
        ("JOURNAL_KEEP", "90d,80d", "has two general spans"),
        ("TRUSTED_PROXIES", "10.0.0.7,VALUE", "must be addresses or networks"),
        ("EXPLORER", "VALUE", "must be on or off"),
        ("METRICS_BIND", "VALUE", "not an address with a port"),
        ("LOG", "info,VALUE=loud", "not a filter"),
        ("LOG_FORMAT", "VALUE", "must be text or json"),
        ("MAX_BODY", "VALUE", "not a size; write bytes, or for example 256KiB or 2MiB"),
        ("MAX_BODY", "99999999999999999MiB", "not a size"),
        ("MAX_FRAME", "10", "must be between 1KiB and 1024MiB"),
        ("MAX_DEPTH", "0", "must be a whole number from 1 to 1000000000"),
        ("MAX_TOKENS", "-1", "must be a whole number from 1 to 1000000000"),
        ("MAX_RATE", "VALUE", "must be a whole number from 1 to 1000000000"),
    ];
    for (name, value, wanted) in wrong {
        let name = format!("PATCHBAY_{name}");
        let said = complaints("", &[(&name, value)]);
        assert!(said.starts_with(&format!("{name}: ")), "{name}={value}: {said}");
        assert!(said.contains(wanted), "{name}={value}: {said}");
        assert!(!said.contains("VALUE"), "{name}={value}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}={value}: {said}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_where_the_operator_wrote_it() {
    let said = complaints("job_tick = 'soon'\nmax_depth = 1.5", &[("PATCHBAY_LISTEN", "here")]);
    let settings: Vec<_> = said.lines().filter_map(|line| line.split_once(": ")).map(|(setting, _)| setting).collect();
    assert_eq!(settings, ["`max_depth` in patchbay.toml", "PATCHBAY_LISTEN", "`job_tick` in patchbay.toml"]);
}

#[test]
fn a_file_that_is_not_toml_is_refused_at_its_line_without_quoting_it() {
    let said = complaints("listen = '127.0.0.1:1'\njwt_secret = \"hunter2hunter2", &[]);
    assert!(said.starts_with("patchbay.toml:2: not TOML: "), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let missing = Config::load(variables(&[("PATCHBAY_CONFIG", "/nowhere/patchbay.toml")])).unwrap_err().to_string();
    assert!(missing.contains("PATCHBAY_CONFIG: the file cannot be read"), "{missing}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.toml");
    std::fs::write(&path, "listen = '127.0.0.1:7'").unwrap();
    let config = Config::load(variables(&[("PATCHBAY_CONFIG", path.to_str().unwrap())])).unwrap();
    assert_eq!(config.listen.port(), 7);
}

#[test]
fn debug_shows_no_secret() {
    let config = configure(
        "[oauth.shopify]\nclient_secret = 'PLANTED-1'",
        &[
            ("PATCHBAY_DATABASE_URL", "postgres://me:PLANTED-2@host/db"),
            ("PATCHBAY_OAUTH_GOOGLE_ADS_DEVELOPER_TOKEN", "PLANTED-3"),
        ],
    );
    let config = config.unwrap();
    let clients = config.oauth_settings(&["shopify", "google-ads"]);
    let shown = format!("{config:?} {clients:?}");
    for secret in ["PLANTED", SECRET, KEY] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_public_address_is_the_one_set_or_that_of_the_socket() {
    let set = with(&[("PATCHBAY_PUBLIC_URL", "https://patchbay.example.com")]);
    let bound = "127.0.0.1:4321".parse().unwrap();
    assert_eq!(set.public_url(bound).unwrap().as_str(), "https://patchbay.example.com/");
    assert_eq!(with(&[]).public_url(bound).unwrap().as_str(), "http://127.0.0.1:4321/");
    let everywhere = "[::]:4321".parse().unwrap();
    assert_eq!(with(&[]).public_url(everywhere).unwrap().as_str(), "http://localhost:4321/");
}

#[test]
fn an_address_that_is_not_safe_or_not_reachable_is_a_warning() {
    let open = [("PATCHBAY_LISTEN", "0.0.0.0:8080")];
    assert!(warnings("", &open).starts_with("PATCHBAY_PUBLIC_URL: not set"));
    let plain = warnings("", &[("PATCHBAY_PUBLIC_URL", "http://patchbay.example.com")]);
    assert!(plain.starts_with("PATCHBAY_PUBLIC_URL: plain http"), "{plain}");
    for fine in ["https://patchbay.example.com", "http://localhost:8080", "http://127.0.0.1:1", "http://[::1]"] {
        assert_eq!(warnings("", &[open[0], ("PATCHBAY_PUBLIC_URL", fine)]), "", "{fine}");
    }
}

#[test]
fn the_journal_is_kept_as_long_as_its_topic_says() {
    let keep = with(&[("PATCHBAY_JOURNAL_KEEP", "30d, audit = 2y")]).journal_keep;
    assert_eq!(keep.of(entity::Topic::Connections), TimeDelta::days(30));
    assert!(keep.of(entity::Topic::Audit) > TimeDelta::days(729));
}

#[test]
fn a_span_or_a_size_that_is_absurd_is_refused_at_start_with_its_bounds() {
    for name in ["PROBE_INTERVAL", "JOB_TICK", "JOURNAL_KEEP"] {
        for absurd in ["0s", "1ns", "101y", "300000y", "584542046090y", "99999999999999999999y", "-1d", "1", "NaN"] {
            let variable = format!("PATCHBAY_{name}");
            let said = complaints("", &[(&variable, absurd)]);
            assert!(said.starts_with(&variable), "{name}={absurd}: {said}");
            assert!(said.contains("must be between") || said.contains("not a span of time"), "{name}={absurd}: {said}");
        }
    }
    for name in ["MAX_BODY", "MAX_FRAME"] {
        for absurd in ["0", "1023", "1025MiB", "17592186044416MiB", "18446744073709551615", "-1", "much"] {
            let variable = format!("PATCHBAY_{name}");
            assert!(complaints("", &[(&variable, absurd)]).starts_with(&variable), "{name}={absurd}");
        }
    }
    let counts =
        ["BATCH", "TOKENS", "DEPTH", "COMPLEXITY", "ALIASES", "DIRECTIVES", "SUBSCRIPTIONS", "SOCKETS", "RATE"];
    for name in counts.into_iter().chain(["BURST", "CONNECTIONS", "CONNECTIONS_PER_ADDRESS"]) {
        for absurd in ["0", "-1", "1.5", "1000000001", "4294967296", "18446744073709551616", "many"] {
            let variable = format!("PATCHBAY_MAX_{name}");
            assert!(complaints("", &[(&variable, absurd)]).starts_with(&variable), "{name}={absurd}");
        }
    }
}

#[test]
fn the_journals_longest_span_is_a_time_that_there_is() {
    let keep = with(&[("PATCHBAY_JOURNAL_KEEP", "100y")]).journal_keep.of(entity::Topic::Audit);
    assert!(chrono::DateTime::UNIX_EPOCH.checked_sub_signed(keep).is_some());
}

#[test]
fn history_is_kept_for_a_month_at_least_and_not_for_ever() {
    assert_eq!(with(&[("PATCHBAY_HISTORY_KEEP", "30d")]).history_keep, TimeDelta::days(30));
    for wrong in ["29d", "101y", "for ever"] {
        let said = complaints("", &[("PATCHBAY_HISTORY_KEEP", wrong)]);
        assert!(said.contains("PATCHBAY_HISTORY_KEEP"), "{wrong}: {said}");
    }
}

#[test]
fn a_connectors_settings_are_found_by_its_longest_slug_and_the_environment_decides() {
    let config = configure(
        "[oauth.google-ads]\nclient_id = 'file'\ndeveloper_token = 'file'",
        &[
            ("PATCHBAY_OAUTH_GOOGLE_ADS_CLIENT_ID", "environment"),
            ("PATCHBAY_OAUTH_GOOGLE_ADS_CLIENT_SECRET", "secret"),
            ("PATCHBAY_OAUTH_GOOGLE_CLIENT_ID", "another"),
        ],
    );
    let (clients, warnings) = config.unwrap().oauth_settings(&["google", "google-ads", "stripe"]);
    assert_eq!(warnings, []);
    assert_eq!(clients.keys().collect::<Vec<_>>(), ["google", "google-ads"]);
    let value = |slug: &str, name: &str| clients[slug][name].expose_secret().to_owned();
    assert_eq!(value("google-ads", "CLIENT_ID"), "environment");
    assert_eq!(value("google-ads", "CLIENT_SECRET"), "secret");
    assert_eq!(value("google-ads", "DEVELOPER_TOKEN"), "file");
    assert_eq!(value("google", "CLIENT_ID"), "another");
}

#[test]
fn settings_of_a_connector_that_is_not_there_are_a_warning() {
    let file = "[oauth.shopfy]\nclient_id = 'x'\nclient_secret = 'y'";
    let config = configure(file, &[("PATCHBAY_OAUTH_STRIP_CLIENT_ID", "z")]).unwrap();
    let (clients, warnings) = config.oauth_settings(&["shopify", "stripe"]);
    assert!(clients.is_empty());
    let said: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "`oauth.shopfy` of the file: there is no connector `shopfy`; did you mean `shopify`?",
            "PATCHBAY_OAUTH_STRIP_CLIENT_ID: there is no connector of this name; did you mean `STRIPE`?",
        ]
    );
}

#[test]
fn a_connectors_settings_have_to_be_a_table_of_texts() {
    assert_eq!(
        complaints("[oauth]\nshopify = 'x'\n[oauth.stripe]\nclient_id = true", &[]),
        "`oauth.shopify` in patchbay.toml: must be a table; write [oauth.shopify]\
         \n`oauth.stripe.client_id` in patchbay.toml: must be text; put it in quotes"
    );
}

#[test]
fn what_this_version_cannot_do_yet_is_said_and_not_passed_over() {
    let said = warnings("nats_url = 'nats://n'", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://o")]);
    assert_eq!(
        said,
        "`nats_url` in patchbay.toml: not supported by this version yet; nodes hear of each other through the database\
         \nOTEL_EXPORTER_OTLP_ENDPOINT: not supported by this version yet; no traces are exported"
    );
}

#[test]
fn a_mail_server_and_a_sender_go_together() {
    let url = ("PATCHBAY_SMTP_URL", "smtp://me:VALUE@mail.example");
    let mail = configure("mail_from = 'Patchbay <patchbay@agency.example>'", &[url]).unwrap().mail.unwrap();
    assert_eq!((mail.smtp_url.expose_secret(), mail.from.as_str()), (url.1, "Patchbay <patchbay@agency.example>"));
    assert!(!format!("{mail:?}").contains("VALUE"));
    assert!(with(&[]).mail.is_none() && with(&[("PATCHBAY_SMTP_URL", ""), ("PATCHBAY_MAIL_FROM", "")]).mail.is_none());

    let said = complaints("", &[url]);
    assert!(said.starts_with("PATCHBAY_MAIL_FROM: not set, and it goes with PATCHBAY_SMTP_URL"), "{said}");
    assert!(!said.contains("VALUE"), "{said}");
    let said = complaints("mail_from = 'VALUE'", &[]);
    assert!(said.starts_with("PATCHBAY_SMTP_URL: not set, and it goes with PATCHBAY_MAIL_FROM"), "{said}");
    assert!(!said.contains("VALUE"), "{said}");
}

/// What an identity provider is set with, and a server's secrets without that of our own tokens.
const IDENTITY_PROVIDER: [(&str, &str); 4] = [
    ("PATCHBAY_ENCRYPTION_KEYS", KEY),
    ("PATCHBAY_JWT_JWKS_URL", "https://id.example/keys"),
    ("PATCHBAY_JWT_ISSUER", "https://id.example/"),
    ("PATCHBAY_JWT_AUDIENCE", "patchbay, patchbay-cli"),
];

fn only(settings: &[(&str, &str)]) -> Result<Config, Problems> {
    Config::from_variables(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn an_identity_provider_stands_beside_the_secret_or_in_its_place() {
    let alone = only(&IDENTITY_PROVIDER).unwrap();
    assert!(alone.jwt_secret.is_none());
    let provider = alone.identity_provider.unwrap();
    assert_eq!(provider.jwks_url.as_str(), "https://id.example/keys");
    assert_eq!(provider.issuer, "https://id.example/", "letter by letter");
    assert_eq!(provider.audiences, ["patchbay", "patchbay-cli"]);
    let both = with(&IDENTITY_PROVIDER);
    assert!(both.jwt_secret.is_some() && both.identity_provider.is_some());
    assert!(with(&[]).identity_provider.is_none());
}

#[test]
fn the_settings_of_an_identity_provider_go_together() {
    for missing in 1..4 {
        let mut settings = IDENTITY_PROVIDER.to_vec();
        let (name, _) = settings.remove(missing);
        for settings in [settings.clone(), [settings, vec![("PATCHBAY_JWT_SECRET", SECRET)]].concat()] {
            let said = only(&settings).unwrap_err().to_string();
            assert!(said.contains(&format!("{name}: not set, and it goes with PATCHBAY_JWT_")), "{said}");
            assert_eq!(said.lines().count(), 2, "{said}");
        }
    }
    let wrong = [
        ("JWKS_URL", "VALUE"),
        ("JWKS_URL", "ftp://VALUE"),
        ("JWKS_URL", "https://me:VALUE@id.example"),
        ("AUDIENCE", ","),
    ];
    for (name, value) in wrong {
        let name = format!("PATCHBAY_JWT_{name}");
        let mut settings = IDENTITY_PROVIDER.to_vec();
        settings.push((&name, value));
        let said = complaints("", &settings);
        assert!(said.starts_with(&format!("{name}: must ")) && !said.contains("VALUE"), "{said}");
    }
}

#[test]
fn the_demo_heeds_where_to_listen_and_what_to_log_and_nothing_else() {
    let mut given = variables(&[("PATCHBAY_LISTEN", "127.0.0.1:0"), ("PATCHBAY_PROBE_INTERVAL", "nonsense")]);
    given.push(("PATCHBAY_DATABASE_URL".to_owned(), "postgres://production".to_owned()));
    let own = [
        ("PATCHBAY_DATABASE_URL", "sqlite://demo.db"),
        ("PATCHBAY_ENCRYPTION_KEYS", KEY),
        ("PATCHBAY_JWT_SECRET", SECRET),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::for_demo(&given, own).unwrap();
    assert_eq!(config.listen.port(), 0);
    assert_eq!(config.database_url.expose_secret(), "sqlite://demo.db");
}

/// The rows of the manual's tables of settings: variable and default.
fn manual() -> Vec<(&'static str, Option<&'static str>)> {
    let code = |cell: &'static str| cell.trim().strip_prefix('`')?.strip_suffix('`');
    let lines = include_str!("../../docs/configuration.md").lines();
    let rows = lines.filter(|line| line.starts_with("| `PATCHBAY_") || line.starts_with("| `OTEL_"));
    let cells = rows.map(|line| line.split('|').skip(1).collect::<Vec<_>>());
    cells.filter_map(|cells| Some((code(cells[0])?, code(cells[1])))).collect()
}

#[test]
fn the_manual_has_every_setting_and_its_defaults_are_the_defaults() {
    let manual = manual();
    let mut documented: Vec<_> = manual.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut known: Vec<_> = layers::variables().chain(["PATCHBAY_OAUTH_<SLUG>_<NAME>".to_owned()]).collect();
    documented.sort();
    known.sort();
    assert_eq!(documented, known);

    let defaults: Vec<_> = manual.into_iter().filter_map(|(name, default)| Some((name, default?))).collect();
    assert!(defaults.len() > 15, "{defaults:?}");
    assert_eq!(format!("{:?}", with(&defaults)), format!("{:?}", with(&[])));
    assert_eq!(with(&defaults).database_url.expose_secret(), with(&[]).database_url.expose_secret());
}
