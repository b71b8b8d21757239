//! Who may connect: requests by hand, with any head a page, a program or a trick can send.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::page::Page;
use super::parent::Parent;

const POLLING: &str = "/socket.io/?client=true&roomId=q&EIO=3&transport=polling";
const WEBSOCKET: &str = "/socket.io/?client=true&roomId=q&EIO=3&transport=websocket";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
const FORBIDDEN: &str = r#"{"code":4,"message":"Forbidden"}"#;

/// Stands for the address of the bridge in a `Host`.
const OWN: &str = "127.0.0.1";

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// The value of a header.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn has_cors(&self) -> bool {
        self.head.to_ascii_lowercase().contains("access-control-")
    }
}

/// Sends a request with these lines after its `Host` and reads what comes back.
async fn ask(address: SocketAddr, method: &str, target: &str, lines: &str, body: &str) -> Answer {
    let host = format!("Host: {address}\r\n");
    ask_as(address, method, target, &(host + lines), body).await
}

/// [`ask`] with a `Host` among the lines, or without one.
async fn ask_as(address: SocketAddr, method: &str, target: &str, lines: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{method} {target} HTTP/1.1\r\n{lines}{length}\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("sent");
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let wanted = |bytes: &[u8]| -> Option<(usize, usize)> {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        Some((end, end + length.unwrap_or(0)))
    };
    while wanted(&bytes).is_none_or(|(_, end)| bytes.len() < end) {
        let mut part = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut part)).await.expect("an answer").expect("bytes");
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..read]);
    }
    let (head_end, end) = wanted(&bytes).unwrap_or((bytes.len(), bytes.len()));
    let text = |range: std::ops::Range<usize>| {
        String::from_utf8_lossy(bytes.get(range).unwrap_or_default()).into_owned()
    };
    let head = text(0..head_end);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, head, body: text(head_end..end) }
}

/// What a request with these lines gets on both transports and from a preflight: admitted or refused, never half.
async fn is_admitted(address: SocketAddr, lines: &str) -> bool {
    let origin = lines.lines().find_map(|line| line.strip_prefix("Origin: "));
    let poll = ask_as(address, "GET", POLLING, lines, "").await;
    let upgrade = ask_as(address, "GET", WEBSOCKET, &format!("{lines}{UPGRADE}"), "").await;
    let preflight =
        ask_as(address, "OPTIONS", POLLING, &format!("{lines}Access-Control-Request-Method: POST\r\n"), "")
            .await;
    match poll.status {
        200 => {
            assert_eq!(upgrade.status, 101, "{lines}: WebSocket as polling");
            assert!(matches!(preflight.status, 200 | 204), "{lines}: preflight as polling: {preflight:?}");
            let allowed = poll.header("access-control-allow-origin");
            assert_eq!(allowed, Some(origin.unwrap_or("*")), "{lines}");
            let credentials = poll.header("access-control-allow-credentials");
            assert_eq!(credentials, origin.map(|_| "true"), "{lines}");
            true
        }
        403 => {
            for answer in [&poll, &upgrade, &preflight] {
                assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN), "{lines}: {answer:?}");
                assert!(!answer.has_cors(), "{lines}: {answer:?}");
            }
            false
        }
        other => panic!("{lines}: {other}: {poll:?}"),
    }
}

/// Checks origins one by one, then that the parent heard of those admitted and of no other.
async fn origins(setting: Option<&str>, cases: &[(&str, bool)]) {
    let env: Vec<_> = setting.map(|list| ("SPANDREL_HW_ORIGINS", list)).into_iter().collect();
    let mut parent = Parent::open(&env).await;
    let address = parent.address();
    let mut admitted = 0;
    for (origin, want) in cases {
        let lines = format!("Host: {address}\r\nOrigin: {origin}\r\n");
        assert_eq!(is_admitted(address, &lines).await, *want, "{origin:?} with {setting:?}");
        admitted += if *want { 2 } else { 0 };
    }
    count_connections(&mut parent, admitted).await;
}

