//! A bridge from its settings to its end: certificates, the parent's channel, signals, exit code.

use std::process::ExitCode;

use spandrel_bridge_protocol::Rules;
use spandrel_bridge_service::{Config, Rest, load_certificates};
use spandrel_transport::TlsServer;
use spandrel_transport_ipc::{IpcError, Parent};
use tokio::sync::oneshot;

use crate::config::Settings;

/// How the parent talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Node,
    Stdio,
}

/// Why there is no bridge, or none any more.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) code: u8,
    pub(crate) error: String,
}

fn stop(code: u8) -> impl Fn(String) -> Stop {
    move |error| Stop { code, error }
}

/// Runs until the parent leaves or a signal comes.
pub(crate) async fn run(settings: Settings, channel: Channel, rest: Rest) -> Result<ExitCode, Stop> {
    // Heard from the first moment on.
    let mut signals = Signals::new().map_err(|e| stop(1)(format!("signals: {e}")))?;
    let tls = load_certificates(&settings.tls_dir.value).map_err(|e| stop(2)(e.to_string()))?;
    let mut config = Config::new(rules(&settings)).with_port(settings.port.value);
    config.tls.clone_from(&tls);
    config.secret = settings.secret.value;
    config.status = settings.status.value;
    config.rest = Some(rest);
    let parent = parent(channel, &config).map_err(|e| stop(2)(explained(&e)))?;
    let (end, asked) = oneshot::channel::<()>();
    let running = spandrel_bridge_service::run(config, parent, async {
        let _ = asked.await;
    });
    tokio::pin!(running);
    let mut end = Some(end);
    loop {
        tokio::select! {
            exit = &mut running => return Ok(ExitCode::from(exit.exit_code())),
            heard = signals.next() => match heard {
                Heard::Reload => reload(tls.as_ref()),
                // Dropping it asks the bridge to end.
                Heard::End if end.take().is_some() => {}
                Heard::End => return Ok(ExitCode::from(130)),
            }
        }
    }
}

fn rules(settings: &Settings) -> Rules {
    let rules = Rules::new(settings.origins.value.clone());
    match &settings.token.value {
        Some(token) => rules.with_token(token.clone()),
        None => rules,
    }
}

fn parent(channel: Channel, config: &Config) -> Result<Parent, IpcError> {
    let limits = config.limits.of_parent();
    match channel {
        Channel::Stdio => Parent::stdio(&limits),
        #[cfg(unix)]
        Channel::Node => Parent::node_channel(&limits),
        #[cfg(not(unix))]
        Channel::Node => Err(IpcError::NoChannel),
    }
}

fn explained(error: &IpcError) -> String {
    match error {
        IpcError::NoChannel if cfg!(not(unix)) => {
            "this system has no Node channel so far; use --stdio".to_owned()
        }
        IpcError::NoChannel => format!("{error}, or use --stdio; hardware-bridge --help shows more"),
        error => error.to_string(),
    }
}

fn reload(tls: Option<&TlsServer>) {
    match tls.map(TlsServer::reload) {
        None => tracing::info!("no certificates to read again: plain HTTP until the next start"),
        Some(Ok(())) => tracing::info!("certificates are read again"),
        Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    End,
    Reload,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Cancel safe.
    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::End,
            _ = self.interrupt.recv() => Heard::End,
            _ = self.hangup.recv() => Heard::Reload,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Cancel safe.
    async fn next(&mut self) -> Heard {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Heard::End
    }
}
