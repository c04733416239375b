//! Time and randomness, passed in so that a test can hold them in its hand.
//!
//! The only place that reads the wall clock or the system's random source; the linter keeps it so.

use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now, cut to microseconds, as both databases keep it.
    fn now(&self) -> DateTime<Utc>;
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
