//! A server without sockets, played by the test step by step, on virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spandrel_download_client::{
    Client, ClientError, ClientOptions, Close, Credentials, Dial, DialError, Offer, SecretKey, Subprotocol,
};
use spandrel_download_protocol::{
    ClientEvent, ConnectionHealth, ErrorResponse, Limits, ServerEvent, parse_message, write_message,
};
use spandrel_session::{
    AuthFailure, Entropy, Freshness, KeyId, Layers, LayersConfig, Millis, ReplayCache, ReplayLimits,
    SealKeys, Sealing, Side, Signer, Signing, signing_key,
};
use spandrel_transport::{Batch, BoxFuture, Connection, Frame, Link, LinkError, LinkStats, MemLink, Peer};
use spandrel_wire::WallMillis;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::server::{health, to_json};

pub(crate) const SECRET: &str = "ERERERERERERERERERERERERERERERERERERERERERE";
/// The server's clock when a test begins.
pub(crate) const NOON: u64 = 1_800_000_000_000;

pub(crate) fn key() -> Credentials {
    Credentials::key("k1", SECRET).unwrap()
}

/// Longer than every wait of the protocol together; virtual, so it costs nothing.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3600), what).await.expect("it happens")
}

/// Doors that clients dial, and what happens there next.
#[derive(Clone)]
pub(crate) struct Stage(Arc<Inner>);

struct Inner {
    zero: Instant,
    arrivals: mpsc::Sender<(Offer, MemLink)>,
    /// Answers for dials to come; with none left, everybody is let in.
    doors: Mutex<VecDeque<DialError>>,
    supported: Vec<Subprotocol>,
    dials: Mutex<Vec<Duration>>,
}

/// What the test plays.
pub(crate) struct Server {
    pub(crate) stage: Stage,
    arrivals: mpsc::Receiver<(Offer, MemLink)>,
    /// Shared by all connections, as the protocol has it.
    nonces: ReplayCache,
    pub(crate) ways: Ways,
}

/// How the server is set up.
#[derive(Clone)]
pub(crate) struct Ways {
    /// How far the server's clock is from noon, in milliseconds.
    pub(crate) skew_ms: i64,
    pub(crate) window_ms: u64,
    pub(crate) secret: &'static str,
    /// `auth.mode` is `required`.
    pub(crate) requires: bool,
    pub(crate) max_message_bytes: u64,
}

impl Default for Ways {
    fn default() -> Self {
        Self { skew_ms: 0, window_ms: 30_000, secret: SECRET, requires: true, max_message_bytes: 1 << 20 }
    }
}

/// One connection from the server's side.
pub(crate) struct Line {
    pub(crate) offer: Offer,
    pub(crate) subprotocol: Subprotocol,
    pub(crate) conn: Connection<MemLink>,
    layers: Layers,
    server_nonce: [u8; 16],
    zero: Instant,
    pub(crate) ways: Ways,
    pub(crate) heartbeat_ms: u64,
}

/// A message of the client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) event: ClientEvent,
    pub(crate) request_id: String,
    pub(crate) data: serde_json::Value,
    pub(crate) auth: Result<(), AuthFailure>,
    /// As it stands inside all layers.
    pub(crate) text: String,
}

impl Stage {
    pub(crate) fn set(supported: &[Subprotocol]) -> Server {
        let (arrivals, queue) = mpsc::channel(2000);
        let stage = Self(Arc::new(Inner {
            zero: Instant::now(),
            arrivals,
            doors: Mutex::default(),
            supported: supported.to_vec(),
            dials: Mutex::default(),
        }));
        let nonces = ReplayCache::new(ReplayLimits::default());
        Server { stage, arrivals: queue, nonces, ways: Ways::default() }
    }

    /// Lets the next dials fail.
    pub(crate) fn shut(&self, times: usize) {
        self.answer((0..times).map(|_| DialError::Io(std::io::ErrorKind::ConnectionRefused.into())));
    }

    pub(crate) fn answer(&self, errors: impl IntoIterator<Item = DialError>) {
        self.0.doors.lock().unwrap().extend(errors);
    }

