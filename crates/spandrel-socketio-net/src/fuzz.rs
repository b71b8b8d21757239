//! What foreign bytes reach here without a codec before them.

use crate::query::Query;

/// Any query can be read; what was read is text, and the transport's own parameters do not reach the application.
///
/// # Panics
///
/// When that does not hold.
pub fn fuzz_socketio_query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let query = Query::parse(&text);
    let room = query.get("roomId").map(str::to_owned);
    let kept = query.without_own();
    assert_eq!(kept.get("roomId"), room.as_deref(), "kept as it was");
    for own in ["EIO", "transport", "sid", "t", "b64", "j"] {
        assert_eq!(kept.get(own), None, "{own}");
    }
}
