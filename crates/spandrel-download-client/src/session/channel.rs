//! One open connection as the session sees it: message texts in and out, whatever lies between them and the wire.

use std::borrow::Cow;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use spandrel_crypto::decode_base64url_array;
use spandrel_download_protocol::{
    ConnectionHealth, ErrorResponse, Limits, ProtocolError, ServerEvent, ServerMessage, Subprotocol,
    parse_server_message,
};
use spandrel_session::{
    AuthFailure, Freshness, HeartbeatTimes, KeyId, LayerError, Layers, LayersConfig, Millis, ReplayCache,
    SealKeys, Sealing, Side, Signer, Signing, signing_key,
};
use spandrel_transport::{Close, Connection, DialError, Frame, LinkError, LinkStats};
use spandrel_wire::WallMillis;
use tokio::time::timeout;

use crate::clock::{ServerClock, Ticker};
use crate::dial::{Dial, Offer};
use crate::{ClientError, ClientOptions, Credentials, Seal, random};

/// Bytes that signing and sealing add to a message at most.
const LAYERS_BYTES_MAX: usize = 256;
/// A server that wants to be pinged more often than this, or hardly ever, is not obeyed.
const HEARTBEAT_MS: (u64, u64) = (50, 86_400_000);

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
    conn: Connection,
    layers: Layers,
    clock: ServerClock,
    freshness: Freshness,
    limits: Limits,
    /// Messages travel as `{key, value}` (section 2.3).
    is_wrapped: bool,
    /// The server's own bound.
    message_bytes_max: usize,
    pub(crate) heart: HeartbeatTimes,
    pub(crate) info: SessionInfo,
}

/// A session that did not open, and how long the server wants to be left alone.
pub(crate) struct Unopened {
    pub(crate) error: ClientError,
    pub(crate) stay_away_ms: Option<u64>,
}

impl<E: Into<ClientError>> From<E> for Unopened {
    fn from(error: E) -> Self {
        Self { error: error.into(), stay_away_ms: None }
    }
}

/// Subprotocols to offer, the dearest first.
fn offered(options: &ClientOptions, is_wrapped: bool) -> Vec<Subprotocol> {
    if is_wrapped {
        return vec![Subprotocol::Json];
    }
    let sealed = [Subprotocol::DeflateAes, Subprotocol::Aes];
    let open = [Subprotocol::Deflate, Subprotocol::Json];
    let all = match options.seal {
        Seal::Off => open.to_vec(),
        Seal::IfOffered => [sealed, open].concat(),
        Seal::Required => sealed.to_vec(),
    };
    all.into_iter().filter(|p| options.deflates || !p.has_deflate()).collect()
}

impl Channel {
    /// Dials, reads the hello, and puts the layers in place that the subprotocol names.
    pub(crate) async fn open(
        dial: &dyn Dial,
        options: &ClientOptions,
        memory: &mut Memory,
    ) -> Result<Self, Unopened> {
        let client_nonce: [u8; 16] = random::bytes()?;
        let is_wrapped = dial.is_wrapped();
        let offer = Offer::new(options, offered(options, is_wrapped), &client_nonce);
        let conn = Connection::new(dial.dial(&offer).await.map_err(not_dialled)?);
        let subprotocol = match conn.peer().subprotocol.as_deref() {
            _ if is_wrapped => Some(Subprotocol::Json),
            name => name.and_then(Subprotocol::parse).filter(|p| offer.subprotocols.contains(p)),
        };
        let layers = layers(options, subprotocol.unwrap_or(Subprotocol::Json), is_wrapped);
        let opening =
            Opening { conn, layers, options, subprotocol, is_wrapped, client_nonce, stay_away_ms: None };
        opening.run(memory).await
    }

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
        Poll::Ready(if self.is_wrapped { unwrapped(&text) } else { Ok(text.into_owned()) })
    }

    /// Reads a text that [`poll_recv`](Self::poll_recv) gave.
    pub(crate) fn parse<'t>(&self, text: &'t str) -> Result<ServerMessage<'t>, ProtocolError> {
        parse_server_message(text, &self.limits)
    }

    /// Takes a message for sending. Call only while it [`has_room`](Self::has_room).
    pub(crate) fn send(&mut self, event: &str, text: String, memory: &Memory) -> Result<(), SendError> {
        let (len, max) = (text.len(), self.message_bytes_max);
        if len > max {
            return Err(SendError::TooBig { len, max });
        }
        let text = if self.is_wrapped { format!("{{\"key\":\"{event}\",\"value\":{text}}}") } else { text };
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

/// A connection before its hello.
struct Opening<'o> {
    conn: Connection,
    layers: Layers,
    options: &'o ClientOptions,
    subprotocol: Option<Subprotocol>,
    is_wrapped: bool,
    client_nonce: [u8; 16],
    stay_away_ms: Option<u64>,
}

