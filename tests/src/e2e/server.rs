//! The server under test: started with a configuration in a folder of its own, killed when dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::http::{Answer, Http};
use super::ws::Ws;

/// Longer than anything here takes on a busy machine; only a hang meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary: the one named by `SPANDREL_DOWNLOAD_SERVER`, else built once, beside this test.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("SPANDREL_DOWNLOAD_SERVER") {
            return named.into();
        }
        let exe = std::env::current_exe().expect("a test has a file");
        let folder = exe.parent().and_then(Path::parent).expect("target/<profile>/deps");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--package", "download-server"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let target = folder.parent().expect("target/<profile>");
        let built = build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        let built = built.expect("cargo starts");
        assert!(built.status.success(), "the server builds: {}", String::from_utf8_lossy(&built.stderr));
        folder.join(format!("download-server{}", std::env::consts::EXE_SUFFIX))
    })
}

/// A command of the binary that reads nothing and whose output is caught.
pub(crate) fn command(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Only what the command line says: no address, key or data of whoever runs the tests.
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SPANDREL_"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG");
    command
}

/// Runs a command of the binary to its end.
pub(crate) fn run(args: &[&str], folder: &Path) -> Output {
    command(args, folder).output().expect("the binary starts")
}

/// [`run`], and everything it said when it did not succeed.
pub(crate) fn run_well(args: &[&str], folder: &Path) -> String {
    let out = run(args, folder);
    assert!(out.status.success(), "{args:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A running server.
pub(crate) struct Server {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
    scheme: &'static str,
    tcp: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    /// From the start of the process until it could be asked.
    pub(crate) started_in: Duration,
}

impl Server {
    /// A server of the bundled flights; `config` is laid over its configuration.
    pub(crate) fn of_flights(config: Value) -> Self {
        Self::start(json!({ "datasets": [{ "name": "flights", "path": super::FLIGHTS }] }), config)
    }

    pub(crate) fn start(mut base: Value, config: Value) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        base["stateDir"] = "state".into();
        for (name, value) in config.as_object().expect("a configuration is an object") {
            base[name] = value.clone();
        }
        std::fs::write(folder.path().join("config.json"), base.to_string()).expect("the configuration");
        let scheme = if base.get("tls").is_some_and(|tls| !tls.is_null()) { "https" } else { "http" };
        let log = Arc::default();
        let (child, address, tcp, started_in) = launch(folder.path(), "127.0.0.1:0", &log);
        Self { folder, child, address, scheme, tcp, log, started_in }
    }

    /// Changes members of the configuration; the server reads it when it is told to.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Value)) {
        let path = self.folder.path().join("config.json");
        let text = std::fs::read(&path).expect("the configuration");
        let mut config = serde_json::from_slice(&text).expect("it is JSON");
        change(&mut config);
        std::fs::write(path, config.to_string()).expect("the configuration");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn job_dir(&self, id: &str) -> PathBuf {
        self.state_dir().join("jobs").join(id)
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(self.address)
    }

    /// Where it takes length-prefixed frames, if it was told to.
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.tcp.expect("tcpListen is configured")
    }

    pub(crate) async fn ws(&self) -> Ws {
        Ws::connect(self.address).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.http().get(path).await
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Sends SIGTERM and gives the exit code and how long it took.
    pub(crate) async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        self.signal("TERM");
        (self.ended().await, began.elapsed())
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status.code();
            }
            assert!(Instant::now() < until, "the server does not end\n{}", self.log());
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts again with the same state and port, after it ended.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.try_wait().is_ok_and(|status| status.is_some()), "it ended before");
        let at = self.address.to_string();
        (self.child, self.address, self.tcp, self.started_in) = launch(self.folder.path(), &at, &self.log);
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// A number of `/proc/<pid>/status`, such as `VmRSS` or `VmHWM`, in KiB.
    pub(crate) fn status_kib(&self, name: &str) -> u64 {
        size_kib(&self.child, name).expect("it runs")
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        self.status_kib("VmRSS")
    }

    pub(crate) fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM")
    }

    /// Names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(self.proc("task")).expect("it runs");
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        };
        tasks.filter_map(name).map(|name| name.trim().to_owned()).collect()
    }

    /// What its descriptors point to.
    pub(crate) fn open_files(&self) -> Vec<PathBuf> {
        let links = std::fs::read_dir(self.proc("fd")).expect("it runs");
        links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok()).collect()
    }

    fn proc(&self, what: &str) -> String {
        format!("/proc/{}/{what}", self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
    }
}

/// Starts the binary and reads its standard output until it says where it serves.
fn launch(
    folder: &Path,
    listen: &str,
    log: &Arc<Mutex<String>>,
) -> (Child, SocketAddr, Option<SocketAddr>, Duration) {
    let began = Instant::now();
    let mut command = Command::new(binary());
    command.args(["serve", "--config", "config.json", "--listen", listen]).current_dir(folder);
    let piped = command.env("RUST_LOG", "info").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.stdin(Stdio::null()).spawn().expect("the server starts");
    collect(child.stderr.take().expect("piped"), Arc::clone(log));
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut said = String::new();
    // The last line comes once everything listens.
    while !said.contains("Stop with") && out.read_line(&mut said).is_ok_and(|read| read > 0) {}
    let after = |name: &str| {
        let rest = said.split(name).nth(1)?.split("://").nth(1)?;
        rest.lines().next()?.trim_end_matches('/').parse().ok()
    };
    let Some(address) = after("Serving") else {
        let _ = child.kill();
        let status = child.wait();
        panic!("the server ended before it served: {status:?}, {said:?}\n{}", log.lock().expect("the log"));
    };
    (child, address, after("Also"), began.elapsed())
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = into.lock().expect("the log");
            log.push_str(&line);
            log.push('\n');
        }
    });
}

pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} can be sent");
}

/// A number of `/proc/<pid>/status` in KiB; `None` when the process has ended.
pub(crate) fn size_kib(child: &Child, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Asks until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}
