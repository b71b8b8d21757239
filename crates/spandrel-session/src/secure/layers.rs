//! All layers of one connection, on one side.

use std::borrow::Cow;

use spandrel_crypto::SecretKey;
use spandrel_wire::{Close, Frame, WallMillis};

use super::{
    AuthFailure, AuthRefusal, Freshness, KeyId, LayerError, ReplayError, SealForm, SealKeys, Side,
    deflate::{DEFLATE_BYTES_MIN, Size, deflate, inflate},
    seal::Sealer,
    sign::{find_tail, sign_message, verify_message},
};

/// Fresh random bytes for one message, drawn by the driver from the system's generator. Never used twice.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    /// Goes into the signature's token.
    pub nonce: [u8; 16],
    /// Goes into the seal.
    pub iv: [u8; 12],
}

/// When messages are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signing {
    /// Every message both ways.
    Required,
    /// As section 13.3 has it for a sealed session with `auth.mode` `none`. A server follows the client's first
    /// message: signed or not, so is everything after it, both ways, and before it nothing. A client signs, and
    /// takes unsigned messages until the first signed one.
    ///
    /// Only safe below a seal, which already proves the peer: on a session that is not sealed it means the same
    /// as [`Required`](Self::Required).
    IfPeerDoes,
}

/// With what key messages are signed.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The key's name, in every token.
    pub kid: KeyId,
    /// The signing key ([`signing_key`](super::signing_key)), not the secret it is derived from.
    pub key: SecretKey,
    /// When.
    pub mode: Signing,
}

/// Whether frames are sealed.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "lives for a moment, at the start of a connection")]
pub enum Sealing {
    /// Never.
    Off,
    /// With these keys, all but the hello.
    Keys(SealKeys),
    /// From the hello on, which carries the server's nonce: [`Layers::seal_with`] gives the keys. For a client.
    AfterHello,
}

/// What a [`Layers`] is made from. Start with [`LayersConfig::new`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayersConfig {
    /// Which end this is.
    pub side: Side,
    /// Whether the subprotocol has `+deflate`. Off.
    pub deflates: bool,
    /// Whether the subprotocol has `+aes256gcm`. Off.
    pub sealing: Sealing,
    /// Whether the session is signed. Not.
    pub signer: Option<Signer>,
    /// Form of a client's sealed messages, and of a server's before the client's first. Binary.
    pub form: SealForm,
    /// Most bytes of a frame and of what it inflates to, 1,048,576, both ways.
    pub message_bytes_max: usize,
    /// Most messages sealed in one direction, 2^24: random vectors under one key stay far from meeting.
    pub sealed_messages_max: u64,
    /// Failures of `auth` that end a server's connection, 3.
    pub auth_failures_max: u32,
}

impl LayersConfig {
    /// No layer at all, default bounds.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self {
            side,
            deflates: false,
            sealing: Sealing::Off,
            signer: None,
            form: SealForm::Binary,
            message_bytes_max: 1 << 20,
            sealed_messages_max: 1 << 24,
            auth_failures_max: 3,
        }
    }
}

/// Everything between a message text and a frame, for one connection and one side.
///
/// Outbound: sign, deflate, seal. Inbound: open, inflate, check UTF-8 ([`inbound`](Self::inbound)), then the signature
/// ([`verify`](Self::verify)), then parse.
///
/// **Driving rule.** A server sends its first message with [`hello`](Self::hello), every later one with
/// [`outbound`](Self::outbound), in the order they reach the wire; a client hands every frame to `inbound` in the order
/// they arrive. After each `inbound` that gives a text, call `verify` with that text before parsing it. After a
/// [`LayerError`] close the connection with its code: a seal that failed once never opens or seals again.
#[derive(Debug)]
pub struct Layers {
    side: Side,
    deflates: bool,
    message_bytes_max: usize,
    sealed_messages_max: u64,
    form: SealForm,
    seal: Seal,
    signed: Option<Box<SignState>>,
    /// The newest inbound message is the hello in the clear, which nobody signed.
    clear_hello: bool,
    failures_left: u32,
}

#[derive(Debug)]
enum Seal {
    Off,
    On(Box<Sealer>),
    AwaitHello,
    AwaitKeys,
}

#[derive(Debug)]
struct SignState {
    signer: Signer,
    outbound: bool,
    inbound: Inbound,
}

/// What is asked of the next inbound message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inbound {
    Signed,
    /// Signed or not, and the first answer decides.
    Undecided,
    /// Signed or not until the first signed one.
    UntilSigned,
    Unsigned,
}

impl Layers {
    /// Layers as configured.
    #[must_use]
    pub fn new(config: LayersConfig) -> Self {
        let sealed = !matches!(config.sealing, Sealing::Off);
        let signed = config.signer.map(|signer| Box::new(SignState::new(signer, config.side, sealed)));
        let mut layers = Self {
            side: config.side,
            deflates: config.deflates,
            message_bytes_max: config.message_bytes_max,
            sealed_messages_max: config.sealed_messages_max,
            form: config.form,
            seal: Seal::Off,
            signed,
            clear_hello: false,
            failures_left: config.auth_failures_max,
        };
        match config.sealing {
            Sealing::Off => {}
            Sealing::Keys(keys) => layers.seal_with(keys),
            Sealing::AfterHello => layers.seal = Seal::AwaitHello,
        }
        layers
    }