/// The parent hears of so many connections, and then of one more.
async fn count_connections(parent: &mut Parent, count: usize) {
    let mut page = Page::open(parent.address(), "last").await;
    page.settle().await;
    let _ = parent.next("data").await;
    let heard = parent.said.iter().filter(|(key, _)| key == "connection").count();
    assert_eq!(heard, count + 1, "connections told to the parent");
    assert!(!parent.said.iter().any(|(key, _)| key == "data"), "{:?}", parent.said);
}

#[tokio::test]
async fn the_default_list_admits_the_site_this_machine_and_files() {
    origins(
        None,
        &[
            ("https://playentry.org", true),
            ("https://www.playentry.org", true),
            ("https://a.b.c.playentry.org", true),
            ("HTTPS://PlayEntry.org", true),
            ("https://playentry.org:443", true),
            ("http://localhost", true),
            ("https://localhost:3000", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:5173", true),
            ("file://", true),
            ("http://playentry.org", false),
            ("http://www.playentry.org", false),
            ("https://playentry.org:8443", false),
            ("https://playentry.org.example", false),
            ("https://notplayentry.org", false),
            ("https://www.playentry.org.", false),
            ("https://.playentry.org", false),
            ("https://playentry.org@stranger.example", false),
            ("https://localhost.stranger.example", false),
            ("http://127.0.0.1.stranger.example", false),
            ("http://127.0.0.2", false),
            ("http://[::2]", false),
            ("http://0.0.0.0", false),
            ("http://2130706433", false),
            ("null", false),
            ("file:", false),
            ("file:///home", false),
            ("https://stranger.example", false),
            ("ftp://localhost", false),
            ("moz-extension://8b8f6a3e", false),
            ("https://playentry.org/path", false),
            ("https://playentry.org https://stranger.example", false),
            ("https://playentry.org, https://stranger.example", false),
            ("playentry.org", false),
            ("*", false),
            ("", false),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_list_of_ones_own_takes_the_place_of_the_default() {
    origins(
        Some(" https://desk.example , http://10.0.0.5:8080,*.school.example,null "),
        &[
            ("https://desk.example", true),
            ("https://DESK.example:443", true),
            ("http://10.0.0.5:8080", true),
            ("https://a.school.example", true),
            ("https://b.a.school.example", true),
            ("null", true),
            ("https://desk.example:444", false),
            ("http://desk.example", false),
            ("http://10.0.0.5", false),
            ("https://school.example", false),
            ("http://a.school.example", false),
            ("https://a.school.example:8443", false),
            ("https://playentry.org", false),
            ("http://localhost", false),
            ("file://", false),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_default_can_be_added_to() {
    origins(
        Some("default,https://desk.example"),
        &[
            ("https://playentry.org", true),
            ("http://localhost:1", true),
            ("https://desk.example", true),
            ("https://stranger.example", false),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_open_list_admits_every_page_and_still_no_page_as_a_program() {
    let mut parent = Parent::open(&[("SPANDREL_HW_ORIGINS", "*")]).await;
    let address = parent.address();
    for origin in ["https://stranger.example", "null", "no origin at all", "file://"] {
        assert!(is_admitted(address, &format!("Host: x.example\r\nOrigin: {origin}\r\n")).await, "{origin}");
    }
    let program = POLLING.replace("client=true", "childServer=true");
    for lines in ["Origin: https://playentry.org\r\n", "Origin: \r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let answer = ask(address, "GET", &program, lines, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN), "{lines}");
    }
    count_connections(&mut parent, 8).await;
}

#[tokio::test]
async fn names_that_are_not_its_own_are_refused() {
    let mut parent = Parent::open(&[]).await;
    let address = parent.address();
    let port = address.port();
    let mut admitted = 0;
    for (host, want) in [
        (format!("127.0.0.1:{port}"), true),
        (OWN.to_owned(), true),
        ("localhost:1".to_owned(), true),
        ("LocalHost".to_owned(), true),
        (format!("hw.playentry.org:{port}"), true),
        ("hardware.playentry.org".to_owned(), true),
        ("stranger.example".to_owned(), false),
        (format!("127.0.0.1.stranger.example:{port}"), false),
        (format!("localhost.stranger.example:{port}"), false),
        ("playentry.org".to_owned(), false),
        ("xhw.playentry.org".to_owned(), false),
        ("hw.playentry.org.stranger.example".to_owned(), false),
        ("0.0.0.0".to_owned(), false),
        ("127.0.0.2".to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(is_admitted(address, &format!("Host: {host}\r\n")).await, want, "{host:?}");
        admitted += if want { 2 } else { 0 };
        if !want {
            // A page that a foreign name led here names itself by the same name.
            let lines = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
            assert!(!is_admitted(address, &lines).await, "{host:?}");
        }
    }
    let none = ask_as(address, "GET", POLLING, "", "").await;
    assert!(matches!(none.status, 400 | 403), "without a Host: {none:?}");
    count_connections(&mut parent, admitted).await;
}

#[tokio::test]
async fn a_page_that_sends_no_origin_is_refused() {
    let mut parent = Parent::open(&[]).await;
    let address = parent.address();
    let mut admitted = 0;
    for (site, want) in [
        ("cross-site", false),
        ("same-site", false),
        ("Cross-Site", false),
        ("none", true),
        ("same-origin", true),
    ] {
        let lines = format!("Host: {address}\r\nSec-Fetch-Site: {site}\r\n");
        assert_eq!(is_admitted(address, &lines).await, want, "{site}");
        admitted += if want { 2 } else { 0 };
        let program = POLLING.replace("client=true", "childServer=true");
        let answer = ask(address, "GET", &program, &format!("Sec-Fetch-Site: {site}\r\n"), "").await;
        if !want {
            assert_eq!(answer.status, 403, "{site} as a program: {answer:?}");
        } else if answer.status == 200 {
            admitted += 1;
        }
    }
    let script = ask(address, "GET", &format!("{POLLING}&j=0"), "", "").await;
    assert_eq!((script.status, script.body.contains(r#""code":3"#)), (400, true), "{script:?}");
    count_connections(&mut parent, admitted).await;
}

#[tokio::test]
async fn each_request_of_a_session_is_judged() {
    let mut parent = Parent::open(&[]).await;
    let address = parent.address();
    let good = "Origin: https://playentry.org\r\n";
    let opened = ask(address, "GET", POLLING, good, "").await;
    let sid = opened.body.split(r#""sid":""#).nth(1).and_then(|rest| rest.split('"').next());
    let session = format!("{POLLING}&sid={}", sid.expect("a session"));
    let packet = r#"24:42["message",{"data":1}]"#;
    for bad in [
        "Origin: https://stranger.example\r\n",
        "Origin: https://playentry.org\r\nOrigin: https://stranger.example\r\n",
        "Origin: \r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        for (method, body) in [("POST", packet), ("GET", ""), ("OPTIONS", "")] {
            let answer = ask(address, method, &session, bad, body).await;
            assert_eq!((answer.status, answer.has_cors()), (403, false), "{method} {bad}: {answer:?}");
        }
        let upgrade = session.replace("polling", "websocket");
        let answer = ask(address, "GET", &upgrade, &format!("{bad}{UPGRADE}"), "").await;
        assert_eq!(answer.status, 403, "{bad}");
    }
    // The session is untouched by all of that.
    let answer = ask(address, "POST", &session, good, packet).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!(parent.next("data").await, json!({ "data": 1 }));
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://playentry.org"));
}

#[tokio::test]
async fn a_token_is_asked_of_pages_and_not_of_programs() {
    let token = "8fK2-pairing";
    let mut parent = Parent::open(&[("SPANDREL_HW_TOKEN", token)]).await;
    let address = parent.address();
    let page = "Origin: https://playentry.org\r\n";
    for (query, lines, want) in [
        ("", page, 403),
        ("&token=", page, 403),
        ("&token=8fK2-pairinh", page, 403),
        ("&token=8fK2-pairing-and-more", page, 403),
        ("&token=8fK2-pairing", page, 200),
        ("&token=8fK2%2Dpairing", page, 200),
        ("", "", 200),
        ("&token=8fK2-pairing", "Origin: https://stranger.example\r\n", 403),
    ] {
        let answer = ask(address, "GET", &format!("{POLLING}{query}"), lines, "").await;
        assert_eq!(answer.status, want, "{query} {lines}: {answer:?}");
    }
    count_connections(&mut parent, 3).await;
    assert!(!parent.log().iter().any(|line| line.contains("8fK2")), "{:?}", parent.log());
}

#[tokio::test]
async fn a_refusal_is_one_line_that_names_the_setting() {
    for (lines, words) in [
        ("Origin: https://desk.example\r\n", ["https://desk.example", "SPANDREL_HW_ORIGINS"]),
        ("Host: desk.example\r\n", ["desk.example", "SPANDREL_HW_ORIGINS"]),
    ] {
        let parent = Parent::open(&[]).await;
        let address = parent.address();
        let before = parent.log().len();
        for _ in 0..50 {
            let own = if lines.starts_with("Host") { String::new() } else { format!("Host: {address}\r\n") };
            let answer = ask_as(address, "GET", POLLING, &format!("{own}{lines}"), "").await;
            assert_eq!(answer.status, 403);
        }
        parent.logged(|line| words.iter().all(|word| line.contains(word)).then_some(())).await;
        let more = parent.log().len() - before;
        assert!(more <= 5, "{more} lines for fifty refusals: {:?}", parent.log());
    }
}

#[tokio::test]
async fn preflights_of_a_listed_page_are_answered() {
    let parent = Parent::open(&[]).await;
    let lines = "Origin: https://playentry.org\r\nAccess-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Headers: content-type\r\n";
    let plain = ask(parent.address(), "OPTIONS", POLLING, lines, "").await;
    assert!(matches!(plain.status, 200 | 204), "{plain:?}");
    assert_eq!(plain.header("access-control-allow-origin"), Some("https://playentry.org"));
    let headers = plain.header("access-control-allow-headers").unwrap_or_default();
    assert!(headers.eq_ignore_ascii_case("content-type"), "{plain:?}");
    assert_eq!(plain.header("access-control-allow-private-network"), None);
    let private = format!("{lines}Access-Control-Request-Private-Network: true\r\n");
    let private = ask(parent.address(), "OPTIONS", POLLING, &private, "").await;
    assert_eq!(private.header("access-control-allow-private-network"), Some("true"));
}

#[tokio::test]
async fn other_paths_answer_anyone_and_hold_nothing() {
    let parent = Parent::open(&[]).await;
    let address = parent.address();
    for (method, target, lines, status, body) in [
        ("GET", "/", "", 200, "hello entry"),
        ("POST", "/any/path?x=1", "", 200, "hello entry"),
        ("DELETE", "/", "Origin: https://stranger.example\r\n", 200, "hello entry"),
        ("GET", "/modules", "", 404, ""),
        ("GET", "/modules/name", "", 404, ""),
        ("GET", "/modules/name/files/block", "", 404, ""),
        ("GET", "/socket.io/socket.io.js", "", 404, ""),
    ] {
        let answer = ask(address, method, target, lines, "").await;
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.body, body, "{method} {target}");
        }
    }
    let upgrade = ask(address, "GET", "/elsewhere", UPGRADE, "").await;
    assert_eq!(upgrade.status, 404, "{upgrade:?}");
}

#[tokio::test]
async fn what_is_no_session_is_told_why() {
    let parent = Parent::open(&[]).await;
    let address = parent.address();
    for (method, target, code) in [
        ("GET", "/socket.io/?EIO=3&transport=pigeon".to_owned(), 0),
        ("GET", "/socket.io/?EIO=3".to_owned(), 0),
        ("GET", format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA"), 1),
        ("POST", format!("{POLLING}&sid="), 2),
        ("POST", POLLING.to_owned(), 2),
        ("PUT", POLLING.to_owned(), 2),
    ] {
        let answer = ask(address, method, &target, "Origin: http://localhost\r\n", "").await;
        let wanted = format!(r#""code":{code}"#);
        assert!(answer.status == 400 && answer.body.contains(&wanted), "{method} {target}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost"), "{target}");
    }
}
