//! What providers answer to renewals and probes, and what waits to be asked, by connector.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::Label;

/// From a provider next door to the longest that an answer is waited for.
const SECONDS: [f64; 9] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0];

/// Counts what providers answer. Cheap to clone.
#[derive(Clone)]
pub struct Providers {
    answers: Family<[Label; 3], Counter>,
    duration: Family<[Label; 2], Histogram, fn() -> Histogram>,
    due: Family<[Label; 2], Gauge>,
    incidents: Family<[Label; 1], Gauge>,
}

/// What waits and what fails at one moment.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// Job, connector, and how many rows are due.
    pub due: Vec<(&'static str, String, i64)>,
    /// Connector, and how many incidents of it are open.
    pub incidents: Vec<(String, i64)>,
}

impl Providers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let duration: fn() -> Histogram = || Histogram::new(SECONDS);
        let duration = Family::new_with_constructor(duration);
        let (answers, due, incidents) = (Family::default(), Family::default(), Family::default());
        registry.register(
            "provider_answers",
            "What providers answered to renewals and probes, by connector, what was asked and what it means",
            answers.clone(),
        );
        registry.register("provider_answer_duration_seconds", "How long providers took to answer", duration.clone());
        registry.register("due", "What is due to be asked of providers, by job and connector", due.clone());
        registry.register("incidents", "Incidents that are open, by connector", incidents.clone());
        Self { answers, duration, due, incidents }
    }

    /// A provider answered, or did not in time.
    pub fn answered(&self, connector: &str, asked: &'static str, verdict: &'static str, took: Duration) {
        let connector = || connector.to_owned().into();
        let labels = [("connector", connector()), ("asked", asked.into()), ("verdict", verdict.into())];
        self.answers.get_or_create(&labels).inc();
        self.duration.get_or_create(&[("connector", connector()), ("asked", asked.into())]).observe(took.as_secs_f64());
    }

    pub(super) fn set(&self, waiting: &Waiting) {
        // What is not there any more is no number.
        self.due.clear();
        for (job, connector, count) in &waiting.due {
            self.due.get_or_create(&[("job", (*job).into()), ("connector", connector.clone().into())]).set(*count);
        }
        self.incidents.clear();
        for (connector, count) in &waiting.incidents {
            self.incidents.get_or_create(&[("connector", connector.clone().into())]).set(*count);
        }
    }
}
