//! GraphQL operations, by whatever transport they came.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::Label;

/// From what a cached answer takes to what makes people leave.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// What has no operation: no JSON, no GraphQL, too much of it, too often.
const INVALID: &str = "invalid";

/// Counts operations. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    answered: Family<[Label; 3], Counter>,
    duration: Family<[Label; 2], Histogram, fn() -> Histogram>,
    running: Family<[Label; 1], Gauge>,
}

impl Operations {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let duration: fn() -> Histogram = || Histogram::new(SECONDS);
        let (answered, running) = (Family::default(), Family::default());
        let duration = Family::new_with_constructor(duration);
        registry.register(
            "operations",
            "GraphQL operations that were answered, or subscriptions that ended, by type, root field and code",
            answered.clone(),
        );
        registry.register("operation_duration_seconds", "How long queries and mutations took", duration.clone());
        registry.register("subscriptions", "Subscriptions that run, by root field", running.clone());
        Self { answered, duration, running }
    }

    /// A query or a mutation was answered. `field` is the root field, or what stands for several.
    pub fn answered(&self, kind: &'static str, field: &str, code: &'static str, took: Duration) {
        let field = || field.to_owned().into();
        self.answered.get_or_create(&[("type", kind.into()), ("field", field()), ("code", code.into())]).inc();
        self.duration.get_or_create(&[("type", kind.into()), ("field", field())]).observe(took.as_secs_f64());
    }

    /// Something was refused before it was known what it asks for.
    pub fn invalid(&self, code: &'static str) {
        self.answered.get_or_create(&[("type", INVALID.into()), ("field", "".into()), ("code", code.into())]).inc();
    }

    /// A subscription begins.
    pub fn run(&self, field: String) -> Running {
        self.running.get_or_create(&[("field", field.clone().into())]).inc();
        Running { operations: self.clone(), field, code: "OK" }
    }
}

/// A subscription that runs until this is dropped.
pub struct Running {
    operations: Operations,
    field: String,
    code: &'static str,
}

impl Running {
    /// An error ends it.
    pub fn fails(&mut self, code: &'static str) {
        self.code = code;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let field = || self.field.clone().into();
        self.operations.running.get_or_create(&[("field", field())]).dec();
        let labels = [("type", "subscription".into()), ("field", field()), ("code", self.code.into())];
        self.operations.answered.get_or_create(&labels).inc();
    }
}
