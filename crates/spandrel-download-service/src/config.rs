//! What the service is told at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use spandrel_download as download;
use spandrel_export::Source;
use spandrel_export_engine::{Clock, SystemClock};
use spandrel_jobs as jobs;
use spandrel_transport::TlsServer;

use crate::auth::{Authenticator, Open};

/// Everything a [`Service`](crate::Service) needs. Start from [`ServiceConfig::new`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// Folder for everything that outlives the process: jobs, files, the secret of signed URLs.
    pub state_dir: PathBuf,
    /// What can be exported. Names are unique.
    pub datasets: Vec<Dataset>,
    /// Address the listener is bound to: on a loopback one the `Host` rule holds (protocol section 2.1).
    pub listen: Option<SocketAddr>,
    /// Encrypts what [`Service::serve`](crate::Service::serve) accepts. Default: plain HTTP.
    pub tls: Option<TlsServer>,
    /// URL under which clients reach the server through a proxy; file URLs are absolute then.
    pub public_base_url: Option<String>,
    /// Origins of pages elsewhere that may call.
    pub allowed_origins: Vec<String>,
    /// Who callers are. Default: everybody is `anonymous`.
    pub auth: Arc<dyn Authenticator>,
    /// Milliseconds a signed message may be old, or ahead of this clock. Default 30,000.
    pub auth_window_ms: u64,
    /// Where the time comes from. Default: the clock of the system.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the job table.
    pub jobs: jobs::Limits,
    /// How long files and records are kept.
    pub retention: jobs::Retention,
    /// Milliseconds a signed file URL works. Default 15 min.
    pub url_ttl_ms: u64,
    /// Bounds and clockwork of message connections.
    pub sessions: download::Limits,
    /// Bounds of the service itself.
    pub limits: Limits,
    /// Guard against formulas in CSV when a request does not say.
    pub formula_guard: bool,
    /// Worker threads of one export. Default: one per core.
    pub workers: usize,
}

impl ServiceConfig {
    /// The protocol's defaults with state in `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            datasets: Vec::new(),
            listen: None,
            tls: None,
            public_base_url: None,
            allowed_origins: Vec::new(),
            auth: Arc::new(Open),
            auth_window_ms: 30_000,
            clock: Arc::new(SystemClock::default()),
            jobs: jobs::Limits::default(),
            retention: jobs::Retention::default(),
            url_ttl_ms: 900_000,
            sessions: download::Limits::default(),
            limits: Limits::default(),
            formula_guard: false,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Adds a data set.
    #[must_use]
    pub fn with_dataset(mut self, dataset: Dataset) -> Self {
        self.datasets.push(dataset);
        self
    }
}

/// A source under a name.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dataset {
    /// Name in requests and file names.
    pub name: Arc<str>,
    /// Its rows.
    pub source: Arc<dyn Source>,
    /// Taken when a request names none. Without any, the first one is.
    pub is_default: bool,
    /// Who may read it; `None`: everybody.
    pub principals: Option<Vec<String>>,
}

impl Dataset {
    /// A data set that everybody may read.
    pub fn new(name: &str, source: Arc<dyn Source>) -> Self {
        Self { name: name.into(), source, is_default: false, principals: None }
    }
}

/// Bounds of the service that are not those of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Message connections at once. Default 10,000: about 20 KiB each.
    pub connections_max: usize,
    /// HTTP connections at once, message connections included. Default 12,000; more are refused at the door.
    pub http_connections_max: usize,
    /// Of those from one address, or one /64 of IPv6. `None`: 32, or no bound where a
    /// [`public_base_url`](ServiceConfig::public_base_url) tells of a proxy, from which everybody comes.
    pub http_per_address_max: Option<usize>,
    /// Whether loopback addresses are counted like all others. Default: not, as a proxy on the same machine is many
    /// peers.
    pub http_counts_loopback: bool,
    /// Milliseconds until the head of a request is there, and before it the TLS handshake. Default 5,000; a kept
    /// connection may be idle as long.
    pub head_ms_max: u64,
    /// Milliseconds until the last byte of a request's body is there. Default 30,000.
    pub body_ms_max: u64,
    /// Milliseconds the reader of an answer may take nothing. Default 30,000; then it is dropped.
    pub stalled_ms_max: u64,
    /// Milliseconds a command or REST call may take before it is answered `TIMEOUT`. Default 30,000; the work itself
    /// goes on, and a repeated request finds its job.
    pub command_ms_max: u64,
    /// Bytes waiting for all message connections together. Default 256 MiB; over it, everybody with more than 64 KiB
    /// waiting counts as slow.
    pub outbound_bytes_max: usize,
    /// Previews at once. Default 4: each may read a whole data set.
    pub previews_max: usize,
    /// Milliseconds a preview may count. Default 5,000.
    pub preview_count_ms_max: u64,
    /// Jobs on one page of a list. Default 1,000.
    pub page_max: usize,
    /// Files on one page of a list; the page ends early and says where to go on. Default 20,000: about 8 MiB.
    pub page_files_max: usize,
    /// Requests waiting for the end of a job at once. Default 1,000.
    pub waits_max: usize,
    /// Commands and REST calls that work on blocking threads at once; more wait for their turn. Default 128 of the
    /// runtime's 512 threads: a disk or source that hangs must not keep finished files from being read.
    pub commands_max: usize,
    /// Rows of a sort other than by time. `None`: as many as the disk holds.
    pub sort_rows_max: Option<u64>,
    /// Free bytes below which no job is accepted. `None`: the smaller of 5 % of the disk and 512 MiB.
    pub free_bytes_min: Option<u64>,
    /// Nonces of signed messages remembered at once, of all connections. Default 1,000,000: about 40 MB, and 16,000
    /// signed messages a second. At most an eighth of them are of one key.
    pub nonces_max: usize,
    /// Milliseconds a source may give nothing. Default 300,000.
    pub source_timeout_ms: u64,
    /// Runs that wait for a source that gives no answer and were given up; see
    /// [`JobsConfig`](spandrel_export_engine::JobsConfig::stuck_runs_max). Default 16.
    pub stuck_runs_max: usize,
    /// Resident memory above which the health check `memory` fails and jobs are refused, in bytes. Default 3 GiB.
    pub memory_fail_bytes: u64,
    /// Resident memory above which the health check `memory` warns, in bytes. Default 1.5 GiB: sixteen jobs at
    /// their bound and as much again.
    pub memory_warn_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            http_connections_max: 12_000,
            http_per_address_max: None,
            http_counts_loopback: false,
            head_ms_max: 5_000,
            body_ms_max: 30_000,
            stalled_ms_max: 30_000,
            command_ms_max: 30_000,
            outbound_bytes_max: 256 << 20,
            previews_max: 4,
            preview_count_ms_max: 5_000,
            page_max: 1_000,
            page_files_max: 20_000,
            waits_max: 1_000,
            commands_max: 128,
            sort_rows_max: None,
            free_bytes_min: None,
            nonces_max: 1_000_000,
            source_timeout_ms: 300_000,
            stuck_runs_max: 16,
            memory_fail_bytes: 3 << 30,
            memory_warn_bytes: 3 << 29,
        }
    }
}
