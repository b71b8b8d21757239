//! Doors beside plain HTTP, as the process that starts the server sees them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A server that does not outlive a failed test.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    log: Receiver<String>,
    dir: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(dir: &Path, more: &Value) {
    let mut config = json!({ "listen": "127.0.0.1:0", "stateDir": "state", "datasets": [{ "name": "logs",
        "path": "logs.csv", "timeColumn": "time", "columns": [{ "name": "time", "type": "timestamp" }] }] });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    let path = dir.join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn write_data_and_config(dir: &Path, more: &Value) {
    std::fs::write(dir.join("logs.csv"), "time\r\n2024-03-01T00:00:00Z\r\n").unwrap();
    write_config(dir, more);
}

impl Running {
    fn start(more: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_data_and_config(dir.path(), more);
        Self::start_in(dir)
    }

    fn start_in(dir: tempfile::TempDir) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_download-server"));
        for name in ["LISTEN", "STATE_DIR", "CONFIG", "DATA", "PUBLIC_BASE_URL"] {
            program.env_remove(format!("SPANDREL_{name}"));
        }
        program.arg("--config").arg(dir.path().join("config.json")).env("RUST_LOG", "info");
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let stdin = child.stdin.take();
        let out = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        Self { child, stdin, out, log, dir }
    }

    /// The same below a real Node parent, which passes messages on: lines of `stdin` go to the server, `out` is what
    /// came from it. `None` when there is no node here.
    fn below_node(serialization: &str) -> Option<Self> {
        if Command::new("node").arg("--version").output().is_err() {
            assert!(std::env::var("CI").map_or(true, |ci| ci != "true"), "node is missing");
            let thread = std::thread::current();
            let note = format!("{}: there is no node here\n", thread.name().unwrap_or("a test"));
            eprint!("skipped: {note}");
            if let Some(file) = std::env::var_os("SPANDREL_SKIPS") {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
                file.write_all(note.as_bytes()).unwrap();
            }
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("logs.csv"), "time\r\n2024-03-01T00:00:00Z\r\n").unwrap();
        write_config(dir.path(), &json!({ "ipc": "node" }));
        let mut node = Command::new("node");
        node.args(["-e", NODE_PARENT, env!("CARGO_BIN_EXE_download-server")]);
        node.arg(dir.path().join("config.json")).arg(serialization).env("RUST_LOG", "info");
        for name in ["LISTEN", "STATE_DIR", "CONFIG", "DATA", "PUBLIC_BASE_URL"] {
            node.env_remove(format!("SPANDREL_{name}"));
        }
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = node.spawn().unwrap();
        let stdin = child.stdin.take();
        let out = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        Some(Self { child, stdin, out, log, dir })
    }

    fn line(&mut self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    /// Reads the log up to a line that has all of this.
    fn logged(&mut self, wanted: &[&str]) -> String {
        let mut seen = String::new();
        loop {
            let Ok(line) = self.log.recv_timeout(PATIENCE) else { panic!("{wanted:?} is not in:\n{seen}") };
            if wanted.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    fn say(&mut self, key: &str, data: &Value, id: &str) {
        self.raw(&pair(key, data, id));
    }

    fn raw(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    fn message(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line();
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
            if wanted(&message) {
                return message;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Waits for the end: stdout is closed then.
    fn wait(&mut self) -> ExitStatus {
        loop {
            match self.out.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("the server goes on"),
            }
        }
    }
}

/// Starts the server as a child with a channel. Says on stdout what came from it and how it ended; ends it when its
/// own stdin ends.
const NODE_PARENT: &str = r"
const [server, config, serialization] = process.argv.slice(1);
const child = require('node:child_process').spawn(server, ['--config', config],
  { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], serialization });
const say = (what) => console.log(JSON.stringify(what));
child.on('message', say);
child.on('exit', (code, signal) => say({ key: 'exit', code, signal }));
require('node:readline').createInterface({ input: process.stdin })
  .on('line', (line) => line === 'disconnect' ? child.disconnect() : child.send(JSON.parse(line)))
  .on('close', () => child.kill());
";

/// Longer than anything here takes on a busy machine; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lines of a pipe, read by a thread, so that one that does not come fails the test instead of stopping it.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (to, from) = sync_channel(10_000);
    std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| to.send(line))
    });
    from
}

