//! From a dial to an open session: the hello, and the layers that follow from it.

use std::time::Duration;

use spandrel_crypto::decode_base64url_array;
use spandrel_download_protocol::{
    ConnectionHealth, ErrorResponse, Limits, ProtocolError, ServerEvent, ServerMessage, Subprotocol,
};
use spandrel_session::{
    Freshness, HeartbeatTimes, Layers, LayersConfig, SealKeys, Sealing, Side, Signer, Signing, signing_key,
};
use spandrel_transport::{Close, Connection, DialError};
use spandrel_wire::WallMillis;
use tokio::time::timeout;

use super::channel::{Channel, Memory, SessionInfo, goodbye, open_frame, parse, told};
use crate::clock::ServerClock;
use crate::dial::{Dial, Offer};
use crate::{ClientError, ClientOptions, Credentials, Seal, random};

/// Bytes that signing and sealing add to a message at most.
const LAYERS_BYTES_MAX: usize = 256;
/// A server that wants to be pinged more often than this, or hardly ever, is not obeyed.
const HEARTBEAT_MS: (u64, u64) = (50, 86_400_000);

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

/// Dials, reads the hello, and puts the layers in place that the subprotocol names.
pub(crate) async fn open(
    dial: &dyn Dial,
    options: &ClientOptions,
    memory: &mut Memory,
) -> Result<Channel, Unopened> {
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
            let message = parse(&text, &limits(self.options), self.is_wrapped)?;
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

fn not_dialled(error: DialError) -> Unopened {
    let stay_away_ms = match error {
        DialError::Refused { retry_after_ms, .. } => retry_after_ms,
        _ => None,
    };
    let error = match error {
        DialError::Refused { status: status @ (401 | 403), .. } => {
            ClientError::Denied { why: format!("the upgrade was answered with http status {status}") }
        }
        DialError::Closed { close } => ClientError::Closed(told(&close)),
        DialError::Tls(e) => ClientError::Tls(e),
        e => ClientError::Dial(e),
    };
    Unopened { error, stay_away_ms }
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
}
