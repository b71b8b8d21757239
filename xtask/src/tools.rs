//! What the tests need and the workspace does not hold: a browser, node packages, a Python with readers, real data.
//!
//! Every tool is looked for first and installed second, under the target folder where that is possible. Versions are
//! pinned here or in the lock file beside the tests; a download is used only when its digest is the pinned one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{cargo, command, on_path, quiet, root, tools_dir};

const CARGO_DENY: &str = "0.20.2";
const PYTHON_PACKAGES: &[&str] = &["duckdb==2.0.0", "pyarrow==26.0.1"];
const FLIGHTS_PACKAGE: &str = "vega-datasets@3.2.1";
const FLIGHTS_ARCHIVE: &str = "vega-datasets-3.2.1.tgz";
const FLIGHTS_MEMBER: &str = "package/data/flights-3m.parquet";
const FLIGHTS_SHA256: &str = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0";
/// One file of Debian's `fonts-noto-cjk`, without which Korean on a page is boxes.
const CJK_FONT: &str = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc";

/// One thing the tests are told of by an environment variable.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Short name for the report.
    pub(crate) name: &'static str,
    /// Variable that carries its place.
    pub(crate) variable: &'static str,
    /// Looks for it.
    pub(crate) find: fn() -> Option<PathBuf>,
    /// Installs it so that `find` finds it; the error is one sentence saying what to do.
    pub(crate) install: fn() -> Result<(), String>,
}

/// Everything the tests can use, in the order it is installed.
pub(crate) const TOOLS: &[Tool] = &[
    Tool { name: "chromium", variable: "SPANDREL_CHROMIUM", find: chromium, install: install_chromium },
    Tool {
        name: "playwright",
        variable: "SPANDREL_NODE_MODULES",
        find: || node_modules("browser"),
        install: || install_node_modules("browser"),
    },
    Tool {
        name: "socket.io",
        variable: "SPANDREL_BRIDGE_MODULES",
        find: || node_modules("bridge"),
        install: || install_node_modules("bridge"),
    },
    Tool { name: "python readers", variable: "SPANDREL_PYTHON", find: python, install: install_python },
    Tool { name: "flights-3m", variable: "SPANDREL_FLIGHTS_3M", find: flights, install: install_flights },
];

/// The pinned cargo-deny, or the one on `PATH`, or a new one under the target folder.
///
/// # Errors
///
/// One sentence when it is nowhere and does not build.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    let own = tools_dir().join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if own.is_file() {
        return Ok(own);
    }
    if let Some(found) = on_path(&["cargo-deny"]) {
        return Ok(found);
    }
    // Unoptimised it builds in a third of the CPU time and checks as fast: the check is mostly waiting.
    let mut install = cargo();
    install.args(["install", "cargo-deny", "--locked", "--debug", "--quiet", "--version", CARGO_DENY]);
    install.arg("--root").arg(tools_dir());
    // Its own build folder, removed afterwards: half a gigabyte that nothing needs again.
    let build = tools_dir().join("build");
    let done = quiet(install.arg("--target-dir").arg(&build));
    let _ = fs::remove_dir_all(&build);
    done.map_err(|why| format!("cargo-deny {CARGO_DENY} could not be installed: {why}"))?;
    Ok(own)
}

fn chromium() -> Option<PathBuf> {
    let named = ["SPANDREL_CHROMIUM", "CHROMIUM"].iter().find_map(std::env::var_os).map(PathBuf::from);
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found = named.filter(|file| file.is_file()).or_else(|| on_path(&names))?;
    // The pictures hold Korean; where there is apt the font is one more package, elsewhere systems bring their own.
    let fonts_missing = on_path(&["apt-get"]).is_some() && !Path::new(CJK_FONT).is_file();
    (!fonts_missing).then_some(found)
}

fn install_chromium() -> Result<(), String> {
    apt(&["chromium", "fonts-noto-cjk"])
}