fn pair(key: &str, data: &Value, id: &str) -> String {
    let value = json!({ "event": key, "data": data, "timestamp": 1, "requestId": id });
    json!({ "key": key, "value": value }).to_string() + "\n"
}

fn request() -> Value {
    json!({ "searchParams": { "timeFrom": "2024-03-01T00:00:00Z", "timeTo": "2024-03-02T00:00:00Z", "filters": [] },
            "outputFormat": "csv", "compression": false })
}

async fn get(address: &str, path: &str, token: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[test]
fn a_parent_talks_over_the_standard_streams_and_its_end_ends_the_server() {
    let mut server = Running::start(&json!({ "ipc": "stdio" }));
    let hello = server.message(|_| true);
    assert_eq!(hello["key"], "connection:health", "the first line of stdout is a message");
    server.logged(&["Serving http://127.0.0.1:"]);
    server.say("download:request", &request(), "p1");
    let done = server.message(|m| m["key"] == "download:complete");
    assert_eq!((&done["value"]["requestId"], &done["value"]["data"]["totalRows"]), (&json!("p1"), &json!(1)));
    server.stdin = None;
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_parent_talks_over_its_channel_and_its_end_ends_the_server() {
    let Some(mut server) = Running::below_node("json") else { return };
    let hello = server.message(|_| true);
    assert_eq!(
        (&hello["key"], &hello["value"]["data"]["kind"]),
        (&json!("connection:health"), &json!("hello"))
    );
    // The runtime's own words are not ours; what is wrong is answered, in the order of arrival.
    server.raw("{\"cmd\":\"NODE_CHANNEL_PROBE\",\"key\":\"status:check\"}\n");
    server.raw("\"nonsense\"\n");
    server.raw(
        &pair("status:check", &json!({}), "n0").replace("\"key\":\"status:check\"", "\"key\":\"other\""),
    );
    for code in ["MALFORMED_MESSAGE", "INVALID_ENVELOPE"] {
        let answer = server.message(|_| true);
        assert_eq!(
            (&answer["key"], &answer["value"]["data"]["code"]),
            (&json!("system:error"), &json!(code))
        );
    }
    server.say("download:request", &request(), "n1");
    let done = server.message(|m| m["key"] == "download:complete");
    assert_eq!((&done["value"]["requestId"], &done["value"]["data"]["totalRows"]), (&json!("n1"), &json!(1)));
    let url = done["value"]["data"]["files"][0]["url"].as_str().unwrap().to_owned();
    let at = server.logged(&["Serving http://127.0.0.1:"]);
    let address = at.rsplit_once("http://").unwrap().1.trim().trim_end_matches('/').to_owned();
    let path = url.strip_prefix(&format!("http://{address}")).unwrap_or(&url);
    let file = get(&address, path, "none").await;
    assert!(
        file.starts_with("HTTP/1.1 200") && file.ends_with("time\r\n2024-03-01T00:00:00.000Z\r\n"),
        "{file}"
    );
    server.raw("disconnect\n");
    let end = server.message(|m| m["key"] == "exit");
    assert_eq!((&end["code"], &end["signal"]), (&json!(0), &Value::Null));
}

#[test]
fn a_node_channel_of_another_form_is_refused_with_advice() {
    let Some(mut server) = Running::below_node("advanced") else { return };
    server.logged(&["ipc", "advanced", "json"]);
    let end = server.message(|m| m["key"] == "exit");
    assert_eq!((&end["code"], &end["signal"]), (&json!(1), &Value::Null));
}

#[test]
fn a_parent_is_told_when_the_server_is_stopped() {
    let mut server = Running::start(&json!({ "ipc": "stdio" }));
    server.message(|m| m["value"]["data"]["kind"] == "hello");
    server.signal("TERM");
    let last = server.message(|m| m["key"] == "system:error");
    assert_eq!(last["value"]["data"]["code"], "SHUTTING_DOWN");
    assert_eq!(server.wait().code(), Some(0), "though stdin is open still");
}

/// Its session ends, by silence or by nonsense; the server ends with its stream only.
#[tokio::test(flavor = "multi_thread")]
async fn a_clumsy_parent_takes_nobody_along() {
    let silent = json!({ "heartbeat": { "intervalMs": 150, "timeoutMs": 50 } });
    for (name, more, said) in [("silent", silent, String::new()), ("nonsense", json!({}), "?\n".repeat(11))] {
        let mut config = json!({ "ipc": "stdio" });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut server = Running::start(&config);
        let line = server.logged(&["Serving http://"]);
        let address = line.trim().rsplit_once("http://").unwrap().1.trim_end_matches('/').to_owned();
        server.stdin.as_mut().unwrap().write_all(said.as_bytes()).unwrap();
        server.logged(&["WARN", "session of the parent process is over"]);
        assert!(get(&address, "/v1/datasets", "none").await.starts_with("HTTP/1.1 200"), "{name}");
        server.stdin.as_mut().unwrap().write_all(&[b'x'; 300_000]).unwrap();
        assert!(get(&address, "/v1/datasets", "none").await.starts_with("HTTP/1.1 200"), "{name}");
        server.stdin = None;
        server.logged(&["the parent process is gone"]);
        assert_eq!(server.wait().code(), Some(0), "{name}");
    }
}

#[test]
fn a_socket_of_this_machine_serves_its_owner_only_and_each_session_ends_alone() {
    let mut server = Running::start(&json!({ "ipc": "unix:parent.sock" }));
    assert!(server.line().starts_with("Serving http://"));
    assert!(server.line().starts_with("Also unix:"), "where, is said");
    let path = server.dir.path().join("parent.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("\"hello\""));
        (stream, lines)
    };
    let (first, second) = (connect(), connect());
    drop(first);
    let (mut stream, mut lines) = second;
    stream.write_all(pair("status:check", &json!({}), "u1").as_bytes()).unwrap();
    assert!(lines.next().unwrap().unwrap().contains("\"status:update\""), "the other goes on");
    server.signal("TERM");
    assert!(lines.next().unwrap().unwrap().contains("SHUTTING_DOWN"));
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_takes_keys_and_tokens_over() {
    let auth = |token: &str| json!({ "auth": { "mode": "required", "bearerTokens": [{ "token": token, "principal": "p" }] } });
    let mut server = Running::start(&auth("old-token"));
    let line = server.line();
    let address = line.trim().rsplit_once("http://").unwrap().1.trim_end_matches('/').to_owned();
    assert!(get(&address, "/v1/datasets", "old-token").await.starts_with("HTTP/1.1 200"));
    std::fs::write(server.dir.path().join("config.json"), "{ nonsense").unwrap();
    server.signal("HUP");
    server.logged(&["keys and tokens stay as they were"]);
    assert!(get(&address, "/v1/datasets", "old-token").await.starts_with("HTTP/1.1 200"));
    write_config(server.dir.path(), &auth("new-token"));
    server.signal("HUP");
    server.logged(&["keys and tokens are taken over"]);
    assert!(get(&address, "/v1/datasets", "new-token").await.starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/v1/datasets", "old-token").await.starts_with("HTTP/1.1 401"));
    write_config(server.dir.path(), &json!({ "auth": { "mode": "required" } }));
    server.signal("HUP");
    server.logged(&["WARN", "nobody can come in"]);
    server.logged(&["keys and tokens are taken over"]);
    assert!(
        get(&address, "/v1/datasets", "new-token").await.starts_with("HTTP/1.1 401"),
        "the last one, too"
    );
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_server_nobody_could_come_into_does_not_start() {
    let mut server = Running::start(&json!({ "auth": { "mode": "required" } }));
    server.logged(&["auth.mode", "nobody could come in"]);
    assert_eq!(server.wait().code(), Some(2));
}

/// A pipe in place of the configuration, so that reading it takes until the test has written it. Opening it for that
/// waits until somebody reads.
fn slow_config(dir: &Path) -> impl FnOnce() -> std::fs::File + use<> {
    let (path, new) = (dir.join("config.json"), dir.join("pipe"));
    assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
    std::fs::rename(new, &path).unwrap();
    move || std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// Of two hangups the second one's reading counts, however long the first one's takes.
#[tokio::test(flavor = "multi_thread")]
async fn hangups_are_obeyed_one_after_another() {
    let auth = |token: &str| json!({ "auth": { "mode": "required", "bearerTokens": [{ "token": token, "principal": "p" }] } });
    let mut server = Running::start(&auth("old-token"));
    let line = server.line();
    let address = line.trim().rsplit_once("http://").unwrap().1.trim_end_matches('/').to_owned();
    let path = server.dir.path().join("config.json");
    let old = std::fs::read(&path).unwrap();
    let open = slow_config(server.dir.path());
    server.signal("HUP");
    let mut first = open();
    std::fs::remove_file(&path).unwrap();
    write_config(server.dir.path(), &auth("new-token"));
    server.signal("HUP");
    // Nothing to wait for: what must not happen here is a second one beside the first.
    while let Ok(line) = server.log.recv_timeout(Duration::from_millis(500)) {
        assert!(!line.contains("taken over"), "the first is not done yet");
    }
    first.write_all(&old).unwrap();
    drop(first);
    server.logged(&["keys and tokens are taken over"]);
    server.logged(&["keys and tokens are taken over"]);
    assert!(get(&address, "/v1/datasets", "new-token").await.starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/v1/datasets", "old-token").await.starts_with("HTTP/1.1 401"));
}

#[test]
fn signals_count_while_the_server_starts() {
    for (signal, wanted) in [("HUP", "keys and tokens are taken over"), ("TERM", "stopp")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        write_data_and_config(dir.path(), &json!({}));
        let text = std::fs::read(&path).unwrap();
        let open = slow_config(dir.path());
        let mut server = Running::start_in(dir);
        let mut config = open();
        server.signal(signal);
        std::fs::remove_file(&path).unwrap();
        write_config(server.dir.path(), &json!({}));
        config.write_all(&text).unwrap();
        drop(config);
        server.logged(&[wanted]);
        if signal == "HUP" {
            server.signal("TERM");
        }
        assert_eq!(server.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn what_is_risky_is_said_at_the_start() {
    let mut open = Running::start(&json!({ "listen": "0.0.0.0:0", "tcpListen": "0.0.0.0:0" }));
    open.logged(&["WARN", "0.0.0.0:0", "no tls"]);
    open.logged(&["WARN", "tcp_listen", "no tls"]);
    let mut tls = Running::start(&json!({ "tls": { "selfSigned": true }, "tcpListen": "127.0.0.1:0" }));
    tls.logged(&["WARN", "self-signed", "fingerprint"]);
    assert!(tls.line().starts_with("Serving https://127.0.0.1:"));
    assert!(tls.line().starts_with("Also tcps://127.0.0.1:"));
}

#[test]
fn files_that_are_no_certificate_stop_the_start() {
    let mut server = Running::start(&json!({ "tls": { "cert": "logs.csv", "key": "logs.csv" } }));
    server.logged(&["tls:", "logs.csv"]);
    assert_eq!(server.wait().code(), Some(1));
}
