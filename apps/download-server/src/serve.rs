//! `serve` and `demo`: configuration to a running service, signals to its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use spandrel_download_service::{Dataset, Service, ServiceConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::memory::Watched;

/// The protocol allows 5 s; the rest is for the process itself.
const STOP_WITHIN: Duration = Duration::from_millis(4_500);

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

/// Serves until a signal comes.
pub(crate) async fn serve(args: ServeArgs, watched: &Watched) -> Result<ExitCode, Stop> {
    let config = match (&args.config, &args.data) {
        (Some(path), _) => Config::read(path).map_err(Stop::Configuration)?,
        (None, Some(data)) => Config::of_data(data)?,
        (None, None) => {
            return Err(Stop::Configuration(
                "give --config FILE or --data PATH; --help shows examples".into(),
            ));
        }
    };
    let mut config = config;
    if let (Some(_), Some(data)) = (&args.config, &args.data) {
        config.datasets = Config::of_data(data)?.datasets;
    }
    config.listen = args.listen.unwrap_or(config.listen);
    config.state_dir = args.state_dir.unwrap_or(config.state_dir);
    config.public_base_url = args.public_base_url.or(config.public_base_url);
    Ok(run(config, watched, |address| announce("Serving", address)).await?)
}

/// Serves the bundled data set.
pub(crate) async fn demo(args: DemoArgs, watched: &Watched) -> Result<ExitCode, Stop> {
    let temporary = std::env::temp_dir().join(format!("spandrel-demo-{}", std::process::id()));
    let state_dir = args.state_dir.clone().unwrap_or_else(|| temporary.clone());
    let failed = |e: std::io::Error| format!("{}: {e}", state_dir.display());
    std::fs::create_dir_all(&state_dir).map_err(failed)?;
    let data = state_dir.join("flights.parquet");
    std::fs::write(&data, FLIGHTS).map_err(failed)?;
    let mut config = Config::of_data(&data)?;
    config.listen = args.listen;
    config.state_dir = state_dir;
    let ended = run(config, watched, |address| announce("Flights from New York, 2013:", address)).await;
    if args.state_dir.is_none() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    Ok(ended?)
}

/// The one line a person, or a script, waits for; with port 0 it is where the port can be read.
fn announce(what: &str, address: SocketAddr) {
    let text = format!("{what} http://{address}/\nStop with Ctrl-C.\n");
    let mut out = std::io::stdout();
    let _ =
        std::io::Write::write_all(&mut out, text.as_bytes()).and_then(|()| std::io::Write::flush(&mut out));
}

async fn run(config: Config, watched: &Watched, ready: impl FnOnce(SocketAddr)) -> Result<ExitCode, String> {
    let listener =
        TcpListener::bind(&config.listen).await.map_err(|e| format!("listen {}: {e}", config.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let opened = tokio::task::spawn_blocking(move || open(&config, address)).await;
    let service = opened.map_err(|e| e.to_string())??;
    let _ = watched.set(service.clone());
    tracing::info!(%address, "serving");
    ready(address);
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|e| e.to_string())?;
    let serving = service.serve(listener);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            served = &mut serving => served.map_err(|e| e.to_string())?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                let service = service.clone();
                tokio::task::spawn_blocking(move || service.reload());
            }
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
        _ = terminate.recv() => Ok(ExitCode::from(130)),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
    }
}

fn open(config: &Config, address: SocketAddr) -> Result<Service, String> {
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
    bound(&mut service, config);
    Service::open(service).map_err(|e| e.to_string())
}

fn bound(service: &mut ServiceConfig, config: &Config) {
    fn set<T: Copy>(to: &mut T, from: Option<T>) {
        *to = from.unwrap_or(*to);
    }
    let (limits, sessions) = (&config.limits, &mut service.sessions);
    set(&mut sessions.protocol.message_bytes_max, limits.max_message_bytes);
    set(&mut sessions.attachments_max, limits.max_attachments);
    set(&mut sessions.messages_per_s, limits.messages_per_second);
    set(&mut sessions.message_burst, limits.message_burst);
    set(&mut sessions.outbound_bytes_max, limits.outbound_queue_bytes);
    set(&mut sessions.heartbeat_interval_ms, config.heartbeat.interval_ms);
    set(&mut sessions.heartbeat_timeout_ms, config.heartbeat.timeout_ms);
    set(&mut service.jobs.max_active, limits.max_active);
    set(&mut service.jobs.max_active_per_principal, limits.max_active_per_principal);
    set(&mut service.jobs.max_queued, limits.max_queued);
    set(&mut service.jobs.max_parts, limits.max_parts);
    set(&mut service.jobs.retries_max, limits.max_retries);
    set(&mut service.limits.connections_max, limits.max_connections);
    set(&mut service.limits.source_timeout_ms, limits.source_timeout_ms);
    service.limits.sort_rows_max = limits.max_sort_rows;
    set(&mut service.retention.file_ttl_ms, config.retention.file_ttl_ms);
    set(&mut service.retention.record_ttl_ms, config.retention.record_ttl_ms);
    set(&mut service.retention.paused_ttl_ms, config.retention.paused_ttl_ms);
    set(&mut service.url_ttl_ms, config.retention.url_ttl_ms);
    service.formula_guard = config.csv.formula_guard_default;
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
