//! Signed messages (section 13.2): a tail of fixed form, an HMAC over the raw bytes before it.

use spandrel_crypto::{
    HmacTag, SecretKey, decode_base64url_array, derive, encode_base64url, push_base64url, sign, verify,
};
use spandrel_wire::WallMillis;

use super::{AuthFailure, Direction, KeyId, LABEL, LayerError};

const AUTH: &str = ",\"auth\":{";
const TOKEN: &str = "\"token\":\"";
const TIMESTAMP: &str = "\",\"timestamp\":";
const SIGNATURE: &str = ",\"signature\":\"";
const END: &str = "\"}}";

/// Most bytes a signature adds to a message.
const TAIL_BYTES_MAX: usize =
    AUTH.len() + TOKEN.len() + KeyId::LEN_MAX + 23 + TIMESTAMP.len() + 16 + SIGNATURE.len() + 43 + END.len();

/// Derives the key that signs messages from the secret both sides share.
#[must_use]
pub fn signing_key(secret: &SecretKey) -> SecretKey {
    derive(secret, LABEL.as_bytes(), b"sign")
}

/// How old or how far ahead a signed message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Most milliseconds between the clock and the timestamp, either way, 30,000. `u64::MAX` takes any age: what a
    /// client has to do with the hello of a signed session, from which it learns the server's clock.
    pub window_ms: u64,
    /// Earlier timestamps are refused, milliseconds since 1970. A server sets its start here, since it has forgotten
    /// the nonces of before; it may also set the highest time it has seen when its clock was turned back.
    pub since: WallMillis,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { window_ms: 30_000, since: WallMillis::new(0) }
    }
}

impl Freshness {
    /// Takes any age.
    #[must_use]
    pub const fn any() -> Self {
        Self { window_ms: u64::MAX, since: WallMillis::new(0) }
    }

    /// Whether a message of this timestamp is fresh at this time.
    ///
    /// # Errors
    ///
    /// [`AuthFailure::Expired`] when it is too old, too far ahead, or older than `since`.
    pub fn check(&self, clock: WallMillis, timestamp_ms: u64) -> Result<(), AuthFailure> {
        let fresh = clock.get().abs_diff(timestamp_ms) <= self.window_ms && timestamp_ms >= self.since.get();
        if fresh { Ok(()) } else { Err(AuthFailure::Expired { server_time_ms: clock.get() }) }
    }
}

/// A message whose signature is good. Whether it is fresh and new is still to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'t> {
    /// The signed text: the message without its `auth` member and without its final brace.
    pub head: &'t str,
    /// The nonce, once per message.
    pub nonce: [u8; 16],
    /// When it was signed on the sender's clock, milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// Adds the `auth` member to a message.
///
/// # Errors
///
/// [`LayerError::Unsignable`] unless the text looks like a JSON object with a member.
pub fn sign_message(
    key: &SecretKey,
    kid: &KeyId,
    direction: Direction,
    nonce: &[u8; 16],
    timestamp: WallMillis,
    mut text: String,
) -> Result<String, LayerError> {
    if !text.starts_with('{') || text.len() < 3 || text.pop() != Some('}') {
        return Err(LayerError::Unsignable);
    }
    let token = format!("{kid}.{}", encode_base64url(nonce));
    let timestamp = timestamp.get().to_string();
    let tag = mac(&token, &timestamp, &text, direction, |parts| sign(key, parts));
    text.reserve_exact(TAIL_BYTES_MAX);
    for part in [AUTH, TOKEN, &token, TIMESTAMP, &timestamp, SIGNATURE] {
        text.push_str(part);
    }
    push_base64url(&tag, &mut text);
    text.push_str(END);
    Ok(text)
}

/// Checks that a message was signed with this key for this direction, in constant time where it matters.
///
/// The last `,"auth":{` of the text begins the tail; what stands before it is what was signed.
///
/// # Errors
///
/// [`AuthFailure::Required`] without such a tail; [`AuthFailure::Invalid`] for another spelling of it, another key id
/// or another signature.
pub fn verify_message<'t>(
    key: &SecretKey,
    kid: &KeyId,
    direction: Direction,
    text: &'t str,
) -> Result<Signed<'t>, AuthFailure> {
    let at = find_tail(text).ok_or(AuthFailure::Required)?;
    let (head, tail) = text.split_at_checked(at).ok_or(AuthFailure::Required)?;
    let tail = Tail::read(tail).filter(|tail| tail.kid == kid.as_str()).ok_or(AuthFailure::Invalid)?;
    mac(tail.token, tail.timestamp, head, direction, |parts| verify(key, parts, &tail.signature))
        .map_err(|_| AuthFailure::Invalid)?;
    Ok(Signed { head, nonce: tail.nonce, timestamp_ms: tail.timestamp_ms })
}

/// Where the tail of a signed message begins; `None` for one that is not signed.
pub(super) fn find_tail(text: &str) -> Option<usize> {
    text.rfind(AUTH)
}

/// Hands the signed parts over in their order; no part can hold the line ends between them but the last.
fn mac<T>(token: &str, time: &str, head: &str, to: Direction, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    let parts = [LABEL, "\n", to.as_str(), "\n", token, "\n", time, "\n", head].map(str::as_bytes);
    with(&parts)
}

struct Tail<'t> {
    token: &'t str,
    kid: &'t str,
    nonce: [u8; 16],
    timestamp: &'t str,
    timestamp_ms: u64,
    signature: HmacTag,
}

impl<'t> Tail<'t> {
    /// Reads the one spelling there is.
    fn read(tail: &'t str) -> Option<Self> {
        let rest = tail.strip_prefix(AUTH)?.strip_prefix(TOKEN)?;
        let (token, rest) = rest.split_once(TIMESTAMP)?;
        let (timestamp, rest) = rest.split_once(SIGNATURE)?;
        let signature = rest.strip_suffix(END)?;
        let (kid, nonce) = token.split_once('.')?;
        Some(Self {
            token,
            kid,
            nonce: decode_base64url_array(nonce).ok()?,
            timestamp,
            timestamp_ms: read_timestamp(timestamp)?,
            signature: decode_base64url_array(signature).ok()?,
        })
    }
}

/// `0` or up to 16 digits without a leading zero.
fn read_timestamp(text: &str) -> Option<u64> {
    let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
