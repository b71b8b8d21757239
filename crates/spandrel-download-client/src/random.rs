//! Random numbers of the system: ids, nonces, jitter.

use spandrel_download_protocol::RequestId;
use spandrel_session::Entropy;

use crate::ClientError;

/// Fills an array; without random numbers nothing may be signed or sealed.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| ClientError::NoRandom)?;
    Ok(bytes)
}

pub(crate) fn entropy() -> Result<Entropy, ClientError> {
    Ok(Entropy { nonce: bytes()?, iv: bytes()? })
}

/// Evenly drawn, for jitter; the middle when the system has none.
pub(crate) fn jitter() -> u32 {
    getrandom::u32().unwrap_or(1 << 31)
}

/// 32 hex digits: random enough to be new for each request.
pub(crate) fn request_id() -> RequestId {
    let words = [0; 4].map(|_: u32| getrandom::u32().unwrap_or_default());
    let text = words.iter().map(|w| format!("{w:08x}")).collect::<String>();
    RequestId::parse(&text).expect("hex digits are allowed")
}