    /// Text frames and nothing else.
    #[must_use]
    pub fn plain(side: Side, message_bytes_max: usize) -> Self {
        Self::new(LayersConfig { message_bytes_max, ..LayersConfig::new(side) })
    }

    /// Seals and opens with these keys from now on, counting from 0. For a client, once the hello is read.
    pub fn seal_with(&mut self, keys: SealKeys) {
        self.seal = Seal::On(Box::new(Sealer::new(keys, self.side, self.form, self.sealed_messages_max)));
    }

    /// Turns the server's first message into a frame: on a sealed session as it is, neither signed nor sealed, because
    /// the client has no keys before it; else like any other.
    ///
    /// # Errors
    ///
    /// As [`outbound`](Self::outbound).
    pub fn hello(
        &mut self,
        text: String,
        wall: WallMillis,
        entropy: impl FnOnce() -> Entropy,
    ) -> Result<Frame, LayerError> {
        if matches!(self.seal, Seal::Off) {
            return self.outbound(text, wall, entropy);
        }
        self.bounded(text.len())?;
        Ok(Frame::text(text))
    }

    /// Turns a message into a frame: signs it at `wall`, deflates it if that is worth it, seals it.
    ///
    /// `entropy` is called at most once, and not at all when nothing is signed or sealed.
    ///
    /// # Errors
    ///
    /// [`LayerError::TooBig`] when message or frame would pass the peer's limit, [`LayerError::Exhausted`] at the last
    /// sealed message, [`LayerError::Unsignable`] and [`LayerError::NoKeysYet`] on misuse. Nothing is counted then.
    pub fn outbound(
        &mut self,
        text: String,
        wall: WallMillis,
        entropy: impl FnOnce() -> Entropy,
    ) -> Result<Frame, LayerError> {
        let max = self.message_bytes_max;
        let signer = self.signed.as_ref().filter(|signed| signed.outbound).map(|signed| &signed.signer);
        let sealer = match &mut self.seal {
            Seal::Off => None,
            Seal::On(sealer) => Some(sealer),
            Seal::AwaitHello | Seal::AwaitKeys => return Err(LayerError::NoKeysYet),
        };
        let entropy = (signer.is_some() || sealer.is_some()).then(entropy);
        let text = match (signer, &entropy) {
            (Some(signer), Some(entropy)) => {
                sign_message(&signer.key, &signer.kid, self.side.outbound(), &entropy.nonce, wall, text)?
            }
            _ => text,
        };
        bounded(text.len(), max)?;
        match (sealer, &entropy) {
            (Some(sealer), Some(entropy)) => {
                let buffer = plaintext(&text, self.deflates);
                bounded(sealer.frame_len(buffer.len() - Sealer::TEXT_AT), max)?;
                sealer.seal(buffer, &entropy.iv)
            }
            _ => Ok(plain_frame(text, self.deflates)),
        }
    }

    /// Turns a frame into a message: opens it, inflates it within the limit, checks its UTF-8. Give the text to
    /// [`verify`](Self::verify) next.
    ///
    /// # Errors
    ///
    /// [`LayerError`], with the code to close with.
    pub fn inbound<'f>(&mut self, frame: &'f Frame) -> Result<Cow<'f, str>, LayerError> {
        self.bounded(frame.len())?;
        self.clear_hello = false;
        match &mut self.seal {
            Seal::Off => self.read_plain(frame),
            Seal::On(sealer) => {
                let plain = sealer.open(frame)?;
                self.read_opened(plain).map(Cow::Owned)
            }
            Seal::AwaitHello => {
                let text = frame.as_text().ok_or(LayerError::Unsealed)?;
                self.seal = Seal::AwaitKeys;
                self.clear_hello = true;
                Ok(Cow::Borrowed(text))
            }
            Seal::AwaitKeys => Err(LayerError::Unsealed),
        }
    }

    /// Checks the signature, the age and the novelty of the text that [`inbound`](Self::inbound) gave last. Parse the
    /// whole text then: its `auth` member is one more unknown member of the envelope.
    ///
    /// `clock` is the server's clock: its own on a server, on a client what it reckons from the hello. `admit` is
    /// asked last, only for a message whose signature is good and whose time is fresh; it gets key,
    /// nonce and timestamp, and is where a driver takes its lock and calls
    /// [`ReplayCache::admit`](super::ReplayCache::admit).
    ///
    /// # Errors
    ///
    /// [`AuthRefusal`]; the message is not to be acted on.
    pub fn verify(
        &mut self,
        text: &str,
        clock: WallMillis,
        freshness: &Freshness,
        admit: impl FnOnce(&KeyId, &[u8; 16], u64) -> Result<(), ReplayError>,
    ) -> Result<(), AuthRefusal> {
        let Some(signed) = &mut self.signed else { return Ok(()) };
        if self.clear_hello || !signed.wants_signed(text) {
            return Ok(());
        }
        let checked = signed.check(self.side, text, clock, freshness, admit);
        checked.map_err(|failure| self.refuse(failure))
    }

    /// Whether what this side sends next is signed.
    #[must_use]
    pub fn is_signing(&self) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.outbound)
    }

    fn refuse(&mut self, failure: AuthFailure) -> AuthRefusal {
        let counts = !failure.is_excused();
        if counts {
            self.failures_left = self.failures_left.saturating_sub(1);
        }
        let spent = self.side == Side::Client || (counts && self.failures_left == 0);
        let close = match failure {
            AuthFailure::CacheFull { .. } | AuthFailure::TooFast { .. } => {
                Close::new(Close::TRY_LATER, "too many messages")
            }
            _ => LayerError::Unsealed.close(),
        };
        AuthRefusal { failure, close: spent.then_some(close) }
    }

    fn read_plain<'f>(&self, frame: &'f Frame) -> Result<Cow<'f, str>, LayerError> {
        if frame.is_text() {
            return frame.as_text().map(Cow::Borrowed).ok_or(LayerError::Utf8);
        }
        if !self.deflates {
            return Err(LayerError::BinaryFrame);
        }
        inflate(frame.data(), self.message_bytes_max).and_then(into_text).map(Cow::Owned)
    }

    fn read_opened(&self, plain: Vec<u8>) -> Result<String, LayerError> {
        if self.deflates && plain.first() != Some(&b'{') {
            return inflate(&plain, self.message_bytes_max).and_then(into_text);
        }
        into_text(plain)
    }

    fn bounded(&self, len: usize) -> Result<(), LayerError> {
        bounded(len, self.message_bytes_max)
    }
}

