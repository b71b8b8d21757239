//! `cargo verify`: everything a change must pass, one line per step, the sum of all tests last.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::count::Count;
use crate::process::{cargo, command, complain, loud, print, target};
use crate::tools::{TOOLS, cargo_deny};
use crate::{HELP, is_help, usage};

/// What clippy says of a path in `clippy.toml` that it cannot find: a warning, even where warnings are errors.
const DEAD_RULE: &str = "does not refer to a reachable function";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Options {
    fast: bool,
    long: bool,
}

/// Runs the checks and gives the exit code.
pub(crate) fn run(args: &[String]) -> u8 {
    if args.iter().any(|arg| is_help(arg)) {
        print(HELP.trim_end());
        return 0;
    }
    let options = match parse(args) {
        Ok(options) => options,
        Err(what) => return usage(&what),
    };
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    match all(options, is_ci) {
        Ok(()) => 0,
        Err(Stop::Said) => 1,
        Err(Stop::Say(what)) => {
            complain(&format!("verify: {what}"));
            1
        }
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    for arg in args {
        match arg.as_str() {
            "--fast" => options.fast = true,
            "--long" => options.long = true,
            "--" => {}
            other => return Err(format!("verify knows no `{other}`")),
        }
    }
    if options.fast && options.long {
        Err("--fast and --long exclude each other".into())
    } else {
        Ok(options)
    }
}

/// Why verify stops.
enum Stop {
    Say(String),
    /// The reason is already on the screen and the last line must stay the counts.
    Said,
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Say(what)
    }
}

fn all(options: Options, is_ci: bool) -> Result<(), Stop> {
    let environment = provide(options, is_ci)?;
    step("format", || {
        loud(cargo().args(["fmt", "--all", "--check"])).map_err(|_| "run `cargo fmt --all`".into())
    })?;
    step("lints", lints)?;
    if !options.fast {
        dependencies(is_ci)?;
    }
    let mut environment = environment;
    step("programs", || {
        environment.extend(programs()?);
        Ok(())
    })?;
    tests(&environment)
}

/// Looks for each tool, installs what is missing, and collects the variables the tests read.
fn provide(options: Options, is_ci: bool) -> Result<Vec<(&'static str, OsString)>, Stop> {
    let mut environment = Vec::new();
    for tool in TOOLS {
        if options.fast && ["SPANDREL_CHROMIUM", "SPANDREL_NODE_MODULES"].contains(&tool.variable) {
            continue;
        }
        let clock = Clock::start();
        let mut found = (tool.find)();
        let mut why = String::from("not there, and --fast installs nothing");
        if found.is_none() && !options.fast {
            print(&format!("{:<16} installing", tool.name));
            why = (tool.install)().err().unwrap_or_else(|| "installed, and still not found".into());
            found = (tool.find)();
        }
        match found {
            Some(place) => {
                clock.report(tool.name, "ok", &place.display().to_string());
                environment.push((tool.variable, place.into_os_string()));
            }
            None if is_ci && !options.fast => return Err(Stop::Say(format!("no {}: {why}", tool.name))),
            None => clock.report(tool.name, "missing", &format!("its tests skip themselves: {why}")),
        }
    }
    for (variable, is_on) in [("SPANDREL_LONG", options.long), ("SPANDREL_FAST", options.fast)] {
        if is_on {
            environment.push((variable, "1".into()));
        }
    }
    Ok(environment)
}

/// Runs clippy with its messages on our standard error, and reads along for rules that match nothing.
fn lints() -> Result<(), String> {
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]);
    let mut child = clippy.stderr(Stdio::piped()).spawn().map_err(|error| format!("clippy: {error}"))?;
    let mut is_dead = false;
    for line in BufReader::new(child.stderr.take().ok_or("clippy has no standard error")?).lines() {
        let line = line.map_err(|error| format!("clippy's messages cannot be read: {error}"))?;
        is_dead |= line.contains(DEAD_RULE);
        complain(&line);
    }
    let status = child.wait().map_err(|error| format!("clippy: {error}"))?;
    match (status.success(), is_dead) {
        (false, _) => Err("clippy found something; see above".into()),
        (true, true) => Err(format!("clippy.toml names a path that {DEAD_RULE}: correct the spelling")),
        (true, false) => Ok(()),
    }
}

