//! Signed, sealed and deflated sessions (sections 2.1 and 13), and what becomes of messages that are not right.

use std::time::Duration;

use spandrel_download_client::{
    Client, ClientError, ClientOptions, Close, ConnectionState, Credentials, Failure, Seal, Subprotocol,
};
use spandrel_download_protocol::{
    ClientEvent, DownloadRequest, ErrorCode, ErrorResponse, JobState, Scope, ServerEvent,
};
use spandrel_session::AuthFailure;
use spandrel_transport::{Bytes, Frame};

use crate::request;
use crate::server::{progress, session, start, to_json};
use crate::stage::{Heard, Line, SECRET, Server, Stage, key, soon};

const HOUR_MS: i64 = 3_600_000;
const OTHER: &str = "REREREREREREREREREREREREREREREREREREREREREQ";

fn signed() -> ClientOptions {
    ClientOptions::default().credentials(key())
}

fn sealed() -> ClientOptions {
    signed().seal(Seal::Required)
}

async fn failure(client: &Client) -> Failure {
    let mut state = client.state();
    let failed = soon(state.wait_for(|state| matches!(state, ConnectionState::Failed(_)))).await;
    match &*failed.unwrap() {
        ConnectionState::Failed(failure) => failure.clone(),
        other => panic!("{other:?}"),
    }
}

/// Asks for the state and answers it.
async fn exchange(server: &mut Server, client: &Client, line: &mut Line) -> Heard {
    let (state, heard) = tokio::join!(client.status(Scope::All), async {
        let heard = server.hear(line).await;
        line.say(ServerEvent::StatusUpdate, &heard.request_id, &session(JobState::Paused)).await;
        heard
    });
    assert!(state.unwrap().connected);
    heard
}

