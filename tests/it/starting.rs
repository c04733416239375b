//! What keeps the server from starting, and what it says then: what is wrong, what to do next, and no secret.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use patchbay::db::Db;
use sea_orm::ConnectionTrait;

use crate::harness::{Database, JWT_SECRET, KEYS, leave_out};

/// A secret that no message may hold.
const PLANTED: &str = "PLANTED";

/// A server that cannot start: what is set beside what it needs, and parts of what it says.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const CASES: &[Case] = &[
    (&[("ENCRYPTION_KEYS", "")], &["PATCHBAY_ENCRYPTION_KEYS: not set", "openssl rand -base64 32"]),
    (&[("ENCRYPTION_KEYS", PLANTED)], &["PATCHBAY_ENCRYPTION_KEYS: ", "name:base64", "openssl rand -base64 32"]),
    (&[("ENCRYPTION_KEYS", "main:UExBTlRFRA==")], &["`main` must be 32 bytes", "openssl rand -base64 32"]),
    (&[("JWT_SECRET", "")], &["PATCHBAY_JWT_SECRET: not set", "openssl rand -base64 48"]),
    (&[("JWT_SECRET", PLANTED)], &["PATCHBAY_JWT_SECRET: ", "at least 32 characters", "openssl rand -base64 48"]),
    (&[("PUBLIC_URL", "patchbay.example/PLANTED")], &["PATCHBAY_PUBLIC_URL: ", "write for example https://"]),
    (&[("LISTEN", "8080")], &["PATCHBAY_LISTEN: ", "write for example 127.0.0.1:8080"]),
    (&[("LISTEN", "@taken")], &["PATCHBAY_LISTEN: cannot listen there", "free the port, or choose another"]),
    (
        &[("DATABASE_URL", "mysql://me:PLANTED@host/db")],
        &["PATCHBAY_DATABASE_URL: must be sqlite://FILE or postgres://"],
    ),
    (
        &[("DATABASE_URL", "sqlite://no/such/folder/patchbay.db")],
        &["PATCHBAY_DATABASE_URL: ", "see that its folder exists"],
    ),
    (
        &[("DATABASE_URL", "sqlite://no-database")],
        &["PATCHBAY_DATABASE_URL: ", "is no SQLite database", "name another"],
    ),
    (
        &[("DATABASE_URL", "postgres://me:PLANTED@127.0.0.1:1/patchbay"), ("LOG", "trace")],
        &["PATCHBAY_DATABASE_URL: nobody answers there", "see that the database runs"],
    ),
    (&[("CONNECTORS_DIR", "no-such-folder")], &["PATCHBAY_CONNECTORS_DIR: there is no such folder", "create it"]),
    (&[("CONNECTORS_DIR", "bad")], &["bad connector files", "mend them", "bad.toml:2: "]),
    (&[("CONFIG", "no-such-file.toml")], &["PATCHBAY_CONFIG: "]),
    (&[("CONFIG", "unknown.toml")], &["`listne` in unknown.toml: there is no such setting; did you mean `listen`?"]),
    (&[("CONFIG", "broken.toml")], &["broken.toml:2: not TOML"]),
    (&[("ALLOWED_HOSTS", "http://PLANTED/x")], &["PATCHBAY_ALLOWED_HOSTS: "]),
    (&[("LOG", "warning")], &["PATCHBAY_LOG: not a filter", "write a level"]),
    (&[("LOG", "information,patchbay=debug")], &["PATCHBAY_LOG: not a filter", "write a level"]),
    (&[("LOG", "verbose")], &["PATCHBAY_LOG: not a filter", "write a level"]),
    (&[("LOG", "patchbay=loud")], &["PATCHBAY_LOG: not a filter", "write a level"]),
];

/// The folder it runs in, with files that the cases name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("unknown.toml", "listne = \"PLANTED\"\n");
    write("broken.toml", "log = \"info\"\njwt_secret = PLANTED\n");
    write("no-database", &"PLANTED, not SQLite. ".repeat(200));
    std::fs::create_dir(folder.path().join("bad")).unwrap();
    write("bad/bad.toml", "slug = \"bad\"\nnmae = \"PLANTED\"\n");
    folder
}

fn command(folder: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
    command.arg("serve").current_dir(folder).env_clear().stdin(Stdio::null());
    let usual = [("LISTEN", "127.0.0.1:0"), ("ENCRYPTION_KEYS", KEYS), ("JWT_SECRET", JWT_SECRET)];
    for (name, value) in usual.iter().chain(settings) {
        command.env(format!("PATCHBAY_{name}"), value);
    }
    command
}

