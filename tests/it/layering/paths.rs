//! Which rooms a module's code leads to: `use` trees, paths in code and types, and paths inside macros.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Expr, ExprLit, File, Ident, Item, ItemMod, Lit, Macro, Meta, MetaNameValue, UseTree,
    visit::{self, Visit},
};

/// One module file, with the place where it stands.
pub(super) struct Module {
    /// From the crate's root: `["provider", "oauth"]`; of the binary all is `["main"]`.
    path: Vec<String>,
    /// Whether it belongs to the binary, which is one room.
    binary: bool,
    file: PathBuf,
    /// What was read for it: its own file, and those of modules that only tests have.
    pub(super) files: Vec<PathBuf>,
    code: File,
}

/// `from` leads to `to`.
pub(super) struct Edge {
    pub(super) file: String,
    pub(super) from: String,
    pub(super) to: String,
}

impl Module {
    /// The module of `file`, a crate's root, and all that it declares. `crate_name` is `crate` for the library.
    pub(super) fn tree(file: &Path, crate_name: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let folder = file.parent().unwrap();
        read(file, folder, Vec::new(), crate_name != "crate", &mut found);
        found
    }

    /// The room it belongs to; none for the library's root.
    pub(super) fn room(&self) -> Option<&str> {
        if self.binary { Some("main") } else { self.path.first().map(String::as_str) }
    }
}

fn read(file: &Path, folder: &Path, path: Vec<String>, binary: bool, found: &mut Vec<Module>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let code = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut files = vec![file.to_owned()];
    let mut declared = Vec::new();
    for module in code.items.iter().filter_map(as_declaration) {
        let name = module.ident.to_string();
        let (child, inside) = place_of(module, &name, file, folder);
        if !only_for_tests(&module.attrs) {
            declared.push((child, inside, [path.clone(), vec![name]].concat()));
            continue;
        }
        if inside != folder {
            files.extend(rust_files(&inside));
        }
        files.push(child);
    }
    found.push(Module { path, binary, file: file.to_owned(), files, code });
    for (file, folder, path) in declared {
        read(&file, &folder, path, binary, found);
    }
}

/// The file of a declared module, and the folder of the modules within it.
fn place_of(module: &ItemMod, name: &str, file: &Path, folder: &Path) -> (PathBuf, PathBuf) {
    if let Some(path) = module.attrs.iter().find_map(named_path) {
        let child = file.parent().unwrap().join(path);
        let inside = child.parent().unwrap().to_owned();
        return (child, inside);
    }
    let (beside, inside) = (folder.join(format!("{name}.rs")), folder.join(name));
    let child = if beside.exists() { beside } else { inside.join("mod.rs") };
    (child, inside)
}

/// `#[path = "…"]`
fn named_path(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(MetaNameValue { path, value: Expr::Lit(ExprLit { lit: Lit::Str(text), .. }), .. })
            if path.is_ident("path") =>
        {
            Some(text.value())
        }
        _ => None,
    }
}

/// `mod name;`
fn as_declaration(item: &Item) -> Option<&ItemMod> {
    match item {
        Item::Mod(module) if module.content.is_none() => Some(module),
        _ => None,
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] }).collect()
}

fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// Where `module` leads to, outside of what is compiled for tests only. The library's root leads nowhere: it declares.
pub(super) fn edges(module: &Module) -> Vec<Edge> {
    let Some(room) = module.room() else { return Vec::new() };
    let mut reader = Reader { place: module.path.clone(), binary: module.binary, rooms: BTreeSet::new() };
    reader.visit_file(&module.code);
    let edge = |to| Edge { file: module.file.display().to_string(), from: room.to_owned(), to };
    reader.rooms.into_iter().map(edge).collect()
}

/// Walks a module's code and notes the rooms that its paths lead to.
struct Reader {
    /// The module that the code at hand is in.
    place: Vec<String>,
    binary: bool,
    rooms: BTreeSet<String>,
}

impl Reader {
    /// Notes the room that `path` leads to, if it leaves from the crate's root.
    fn note(&mut self, path: &[String]) {
        let first = path.first().map(String::as_str);
        let room = match first {
            Some("patchbay") => path.get(1),
            // Within the binary, `crate` is the binary itself.
            Some("crate") if !self.binary => path.get(1),
            Some("super" | "self") if !self.binary => {
                let steps = path.iter().take_while(|part| *part == "super" || *part == "self");
                let (up, length) = steps.fold((0, 0), |(up, n), part| (up + usize::from(part == "super"), n + 1));
                if up == self.place.len() { path.get(length) } else { None }
            }
            _ => None,
        };
        self.rooms.extend(room.filter(|room| starts_like_a_module(room)).cloned());
    }

    fn note_use(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.note_use(&step.tree, path);
                path.pop();
            }
            UseTree::Name(name) => self.note(&[path.clone(), vec![name.ident.to_string()]].concat()),
            UseTree::Rename(name) => self.note(&[path.clone(), vec![name.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.note(path),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(tree, path)),
        }
    }
}

/// `crate::Thing` and `crate::CONSTANT` would be items of the root, which has none.
fn starts_like_a_module(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !only_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.place.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.place.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&parts);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let text = call.tokens.to_string();
        let words: Vec<_> = text.split_whitespace().collect();
        for (index, word) in words.iter().enumerate().filter(|(_, word)| matches!(**word, "crate" | "patchbay")) {
            if let (Some(&"::"), Some(next)) = (words.get(index + 1), words.get(index + 2)) {
                self.note(&[(*word).to_owned(), (*next).to_owned()]);
            }
        }
        visit::visit_macro(self, call);
    }
}

mod tests {
    use super::*;

    /// The rooms that `code` leads to, standing at `place` in the library.
    fn rooms(place: &[&str], code: &str) -> Vec<String> {
        let place: Vec<_> = place.iter().map(|&part| part.to_owned()).collect();
        let code = syn::parse_file(code).unwrap();
        let module = Module { path: place, binary: false, file: PathBuf::new(), files: Vec::new(), code };
        edges(&module).into_iter().map(|edge| edge.to).collect()
    }

    #[test]
    fn a_path_is_found_however_it_is_written() {
        assert_eq!(rooms(&["http"], "use crate::{ids::{self, Kind}, vault as v, clock};"), ["clock", "ids", "vault"]);
        assert_eq!(
            rooms(&["http"], "fn f(x: crate::ids::Id) { crate::vault::open::<crate::db::Db>() }"),
            ["db", "ids", "vault"]
        );
        assert_eq!(rooms(&["http"], "fn f() { tracing::info!(\"{}\", crate::ids::new()); }"), ["ids"]);
        assert_eq!(rooms(&["http"], "pub(crate) use crate::vault::*;"), ["vault"]);
    }

    #[test]
    fn the_way_up_leads_out_only_at_the_root() {
        assert_eq!(rooms(&["http"], "use super::ids;"), ["ids"]);
        assert_eq!(rooms(&["http", "socket"], "use super::frames; use super::super::vault;"), ["vault"]);
        assert_eq!(rooms(&["http"], "mod inner { use super::frames; use super::super::vault; }"), ["vault"]);
        assert!(rooms(&["http"], "use self::frames; use std::fmt;").is_empty());
    }

    #[test]
    fn what_only_tests_have_is_left_out() {
        assert!(rooms(&["http"], "#[cfg(test)] mod tests { use crate::app; }").is_empty());
        assert!(rooms(&["http"], "#[cfg(test)] use crate::app;").is_empty());
        assert_eq!(rooms(&["http"], "#[cfg(unix)] use crate::app;"), ["app"]);
    }
}
