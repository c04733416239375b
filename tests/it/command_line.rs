//! The binary as its operator meets it: exit codes, and what goes to stdout and to stderr.

use std::process::{Command, Output};

use crate::harness::KEYS;

/// Runs the binary with nothing in its environment but `variables`, in an empty folder.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
    command.args(arguments).current_dir(folder.path()).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn without_configuration_it_says_what_to_set_and_fails() {
    for command in [&[][..], &["serve"], &["migrate"], &["token", "--email", "ada@agency.example"]] {
        let output = run(command, &[]);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert_eq!(text(&output.stdout), "", "{command:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("patchbay: the configuration cannot be used:\n"), "{said}");
        assert!(said.contains("PATCHBAY_ENCRYPTION_KEYS: not set"), "{said}");
        assert!(said.contains("PATCHBAY_JWT_SECRET: not set"), "{said}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_not_repeated() {
    let output =
        run(&["serve"], &[("PATCHBAY_DATABASE_URL", "mysql://me:PLANTED@host/db"), ("PATCHBAY_LISTEN", "PLANTED")]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("PATCHBAY_DATABASE_URL: ") && said.contains("PATCHBAY_LISTEN: "), "{said}");
    assert!(!said.contains("PLANTED"), "{said}");
}

#[test]
fn a_command_line_that_is_not_understood_is_exit_code_2() {
    for command in [&["srve"][..], &["token"], &["token", "--email", "a@b.example", "--ttl", "soon"], &["workspace"]] {
        let output = run(command, &[]);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert_eq!(text(&output.stdout), "", "{command:?}");
        assert!(text(&output.stderr).contains("--help"), "{command:?}");
    }
}

#[test]
fn the_schema_needs_no_configuration_and_nothing_else_is_printed() {
    let output = run(&["schema"], &[("PATCHBAY_LISTEN", "nonsense")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("type Query"));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn with_an_identity_provider_alone_nothing_is_signed_and_it_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("PATCHBAY_DATABASE_URL", format!("sqlite://{}", folder.path().join("test.db").display())),
        ("PATCHBAY_ENCRYPTION_KEYS", KEYS.to_owned()),
        ("PATCHBAY_JWT_JWKS_URL", "https://id.example/keys".to_owned()),
        ("PATCHBAY_JWT_ISSUER", "https://id.example".to_owned()),
        ("PATCHBAY_JWT_AUDIENCE", "patchbay".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let created = run(&["workspace", "create", "--name", "Agency", "--admin-email", "ada@agency.example"], &variables);
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    let printed = text(&created.stdout);
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let created: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(created["workspaceId"].is_string() && created["userId"].is_string() && created["token"].is_null());
    assert!(created.as_object().unwrap().contains_key("token"), "{created}");

    let refused = run(&["token", "--email", "ada@agency.example"], &variables);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()));
    let said = text(&refused.stderr);
    assert!(said.contains("PATCHBAY_JWT_SECRET: not set, so tokens come from the identity provider"), "{said}");
}
