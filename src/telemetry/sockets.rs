//! Open websockets.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// Counts sockets. Cheap to clone.
#[derive(Clone)]
pub struct Sockets(Gauge);

impl Sockets {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let open = Gauge::default();
        registry.register("sockets", "Websockets that are open", open.clone());
        Self(open)
    }

    /// A socket opens.
    pub fn open(&self) -> Open {
        self.0.inc();
        Open(self.0.clone())
    }
}

/// A socket that is open until this is dropped.
pub struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
