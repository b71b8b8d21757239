//! A link with the layers of its session: texts go in, frames out, and back.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::Poll;
use std::time::Duration;

use spandrel_download::{Conversation, Question};
use spandrel_download_protocol::pair_of;
use spandrel_jobs::Now;
use spandrel_session::{AuthRefusal, Entropy, LayerError, Layers, Millis, ReplayError, WallMillis};
use spandrel_transport::{Close, Connection, Frame, LinkError};

use crate::service::Inner;

/// What a look at the link brought.
pub(crate) enum Seen {
    Frame(Frame),
    /// There is room for more to send.
    Room,
    Over,
}

/// How messages are written on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One message, one frame (protocol sections 2.1 and 2.2).
    Frames,
    /// `{"key":…,"value":…}`, to a parent process (section 2.3).
    Pairs,
}

pub(crate) struct Wire {
    pub(crate) conn: Connection,
    layers: Box<Layers>,
    form: Form,
    /// The first message is sent otherwise than later ones.
    is_hello_due: bool,
    /// Frames the link has no room for yet.
    spill: VecDeque<Frame>,
    spill_bytes: usize,
}

impl Wire {
    pub(crate) fn new(conn: Connection, layers: Layers, form: Form) -> Self {
        let layers = Box::new(layers);
        Self { conn, layers, form, is_hello_due: true, spill: VecDeque::new(), spill_bytes: 0 }
    }

    /// The text in a frame, unsealed and inflated. A line of a parent that is no text is a message nobody can read, and
    /// answered as such.
    pub(crate) fn open<'f>(&mut self, frame: &'f Frame) -> Result<Cow<'f, str>, Close> {
        if self.form == Form::Pairs {
            return Ok(Cow::Borrowed(frame.as_text().unwrap_or_default()));
        }
        self.layers.inbound(frame).map_err(|error| error.close())
    }

    /// Whether the text that was [`open`](Self::open)ed last proves who it is from. Gives the time it was signed at, 0
    /// for one that need not be: only when that [is kept](Inner::keep_signed) may it count.
    pub(crate) fn verify(
        &mut self,
        text: &str,
        inner: &Inner,
        conversation: &mut Conversation,
    ) -> Result<u64, AuthRefusal> {
        let now = inner.signing_now();
        let mut signed_ms = 0;
        self.layers.verify(text, WallMillis::new(now.wall_ms), &inner.freshness, |kid, nonce, at_ms| {
            signed_ms = at_ms;
            // Nonces are remembered for all: a flood of one connection must not use the room up.
            conversation.count(now).map_err(|retry_after_ms| ReplayError::TooFast { retry_after_ms })?;
            let mut replays = inner.replays.lock().unwrap_or_else(PoisonError::into_inner);
            replays.admit(Millis::new(now.mono_ms), kid, nonce)
        })?;
        Ok(signed_ms)
    }

    /// Reads a message of the session's form.
    pub(crate) fn ask(&self, conversation: &mut Conversation, now: Now, text: &str) -> Option<Question> {
        match self.form {
            Form::Frames => conversation.message(now, text),
            Form::Pairs => conversation.pair(now, text),
        }
    }

    /// Signs, deflates and seals a text, and takes it for sending.
    pub(crate) fn send(&mut self, text: String, wall_ms: u64) -> Result<(), Close> {
        let frame = match self.form {
            Form::Pairs => Frame::text(pair_of(&text)),
            Form::Frames => self.frame(text, WallMillis::new(wall_ms))?,
        };
        let refused = if self.spill.is_empty() { self.conn.try_feed(frame).err() } else { Some(frame) };
        if let Some(frame) = refused {
            self.spill_bytes += frame.len();
            self.spill.push_back(frame);
        }
        Ok(())
    }

    fn frame(&mut self, text: String, wall: WallMillis) -> Result<Frame, Close> {
        let mut drawn = Ok(());
        let entropy = || {
            let mut entropy = Entropy { nonce: [0; 16], iv: [0; 12] };
            drawn = getrandom::fill(&mut entropy.nonce).and_then(|()| getrandom::fill(&mut entropy.iv));
            entropy
        };
        let frame = if std::mem::take(&mut self.is_hello_due) {
            self.layers.hello(text, wall, entropy)
        } else {
            self.layers.outbound(text, wall, entropy)
        };
        if drawn.is_err() {
            // What was made without random numbers does not leave the house.
            return Err(Close::new(Close::INTERNAL, "no random numbers"));
        }
        frame.map_err(|error| match error {
            // Ours are made to fit: this one is a bug, not the peer's doing.
            LayerError::TooBig { len, max } => {
                tracing::error!(len, max, "a message does not fit the connection");
                Close::new(Close::INTERNAL, "internal error")
            }
            error => error.close(),
        })
    }

    /// Moves on what the link had no room for.
    pub(crate) fn unspill(&mut self) {
        while let Some(frame) = self.spill.pop_front() {
            let len = frame.len();
            if let Err(frame) = self.conn.try_feed(frame) {
                return self.spill.push_front(frame);
            }
            self.spill_bytes -= len;
        }
        if self.spill.capacity() > 0 {
            self.spill = VecDeque::new();
        }
    }

    pub(crate) fn has_spill(&self) -> bool {
        !self.spill.is_empty()
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.conn.queued_bytes() + self.spill_bytes
    }

    /// Waits for a frame, or for room to send when that is wanted. Writes all the while. Cancel safe.
    pub(crate) async fn look(&mut self, may_read: bool) -> Result<Seen, LinkError> {
        let (want_room, conn) = (self.has_spill(), &mut self.conn);
        poll_fn(|cx| {
            if may_read {
                if let Poll::Ready(frame) = conn.poll_recv(cx) {
                    return Poll::Ready(frame.map(|frame| frame.map_or(Seen::Over, Seen::Frame)));
                }
            } else if let Poll::Ready(Err(error)) = conn.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if want_room && conn.has_room() { Poll::Ready(Ok(Seen::Room)) } else { Poll::Pending }
        })
        .await
    }

    /// Sends what is left, within a second, and says goodbye within the link's close time.
    pub(crate) async fn end(&mut self, why: Close) {
        let rest = async {
            while self.has_spill() {
                self.conn.flush().await?;
                self.unspill();
            }
            Ok::<(), LinkError>(())
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
        let _ = self.conn.close(why).await;
    }
}

