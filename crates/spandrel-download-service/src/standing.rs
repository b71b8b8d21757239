//! For how long a session is believed.

use tokio::sync::watch;

use crate::auth::{Key, Proof};
use crate::service::Inner;

/// What a session was let in for, and whether that still counts.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Moves when keys or tokens were replaced; watched from before the session was let in.
    rechecks: watch::Receiver<()>,
    proof: Option<Box<Proof>>,
    key: Option<Key>,
    is_revoked: bool,
    is_key_gone: bool,
    /// The peer showed that it has the key. Until then the session goes on as if there were no such key: an idle
    /// stranger is not to learn from its end that there was one.
    is_proved: bool,
}

impl Standing {
    /// `proof` is for the principal, `key` for the layers.
    pub(crate) fn new(rechecks: watch::Receiver<()>, proof: Proof, key: Option<Key>) -> Self {
        let proof = (!matches!(proof, Proof::Nothing)).then(|| Box::new(proof));
        Self { rechecks, proof, key, is_revoked: false, is_key_gone: false, is_proved: false }
    }

    /// Waits until [`recheck`](Self::recheck) is due. Cancel safe.
    pub(crate) async fn questioned(&mut self) {
        if self.rechecks.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Keys or tokens were replaced.
    pub(crate) fn recheck(&mut self, inner: &Inner) {
        let (auth, wall_ms) = (&inner.config.auth, inner.wall_ms());
        self.is_revoked |= self.proof.as_ref().is_some_and(|proof| !auth.holds(proof, wall_ms));
        if let Some(key) = &mut self.key {
            self.is_key_gone |= !auth.holds(&Proof::Key(key.clone()), wall_ms);
            // The same key may live longer or shorter now.
            if let Some(now) = auth.key(key.id(), wall_ms) {
                *key = now;
            }
        }
    }

    /// A message proved itself. Whether that is news.
    pub(crate) fn prove(&mut self) -> bool {
        !std::mem::replace(&mut self.is_proved, true)
    }

    pub(crate) fn is_over(&self, wall_ms: u64) -> bool {
        let is_key_over =
            self.is_key_gone || self.key.as_ref().is_some_and(|key| key.not_after_ms() < wall_ms);
        self.is_revoked || (self.is_proved && is_key_over)
    }

    /// Milliseconds after which to ask again.
    pub(crate) fn ends_in_ms(&self, wall_ms: u64) -> u64 {
        let key = self.key.as_ref().filter(|_| self.is_proved);
        key.map_or(u64::MAX, |key| key.not_after_ms().saturating_sub(wall_ms).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use spandrel_crypto::SecretKey;
    use spandrel_jobs::Principal;
    use spandrel_session::KeyId;

    use super::*;

    #[test]
    fn a_key_is_good_for_its_last_millisecond_and_no_longer() {
        let key = Key::new(KeyId::new("k").unwrap(), SecretKey::from_bytes([1; 32]), Principal::anonymous());
        let mut standing = Standing::new(
            watch::Sender::new(()).subscribe(),
            Proof::Nothing,
            Some(key.clone().with_life(0, 1_000)),
        );
        assert_eq!((standing.is_over(1_001), standing.ends_in_ms(0)), (false, u64::MAX), "not proved");
        assert_eq!([standing.prove(), standing.prove()], [true, false]);
        assert_eq!([999, 1_000, 1_001].map(|now| standing.is_over(now)), [false, false, true]);
        assert_eq!([0, 1_000, 5_000].map(|now| standing.ends_in_ms(now)), [1_001, 1, 1]);
        let mut forever = Standing::new(watch::Sender::new(()).subscribe(), Proof::Nothing, Some(key));
        forever.prove();
        assert_eq!((forever.is_over(u64::MAX), forever.ends_in_ms(7)), (false, u64::MAX - 6));
        assert!(!Standing::new(watch::Sender::new(()).subscribe(), Proof::Nothing, None).is_over(u64::MAX));
    }

    #[tokio::test]
    async fn what_is_replaced_while_a_session_begins_is_asked_again() {
        let replaced = watch::Sender::new(());
        let mut standing = Standing::new(replaced.subscribe(), Proof::Nothing, None);
        replaced.send_replace(());
        standing.questioned().await;
    }
}
