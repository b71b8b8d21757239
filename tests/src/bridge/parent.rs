//! A parent that is no Node program: lines of JSON on the standard input and output of a bridge.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{PATIENCE, binary};

/// A bridge with `--stdio`, killed when dropped.
pub(super) struct Parent {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    log: watch::Receiver<Vec<String>>,
    /// What the bridge said and nobody asked for yet.
    pub(super) said: Vec<(String, Value)>,
    port: u16,
}

/// A line of the bridge.
#[derive(serde::Deserialize)]
struct Message {
    key: String,
    value: Option<Box<RawValue>>,
}

/// A command of the binary without the settings of whoever runs the tests.
pub(super) fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPANDREL_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").env_remove("NODE_CHANNEL_FD").env("SPANDREL_HW_TLS_DIR", "/nowhere");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Parent {
    /// A bridge that has not been told to open.
    pub(super) fn start(env: &[(&str, &str)]) -> Self {
        let mut command = command();
        command.arg("--stdio").env("SPANDREL_HW_PORT", "0").envs(env.iter().copied());
        let mut child = command.spawn().expect("the bridge starts");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (log_in, log) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                log_in.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        let input = child.stdin.take();
        Self { child, input, output, log, said: Vec::new(), port: 0 }
    }

    /// A bridge that listens.
    pub(super) async fn open(env: &[(&str, &str)]) -> Self {
        let mut parent = Self::start(env);
        parent.listen().await;
        parent
    }

    /// Says `open`, and waits until it listens.
    pub(super) async fn listen(&mut self) {
        let lines = self.log().len();
        self.say("open", Value::Null).await;
        assert_eq!(self.next("runningModeChanged").await, json!(2));
        assert_eq!(self.next("cloudModeChanged").await, json!(0));
        // What it said before is about something else, such as the status page.
        self.port = self.logged_after(lines, port_in).await;
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(super) async fn say(&mut self, key: &str, value: Value) {
        self.write(format!("{}\n", json!({ "key": key, "value": value })).as_bytes()).await;
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("still there");
        input.write_all(bytes).await.expect("the bridge reads");
    }

    /// The next message, whatever it is.
    pub(super) async fn hear(&mut self) -> (String, Value) {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("the bridge speaks");
        let line = line.expect("text").expect("the bridge is there");
        let message: Message = serde_json::from_str(&line).expect("a line is one JSON value with a key");
        // Half a surrogate is JSON and no text: what holds one is given as it was written.
        let value = message.value.map_or(Value::Null, |value| {
            serde_json::from_str(value.get()).unwrap_or_else(|_| Value::from(value.get()))
        });
        (message.key, value)
    }

    /// The value of the next message with this key; those before it are kept in `said`.
    pub(super) async fn next(&mut self, key: &str) -> Value {
        loop {
            let (heard, value) = self.hear().await;
            if heard == key {
                return value;
            }
            self.said.push((heard, value));
        }
    }

    /// Waits for a line of the log in which `find` finds something.
    pub(super) async fn logged<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        self.logged_after(0, find).await
    }

    async fn logged_after<T>(&self, skip: usize, find: impl Fn(&str) -> Option<T>) -> T {
        let mut log = self.log.clone();
        let mut found = None;
        let wait = log.wait_for(|lines| {
            found = lines.iter().skip(skip).find_map(|line| find(line));
            found.is_some()
        });
        let waited = timeout(PATIENCE, wait).await.is_ok_and(|done| done.is_ok());
        assert!(waited, "the log: {:?}", self.log.borrow());
        found.expect("it was found")
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Leaves, and gives what came of it.
    pub(super) async fn leave(&mut self) -> ExitStatus {
        drop(self.input.take());
        self.ended().await
    }

    pub(super) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("it can be waited for")
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Memory it holds now.
    pub(super) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }
}

/// The port in the line that names it.
pub(super) fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
