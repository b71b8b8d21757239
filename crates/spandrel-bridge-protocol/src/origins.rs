//! The origin list: which pages may talk to a bridge (hardware bridge protocol, section 9).
//!
//! Text is compared part by part, never by prefix or suffix: `https://playentry.org.evil.example` and
//! `https://evilplayentry.org` are neither the official site nor below it.

use std::fmt;

use spandrel_wire::{Host, Origin};

use crate::shown::Shown;

/// The longest `Origin` and `Host` that are read, in bytes: a DNS name has at most 253, the rest is scheme and port. What
/// is longer is treated as unreadable.
pub const NAME_BYTES_MAX: usize = 512;

/// Where the official site runs, pages of this machine, and pages that a desktop shell opened from disk.
const DEFAULT: &str = "https://playentry.org,*.playentry.org,loopback,file";

/// An origin list that cannot be meant. Refuse to start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginsError {
    /// An entry is of no known form. Mend or remove it.
    #[error(
        "origin entry {entry} is not understood{hint}; an entry is https://host or http://host:port (no path), *.host, loopback, file, null, default or *"
    )]
    Entry {
        /// The entry, escaped and shortened.
        entry: Shown,
        /// What is probably meant, or nothing; begins with a separator.
        hint: &'static str,
    },
}

/// What one entry of the list admits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Exactly this scheme, host and port.
    Exact(Origin),
    /// https on its default port, one or more labels before this name.
    Below(String),
    /// http and https of this machine, any port.
    Loopback,
    /// What a page opened from disk sends: `file://`.
    File,
    /// `null`, which a sandboxed frame on any page sends as well.
    Null,
    /// Anything.
    Any,
}

/// The origin list. Pure data; [`Default`] admits the official site, loopback pages and pages from disk.
///
/// ```
/// use spandrel_bridge_protocol::{OriginHeader, Origins};
///
/// let origins = Origins::parse("default, https://school.example:8443")?;
/// let admits = |text: &str| origins.admits(&OriginHeader::read(text.as_bytes()));
/// assert!(admits("https://school.example:8443") && admits("https://a.playentry.org") && admits("http://localhost:3000"));
/// assert!(!admits("https://school.example") && !admits("http://a.playentry.org") && !admits("null"));
/// # Ok::<(), spandrel_bridge_protocol::OriginsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    entries: Vec<Entry>,
}

impl Default for Origins {
    fn default() -> Self {
        Self::parse(DEFAULT).unwrap_or(Self { entries: Vec::new() })
    }
}

impl Origins {
    /// Reads a comma list; spaces around entries are ignored.
    ///
    /// # Errors
    ///
    /// Names the first entry that is of no known form; an empty one is none.
    pub fn parse(list: &str) -> Result<Self, OriginsError> {
        Self::of_entries(list.split(','))
    }

    /// Takes entries one by one. None at all is a list that admits no page; programs still come in.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn of_entries<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Result<Self, OriginsError> {
        let mut entries = Vec::new();
        for text in list {
            let text = text.as_ref().trim_matches([' ', '\t']);
            if text.eq_ignore_ascii_case("default") {
                entries.extend(Self::default().entries);
            } else {
                entries.push(Entry::parse(text)?);
            }
        }
        Ok(Self { entries })
    }

    /// Whether a page of this origin may come in.
    #[must_use]
    pub fn admits(&self, origin: &OriginHeader) -> bool {
        self.entries.iter().any(|entry| entry.admits(origin))
    }

    /// Whether the list holds `*`: then any origin, any `Host` and any `Sec-Fetch-Site` is admitted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.entries.contains(&Entry::Any)
    }
}

impl fmt::Display for Origins {
    /// Writes the list as [`parse`](Origins::parse) reads it, `default` spelled out. Empty for the empty list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, entry) in self.entries.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match entry {
                Entry::Exact(origin) => origin.fmt(f)?,
                Entry::Below(name) => write!(f, "*.{name}")?,
                Entry::Loopback => f.write_str("loopback")?,
                Entry::File => f.write_str("file")?,
                Entry::Null => f.write_str("null")?,
                Entry::Any => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, OriginsError> {
        for (word, entry) in
            [("loopback", Self::Loopback), ("file", Self::File), ("null", Self::Null), ("*", Self::Any)]
        {
            if text.eq_ignore_ascii_case(word) {
                return Ok(entry);
            }
        }
        let wrong = || OriginsError::Entry { entry: Shown::new(text.as_bytes()), hint: hint(text) };
        if text.len() > NAME_BYTES_MAX {
            return Err(wrong());
        }
        if let Some(name) = text.strip_prefix("*.") {
            return match Host::parse(name) {
                Some(Host::Name(name)) => Ok(Self::Below(name)),
                _ => Err(wrong()),
            };
        }
        Origin::parse(text).map(Self::Exact).ok_or_else(wrong)
    }

    fn admits(&self, header: &OriginHeader) -> bool {
        match (self, header) {
            (Self::Any, _) | (Self::File, OriginHeader::File) | (Self::Null, OriginHeader::Null) => true,
            (Self::Exact(own), OriginHeader::Of(origin)) => own == origin,
            (Self::Below(name), OriginHeader::Of(origin)) => {
                origin.scheme() == "https" && origin.port() == Some(443) && is_below(origin.host(), name)
            }
            (Self::Loopback, OriginHeader::Of(origin)) => {
                matches!(origin.scheme(), "http" | "https") && is_this_machine(origin.host())
            }
            _ => false,
        }
    }
}

/// Whether whole labels stand before `name`.
fn is_below(host: &Host, name: &str) -> bool {
    let Host::Name(host) = host else { return false };
    host.strip_suffix(name).is_some_and(|front| front.ends_with('.'))
}

/// `localhost`, `127.0.0.1` or `[::1]`, and no other address of the loopback network: pages are not served from those.
fn is_this_machine(host: &Host) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| Host::parse(own).as_ref() == Some(host))
}

/// What people write when they mean something else.
fn hint(text: &str) -> &'static str {
    if text.is_empty() {
        ": it is empty"
    } else if !text.is_ascii() {
        ": write the name in ASCII (xn--...)"
    } else if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("file:")) {
        ": pages from disk are the entry file"
    } else if text.contains("://*.") {
        ": write *.host without a scheme, it is https"
    } else if text.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) {
        ": leave out the path, / included"
    } else if !text.contains("://") && !text.contains('*') {
        ": a host needs its scheme, as in https://host"
    } else {
        ""
    }
}

/// The value of an `Origin` header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginHeader {
    /// `scheme://host[:port]`
    Of(Origin),
    /// `file://`
    File,
    /// `null`
    Null,
    /// Empty, sent twice, too long, or of no such form: matches nothing but `*`.
    Unreadable,
}

impl OriginHeader {
    /// Reads the bytes of one header.
    #[must_use]
    pub fn read(value: &[u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok("null") => Self::Null,
            Ok(text) if text.eq_ignore_ascii_case("file://") => Self::File,
            Ok(text) if text.len() <= NAME_BYTES_MAX => {
                // An origin of scheme file has no host; one that has is made up.
                Origin::parse(text).filter(|o| o.scheme() != "file").map_or(Self::Unreadable, Self::Of)
            }
            _ => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests;
