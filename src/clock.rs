//! Time and randomness, passed in so that a test can hold them in its hand.
//!
//! The only place that reads the wall clock or the system's random source; the linter keeps it so.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now, cut to microseconds, as both databases keep it.
    fn now(&self) -> DateTime<Utc>;

    /// Goes by what another clock showed in between: `theirs`, asked for at `asked` and known at `known`, both of this clock.
    /// How far that moved it. A clock that somebody else sets stays as it is.
    fn follow(&self, _asked: DateTime<Utc>, _theirs: DateTime<Utc>, _known: DateTime<Utc>) -> TimeDelta {
        TimeDelta::zero()
    }
}

/// A clock that many parts share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> DateTime<Utc> {
        to_microseconds(Utc::now())
    }
}

/// A clock that goes by the one that all nodes share, the database's: deadlines that one node writes and another reads mean
/// the same to both, however wrong the clocks of their machines are.
pub struct NodeClock {
    machine: SharedClock,
    /// How far the shared clock is ahead of the machine's, in microseconds.
    ahead: AtomicI64,
}

/// What took longer to ask for says too little.
const SLOWEST_ANSWER: TimeDelta = TimeDelta::seconds(2);
/// Less than this is not worth a jump.
const CLOSE_ENOUGH: TimeDelta = TimeDelta::milliseconds(20);

impl NodeClock {
    pub fn over(machine: SharedClock) -> Self {
        Self { machine, ahead: AtomicI64::new(0) }
    }
}

impl Clock for NodeClock {
    fn now(&self) -> DateTime<Utc> {
        self.machine.now() + TimeDelta::microseconds(self.ahead.load(Ordering::Relaxed))
    }

    fn follow(&self, asked: DateTime<Utc>, theirs: DateTime<Utc>, known: DateTime<Utc>) -> TimeDelta {
        let took = known - asked;
        // It was read at some moment between: the middle is off by half of that at most.
        let off = theirs - (asked + took / 2);
        if took > SLOWEST_ANSWER || off.abs() <= took / 2 + CLOSE_ENOUGH {
            return TimeDelta::zero();
        }
        self.ahead.fetch_add(off.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
        off
    }
}

/// `at` without what is smaller than a microsecond.
pub fn to_microseconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(at)
}

/// Gives unpredictable bytes, fit for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` to the end.
    fn fill(&self, bytes: &mut [u8]);
}

/// A random source that many parts share.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the random source")]
    fn fill(&self, bytes: &mut [u8]) {
        rand::RngCore::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// `N` bytes of `entropy`.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// `span` lengthened or shortened by up to a tenth, so that what began together does not stay together.
pub fn jittered(span: TimeDelta, entropy: &dyn Entropy) -> TimeDelta {
    let most = i32::from(u16::MAX / 2);
    let share = (i32::from(u16::from_le_bytes(random(entropy))) - most).min(most);
    // Divided first: no span is so long that this overflows.
    let by = span / (10 * most) * share;
    span.checked_add(&by).unwrap_or(span)
}

/// `span` before `now`; where there is no such time, 1970, since databases keep no time that is much earlier.
pub fn before(now: DateTime<Utc>, span: TimeDelta) -> DateTime<Utc> {
    now.checked_sub_signed(span).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    struct Still(DateTime<Utc>);
    impl Clock for Still {
        fn now(&self) -> DateTime<Utc> {
            self.0
        }
    }

    #[test]
    fn a_node_goes_by_the_shared_clock_and_does_not_jump_for_what_an_answer_took() {
        let noon: DateTime<Utc> = "2026-03-02T12:00:00Z".parse().unwrap();
        let machine = noon + TimeDelta::minutes(5);
        let clock = NodeClock::over(Arc::new(Still(machine)));
        let ms = TimeDelta::milliseconds;
        assert_eq!(clock.follow(machine, noon, machine + ms(2_001)), TimeDelta::zero(), "too slow to tell");
        assert_eq!(clock.now(), machine);
        assert_eq!(clock.follow(machine, noon + ms(50), machine + ms(100)), TimeDelta::minutes(-5));
        assert_eq!(clock.now(), noon);
        for (off, took) in [(0, 0), (20, 0), (-20, 0), (70, 100), (500, 1_000)] {
            let moved = clock.follow(noon, noon + ms(took / 2 + off), noon + ms(took));
            assert_eq!(moved, TimeDelta::zero(), "{off} ms off, in an answer that took {took} ms");
        }
        assert_eq!(clock.follow(noon, noon + ms(21), noon), ms(21));
        assert_eq!(clock.now(), noon + ms(21));
        assert_eq!(Still(noon).follow(noon, machine, noon), TimeDelta::zero(), "another clock is set by others");
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let minute = TimeDelta::seconds(600);
        for byte in [0, 1, 127, 128, 255] {
            let off = (jittered(minute, &Fixed(byte)) - minute).num_milliseconds().abs();
            assert!(off <= 60_001, "{byte}: {off} ms");
        }
    }

    #[test]
    fn no_span_is_too_long() {
        for span in [TimeDelta::MAX, TimeDelta::MIN, TimeDelta::zero(), TimeDelta::milliseconds(1)] {
            for byte in [0, 127, 255] {
                let off = (jittered(span, &Fixed(byte)) / 4 - span / 4).abs();
                assert!(off <= (span / 4 / 9).abs() + TimeDelta::milliseconds(1), "{span}: {off}");
            }
        }
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        assert_eq!(before(now, TimeDelta::days(1)), DateTime::UNIX_EPOCH);
        assert_eq!([before(now, TimeDelta::MAX), before(now, TimeDelta::MIN)], [DateTime::UNIX_EPOCH; 2]);
    }
}
