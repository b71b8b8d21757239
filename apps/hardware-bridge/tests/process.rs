//! The program as others start it: channel, signals, exit codes, streams that nobody reads.

#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hardware-bridge");
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn command(dir: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("SPANDREL_HW_PORT", "0").env("SPANDREL_HW_TLS_DIR", dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A bridge and the lines it says to its parent.
struct Bridge {
    child: Child,
    parent: Option<UnixStream>,
    lines: BufReader<UnixStream>,
    log: Option<BufReader<ChildStderr>>,
}

impl Bridge {
    /// A parent as Node is one: a socket in descriptor 3, and no arguments. A shell puts it there.
    fn by_node_channel(dir: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let (near, far) = UnixStream::pair().expect("a pair");
        let mut own = command(dir);
        change(own.env("NODE_CHANNEL_FD", "3").env("NODE_CHANNEL_SERIALIZATION_MODE", "json"));
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "ulimit -Sn ${ENV_LIMIT:-1024}; exec \"$0\" 3<&0 </dev/null", PROGRAM]).env_clear();
        shell.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.stdin(OwnedFd::from(far)).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::over(near, shell)
    }

    fn by_stdio(dir: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let (near, far) = UnixStream::pair().expect("a pair");
        let mut own = command(dir);
        change(&mut own);
        own.arg("--stdio")
            .stdin(OwnedFd::from(far.try_clone().expect("a second handle")))
            .stdout(OwnedFd::from(far));
        Self::over(near, own)
    }

    fn over(near: UnixStream, mut command: Command) -> Self {
        near.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let child = command.spawn().expect("it starts");
        // The command holds the far end open: without this no end of the stream would ever be seen.
        drop(command);
        let lines = BufReader::new(near.try_clone().expect("a second handle"));
        Self { child, parent: Some(near), lines, log: None }
    }

    fn parent(&self) -> &UnixStream {
        self.parent.as_ref().expect("it has not left")
    }

    fn tell(&self, line: &str) {
        self.parent().write_all(format!("{line}\n").as_bytes()).expect("the bridge reads");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the bridge answers");
        line.trim_end().to_owned()
    }

    fn open(&mut self) {
        self.tell(r#"{"key":"open"}"#);
        assert_eq!(self.hear(), r#"{"key":"runningModeChanged","value":2}"#);
        assert_eq!(self.hear(), r#"{"key":"cloudModeChanged","value":0}"#);
    }

    /// Reads stderr up to a line with `part`.
    fn log(&mut self, part: &str) -> String {
        let log = self.log.get_or_insert_with(|| BufReader::new(self.child.stderr.take().expect("piped")));
        loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).expect("text"), 0, "the log has no {part:?}");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The port that a line names.
    fn port(&mut self) -> u16 {
        let line = self.log("127.0.0.1:");
        let rest = line.split("127.0.0.1:").nth(1).unwrap_or_default();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a port")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    fn leave(&mut self) {
        self.parent.take().expect("left once").shutdown(std::net::Shutdown::Both).expect("connected");
    }

    fn end(&mut self, within: Duration) -> ExitStatus {
        end(&mut self.child, within)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end; a watcher's pipe tells it without asking again and again.
fn end(child: &mut Child, within: Duration) -> ExitStatus {
    let pid = Pid::from_child(child);
    let (told, tell) = UnixStream::pair().expect("a pair");
    told.set_read_timeout(Some(within)).expect("a timeout");
    let watching = std::thread::spawn(move || {
        // Looks without taking the exit code away from the child's handle.
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let _ = rustix::process::waitid(rustix::process::WaitId::Pid(pid), options);
        let _ = (&tell).write_all(b"x");
    });
    let seen = (&told).read_exact(&mut [0]);
    if seen.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child");
    watching.join().expect("no panic");
    seen.unwrap_or_else(|_| panic!("still there after {within:?}"));
    status
}

/// Runs to the end: exit code and stderr.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.spawn().expect("it starts");
    let status = end(&mut child, PATIENCE);
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
    (status.code(), text)
}

#[test]
fn a_node_parent_opens_it_and_ends_it_by_leaving() {
    let dir = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::by_node_channel(dir.path(), |_| {});
    bridge.tell(r#"{"key":"send","value":1}"#);
    bridge.open();
    assert_ne!(bridge.port(), 0);
    bridge.leave();
    assert_eq!(bridge.end(Duration::from_secs(4)).code(), Some(0));
}

#[test]
fn a_parent_on_stdio_speaks_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::by_stdio(dir.path(), |_| {});
    bridge.open();
    bridge.leave();
    assert_eq!(bridge.end(Duration::from_secs(4)).code(), Some(0));
}

#[test]
fn a_signal_ends_it_although_the_parent_stays() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let mut bridge = Bridge::by_node_channel(dir.path(), |_| {});
        bridge.open();
        let port = bridge.port();
        bridge.signal(signal);
        assert_eq!(bridge.end(Duration::from_secs(3)).code(), Some(0), "{signal:?}");
        std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    }
}

#[test]
fn a_signal_before_open_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::by_stdio(dir.path(), |command| {
        command.env("SPANDREL_HW_SECRET", "TEST_SECRET");
    });
    // It answers: it listens to signals, too.
    bridge.tell(r#"{"key":"decrypt","value":"U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa+BfKEMbo="}"#);
    assert_eq!(bridge.hear(), r#"{"key":"decrypt","value":"hello"}"#);
    bridge.signal(Signal::TERM);
    assert_eq!(bridge.end(Duration::from_secs(3)).code(), Some(0));
}

#[test]
fn streams_nobody_reads_do_not_hold_it_up() {
    let dir = tempfile::tempdir().unwrap();
    // Closed: writing to it breaks. Full: writing to it would wait for ever.
    for is_closed in [true, false] {
        let (near, far) = UnixStream::pair().unwrap();
        if is_closed {
            drop(near);
        } else {
            far.set_nonblocking(true).unwrap();
            while (&far).write(&[b'x'; 4096]).is_ok() {}
            far.set_nonblocking(false).unwrap();
            std::mem::forget(near);
        }
        let mut bridge = Bridge::by_stdio(dir.path(), |command| {
            command.env("SPANDREL_HW_LOG", "debug").stderr(OwnedFd::from(far));
        });
        bridge.open();
        bridge.tell("no json");
        bridge.leave();
        assert_eq!(bridge.end(Duration::from_secs(4)).code(), Some(0), "closed: {is_closed}");
    }
}

/// Desktop systems start programs with room for a few hundred files; 2048 connections need more.
#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_open_files_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::by_node_channel(dir.path(), |command| {
        // The shell of the helper reads it before it becomes the bridge.
        command.env("ENV_LIMIT", "256");
    });
    bridge.open();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", bridge.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1].min(4160), "{line}");
}