#[cfg(test)]
mod tests {
    use spandrel_crypto::SecretKey;
    use spandrel_session::{LayersConfig, SealKeys, Sealing, Side};
    use spandrel_transport::{MemTransport, Transport as _};

    use super::*;

    async fn wire(config: LayersConfig) -> (Wire, Connection) {
        let (mem, at) = (MemTransport::new(), "mem:wire".parse().unwrap());
        let mut listener = mem.listen(&at).await.unwrap();
        let accepting =
            async { poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().accept().await.unwrap() };
        let (near, far) = tokio::join!(accepting, mem.dial(&at));
        (Wire::new(Connection::new(near), Layers::new(config), Form::Frames), Connection::new(far.unwrap()))
    }

    fn code(sent: Result<(), Close>) -> Option<u16> {
        sent.err().map(|why| why.code)
    }

    #[tokio::test]
    async fn a_session_whose_keys_are_used_up_ends_with_1012() {
        let mut config = LayersConfig::new(Side::Server);
        let keys = SealKeys::derive(&SecretKey::from_bytes([1; 32]), &[2; 16], &[3; 16]);
        (config.sealing, config.sealed_messages_max) = (Sealing::Keys(keys), 2);
        let (mut wire, _far) = wire(config).await;
        // The hello is not sealed and does not count.
        let sent: Vec<_> = (0..4).map(|_| code(wire.send("{}".into(), 1))).collect();
        assert_eq!(sent, [None, None, None, Some(1012)]);
    }

    #[tokio::test]
    async fn a_message_of_ours_that_does_not_fit_is_our_fault() {
        let mut config = LayersConfig::new(Side::Server);
        config.message_bytes_max = 10;
        let (mut wire, mut far) = wire(config).await;
        assert_eq!(code(wire.send("{\"a\":1}".into(), 1)), None);
        assert_eq!(code(wire.send("{\"a\":\"long\"}".into(), 1)), Some(1011));
        wire.end(Close::normal()).await;
        assert_eq!(far.recv().await.unwrap(), Some(Frame::text("{\"a\":1}")), "what was sent before arrives");
    }
}
