//! What a bridge is told at start.

use std::net::SocketAddr;

use spandrel_bridge_protocol::{Rules, Secret};
use spandrel_transport::TlsServer;

use crate::{Limits, Rest};

/// The port pages look for a bridge at.
pub const DEFAULT_PORT: u16 = 23518;

/// Settings of one bridge. [`Config::default`] is a bridge as a parent expects it, without certificates and secret.
///
/// | field | default |
/// |---|---|
/// | `port` | 23518; 0: the system chooses, and a line of the log names it |
/// | `tls` | none: plain HTTP |
/// | `secret` | none: `encrypt` and `decrypt` are not answered |
/// | `rules` | the default origin list, no token |
/// | `status` | none: no status page |
/// | `rest` | none: every message wakes the thread |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Port on 127.0.0.1: to listen on, and to dial when somebody else does.
    pub port: u16,
    /// Certificate, most often of [the four files](crate::load_certificates). Keep a clone to reload it on request.
    pub tls: Option<TlsServer>,
    /// Passphrase of `encrypt` and `decrypt`.
    pub secret: Option<Secret>,
    /// Who may connect.
    pub rules: Rules,
    /// Where the status page is served. Whoever can reach it sees what the bridge does, if nothing that is said. When the
    /// address is taken, most often by another bridge with the same settings, the bridge runs without the page, and tries
    /// again when it takes over.
    pub status: Option<SocketAddr>,
    /// Lets the thread rest while a fast stream runs. The runtime has to know it too.
    pub rest: Option<Rest>,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: DEFAULT_PORT,
            tls: None,
            secret: None,
            rules: Rules::default(),
            status: None,
            rest: None,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// A bridge with these rules of who may connect, and the defaults of everything else.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Sets the port.
    #[must_use]
    pub const fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Serves inside TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the passphrase.
    #[must_use]
    pub fn with_secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Serves the status page here.
    #[must_use]
    pub const fn with_status(mut self, address: SocketAddr) -> Self {
        self.status = Some(address);
        self
    }

    /// Lets the thread rest while a fast stream runs.
    #[must_use]
    pub fn with_rest(mut self, rest: Rest) -> Self {
        self.rest = Some(rest);
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