impl Opening<'_> {
    async fn run(mut self, memory: &mut Memory) -> Result<Channel, Unopened> {
        let after_ms = self.options.hello_ms;
        let hello = timeout(Duration::from_millis(after_ms), self.hello(memory)).await;
        let error = match hello.unwrap_or(Err(ClientError::NoHello { after_ms })) {
            Ok(hello) => match self.seal(&hello) {
                Ok(()) => return Ok(self.opened(hello, memory)),
                Err(e) => e,
            },
            Err(e) => e,
        };
        let Self { mut conn, stay_away_ms, .. } = self;
        if let ClientError::Untrusted { code, .. } = error {
            // Nobody waits for this goodbye.
            tokio::spawn(async move { conn.close(Close::new(code, "")).await });
        }
        Err(Unopened { error, stay_away_ms })
    }

    /// Reads up to the hello. A server that is too busy says so instead.
    async fn hello(&mut self, memory: &mut Memory) -> Result<Hello, ClientError> {
        loop {
            let frame = match self.conn.recv().await {
                Ok(Some(frame)) => frame,
                ended => return Err(ClientError::Closed(goodbye(&self.conn, ended))),
            };
            if self.subprotocol.is_none() {
                let close = Close::new(Close::NO_SUBPROTOCOL, "the server chose no subprotocol");
                return Err(ClientError::Closed(close));
            }
            let (now, any) = (memory.ticker.now(), Freshness::any());
            let clock = WallMillis::new(0);
            let text = open_frame(&mut self.layers, &frame, clock, &any, memory, now)?;
            let text = if self.is_wrapped { Cow::Owned(unwrapped(&text)?) } else { text };
            let message = parse_server_message(&text, &limits(self.options))?;
            match message.event {
                Some(ServerEvent::ConnectionHealth) => {
                    if let Ok(hello) = Hello::read(&message) {
                        return Ok(hello);
                    }
                }
                Some(ServerEvent::SystemError) => {
                    if let Ok(error) = serde_json::from_str::<ErrorResponse>(message.data.get()) {
                        tracing::debug!(%error, "instead of a hello");
                        self.stay_away_ms = error.retry_after_ms.or(self.stay_away_ms);
                    }
                }
                _ => {}
            }
        }
    }

    /// Checks that both sides mean the same session, and derives its keys.
    fn seal(&mut self, hello: &Hello) -> Result<(), ClientError> {
        let untrusted =
            |why: &str| ClientError::Untrusted { code: Close::UNAUTHENTICATED, why: why.to_owned() };
        let subprotocol = self.subprotocol.unwrap_or(Subprotocol::Json);
        if !self.is_wrapped && hello.protocol != subprotocol.as_str() {
            return Err(untrusted("the hello names another subprotocol than the one that was agreed on"));
        }
        if let (true, Credentials::Key { secret, .. }) = (subprotocol.has_aes(), &self.options.credentials) {
            let nonce = hello.server_nonce.as_deref().and_then(|text| decode_base64url_array(text).ok());
            let nonce = nonce.ok_or_else(|| untrusted("the hello of a sealed session has no serverNonce"))?;
            self.layers.seal_with(SealKeys::derive(secret, &self.client_nonce, &nonce));
        }
        Ok(())
    }

    fn opened(self, hello: Hello, memory: &Memory) -> Channel {
        let subprotocol = self.subprotocol.unwrap_or(Subprotocol::Json);
        let is_signed = self.layers.is_signing();
        let is_layered = is_signed || subprotocol.has_aes();
        let theirs = usize::try_from(hello.max_message_bytes).unwrap_or(usize::MAX);
        let bound = theirs.min(self.options.message_bytes_max);
        Channel {
            conn: self.conn,
            layers: self.layers,
            clock: ServerClock::new(WallMillis::new(hello.server_time), memory.ticker.now()),
            freshness: Freshness { window_ms: self.options.window_ms, ..Freshness::default() },
            limits: limits(self.options),
            is_wrapped: self.is_wrapped,
            message_bytes_max: if is_layered { bound.saturating_sub(LAYERS_BYTES_MAX) } else { bound },
            heart: hello.heart,
            info: SessionInfo {
                session_id: hello.session_id,
                subprotocol,
                is_signed,
                is_sealed: subprotocol.has_aes(),
                features: hello.features,
            },
        }
    }
}

/// What the first message of a server says.
struct Hello {
    server_time: u64,
    session_id: String,
    protocol: String,
    heart: HeartbeatTimes,
    max_message_bytes: u64,
    features: Vec<String>,
    server_nonce: Option<String>,
}

