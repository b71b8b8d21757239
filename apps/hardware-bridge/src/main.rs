//! The hardware bridge: stands between a program that drives hardware and the pages of a block-coding site, in the place
//! of entry-hw-server.
//!
//! Wiring only: settings in `config`, the running bridge in `run`, the examination of a machine in `doctor`, a bridge to look
//! at in `demo`.
//!
//! Exit codes: 0 the parent left or a signal came, 1 `doctor` found something wrong or the bridge could not go on, 2 usage,
//! settings, certificates or channel, 130 stopped by a second signal.

mod config;
mod demo;
mod doctor;
mod log;
mod run;
#[cfg(unix)]
mod system;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use spandrel_bridge_service::Rest;

use config::{Flags, Settings};

const EXAMPLES: &str = "\
Examples:
  hardware-bridge                           as a Node program starts it, channel in NODE_CHANNEL_FD
  hardware-bridge --stdio                   the same messages as lines of JSON on stdin and stdout
  hardware-bridge --stdio --origins default,https://school.example
  hardware-bridge doctor                    what is wrong on this machine, and what to do
  hardware-bridge demo                      a page and a simulated board

Settings, each below the next: defaults, hardware-bridge.toml beside the program (or --config FILE),
SPANDREL_HW_PORT, _TLS_DIR, _SECRET, _ORIGINS, _TOKEN, _STATUS and _LOG (empty: not set), flags.

  port = 23518
  tls_dir = \"assets\"
  origins = [\"default\", \"https://school.example\"]   # also *.host, loopback, file, null, *

Nothing listens before the parent says {\"key\":\"open\"}. SIGHUP looks at the certificate files again
(they are looked at by themselves, too); SIGTERM and SIGINT end the bridge, a second one at once.

Exit codes: 0 the parent left or a signal came, 1 doctor found something wrong, or the bridge could
not go on, 2 usage, settings, certificates or channel, 130 stopped at once.";

/// Connects a program that drives hardware with the pages of a block-coding site
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The parent talks by lines of JSON on stdin and stdout, instead of a Node channel
    #[arg(long)]
    stdio: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Looks at settings, port, certificates, names and limits, and says what is wrong
    Doctor(Flags),
    /// Shows a bridge at work, with a page and a simulated board
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: the work is small, and threads that wake each other cost more than they give.
    let rest = Rest::default();
    let resting = rest.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || resting.rest())
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    let ended = match cli.command {
        Some(Command::Doctor(flags)) => runtime.block_on(doctor::run(&flags, &surroundings(&folder()))),
        Some(Command::Demo(args)) => runtime.block_on(demo::run(args)),
        None => bridge(&runtime, &cli, rest),
    };
    // A thread that still waits for a name or a line has nothing more to say.
    runtime.shutdown_background();
    ended
}

fn bridge(runtime: &tokio::runtime::Runtime, cli: &Cli, rest: Rest) -> ExitCode {
    let settings = match Settings::read(&cli.flags, &folder(), &variable) {
        Ok(settings) => settings,
        Err(error) => return fail(2, &error),
    };
    log::start(settings.log.value);
    #[cfg(unix)]
    system::raise_descriptor_limit();
    let channel = if cli.stdio { run::Channel::Stdio } else { run::Channel::Node };
    match runtime.block_on(run::run(settings, channel, rest)) {
        Ok(code) => code,
        Err(run::Stop { code, error }) => fail(code, &error),
    }
}

/// The folder of the executable, where its files are.
fn folder() -> PathBuf {
    let executable = std::env::current_exe().ok();
    executable.and_then(|path| path.parent().map(PathBuf::from)).unwrap_or_default()
}

fn surroundings(folder: &std::path::Path) -> doctor::Surroundings<'_> {
    let variables = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    doctor::Surroundings { variable: &variable, variables, folder, resolve: doctor::resolve }
}

/// What is not UTF-8 comes with replacement characters, which no setting takes.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn fail(code: u8, error: &str) -> ExitCode {
    log::line(&format!("hardware-bridge: {error}"));
    ExitCode::from(code)
}
