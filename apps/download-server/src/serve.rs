//! `serve` and `demo`: configuration to a running service, signals to its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use spandrel_download_service::spandrel_transport::{TlsError, TlsServer};
use spandrel_download_service::{Authenticator as _, Dataset, Keyring, Service, ServiceConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::memory::Watched;

mod doors;

/// The protocol allows 5 s; the rest is for the process itself.
const STOP_WITHIN: Duration = Duration::from_millis(4_500);

/// What a configuration looks like.
pub(crate) const HELP: &str = "\
Examples:
  download-server serve --data trades.parquet           one data set on 127.0.0.1:8001
  download-server serve --config server.json
  download-server serve --config server.json --listen 0.0.0.0:8443

server.json, everything but datasets may be left out:
  { \"listen\": \"127.0.0.1:8001\",
    \"tcpListen\": \"127.0.0.1:8002\",                  frames over TCP beside WebSocket
    \"ipc\": \"stdio\",                                 or \"node\", or \"unix:PATH\"
    \"tls\": { \"cert\": \"cert.pem\", \"key\": \"key.pem\" },  or { \"selfSigned\": true }
    \"auth\": { \"mode\": \"required\",
      \"keys\": [{ \"id\": \"k1\", \"secret\": \"<32 random bytes, base64url>\", \"principal\": \"alice\" }],
      \"bearerTokens\": [{ \"token\": \"<long and random>\", \"principal\": \"alice\" }] },
    \"datasets\": [{ \"name\": \"trades\", \"path\": \"trades.parquet\", \"principals\": [\"alice\"] }],
    \"limits\": { \"maxActive\": 16, \"maxConnections\": 10000 } }

A secret or token: openssl rand 32 | basenc --base64url | tr -d =
After a change of keys, tokens or certificate: kill -HUP. Sessions of a key or token that
is gone, or of a key past its notAfter, are closed (4401). With ipc \"stdio\" or \"node\"
stdout is the parent's, the server stops when the parent is gone, and what the parent asks
for is done for \"anonymous\".";

static FLIGHTS: &[u8] = include_bytes!("../data/flights.parquet");

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file, JSON or TOML
    #[arg(long, value_name = "FILE", env = "SPANDREL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// One data set instead of those of the configuration: a Parquet file, a directory or a glob
    #[arg(long, value_name = "PATH", env = "SPANDREL_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDRESS", env = "SPANDREL_LISTEN")]
    listen: Option<String>,
    /// Folder for jobs and files [default: state, beside the configuration file]
    #[arg(long, value_name = "DIR", env = "SPANDREL_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// URL under which clients reach the server through a proxy
    #[arg(long, value_name = "URL", env = "SPANDREL_PUBLIC_BASE_URL")]
    public_base_url: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Folder for jobs and files, kept afterwards; left out, a temporary one
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Why there is no server.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What was asked for cannot be meant: somebody has to change it.
    Configuration(String),
    /// It could not be done.
    Failed(String),
}

impl From<String> for Stop {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

/// Signals that are heard from the first moment on: one that comes while the server still starts counts as well.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let hear = |kind| signal(kind).map_err(|e| format!("signals: {e}"));
        Ok(Self {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
            hangup: hear(SignalKind::hangup())?,
        })
    }
}

/// Waits until the process is told to stop. Cancel safe.
async fn stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Serves until a signal comes.
pub(crate) async fn serve(args: ServeArgs, watched: &Watched) -> Result<ExitCode, Stop> {
    let signals = Signals::new()?;
    let config = match (&args.config, &args.data) {
        (Some(path), _) => Config::read(path).map_err(Stop::Configuration)?,
        (None, Some(data)) => Config::of_data(data)?,
        (None, None) => {
            return Err(Stop::Configuration(
                "give --config FILE or --data PATH; --help shows examples".into(),
            ));
        }
    };
    config.auth.admits_somebody().map_err(Stop::Configuration)?;
    let mut config = config;
    if let (Some(_), Some(data)) = (&args.config, &args.data) {
        config.datasets = Config::of_data(data)?.datasets;
    }
    config.listen = args.listen.unwrap_or(config.listen);
    config.state_dir = args.state_dir.unwrap_or(config.state_dir);
    config.public_base_url = args.public_base_url.or(config.public_base_url);
    doors::warn_of_readable_secrets(&config, args.config.as_ref());
    Ok(run(config, args.config, watched, signals, "Serving").await?)
}

/// Serves the bundled data set.
pub(crate) async fn demo(args: DemoArgs, watched: &Watched) -> Result<ExitCode, Stop> {
    let signals = Signals::new()?;
    let temporary = std::env::temp_dir().join(format!("spandrel-demo-{}", std::process::id()));
    let state_dir = args.state_dir.clone().unwrap_or_else(|| temporary.clone());
    let failed = |e: std::io::Error| format!("{}: {e}", state_dir.display());
    std::fs::create_dir_all(&state_dir).map_err(failed)?;
    let data = state_dir.join("flights.parquet");
    std::fs::write(&data, FLIGHTS).map_err(failed)?;
    let mut config = Config::of_data(&data)?;
    config.listen = args.listen;
    config.state_dir = state_dir;
    let ended = run(config, None, watched, signals, "Flights from New York, 2013:").await;
    if args.state_dir.is_none() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    Ok(ended?)
}

