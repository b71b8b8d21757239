//! Fixed names of the protocol: events, subprotocols, close codes, media types, part names.

use std::fmt;

use crate::{Codec, Format, Timestamp};

macro_rules! events {
    ($(#[$top:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $wire:literal,)* }) => {
        $(#[$top])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// The event called `name`.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|e| e.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

events! {
    /// Events a client may send (section 4).
    ClientEvent {
        /// Asks for a job.
        DownloadRequest = "download:request",
        /// Asks how things are.
        StatusCheck = "status:check",
        /// Ping or pong.
        ConnectionHealth = "connection:health",
        /// Stops a job and deletes its parts.
        DownloadCancel = "download:cancel",
        /// Holds a job.
        DownloadPause = "download:pause",
        /// Lets a held job go on.
        DownloadResume = "download:resume",
        /// Follows a job on this connection.
        DownloadAttach = "download:attach",
        /// Stops following a job on this connection.
        DownloadDetach = "download:detach",
    }
}

events! {
    /// Events a server may send (section 4).
    ServerEvent {
        /// A job was accepted, or attached to.
        DownloadStart = "download:start",
        /// How far jobs are; one update or several.
        DownloadProgress = "download:progress",
        /// A job is done; its files.
        DownloadComplete = "download:complete",
        /// A request was refused, or a job ended without files.
        DownloadError = "download:error",
        /// State of jobs and server.
        StatusUpdate = "status:update",
        /// A refusal that is about no job.
        SystemError = "system:error",
        /// Hello, ping or pong.
        ConnectionHealth = "connection:health",
    }
}

impl ClientEvent {
    /// The error event that refuses this one (section 11).
    pub const fn error_event(self) -> ServerEvent {
        match self {
            Self::StatusCheck | Self::ConnectionHealth => ServerEvent::SystemError,
            _ => ServerEvent::DownloadError,
        }
    }
}

impl ServerEvent {
    /// Whether it ends an attachment.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::DownloadComplete | Self::DownloadError)
    }
}

/// WebSocket subprotocol: the whole stack of layers in one name (section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subprotocol {
    /// Plain JSON in text frames.
    Json,
    /// JSON, or zlib in binary frames.
    Deflate,
    /// AES-256-GCM around JSON.
    Aes,
    /// AES-256-GCM around JSON or zlib.
    DeflateAes,
}

impl Subprotocol {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[Self::Json, Self::Deflate, Self::Aes, Self::DeflateAes];

    /// Name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "spandrel.download.v1+json",
            Self::Deflate => "spandrel.download.v1+json+deflate",
            Self::Aes => "spandrel.download.v1+json+aes256gcm",
            Self::DeflateAes => "spandrel.download.v1+json+deflate+aes256gcm",
        }
    }

    /// The subprotocol called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.as_str() == name)
    }

    /// First of the client's comma-separated `offer` that is in `supported`; `None` closes with
    /// [`CloseCode::NO_SUBPROTOCOL`].
    pub fn negotiate(offer: &str, supported: &[Self]) -> Option<Self> {
        offer.split(',').filter_map(|name| Self::parse(name.trim())).find(|p| supported.contains(p))
    }

    /// Whether binary frames may carry zlib.
    pub const fn has_deflate(self) -> bool {
        matches!(self, Self::Deflate | Self::DeflateAes)
    }

    /// Whether frames are sealed.
    pub const fn has_aes(self) -> bool {
        matches!(self, Self::Aes | Self::DeflateAes)
    }
}

impl fmt::Display for Subprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Close code of a connection (section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Normal end.
    pub const NORMAL: Self = Self(1000);
    /// Server going away.
    pub const GOING_AWAY: Self = Self(1001);
    /// Frame kind not allowed by the subprotocol.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Invalid UTF-8, or zlib that does not inflate.
    pub const INVALID_DATA: Self = Self(1007);
    /// Too many refused messages.
    pub const POLICY: Self = Self(1008);
    /// Message too big, inflated size included.
    pub const TOO_BIG: Self = Self(1009);
    /// Internal error.
    pub const INTERNAL: Self = Self(1011);
    /// Server restarting.
    pub const RESTART: Self = Self(1012);
    /// Too many connections, try later.
    pub const TRY_LATER: Self = Self(1013);
    /// Bad connection parameters.
    pub const BAD_PARAMETERS: Self = Self(4400);
    /// Authentication failed.
    pub const AUTH_FAILED: Self = Self(4401);
    /// No acceptable subprotocol.
    pub const NO_SUBPROTOCOL: Self = Self(4406);
    /// Heartbeat timeout.
    pub const HEARTBEAT: Self = Self(4408);
    /// Slow consumer.
    pub const SLOW_CONSUMER: Self = Self(4410);

    /// Whether a client should connect again. Codes outside the table (a lost connection, 1006, among them)
    /// say yes: the attempts are bounded anyway.
    pub const fn reconnects(self) -> bool {
        !matches!(self.0, 1000 | 1003 | 1007 | 1008 | 1009 | 4400 | 4401 | 4406)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Format {
    /// Name on the wire, extension of files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
        }
    }

    /// The format called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Csv, Self::Json, Self::Ndjson].into_iter().find(|f| f.as_str() == name)
    }

    /// Media type of an uncompressed part.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

