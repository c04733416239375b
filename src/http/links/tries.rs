//! How often somebody may try a link, and how often all together may try what is none.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter, clock::QuantaInstant};
use sha2::{Digest, Sha256};

use crate::http::quota::seconds;

/// Of one link: so many at once, then one in [`PACE`].
const AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();
const PACE: Duration = Duration::from_secs(3);
/// Of what is no link, by everybody together: so many at once, then so many in a second. Nobody guesses one; whoever tries is told
/// to slow down.
const IN_VAIN_AT_ONCE: NonZeroU32 = NonZeroU32::new(50).unwrap();
const IN_VAIN_A_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Links remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

/// Counts tries.
pub(super) struct Tries {
    /// By the SHA-256 of what the link's address ends in.
    links: DefaultKeyedRateLimiter<[u8; 32]>,
    in_vain: DefaultDirectRateLimiter,
}

/// Too many: how long to wait.
pub(super) struct Wait {
    pub(super) seconds: u32,
}

impl Tries {
    pub(super) fn new() -> Self {
        // A period of zero has no quota; this one is not zero.
        let links = Quota::with_period(PACE).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(AT_ONCE);
        let in_vain = Quota::per_second(IN_VAIN_A_SECOND).allow_burst(IN_VAIN_AT_ONCE);
        Self { links: RateLimiter::keyed(links), in_vain: RateLimiter::direct(in_vain) }
    }

    /// Counts one try of the link whose address ends in `token`.
    pub(super) fn count(&self, token: &str) -> Result<(), Wait> {
        if self.links.len() > REMEMBERED {
            self.links.retain_recent();
        }
        self.links.check_key(&Sha256::digest(token.as_bytes()).into()).map_err(|early| wait(&early))
    }

    /// Counts one try of what is no link.
    pub(super) fn count_in_vain(&self) -> Result<(), Wait> {
        self.in_vain.check().map_err(|early| wait(&early))
    }
}

fn wait(early: &NotUntil<QuantaInstant>) -> Wait {
    Wait { seconds: seconds(early) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_has_its_own_tries() {
        let tries = Tries::new();
        assert!((0..20).all(|_| tries.count("one").is_ok()));
        assert!(tries.count("one").is_err_and(|wait| (1..=4).contains(&wait.seconds)));
        assert!(tries.count("another").is_ok());
    }

    #[test]
    fn whoever_guesses_shares_their_tries_with_all_who_do() {
        let tries = Tries::new();
        assert!((0..50).all(|_| tries.count_in_vain().is_ok()));
        assert!(tries.count_in_vain().is_err_and(|wait| wait.seconds == 1));
        assert!(tries.count("one").is_ok(), "who has a link does not wait for them");
    }
}
