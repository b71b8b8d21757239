//! How fast a peer may talk (section 14): a bucket of tokens, one for each message.

use spandrel_wire::Millis;

/// Bounds of a [`RateLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second in the long run, 100, at least 1.
    pub per_s: u32,
    /// Messages at once, 200, at least 1.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_s: 100, burst: 200 }
    }
}

/// Lets `burst` messages pass at once and `per_s` a second after that.
#[derive(Debug, Clone)]
pub struct RateLimit {
    rate: Rate,
    /// Thousandths of a token: a millisecond adds `per_s` of them.
    held: u64,
    at: Millis,
}

const TOKEN: u64 = 1000;

impl RateLimit {
    /// A full bucket.
    pub fn new(now: Millis, rate: Rate) -> Self {
        let rate = Rate { per_s: rate.per_s.max(1), burst: rate.burst.max(1) };
        Self { rate, held: u64::from(rate.burst) * TOKEN, at: now }
    }

    /// A message arrived.
    ///
    /// # Errors
    ///
    /// The milliseconds until one would pass, at least 1, when this one is over the rate.
    pub fn take(&mut self, now: Millis) -> Result<(), u64> {
        let per_ms = u64::from(self.rate.per_s);
        let gained = now.since(self.at).saturating_mul(per_ms);
        self.at = self.at.max(now);
        self.held = self.held.saturating_add(gained).min(u64::from(self.rate.burst) * TOKEN);
        match self.held.checked_sub(TOKEN) {
            Some(rest) => {
                self.held = rest;
                Ok(())
            }
            None => Err((TOKEN - self.held).div_ceil(per_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_and_the_next_is_told_when() {
        let mut limit = RateLimit::new(Millis::new(0), Rate::default());
        assert!((0..200).all(|_| limit.take(Millis::new(0)).is_ok()));
        assert_eq!(limit.take(Millis::new(0)), Err(10));
        assert_eq!(limit.take(Millis::new(9)), Err(1));
        assert_eq!(limit.take(Millis::new(10)), Ok(()));
        assert_eq!(limit.take(Millis::new(5)), Err(10), "time going back gives nothing");
        assert!((0..200).all(|_| limit.take(Millis::MAX).is_ok()), "a long silence fills it, no more");
        assert!(limit.take(Millis::MAX).is_err());
    }

    proptest! {
        /// In any stretch no more pass than the burst and the rate allow; waiting as told is always enough.
        #[test]
        fn prop_rate_holds(per_s in 1_u32..1000, burst in 1_u32..50, gaps in proptest::collection::vec(0_u64..30, 1..300)) {
            let mut limit = RateLimit::new(Millis::new(0), Rate { per_s, burst });
            let (mut now, mut passed) = (0, 0_u64);
            for gap in gaps {
                now += gap;
                if let Err(wait) = limit.take(Millis::new(now)) {
                    prop_assert!(wait >= 1);
                    now += wait;
                    prop_assert_eq!(limit.take(Millis::new(now)), Ok(()));
                }
                passed += 1;
                prop_assert!(passed <= u64::from(burst) + now * u64::from(per_s) / 1000);
            }
        }
    }
}