    /// When clients dialled, since the stage was set.
    pub(crate) fn dials(&self) -> Vec<Duration> {
        self.0.dials.lock().unwrap().clone()
    }

    pub(crate) async fn connect(&self, options: ClientOptions) -> Result<Client, ClientError> {
        Client::connect_over(Arc::new(self.clone()), options).await
    }
}

impl Dial for Stage {
    fn dial<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            self.0.dials.lock().unwrap().push(self.0.zero.elapsed());
            if let Some(error) = self.0.doors.lock().unwrap().pop_front() {
                return Err(error);
            }
            let (here, there) = MemLink::pair(&spandrel_transport::Limits::default());
            let mut peer = Peer::new("mem");
            let chosen = offer.subprotocols.iter().find(|p| self.0.supported.contains(p));
            peer.subprotocol = chosen.map(|p| p.as_str().to_owned());
            let arrived = self.0.arrivals.send((offer.clone(), there)).await;
            arrived.map_err(|_| DialError::Io(std::io::ErrorKind::ConnectionRefused.into()))?;
            Ok(Box::new(Named { link: here, peer }) as Box<dyn Link>)
        })
    }
}

/// A link in memory that knows which subprotocol was chosen.
struct Named {
    link: MemLink,
    peer: Peer,
}

type Context<'a, 'b> = &'a mut std::task::Context<'b>;
type Poll<T> = std::task::Poll<Result<T, LinkError>>;

impl Link for Named {
    fn poll_recv(&mut self, cx: Context<'_, '_>, out: &mut Batch) -> Poll<usize> {
        self.link.poll_recv(cx, out)
    }
    fn poll_send(&mut self, cx: Context<'_, '_>, queue: &mut Batch) -> Poll<()> {
        self.link.poll_send(cx, queue)
    }
    fn poll_flush(&mut self, cx: Context<'_, '_>) -> Poll<()> {
        self.link.poll_flush(cx)
    }
    fn poll_close(&mut self, cx: Context<'_, '_>, why: &Close) -> Poll<()> {
        self.link.poll_close(cx, why)
    }
    fn ping(&mut self, payload: &[u8]) -> Result<bool, LinkError> {
        self.link.ping(payload)
    }
    fn peer(&self) -> &Peer {
        &self.peer
    }
    fn stats(&self) -> LinkStats {
        self.link.stats()
    }
    fn close_info(&self) -> Option<&Close> {
        self.link.close_info()
    }
}

impl Server {
    /// The next client at the door, before the hello.
    pub(crate) async fn accept(&mut self) -> Line {
        let (offer, link) = soon(self.arrivals.recv()).await.unwrap();
        let chosen = offer.subprotocols.iter().copied().find(|p| self.stage.0.supported.contains(p));
        let mut line = Line {
            subprotocol: chosen.unwrap_or(Subprotocol::Json),
            offer,
            conn: Connection::new(link),
            layers: Layers::plain(Side::Server, 1 << 20),
            server_nonce: entropy().nonce,
            zero: self.stage.0.zero,
            ways: self.ways.clone(),
            heartbeat_ms: 10_000,
        };
        line.layers = line.make_layers();
        line
    }

    /// The next client, with the hello said.
    pub(crate) async fn meet(&mut self) -> Line {
        let mut line = self.accept().await;
        line.hello().await;
        line
    }

    /// A client and its first connection.
    pub(crate) async fn pair(&mut self, options: ClientOptions) -> (Client, Line) {
        let stage = self.stage.clone();
        let (client, line) = tokio::join!(stage.connect(options), self.meet());
        (client.unwrap(), line)
    }

    /// What the client says next, pings aside.
    pub(crate) async fn hear(&mut self, line: &mut Line) -> Heard {
        loop {
            let frame = soon(line.conn.recv()).await.unwrap().expect("a message");
            let heard = self.read(line, &frame);
            if heard.event != ClientEvent::ConnectionHealth {
                return heard;
            }
        }
    }

