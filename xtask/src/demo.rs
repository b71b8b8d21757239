//! `cargo demo`: the download server with its bundled data, built in release.

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
            complain(&format!(
                "the {name} demo is not built yet; `cargo demo` shows the download server, which is"
            ));
            2
        }
        Plan::Unknown(name) => usage(&format!("there is no demo `{name}`")),
        Plan::Download(rest) => download(rest).unwrap_or_else(|what| {
            complain(&what);
            1
        }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Plan<'a> {
    Help,
    NotBuilt(&'a str),
    Unknown(&'a str),
    Download(&'a [String]),
}

fn plan(args: &[String]) -> Plan<'_> {
    let Some((first, rest)) = args.split_first() else { return Plan::Download(args) };
    match first.as_str() {
        flag if is_help(flag) => Plan::Help,
        "bridge" | "chain" => Plan::NotBuilt(first),
        "download" => Plan::Download(rest),
        // The alias ends in `--`, so a second one reaches us when somebody writes it out of habit.
        "--" => plan(rest),
        flag if flag.starts_with('-') => Plan::Download(args),
        name => Plan::Unknown(name),
    }
}

fn download(args: &[String]) -> Result<u8, String> {
    loud(cargo().args(["build", "--release", "--locked", "--package", "download-server"]))?;
    let file = format!("download-server{}", std::env::consts::EXE_SUFFIX);
    let mut server = command(target().join("release").join(file));
    server.arg("demo").args(args);
    become_it(server)
}

/// The server takes the place of this process, so that Ctrl-C reaches it alone and its exit code is ours.
#[cfg(unix)]
fn become_it(mut server: std::process::Command) -> Result<u8, String> {
    let error = std::os::unix::process::CommandExt::exec(&mut server);
    Err(format!("`{}` does not start: {error}", server.get_program().to_string_lossy()))
}

#[cfg(not(unix))]
fn become_it(mut server: std::process::Command) -> Result<u8, String> {
    let status = server.status().map_err(|error| format!("the server does not start: {error}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_the_demo() {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(plan(&[]), Plan::Download(&[]));
        assert_eq!(plan(&owned(&["bridge"])), Plan::NotBuilt("bridge"));
        assert_eq!(plan(&owned(&["chain", "--x"])), Plan::NotBuilt("chain"));
        assert_eq!(plan(&owned(&["donwload"])), Plan::Unknown("donwload"));
        assert_eq!(plan(&owned(&["--help"])), Plan::Help);
        let rest = owned(&["--listen", "127.0.0.1:0"]);
        assert_eq!(plan(&rest), Plan::Download(&rest));
        assert_eq!(plan(&owned(&["download", "--listen", "127.0.0.1:0"])), Plan::Download(&rest));
        assert_eq!(plan(&owned(&["--", "--listen", "127.0.0.1:0"])), Plan::Download(&rest));
    }
}
