//! Who may connect: the rules of section 9 of the hardware bridge protocol, on facts of one request.
//!
//! A browser lets any page on the web talk to this machine, so every request is judged before a session exists, and
//! again on each request of a session. The order of the rules decides only which refusal is told.

use std::fmt;

use spandrel_crypto::Token;
use spandrel_wire::{Authority, Host, Origin};

use crate::origins::{NAME_BYTES_MAX, OriginHeader, Origins};
use crate::shown::Shown;

/// Names under which a bridge is reached. Any other means that a foreign name was made to lead here.
const HOSTS: [&str; 4] = ["127.0.0.1", "localhost", "hw.playentry.org", "hardware.playentry.org"];

/// A header as it came: the difference between absent, empty and doubled counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header<'a> {
    /// Not sent.
    #[default]
    Missing,
    /// Sent once.
    One(&'a [u8]),
    /// Sent more than once.
    Many,
}

impl<'a> Header<'a> {
    /// Takes the values of all headers of one name.
    pub fn of(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Missing,
            (Some(value), None) => Self::One(value),
            (Some(_), Some(_)) => Self::Many,
        }
    }

    fn is_there(self) -> bool {
        self != Self::Missing
    }

    fn shown(self) -> Shown {
        match self {
            Self::Missing => Shown::new(b""),
            Self::One(value) => Shown::new(value),
            Self::Many => Shown::new(b"(sent more than once)"),
        }
    }
}

/// What a request says of where it comes from. What is not told counts as absent.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// `Host`, or the authority of a request whose target is a whole URL.
    pub host: Header<'a>,
    /// `Origin`, which browsers add and pages cannot change.
    pub origin: Header<'a>,
    /// `Sec-Fetch-Site`, likewise.
    pub sec_fetch_site: Header<'a>,
    /// Whether the query has `childServer=true`: the sender says that it is a hardware program. Read it exactly as
    /// whoever treats it as one later.
    pub is_child_server: bool,
    /// `token` of the query, percent-decoded.
    pub token: Option<&'a str>,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("host", &self.host.shown())
            .field("origin", &self.origin.shown())
            .field("sec_fetch_site", &self.sec_fetch_site.shown())
            .field("is_child_server", &self.is_child_server)
            .field("token", &self.token.map(|_| ".."))
            .finish()
    }
}

/// As what a request comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// From a browser.
    Page,
    /// From a program that behaves like a page: a test, a script.
    Program,
    /// From a hardware program that joins this host.
    ChildServer,
}

/// Why a request is refused, always with 403. [`Display`](fmt::Display) is one line for the log: what came, escaped and
/// shortened, and which setting would admit it. It never holds a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Reached under a foreign name: a web page made its own name lead here.
    #[error(
        "refused a request for host {host}: it is reached as 127.0.0.1, localhost, hw.playentry.org or hardware.playentry.org only; the entry * in origins (SPANDREL_HW_ORIGINS) admits any"
    )]
    Host {
        /// What came.
        host: Shown,
    },
    /// No `Host` at all, or more than one.
    #[error(
        "refused a request {}: expected exactly one; the entry * in origins (SPANDREL_HW_ORIGINS) admits it",
        if *.is_doubled { "with several hosts" } else { "without host" }
    )]
    NoHost {
        /// More than one came.
        is_doubled: bool,
    },
    /// A page says that it is a hardware program.
    #[error(
        "refused childServer from a browser (origin {origin}): only programs may join, no setting admits it"
    )]
    Pretender {
        /// What came; empty when the browser sent none.
        origin: Shown,
    },
    /// The page's origin is not in the list.
    #[error(
        "refused origin {origin}: it is not in the list; origins (SPANDREL_HW_ORIGINS) set to {list} admits it{risk}"
    )]
    Origin {
        /// What came.
        origin: Shown,
        /// The list with the narrowest entry that admits it.
        list: String,
        /// What else that entry admits, or nothing; begins with a separator.
        risk: &'static str,
    },
    /// A browser asks for a page of another site and says no origin: an image, a script, a frame.
    #[error(
        "refused a request without origin from another site (sec-fetch-site {site}); the entry * in origins (SPANDREL_HW_ORIGINS) admits it"
    )]
    Site {
        /// What came.
        site: Shown,
    },
    /// A pairing token is set, and this page does not know it.
    #[error(
        "refused origin {origin}: {} pairing token; give the page the one of the setting token (SPANDREL_HW_TOKEN), or unset that",
        if *.is_missing { "it sends no" } else { "it sends another" }
    )]
    Token {
        /// What came.
        origin: Shown,
        /// No token came, as opposed to a wrong one.
        is_missing: bool,
    },
}