impl Codec {
    /// Name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The codec called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Zstd].into_iter().find(|c| c.as_str() == name)
    }

    /// File name suffix.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// Media type of a part (section 7).
pub const fn media_type(format: Format, codec: Option<Codec>) -> &'static str {
    match codec {
        None => format.media_type(),
        Some(Codec::Gzip) => "application/gzip",
        Some(Codec::Zstd) => "application/zstd",
    }
}

/// Name of part `index` (from 1) of the range `[from, to)` (section 7): legal on every file system, sorts
/// correctly, does not depend on the clock.
pub fn part_file_name(
    dataset: &str,
    from: Timestamp,
    to: Timestamp,
    index: u32,
    format: Format,
    codec: Option<Codec>,
) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let dataset: String = dataset.chars().map(safe).collect();
    let (from, to) = (from.to_compact(), to.to_compact());
    let suffix = codec.map_or("", Codec::suffix);
    format!("{dataset}_{from}_{to}-part{index:05}.{}{suffix}", format.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_only_events_are_no_client_events() {
        for name in ["download:start", "connection:failed", "constructor", "", "Download:request"] {
            assert_eq!(ClientEvent::parse(name), None, "{name}");
        }
        for event in ClientEvent::ALL {
            assert_eq!(ClientEvent::parse(event.as_str()), Some(*event));
        }
        assert_eq!(ClientEvent::StatusCheck.error_event(), ServerEvent::SystemError);
        assert_eq!(ClientEvent::DownloadAttach.error_event(), ServerEvent::DownloadError);
    }

    #[test]
    fn the_clients_order_decides() {
        let both = [Subprotocol::Json, Subprotocol::Deflate];
        for (offer, want) in [
            ("", None),
            ("chat", None),
            (
                "nope.v9, spandrel.download.v1+json, spandrel.download.v1+json+deflate",
                Some(Subprotocol::Json),
            ),
            ("spandrel.download.v1+json+deflate,spandrel.download.v1+json", Some(Subprotocol::Deflate)),
            ("spandrel.download.v1+json+aes256gcm", None),
            ("SPANDREL.download.v1+json", None),
        ] {
            assert_eq!(Subprotocol::negotiate(offer, &both), want, "{offer}");
        }
    }

    #[test]
    fn close_codes_tell_whether_to_come_back() {
        for code in [1000, 1003, 1007, 1008, 1009, 4400, 4401, 4406] {
            assert!(!CloseCode(code).reconnects(), "{code}");
        }
        for code in [1001, 1005, 1006, 1011, 1012, 1013, 4408, 4410] {
            assert!(CloseCode(code).reconnects(), "{code}");
        }
    }

    #[test]
    fn part_names_are_safe() {
        let (from, to) =
            (Timestamp::from_millis(1_709_251_200_999), Timestamp::from_millis(1_709_337_600_000));
        assert_eq!(
            part_file_name("logs", from, to, 1, Format::Csv, None),
            "logs_20240301T000000Z_20240302T000000Z-part00001.csv"
        );
        assert_eq!(
            part_file_name("../é x", from, to, 100_000, Format::Ndjson, Some(Codec::Zstd)),
            "_____x_20240301T000000Z_20240302T000000Z-part100000.ndjson.zst"
        );
        assert_eq!(
            part_file_name("logs", from, to, 12_345, Format::Json, None),
            "logs_20240301T000000Z_20240302T000000Z-part12345.json"
        );
        assert_eq!(media_type(Format::Json, Some(Codec::Gzip)), "application/gzip");
    }
}