#[tokio::test(start_paused = true)]
async fn every_stack_works_with_a_clock_that_is_an_hour_off_either_way() {
    use Subprotocol::{Aes, Deflate, DeflateAes, Json};
    for (subprotocol, options, requires) in [
        (Json, signed(), true),
        (Deflate, signed().deflates(true), true),
        (Aes, sealed(), true),
        (Aes, sealed(), false),
        (DeflateAes, sealed().deflates(true), true),
        (Deflate, ClientOptions::default().deflates(true), false),
    ] {
        for skew_ms in [-HOUR_MS, 0, HOUR_MS] {
            let mut server = Stage::set(&[subprotocol]);
            (server.ways.skew_ms, server.ways.requires) = (skew_ms, requires);
            let (client, mut line) = server.pair(options.clone()).await;
            let is_keyed = line.offer.kid.is_some();
            let ConnectionState::Connected(info) = client.state().borrow().clone() else { panic!() };
            assert_eq!((info.subprotocol, info.is_signed), (subprotocol, is_keyed));
            for _ in 0..3 {
                let heard = exchange(&mut server, &client, &mut line).await;
                assert_eq!(heard.auth, Ok(()), "{subprotocol} {skew_ms}");
                assert_eq!(heard.text.contains("\"auth\":{\"token\":\"k1."), is_keyed);
                // Virtual time: the server's clock, as the client carries it on, goes along.
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_offered_and_what_is_not_offered_is_not_taken() {
    let mut server = Stage::set(&[Subprotocol::Json]);
    let stage = server.stage.clone();
    let (refused, line) = tokio::join!(stage.connect(sealed()), async {
        let line = server.accept().await;
        assert_eq!(line.offer.subprotocols, [Subprotocol::Aes]);
        line.close(4406).await;
    });
    let () = line;
    assert!(matches!(refused, Err(ClientError::Closed(close)) if close.code == 4406));

    // A server that goes on without having chosen anything is left all the same.
    let (refused, _line) = tokio::join!(stage.connect(sealed()), server.meet());
    assert!(matches!(refused, Err(ClientError::Closed(close)) if close.code == 4406));

    let (client, mut line) = server.pair(signed().seal(Seal::IfOffered)).await;
    assert_eq!(line.offer.subprotocols, [Subprotocol::Aes, Subprotocol::Json]);
    let query = line.offer.query().unwrap();
    assert!(query.starts_with("kid=k1&cn=") && query.len() == 10 + 22, "{query}");
    assert_eq!(exchange(&mut server, &client, &mut line).await.auth, Ok(()));
    let ConnectionState::Connected(info) = client.state().borrow().clone() else { panic!() };
    assert!(info.is_signed && !info.is_sealed);

    let (_client, line) = server.pair(signed()).await;
    assert_eq!(line.offer.query().unwrap(), "kid=k1");
    let bearer = ClientOptions::default().credentials(Credentials::bearer("abc").unwrap());
    let (_client, line) = server.pair(bearer).await;
    assert_eq!((line.offer.query(), line.offer.bearer.unwrap().expose()), (None, "abc"));
}

/// Each connection has its own nonce, so that its keys are its own.
#[tokio::test(start_paused = true)]
async fn each_connection_has_keys_of_its_own() {
    let mut server = Stage::set(&[Subprotocol::Aes]);
    let (client, line) = server.pair(sealed()).await;
    let first = line.offer.client_nonce.clone().unwrap();
    drop(line);
    let mut line = server.meet().await;
    assert_ne!(line.offer.client_nonce.clone().unwrap(), first);
    exchange(&mut server, &client, &mut line).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_with_another_key_is_not_believed() {
    let mut server = Stage::set(&[Subprotocol::Json]);
    server.ways.secret = OTHER;
    let stage = server.stage.clone();
    let (refused, _line) = tokio::join!(stage.connect(signed()), server.meet());
    let error = refused.err().unwrap();
    assert!(matches!(error, ClientError::Untrusted { code: 4401, .. }) && error.is_auth(), "{error}");
    assert!(!error.to_string().contains(SECRET) && !error.to_string().contains(OTHER));

    // Below a seal the hello says nothing yet; the first sealed message does.
    let mut server = Stage::set(&[Subprotocol::Aes]);
    server.ways.secret = OTHER;
    let (client, mut line) = server.pair(sealed()).await;
    line.say(ServerEvent::DownloadProgress, "job", &progress(1)).await;
    assert_eq!(line.goodbye().await, 4401);
    assert_eq!(failure(&client).await.code, 4401);
}

/// A way to send what is not right.
type Wrong = fn(&mut Line, &Heard) -> Vec<Frame>;

fn good(line: &mut Line) -> Frame {
    line.frame(ServerEvent::DownloadProgress, "job", &to_json(&progress(1)))
}

fn flipped(frame: &Frame, at: usize) -> Frame {
    let mut bytes = frame.data().to_vec();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    if frame.is_text() { Frame::try_text(Bytes::from(bytes)).unwrap() } else { Frame::binary(bytes) }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_the_servers_ends_the_session() {
    let cases: [(&str, bool, Wrong); 11] = [
        ("signed: a letter changed", false, |line, _| vec![flipped(&good(line), 30)]),
        ("signed: the signature changed", false, |line, _| {
            let frame = good(line);
            vec![flipped(&frame, frame.len() - 5)]
        }),
        ("signed: twice", false, |line, _| {
            let frame = good(line);
            vec![frame.clone(), frame]
        }),
        ("signed: not signed", false, |_, _| {
            let data = to_json(&progress(1));
            vec![Frame::text(spandrel_download_protocol::write_message(
                ServerEvent::DownloadProgress,
                "job",
                0,
                &data,
            ))]
        }),
        ("signed: our own message back", false, |_, heard| vec![Frame::text(heard.text.clone())]),
        ("signed: a space in the tail", false, |line, _| {
            let text = good(line).as_text().unwrap().replace(",\"auth\":{", ",\"auth\": {");
            vec![Frame::text(text)]
        }),
        ("sealed: a bit changed", true, |line, _| vec![flipped(&good(line), 20)]),
        ("sealed: twice", true, |line, _| {
            let frame = good(line);
            vec![frame.clone(), frame]
        }),
        ("sealed: one lost", true, |line, _| {
            let _lost = good(line);
            vec![good(line)]
        }),
        ("sealed: two in the wrong order", true, |line, _| {
            let first = good(line);
            vec![good(line), first]
        }),
        ("sealed: not sealed", true, |line, _| vec![Frame::text(line.hello_text())]),
    ];
    for (name, is_sealed, wrong) in cases {
        let (subprotocol, options) =
            if is_sealed { (Subprotocol::Aes, sealed()) } else { (Subprotocol::Json, signed()) };
        let mut server = Stage::set(&[subprotocol]);
        let (client, mut line) = server.pair(options).await;
        let heard = exchange(&mut server, &client, &mut line).await;
        let unanswered = client.clone();
        let unanswered = tokio::spawn(async move { unanswered.status(Scope::All).await });
        server.hear(&mut line).await;
        for frame in wrong(&mut line, &heard) {
            line.conn.send(frame).await.unwrap();
        }
        assert_eq!(line.goodbye().await, 4401, "{name}");
        let failure = failure(&client).await;
        assert_eq!((failure.code, failure.attempts), (4401, 0), "{name}");
        assert!(!failure.reason.is_empty(), "{name}");
        let told = soon(unanswered).await.unwrap();
        assert!(told.is_err_and(|e| e.is_auth()), "{name}");
        assert_eq!(server.stage.dials().len(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_cannot_be_read_end_the_session_with_their_code() {
    let zlib = |bytes: &[u8]| {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut out, bytes).unwrap();
        out.finish().unwrap()
    };
    let bomb = zlib(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 20_000);
    let trailing = [zlib(b"{}"), vec![0]].concat();
    for (name, subprotocol, bytes, code) in [
        ("binary without deflate", Subprotocol::Json, zlib(b"{}"), 1003),
        ("no zlib stream", Subprotocol::Deflate, b"nonsense".to_vec(), 1007),
        ("bytes after the stream", Subprotocol::Deflate, trailing, 1007),
        ("inflates past the limit", Subprotocol::Deflate, bomb, 1009),
        ("too short for a seal", Subprotocol::Aes, vec![0; 27], 4401),
    ] {
        let mut server = Stage::set(&[subprotocol]);
        let options = if subprotocol.has_aes() { sealed() } else { ClientOptions::default().deflates(true) };
        let (client, mut line) = server.pair(options).await;
        exchange(&mut server, &client, &mut line).await;
        line.conn.send(Frame::binary(bytes)).await.unwrap();
        assert_eq!(line.goodbye().await, code, "{name}");
        assert_eq!(failure(&client).await.code, code, "{name}");
    }
}

/// More than the protocol asks: nonces are remembered over reconnects.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_connection_carried_is_not_taken_again() {
    let mut server = Stage::set(&[Subprotocol::Json]);
    let (client, mut line) = server.pair(signed()).await;
    let frame = good(&mut line);
    line.conn.send(frame.clone()).await.unwrap();
    exchange(&mut server, &client, &mut line).await;
    drop(line);
    let mut line = server.meet().await;
    line.conn.send(frame).await.unwrap();
    assert_eq!(line.goodbye().await, 4401);
    assert_eq!(failure(&client).await.code, 4401);
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_long_ago_is_left_and_a_new_hello_mends_it() {
    let mut server = Stage::set(&[Subprotocol::Json]);
    let (client, mut line) = server.pair(signed()).await;
    exchange(&mut server, &client, &mut line).await;
    // The server's clock is set by an hour while the session is open.
    line.ways.skew_ms = HOUR_MS;
    server.ways.skew_ms = HOUR_MS;
    line.say(ServerEvent::DownloadProgress, "job", &progress(1)).await;
    assert_eq!(line.goodbye().await, 4408);
    let mut line = server.meet().await;
    assert_eq!(exchange(&mut server, &client, &mut line).await.auth, Ok(()));
}

fn expired(heard: &Heard) -> ErrorResponse {
    let Err(AuthFailure::Expired { server_time_ms }) = heard.auth else { panic!("{:?}", heard.auth) };
    ErrorResponse::new(ErrorCode::AuthExpired, "too old").with_detail("serverTime", server_time_ms)
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_for_the_server_is_signed_once_more_by_its_clock() {
    let mut server = Stage::set(&[Subprotocol::Aes]);
    // A window tighter than ours, and a clock that moved by more than that.
    server.ways.window_ms = 5000;
    let (client, mut line) = server.pair(sealed()).await;
    line.ways.skew_ms = 10_000;
    let asked = client.clone();
    let asked = tokio::spawn(async move { asked.status(Scope::All).await });
    let first = server.hear(&mut line).await;
    line.complain(&first.request_id, &expired(&first)).await;
    let second = server.hear(&mut line).await;
    assert_eq!((&second.request_id, second.auth), (&first.request_id, Ok(())));
    line.say(ServerEvent::StatusUpdate, &second.request_id, &session(JobState::Paused)).await;
    assert!(soon(asked).await.unwrap().is_ok());
    // What follows is right at once.
    assert_eq!(exchange(&mut server, &client, &mut line).await.auth, Ok(()));

    // Twice too old is told to who asked; nobody goes round in circles.
    let asked = client.clone();
    let asked = tokio::spawn(async move { asked.status(Scope::All).await });
    for skew_ms in [20_000, 29_000] {
        line.ways.skew_ms = skew_ms;
        let heard = server.hear(&mut line).await;
        line.complain(&heard.request_id, &expired(&heard)).await;
    }
    let refused = soon(asked).await.unwrap();
    assert!(matches!(refused, Err(ClientError::Refused(e)) if e.code == ErrorCode::AuthExpired));
    assert_eq!(server.stage.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_take_our_signature_is_left_and_nobody_waits_for_ever() {
    for code in [ErrorCode::AuthInvalid, ErrorCode::AuthRequired] {
        let mut server = Stage::set(&[Subprotocol::Json]);
        let (client, mut line) = server.pair(signed()).await;
        let asked = client.clone();
        let asked = tokio::spawn(async move { asked.status(Scope::All).await });
        server.hear(&mut line).await;
        line.complain("srv-9", &ErrorResponse::new(code, "no")).await;
        assert!(soon(asked).await.unwrap().is_err_and(|e| e.is_auth()), "{code:?}");
        assert_eq!(failure(&client).await.code, 4401, "{code:?}");
        assert_eq!(line.goodbye().await, 4401);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_made_on_the_way_does_no_harm() {
    let mut server = Stage::set(&[Subprotocol::Json]);
    let (client, mut line) = server.pair(signed()).await;
    let asked = client.clone();
    let asked = tokio::spawn(async move { asked.request(&request()).await });
    let heard = server.hear(&mut line).await;
    // The copy is refused before the original is answered.
    let replayed = ErrorResponse::new(ErrorCode::AuthReplayed, "seen before");
    line.complain(&heard.request_id, &replayed).await;
    line.say(ServerEvent::DownloadStart, &heard.request_id, &start(false, 1)).await;
    assert!(soon(asked).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_does_not_fit_the_session_is_refused() {
    for (name, wrong) in [
        ("another subprotocol", |text: String| text.replace("+json+aes256gcm", "+json")),
        ("no nonce", |text: String| text.replace("serverNonce", "x-nonce")),
        ("a short nonce", |text: String| text.replace("\"serverNonce\":\"", "\"serverNonce\":\"AA")),
    ] as [(&str, fn(String) -> String); 3]
    {
        let mut server = Stage::set(&[Subprotocol::Aes]);
        let stage = server.stage.clone();
        let (refused, code) = tokio::join!(stage.connect(sealed()), async {
            let mut line = server.accept().await;
            let text = wrong(line.hello_text());
            line.conn.send(Frame::text(text)).await.unwrap();
            line.goodbye().await
        });
        assert!(matches!(refused, Err(ClientError::Untrusted { code: 4401, .. })), "{name}");
        assert_eq!(code, 4401, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_one_byte_over_the_servers_bound_is_told_and_the_session_lives() {
    let mut server = Stage::set(&[Subprotocol::Json]);
    server.ways.max_message_bytes = 2000;
    let (client, mut line) = server.pair(ClientOptions::default()).await;
    let of = |len: usize| request().columns(["x".repeat(len)]);
    let empty = server.ask_len(&client, &mut line, &of(1)).await - 1;
    assert_eq!(server.ask_len(&client, &mut line, &of(2000 - empty)).await, 2000);
    let refused = client.request(&of(2001 - empty)).await.map(drop);
    assert!(matches!(refused, Err(ClientError::TooBig { len: 2001, max: 2000 })), "{refused:?}");
    exchange(&mut server, &client, &mut line).await;
}

impl Server {
    /// Bytes of a request as it arrives.
    async fn ask_len(&mut self, client: &Client, line: &mut Line, wanted: &DownloadRequest) -> usize {
        let (download, len) = tokio::join!(client.request(wanted), async {
            let heard = self.hear(line).await;
            assert_eq!(heard.event, ClientEvent::DownloadRequest);
            line.say(ServerEvent::DownloadStart, &heard.request_id, &start(false, 1)).await;
            heard.text.len()
        });
        assert!(download.is_ok());
        len
    }
}

#[tokio::test(start_paused = true)]
async fn a_sealed_session_can_be_closed_in_good_order() {
    let mut server = Stage::set(&[Subprotocol::Aes]);
    let (client, mut line) = server.pair(sealed()).await;
    exchange(&mut server, &client, &mut line).await;
    drop(client);
    assert_eq!(line.goodbye().await, Close::NORMAL);
}