/// What becomes of a server that ends by itself.
fn ends(folder: &Path, settings: &[(&str, &str)]) -> (Output, String) {
    let output = command(folder, settings).output().unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said)
}

#[test]
fn each_says_what_is_wrong_and_what_to_do_and_shows_no_secret() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = folder();
    let mut wrong = Vec::new();
    for (settings, parts) in CASES {
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, if *value == "@taken" { &*taken } else { *value })).collect();
        let (output, said) = ends(folder.path(), &settings);
        let complete = parts.iter().all(|part| said.contains(part));
        let silent = !said.contains(PLANTED) && !said.contains(JWT_SECRET) && !said.contains(&KEYS[5..]);
        if output.status.code() != Some(1) || !complete || !silent || !output.stdout.is_empty() {
            wrong.push(format!("{settings:?} {parts:?}: {:?}\n{said}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What keeps it from nothing, and what it warns of.
const ODD: &[(&str, &str, &[&str])] = &[
    ("LSITEN", PLANTED, &["PATCHBAY_LSITEN: there is no such setting", "did you mean `PATCHBAY_LISTEN`?"]),
    ("PUBLIC_URL", "http://patchbay.example", &["PATCHBAY_PUBLIC_URL: plain http", "put https in front"]),
    ("LISTEN", "0.0.0.0:0", &["PATCHBAY_PUBLIC_URL: not set", "set it"]),
    (
        "OAUTH_SHOPIFI_CLIENT_SECRET",
        PLANTED,
        &["PATCHBAY_OAUTH_SHOPIFI_CLIENT_SECRET: there is no connector of this name", "did you mean `SHOPIFY`?"],
    ),
];

#[test]
fn what_is_odd_is_a_warning_and_it_starts() {
    for (name, value, parts) in ODD {
        let folder = folder();
        let log = folder.path().join("log");
        let mut command = command(folder.path(), &[(name, value)]);
        let mut server = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let (begun, mut said) = (Instant::now(), String::new());
        while !said.contains("listening at") && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
            said = std::fs::read_to_string(&log).unwrap();
        }
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(said.contains("listening at"), "{name}: {said}");
        assert!(said.contains("WARN") && parts.iter().all(|part| said.contains(part)), "{name}: {said}");
        assert!(!said.contains(PLANTED), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_newer_is_left_alone() {
    let database = Database::new().await;
    let db = Db::open(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_later', 1)";
    db.writer().execute_unprepared(newer).await.unwrap();
    let (output, said) = ends(&database.folder(), &[("DATABASE_URL", database.url())]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("PATCHBAY_DATABASE_URL: the database is newer than this version"), "{said}");
    assert!(said.contains("or a newer one"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_or_database_that_postgresql_does_not_know_is_said() {
    let database = Database::new().await;
    if database.is_sqlite() {
        leave_out("what PostgreSQL does not know only PostgreSQL says");
        return;
    }
    let mut url = url::Url::parse(database.url()).unwrap();
    url.set_path("no_such_database");
    let (output, said) = ends(&database.folder(), &[("DATABASE_URL", url.as_str())]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no database of this name") && said.contains("createdb"), "{said}");
    url.set_username("no_such_user").unwrap();
    url.set_password(Some(PLANTED)).unwrap();
    let (output, said) = ends(&database.folder(), &[("DATABASE_URL", url.as_str())]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("refuses this user or password") && !said.contains(PLANTED), "{said}");
}

#[cfg(unix)]
#[test]
fn a_file_or_folder_that_cannot_be_written_is_said() {
    use std::os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    };
    let folder = folder();
    let permit = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    permit(folder.path(), 0o555);
    permit(&folder.path().join("unknown.toml"), 0o000);
    // The administrator of a machine may write anywhere: this is for somebody else.
    let administrator = folder.path().metadata().unwrap().uid() == 0;
    for (database, parts) in [
        ("sqlite://patchbay.db", ["PATCHBAY_DATABASE_URL: the file cannot be opened", "may write to it"]),
        ("sqlite://unknown.toml", ["PATCHBAY_DATABASE_URL: the file cannot be opened", "may write to it"]),
    ] {
        let mut command = command(folder.path(), &[("DATABASE_URL", database)]);
        if administrator {
            command.uid(65_534);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{database}: {said}");
    }
    permit(folder.path(), 0o755);
}
