//! The house is built as src/lib.rs draws it: imports point one way.
//!
//! The drawing there is the rule itself: this test reads it, walks every module of the library and the binary, and
//! collects each path that leads to a room. What is compiled for tests only is left out.

mod paths;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use paths::{Edge, Module, edges};

/// Opened by the composition root alone; it imports only the lowest rooms.
const SANDBOX: &str = "sandbox";
/// What the binary is in the drawing: src/main.rs and the modules beside it.
const BINARY: &str = "main";
/// Rooms for whatever found no place.
const JUNK_ROOMS: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The drawing: how far to the right each room stands.
struct Drawing(BTreeMap<String, usize>);

impl Drawing {
    fn of(lib: &str) -> Self {
        let lines = lib.lines().filter_map(|line| line.strip_prefix("//!"));
        let drawn: Vec<_> = lines.skip_while(|line| line.trim() != "```text").skip(1).collect();
        let drawn: String = drawn.into_iter().take_while(|line| line.trim() != "```").collect();
        let (drawn, _) = drawn.split_once('(').unwrap_or((&drawn, ""));
        let mut rooms = BTreeMap::new();
        for (level, names) in drawn.split('→').enumerate() {
            for name in names.split(',').map(str::trim) {
                assert!(rooms.insert(name.to_owned(), level).is_none(), "{name} is drawn twice");
            }
        }
        let lowest = rooms.values().copied().max().unwrap_or_default();
        rooms.insert(SANDBOX.to_owned(), lowest.saturating_sub(1));
        Self(rooms)
    }

    /// Why `from` may not import `to`, if it may not.
    fn objection(&self, from: &str, to: &str) -> Option<String> {
        let (Some(left), Some(right)) = (self.0.get(from), self.0.get(to)) else {
            let missing = if self.0.contains_key(from) { to } else { from };
            return Some(format!("the room `{missing}` is not drawn in src/lib.rs"));
        };
        if from == to || (left < right && to != SANDBOX) || (from == "app" && to == SANDBOX) {
            return None;
        }
        Some(format!("`{from}` may not import `{to}`"))
    }
}

fn drawing() -> Drawing {
    Drawing::of(&fs::read_to_string(root().join("src/lib.rs")).unwrap())
}

/// Every module of the library and of the binary.
fn house() -> Vec<Module> {
    let mut modules = Module::tree(&root().join("src/lib.rs"), "crate");
    modules.extend(Module::tree(&root().join("src/main.rs"), BINARY));
    modules
}

#[test]
fn imports_point_one_way() {
    let drawing = drawing();
    let house = house();
    let all: Vec<Edge> = house.iter().flat_map(edges).collect();
    assert!(all.len() > 20, "only {} imports were found: is the house still where it was?", all.len());
    let objections: BTreeSet<_> = all
        .iter()
        .filter_map(|edge| Some(format!("{}: {}", edge.file, drawing.objection(&edge.from, &edge.to)?)))
        .collect();
    assert!(objections.is_empty(), "\n{}\n", objections.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_room_is_drawn() {
    let drawing = drawing();
    let rooms: BTreeSet<_> = house().iter().filter_map(|module| module.room().map(str::to_owned)).collect();
    let missing: Vec<_> = rooms.iter().filter(|room| !drawing.0.contains_key(*room)).collect();
    assert!(missing.is_empty(), "not drawn in src/lib.rs: {missing:?}");
}

#[test]
fn every_source_file_belongs_to_a_module() {
    let known: BTreeSet<_> = house().into_iter().flat_map(|module| module.files).collect();
    let strangers: Vec<_> = sources("src").into_iter().filter(|file| !known.contains(file)).collect();
    assert!(strangers.is_empty(), "no module names {strangers:?}");
}

#[test]
fn there_is_no_junk_room() {
    let folders = ["src", "entity", "migration", "tests/it", "benches"];
    let files: Vec<_> = folders.into_iter().flat_map(sources).collect();
    let junk: Vec<_> = files.iter().filter(|file| is_junk(file.strip_prefix(root()).unwrap())).collect();
    assert!(junk.is_empty(), "{junk:?}: name it after what it is about");
}

fn is_junk(file: &Path) -> bool {
    let words = file.iter().filter_map(|part| part.to_str()).flat_map(|part| part.split(['_', '.', '-']));
    words.into_iter().any(|word| JUNK_ROOMS.contains(&word))
}

/// The Rust files of `folder`, if there is one.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The rule, tried on a small house.
mod the_rule {
    use super::*;

    const LIB: &str =
        "//! ```text\n//! main → app → http, jobs\n//!      → vault → ids, clock (and the crate `entity`)\n//! ```";

    fn allows(from: &str, to: &str) -> bool {
        Drawing::of(LIB).objection(from, to).is_none()
    }

    #[test]
    fn lets_a_room_import_what_is_right_of_it_and_itself() {
        assert!(allows("main", "app") && allows("http", "ids") && allows("vault", "clock") && allows("jobs", "jobs"));
        assert!(allows("app", "sandbox") && allows("sandbox", "clock"));
    }

    #[test]
    fn refuses_what_is_left_of_it_or_beside_it_or_not_drawn() {
        assert!(!allows("http", "app") && !allows("ids", "vault"));
        assert!(!allows("http", "jobs") && !allows("ids", "clock"));
        assert!(!allows("http", "mystery") && !allows("mystery", "ids"));
        assert!(!allows("http", "sandbox") && !allows("main", "sandbox") && !allows("sandbox", "vault"));
    }

    #[test]
    fn knows_junk_by_its_words() {
        assert!(is_junk(Path::new("src/graphql/query_utils.rs")) && is_junk(Path::new("src/common/mod.rs")));
        assert!(!is_junk(Path::new("src/commons.rs")) && !is_junk(Path::new("src/vault.rs")));
    }
}
