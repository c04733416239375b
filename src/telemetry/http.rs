//! HTTP requests, whatever they ask for.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::Label;

/// Counts HTTP requests. Cheap to clone.
#[derive(Clone)]
pub struct HttpRequests(Family<[Label; 2], Counter>);

impl HttpRequests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let answered = Family::default();
        registry.register("http_requests", "HTTP requests that were answered, by route and status", answered.clone());
        Self(answered)
    }

    /// A request to `route`, as the router spells it, was answered.
    pub fn answered(&self, route: &str, status: u16) {
        self.0.get_or_create(&[("route", route.to_owned().into()), ("status", status.to_string().into())]).inc();
    }
}
