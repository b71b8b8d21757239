//! `doctor`: looks at everything a bridge needs on this machine, and says in plain words what is wrong and what to do.
//!
//! Looks only: it opens no session with a running bridge, takes no channel and changes nothing.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use spandrel_bridge_protocol::{OriginHeader, Shown};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::config::{Flags, NAMES, Set, Settings, Source};

mod certificates;
mod port;

/// The names that pages of the official site dial over TLS.
const PUBLIC_NAMES: [&str; 2] = ["hw.playentry.org", "hardware.playentry.org"];
/// A resolver that says nothing for so long is none.
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);

/// What was found, line by line.
#[derive(Debug, Default)]
struct Report {
    text: String,
    wrong: usize,
}

impl Report {
    fn section(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}{title}");
    }

    fn good(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.text, "  ok     {}", line.as_ref());
    }

    /// Something to know that needs no mending.
    fn note(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.text, "  note   {}", line.as_ref());
    }

    fn wrong(&mut self, line: impl AsRef<str>) {
        self.wrong += 1;
        let _ = writeln!(self.text, "  WRONG  {}", line.as_ref());
    }
}

/// How names are looked up.
pub(crate) type Resolve = fn(&'static str) -> Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>>;

/// Everything outside this process that it looks at, so that tests can say it.
pub(crate) struct Surroundings<'a> {
    /// The environment's variables.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The names of all of them.
    pub(crate) variables: Vec<String>,
    /// The folder of the executable.
    pub(crate) folder: &'a Path,
    /// Names of the network.
    pub(crate) resolve: Resolve,
}

/// Examines this machine. Exit code 0: all is well; 1: something is wrong.
pub(crate) async fn run(flags: &Flags, around: &Surroundings<'_>) -> ExitCode {
    let report = examine(flags, around).await;
    let verdict = match report.wrong {
        0 => "All is well.".to_owned(),
        1 => "One thing is wrong.".to_owned(),
        many => format!("{many} things are wrong."),
    };
    crate::log::out(&format!("{}\n{verdict}\n", report.text));
    if report.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn examine(flags: &Flags, around: &Surroundings<'_>) -> Report {
    let mut report = Report::default();
    report.section("Configuration");
    match Settings::read(flags, around.folder, around.variable) {
        Ok(settings) => {
            configuration(&mut report, &settings);
            stray_variables(&mut report, around);
            report.section("Origins");
            origins(&mut report, &settings);
            report.section("Port");
            port::examine(&mut report, settings.port.value).await;
            status(&mut report, settings.status.value).await;
            report.section("Certificates");
            let is_tls = certificates::examine(&mut report, &settings.tls_dir.value, now_s());
            report.section("Names");
            names(&mut report, around.resolve, settings.port.value, is_tls).await;
        }
        Err(error) => {
            report.wrong(format!("{error}; the rest of it is not looked at before that is mended"));
            stray_variables(&mut report, around);
        }
    }
    report.section("Parent and system");
    channel(&mut report, around);
    descriptors(&mut report);
    report
}

fn configuration(report: &mut Report, settings: &Settings) {
    match &settings.file {
        Some(file) => {
            report.good(format!("read {}", file.display()));
            let has_secret = settings.secret.source == Source::File || settings.token.source == Source::File;
            if has_secret && let Some(mode) = open_to_others(file) {
                report.wrong(format!(
                    "{} holds a secret and others can read it (mode {mode:04o}): chmod 600 it",
                    file.display()
                ));
            }
        }
        None => report.note(format!("no {} beside the program: defaults hold", crate::config::FILE_NAME)),
    }
    let whether = |is_set: bool| if is_set { "set" } else { "not set" }.to_owned();
    let [port, tls_dir, secret, origins, token, status, log] = NAMES;
    for (name, value, source) in [
        (port, settings.port.value.to_string(), settings.port.source),
        (tls_dir, settings.tls_dir.value.display().to_string(), settings.tls_dir.source),
        (secret, whether(settings.secret.value.is_some()), settings.secret.source),
        (origins, settings.origins.value.to_string(), settings.origins.source),
        (token, whether(settings.token.value.is_some()), settings.token.source),
        (status, settings.status.value.map_or("off".to_owned(), |at| at.to_string()), settings.status.source),
        (log, settings.log.value.to_string(), settings.log.source),
    ] {
        report.good(format!("{} = {value} ({source})", name.key));
    }
    if settings.secret.value.is_none() {
        report.note("encrypt and decrypt get no answer without a secret; present programs do not ask");
    }
}

/// A misspelt variable does nothing, silently.
fn stray_variables(report: &mut Report, around: &Surroundings<'_>) {
    let strays = around.variables.iter().filter(|variable| {
        variable.starts_with("SPANDREL_HW_") && NAMES.iter().all(|name| name.variable != *variable)
    });
    for stray in strays {
        let known = NAMES.map(|name| name.variable).join(", ");
        report.wrong(format!("{} is no setting; known are {known}", Shown::new(stray.as_bytes())));
    }
}

fn origins(report: &mut Report, settings: &Settings) {
    let Set { value: origins, .. } = &settings.origins;
    if origins.to_string().is_empty() {
        report.note("the list is empty: no page may connect, only programs");
        return;
    }
    for entry in origins.to_string().split(',') {
        let means = match entry {
            "loopback" => "pages from http(s)://localhost, 127.0.0.1 and [::1], any port",
            "file" => "pages that a desktop program opened from disk",
            "null" => "pages from disk, and sandboxed frames of any web page",
            "*" => "every page of every site, under any host name",
            name if name.starts_with("*.") => "https, default port, all names below it",
            _ => "exactly this one",
        };
        report.good(format!("{entry}: {means}"));
    }
    if origins.is_open() {
        report.note("with * any web page can read sensors and drive hardware; name the sites instead");
    } else if origins.admits(&OriginHeader::Null) {
        report.note("null lets in frames of any web page; take it out unless pages from disk must poll");
    }
}

/// Whether the status page can listen where it should.
async fn status(report: &mut Report, address: Option<SocketAddr>) {
    let Some(address) = address else { return };
    match TcpListener::bind(address).await {
        Ok(_) => report.good(format!("status page: {address} is free")),
        Err(error) => report.wrong(format!("status page: cannot listen on {address}: {error}")),
    }
    if !address.ip().is_loopback() {
        report.note(format!("status page: {address} is open to other machines"));
    }
}

/// Whether the public names lead here. Pages use them over https only.
async fn names(report: &mut Report, resolve: Resolve, port: u16, is_tls: bool) {
    let [one, other] = PUBLIC_NAMES;
    let (found_one, found_other) = tokio::join!(resolve(one), resolve(other));
    for (name, found) in [(one, found_one), (other, found_other)] {
        let shown = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if found.is_empty() {
            report.note(format!(
                "{name} cannot be resolved here (no network?): pages then use http://127.0.0.1:{port}, if the browser lets them"
            ));
        } else if found.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)) && found.iter().all(IpAddr::is_loopback) {
            report.good(format!("{name} is {shown}"));
        } else if is_tls {
            report.wrong(format!(
                "{name} is {shown}, not 127.0.0.1: https pages do not find this machine; a router or proxy \
                 changes the answer: allow it there, or add \"127.0.0.1 {name}\" to the hosts file"
            ));
        } else {
            report.note(format!("{name} is {shown}, not 127.0.0.1; pages use it over TLS only"));
        }
    }
}

