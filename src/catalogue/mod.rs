//! The catalogue: every kind of data source this server can plug in, each from one TOML file.
//!
//! The files of `connectors/` are built in; more come from a folder, and one there replaces the built-in one of the same
//! slug. This room owns the format and all its checks, the templates and how they are filled in, and what may be typed
//! into a connector's fields. It sends nothing: [`crate::provider`] does, led by what stands here.

mod answers;
mod auth;
mod check;
mod connector;
mod fields;
mod file;
mod known;
mod listing;
mod paging;
mod pattern;
mod place;
pub mod pointer;
mod problem;
mod section;
mod template;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rust_embed::RustEmbed;
use uuid::Uuid;

pub use self::{
    answers::{AnswerMeans, KnownAnswer},
    connector::{
        Accounts, Api, Auth, ClientAuth, Connector, DataMode, Driver, Field, Identity, Method, Named, OAuth2, Pace,
        Pattern, Payload, Placement, Pointer, Probe, Refresh, Request,
    },
    fields::{FieldFault, FieldProblem},
    listing::Criteria,
    paging::{Carried, Numbered, Page, Paging, Progress, Slot, Turn},
    place::Place,
    problem::Problem,
    template::{Namespace, Placeholder, RenderError, Template, TemplateError, Values},
};

/// The connectors there are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    shelf: Arc<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    by_slug: BTreeMap<String, Arc<Connector>>,
    by_id: HashMap<Uuid, Arc<Connector>>,
}

#[derive(RustEmbed)]
#[folder = "connectors/"]
struct BuiltIn;

impl Catalogue {
    /// The built-in connectors and those of `dir` (its `*.toml` files, not of folders within it). Every problem of every
    /// file is told; with one there is no catalogue.
    pub fn load(dir: Option<&Path>) -> Result<Self, Vec<Problem>> {
        let (mut connectors, mut problems) = read_all(built_in());
        if let Some(dir) = dir {
            let (own, more) = read_all(files_of(dir));
            connectors.extend(own);
            problems.extend(more);
        }
        if problems.is_empty() { Ok(Self::of(connectors)) } else { Err(problems) }
    }

    fn of(connectors: BTreeMap<String, Connector>) -> Self {
        let by_slug: BTreeMap<_, _> =
            connectors.into_iter().map(|(slug, connector)| (slug, Arc::new(connector))).collect();
        let by_id = by_slug.values().map(|connector| (connector.id, Arc::clone(connector))).collect();
        Self { shelf: Arc::new(Shelf { by_slug, by_id }) }
    }

    pub fn get(&self, slug: &str) -> Option<&Arc<Connector>> {
        self.shelf.by_slug.get(slug)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Connector>> {
        self.shelf.by_id.get(&id)
    }

    /// All of them, by slug.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.shelf.by_slug.values()
    }
}

/// All problems of the connector files in a folder; none when they are fit for use.
pub fn check(dir: &Path) -> Vec<Problem> {
    read_all(files_of(dir)).1
}

/// Reads one connector file; `file` is its name in the problems.
pub fn parse(file: &str, text: &str) -> Result<Connector, Vec<Problem>> {
    file::read(file, text)
}

/// A file's name with its text, or with what kept it from being read.
type Source = Result<(String, String), Problem>;

/// Reads connector files of which no two may have the same slug.
fn read_all(sources: Vec<Source>) -> (BTreeMap<String, Connector>, Vec<Problem>) {
    let mut connectors: BTreeMap<String, (String, Connector)> = BTreeMap::new();
    let mut problems = Vec::new();
    for source in sources {
        let read = source.map_err(|problem| vec![problem]).and_then(|(file, text)| {
            let connector = parse(&file, &text)?;
            if let Some((other, _)) = connectors.get(&connector.slug) {
                let message = format!("`slug`: `{}` is the slug of {other} too", connector.slug);
                return Err(vec![Problem { line: file::slug_line(&text), file, message }]);
            }
            Ok((connector.slug.clone(), (file, connector)))
        });
        match read {
            Ok((slug, entry)) => drop(connectors.insert(slug, entry)),
            Err(found) => problems.extend(found),
        }
    }
    (connectors.into_iter().map(|(slug, (_, connector))| (slug, connector)).collect(), problems)
}

fn built_in() -> Vec<Source> {
    let mut names: Vec<_> = BuiltIn::iter().filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    let sources = names.into_iter().filter_map(|name| {
        let file = BuiltIn::get(&name)?;
        Some(text_of(format!("connectors/{name}"), file.data.into_owned()))
    });
    sources.collect()
}

fn files_of(dir: &Path) -> Vec<Source> {
    match toml_files(dir) {
        Ok(paths) => paths.into_iter().map(|path| source(&path)).collect(),
        Err(error) => vec![Err(unreadable(dir.display().to_string(), &error))],
    }
}

fn toml_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !is_hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn source(path: &Path) -> Source {
    let name = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => text_of(name, bytes),
        Err(error) => Err(unreadable(name, &error)),
    }
}

fn text_of(file: String, bytes: Vec<u8>) -> Source {
    String::from_utf8(bytes).map(|text| (file.clone(), text)).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Problem { file, line, message: "not UTF-8".to_owned() }
    })
}

fn unreadable(file: String, error: &io::Error) -> Problem {
    Problem { file, line: 1, message: format!("cannot be read: {error}") }
}

#[cfg(test)]
mod tests;
