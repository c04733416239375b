//! What the operator's monitoring reads: numbers about this server, in Prometheus' text format, and the [`span`] in which
//! the log tells of a request.
//!
//! Each server has a registry of its own. What is counted is a group a file, made of what it is about: [`Operations`],
//! [`Sockets`], [`HttpRequests`], [`Jobs`], [`Letters`], [`Panics`], [`Journal`], [`Providers`], and what is looked up when somebody reads ([`Snapshot`]).
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>. A label holds a word of the code, of the schema or of the
//! catalogue, never one that a client chose: every value of a label is kept for good. No number tells one tenant or person from another.

mod http;
mod jobs;
mod journal;
mod letters;
mod operations;
mod panics;
mod providers;
mod server;
mod sockets;
pub mod span;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use prometheus_client::{encoding::prometheus_text, registry::Registry};

pub use http::HttpRequests;
pub use jobs::Jobs;
pub use journal::Journal;
pub use letters::Letters;
pub use operations::{Operations, Running};
pub use panics::Panics;
pub use providers::{Providers, Waiting};
use server::Server;
pub use server::{Snapshot, Usage};
pub use sockets::{Open, Sockets};

/// The media type of [`Telemetry::text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value, as the registry takes them.
type Label = (&'static str, std::borrow::Cow<'static, str>);

/// The numbers of one server; cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    pub operations: Operations,
    pub sockets: Sockets,
    pub http: HttpRequests,
    pub jobs: Jobs,
    pub letters: Letters,
    pub panics: Panics,
    pub journal: Journal,
    pub providers: Providers,
    server: Server,
    registry: Arc<Registry>,
}

impl Telemetry {
    /// Numbers of a server that started at `now`.
    pub fn new(now: DateTime<Utc>) -> Self {
        let mut registry = Registry::default();
        let ours = registry.sub_registry_with_prefix("patchbay");
        let (operations, sockets) = (Operations::register(ours), Sockets::register(ours));
        let (http, jobs, server) = (HttpRequests::register(ours), Jobs::register(ours), Server::register(ours));
        let (letters, providers) = (Letters::register(ours), Providers::register(ours));
        let (panics, journal) = (Panics::register(ours), Journal::register(ours));
        server::register_process(&mut registry, now);
        let registry = Arc::new(registry);
        Self { operations, sockets, http, jobs, letters, panics, journal, providers, server, registry }
    }

    /// Everything, with what was looked up just now, as [`MEDIA_TYPE`].
    pub fn text(&self, seen: &Snapshot) -> String {
        self.server.set(seen);
        if let Some(waiting) = &seen.waiting {
            self.providers.set(waiting);
        }
        let mut text = String::new();
        // A String takes whatever is written to it.
        let _ = prometheus_text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_are_in_base_units_and_of_one_server_only() {
        let (one, other) = (Telemetry::new(DateTime::UNIX_EPOCH), Telemetry::new(DateTime::UNIX_EPOCH));
        one.operations.answered("query", "clients", "OK", Duration::from_millis(20));
        one.jobs.round("probe", Duration::from_secs(3), false);
        one.jobs.failed("probe", 1);
        let text = one.text(&Snapshot::default());
        for line in [
            r#"patchbay_operations_total{type="query",field="clients",code="OK"} 1"#,
            r#"patchbay_operation_duration_seconds_bucket{type="query",field="clients",le="0.025"} 1"#,
            r#"patchbay_job_rounds_total{job="probe"} 1"#,
            r#"patchbay_job_failures_total{job="probe"} 1"#,
            r#"patchbay_job_last_duration_seconds{job="probe"} 3"#,
            "process_start_time_seconds 0",
        ] {
            assert!(text.lines().any(|found| found.starts_with(line)), "no {line} in\n{text}");
        }
        assert!(!other.text(&Snapshot::default()).contains("clients"));
    }

    #[test]
    fn what_runs_is_counted_until_it_is_dropped() {
        let telemetry = Telemetry::new(DateTime::UNIX_EPOCH);
        let (socket, running) = (telemetry.sockets.open(), telemetry.operations.run("connectionsChanged".to_owned()));
        let lines = |text: String| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("patchbay_s")).map(str::to_owned).collect()
        };
        assert_eq!(
            lines(telemetry.text(&Snapshot::default())),
            ["patchbay_subscriptions{field=\"connectionsChanged\"} 1", "patchbay_sockets 1"]
        );
        drop((socket, running));
        let after = lines(telemetry.text(&Snapshot::default()));
        assert!(after.iter().all(|line| line.ends_with(" 0")), "{after:?}");
    }
}
