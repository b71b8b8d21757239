//! As little of HTTP as shows every byte of an answer.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::PATIENCE;

/// One address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Http(SocketAddr);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks that it is a problem document of this code whose status is that of the answer.
    #[track_caller]
    pub(crate) fn refusal(&self, code: &str) -> Value {
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{code}");
        assert_eq!(problem["type"], format!("urn:spandrel:error:{code}"));
        assert_eq!(problem["status"], self.status, "{code}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        let has_retry_after = problem.get("retryAfter").is_some();
        assert_eq!(has_retry_after, self.header("retry-after").is_some(), "{code}: body and header agree");
        assert!(!has_retry_after || problem["recoverable"] == true, "{problem}");
        problem
    }
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    pub(crate) async fn get(self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes()).await
    }

    pub(crate) async fn send(self, method: &str, path: &str, head: &[(&str, &str)], body: &[u8]) -> Answer {
        let exchange = async {
            let mut stream = self.open(method, path, head, body).await;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.expect("an answer");
            parse(&answer, method == "HEAD")
        };
        timeout(PATIENCE * 3, exchange).await.unwrap_or_else(|_| panic!("{method} {path} has no answer"))
    }

    /// Sends a request and leaves the answer in the socket.
    pub(crate) async fn open(
        self,
        method: &str,
        path: &str,
        head: &[(&str, &str)],
        body: &[u8],
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.0).await.expect("a connection");
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !head.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += &format!("Host: {}\r\n", self.0);
        }
        for (name, value) in head {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        stream.write_all(text.as_bytes()).await.expect("the request");
        // A server that refuses a long body may close before it has all of it.
        let _ = stream.write_all(body).await;
        stream
    }

    /// The job once it is over, or as it is after a minute.
    pub(crate) async fn wait(self, id: &str) -> Value {
        self.get(&format!("/v1/downloads/{id}?wait=60")).await.json()
    }

    /// The job once it is completed.
    pub(crate) async fn completed(self, id: &str) -> Value {
        for _ in 0..4 {
            let status = self.wait(id).await;
            match status["state"].as_str() {
                Some("completed") => return status,
                Some("generating" | "pending") => {}
                _ => panic!("expected it to complete: {status}"),
            }
        }
        panic!("{id} does not complete");
    }

    /// Asks for a job that must be accepted.
    pub(crate) async fn create(self, request: &Value) -> String {
        let answer = self.post("/v1/downloads", request).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["downloadId"].as_str().expect("an id").to_owned()
    }

    /// All parts of a completed job, checked against what was announced.
    pub(crate) async fn parts(self, status: &Value) -> Vec<(String, Vec<u8>)> {
        let mut parts = Vec::new();
        for file in status["files"].as_array().expect("files") {
            let answer = self.get(file["url"].as_str().expect("a url")).await;
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            assert_eq!(answer.body.len() as u64, file["bytes"].as_u64().expect("bytes"));
            assert_eq!(super::data::sha256(&answer.body), file["sha256"].as_str().expect("a digest"));
            parts.push((file["fileName"].as_str().expect("a name").to_owned(), answer.body));
        }
        parts
    }

    /// Asks every few milliseconds until the status is so.
    pub(crate) async fn until(self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = tokio::time::Instant::now();
        loop {
            let status = self.get(&format!("/v1/downloads/{id}")).await.json();
            if is_so(&status) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "not so: {what}: {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn parse(bytes: &[u8], is_head: bool) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).expect("an ASCII head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let head: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let answer = Answer { status: status.parse().expect("a status"), head, body: bytes[end + 4..].to_vec() };
    assert_eq!(answer.header("transfer-encoding"), None, "answers here have lengths");
    if let (Some(length), false) = (answer.header("content-length"), is_head || answer.status == 304) {
        assert_eq!(length, answer.body.len().to_string(), "the body is whole");
    }
    answer
}
