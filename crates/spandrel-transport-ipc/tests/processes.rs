//! Real processes: this program starts itself as the child (`--child HOW`), so it has no test harness of its own.

fn main() {
    #[cfg(unix)]
    unix::main();
}

#[cfg(unix)]
mod unix {
    use std::{
        env, fs,
        io::Write as _,
        os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
        process::{Command as StdCommand, Stdio},
        time::Duration,
    };

    use spandrel_transport::{Close, Connection, Frame, Limits};
    use spandrel_transport_ipc::{IpcError, node_channel, spawn, stdio};
    use tokio::{
        io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
        net::UnixStream,
        process::Command,
        time::timeout,
    };

    const PATIENCE: Duration = Duration::from_secs(30);

    pub(super) fn main() {
        let arguments: Vec<String> = env::args().collect();
        if let Some(at) = arguments.iter().position(|a| a == "--child") {
            let how = arguments.get(at + 1).cloned().unwrap_or_default();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            let code = runtime.block_on(child(&how));
            drop(runtime);
            std::process::exit(code);
        }
        if arguments.iter().any(|a| a == "--list") {
            return;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            for (name, scenario) in scenarios() {
                timeout(PATIENCE, scenario).await.unwrap_or_else(|_| panic!("{name} hangs"));
                say(&format!("test {name} ... ok"));
            }
        });
    }

    fn say(line: &str) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    /// Echoes messages; `["stop"]` makes it end by itself; what is no text is named.
    async fn child(how: &str) -> i32 {
        let limits = Limits::default();
        let link = match how {
            "stdio" => stdio(&limits),
            "node" => node_channel(&limits),
            other => panic!("{other}: expected stdio or node"),
        };
        let again = if how == "stdio" { stdio(&limits).err() } else { node_channel(&limits).err() };
        let mut conn = match link {
            Ok(link) => Connection::new(link),
            Err(e) => {
                let _ = writeln!(std::io::stderr(), "{e}");
                return 3;
            }
        };
        assert!(matches!(again, Some(IpcError::Taken { .. })), "taken twice: {again:?}");
        #[cfg(target_os = "linux")]
        if how == "node" {
            let info = fs::read_to_string("/proc/self/fdinfo/3").expect("descriptor 3");
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
            let flags = u32::from_str_radix(flags, 8).expect("octal");
            assert_eq!(flags & 0o2_004_000, 0o2_004_000, "close-on-exec and non-blocking: {flags:o}");
        }
        while let Some(frame) = conn.recv().await.expect("receives") {
            match frame.as_text() {
                Some(r#"["stop"]"#) => break,
                Some(_) => conn.feed(frame).await.expect("feeds"),
                None => conn.feed(Frame::text(r#"["not UTF-8"]"#)).await.expect("feeds"),
            }
        }
        conn.close(Close::normal()).await.expect("closes");
        0
    }

    type Scenario = std::pin::Pin<Box<dyn Future<Output = ()>>>;

    fn scenarios() -> Vec<(&'static str, Scenario)> {
        vec![
            ("stdio_echoes_and_ends_with_its_parent", Box::pin(stdio_echoes_and_ends_with_its_parent())),
            ("stdio_ends_by_itself_while_its_input_is_open", Box::pin(stdio_ends_by_itself())),
            ("stdio_survives_lines_that_are_no_messages", Box::pin(stdio_survives_garbage())),
            ("stdio_writes_all_before_it_ends", Box::pin(stdio_writes_all())),
            ("a_foreign_child_can_be_spawned", Box::pin(a_foreign_child())),
            ("channel_echoes_and_ends_with_its_parent", Box::pin(channel_echoes())),
            ("a_wrong_descriptor_is_refused", Box::pin(wrong_descriptors())),
            ("a_node_parent_talks_to_its_child", Box::pin(node_parent())),
        ]
    }

    fn own(how: &str) -> Command {
        let mut command = Command::new(env::current_exe().expect("own path"));
        command.args(["--child", how]).kill_on_drop(true);
        command
    }

    async fn stdio_echoes_and_ends_with_its_parent() {
        let mut child = spawn(own("stdio"), &Limits::default()).expect("starts");
        let mut conn = Connection::new(child.link);
        for n in 0..2000 {
            conn.feed(Frame::text(format!("[{n}]"))).await.expect("feeds");
        }
        conn.flush().await.expect("flushes");
        for n in 0..2000 {
            let got = conn.recv().await.expect("receives");
            assert_eq!(got, Some(Frame::text(format!("[{n}]"))));
        }
        conn.close(Close::normal()).await.expect("closes");
        assert!(child.process.wait().await.expect("ends").success());
    }

    /// A read that waits for ever must not keep a process that wants to end.
    async fn stdio_ends_by_itself() {
        let mut child = spawn(own("stdio"), &Limits::default()).expect("starts");
        let mut conn = Connection::new(child.link);
        conn.send(Frame::text(r#"["stop"]"#)).await.expect("sends");
        assert!(child.process.wait().await.expect("ends").success());
        assert_eq!(conn.recv().await.expect("ends in good order"), None);
    }

    async fn stdio_survives_garbage() {
        let mut command = own("stdio");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let (mut input, output) = (child.stdin.take().expect("pipe"), child.stdout.take().expect("pipe"));
        input.write_all(b"no json\n{\xff}\n{}\nlast without end").await.expect("writes");
        drop(input);
        let mut lines = BufReader::new(output).lines();
        for want in ["no json", r#"["not UTF-8"]"#, "{}", "last without end"] {
            assert_eq!(lines.next_line().await.expect("reads").as_deref(), Some(want));
        }
        assert!(child.wait().await.expect("ends").success());
    }

    /// Much output, read late: closing waits for it.
    async fn stdio_writes_all() {
        let mut command = own("stdio");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let (mut input, mut output) = (child.stdin.take().expect("pipe"), child.stdout.take().expect("pipe"));
        let line = format!("[{}]\n", "1".repeat(9_998));
        let (many, mut got) = (line.repeat(50), Vec::new());
        let write = async {
            input.write_all(many.as_bytes()).await.expect("writes");
            drop(input);
        };
        let read = async { output.read_to_end(&mut got).await.expect("reads") };
        tokio::join!(write, read);
        assert!(got == many.as_bytes(), "{} of {} bytes came back", got.len(), many.len());
        assert!(child.wait().await.expect("ends").success());
    }

    async fn a_foreign_child() {
        let mut child = spawn(Command::new("cat"), &Limits::default()).expect("starts");
        let mut conn = Connection::new(child.link);
        conn.send(Frame::text("{}")).await.expect("sends");
        assert_eq!(conn.recv().await.expect("receives"), Some(Frame::text("{}")));
        conn.close(Close::normal()).await.expect("closes");
        assert!(child.process.wait().await.expect("ends").success());
    }

    /// A child whose descriptor 3 is `stream`, as Node makes it.
    fn with_channel(stream: OwnedFd, mode: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"exec 3<&0 </dev/null; exec "$0" --child node"#])
            .arg(env::current_exe().expect("own path"))
            .env("NODE_CHANNEL_FD", "3")
            .env("NODE_CHANNEL_SERIALIZATION_MODE", mode)
            .stdin(Stdio::from(stream))
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn channel_echoes() {
        let (here, there) = StdUnixStream::pair().expect("pair");
        let mut command = with_channel(there.into(), "json");
        let mut child = command.spawn().expect("starts");
        drop(command); // its copy of the child's end
        here.set_nonblocking(true).expect("socket");
        let mut here = UnixStream::from_std(here).expect("socket");
        let sent = "{\"cmd\":\"NODE_INTERNAL\"}\n{\"key\":\"a\"}\n{\"cmd\":\"mine\"}\n";
        here.write_all(sent.as_bytes()).await.expect("writes");
        let mut answer = vec![0; "{\"key\":\"a\"}\n{\"cmd\":\"mine\"}\n".len()];
        here.read_exact(&mut answer).await.expect("reads");
        assert_eq!(
            answer, b"{\"key\":\"a\"}\n{\"cmd\":\"mine\"}\n",
            "the runtime's own message is passed over"
        );
        drop(here);
        assert!(child.wait().await.expect("ends").success());
    }

    async fn wrong_descriptors() {
        let null = || OwnedFd::from(fs::File::open("/dev/null").expect("opens"));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let unconnected = tempfile::tempdir().expect("folder");
        let listening = std::os::unix::net::UnixListener::bind(unconnected.path().join("s")).expect("binds");
        let pair = || StdUnixStream::pair().expect("pair").0.into();
        for (what, stream, mode, number, want) in [
            ("a file", null(), "json", "3", "no socket"),
            ("a network socket", tcp.into(), "json", "3", "of another kind"),
            ("a listening socket", listening.into(), "json", "3", "not connected"),
            ("nothing", null(), "json", "77", "not open"),
            ("a standard stream", null(), "json", "2", "from 3 on"),
            ("another serialization", pair(), "advanced", "3", "expected json"),
        ] {
            let mut command = with_channel(stream, mode);
            let output = command.env("NODE_CHANNEL_FD", number).output().await.expect("runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{what}: {said}");
            assert!(said.contains(want), "{what}: {said}");
        }
        let output = own("node").env_remove("NODE_CHANNEL_FD").output().await.expect("runs");
        assert!(String::from_utf8_lossy(&output.stderr).contains("NODE_CHANNEL_FD is not set"));
    }

    /// The real thing, where there is one.
    async fn node_parent() {
        let has_node = StdCommand::new("node").arg("--version").output().is_ok_and(|o| o.status.success());
        if !has_node {
            return say("no node here: its parent side is not tried");
        }
        let script = r#"
            const child = require('child_process').spawn(process.argv[1], ['--child', 'node'],
                { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: process.argv[2] });
            const got = [];
            child.on('message', m => { got.push(m); if (got.length === 3) child.disconnect(); });
            child.on('exit', code => { console.log(JSON.stringify({ code, got })); });
            for (const m of [{ key: 'ü', value: 1 }, [2], { text: 'line\nbreak' }]) child.send(m);
        "#;
        let run = async |serialization: &str| {
            let exe = env::current_exe().expect("own path");
            let mut command = Command::new("node");
            command.args(["-e", script]).arg(exe).arg(serialization).kill_on_drop(true);
            let output = command.output().await.expect("runs");
            (String::from_utf8_lossy(&output.stdout).trim().to_owned(), output)
        };
        let (said, output) = run("json").await;
        let want = r#"{"code":0,"got":[{"key":"ü","value":1},[2],{"text":"line\nbreak"}]}"#;
        assert_eq!(said, want, "{}", String::from_utf8_lossy(&output.stderr));
        let (said, output) = run("advanced").await;
        assert!(said.contains(r#""code":3"#), "{said}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("expected json"));
    }
}