#[test]
fn what_cannot_start_says_why_in_one_line_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "prot = 1").unwrap();
    let file = file.to_str().unwrap();
    for (name, change, want) in [
        ("no channel", &[][..], "NODE_CHANNEL_FD is not set"),
        ("no channel", &[], "or use --stdio"),
        (
            "advanced",
            &[("NODE_CHANNEL_FD", "3"), ("NODE_CHANNEL_SERIALIZATION_MODE", "advanced")],
            "serialization",
        ),
        ("no number", &[("NODE_CHANNEL_FD", "x")], "NODE_CHANNEL_FD is \"x\""),
        ("not open", &[("NODE_CHANNEL_FD", "77")], "descriptor 77"),
        ("port", &[("SPANDREL_HW_PORT", "x"), ("ARGS", "--stdio")], "port (SPANDREL_HW_PORT) is \"x\""),
        ("origins", &[("SPANDREL_HW_ORIGINS", "x"), ("ARGS", "--stdio")], "origin entry \"x\""),
        ("file", &[("ARGS", "--stdio --config"), ("FILE", file)], "unknown key \"prot\""),
        ("flag", &[("ARGS", "--stdio --port=70000")], "port (--port) is \"70000\""),
    ] {
        let mut command = command(dir.path());
        for (key, value) in change {
            match *key {
                "ARGS" => command.args(value.split(' ')),
                "FILE" => command.arg(value),
                key => command.env(key, value),
            };
        }
        let (code, text) = ended(&mut command);
        assert_eq!(code, Some(2), "{name}: {text}");
        assert!(text.contains(want) && text.lines().count() == 1, "{name}: {text}");
    }
    let (code, text) = ended(command(dir.path()).arg("--nonsense"));
    assert!(code == Some(2) && text.contains("--nonsense"), "{text}");
}

#[test]
fn broken_certificates_end_it_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["hardware.key", "cert.pem", "ChainCA1.crt", "RootCA.crt"] {
        std::fs::write(dir.path().join(name), "broken").unwrap();
    }
    let mut bridge = Bridge::by_stdio(dir.path(), |_| {});
    let status = bridge.end(PATIENCE);
    let mut text = String::new();
    bridge.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(status.code() == Some(2) && text.contains("cert.pem"), "{text}");
}

/// A certificate for the public name, as all the files of a folder. Returns whom to trust.
fn write_certificate(dir: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["hw.playentry.org".to_owned()]).expect("a certificate");
    for name in ["cert.pem", "ChainCA1.crt", "RootCA.crt"] {
        std::fs::write(dir.join(name), made.cert.pem()).expect("a file");
    }
    std::fs::write(dir.join("hardware.key"), made.signing_key.serialize_pem()).expect("a file");
    made.cert.pem()
}

