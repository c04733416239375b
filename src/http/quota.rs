//! What one viewer may use at once: sockets, and operations in a second.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::access::Principal;
use crate::config::Limits;
use crate::error::{Error, Result};

/// Counts the open sockets and event streams of each viewer.
#[derive(Clone)]
pub(super) struct Seats {
    most: usize,
    taken: Arc<Mutex<HashMap<Principal, usize>>>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A seat for `viewer`, free again when dropped; none when they have all of theirs.
    pub(super) fn take(&self, viewer: Principal) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(viewer).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat { viewer, seats: self.clone() })
    }
}

/// One open socket or event stream.
pub(super) struct Seat {
    viewer: Principal,
    seats: Seats,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.viewer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.viewer);
            }
        }
    }
}

/// Counts the operations of each viewer, by whatever way they come.
pub(super) struct Rates(DefaultKeyedRateLimiter<Principal>);

/// Viewers remembered before those who have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_second = NonZeroU32::new(limits.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(limits.request_burst).unwrap_or(per_second);
        Self(RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)))
    }

    /// Counts one operation of `viewer`.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when they started too many.
    pub(super) fn count(&self, viewer: Principal) -> Result<()> {
        if self.0.len() > REMEMBERED {
            self.0.retain_recent();
        }
        self.0.check_key(&viewer).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            Error::RateLimited {
                retry_after_seconds: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn person(n: u128) -> Principal {
        Principal::User(Uuid::from_u128(n))
    }

    #[test]
    fn a_viewer_has_so_many_seats_and_gets_them_back() {
        let seats = Seats::new(2);
        let (one, other) = (person(1), person(2));
        let first = seats.take(one);
        let _second = seats.take(one);
        assert!(seats.take(one).is_none());
        assert!(seats.take(other).is_some());
        drop(first);
        assert!(seats.take(one).is_some());
    }

    #[test]
    fn nobody_is_remembered_without_a_seat() {
        let seats = Seats::new(1);
        drop(seats.take(person(1)));
        assert!(seats.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn a_burst_is_allowed_and_then_no_more() {
        let rates = Rates::new(&Limits { requests_per_second: 1, request_burst: 3, ..Limits::default() });
        let viewer = person(1);
        assert!((0..3).all(|_| rates.count(viewer).is_ok()));
        assert!(matches!(rates.count(viewer), Err(Error::RateLimited { retry_after_seconds: 1..=2 })));
        assert!(rates.count(person(2)).is_ok());
    }
}
