//! The program as a person starts it: the bundled data, a page, a good end.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A child that does not outlive a failed test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_download-server"));
    for name in ["SPANDREL_CONFIG", "SPANDREL_DATA", "SPANDREL_LISTEN", "SPANDREL_STATE_DIR"] {
        program.env_remove(name);
    }
    program
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn terminate(child: &mut Running) -> ExitStatus {
    let id = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    child.0.wait().unwrap()
}

#[tokio::test]
async fn the_demo_prints_its_address_serves_flights_and_stops() {
    let child = program().arg("demo").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut child = Running(child);
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit_once("http://").unwrap().1.trim_end_matches('/').to_owned();
    assert!(get(&address, "/v1/datasets").await.contains("\"rows\":336776"));
    assert!(get(&address, "/").await.contains("<!doctype html>"));
    assert!(terminate(&mut child).success());
}

#[test]
fn a_wrong_member_of_the_configuration_is_named() {
    let dir = std::env::temp_dir().join(format!("spandrel-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("server.toml");
    std::fs::write(&path, "datasets = []\nlissen = \"127.0.0.1:0\"\n").unwrap();
    let ended = program().arg("--config").arg(&path).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("lissen") && said.contains("server.toml"), "{said}");
}

#[test]
fn without_anything_to_serve_it_shows_how() {
    let ended = program().output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("download-server demo"));
}

#[test]
fn a_configuration_that_cannot_be_meant_ends_with_2() {
    let dir = std::env::temp_dir().join(format!("spandrel-limits-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("server.json");
    for (text, want) in [(r#"{ "datasets": [], "limits": { "maxActive": 0 } }"#, "maxActive"), ("{", "EOF")] {
        std::fs::write(&path, text).unwrap();
        let ended = program().arg("--config").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{text}: {said}");
        assert!(said.contains(want), "{text}: {said}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
