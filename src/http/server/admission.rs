//! How many connections are open at once. Each counts until its stream is closed, that of a websocket too.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Limits, TrustedProxies};
use crate::http::address::CallerAddress;
use crate::http::quota::{Seat, Seats};

/// Counts the open connections, of each address and in all.
pub(super) struct Admission {
    in_all: Arc<Semaphore>,
    by_address: Seats<CallerAddress>,
    proxies: TrustedProxies,
}

/// One open connection; it is counted until this is dropped.
pub(super) struct Admitted {
    _place: OwnedSemaphorePermit,
    /// None for a trusted proxy, whose connections are those of many.
    _seat: Option<Seat<CallerAddress>>,
}

impl Admission {
    pub(super) fn new(limits: &Limits, proxies: &TrustedProxies) -> Self {
        let in_all = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        // One address never has all of them.
        let of_one = limits.connections_per_address.min((limits.connections / 2).max(1));
        Self { in_all, by_address: Seats::new(of_one), proxies: proxies.clone() }
    }

    /// Counts a connection of `peer`; none where there are as many as there may be.
    pub(super) fn admit(&self, peer: IpAddr) -> Option<Admitted> {
        let seat = match self.proxies.contains(peer) {
            true => None,
            false => Some(self.by_address.take(CallerAddress::from(peer))?),
        };
        let place = self.in_all.clone().try_acquire_owned().ok()?;
        Some(Admitted { _place: place, _seat: seat })
    }
}
