//! Sealed messages (section 13.3): AES-256-GCM in a binary and a JSON form.

use bytes::Bytes;
use spandrel_crypto::{
    IV_LEN, SEAL_TAG_LEN, SealKey, SealTag, SecretKey, decode_base64url, decode_base64url_array, derive,
    push_base64url,
};
use spandrel_wire::{Frame, Kind};

use super::{Direction, LABEL, LayerError, Side};

/// The two keys of one sealed connection. `Debug` prints no key.
#[derive(Debug, Clone)]
pub struct SealKeys {
    c2s: SealKey,
    s2c: SealKey,
}

impl SealKeys {
    /// Derives the keys of a connection from the shared secret and the nonces of both sides, so that no frame of
    /// another connection opens on this one.
    #[must_use]
    pub fn derive(secret: &SecretKey, client_nonce: &[u8; 16], server_nonce: &[u8; 16]) -> Self {
        let salt = [*client_nonce, *server_nonce].concat();
        let key = |info: &[u8]| SealKey::new(&derive(secret, &salt, info));
        Self { c2s: key(b"aes c2s"), s2c: key(b"aes s2c") }
    }
}

/// How a sealed message is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SealForm {
    /// Binary frame: vector, ciphertext, tag.
    #[default]
    Binary,
    /// Text frame: a JSON object with `encrypted`, `iv` and `tag` in base64url.
    Json,
}

/// Seals and opens the messages of one side, counting both directions.
#[derive(Debug)]
pub(super) struct Sealer {
    keys: SealKeys,
    side: Side,
    sent: u64,
    received: u64,
    messages_max: u64,
    pub(super) form: SealForm,
    broken: bool,
}

impl Sealer {
    pub(super) const fn new(keys: SealKeys, side: Side, form: SealForm, messages_max: u64) -> Self {
        Self { keys, side, sent: 0, received: 0, messages_max, form, broken: false }
    }

    /// Where the text has to begin in the buffer given to [`seal`](Self::seal).
    pub(super) const TEXT_AT: usize = IV_LEN;

    /// Bytes of the frame for a text of this length.
    pub(super) const fn frame_len(&self, text: usize) -> usize {
        match self.form {
            SealForm::Binary => IV_LEN + text + SEAL_TAG_LEN,
            SealForm::Json => JSON_FIXED + base64_len(text),
        }
    }

    /// Seals what lies in `buffer` behind room for the vector.
    pub(super) fn seal(&mut self, mut buffer: Vec<u8>, iv: &[u8; IV_LEN]) -> Result<Frame, LayerError> {
        if self.broken {
            return Err(LayerError::Unsealed);
        }
        if self.sent >= self.messages_max {
            return Err(LayerError::Exhausted { max: self.messages_max });
        }
        let to = self.side.outbound();
        let (head, text) = buffer.split_at_mut_checked(IV_LEN).ok_or(LayerError::Unsealed)?;
        head.copy_from_slice(iv);
        let tag = self.keys.of(to).seal(iv, &aad(to, self.sent), text).map_err(|_| LayerError::Unsealed)?;
        self.sent += 1;
        Ok(match self.form {
            SealForm::Binary => {
                buffer.extend_from_slice(&tag);
                Frame::binary(buffer)
            }
            SealForm::Json => Frame::text(write_json(text, iv, &tag)),
        })
    }

    /// Opens a frame. After one that does not open, none does.
    pub(super) fn open(&mut self, frame: &Frame) -> Result<Vec<u8>, LayerError> {
        if self.broken {
            return Err(LayerError::Unsealed);
        }
        if self.received >= self.messages_max {
            return Err(LayerError::Exhausted { max: self.messages_max });
        }
        let opened = self.try_open(frame);
        match &opened {
            Some(_) => self.received += 1,
            None => self.broken = true,
        }
        opened.ok_or(LayerError::Unsealed)
    }

