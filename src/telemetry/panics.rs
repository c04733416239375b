//! Panics of tasks and of loops' rounds: each is a bug.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::Label;

/// Counts panics by the task's name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Panics(Family<[Label; 1], Counter>);

impl Panics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let panics = Self::default();
        registry.register("task_panics", "Tasks, and rounds of loops, that panicked", panics.0.clone());
        panics
    }

    /// The number of the task `name` is there before it panics: one that appears at 1 has not moved for who watches it.
    pub fn watch(&self, name: &'static str) {
        drop(self.0.get_or_create(&[("task", name.into())]));
    }

    /// The task `name`, or a round of the loop `name`, panicked.
    pub fn count(&self, name: &'static str) {
        self.0.get_or_create(&[("task", name.into())]).inc();
    }

    /// How often the task `name` panicked.
    pub fn of(&self, name: &'static str) -> u64 {
        self.0.get_or_create(&[("task", name.into())]).get()
    }
}
