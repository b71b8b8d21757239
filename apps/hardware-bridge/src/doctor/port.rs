//! Who has the port: nobody, this program, the program it stands in for, or somebody else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use spandrel_bridge_protocol::Shown;
use spandrel_transport::{BoxStream, Limits, dial_loopback_unverified};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{PUBLIC_NAMES, Report};

/// One question and its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// What is read of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

pub(super) async fn examine(report: &mut Report, port: u16) {
    if port == 0 {
        report.note("port 0: the system chooses a free one at each start, and a line on stderr names it");
        return;
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Err(error) = TcpListener::bind(address).await else {
        return report.good(format!("127.0.0.1:{port} is free"));
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => taken(report, address).await,
        io::ErrorKind::PermissionDenied => report.wrong(format!(
            "127.0.0.1:{port} may not be listened on by this user: take a port from 1024 on (pages dial 23518)"
        )),
        _ => report.wrong(format!("127.0.0.1:{port} cannot be listened on: {error}")),
    }
}

async fn taken(report: &mut Report, address: SocketAddr) {
    let who = Who::at(address).await;
    let at = format!("{address}, {}", if who.is_tls { "TLS" } else { "plain" });
    match who.what {
        What::Ours => report.good(format!("{at}: a bridge of this kind runs already; another one would join it")),
        What::Original => report.note(format!(
            "{at}: entry-hw-server, or a program like it, runs already; this bridge would join it and take over when it leaves"
        )),
        What::Http(answer) => report.wrong(format!(
            "{at}: another program has the port, a web server that answers {}; end it: pages know only this port",
            Shown::new(answer.as_bytes())
        )),
        What::Silent => report.wrong(format!(
            "{at}: another program has the port and does not speak HTTP; end it: pages know only this port"
        )),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Ours,
    Original,
    /// The first line of what it says.
    Http(String),
    Silent,
}

#[derive(Debug, PartialEq, Eq)]
struct Who {
    is_tls: bool,
    what: What,
}

impl Who {
    /// Asks three questions, none of which opens a session.
    async fn at(address: SocketAddr) -> Self {
        for is_tls in [false, true] {
            if let Some(hello) = ask(address, is_tls, "/").await {
                return Self { is_tls, what: what(address, is_tls, &hello).await };
            }
        }
        Self { is_tls: false, what: What::Silent }
    }
}

async fn what(address: SocketAddr, is_tls: bool, hello: &str) -> What {
    let engine =
        ask(address, is_tls, "/socket.io/?EIO=3&transport=polling&sid=doctor").await.unwrap_or_default();
    if !hello.ends_with("hello entry") || !engine.contains("\"Session ID unknown\"") {
        return What::Http(hello.lines().next().unwrap_or_default().to_owned());
    }
    // The original serves the client library as well; pages bring their own.
    let library = ask(address, is_tls, "/socket.io/socket.io.js").await.unwrap_or_default();
    if library.starts_with("HTTP/1.1 200") { What::Original } else { What::Ours }
}

/// The whole answer to a GET, if it is one of HTTP.
async fn ask(address: SocketAddr, is_tls: bool, path: &str) -> Option<String> {
    let asking = async {
        let mut stream: BoxStream = if is_tls {
            let [name, _] = PUBLIC_NAMES;
            dial_loopback_unverified(address, name, &Limits::default()).await.ok()?
        } else {
            Box::new(TcpStream::connect(address).await.ok()?)
        };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", address.port());
        stream.write_all(request.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        let mut answer = Vec::new();
        // A peer that breaks off has said what it had to say.
        let _ = timeout(ANSWER_WITHIN, stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)).await;
        Some(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(ANSWER_WITHIN * 2, asking).await.ok()??;
    let is_bad_plain = !is_tls && answer.starts_with("HTTP/1.1 400") && path == "/";
    (answer.starts_with("HTTP/1.") && !is_bad_plain).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every connection by what `answer` makes of the first line.
    async fn server(answer: fn(&str) -> &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 512];
                let len = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..len]).into_owned();
                let _ = stream.write_all(answer(request.lines().next().unwrap_or_default()).as_bytes()).await;
            }
        });
        address
    }

    const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello entry";
    const NO_SESSION: &str =
        "HTTP/1.1 400 Bad Request\r\n\r\n{\"code\":1,\"message\":\"Session ID unknown\"}";

    #[tokio::test]
    async fn each_neighbour_is_told_by_what_it_says() {
        let original: fn(&str) -> &'static str = |line| match line {
            line if line.starts_with("GET / ") => HELLO,
            line if line.contains("socket.io.js") => "HTTP/1.1 200 OK\r\n\r\n(function",
            _ => NO_SESSION,
        };
        let ours: fn(&str) -> &'static str = |line| match line {
            line if line.starts_with("GET / ") => HELLO,
            line if line.contains("socket.io.js") => "HTTP/1.1 404 Not Found\r\n\r\n",
            _ => NO_SESSION,
        };
        let foreign: fn(&str) -> &'static str = |_| "HTTP/1.1 200 OK\r\n\r\n<html>";
        let secret: fn(&str) -> &'static str = |_| "SSH-2.0-x\r\n";
        for (answer, want) in [
            (original, What::Original),
            (ours, What::Ours),
            (foreign, What::Http("HTTP/1.1 200 OK".into())),
            (secret, What::Silent),
        ] {
            assert_eq!(Who::at(server(answer).await).await, Who { is_tls: false, what: want });
        }
    }

    #[tokio::test]
    async fn a_free_port_is_good_and_a_taken_one_is_named() {
        let address = server(|_| "HTTP/1.1 418 Teapot\x1b\r\n\r\n").await;
        let mut report = Report::default();
        examine(&mut report, address.port()).await;
        assert_eq!(report.wrong, 1);
        assert!(report.text.contains("answers \"HTTP/1.1 418 Teapot\\x1b\""), "{}", report.text);
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut report = Report::default();
        examine(&mut report, free.port()).await;
        assert_eq!((report.wrong, report.text.contains("is free")), (0, true), "{}", report.text);
    }
}