/// The line a person, or a script, waits for; with port 0 it is where the port can be read. On stdout, unless that
/// belongs to the parent.
fn announce(text: &str, is_quiet: bool) {
    use std::io::Write as _;
    let _ = if is_quiet {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        let mut out = std::io::stdout();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    };
}

async fn run(
    config: Config,
    path: Option<PathBuf>,
    watched: &Watched,
    signals: Signals,
    greeting: &str,
) -> Result<ExitCode, String> {
    let Signals { mut terminate, mut interrupt, hangup } = signals;
    let failed = |e: std::io::Error| format!("listen {}: {e}", config.listen);
    let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    doors::warn_of_plain_text(&config, address.ip());
    let tls = doors::tls(&config)?;
    let ring = Arc::new(config.auth.keyring()?);
    let config = Arc::new(config);
    let opening = {
        let (config, ring, tls) = (Arc::clone(&config), Arc::clone(&ring), tls.clone());
        tokio::task::spawn_blocking(move || open(&config, address, ring, tls))
    };
    let service = tokio::select! {
        opened = opening => opened.map_err(|e| e.to_string())??,
        // Large data sets take their time. Jobs are durable at every moment of it.
        () = stop(&mut terminate, &mut interrupt) => {
            tracing::info!("stopped before the data sets were open");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let _ = watched.set(service.clone());
    let tcp = doors::tcp(&config, &service, tls.clone()).await?;
    let parent = doors::parent(&config, &service).await?;
    tracing::info!(%address, "serving");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut text = format!("{greeting} {scheme}://{address}/\n");
    for also in [tcp.as_deref(), parent.listener()].into_iter().flatten() {
        text.push_str(&format!("Also {}\n", also.local()));
    }
    text.push_str("Stop with Ctrl-C.\n");
    announce(&text, parent.owns_stdout());
    let reload = Reload { path, ring, tls, service: service.clone() };
    tokio::spawn(reload.at_each(hangup));
    if let Some(tcp) = tcp {
        let service = service.clone();
        tokio::spawn(async move { service.serve_links(tcp).await });
    }
    let gone = parent.serve(&service);
    let serving = service.serve(listener);
    tokio::pin!(serving, gone);
    loop {
        tokio::select! {
            served = &mut serving => served.map_err(|e| e.to_string())?,
            () = &mut gone => {
                tracing::info!("the parent process is gone");
                break;
            }
            () = stop(&mut terminate, &mut interrupt) => break,
        }
    }
    tracing::info!("stopping");
    tokio::select! {
        // `serving` is polled on: it is what answers those who still come.
        is_clean = async { tokio::join!(service.shut_down(STOP_WITHIN), serving).0 } => {
            if !is_clean {
                tracing::warn!("not everything came to a good end in time; jobs go on at the next start");
            }
            Ok(ExitCode::SUCCESS)
        }
        () = stop(&mut terminate, &mut interrupt) => Ok(ExitCode::from(130)),
    }
}

/// What a SIGHUP looks at again: keys and tokens, the certificate, the data.
#[derive(Clone)]
struct Reload {
    path: Option<PathBuf>,
    ring: Arc<Keyring>,
    tls: Option<TlsServer>,
    service: Service,
}

impl Reload {
    /// One after another: were two to run at once, the one that read first could come last, and bring back what the
    /// other took away. Signals that come meanwhile make one more.
    async fn at_each(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            let reload = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || reload.run()).await {
                tracing::error!(%error, "a reload broke off");
            }
        }
    }

    /// Blocking. What cannot be read stays as it was.
    fn run(&self) {
        if let Some(path) = &self.path {
            let replaced = Config::read(path).and_then(|config| {
                if config.auth.is_required() == self.ring.is_open() {
                    tracing::warn!("auth.mode changes only with a new start");
                }
                config.auth.replace(&self.ring)?;
                if !self.ring.is_open() && !config.auth.has_secrets() {
                    tracing::warn!("there are neither keys nor tokens any more: nobody can come in");
                }
                Ok(())
            });
            match replaced {
                Ok(()) => {
                    self.service.recheck();
                    tracing::info!("keys and tokens are taken over");
                }
                Err(error) => tracing::error!(error, "keys and tokens stay as they were"),
            }
        }
        match self.tls.as_ref().map(TlsServer::reload) {
            None | Some(Ok(()) | Err(TlsError::NoFiles)) => {}
            Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
        }
        self.service.reload();
    }
}

fn open(
    config: &Config,
    address: SocketAddr,
    auth: Arc<Keyring>,
    tls: Option<TlsServer>,
) -> Result<Service, String> {
    let mut service = ServiceConfig::new(absolute(&config.state_dir));
    service.listen = Some(address);
    service.public_base_url.clone_from(&config.public_base_url);
    service.allowed_origins = config.allowed_origins.clone().unwrap_or_default();
    for dataset in &config.datasets {
        let source = spandrel_source_parquet::open(dataset.source()).map_err(|e| e.to_string())?;
        let facts = source.facts();
        tracing::info!(dataset = dataset.name, rows = facts.rows, "loaded");
        if let Some(warning) = source.warning() {
            tracing::warn!(dataset = dataset.name, "{warning}");
        }
        let mut named = Dataset::new(&dataset.name, source);
        named.is_default = dataset.default;
        named.principals.clone_from(&dataset.principals);
        service = service.with_dataset(named);
    }
    config.bound(&mut service);
    service.auth = auth;
    service.tls = tls.map(|tls| tls.with_alpn(["http/1.1"]));
    Service::open(service).map_err(|e| e.to_string())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
