//! Reading one table of a TOML file by its keys, with the place of each value at hand.
//!
//! A [`Section`] knows shapes only (a string, a list of strings, one of several words) and what was asked of it, so that
//! [`Section::close`] can tell the keys nobody asked for. What a value means is up to [`super::check`].

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::Report;
use crate::spelling::hint;

/// A string of the file and where it stands.
pub(super) type Text = Spanned<String>;

/// One table of a file.
pub(super) struct Section<'a> {
    /// As the file writes it: `[auth]`; empty for the top of the file.
    title: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
    report: &'a Report<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, report: &'a Report<'a>) -> Self {
        Self { title: String::new(), span: 0..0, table, known: RefCell::default(), report }
    }

    /// Whether part of the file could not be read.
    pub(super) fn is_incomplete(&self) -> bool {
        self.report.is_broken()
    }

    /// Whether the file has the key, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where a key stands, else where its table begins.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// Reports that something is missing which the value of `key` asks for.
    pub(super) fn require_beside(&self, missing: &str, key: &str) {
        self.report
            .missing(&self.key_span(key), format!("{}`{key}` asks for {missing}, which is missing", self.lead()));
    }

    /// Keys that are no mistake here even if nobody reads them.
    pub(super) fn expect(&self, keys: &[&'static str]) {
        self.known.borrow_mut().extend_from_slice(keys);
    }

    fn text(&self, key: &'static str) -> Option<Text> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_shape(key, value, "a string");
        }
        Some(Spanned::new(value.span(), text?.to_owned()))
    }

    /// A string, a whole number or a boolean, as text.
    pub(super) fn scalar(&self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        let shown = value.get_ref();
        let number = || shown.as_integer().map(|number| number.as_str().to_owned());
        let word = || shown.as_bool().map(|word| word.to_string());
        let text = shown.as_str().map(str::to_owned).or_else(number).or_else(word);
        if text.is_none() {
            self.wrong_shape(key, value, "a string, a whole number, or true or false");
        }
        text
    }

    /// A string, read further; the error says what is wrong with it.
    pub(super) fn parse<T>(&self, key: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.accept(key, &self.text(key)?, read)
    }

    /// A string that has to be there, read further.
    pub(super) fn required<T>(&self, key: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.require(key);
        self.parse(key, read)
    }

    /// A list of strings, each read further and none there twice.
    pub(super) fn list(&self, key: &'static str, read: impl Fn(&str) -> Result<String, String>) -> Vec<String> {
        let mut read_so_far = Vec::new();
        for text in self.texts(key) {
            let Some(item) = self.accept(key, &text, &read) else { continue };
            if read_so_far.contains(&item) {
                self.fault(key, &text.span(), &format!("`{}` is there twice", item.escape_debug()));
            }
            read_so_far.push(item);
        }
        read_so_far
    }

    /// Reports what is wrong with the value of a key.
    pub(super) fn fault(&self, key: &str, span: &Range<usize>, fault: &str) {
        self.report.problem(span, format!("{}`{}`: {fault}", self.lead(), key.escape_debug()));
    }

    /// Reads a string of the file further and reports what is wrong with it.
    pub(super) fn accept<T>(&self, key: &str, text: &Text, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        read(text.get_ref()).inspect_err(|fault| self.fault(key, &text.span(), fault)).ok()
    }

    /// Reports the key as missing where it is.
    pub(super) fn require(&self, key: &'static str) {
        if !self.has(key) {
            self.report.missing(&self.span, format!("{}`{key}` is missing", self.lead()));
        }
    }

    /// Reports that none of the keys is there, where one has to be.
    pub(super) fn require_one(&self, keys: &[&str]) {
        if !keys.iter().any(|key| self.has(key)) {
            let all: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            self.report.missing(&self.span, format!("{}one of {} is missing", self.lead(), all.join(", ")));
        }
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<Spanned<bool>> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_shape(key, value, "true or false");
        }
        Some(Spanned::new(value.span(), flag?))
    }

    /// A whole number above 0.
    pub(super) fn count(&self, key: &'static str) -> Option<u32> {
        self.whole(key, 1, "a whole number above 0")
    }

    /// A whole number, which may be 0.
    pub(super) fn number(&self, key: &'static str) -> Option<u32> {
        self.whole(key, 0, "a whole number")
    }

    fn whole(&self, key: &'static str, least: u32, wanted: &str) -> Option<u32> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok()).filter(|n| *n >= least);
        if number.is_none() {
            self.wrong_shape(key, value, wanted);
        }
        number
    }

    fn texts(&self, key: &'static str) -> Vec<Text> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_shape(key, value, "a list of strings");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Spanned::new(item.span(), text.to_owned())),
                None => self.wrong_shape(key, item, "a list of strings"),
            }
        }
        texts
    }

    /// A table whose keys are up to the file and whose values are strings.
    pub(super) fn text_map(&self, key: &'static str) -> Vec<(Text, Text)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name, value) in section.table {
            match value.get_ref().as_str() {
                Some(text) => pairs.push((
                    Spanned::new(name.span(), name.get_ref().to_string()),
                    Spanned::new(value.span(), text.to_owned()),
                )),
                None => section.wrong_shape(name.get_ref(), value, "a string"),
            }
        }
        pairs
    }

    /// One word of several.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let given = self.text(key)?;
        let found = words.iter().find(|(word, _)| word == given.get_ref()).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let hint = hint(given.get_ref(), words.iter().map(|(word, _)| *word));
            let quoted = given.get_ref().escape_debug();
            self.report.problem(
                &given.span(),
                format!("{}`{key}` is one of {}, not `{quoted}`{hint}", self.lead(), all.join(", ")),
            );
        }
        found
    }

    /// The table under a key.
    pub(super) fn section(&self, key: &'static str) -> Option<Self> {
        let value = self.value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_shape(key, value, "a table");
            return None;
        };
        Some(self.inner(format!("[{}]", self.path(key)), self.key_span(key), table))
    }

    /// The tables under a key that is written `[[key]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_shape(key, value, &format!("written `[[{key}]]`"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array {
            match item.get_ref().as_table() {
                Some(table) => sections.push(self.inner(format!("[[{key}]]"), item.span(), table)),
                None => self.wrong_shape(key, item, &format!("written `[[{key}]]`")),
            }
        }
        sections
    }

    /// Reports every key that nobody asked for. In a file that is not TOML throughout only slips are told: the others may
    /// belong to a table whose head could not be read.
    pub(super) fn close(self) {
        let known = self.known.borrow();
        for key in self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let hint = hint(name, known.iter().copied());
            let message = format!("{}unknown key `{}`{hint}", self.lead(), name.escape_debug());
            match hint.as_str() {
                "" => self.report.missing(&key.span(), message),
                _ => self.report.problem(&key.span(), message),
            }
        }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    fn inner(&self, title: String, span: Range<usize>, table: &'a DeTable<'a>) -> Self {
        Section { title, span, table, known: RefCell::default(), report: self.report }
    }

    fn path(&self, key: &str) -> String {
        match self.title.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            outer => format!("{outer}.{key}"),
        }
    }

    /// How a message about this table begins.
    fn lead(&self) -> String {
        if self.title.is_empty() { String::new() } else { format!("{} ", self.title) }
    }

    fn wrong_shape(&self, key: &str, value: &Spanned<DeValue<'a>>, wanted: &str) {
        let found = value.get_ref().type_str();
        let message = format!("{}`{}` has to be {wanted}, not {found}", self.lead(), key.escape_debug());
        self.report.problem(&value.span(), message);
    }
}
