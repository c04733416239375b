//! The document guard: what a document asks for is measured before the executor sees it.
//!
//! The executor's own limits come too late: its recursion check follows every fragment spread without remembering, so two dozen
//! fragments that each spread the next one twice cost it seconds and gigabytes, before any limit is looked at. Here
//! a fragment is measured once ([`measure`]), and before that the text is scanned for its tokens and its nesting ([`scan`]), since the
//! parser descends as deep as the brackets do.
//!
//! Fragments that form a cycle are refused here too. Everything else that makes a document invalid is the executor's business.

mod measure;
mod repetitions;
mod scan;
mod weigh;

use async_graphql::Variables;
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition};

pub(super) use repetitions::repetitions;

use super::response::Refusal;
use crate::config::Limits;

/// Refuses a text that is too long to parse.
pub(super) fn check_text(text: &str, limits: &Limits) -> Result<(), Refusal> {
    if text.len() > limits.document_bytes {
        return Err(Refusal::too_complex(format!("A document holds at most {} bytes.", limits.document_bytes), None));
    }
    scan::scan(text, limits.tokens)
}

/// Refuses a document that asks for too much, whatever its variables. The verdict holds for the text.
pub(super) fn check_document(document: &ExecutableDocument, limits: &Limits) -> Result<(), Refusal> {
    measure::measure(document)?.check(limits)
}

/// Refuses an operation whose answer would hold too many fields with these variables.
pub(super) fn check_operation(
    operation: &OperationDefinition,
    document: &ExecutableDocument,
    variables: &Variables,
    limits: &Limits,
) -> Result<(), Refusal> {
    if weigh::weight(operation, document, variables) > limits.complexity {
        let message = format!(
            "The answer could hold more than {} fields. Ask for smaller pages, or for fewer within pages.",
            limits.complexity
        );
        return Err(Refusal::too_complex(message, None));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
