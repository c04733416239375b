//! What one viewer may use at once: sockets, and operations in a second.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock, QuantaInstant};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

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
pub(super) struct Rates {
    limiter: DefaultKeyedRateLimiter<Principal>,
    burst: NonZeroU32,
}

/// Viewers remembered before those who have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_second = NonZeroU32::new(limits.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(limits.request_burst).unwrap_or(per_second);
        Self { limiter: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)), burst }
    }

    /// Counts `operations` of `viewer`; more than a burst count as one burst.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when they started too many.
    pub(super) fn count(&self, viewer: Principal, operations: u32) -> Result<()> {
        let Some(operations) = NonZeroU32::new(operations) else { return Ok(()) };
        if self.limiter.len() > REMEMBERED {
            self.limiter.retain_recent();
        }
        // No more than a burst is asked for, so there is always enough room some time.
        let Ok(verdict) = self.limiter.check_key_n(&viewer, operations.min(self.burst)) else { return Ok(()) };
        verdict.map_err(|early| Error::RateLimited { retry_after_seconds: seconds(&early) })
    }
}

/// How long to wait until it is not too early any more.
pub(super) fn seconds(early: &NotUntil<QuantaInstant>) -> u32 {
    let wait = early.wait_time_from(DefaultClock::default().now());
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
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
        assert!((0..3).all(|_| rates.count(viewer, 1).is_ok()));
        assert!(matches!(rates.count(viewer, 1), Err(Error::RateLimited { retry_after_seconds: 1..=2 })));
        assert!(rates.count(person(2), 1).is_ok());
    }

    #[test]
    fn many_at_once_count_as_many() {
        let rates = Rates::new(&Limits { requests_per_second: 1, request_burst: 10, ..Limits::default() });
        assert!(rates.count(person(1), 8).is_ok());
        assert!(rates.count(person(1), 8).is_err());
        assert!(rates.count(person(2), 1_000).is_ok());
        assert!(rates.count(person(2), 1).is_err());
    }
}