impl SignState {
    fn new(mut signer: Signer, side: Side, sealed: bool) -> Self {
        if !sealed {
            signer.mode = Signing::Required;
        }
        let (outbound, inbound) = match (signer.mode, side) {
            (Signing::Required, _) => (true, Inbound::Signed),
            (Signing::IfPeerDoes, Side::Server) => (false, Inbound::Undecided),
            (Signing::IfPeerDoes, Side::Client) => (true, Inbound::UntilSigned),
        };
        Self { signer, outbound, inbound }
    }

    /// Whether this message has to be signed; the first of a peer may decide that for all.
    fn wants_signed(&mut self, text: &str) -> bool {
        match self.inbound {
            Inbound::Signed => return true,
            Inbound::Unsigned => return false,
            Inbound::Undecided | Inbound::UntilSigned => {}
        }
        let is_signed = find_tail(text).is_some();
        if is_signed {
            (self.inbound, self.outbound) = (Inbound::Signed, true);
        } else if self.inbound == Inbound::Undecided {
            self.inbound = Inbound::Unsigned;
        }
        is_signed
    }

    fn check(
        &self,
        side: Side,
        text: &str,
        clock: WallMillis,
        freshness: &Freshness,
        admit: impl FnOnce(&KeyId, &[u8; 16], u64) -> Result<(), ReplayError>,
    ) -> Result<(), AuthFailure> {
        let Signer { kid, key, .. } = &self.signer;
        let signed = verify_message(key, kid, side.inbound(), text)?;
        freshness.check(clock, signed.timestamp_ms)?;
        admit(kid, &signed.nonce, signed.timestamp_ms).map_err(|error| match error {
            ReplayError::Seen => AuthFailure::Replayed,
            ReplayError::TooFast { retry_after_ms } => AuthFailure::TooFast { retry_after_ms },
            ReplayError::Full { retry_after_ms } => AuthFailure::CacheFull { retry_after_ms },
        })
    }
}

/// The text behind room for the vector, deflated if that helps. What does not begin like JSON is always deflated,
/// since the first byte tells the two apart.
fn plaintext(text: &str, deflates: bool) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(Sealer::TEXT_AT + text.len() + 16);
    buffer.resize(Sealer::TEXT_AT, 0);
    let is_json = text.starts_with('{');
    let worth = deflates && (text.len() >= DEFLATE_BYTES_MIN || !is_json);
    let size = if is_json { Size::MustShrink } else { Size::MayGrow };
    if !(worth && deflate(text.as_bytes(), &mut buffer, size)) {
        buffer.extend_from_slice(text.as_bytes());
    }
    buffer
}

fn plain_frame(text: String, deflates: bool) -> Frame {
    let mut stream = Vec::new();
    if deflates && text.len() >= DEFLATE_BYTES_MIN && deflate(text.as_bytes(), &mut stream, Size::MustShrink)
    {
        return Frame::binary(stream);
    }
    Frame::text(text)
}

const fn bounded(len: usize, max: usize) -> Result<(), LayerError> {
    if len > max { Err(LayerError::TooBig { len, max }) } else { Ok(()) }
}

fn into_text(bytes: Vec<u8>) -> Result<String, LayerError> {
    String::from_utf8(bytes).map_err(|_| LayerError::Utf8)
}

#[cfg(test)]
mod tests;
