//! One open connection as the session sees it: message texts in and out, whatever lies between them and the wire.

use std::borrow::Cow;
use std::task::{Context, Poll, ready};

use spandrel_download_protocol::{
    Limits, ProtocolError, ServerMessage, Subprotocol, pair_of, parse_server_message, read_server_pair,
};
use spandrel_session::{
    AuthFailure, Freshness, HeartbeatTimes, KeyId, LayerError, Layers, Millis, ReplayCache,
};
use spandrel_transport::{Close, Connection, Frame, LinkError, LinkStats};
use spandrel_wire::WallMillis;

use crate::clock::{ServerClock, Ticker};
use crate::{ClientError, printable, random};

/// What an open session is like.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The server's name for the connection, as it stands in its log.
    pub session_id: String,
    /// Subprotocol in use.
    pub subprotocol: Subprotocol,
    /// Every message is signed, both ways.
    pub is_signed: bool,
    /// Every message is sealed, both ways.
    pub is_sealed: bool,
    /// What the server can do beside the obligatory: `format:…`, `codec:…`.
    pub features: Vec<String>,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) close: Close,
    /// We end it, and owe the server a goodbye.
    pub(crate) is_ours: bool,
}

impl Lost {
    pub(crate) fn ours(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { close: Close::new(code, reason), is_ours: true }
    }
}

/// What stays when connections come and go.
pub(crate) struct Memory {
    pub(crate) ticker: Ticker,
    /// Nonces of the server's messages. Kept over reconnects, so that what one connection carried is no news on
    /// the next either.
    pub(crate) nonces: ReplayCache,
}

/// An open connection whose hello was read.
pub(crate) struct Channel {
    pub(super) conn: Connection,
    pub(super) layers: Layers,
    pub(super) clock: ServerClock,
    pub(super) freshness: Freshness,
    pub(super) limits: Limits,
    /// Messages travel as `{key, value}` (section 2.3).
    pub(super) is_wrapped: bool,
    /// The server's own bound.
    pub(super) message_bytes_max: usize,
    pub(crate) heart: HeartbeatTimes,
    pub(crate) info: SessionInfo,
}

impl Channel {
    /// Receives the text of the next message, signature and seal checked and taken off.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Poll<Result<String, Lost>> {
        let frame = match ready!(self.conn.poll_recv(cx)) {
            Ok(Some(frame)) => frame,
            ended => return Poll::Ready(Err(Lost { close: goodbye(&self.conn, ended), is_ours: false })),
        };
        let now = memory.ticker.now();
        let text = open_frame(&mut self.layers, &frame, self.clock.now(now), &self.freshness, memory, now)?;
        Poll::Ready(Ok(text.into_owned()))
    }

    /// Reads a text that [`poll_recv`](Self::poll_recv) gave.
    pub(crate) fn parse<'t>(&self, text: &'t str) -> Result<ServerMessage<'t>, ProtocolError> {
        parse(text, &self.limits, self.is_wrapped)
    }

    /// Takes a message for sending. Call only while it [`has_room`](Self::has_room).
    pub(crate) fn send(&mut self, text: String, memory: &Memory) -> Result<(), SendError> {
        let (len, max) = (text.len(), self.message_bytes_max);
        if len > max {
            return Err(SendError::TooBig { len, max });
        }
        let text = if self.is_wrapped { pair_of(&text) } else { text };
        let entropy = random::entropy().map_err(|e| Lost::ours(Close::INTERNAL, e.to_string()))?;
        let clock = self.clock.now(memory.ticker.now());
        let frame = self.layers.outbound(text, clock, || entropy).map_err(|e| match e {
            LayerError::TooBig { len, max } => SendError::TooBig { len, max },
            e => SendError::Lost(broken(&e)),
        })?;
        // A sealed frame that is not sent would break the count of all behind it.
        self.conn.try_feed(frame).map_err(|_| Lost::ours(Close::INTERNAL, "no room for a message"))?;
        Ok(())
    }

    /// Sends a ping of the wire; `false` when it has none.
    pub(crate) fn ping(&mut self) -> bool {
        self.conn.try_ping(b"").unwrap_or(false)
    }

    /// The server told its clock anew.
    pub(crate) fn learn_clock(&mut self, told_ms: u64, memory: &Memory) {
        self.clock = ServerClock::new(WallMillis::new(told_ms), memory.ticker.now());
    }

    pub(crate) fn has_room(&self) -> bool {
        self.conn.has_room()
    }

    pub(crate) fn stats(&self) -> LinkStats {
        self.conn.stats()
    }

    /// Says goodbye and waits for the server's, a short while.
    pub(crate) async fn close(mut self, why: Close) {
        let _ = self.conn.close(why).await;
    }
}

/// A message that was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Too long for this server; the connection lives on.
    TooBig {
        len: usize,
        max: usize,
    },
    Lost(Lost),
}

impl From<Lost> for SendError {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Reads a message in the form of its session (section 2.3).
pub(super) fn parse<'t>(
    text: &'t str,
    limits: &Limits,
    is_wrapped: bool,
) -> Result<ServerMessage<'t>, ProtocolError> {
    if is_wrapped { read_server_pair(text, limits) } else { parse_server_message(text, limits) }
}

/// Opens, inflates, verifies.
pub(super) fn open_frame<'f>(
    layers: &mut Layers,
    frame: &'f Frame,
    clock: WallMillis,
    freshness: &Freshness,
    memory: &mut Memory,
    now: Millis,
) -> Result<Cow<'f, str>, Lost> {
    let text = layers.inbound(frame).map_err(|e| broken(&e))?;
    let admit = |kid: &KeyId, nonce: &[u8; 16], _: u64| memory.nonces.admit(now, kid, nonce);
    layers.verify(&text, clock, freshness, admit).map_err(|e| match e.failure {
        // The signature is good: our idea of the server's clock may be off, after a sleep of the machine for one.
        // What comes is not live; a new hello mends it.
        AuthFailure::Expired { .. } => Lost::ours(Close::HEARTBEAT, "a message of the server is not of now"),
        AuthFailure::CacheFull { .. } => {
            Lost::ours(Close::HEARTBEAT, "too many messages of the server at once")
        }
        failure => Lost::ours(Close::UNAUTHENTICATED, format!("a message of the server: {failure}")),
    })?;
    Ok(text)
}

fn broken(error: &LayerError) -> Lost {
    let close = error.close();
    Lost::ours(close.code, error.to_string())
}

impl From<Lost> for ClientError {
    fn from(lost: Lost) -> Self {
        Self::Untrusted { code: lost.close.code, why: lost.close.reason.into_owned() }
    }
}

/// Why there is no further frame.
pub(super) fn goodbye(conn: &Connection, ended: Result<Option<Frame>, LinkError>) -> Close {
    match (conn.close_info(), ended) {
        (Some(close), _) => told(close),
        (None, Err(e)) => Close::new(e.close_code(), e.to_string()),
        (None, Ok(_)) => Close::new(Close::NO_CODE, ""),
    }
}

/// The server's goodbye: its reason goes to logs and terminals.
pub(super) fn told(close: &Close) -> Close {
    let reason: String = printable(&close.reason).chars().take(Close::REASON_BYTES_MAX).collect();
    Close::new(close.code, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_kept_short_and_without_their_escapes() {
        assert_eq!(told(&Close::new(1008, "bye\u{1b}[2J\r\n")), Close::new(1008, "bye [2J  "));
        assert!(told(&Close::new(1008, "x".repeat(1000))).reason.len() <= Close::REASON_BYTES_MAX);
    }
}