impl Hello {
    fn read(message: &ServerMessage<'_>) -> Result<Self, ProtocolError> {
        let health = serde_json::from_str(message.data.get());
        match health.map_err(|e| ProtocolError::ServerMessage(e.to_string()))? {
            ConnectionHealth::Hello {
                server_time,
                session_id,
                protocol,
                heartbeat_interval_ms,
                heartbeat_timeout_ms,
                max_message_bytes,
                features,
                server_nonce,
                ..
            } => {
                let bounded = |ms: u64| ms.clamp(HEARTBEAT_MS.0, HEARTBEAT_MS.1);
                let (interval_ms, timeout_ms) =
                    (bounded(heartbeat_interval_ms), bounded(heartbeat_timeout_ms));
                let heart = HeartbeatTimes { interval_ms, timeout_ms };
                Ok(Self {
                    server_time,
                    session_id,
                    protocol,
                    heart,
                    max_message_bytes,
                    features,
                    server_nonce,
                })
            }
            _ => Err(ProtocolError::ServerMessage("a health message before the hello".to_owned())),
        }
    }
}

fn limits(options: &ClientOptions) -> Limits {
    let mut limits = Limits::default();
    limits.message_bytes_max = options.message_bytes_max;
    limits
}

fn layers(options: &ClientOptions, subprotocol: Subprotocol, is_wrapped: bool) -> Layers {
    let mut config = LayersConfig::new(Side::Client);
    config.message_bytes_max = options.message_bytes_max;
    config.deflates = subprotocol.has_deflate();
    if subprotocol.has_aes() {
        config.sealing = Sealing::AfterHello;
    }
    if let (Credentials::Key { id, secret }, false) = (&options.credentials, is_wrapped) {
        // Below a seal a server that wants no credentials may answer unsigned; without one everything is signed.
        let mode = Signing::IfPeerDoes;
        config.signer = Some(Signer { kid: id.clone(), key: signing_key(secret), mode });
    }
    Layers::new(config)
}

/// Opens, inflates, verifies.
fn open_frame<'f>(
    layers: &mut Layers,
    frame: &'f Frame,
    clock: WallMillis,
    freshness: &Freshness,
    memory: &mut Memory,
    now: Millis,
) -> Result<Cow<'f, str>, Lost> {
    let text = layers.inbound(frame).map_err(|e| broken(&e))?;
    let admit = |kid: &KeyId, nonce: &[u8; 16]| memory.nonces.admit(now, kid, nonce);
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
fn goodbye(conn: &Connection, ended: Result<Option<Frame>, LinkError>) -> Close {
    match (conn.close_info(), ended) {
        (Some(close), _) => Close::new(close.code, printable(&close.reason)),
        (None, Err(e)) => Close::new(e.close_code(), e.to_string()),
        (None, Ok(_)) => Close::new(Close::NO_CODE, ""),
    }
}

/// A reason comes from outside and goes to a terminal.
fn printable(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(Close::REASON_BYTES_MAX).collect()
}

fn not_dialled(error: DialError) -> ClientError {
    match error {
        DialError::Refused { status: status @ (401 | 403) } => {
            ClientError::Denied { why: format!("the upgrade was answered with http status {status}") }
        }
        DialError::Closed { close } => ClientError::Closed(Close::new(close.code, printable(&close.reason))),
        DialError::Tls(e) => ClientError::Tls(e),
        e => ClientError::Dial(e),
    }
}

/// The message in its IPC form (section 2.3).
fn unwrapped(text: &str) -> Result<String, Lost> {
    #[derive(Deserialize)]
    struct Wrapped<'t> {
        #[serde(borrow)]
        value: &'t RawValue,
    }
    let wrapped: Result<Wrapped<'_>, _> = serde_json::from_str(text);
    let fault = |_| Lost::ours(Close::INVALID_DATA, "expected {key, value} from the server");
    wrapped.map(|w| w.value.get().to_owned()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_follows_from_what_is_wanted() {
        use Subprotocol::{Aes, Deflate, DeflateAes, Json};
        for (seal, deflates, want) in [
            (Seal::Off, false, &[Json][..]),
            (Seal::Off, true, &[Deflate, Json]),
            (Seal::IfOffered, false, &[Aes, Json]),
            (Seal::IfOffered, true, &[DeflateAes, Aes, Deflate, Json]),
            (Seal::Required, false, &[Aes]),
            (Seal::Required, true, &[DeflateAes, Aes]),
        ] {
            let options = ClientOptions::default().seal(seal).deflates(deflates);
            assert_eq!(offered(&options, false), want, "{seal:?} {deflates}");
            assert_eq!(offered(&options, true), [Json]);
        }
    }

    #[test]
    fn reasons_are_printed_without_their_escapes() {
        assert_eq!(printable("bye\u{1b}[2J\r\n"), "bye[2J");
        assert_eq!(printable(&"x".repeat(1000)).len(), Close::REASON_BYTES_MAX);
    }
}