    fn try_open(&mut self, frame: &Frame) -> Option<Vec<u8>> {
        let (form, (mut text, iv, tag)) = match frame.kind() {
            Kind::Binary => (SealForm::Binary, read_binary(frame.data())?),
            Kind::Text => (SealForm::Json, read_json(frame.as_text()?)?),
        };
        let from = self.side.inbound();
        self.keys.of(from).open(&iv, &aad(from, self.received), &mut text, &tag).ok()?;
        if self.side == Side::Server {
            self.form = form;
        }
        Some(text)
    }
}

impl SealKeys {
    const fn of(&self, direction: Direction) -> &SealKey {
        match direction {
            Direction::ClientToServer => &self.c2s,
            Direction::ServerToClient => &self.s2c,
        }
    }
}

const AAD_LEN: usize = LABEL.len() + 13;

/// Label, direction and number of the message, so that a frame opens in its own place only.
fn aad(direction: Direction, n: u64) -> [u8; AAD_LEN] {
    let mut aad = [0; AAD_LEN];
    let parts = [LABEL.as_bytes(), &[0], direction.as_str().as_bytes(), &[0], &n.to_be_bytes()];
    for (to, from) in aad.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    aad
}

/// Ciphertext, vector and tag.
pub(crate) type Parts = (Vec<u8>, [u8; IV_LEN], SealTag);

fn read_binary(data: &Bytes) -> Option<Parts> {
    let (iv, rest) = data.split_first_chunk::<IV_LEN>()?;
    let (text, tag) = rest.split_last_chunk::<SEAL_TAG_LEN>()?;
    Some((text.to_vec(), *iv, *tag))
}

const MEMBERS: [&str; 3] = ["encrypted", "iv", "tag"];
const JSON_FIXED: usize =
    r#"{"encrypted":"","iv":"","tag":""}"#.len() + base64_len(IV_LEN) + base64_len(SEAL_TAG_LEN);

const fn base64_len(bytes: usize) -> usize {
    bytes / 3 * 4 + (bytes % 3 * 4).div_ceil(3)
}

pub(crate) fn write_json(text: &[u8], iv: &[u8; IV_LEN], tag: &SealTag) -> String {
    let mut json = String::with_capacity(JSON_FIXED + base64_len(text.len()));
    for ((open, bytes), close) in [("{\"encrypted\":\"", text), ("\"iv\":\"", iv), ("\"tag\":\"", tag)]
        .into_iter()
        .zip(["\",", "\",", "\"}"])
    {
        json.push_str(open);
        push_base64url(bytes, &mut json);
        json.push_str(close);
    }
    json
}

/// Reads an object of exactly the three members, each once, in any order.
pub(crate) fn read_json(text: &str) -> Option<Parts> {
    let [encrypted, iv, tag] = read_members(text)?;
    let (iv, tag) = (decode_base64url_array(iv).ok()?, decode_base64url_array(tag).ok()?);
    Some((decode_base64url(encrypted).ok()?, iv, tag))
}

fn read_members(text: &str) -> Option<[&str; 3]> {
    let mut values = [None; 3];
    let mut rest = text.strip_prefix('{')?;
    for end in [',', ',', '}'] {
        let (name, after) = read_string(rest)?;
        let (value, after) = read_string(skip_space(after).strip_prefix(':')?)?;
        let at = MEMBERS.iter().position(|member| *member == name)?;
        *values.get_mut(at)? = Some(value); // one twice is another missing
        rest = skip_space(after).strip_prefix(end)?;
    }
    let [encrypted, iv, tag] = values;
    skip_space(rest).is_empty().then_some([encrypted?, iv?, tag?])
}

/// A JSON string without escapes: neither the names nor base64url need any.
fn read_string(text: &str) -> Option<(&str, &str)> {
    let (string, rest) = skip_space(text).strip_prefix('"')?.split_once('"')?;
    let is_plain = string.bytes().all(|byte| byte >= b' ' && byte != b'\\');
    is_plain.then_some((string, rest))
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

#[cfg(test)]
mod tests;
