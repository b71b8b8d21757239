//! Developer commands: `cargo verify` and `cargo demo` (aliases in `.cargo/config.toml`).
//!
//! On the standard library alone, so that the first line appears within a second of a fresh clone.

mod count;
mod demo;
mod process;
mod tools;
mod verify;

use std::process::ExitCode;

const HELP: &str = "\
Developer commands of the Spandrel workspace.

  cargo verify            install what the tests need, then check format, lints, dependencies
                          and run every test; the last line is the sum of all test binaries
  cargo verify --fast     the inner loop: no installs, no cargo-deny, no browser
  cargo verify --long     the nightly tier as well (tests see SPANDREL_LONG=1)
  cargo demo [ARGS]       build the download server in release and run `download-server demo ARGS`
  cargo demo bridge       the same with the hardware bridge: a simulated board and a page for it

Environment read:
  CI=true                 a tool that cannot be installed fails verify instead of skipping its tests
  SPANDREL_CHROMIUM       the browser to use (also CHROMIUM); otherwise found on PATH or installed

Environment given to the tests, each only when the thing is there:
  SPANDREL_CHROMIUM       a Chromium executable
  SPANDREL_NODE_MODULES   tests/browser/node_modules, with playwright-core
  SPANDREL_BRIDGE_MODULES  tests/bridge/node_modules, with socket.io-client
  SPANDREL_PYTHON         a Python with duckdb and pyarrow
  SPANDREL_FLIGHTS_3M     flights-3m.parquet of vega-datasets, 3,000,000 rows
  SPANDREL_DOWNLOAD_SERVER  the server that was just built
  SPANDREL_HARDWARE_BRIDGE  the bridge that was just built
  SPANDREL_LONG           1 under --long
  SPANDREL_FAST           1 under --fast
  SPANDREL_SKIPS          a file; a test that skips itself appends one line to it

Exit code: 0 all good, 1 something failed, 2 wrong arguments or not built yet.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = match args.split_first() {
        Some((command, rest)) if command == "verify" => verify::run(rest),
        Some((command, rest)) if command == "demo" => demo::run(rest),
        Some((flag, _)) if is_help(flag) => {
            process::print(HELP.trim_end());
            0
        }
        Some((other, _)) => usage(&format!("there is no command `{other}`")),
        None => usage("a command is missing"),
    };
    ExitCode::from(code)
}

/// Whether an argument asks for the help text.
fn is_help(arg: &str) -> bool {
    matches!(arg, "--help" | "-h" | "help")
}

/// Prints what was wrong with the arguments and the help; the exit code of it.
fn usage(what: &str) -> u8 {
    process::complain(&format!("{what}\n\n{}", HELP.trim_end()));
    2
}
