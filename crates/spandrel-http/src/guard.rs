//! Who may call from a browser: the `Origin` and `Host` rules, and CORS for listed origins.
//!
//! A browser sends requests for any page to any server it can reach, this machine's own included. The
//! `Origin` rule keeps foreign pages from driving a server; the `Host` rule keeps a name that was rebound to
//! a loopback address from passing as the server's own.

mod face;

pub use face::{GuardFace, guard_requests};
pub use spandrel_wire::{Authority, Host, Origin};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// What the guard is told at start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardConfig {
    /// Whether the listener is bound to a loopback address: then the `Host` rule holds.
    pub listen_is_loopback: bool,
    /// The URL under which clients reach the server through a proxy (`https://export.example/x`); only its
    /// origin counts.
    pub public_base_url: Option<String>,
    /// Further origins (`https://desk.example`) whose pages may call, with CORS answers.
    pub allowed_origins: Vec<String>,
}

/// A [`GuardConfig`] that cannot be meant. Refuse to start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardConfigError {
    /// The public URL has no readable origin.
    #[error("public base url {0:?}: expected http(s)://host[:port]/..., a name in ASCII (punycode), no user")]
    PublicBase(String),
    /// A listed origin is none; `*` and `null` are none either.
    #[error("allowed origin {0:?}: expected scheme://host[:port], no path, a name in ASCII (punycode)")]
    AllowedOrigin(String),
}

/// Why a request is refused, always with 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The request changes something, or opens a connection, for a page of another origin.
    #[error("requests from this origin are not allowed; list it in allowedOrigins if it should be")]
    Origin,
    /// The request reached a loopback listener under a name that is not its own.
    #[error("requests for this host are not allowed; use localhost, or set publicBaseUrl")]
    Host,
}

/// Decides by `Host` and `Origin` whether a request may come in. Pure: one value for the server's life.
#[derive(Debug, Clone)]
pub struct Guard {
    listen_is_loopback: bool,
    public: Option<Origin>,
    allowed: Vec<Origin>,
}

impl Guard {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// [`GuardConfigError`] naming the value that cannot be read.
    pub fn new(config: &GuardConfig) -> Result<Self, GuardConfigError> {
        let public = config
            .public_base_url
            .as_ref()
            .map(|url| Origin::of_url(url).ok_or_else(|| GuardConfigError::PublicBase(url.clone())));
        let allowed = config.allowed_origins.iter().map(|origin| {
            Origin::parse(origin).ok_or_else(|| GuardConfigError::AllowedOrigin(origin.clone()))
        });
        Ok(Self {
            listen_is_loopback: config.listen_is_loopback,
            public: public.transpose()?,
            allowed: allowed.collect::<Result<_, _>>()?,
        })
    }

    /// Judges one request by its header values; `None` where a header is absent. A header that is there
    /// twice or is not text has to be passed as `Some("")`, which no rule accepts.
    ///
    /// `is_upgrade` marks a GET that opens a message connection: it is judged like a POST.
    ///
    /// # Errors
    ///
    /// [`Refused::Host`] before [`Refused::Origin`].
    pub fn check(
        &self,
        method: &Method,
        host: Option<&str>,
        origin: Option<&str>,
        is_upgrade: bool,
    ) -> Result<(), Refused> {
        let host = host.and_then(Authority::parse);
        if self.listen_is_loopback && !host.as_ref().is_some_and(|at| self.is_own_name(&at.host)) {
            return Err(Refused::Host);
        }
        let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        match origin {
            Some(origin) if is_upgrade || !only_reads => {
                let origin = Origin::parse(origin).ok_or(Refused::Origin)?;
                self.is_trusted(&origin, host.as_ref()).then_some(()).ok_or(Refused::Origin)
            }
            _ => Ok(()),
        }
    }

    /// Whether this `Origin` is listed, so that answers carry CORS headers.
    #[must_use]
    pub fn is_listed(&self, origin: &str) -> bool {
        Origin::parse(origin).is_some_and(|origin| self.allowed.contains(&origin))
    }

    /// Adds what a browser needs to let a listed origin read the answer. `Vary` goes on every answer once
    /// any origin is listed, or a cache could hand one origin's answer to another.
    pub fn add_cors(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if !self.allowed.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = origin.filter(|value| value.to_str().is_ok_and(|text| self.is_listed(text))) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// Answers a preflight of a listed origin: 204. `None` when the request is none, or not from a listed
    /// origin; it then goes on like any other.
    #[must_use]
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<http::Response<()>> {
        let asks = method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = headers.get(header::ORIGIN).filter(|_| asks)?;
        self.is_listed(origin.to_str().ok()?).then_some(())?;
        let mut answer = http::Response::new(());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let out = answer.headers_mut();
        self.add_cors(Some(origin), out);
        out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(answer)
    }

    fn is_own_name(&self, host: &Host) -> bool {
        host.is_loopback() || self.public.iter().chain(&self.allowed).any(|origin| origin.host() == host)
    }

    fn is_trusted(&self, origin: &Origin, host: Option<&Authority>) -> bool {
        let is_public = |public: &Origin| public.host() == origin.host() && public.port() == origin.port();
        host.is_some_and(|at| origin.is_at(at))
            || self.public.as_ref().is_some_and(is_public)
            || self.allowed.contains(origin)
    }
}

const EXPOSED: &str =
    "ETag, Repr-Digest, Content-Range, Accept-Ranges, Content-Disposition, Location, Retry-After";
const METHODS: &str = "GET, HEAD, POST, DELETE";
const REQUEST_HEADERS: &str =
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Range";

#[cfg(test)]
mod tests;
