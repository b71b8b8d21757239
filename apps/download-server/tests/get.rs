//! `get` against the program's own server: credentials, layers, TLS, every way in, and a server that dies in between.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights.parquet");
const SECRET: &str = "ERERERERERERERERERERERERERERERERERERERERERE";
const TOKEN: &str = "tok-abcdefgh";
const RANGE: &str = "--from 2013-01-01T00:00:00Z --to 2013-01-03T00:00:00Z";

fn program(folder: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_download-server"));
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SPANDREL_"));
    for (name, _) in ours {
        program.env_remove(name);
    }
    program.env_remove("RUST_LOG").current_dir(folder);
    program
}

/// A server that wants credentials, in a folder with files that hold them.
struct Server {
    folder: TempDir,
    child: Child,
    /// What it says where it listens: `http://…`, `tcp://…`, `unix:…`.
    urls: Vec<String>,
    pin: Option<String>,
}

impl Server {
    fn start(config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = json!({
            "listen": "127.0.0.1:0",
            "stateDir": "state",
            "auth": {
                "mode": "required",
                "keys": [{ "id": "k1", "secret": SECRET, "principal": "op" }],
                "bearerTokens": [{ "token": TOKEN, "principal": "op" }],
            },
            "datasets": [{ "name": "flights", "path": FLIGHTS }],
        });
        for (name, value) in config.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let other = "REREREREREREREREREREREREREREREREREREREREREQ";
        for (name, content) in
            [("config.json", &*whole.to_string()), ("token", TOKEN), ("key", SECRET), ("other", other)]
        {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let (child, urls, pin) = launch(folder.path());
        Self { folder, child, urls, pin }
    }

    fn url(&self, scheme: &str) -> &str {
        self.urls.iter().find(|url| url.starts_with(&format!("{scheme}:"))).unwrap().trim_end_matches('/')
    }

    /// As a power cut would, and from then on at the same place.
    fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let path = self.folder.path().join("config.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        config["listen"] = self.url("http").trim_start_matches("http://").into();
        std::fs::write(path, config.to_string()).unwrap();
        (self.child, self.urls, self.pin) = launch(self.folder.path());
    }

    fn get(&self, url: &str, more: &str, env: &[(&str, &str)]) -> Output {
        let _ = std::fs::remove_dir_all(self.folder.path().join("out"));
        let mut get = program(self.folder.path());
        get.args(["get", url, "-o", "out/a.csv"])
            .args(RANGE.split(' '))
            .args(more.split_whitespace())
            .envs(env.iter().copied());
        get.output().unwrap()
    }

    /// Whether the file is there, and then is what the `export` command makes of the same rows.
    fn has_file(&self) -> bool {
        let Ok(came) = std::fs::read(self.folder.path().join("out/a.csv")) else { return false };
        let want = self.folder.path().join("want.csv");
        if !want.exists() {
            let mut export = program(self.folder.path());
            export.args(["export", "-q", "--data", FLIGHTS, "-o", "want.csv"]).args(RANGE.split(' '));
            assert!(export.status().unwrap().success());
        }
        assert!(came == std::fs::read(want).unwrap(), "other bytes than exported");
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(folder: &Path) -> (Child, Vec<String>, Option<String>) {
    let mut serve = program(folder);
    serve.args(["--config", "config.json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = serve.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap()).lines();
    let words = out.map_while(Result::ok).take_while(|line| !line.starts_with("Stop"));
    let urls: Vec<String> = words.filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect();
    assert!(!urls.is_empty(), "the server started");
    // The log tells the certificate before the server serves, and nobody has to read on.
    let mut pin = None;
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in log.by_ref().map_while(Result::ok) {
        let told =
            line.split_once("fingerprint=").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned());
        pin = pin.or(told);
        if line.contains("serving") {
            break;
        }
    }
    std::thread::spawn(move || log.for_each(drop));
    (child, urls, pin)
}

/// Runs each line and looks at its exit code, its file, and that it told no secret.
fn hold(server: &Server, cases: &[(&str, &str, &str, i32)]) {
    for (name, url, more, want) in cases {
        let out = server.get(url, more, &[]);
        let said =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(*want), "{name}: {said}");
        assert_eq!(server.has_file(), *want == 0, "{name}: {said}");
        assert!(!said.contains(SECRET) && !said.contains(TOKEN), "{name}: {said}");
    }
}

#[test]
fn credentials_and_layers_over_plain_sockets() {
    let server = Server::start(&json!({ "tcpListen": "127.0.0.1:0", "ipc": "unix:x.sock" }));
    let (http, tcp) = (server.url("http"), server.url("tcp"));
    let unix = format!("unix:{}", server.folder.path().join("x.sock").display());
    let from = format!("--http {http}");
    let key = "--key-id k1 --key-file key";
    hold(
        &server,
        &[
            ("nobody", http, "", 7),
            ("token", http, "--bearer-file token", 0),
            ("another token", http, "--bearer-file other", 7),
            ("token of a file that is not there", http, "--bearer-file none", 5),
            ("signed", http, key, 0),
            ("signed, deflated", http, &format!("{key} --deflate"), 0),
            ("sealed", http, &format!("{key} --seal"), 0),
            ("sealed if offered, deflated", http, &format!("{key} --seal=if-offered --deflate"), 0),
            ("another key", http, "--key-id k1 --key-file other", 7),
            ("another key, sealed", http, "--key-id k1 --key-file other --seal", 7),
            ("a key nobody knows", http, "--key-id k2 --key-file key", 7),
            ("a key nobody knows, sealed", http, "--key-id k2 --key-file key --seal", 7),
            ("no key to seal with", http, "--key-id k1 --seal", 2),
            ("filter in words without a token", http, &format!("{key} --filter distance>=0"), 7),
            ("filter in words with one", http, &format!("{key} --bearer-file token --filter distance>=0"), 0),
            ("pin without TLS", http, &format!("{key} --tls-pin {}", "3A".repeat(32)), 2),
            (
                "TLS where there is none",
                &http.replace("http", "https"),
                &format!("{key} --tls-pin {}", "3A".repeat(32)),
                4,
            ),
            ("tcp, signed", tcp, &format!("{key} {from}"), 0),
            ("tcp, sealed", tcp, &format!("{key} --seal --deflate {from}"), 0),
            ("tcp, nobody", tcp, &from, 7),
            ("tcp, token", tcp, &format!("--bearer-file token {from}"), 2),
            ("tcp, files from nowhere", tcp, key, 2),
            ("socket file", &unix, &from, 0),
        ],
    );
    // A file that is named wins over the environment.
    for (more, env, want) in [
        ("", ("SPANDREL_BEARER", TOKEN), 0),
        ("--bearer-file other", ("SPANDREL_BEARER", TOKEN), 7),
        ("--key-id k1 --seal", ("SPANDREL_KEY", SECRET), 0),
        ("--key-id k1 --key-file other", ("SPANDREL_KEY", SECRET), 7),
        ("--bearer-file token", ("SPANDREL_KEY_ID", "k1"), 2),
    ] {
        let out = server.get(http, more, &[env]);
        assert_eq!(out.status.code(), Some(want), "{more} {env:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn credentials_and_layers_over_tls() {
    let server = Server::start(&json!({ "tcpListen": "127.0.0.1:0", "tls": { "selfSigned": true } }));
    let (https, tcps) = (server.url("https"), server.url("tcps"));
    let pin = format!("--tls-pin {}", server.pin.as_deref().expect("the server tells its fingerprint"));
    let key = format!("--key-id k1 --key-file key {pin}");
    let wss = https.replace("https", "wss");
    hold(
        &server,
        &[
            ("not trusted", https, "--bearer-file token", 7),
            ("another pin", https, &format!("--bearer-file token --tls-pin {}", "3A".repeat(32)), 7),
            ("plain where there is TLS", &https.replace("https", "http"), "--bearer-file token", 4),
            ("token", https, &format!("--bearer-file token {pin}"), 0),
            ("signed", &wss, &key, 0),
            ("sealed, deflated", https, &format!("{key} --seal --deflate"), 0),
            ("tcps, sealed", tcps, &format!("{key} --seal --http {https}"), 0),
        ],
    );
}

#[test]
fn a_server_killed_in_the_middle_is_found_again_by_a_sealed_session() {
    let mut server = Server::start(&json!({}));
    let url = server.url("http").to_owned();
    let mut get = program(server.folder.path());
    get.args(["get", &url, "-o", "out/a.csv", "--rows-per-second", "600"]).args(RANGE.split(' '));
    get.args(["--key-id", "k1", "--key-file", "key", "--seal"]);
    let mut get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Two seconds of rows at least are left when the job has its record.
    let jobs = server.folder.path().join("state/jobs");
    while std::fs::read_dir(&jobs).map_or(0, Iterator::count) == 0 {
        assert!(get.try_wait().unwrap().is_none(), "it ended before its job was made");
        std::thread::yield_now();
    }
    server.kill_and_start_again();
    let out = get.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(server.has_file());
}

/// A disk that fails at the end costs the files, not the job: its name is told, and the same command goes on.
#[test]
fn what_fails_after_the_job_was_made_tells_how_to_take_it_up() {
    let server = Server::start(&json!({}));
    let url = server.url("http");
    let run = |words: &str| {
        let mut get = program(server.folder.path());
        let out = get.args(words.split(' ')).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let made = "--rows-per-file 500 --no-header --merge";
    std::fs::write(server.folder.path().join("out"), "in the way").unwrap();
    let (code, said) = run(&format!("get {url} {RANGE} --bearer-file token {made} -o out/a.csv"));
    assert_eq!(code, Some(5), "{said}");
    let hint = said.lines().find_map(|line| line.strip_prefix("take it up with: download-server ")).unwrap();
    assert!(hint.ends_with(" --merge --no-header -o out/a.csv"), "{hint}");
    std::fs::remove_file(server.folder.path().join("out")).unwrap();
    let joined = server.folder.path().join("out/a.csv");
    let mut export = program(server.folder.path());
    export.args(["export", "-q", "--data", FLIGHTS, "--no-header", "-o", "want.csv"]).args(RANGE.split(' '));
    assert!(export.status().unwrap().success());
    let want = std::fs::read(server.folder.path().join("want.csv")).unwrap();
    for hint in [hint, &hint.replace(" --no-header", "")] {
        let (code, said) = run(&format!("{hint} --bearer-file token"));
        assert_eq!(code, Some(0), "{said}");
        let bytes = std::fs::read(&joined).unwrap();
        assert!(bytes == want, "every row, and no header: {} of {} bytes", bytes.len(), want.len());
        std::fs::remove_file(&joined).unwrap();
    }
}