#[tokio::test]
async fn a_hangup_takes_over_new_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let first = write_certificate(dir.path());
    let mut bridge = Bridge::by_stdio(dir.path(), |_| {});
    bridge.open();
    let port = bridge.port();
    let trusts = async |root: &str| {
        let client = spandrel_transport::TlsClient::with_ca_bytes(root.as_bytes()).unwrap();
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.connect(stream, "hw.playentry.org").await.is_ok()
    };
    assert!(trusts(&first).await);
    let second = write_certificate(dir.path());
    bridge.signal(Signal::HUP);
    bridge.log("certificates are read again");
    assert!(trusts(&second).await && !trusts(&first).await);
    std::fs::write(dir.path().join("cert.pem"), "broken").unwrap();
    bridge.signal(Signal::HUP);
    bridge.log("stays as it was");
    assert!(trusts(&second).await);
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, want) in [
        ("--help", "Exit codes: 0 the parent left"),
        ("--help", "hardware-bridge doctor"),
        ("--version", "hardware-bridge 0."),
    ] {
        let output = command(dir.path()).arg(flag).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains(want), "{text}");
    }
}

/// One file beside the program is that of every program which a machine runs.
#[test]
fn a_second_program_with_the_same_status_address_runs_without_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Bridge::by_stdio(dir.path(), |command| {
        command.env("SPANDREL_HW_STATUS", "127.0.0.1:0");
    });
    let line = host.log("status page at http://");
    let status = line.split("http://").nth(1).unwrap().trim_end().trim_end_matches('/').to_owned();
    host.open();
    let port = host.port().to_string();
    let mut client = Bridge::by_stdio(dir.path(), |command| {
        command.env("SPANDREL_HW_STATUS", &status).env("SPANDREL_HW_PORT", &port);
    });
    client.tell(r#"{"key":"open"}"#);
    assert_eq!(client.hear(), r#"{"key":"runningModeChanged","value":3}"#);
    assert!(client.log("the status page is not served").contains(&status));
    client.log("joined the host");
    client.leave();
    assert_eq!(client.end(Duration::from_secs(4)).code(), Some(0));
}

/// What is configured beside the program is for the real bridge of the machine.
#[test]
fn a_demo_has_a_configuration_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("hardware-bridge");
    std::fs::hard_link(PROGRAM, &program).or_else(|_| std::fs::copy(PROGRAM, &program).map(|_| ())).unwrap();
    let text = "token = \"0123456789abcdef\"\norigins = []\nlog = \"off\"\nsecret = \"s\"\nport = 1";
    std::fs::write(dir.path().join("hardware-bridge.toml"), text).unwrap();
    let mut demo = Command::new(program);
    demo.arg("demo").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    demo.env("SPANDREL_HW_TOKEN", "another-0123456789");
    let mut demo = demo.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(demo.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let stop = || kill_process(Pid::from_child(&demo), Signal::TERM);
    let Some(page) = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()) else {
        stop().unwrap();
        let mut text = String::new();
        demo.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        panic!("{line}{text}");
    };
    let places = ask(page, "/bridge.json", "");
    let bridge = places.split("\"bridge\":\"http://").nth(1).unwrap().split('"').next().unwrap();
    let answer = ask(bridge, "/socket.io/?EIO=3&transport=polling", &format!("Origin: http://{page}\r\n"));
    stop().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(end(&mut demo, PATIENCE).code(), Some(0));
}

/// One request; the whole answer.
fn ask(to: &str, path: &str, more: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{more}\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("works");
    runtime.block_on(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(to).await.expect("works");
        stream.write_all(request.as_bytes()).await.expect("works");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("works");
        answer
    })
}

#[test]
fn doctor_finds_a_bridge_inside_tls() {
    let dir = tempfile::tempdir().unwrap();
    write_certificate(dir.path());
    let mut bridge = Bridge::by_stdio(dir.path(), |_| {});
    bridge.open();
    let port = bridge.port().to_string();
    let output = command(dir.path()).args(["doctor", "--port", &port]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("127.0.0.1:{port}, TLS: a bridge of this kind runs")), "{text}");
    // The certificate is for one of the two names.
    assert!(output.status.code() == Some(1) && text.contains("not for hardware.playentry.org"), "{text}");
}

#[test]
fn doctor_tells_by_its_exit_code_whether_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let doctor = |change: &dyn Fn(&mut Command)| {
        let mut command = command(dir.path());
        change(command.arg("doctor"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = doctor(&|_| {});
    assert!(code == Some(0) && text.contains("All is well."), "{text}");
    let (code, text) = doctor(&|command| {
        command.env("SPANDREL_HW_ORIGINS", "x");
    });
    assert!(code == Some(1) && text.contains("One thing is wrong."), "{text}");
    // Beside a bridge that runs.
    let mut bridge = Bridge::by_stdio(dir.path(), |_| {});
    bridge.open();
    let port = bridge.port().to_string();
    let (code, text) = doctor(&|command| {
        command.args(["--port", &port]);
    });
    assert!(code == Some(0) && text.contains("a bridge of this kind runs already"), "{text}");
    // It opened no session.
    bridge.tell(r#"{"key":"send","value":1}"#);
    bridge.leave();
    assert_eq!(bridge.end(Duration::from_secs(4)).code(), Some(0));
    let mut rest = String::new();
    bridge.lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
