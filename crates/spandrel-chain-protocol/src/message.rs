//! What peers say to each other, as two closed sets.

mod coin;
mod note;

pub use coin::{CoinMessage, Ignored};
pub use note::NoteMessage;

use std::borrow::Cow;

use crate::FormError;
use crate::json::{Reader, once};

const WHAT: &str = "message";

/// Reads `{"type":…,"payload":…}` in one pass when the type comes first, as it does in every known program; otherwise
/// the payload is looked at twice. Other members are ignored.
fn read_pair<'a, K: Copy, M>(
    reader: &mut Reader<'a>,
    kind: impl Fn(&mut Reader<'a>) -> Result<K, FormError>,
    payload: impl Fn(&mut Reader<'a>, K) -> Result<M, FormError>,
    missing: impl Fn(K) -> Result<M, FormError>,
) -> Result<M, FormError> {
    let (mut read_kind, mut message, mut later) = (None, None, None);
    reader.object(WHAT, |r, key: Cow<'a, str>| match &*key {
        "type" => once(&mut read_kind, WHAT, "type", kind(r)),
        "payload" => match read_kind {
            _ if later.is_some() => Err(FormError::Repeated { object: WHAT, member: "payload".to_owned() }),
            Some(kind) => once(&mut message, WHAT, "payload", payload(r, kind)),
            None => {
                later = Some(r.fork());
                r.skip().map(drop)
            }
        },
        _ => r.skip().map(drop),
    })?;
    let Some(kind) = read_kind else { return Err(FormError::Missing { object: WHAT, member: "type" }) };
    match (message, later) {
        (Some(message), None) => Ok(message),
        (None, Some(mut at)) => payload(&mut at, kind),
        (Some(_), Some(_)) => Err(FormError::Repeated { object: WHAT, member: "payload".to_owned() }),
        (None, None) => missing(kind),
    }
}
