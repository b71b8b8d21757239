//! When to connect again (section 10.3): 1, 2, 4, 8, 16 s with a fifth of jitter, then give up.

/// Bounds of a [`Backoff`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// Attempts after a loss, 5.
    pub attempts_max: u32,
    /// Milliseconds before the first, 1000; doubled before each further one.
    pub delay_ms: u64,
    /// Jitter either way in percent, 20: a thousand clients of one server do not come back in one instant.
    pub jitter_percent: u64,
    /// Longest `retryAfter` that is obeyed, in milliseconds, 600,000: a broken server cannot send a client away for
    /// a year.
    pub retry_after_max_ms: u64,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self { attempts_max: 5, delay_ms: 1000, jitter_percent: 20, retry_after_max_ms: 600_000 }
    }
}

/// What to do after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Wait, then connect.
    After {
        /// Milliseconds to wait.
        delay_ms: u64,
        /// Which attempt that will be, from 1.
        attempt: u32,
    },
    /// The attempts are used up: `connection:failed`.
    GiveUp,
}

/// Counts attempts since the connection was last good.
///
/// Driving rule: call [`lost`](Self::lost) when a connection ends or an attempt fails with a close code that says
/// "reconnect"; obey the answer; call [`connected`](Self::connected) on the hello, not before, because a server that
/// accepts and drops is not well.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    attempts: u32,
}

impl Backoff {
    /// No attempt made yet.
    pub const fn new(policy: BackoffPolicy) -> Self {
        Self { policy, attempts: 0 }
    }

    /// The connection is gone, or an attempt failed. `retry_after_ms` is what the server asked for, `random` any
    /// number, evenly drawn.
    pub fn lost(&mut self, retry_after_ms: Option<u64>, random: u32) -> Retry {
        if self.attempts >= self.policy.attempts_max {
            return Retry::GiveUp;
        }
        let nominal = self.nominal_ms();
        self.attempts += 1;
        let asked = retry_after_ms.unwrap_or(0).min(self.policy.retry_after_max_ms);
        let delay_ms = jitter(nominal, self.policy.jitter_percent, random).max(asked);
        Retry::After { delay_ms, attempt: self.attempts }
    }

    /// The hello arrived.
    pub fn connected(&mut self) {
        self.attempts = 0;
    }

    /// Attempts made since the last hello.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    fn nominal_ms(&self) -> u64 {
        let factor = 1_u64.checked_shl(self.attempts).unwrap_or(u64::MAX);
        self.policy.delay_ms.saturating_mul(factor)
    }
}

/// `nominal` moved by at most `percent` either way.
fn jitter(nominal: u64, percent: u64, random: u32) -> u64 {
    let span = nominal / 100 * percent.min(100) + nominal % 100 * percent.min(100) / 100;
    let width = u128::from(span) * 2 + 1;
    let step = (width * u128::from(random)) >> 32;
    nominal.saturating_sub(span).saturating_add(u64::try_from(step).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIDDLE: u32 = 1 << 31;

    fn delay(retry: Retry) -> Option<u64> {
        match retry {
            Retry::After { delay_ms, .. } => Some(delay_ms),
            Retry::GiveUp => None,
        }
    }

    #[test]
    fn delays_double_and_the_sixth_loss_is_the_end() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let waits: Vec<_> = (0..7).map(|_| delay(backoff.lost(None, MIDDLE))).collect();
        assert_eq!(waits, [Some(1000), Some(2000), Some(4000), Some(8000), Some(16_000), None, None]);
        backoff.connected();
        assert_eq!(backoff.lost(None, MIDDLE), Retry::After { delay_ms: 1000, attempt: 1 });
    }

    #[test]
    fn a_larger_retry_after_wins_within_reason() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        assert_eq!(delay(backoff.lost(Some(30_000), MIDDLE)), Some(30_000));
        assert_eq!(delay(backoff.lost(Some(10), MIDDLE)), Some(2000));
        assert_eq!(delay(backoff.lost(Some(u64::MAX), MIDDLE)), Some(600_000));
    }

    #[test]
    fn huge_policies_saturate() {
        let policy = BackoffPolicy { attempts_max: 100, delay_ms: u64::MAX, ..BackoffPolicy::default() };
        let mut backoff = Backoff::new(policy);
        assert!((0..100).all(|_| delay(backoff.lost(None, u32::MAX)).is_some()));
    }

    proptest! {
        /// Every delay is within a fifth of its nominal value, and the ends of the range are reached.
        #[test]
        fn prop_jitter_stays_within_a_fifth(random: u32, lost in 1_usize..6) {
            let mut backoff = Backoff::new(BackoffPolicy::default());
            let last = (0..lost).map(|_| backoff.lost(None, random)).last();
            let nominal = 1000_u64 << (lost - 1);
            let delay = last.and_then(delay).expect("within the attempts");
            prop_assert!((nominal * 4 / 5..=nominal * 6 / 5).contains(&delay));
            prop_assert_eq!(jitter(nominal, 20, 0), nominal * 4 / 5);
            prop_assert_eq!(jitter(nominal, 20, u32::MAX), nominal * 6 / 5);
        }
    }
}
