//! `cargo demo`: a program with all it needs to be seen at work, built in release.

use crate::process::{cargo, command, complain, loud, print, target};
use crate::{HELP, is_help, usage};

/// Runs the demonstration named by the arguments and gives the exit code.
pub(crate) fn run(args: &[String]) -> u8 {
    match plan(args) {
        Plan::Help => {
            print(HELP.trim_end());
            0
        }
        Plan::NotBuilt(name) => {
            complain(&format!("the {name} demo is not built yet; `cargo demo` and `cargo demo bridge` are"));
            2
        }
        Plan::Unknown(name) => usage(&format!("there is no demo `{name}`")),
        Plan::Show(package, rest) => show(package, rest).unwrap_or_else(|what| {
            complain(&what);
            1
        }),
    }
}

const DOWNLOAD: &str = "download-server";
const BRIDGE: &str = "hardware-bridge";

#[derive(Debug, PartialEq, Eq)]
enum Plan<'a> {
    Help,
    NotBuilt(&'a str),
    Unknown(&'a str),
    /// A package and the arguments of its demonstration.
    Show(&'static str, &'a [String]),
}

fn plan(args: &[String]) -> Plan<'_> {
    let Some((first, rest)) = args.split_first() else { return Plan::Show(DOWNLOAD, args) };
    match first.as_str() {
        flag if is_help(flag) => Plan::Help,
        "chain" => Plan::NotBuilt(first),
        "download" => Plan::Show(DOWNLOAD, rest),
        "bridge" => Plan::Show(BRIDGE, rest),
        // The alias ends in `--`, so a second one reaches us when somebody writes it out of habit.
        "--" => plan(rest),
        flag if flag.starts_with('-') => Plan::Show(DOWNLOAD, args),
        name => Plan::Unknown(name),
    }
}

fn show(package: &str, args: &[String]) -> Result<u8, String> {
    loud(cargo().args(["build", "--release", "--locked", "--package", package]))?;
    let file = format!("{package}{}", std::env::consts::EXE_SUFFIX);
    let mut program = command(target().join("release").join(file));
    program.arg("demo").args(args);
    become_it(program)
}

/// The program takes the place of this process, so that Ctrl-C reaches it alone and its exit code is ours.
#[cfg(unix)]
fn become_it(mut program: std::process::Command) -> Result<u8, String> {
    let error = std::os::unix::process::CommandExt::exec(&mut program);
    Err(format!("`{}` does not start: {error}", program.get_program().to_string_lossy()))
}

#[cfg(not(unix))]
fn become_it(mut program: std::process::Command) -> Result<u8, String> {
    let status = program.status().map_err(|error| format!("the program does not start: {error}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_the_demo() {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(plan(&[]), Plan::Show(DOWNLOAD, &[]));
        assert_eq!(plan(&owned(&["chain"])), Plan::NotBuilt("chain"));
        assert_eq!(plan(&owned(&["chain", "--x"])), Plan::NotBuilt("chain"));
        assert_eq!(plan(&owned(&["donwload"])), Plan::Unknown("donwload"));
        assert_eq!(plan(&owned(&["--help"])), Plan::Help);
        let rest = owned(&["--listen", "127.0.0.1:0"]);
        assert_eq!(plan(&rest), Plan::Show(DOWNLOAD, &rest));
        assert_eq!(plan(&owned(&["download", "--listen", "127.0.0.1:0"])), Plan::Show(DOWNLOAD, &rest));
        assert_eq!(plan(&owned(&["bridge", "--listen", "127.0.0.1:0"])), Plan::Show(BRIDGE, &rest));
        assert_eq!(plan(&owned(&["--", "--listen", "127.0.0.1:0"])), Plan::Show(DOWNLOAD, &rest));
    }
}