/// Installs Debian packages, as root or by a `sudo` that does not ask.
fn apt(packages: &[&str]) -> Result<(), String> {
    let wanted = packages.join(" and ");
    if on_path(&["apt-get"]).is_none() {
        return Err(format!("install {wanted} by hand: this system has no apt-get"));
    }
    let is_root = quiet(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let run = |args: &[&str]| {
        let mut apt = if is_root { command("apt-get") } else { command("sudo") };
        if !is_root {
            apt.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        quiet(apt.env("DEBIAN_FRONTEND", "noninteractive").args(args))
    };
    run(&["update"])
        .and_then(|_| run(&[&["install", "-y", "--no-install-recommends"], packages].concat()))
        .map(|_| ())
        .map_err(|why| format!("install {wanted} by hand: {why}"))
}

/// The packages that the lock file of a folder of `tests/` names, when they are newer than it.
fn node_modules(folder: &str) -> Option<PathBuf> {
    on_path(&["node"])?;
    let dir = root().join("tests").join(folder);
    let modules = dir.join("node_modules");
    let written = |file: PathBuf| fs::metadata(file).and_then(|meta| meta.modified()).ok();
    let done = written(modules.join(".package-lock.json"))?;
    (done >= written(dir.join("package-lock.json"))?).then_some(modules)
}

fn install_node_modules(folder: &str) -> Result<(), String> {
    let npm = on_path(&["npm"]).ok_or("install node 20 or later with npm")?;
    let mut ci = command(npm);
    ci.current_dir(root().join("tests").join(folder));
    ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    quiet(&mut ci).map(|_| ()).map_err(|why| format!("`npm ci` in tests/{folder} failed: {why}"))
}

fn venv() -> PathBuf {
    tools_dir().join("venv")
}

fn venv_python() -> PathBuf {
    if cfg!(windows) { venv().join("Scripts").join("python.exe") } else { venv().join("bin").join("python") }
}

fn python() -> Option<PathBuf> {
    let stamp = fs::read_to_string(venv().join("spandrel.txt")).ok()?;
    (stamp == PYTHON_PACKAGES.join("\n") && venv_python().is_file()).then(venv_python)
}

fn install_python() -> Result<(), String> {
    let python = on_path(&["python3", "python"]).ok_or("install python 3.10 or later")?;
    let make = || quiet(command(&python).args(["-m", "venv", "--clear"]).arg(venv()));
    // Debian splits the module off; only there is a second try worth anything.
    make()
        .or_else(|_| apt(&["python3-venv"]).and_then(|()| make()))
        .map_err(|why| format!("no virtual environment could be made: {why}"))?;
    let mut pip = command(venv_python());
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    quiet(pip.args(PYTHON_PACKAGES)).map_err(|why| format!("pip could not install the readers: {why}"))?;
    // Written last: an interrupted install is done again.
    fs::write(venv().join("spandrel.txt"), PYTHON_PACKAGES.join("\n")).map_err(|error| error.to_string())
}

fn flights_file() -> PathBuf {
    tools_dir().join(FLIGHTS_MEMBER)
}

fn flights() -> Option<PathBuf> {
    let file = flights_file();
    (file.is_file() && sha256(&file).is_ok_and(|digest| digest == FLIGHTS_SHA256)).then_some(file)
}

fn install_flights() -> Result<(), String> {
    let npm = on_path(&["npm"]).ok_or("install node 20 or later with npm")?;
    let dir = tools_dir();
    fs::create_dir_all(&dir).map_err(|error| format!("{} cannot be made: {error}", dir.display()))?;
    quiet(command(npm).current_dir(&dir).args(["pack", "--loglevel", "error", FLIGHTS_PACKAGE]))
        .map_err(|why| format!("{FLIGHTS_PACKAGE} could not be fetched: {why}"))?;
    let archive = dir.join(FLIGHTS_ARCHIVE);
    quiet(command("tar").current_dir(&dir).args(["-xzf", FLIGHTS_ARCHIVE, FLIGHTS_MEMBER]))
        .map_err(|why| format!("{FLIGHTS_ARCHIVE} could not be unpacked: {why}"))?;
    let digest = sha256(&flights_file())?;
    let _ = fs::remove_file(archive);
    if digest == FLIGHTS_SHA256 {
        return Ok(());
    }
    let _ = fs::remove_file(flights_file());
    Err(format!("{FLIGHTS_MEMBER} has SHA-256 {digest}, expected {FLIGHTS_SHA256}; it was deleted"))
}

/// SHA-256 by whichever of three programs is there: the standard library has none, and one dependency would cost
/// every fresh clone seconds.
fn sha256(file: &Path) -> Result<String, String> {
    const NODE: &str = "const h=require('crypto').createHash('sha256');\
                        h.update(require('fs').readFileSync(process.argv[1]));console.log(h.digest('hex'))";
    let tries: [(&str, &[&str]); 3] =
        [("sha256sum", &[]), ("shasum", &["-a", "256"]), ("node", &["-e", NODE])];
    let out = tries.iter().find_map(|(program, args)| {
        let mut hash: Command = command(on_path(&[program])?);
        quiet(hash.args(*args).arg(file)).ok()
    });
    out.and_then(|text| text.split_whitespace().next().map(str::to_owned))
        .ok_or_else(|| format!("no SHA-256 of {} could be taken", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_the_digest_of_the_file() {
        let file = std::env::temp_dir().join(format!("spandrel-xtask-{}", std::process::id()));
        fs::write(&file, "abc").expect("a temporary file can be written");
        let digest = sha256(&file);
        fs::remove_file(&file).expect("it can be removed");
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.as_deref(), Ok(want));
    }

    #[test]
    fn every_tool_has_its_own_variable() {
        let variables: std::collections::BTreeSet<_> = TOOLS.iter().map(|tool| tool.variable).collect();
        assert_eq!(variables.len(), TOOLS.len());
    }
}