/// Asks the system for the addresses of a name. None when it has no answer in time.
pub(crate) fn resolve(name: &'static str) -> Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>> {
    Box::pin(async move {
        match timeout(RESOLVE_WITHIN, tokio::net::lookup_host((name, 0))).await {
            Ok(Ok(found)) => found.map(|at| at.ip()).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    })
}

/// The parent's channel, by the environment alone: taking it would end a session.
fn channel(report: &mut Report, around: &Surroundings<'_>) {
    let variable = |name: &str| (around.variable)(name).filter(|text| !text.is_empty());
    match variable("NODE_CHANNEL_FD") {
        None => report.note(
            "no NODE_CHANNEL_FD: a hardware program sets it when it starts the bridge; others use --stdio",
        ),
        Some(_) if !cfg!(unix) => {
            report.wrong("NODE_CHANNEL_FD is set, but this system has only --stdio so far")
        }
        Some(text) => match text.parse::<i32>() {
            Ok(fd) if fd >= 3 => report.good(format!("NODE_CHANNEL_FD is {fd}")),
            _ => report.wrong(format!(
                "NODE_CHANNEL_FD is {}, expected a number from 3 on",
                Shown::new(text.as_bytes())
            )),
        },
    }
    match variable("NODE_CHANNEL_SERIALIZATION_MODE").as_deref() {
        None | Some("json") => {}
        Some(mode) => report.wrong(format!(
            "NODE_CHANNEL_SERIALIZATION_MODE is {}: start the bridge without the option serialization: 'advanced'",
            Shown::new(mode.as_bytes())
        )),
    }
}

#[cfg(unix)]
fn descriptors(report: &mut Report) {
    use crate::system::{DESCRIPTORS_WANTED, descriptor_limit};
    match descriptor_limit().hard {
        Some(hard) if hard < DESCRIPTORS_WANTED => report.wrong(format!(
            "this user may open {hard} files, {DESCRIPTORS_WANTED} are wanted for 2048 connections: raise the hard limit (ulimit -Hn)"
        )),
        hard => report.good(format!(
            "files: {} may be open, {DESCRIPTORS_WANTED} are wanted",
            hard.map_or("any number".to_owned(), |hard| hard.to_string())
        )),
    }
}

#[cfg(not(unix))]
fn descriptors(_: &mut Report) {}

#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    Some(mode).filter(|mode| mode & 0o077 != 0)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "certificates are judged by the clock of this machine")]
fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
