//! What one viewer, or one address, may use at once: sockets or connections, and operations in a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock, QuantaInstant};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

use super::address::CallerAddress;
use crate::access::Principal;
use crate::config::Limits;
use crate::error::{Error, Result};

/// Counts what each has open: the sockets and event streams of a viewer, the connections of an address.
#[derive(Clone)]
pub(super) struct Seats<K> {
    most: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Copy + Eq + Hash> Seats<K> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A seat for `owner`, free again when dropped; none when they have all of theirs.
    pub(super) fn take(&self, owner: K) -> Option<Seat<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(owner).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat { owner, seats: self.clone() })
    }
}

/// One of what is open.
pub(super) struct Seat<K: Eq + Hash> {
    owner: K,
    seats: Seats<K>,
}

impl<K: Eq + Hash> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.owner);
            }
        }
    }
}

/// Whose operations are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CountedBy {
    Viewer(Principal),
    /// Those without a viewer, by where they are.
    Address(CallerAddress),
}

/// Counts the operations of each viewer and of each address, by whatever way they come.
pub(super) struct Rates {
    viewers: Rate<Principal>,
    addresses: Rate<CallerAddress>,
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            viewers: Rate::new(limits.requests_per_second, limits.request_burst),
            addresses: Rate::new(limits.address_requests_per_second, limits.address_request_burst),
        }
    }

    /// Counts `operations` of `caller`; more than a burst count as one burst.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when they started too many.
    pub(super) fn count(&self, caller: CountedBy, operations: u32) -> Result<()> {
        match caller {
            CountedBy::Viewer(viewer) => self.viewers.count(viewer, operations),
            CountedBy::Address(address) => self.addresses.count(address, operations),
        }
    }
}

/// So many in a second, so many at once.
struct Rate<K: Clone + Eq + Hash> {
    limiter: DefaultKeyedRateLimiter<K>,
    burst: NonZeroU32,
}

/// Callers remembered before those who have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

impl<K: Clone + Eq + Hash> Rate<K> {
    fn new(per_second: u32, burst: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(burst).unwrap_or(per_second);
        Self { limiter: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)), burst }
    }

    fn count(&self, caller: K, operations: u32) -> Result<()> {
        let Some(operations) = NonZeroU32::new(operations) else { return Ok(()) };
        if self.limiter.len() > REMEMBERED {
            self.limiter.retain_recent();
        }
        // No more than a burst is asked for, so there is always enough room some time.
        let Ok(verdict) = self.limiter.check_key_n(&caller, operations.min(self.burst)) else { return Ok(()) };
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

    fn viewer(n: u128) -> CountedBy {
        CountedBy::Viewer(person(n))
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
        let one = viewer(1);
        assert!((0..3).all(|_| rates.count(one, 1).is_ok()));
        assert!(matches!(rates.count(one, 1), Err(Error::RateLimited { retry_after_seconds: 1..=2 })));
        assert!(rates.count(viewer(2), 1).is_ok());
    }

    #[test]
    fn many_at_once_count_as_many() {
        let rates = Rates::new(&Limits { requests_per_second: 1, request_burst: 10, ..Limits::default() });
        assert!(rates.count(viewer(1), 8).is_ok());
        assert!(rates.count(viewer(1), 8).is_err());
        assert!(rates.count(viewer(2), 1_000).is_ok());
        assert!(rates.count(viewer(2), 1).is_err());
    }
    #[test]
    fn each_address_has_a_rate_of_its_own_that_no_viewer_uses_up() {
        let limits = Limits { address_requests_per_second: 1, address_request_burst: 2, ..Limits::default() };
        let rates = Rates::new(&limits);
        let address = |last: u8| CountedBy::Address(std::net::IpAddr::from([203, 0, 113, last]).into());
        assert!(rates.count(address(1), 2).is_ok());
        assert!(matches!(rates.count(address(1), 1), Err(Error::RateLimited { retry_after_seconds: 1..=2 })));
        assert!(rates.count(address(2), 1).is_ok());
        assert!(rates.count(viewer(1), 1).is_ok());
    }
}
