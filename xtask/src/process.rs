//! Starting other programs, and the two ways this one speaks.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A line on standard output.
pub(crate) fn print(line: &str) {
    // A closed pipe (`cargo verify | head`) is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // At run time cargo tells where the manifest is now; the compiled-in path may be of a moved checkout.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Where cargo puts its output.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
    named.map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where `verify` installs what is not part of the workspace.
pub(crate) fn tools_dir() -> PathBuf {
    target().join("tools")
}

/// A command that runs in the root, without what cargo set for this program.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // With these in place a later `cargo test` by hand would see another environment and build again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let own = ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| text.starts_with(prefix));
        if own || ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The first of `names` on `PATH`.
pub(crate) fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let suffix = std::env::consts::EXE_SUFFIX;
    names.iter().find_map(|name| {
        dirs.iter().map(|dir| dir.join(format!("{name}{suffix}"))).find(|file| file.is_file())
    })
}

/// Runs to the end without showing anything, and gives what it printed on standard output.
///
/// # Errors
///
/// One sentence with the line of its standard error that says most.
pub(crate) fn quiet(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out =
        command.stdin(Stdio::null()).output().map_err(|error| format!("`{name}` does not start: {error}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let err = String::from_utf8_lossy(&out.stderr);
    Err(format!("`{name}` ended with {}: {}", out.status, telling_line(&err)))
}

/// The line of a program's complaints that most likely says why: the first with "error", else the last.
fn telling_line(complaints: &str) -> &str {
    let mut lines = complaints.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.to_ascii_lowercase().contains("error"));
    error.or_else(|| lines.next_back()).unwrap_or("it said nothing")
}

/// Runs to the end with its output on ours.
///
/// # Errors
///
/// One sentence saying which program failed.
pub(crate) fn loud(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("`{name}` does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{name}` ended with {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_line_is_the_first_error_or_the_last_word() {
        for (name, complaints, want) in [
            (
                "npm",
                "npm error code ENOTFOUND\nnpm error network down\nnpm error A complete log",
                "npm error code ENOTFOUND",
            ),
            ("pip", "WARNING: old\nERROR: no such version\nhint: none", "ERROR: no such version"),
            ("apt", "W: stale\nE: unable to locate package\n\n", "E: unable to locate package"),
            ("silent", "\n  \n", "it said nothing"),
        ] {
            assert_eq!(telling_line(complaints), want, "{name}");
        }
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("xtask").join("Cargo.toml").is_file());
    }
}
