//! Letters on their way to people.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::Label;

/// Counts what becomes of letters. Cheap to clone.
#[derive(Clone)]
pub struct Letters(Family<[Label; 1], Counter>);

impl Letters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let letters = Family::default();
        registry.register("letters", "What became of letters that were to leave", letters.clone());
        Self(letters)
    }

    /// A letter came to `outcome`.
    pub fn count(&self, outcome: &'static str) {
        self.0.get_or_create(&[("outcome", outcome.into())]).inc();
    }
}
