//! The download server: exports rows of a time range to CSV or JSON files, driven over WebSocket or HTTP.
//!
//! Wiring only: configuration in `config`, the running server in `serve`, one export without a server in `export`,
//! the client in `get`.
//!
//! Exit codes: 0 done, 1 the server could not start, 2 usage or configuration, 3 to 8 as `GetError::exit_code` of the
//! client has them, 130 stopped by a second signal.

mod bar;
mod config;
mod export;
mod get;
mod memory;
mod sample;
mod serve;
mod words;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  download-server demo                                  look around with bundled data
  download-server --data trades.parquet                 serve one data set on 127.0.0.1:8001
  download-server --config server.toml                  serve as configured
  download-server --config server.json --listen 127.0.0.1:0 --state-dir /var/lib/exports
  download-server export --data trades -o trades.csv    one export, no server
  download-server get http://127.0.0.1:8001 --from 2013-01-01T00:00:00Z --to 2013-02-01T00:00:00Z

Flags win over SPANDREL_LISTEN, SPANDREL_STATE_DIR, SPANDREL_CONFIG, SPANDREL_DATA and
SPANDREL_PUBLIC_BASE_URL, those over the configuration file. The address goes to stdout once the
server can be asked, the log to stderr; RUST_LOG chooses what it says (default: info).
SIGHUP looks at keys, tokens, certificate and data again; SIGTERM and SIGINT stop in good order, a
second one at once. `download-server help serve` shows a configuration.

Exit codes: 0 stopped in good order, 1 the server could not start, 2 usage, 130 stopped at once;
3 to 8 are those of `download-server help get`.";

/// Exports rows of a time range to CSV or JSON files, with live progress and durable jobs
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves data sets (what happens without a command, too)
    #[command(after_help = serve::HELP)]
    Serve(serve::ServeArgs),
    /// Serves bundled data on a free port of this machine
    Demo(serve::DemoArgs),
    /// Exports from a server to files here
    Get(Box<get::GetArgs>),
    Export(Box<export::ExportArgs>),
    Sample(sample::SampleArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(
            if matches!(cli.command, Some(Command::Get(_) | Command::Export(_) | Command::Sample(_))) {
                "warn"
            } else {
                "info"
            },
        )
    });
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .init();
    match &cli.command {
        // These need no runtime, only threads of their own.
        Some(Command::Export(args)) => return export::run(args),
        Some(Command::Sample(args)) => return sample::run(args),
        _ => {}
    }
    let watched = memory::Watched::default();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    memory::give_back_on_park(&mut builder, &watched);
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let ended = match cli.command {
        Some(Command::Get(args)) => Ok(runtime.block_on(get::run(*args))),
        Some(Command::Export(_) | Command::Sample(_)) => Ok(ExitCode::SUCCESS),
        Some(Command::Demo(args)) => runtime.block_on(serve::demo(args, &watched)),
        Some(Command::Serve(args)) => runtime.block_on(serve::serve(args, &watched)),
        None if cli.serve.config.is_none() && cli.serve.data.is_none() => {
            let _ = Cli::command().write_help(&mut std::io::stderr());
            return ExitCode::from(2);
        }
        None => runtime.block_on(serve::serve(cli.serve, &watched)),
    };
    // Threads that still read or write are durable wherever they are.
    runtime.shutdown_background();
    ended.unwrap_or_else(|stop| match stop {
        serve::Stop::Configuration(error) => {
            fail(&error);
            ExitCode::from(2)
        }
        serve::Stop::Failed(error) => fail(&error),
    })
}

fn fail(error: &str) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "download-server: {error}");
    ExitCode::FAILURE
}
