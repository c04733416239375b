//! Parsed documents that passed the guard, so that a text is parsed and judged once.
//!
//! Two generations bound the memory: what is used moves to the young one; when that is full it becomes the old one, and the old one is
//! dropped. A flood of texts that are used once thus pushes out what nobody asks for any longer, little else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition};

/// A text longer than this share of a generation is not kept.
const LARGEST_SHARE: usize = 16;

/// A document that passed the guard.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) text: Arc<str>,
    pub(super) parsed: ExecutableDocument,
}

impl Document {
    /// The operation of this name, or the only one (GraphQL specification, section 6.1).
    pub(super) fn operation(&self, name: Option<&str>) -> Option<&OperationDefinition> {
        match (&self.parsed.operations, name) {
            (DocumentOperations::Single(only), None) => Some(&only.node),
            (DocumentOperations::Multiple(named), Some(name)) => named.get(name).map(|operation| &operation.node),
            (DocumentOperations::Multiple(named), None) if named.len() == 1 => {
                named.values().next().map(|operation| &operation.node)
            }
            _ => None,
        }
    }
}

/// A bounded cache of documents by their text.
#[derive(Debug)]
pub(super) struct Documents {
    /// Text of one generation, in bytes.
    capacity: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Arc<str>, Arc<Document>>,
    old: HashMap<Arc<str>, Arc<Document>>,
    young_bytes: usize,
}

impl Documents {
    /// A cache of documents with this much text. Parsed, it takes some twenty times the memory.
    pub(super) fn new(bytes: usize) -> Self {
        Self { capacity: bytes / 2, generations: Mutex::default() }
    }

    pub(super) fn get(&self, text: &str) -> Option<Arc<Document>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = generations.young.get(text) {
            return Some(Arc::clone(document));
        }
        let document = generations.old.remove(text)?;
        generations.insert(Arc::clone(&document), self.capacity);
        Some(document)
    }

    pub(super) fn keep(&self, document: &Arc<Document>) {
        if document.text.len() <= self.capacity / LARGEST_SHARE {
            let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            generations.insert(Arc::clone(document), self.capacity);
        }
    }
}

impl Generations {
    fn insert(&mut self, document: Arc<Document>, capacity: usize) {
        if self.young_bytes + document.text.len() > capacity {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        let bytes = document.text.len();
        if self.young.insert(Arc::clone(&document.text), document).is_none() {
            self.young_bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn document(text: &str) -> Arc<Document> {
        Arc::new(Document { text: text.into(), parsed: parse_query(text).unwrap() })
    }

    #[test]
    fn what_is_used_survives_a_flood_of_what_is_used_once() {
        let documents = Documents::new(2_000);
        documents.keep(&document("{ used }"));
        for n in 0..10_000 {
            documents.keep(&document(&format!("{{ once{n} }}")));
            assert!(documents.get("{ used }").is_some(), "after {n}");
        }
        assert!(documents.get("{ once0 }").is_none());
        let held = documents.generations.lock().unwrap();
        assert!(held.young.len() + held.old.len() < 2_000 / 8);
    }

    #[test]
    fn a_very_long_text_is_not_kept() {
        let documents = Documents::new(2_000);
        let long = format!("{{ a{} }}", " ".repeat(100));
        documents.keep(&document(&long));
        assert!(documents.get(&long).is_none());
    }
}