/// Licences, sources and banned crates, by cargo-deny.
fn dependencies(is_ci: bool) -> Result<(), Stop> {
    let clock = Clock::start();
    match cargo_deny() {
        Ok(deny) => {
            let mut check = command(deny);
            check.args(["--locked", "--log-level", "error", "check", "--hide-inclusion-graph"]);
            loud(check.args(["bans", "licenses", "sources"]))
                .map_err(|_| Stop::Say("cargo-deny refuses a dependency; see above".into()))?;
            clock.report("dependencies", "ok", "");
            Ok(())
        }
        Err(why) if is_ci => Err(Stop::Say(why)),
        Err(why) => {
            clock.report("dependencies", "missing", &format!("not checked: {why}"));
            Ok(())
        }
    }
}

/// Builds the programs that the tests of `tests/` start, so that none of them waits for a compiler.
fn programs() -> Result<[(&'static str, OsString); 2], String> {
    let [server, bridge] = ["download-server", "hardware-bridge"];
    loud(cargo().args(["build", "--quiet", "--locked", "--package", server, "--package", bridge]))?;
    let built = |name| target().join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX)).into();
    Ok([("SPANDREL_DOWNLOAD_SERVER", built(server)), ("SPANDREL_HARDWARE_BRIDGE", built(bridge))])
}

/// Runs every test and prints the sum as the last line.
fn tests(environment: &[(&'static str, OsString)]) -> Result<(), Stop> {
    let clock = Clock::start();
    let skips = target().join("skips.txt");
    let _ = fs::remove_file(&skips);
    let mut test = cargo();
    test.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    for tool in TOOLS {
        test.env_remove(tool.variable); // what was not found now must not come from the shell
    }
    test.env("SPANDREL_SKIPS", &skips).envs(environment.iter().cloned());
    let mut child = test.stdout(Stdio::piped()).spawn().map_err(|error| format!("cargo test: {error}"))?;
    let mut count = Count::default();
    let mut out =
        child.stdout.take().map(BufReader::new).ok_or("cargo test has no standard output".to_owned())?;
    let mut line = Vec::new();
    // Bytes, not text: a test may print what is no UTF-8.
    while out.read_until(b'\n', &mut line).map_err(|error| format!("cargo test: {error}"))? > 0 {
        let _ = std::io::stdout().write_all(&line);
        count.take(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child.wait().map_err(|error| format!("cargo test: {error}"))?;
    let skipped = fs::read_to_string(&skips).unwrap_or_default();
    for line in skipped.lines() {
        print(&format!("skipped: {line}"));
    }
    count.skip(u64::try_from(skipped.lines().count()).unwrap_or(u64::MAX));

    let good = status.success() && count.failed == 0 && count.total() > 0;
    clock.report("tests", if good { "ok" } else { "FAILED" }, "");
    if count.total() == 0 {
        complain("verify: no test ran at all, which is a failure of its own");
    } else if !good {
        complain("verify: tests failed; see above");
    }
    print(&count.to_string());
    if good { Ok(()) } else { Err(Stop::Said) }
}

/// Runs one step and prints its line, also when it fails.
fn step(name: &str, run: impl FnOnce() -> Result<(), String>) -> Result<(), Stop> {
    let clock = Clock::start();
    let done = run();
    clock.report(name, if done.is_ok() { "ok" } else { "FAILED" }, "");
    done.map_err(|what| Stop::Say(format!("{name}: {what}")))
}

/// How long a step takes; the one place of this program that reads a clock.
struct Clock(Instant);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "verify owns its clock: it reports the seconds of each step"
    )]
    fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "verify owns its clock: it reports the seconds of each step"
    )]
    fn report(&self, name: &str, outcome: &str, note: &str) {
        print(report_line(name, outcome, self.0.elapsed(), note).trim_end());
    }
}

fn report_line(name: &str, outcome: &str, took: Duration, note: &str) -> String {
    format!("{name:<16} {outcome:<8} {:>7.1} s  {note}", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_others_refused() {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (name, words, want) in [
            ("none", &[][..], Some(Options::default())),
            ("fast", &["--fast"], Some(Options { fast: true, long: false })),
            ("long", &["--long"], Some(Options { fast: false, long: true })),
            ("both", &["--fast", "--long"], None),
            ("misspelt", &["--fsat"], None),
        ] {
            assert_eq!(parse(&owned(words)).ok(), want, "{name}");
        }
    }

    #[test]
    fn a_step_is_one_line_with_its_seconds() {
        let line = report_line("format", "ok", Duration::from_millis(1234), "");
        assert_eq!(line.trim_end(), "format           ok           1.2 s");
    }
}