    fn read(&mut self, line: &mut Line, frame: &Frame) -> Heard {
        let text = line.layers.inbound(frame).expect("layers as agreed").into_owned();
        let now = Millis::new(u64::try_from(line.zero.elapsed().as_millis()).unwrap());
        let freshness = Freshness { window_ms: line.ways.window_ms, since: WallMillis::new(0) };
        let admit = |kid: &KeyId, nonce: &[u8; 16], _: u64| self.nonces.admit(now, kid, nonce);
        let auth = line.layers.verify(&text, line.clock(), &freshness, admit).map_err(|e| e.failure);
        let message = parse_message(&text, &Limits::default()).unwrap();
        Heard {
            event: message.known_event().unwrap(),
            request_id: message.request_id.to_string(),
            data: serde_json::from_str(message.data.get()).unwrap(),
            auth,
            text: text.clone(),
        }
    }
}

impl Line {
    fn make_layers(&self) -> Layers {
        let mut config = LayersConfig::new(Side::Server);
        config.deflates = self.subprotocol.has_deflate();
        let secret = SecretKey::from_base64url(self.ways.secret).unwrap();
        if let (true, Some(cn)) = (self.subprotocol.has_aes(), &self.offer.client_nonce) {
            let cn: [u8; 16] = spandrel_crypto::decode_base64url_array(cn).unwrap();
            config.sealing = Sealing::Keys(SealKeys::derive(&secret, &cn, &self.server_nonce));
        }
        if let Some(kid) = self.offer.kid.clone() {
            let mode = if self.ways.requires { Signing::Required } else { Signing::IfPeerDoes };
            config.signer = Some(Signer { kid, key: signing_key(&secret), mode });
        }
        Layers::new(config)
    }

    pub(crate) fn clock(&self) -> WallMillis {
        let elapsed = u64::try_from(self.zero.elapsed().as_millis()).unwrap();
        WallMillis::new((NOON + elapsed).checked_add_signed(self.ways.skew_ms).unwrap())
    }

    pub(crate) async fn hello(&mut self) {
        let text = self.hello_text();
        let clock = self.clock();
        let frame = self.layers.hello(text, clock, entropy).unwrap();
        self.conn.send(frame).await.unwrap();
    }

    pub(crate) fn hello_text(&self) -> String {
        let hello = ConnectionHealth::Hello {
            server_time: self.clock().get(),
            session_id: "s1".to_owned(),
            protocol: self.subprotocol.as_str().to_owned(),
            heartbeat_interval_ms: self.heartbeat_ms,
            heartbeat_timeout_ms: self.heartbeat_ms / 2,
            max_message_bytes: self.ways.max_message_bytes,
            features: vec!["codec:zstd".to_owned()],
            system_health: health(),
            server_nonce: self
                .subprotocol
                .has_aes()
                .then(|| spandrel_crypto::encode_base64url(&self.server_nonce)),
        };
        write_message(ServerEvent::ConnectionHealth, "srv-1", 0, &to_json(&hello))
    }

    /// The frame of a message, through all layers.
    pub(crate) fn frame(&mut self, event: ServerEvent, id: &str, data: &serde_json::Value) -> Frame {
        let clock = self.clock();
        self.layers.outbound(write_message(event, id, 0, data), clock, entropy).unwrap()
    }

    pub(crate) async fn say(&mut self, event: ServerEvent, id: &str, data: &impl serde::Serialize) {
        let frame = self.frame(event, id, &to_json(data));
        self.conn.send(frame).await.unwrap();
    }

    pub(crate) async fn complain(&mut self, id: &str, error: &ErrorResponse) {
        self.say(ServerEvent::SystemError, id, error).await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let _ = self.conn.close(Close::new(code, "because")).await;
    }

    /// The client's goodbye.
    pub(crate) async fn goodbye(&mut self) -> u16 {
        let ended = async { while let Ok(Some(_)) = self.conn.recv().await {} };
        soon(ended).await;
        self.conn.close_info().map_or(Close::ABNORMAL, |close| close.code)
    }
}

pub(crate) fn entropy() -> Entropy {
    let mut entropy = Entropy { nonce: [0; 16], iv: [0; 12] };
    getrandom::fill(&mut entropy.nonce).unwrap();
    getrandom::fill(&mut entropy.iv).unwrap();
    entropy
}
