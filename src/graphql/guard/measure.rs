//! How much a document selects, fragments expanded; each fragment is looked at once.

use std::collections::HashMap;

use async_graphql::parser::types::{Directive, ExecutableDocument, FragmentSpread, Selection, SelectionSet};
use async_graphql::{Pos, Positioned};

use crate::config::Limits;
use crate::graphql::response::Refusal;

/// Selection sets within selection sets, by field, inline fragment or spread. The executor refuses 32 with an error of its own.
const LEVELS: u32 = 30;

/// What all operations of `document` select together.
///
/// # Errors
/// Fragments that spread each other in a circle, or too many selection sets within each other.
pub(super) fn measure(document: &ExecutableDocument) -> Result<Measure, Refusal> {
    let mut ruler = Ruler { document, fragments: HashMap::new() };
    let mut total = Measure::default();
    for (_, operation) in document.operations.iter() {
        total.add(Measure::of_directives(&operation.node.directives));
        for variable in &operation.node.variable_definitions {
            total.add(Measure::of_directives(&variable.node.directives));
        }
        total.add(ruler.selection_set(&operation.node.selection_set, 1)?);
    }
    // Also those that nothing spreads: validation walks them too.
    for name in document.fragments.keys() {
        ruler.fragment(name, Pos::default(), 1)?;
    }
    Ok(total)
}

/// Counts of a part of a document; every sum saturates.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measure {
    /// Fields, inline fragments and spreads: also a spread that leads nowhere costs whoever follows it.
    selections: u32,
    /// Fields within fields.
    depth: u32,
    /// Selection sets within selection sets.
    height: u32,
    aliases: u32,
    directives: u32,
}

impl Measure {
    fn of_directives(directives: &[Positioned<Directive>]) -> Self {
        Self { directives: u32::try_from(directives.len()).unwrap_or(u32::MAX), ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.selections = self.selections.saturating_add(other.selections);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.depth = self.depth.max(other.depth);
        self.height = self.height.max(other.height);
    }

    /// Refuses what goes beyond `limits`, and says beyond which.
    pub(super) fn check(self, limits: &Limits) -> Result<(), Refusal> {
        let beyond = [
            (self.depth, limits.depth, "levels of fields"),
            (self.selections, limits.fields, "fields"),
            (self.aliases, limits.aliases, "aliases"),
            (self.directives, limits.directives, "directives"),
        ];
        match beyond.into_iter().find(|(count, limit, _)| count > limit) {
            Some((_, limit, what)) => Err(Refusal::too_complex(
                format!("A document selects at most {limit} {what}, fragments expanded."),
                None,
            )),
            None => Ok(()),
        }
    }
}

enum Progress {
    Measuring,
    Measured(Measure),
}

struct Ruler<'d> {
    document: &'d ExecutableDocument,
    fragments: HashMap<&'d str, Progress>,
}

impl<'d> Ruler<'d> {
    /// `level` bounds this function's own recursion, too.
    fn selection_set(&mut self, set: &'d Positioned<SelectionSet>, level: u32) -> Result<Measure, Refusal> {
        within_levels(level, set.pos)?;
        let mut total = Measure::default();
        for selection in &set.node.items {
            total.add(Measure::of_directives(selection.node.directives()));
            total.add(self.selection(&selection.node, level)?);
            total.selections = total.selections.saturating_add(1);
        }
        total.height += 1;
        Ok(total)
    }

    fn selection(&mut self, selection: &'d Selection, level: u32) -> Result<Measure, Refusal> {
        match selection {
            Selection::Field(field) => {
                let mut total = self.selection_set(&field.node.selection_set, level + 1)?;
                total.aliases = total.aliases.saturating_add(u32::from(field.node.alias.is_some()));
                total.depth += 1;
                Ok(total)
            }
            Selection::InlineFragment(fragment) => self.selection_set(&fragment.node.selection_set, level + 1),
            Selection::FragmentSpread(Positioned { node: FragmentSpread { fragment_name, .. }, pos }) => {
                self.fragment(&fragment_name.node, *pos, level + 1)
            }
        }
    }

    fn fragment(&mut self, name: &str, spread: Pos, level: u32) -> Result<Measure, Refusal> {
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(Measure::default()); // Validation names the spread that leads nowhere.
        };
        match self.fragments.get(name.as_str()) {
            Some(Progress::Measured(measure)) => {
                within_levels(level + measure.height, spread)?;
                return Ok(*measure);
            }
            Some(Progress::Measuring) => {
                return Err(Refusal::invalid("Fragments spread each other in a circle.", vec![spread]));
            }
            None => {}
        }
        self.fragments.insert(name, Progress::Measuring);
        let mut total = self.selection_set(&fragment.node.selection_set, level)?;
        total.add(Measure::of_directives(&fragment.node.directives));
        self.fragments.insert(name, Progress::Measured(total));
        Ok(total)
    }
}

fn within_levels(level: u32, pos: Pos) -> Result<(), Refusal> {
    if level > LEVELS {
        return Err(Refusal::too_complex("The document is nested too deeply.", Some(pos)));
    }
    Ok(())
}
