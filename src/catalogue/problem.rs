//! What is wrong with a connector file, and in which line.

use std::{cell::RefCell, fmt, ops::Range};

/// One thing wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, as it was given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// A sentence for whoever wrote the file.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl std::error::Error for Problem {}

/// Gathers the problems of one file while it is read.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// The file is not TOML throughout, so what seems to be missing or misplaced may only be unreadable.
    broken: bool,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, broken: false, found: RefCell::default() }
    }

    /// Records a syntax error. From here on nothing is called missing or misplaced.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        self.problem(&span, format!("not valid TOML: {}", error.message().replace('\n', ", ")));
        self.broken = true;
    }

    /// Whether there was a syntax error.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Records a problem with what stands at `span`.
    pub(super) fn problem(&self, span: &Range<usize>, message: impl Into<String>) {
        self.found.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line: line_of(self.text, span.start),
            message: message.into(),
        });
    }

    /// Records what a syntax error elsewhere would explain: that something is missing, or out of its place.
    pub(super) fn missing(&self, span: &Range<usize>, message: impl Into<String>) {
        if !self.broken {
            self.problem(span, message);
        }
    }

    /// The problems by line.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|problem| problem.line);
        found
    }
}

/// The line, counted from 1, that holds the byte at `offset`.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
