//! What the files say to people: what someone must have at hand, and what an operator has to set.

use std::process::Command;

use patchbay::catalogue::{self, Connector};

use super::{asked_over_http, built_in, script::Script};

fn connectors() -> Vec<(String, Connector)> {
    let parsed = |(slug, text): (String, String)| {
        let connector = catalogue::parse(&slug, &text).unwrap_or_else(|problems| panic!("{problems:?}"));
        (text, connector)
    };
    built_in().into_iter().map(parsed).collect()
}

/// The comments of a file.
fn comments(text: &str) -> String {
    text.lines().filter_map(|line| line.trim_start().strip_prefix('#')).collect::<Vec<_>>().join("\n")
}

#[test]
fn there_are_seventeen_and_each_is_named_like_its_file() {
    let slugs: Vec<String> = built_in().into_iter().map(|(slug, _)| slug).collect();
    assert_eq!(slugs.len(), 17, "{slugs:?}");
    for ((slug, _), (_, connector)) in built_in().iter().zip(connectors()) {
        assert_eq!(slug, &connector.slug);
    }
}

#[test]
fn whatever_is_asked_of_a_person_is_in_the_requirements() {
    for (_, connector) in connectors() {
        let requirements = connector.requirements.to_lowercase();
        for field in &connector.fields {
            let label = field.label.to_lowercase();
            assert!(requirements.contains(&label), "{}: {} is not in its requirements", connector.slug, field.label);
        }
    }
}

#[test]
fn whatever_an_operator_has_to_set_is_named_as_the_variable_that_it_is() {
    for (text, connector) in connectors() {
        let slug = connector.slug.replace('-', "_").to_uppercase();
        for name in connector.config_names() {
            let variable = format!("PATCHBAY_OAUTH_{slug}_{name}");
            assert!(comments(&text).contains(&variable), "{}: no comment names {variable}", connector.slug);
        }
    }
}

#[test]
fn each_names_the_documentation_that_it_is_made_from() {
    for (text, connector) in connectors() {
        assert!(comments(&text).matches("https://").count() >= 2, "{}", connector.slug);
        assert!(connector.docs_url.is_some(), "{}", connector.slug);
    }
    for (slug, _) in asked_over_http() {
        let pages = Script::of(&slug).documentation;
        assert!(!pages.is_empty() && pages.iter().all(|page| page.starts_with("https://")), "{slug}");
    }
}

#[test]
fn the_check_command_finds_nothing_wrong_with_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/connectors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
    let output = command.args(["connectors", "check", folder]).env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).is_empty());
}
