//! `demo`: this program once more as a bridge, with a simulated hardware program as its parent and a page for it.
//!
//! The parent here is what any program can be: it starts the bridge with `--stdio`, writes `{key,value}` lines to its
//! standard input and reads them from its standard output.

mod board;
mod page;

use std::net::SocketAddr;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use board::{Board, TICK_MS};

/// Longer than a bridge takes to listen on any machine.
const START_WITHIN: Duration = Duration::from_secs(10);
/// The protocol gives a bridge 3.5 s after its parent left.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// A file that every system has and that holds nothing: named, it stands for the one beside the program.
const NO_CONFIGURATION: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Address of the page; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Port of the bridge; 0 takes a free one, 23518 is the one the pages of the site try
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
}

/// Why the demonstration ended before its time.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the bridge could not be started: {0}")]
    Spawn(#[source] std::io::Error),
    #[error("the page cannot listen on {0}: {1}; leave --listen out for a free port")]
    Listen(SocketAddr, #[source] std::io::Error),
    #[error("the page needs a loopback address, got {0}: a board on the network is not what this is for")]
    NotLoopback(SocketAddr),
    #[error("port {0} is taken by another program; leave --port out for a free one")]
    Taken(u16),
    #[error("the bridge did not say within {} s where it listens", START_WITHIN.as_secs())]
    Silent,
    #[error("the bridge ended by itself; see above")]
    Ended,
    #[error("the bridge cannot be reached any more: {0}")]
    Pipe(#[from] std::io::Error),
}

/// Runs until Ctrl-C. Exit code 0 then, 1 when it could not start or the bridge went away.
pub(crate) async fn run(args: DemoArgs) -> ExitCode {
    match demonstrate(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say_aside(&format!("demo: {why}"));
            ExitCode::FAILURE
        }
    }
}

async fn demonstrate(args: &DemoArgs) -> Result<(), DemoError> {
    if !args.listen.ip().is_loopback() {
        return Err(DemoError::NotLoopback(args.listen));
    }
    let taken = |why| DemoError::Listen(args.listen, why);
    let listener = TcpListener::bind(args.listen).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;

    let mut bridge = Bridge::start(args.port)?;
    let places = timeout(START_WITHIN, bridge.open(args.port)).await.map_err(|_| DemoError::Silent)??;
    let places = serde_json::to_string(&places).map_err(std::io::Error::from)?;
    say(&format!("Open http://{address}/ in a browser, or in two. Ctrl-C ends it."));

    let done = tokio::select! {
        done = page::serve(listener, places) => done.map_err(DemoError::Pipe),
        done = bridge.play() => done,
        () = told_to_stop() => Ok(()),
    };
    bridge.stop().await;
    done
}

/// A bridge and the pipes to it.
struct Bridge {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    log: Lines<BufReader<ChildStderr>>,
}

/// Where the page finds things.
#[derive(Debug, Serialize)]
struct Places {
    bridge: String,
    status: String,
}

/// One line of the channel, out.
#[derive(Debug, Serialize)]
struct Tell<'a, T> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<T>,
}

/// One line of the channel, in.
#[derive(Debug, Deserialize)]
struct Told<'a> {
    key: &'a str,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// What a page says, as pages of the site do: JSON text inside an object.
#[derive(Debug, Deserialize)]
struct Said {
    data: String,
}