/// Decides whether a request may come in. One value for the life of a bridge.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    origins: Origins,
    token: Option<Token>,
}

impl Rules {
    /// Takes the origin list; no pairing token.
    #[must_use]
    pub const fn new(origins: Origins) -> Self {
        Self { origins, token: None }
    }

    /// Asks every page for this token as well. Programs are not asked.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// The origin list.
    #[must_use]
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Whether pages are asked for a token.
    #[must_use]
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Judges one request.
    ///
    /// # Errors
    ///
    /// The first rule it breaks, in the order host, `childServer`, origin, site, token.
    pub fn judge(&self, facts: &Facts<'_>) -> Result<Admitted, Refusal> {
        let is_open = self.origins.is_open();
        if !is_open {
            check_host(facts.host)?;
        }
        // Programs send neither header.
        let is_page = facts.origin.is_there() || facts.sec_fetch_site.is_there();
        if facts.is_child_server && is_page {
            return Err(Refusal::Pretender { origin: facts.origin.shown() });
        }
        if !is_open {
            self.check_origin(facts)?;
        }
        if is_page {
            self.check_token(facts)?;
        }
        Ok(match (is_page, facts.is_child_server) {
            (true, _) => Admitted::Page,
            (false, true) => Admitted::ChildServer,
            (false, false) => Admitted::Program,
        })
    }

    fn check_origin(&self, facts: &Facts<'_>) -> Result<(), Refusal> {
        let read = match facts.origin {
            Header::Missing => return check_site(facts.sec_fetch_site),
            Header::One(value) => OriginHeader::read(value),
            Header::Many => OriginHeader::Unreadable,
        };
        if self.origins.admits(&read) {
            return Ok(());
        }
        let kept = if self.origins == Origins::default() { "default" } else { "..." };
        let (list, risk) = match &read {
            OriginHeader::Of(origin) => (format!("{kept},{}", short(origin)), ""),
            OriginHeader::File => (format!("{kept},file"), ""),
            OriginHeader::Null => (format!("{kept},null"), ", and sandboxed frames of any web page with it"),
            OriginHeader::Unreadable => ("*".to_owned(), ", and every other page with it"),
        };
        Err(Refusal::Origin { origin: facts.origin.shown(), list, risk })
    }

    /// In constant time: see [`Token`].
    fn check_token(&self, facts: &Facts<'_>) -> Result<(), Refusal> {
        let Some(own) = &self.token else { return Ok(()) };
        if facts.token.is_some_and(|text| Token::new(text).is_ok_and(|token| token == *own)) {
            return Ok(());
        }
        Err(Refusal::Token { origin: facts.origin.shown(), is_missing: facts.token.is_none() })
    }
}

/// An origin as an entry, if it is of a length that people write.
fn short(origin: &Origin) -> String {
    Some(origin.to_string()).filter(|text| text.len() <= 120).unwrap_or_else(|| "<the origin>".to_owned())
}

/// Any port: whoever can choose the name can choose the port.
fn check_host(host: Header<'_>) -> Result<(), Refusal> {
    let Header::One(value) = host else {
        return Err(Refusal::NoHost { is_doubled: host.is_there() });
    };
    let read = std::str::from_utf8(value).ok().filter(|text| text.len() <= NAME_BYTES_MAX);
    let is_own = |at: Authority| HOSTS.iter().any(|own| Host::parse(own).as_ref() == Some(&at.host));
    if read.and_then(Authority::parse).is_some_and(is_own) {
        Ok(())
    } else {
        Err(Refusal::Host { host: Shown::new(value) })
    }
}

/// Only what a browser calls its own doing is no foreign page; values that are not known yet may be anything.
fn check_site(site: Header<'_>) -> Result<(), Refusal> {
    match site {
        Header::Missing => Ok(()),
        Header::One(value)
            if [&b"same-origin"[..], b"none"].iter().any(|own| value.eq_ignore_ascii_case(own)) =>
        {
            Ok(())
        }
        _ => Err(Refusal::Site { site: site.shown() }),
    }
}

#[cfg(test)]
mod tests;
