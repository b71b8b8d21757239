//! The channel a Node parent opens to its child (`child_process.fork`).

use std::env;

use bytes::BytesMut;
use serde::Deserialize;
use spandrel_transport::{ByteStream, Driver, Limits, Link, Peer};
use spandrel_wire::{Codec, Frame, LinesCodec, OutBuf, WireError};
use tokio::net::UnixStream;

use crate::{IpcError, error::shown, inherited::take_unix_socket};

/// Makes a link of the channel a Node parent opened: its descriptor is named in `NODE_CHANNEL_FD`. The parent's
/// `disconnect`, or its end, is the close in good order; a parent killed with messages unread may show as
/// [`Gone`](spandrel_transport::LinkError::Gone) instead. Needs a running runtime with I/O enabled.
///
/// # Errors
///
/// When the parent opened none, wants another serialization than `json`, or the channel is taken already.
pub fn node_channel(limits: &Limits) -> Result<Box<dyn Link>, IpcError> {
    Ok(link(stream()?, limits))
}

pub(crate) fn stream() -> Result<UnixStream, IpcError> {
    let variable = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let number = variable("NODE_CHANNEL_FD").ok_or(IpcError::NoChannel)?;
    let fd = descriptor(&number, variable("NODE_CHANNEL_SERIALIZATION_MODE").as_deref())?;
    let stream = take_unix_socket(fd)?;
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?)
}

pub(crate) fn link(stream: impl ByteStream + 'static, limits: &Limits) -> Box<dyn Link> {
    Box::new(Driver::new(stream, NodeCodec::new(limits), Peer::new("node"), limits))
}

/// Reads what the parent says about its channel.
fn descriptor(number: &str, mode: Option<&str>) -> Result<i32, IpcError> {
    if let Some(mode) = mode.filter(|mode| *mode != "json") {
        return Err(IpcError::Serialization { mode: shown(mode) });
    }
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let fd = is_number.then(|| number.parse().ok()).flatten().filter(|fd| *fd >= 3);
    fd.ok_or_else(|| IpcError::Number { found: shown(number) })
}

/// Codec of the channel: JSON lines, without those the runtime sends itself (objects whose `cmd` is a string that begins
/// with `NODE_`).
#[derive(Debug, Clone)]
pub struct NodeCodec {
    lines: LinesCodec,
}

impl NodeCodec {
    /// Makes a codec with the frame limit of `limits`, and what they say of long lines.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self { lines: LinesCodec::new(limits) }
    }
}

impl Codec for NodeCodec {
    fn decode(
        &mut self,
        src: &mut BytesMut,
        eof: bool,
        out: &mut OutBuf,
    ) -> Result<Option<Frame>, WireError> {
        loop {
            match self.lines.decode(src, eof, out)? {
                Some(frame) if is_of_the_runtime(frame.data()) => {}
                frame_or_none => return Ok(frame_or_none),
            }
        }
    }

    fn encode(&mut self, frame: Frame, out: &mut OutBuf) -> Result<(), WireError> {
        self.lines.encode(frame, out)
    }

    fn read_hint(&self) -> usize {
        self.lines.read_hint()
    }

    fn is_mid_frame(&self) -> bool {
        self.lines.is_mid_frame()
    }

    fn activity(&self) -> u64 {
        self.lines.activity()
    }

    fn dropped(&self) -> u64 {
        self.lines.dropped()
    }
}

/// Is it one of Node's own? Nearly all lines are told apart without parsing them.
fn is_of_the_runtime(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Internal {
        cmd: String,
    }
    // Read as members of a structure an array would fit too.
    line.trim_ascii_start().starts_with(b"{")
        && memchr::memmem::find(line, b"NODE_").is_some()
        && serde_json::from_slice::<Internal>(line).is_ok_and(|it| it.cmd.starts_with("NODE_"))
}

#[cfg(test)]
mod tests {
    use spandrel_transport::LongLines;

    use super::*;

    #[test]
    fn what_the_parent_says_is_checked() {
        for (number, mode, want) in [("3", None, Some(3)), ("12", Some("json"), Some(12))] {
            assert_eq!(descriptor(number, mode).ok(), want, "{number}, {mode:?}");
        }
        for number in ["", "2", "0", "-1", "+3", "3 ", "0x3", "99999999999"] {
            assert!(matches!(descriptor(number, None), Err(IpcError::Number { .. })), "{number:?}");
        }
        let advanced = descriptor("3", Some("advanced"));
        assert!(matches!(advanced, Err(IpcError::Serialization { mode }) if mode == "advanced"));
    }

    #[test]
    fn messages_of_the_runtime_are_passed_over() {
        let lines = [
            (r#"{"cmd":"NODE_HANDLE","type":"net.Socket"}"#, false),
            (r#" { "x" : [1], "cmd" : "NODE_" }"#, false),
            (r#"{"cmd":"NODE"}"#, true),
            (r#"{"value":"NODE_HANDLE"}"#, true),
            (r#"{"value":{"cmd":"NODE_HANDLE"}}"#, true),
            (r#"{"cmd":["NODE_HANDLE"]}"#, true),
            (r#"["NODE_HANDLE"]"#, true),
            ("NODE_HANDLE", true),
            (r#"{"key":"a"}"#, true),
        ];
        let mut codec = NodeCodec::new(&Limits::default());
        let text: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
        let (mut src, mut out, mut got) = (BytesMut::from(text.as_bytes()), OutBuf::new(), Vec::new());
        while let Some(frame) = codec.decode(&mut src, true, &mut out).unwrap() {
            got.push(frame.as_text().unwrap().to_owned());
        }
        let want: Vec<_> = lines.iter().filter(|(_, passes)| *passes).map(|(line, _)| *line).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_long_line_is_passed_over_where_that_is_wanted() {
        let limits = Limits::default().with_frame_bytes_max(12).with_long_lines(LongLines::Skip);
        let text = "{\"key\":\"a\"}\n{\"key\":\"long\"}\n{\"cmd\":\"NODE_LONG\"}\n{\"key\":\"b\"}\n";
        let mut codec = NodeCodec::new(&limits);
        let (got, end) = spandrel_wire::fuzz::run(&mut codec, text.as_bytes().chunks(5));
        assert_eq!((got, end), (vec![Frame::text("{\"key\":\"a\"}"), Frame::text("{\"key\":\"b\"}")], None));
        assert_eq!(codec.dropped(), 2);
    }

    proptest::proptest! {
        /// Lines come out the same however the bytes are cut, and no bytes make it panic.
        #[test]
        fn prop_split_anywhere_gives_the_same_lines(
            parts in proptest::collection::vec("(\\{\"cmd\": ?\"NODE_[A-Z]{0,3}\"\\}|[a-z{\"\\[é]{0,9}|\\n|\\r\\n)", 0..20),
            noise: Vec<u8>,
        ) {
            crate::fuzz::fuzz_node_lines(parts.concat().as_bytes());
            crate::fuzz::fuzz_node_lines(&noise);
        }
    }
}