impl Bridge {
    fn start(port: u16) -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(DemoError::Spawn)?;
        let mut command = Command::new(program);
        // Whatever is configured for the real bridge of this machine, by its file or the environment: here it is plain, has
        // the default list, and knows no token.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_ascii_uppercase().starts_with("SPANDREL_HW_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--stdio", "--config", NO_CONFIGURATION, "--status", "127.0.0.1:0"])
            .env("SPANDREL_HW_PORT", port.to_string());
        command
            .env("SPANDREL_HW_LOG", "info")
            .env("SPANDREL_HW_ORIGINS", "default")
            .env("SPANDREL_HW_TLS_DIR", "no certificates in a demo");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C is for this process: the bridge ends when its input does.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(DemoError::Spawn)?;
        let (input, output, log) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(log)) = (input, output, log) else {
            return Err(DemoError::Ended);
        };
        let (output, log) = (BufReader::new(output).lines(), BufReader::new(log).lines());
        Ok(Self { child, input, output, log })
    }

    /// Has it listen, and learns where.
    async fn open(&mut self, wanted: u16) -> Result<Places, DemoError> {
        self.tell("open", None::<()>).await?;
        let mut port = (wanted != 0).then_some(wanted);
        let (mut status, mut is_host) = (None, false);
        loop {
            if let (Some(port), Some(status), true) = (port, &status, is_host) {
                return Ok(Places {
                    bridge: format!("http://127.0.0.1:{port}"),
                    status: format!("http://127.0.0.1:{status}/"),
                });
            }
            tokio::select! {
                line = self.log.next_line() => {
                    let line = line?.ok_or(DemoError::Ended)?;
                    if line.contains("status page") {
                        status = port_in(&line);
                    } else {
                        port = port.or_else(|| port_in(&line));
                    }
                    say_aside(&line);
                }
                line = self.output.next_line() => {
                    let line = line?.ok_or(DemoError::Ended)?;
                    match told(&line) {
                        Some(Told { key: "runningModeChanged", value: Some(mode) }) if mode.get() == "2" => is_host = true,
                        Some(Told { key: "runningModeChanged", .. }) => return Err(DemoError::Taken(wanted)),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Is the hardware program: the board's values down, the orders of the pages to the board.
    async fn play(&mut self) -> Result<(), DemoError> {
        let mut board = Board::new(std::process::id());
        let mut tabs = 0_usize;
        let mut clock = interval(Duration::from_millis(TICK_MS));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = clock.tick() => {
                    board.tick();
                    if tabs > 0 {
                        self.tell("send", Some(board.values(tabs))).await?;
                    }
                }
                line = self.log.next_line() => say_aside(&line?.ok_or(DemoError::Ended)?),
                line = self.output.next_line() => match told(&line?.ok_or(DemoError::Ended)?) {
                    Some(Told { key: "connection", .. }) => {
                        tabs += 1;
                        let name = serde_json::json!({ "action": "init", "data": { "name": "Simulated board" } });
                        self.tell("send", Some(name)).await?;
                    }
                    Some(Told { key: "close", .. }) => tabs = tabs.saturating_sub(1),
                    Some(Told { key: "data", value: Some(value) }) => {
                        if let Ok(said) = serde_json::from_str::<Said>(value.get()) {
                            board.obey(&said.data);
                        }
                    }
                    _ => {}
                },
            }
        }
    }

    /// Tells the pages that the board is gone, then leaves: the bridge ends with its parent.
    async fn stop(self) {
        let Self { mut child, mut input, .. } = self;
        let _ = input.write_all(b"{\"key\":\"disconnectHardware\"}\n").await;
        let _ = input.shutdown().await;
        drop(input);
        if timeout(STOP_WITHIN, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    async fn tell<T: Serialize>(&mut self, key: &str, value: Option<T>) -> Result<(), DemoError> {
        let mut line = serde_json::to_vec(&Tell { key, value }).map_err(std::io::Error::from)?;
        line.push(b'\n');
        Ok(self.input.write_all(&line).await?)
    }
}

fn told(line: &str) -> Option<Told<'_>> {
    serde_json::from_str(line).ok()
}

/// The port in a line that names one.
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|port| *port != 0)
}

/// Returns at Ctrl-C, or when the system asks.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The one line for the person, on standard output. A closed pipe is no reason to stop.
fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn say_aside(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_the_line_that_names_it() {
        for (line, want) in [
            ("listening on 127.0.0.1:40123", Some(40123)),
            ("INFO status page at http://127.0.0.1:7/", Some(7)),
            ("listening on 127.0.0.1:0", None),
            ("listening on 127.0.0.1:99999", None),
            ("no certificates, plain HTTP", None),
        ] {
            assert_eq!(port_in(line), want, "{line}");
        }
    }

    #[test]
    fn lines_of_the_channel_have_the_words_of_the_protocol() {
        let line = serde_json::to_string(&Tell { key: "open", value: None::<()> }).expect("it is JSON");
        assert_eq!(line, r#"{"key":"open"}"#);
        let values = Board::new(1).values(2);
        let line = serde_json::to_string(&Tell { key: "send", value: Some(values) }).expect("it is JSON");
        assert!(line.starts_with(r#"{"key":"send","value":{"light":"#), "{line}");
        assert!(line.ends_with(r#""led":false,"servo":90,"tabs":2}}"#), "{line}");
        assert!(told(r#"{"key":"connection"}"#).is_some_and(|told| told.value.is_none()));
        assert!(told("\"exit\"").is_none());
    }
}
