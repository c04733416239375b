//! The document guard: what a document asks for is measured before the executor sees it.
//!
//! The executor's own limits come too late: its recursion check follows every fragment spread without remembering, so two dozen
//! fragments that each spread the next one twice cost it seconds and gigabytes, before any limit is looked at. Here
//! a fragment is measured once ([`measure`]), and before that the text is scanned for its tokens and its nesting ([`scan`]), since the
//! parser descends as deep as the brackets do. What an answer may hold is weighed by the schema ([`weigh`], [`lengths`]).
//!
//! Fragments that form a cycle are refused here too. Everything else that makes a document invalid is the executor's business, and
//! how many bytes an answer has is [`super::budget`]'s.

mod lengths;
mod measure;
mod repetitions;
mod scan;
mod weigh;

use async_graphql::Variables;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, TypeSystemDefinition};

pub(super) use repetitions::repetitions;

use super::field_types::FieldTypes;
use super::response::Refusal;
use crate::config::Limits;
use lengths::Lengths;
use weigh::{Scales, Weight};

/// What tools ask of a server that they do not know, in its longest form: no document may ask for more of the schema.
const INTROSPECTION: &str = include_str!("guard/introspection.graphql");

/// Judges documents against the limits and a schema.
pub(super) struct Guard {
    limits: Limits,
    lengths: Lengths,
    /// How many fields about the schema an answer may hold.
    introspection: u64,
}

impl Guard {
    /// For the schema of these definitions, whose fields are `types`.
    pub(super) fn new(limits: Limits, definitions: &[TypeSystemDefinition], types: &FieldTypes) -> Self {
        let mut guard = Self { lengths: Lengths::read(definitions), introspection: 0, limits };
        if guard.limits.introspection
            && let Ok(usual) = parse_query(INTROSPECTION)
        {
            let variables = Variables::default();
            let heaviest =
                usual.operations.iter().map(|(_, it)| guard.weigh(&it.node, &usual, &variables, types).introspected);
            guard.introspection = heaviest.max().unwrap_or_default();
        }
        guard
    }

    /// Refuses a text that is too long to parse.
    pub(super) fn check_text(&self, text: &str) -> Result<(), Refusal> {
        if text.len() > self.limits.document_bytes {
            let message = format!("A document holds at most {} bytes.", self.limits.document_bytes);
            return Err(Refusal::too_complex(message, None));
        }
        scan::scan(text, self.limits.tokens)
    }

    /// Refuses a document that asks for too much, whatever its variables. The verdict holds for the text.
    pub(super) fn check_document(&self, document: &ExecutableDocument) -> Result<(), Refusal> {
        measure::measure(document)?.check(&self.limits)
    }

    /// How many fields the answer to an operation may hold with these variables.
    ///
    /// # Errors
    /// More than the limits say.
    pub(super) fn check_operation(
        &self,
        operation: &OperationDefinition,
        document: &ExecutableDocument,
        variables: &Variables,
        types: &FieldTypes,
    ) -> Result<u64, Refusal> {
        let Weight { fields, introspected } = self.weigh(operation, document, variables, types);
        let most = self.limits.complexity;
        if fields > most {
            let message = format!(
                "The answer could hold more than {most} fields. Ask for smaller pages, or for fewer within pages."
            );
            return Err(Refusal::too_complex(message, None));
        }
        if introspected > 0 && !self.limits.introspection {
            return Err(Refusal::invalid(
                "This server does not describe its schema (PATCHBAY_INTROSPECTION).",
                Vec::new(),
            ));
        }
        if introspected > self.introspection {
            let message =
                "The document asks for more of the schema than a tool needs. Ask for fewer lists within lists.";
            return Err(Refusal::too_complex(message, None));
        }
        Ok(fields.saturating_add(introspected))
    }

    fn weigh(
        &self,
        operation: &OperationDefinition,
        document: &ExecutableDocument,
        variables: &Variables,
        types: &FieldTypes,
    ) -> Weight {
        Scales { types, lengths: &self.lengths, document, operation, variables }.weigh()
    }
}

#[cfg(test)]
mod tests;
