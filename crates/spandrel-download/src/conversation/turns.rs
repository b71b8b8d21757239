//! How fast messages may come, and what becomes of those that prove nothing.

use spandrel_download_protocol::{ErrorCode, ErrorResponse, RequestId, ServerEvent, parse_message};
use spandrel_jobs::Now;
use spandrel_session::AuthFailure;

use super::{Conversation, at};
use crate::{auth, spread};

impl Conversation {
    /// Counts the message that is given to [`message`](Self::message), [`pair`](Self::pair) or
    /// [`unproved`](Self::unproved) next; those count by themselves what was not counted here. For a driver that has to
    /// know it before: the nonce of a message over the rate is not worth remembering.
    ///
    /// # Errors
    /// The milliseconds until a message would pass. This one is to be given on as [`AuthFailure::TooFast`].
    pub fn count(&mut self, now: Now) -> Result<(), u64> {
        self.rate.take(at(now)).inspect(|()| self.is_counted = true)
    }

    /// A message came that did not prove who it is from. Answered here; whether it was one too many is for the
    /// driver to know. What does not bring that nearer counts for the rate: whoever has a recorded message could send it
    /// for ever.
    pub fn unproved(&mut self, now: Now, text: &str, why: &AuthFailure) {
        self.heard(now);
        if self.is_closed {
            return;
        }
        let is_counted = std::mem::take(&mut self.is_counted);
        let limits = &self.config.limits.protocol;
        if let AuthFailure::TooFast { retry_after_ms } = why {
            return match parse_message(text, limits) {
                Ok(message) => self.slow_down(now, &message.request_id, *retry_after_ms),
                Err(refusal) => self.refuse(now, refusal),
            };
        }
        if why.is_excused()
            && !is_counted
            && let Err(wait_ms) = self.rate.take(at(now))
        {
            let id = self.own_id();
            return self.slow_down(now, &id, wait_ms);
        }
        let id = auth::proved_id(text, why, limits).unwrap_or_else(|| self.own_id());
        self.send(now, ServerEvent::SystemError, &id, &auth::refusal(why));
    }

    pub(super) fn slow_down(&mut self, now: Now, id: &RequestId, wait_ms: u64) {
        let error = ErrorResponse::new(ErrorCode::RateLimited, "too many messages; slow down");
        // Not before it helps.
        let later_ms = spread(wait_ms, self.config.session) / 3;
        let error = error.with_retry_after(wait_ms.saturating_add(later_ms));
        self.send(now, ServerEvent::SystemError, id, &error);
    }
}
