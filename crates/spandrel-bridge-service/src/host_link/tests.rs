use spandrel_transport::{Connection, MemTransport, Transport};

use super::*;

const HELLO: &str = r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":1000,"pingTimeout":5000}"#;

/// Both ends of a link that nothing was said on.
async fn ends() -> (Box<dyn Link>, Connection) {
    let mem = MemTransport::new();
    let at = "mem:host".parse().unwrap();
    let mut listener = mem.listen(&at).await.unwrap();
    let accept = async {
        let incoming = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        Connection::new(incoming.accept().await.unwrap())
    };
    let (near, far) = tokio::join!(mem.dial(&at), accept);
    (near.unwrap(), far)
}

async fn opened(limits: Limits) -> (HostLink, Connection) {
    let (near, mut far) = ends().await;
    far.send(Frame::text(HELLO)).await.unwrap();
    far.send(Frame::text("40")).await.unwrap();
    (HostLink::open(near, 1, &limits, Clock::start()).await.unwrap(), far)
}

fn poll(link: &mut HostLink, now: u64) -> (Poll<Result<(), HostLinkError>>, Vec<Event>) {
    let (mut cx, mut out) = (Context::from_waker(std::task::Waker::noop()), Vec::new());
    let polled = link.poll(&mut cx, Millis::new(now), &mut out);
    (polled, out)
}

async fn text(far: &mut Connection) -> String {
    far.recv().await.unwrap().unwrap().as_text().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_opens_no_session_is_no_bridge() {
    for (name, frames) in [
        ("not a handshake", &["hello"][..]),
        ("half of one", &["0{"]),
        ("a message first", &["40"]),
        ("an event before the connect", &[HELLO, r#"42["message",1]"#]),
        ("another namespace", &[HELLO, "40/other"]),
        ("an error", &[HELLO, r#"44"no""#]),
        ("nothing", &[]),
    ] {
        let (near, mut far) = ends().await;
        for frame in frames {
            far.send(Frame::text(*frame)).await.unwrap();
        }
        far.close(spandrel_transport::Close::normal()).await.unwrap();
        let refused = HostLink::open(near, 1, &Limits::default(), Clock::start()).await.err();
        assert!(matches!(refused, Some(HostLinkError::NoBridge { port: 1, .. })), "{name}: {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_behind_the_greeting_are_kept_and_go_up_in_order() {
    let (near, mut far) = ends().await;
    for frame in [HELLO, "40", r#"42["message",1]"#, r#"42["message",2]"#, "3"] {
        far.feed(Frame::text(frame)).await.unwrap();
    }
    far.flush().await.unwrap();
    let mut link = HostLink::open(near, 1, &Limits::default(), Clock::start()).await.unwrap();
    let (polled, events) = poll(&mut link, 0);
    assert!(matches!(polled, Poll::Ready(Ok(()))));
    let args: Vec<_> = events.iter().map(|event| event.arg(0).unwrap().as_json_str().to_owned()).collect();
    assert_eq!(args, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn it_pings_and_a_silent_host_is_given_up() {
    let (mut link, mut far) = opened(Limits::default()).await;
    assert_eq!(link.wake_at(), Millis::new(1_000));
    assert!(poll(&mut link, 999).0.is_pending());
    assert!(poll(&mut link, 1_000).0.is_pending());
    assert_eq!(text(&mut far).await, "2");
    far.send(Frame::text("3")).await.unwrap();
    for now in [2_000, 3_000, 4_000, 5_000, 6_000] {
        assert!(poll(&mut link, now).0.is_pending(), "{now}");
        assert_eq!(text(&mut far).await, "2");
    }
    // The answer to the first came; the second was the last heard of.
    assert!(poll(&mut link, 6_999).0.is_pending());
    assert!(matches!(poll(&mut link, 7_000).0, Poll::Ready(Err(HostLinkError::Silent))));
}

/// A machine that slept finds the answer waiting: nothing is lost for it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_waited_counts() {
    let (mut link, mut far) = opened(Limits::default()).await;
    assert!(poll(&mut link, 1_000).0.is_pending());
    far.send(Frame::text("3")).await.unwrap();
    assert!(poll(&mut link, 3_600_000).0.is_pending());
    assert_eq!((text(&mut far).await, text(&mut far).await), ("2".to_owned(), "2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn every_end_is_an_end() {
    for (name, frame, want) in [
        ("a disconnect", Some("41"), "the host is gone"),
        ("a close", Some("1"), "the host is gone"),
        ("garbage", Some("4garbage"), "the host broke the protocol"),
        ("an unknown packet", Some("9"), "the host broke the protocol"),
        ("its end", None, "the host is gone"),
    ] {
        let (mut link, mut far) = opened(Limits::default()).await;
        match frame {
            Some(frame) => far.send(Frame::text(frame)).await.unwrap(),
            None => drop(far),
        }
        let (polled, events) = poll(&mut link, 0);
        let Poll::Ready(Err(lost)) = polled else { panic!("{name}: {polled:?}") };
        assert!(lost.to_string().starts_with(want) && events.is_empty(), "{name}: {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_read_is_given_up_one_byte_over_the_bound() {
    let packet = |len: usize| {
        let text = spandrel_socketio::Value::from_text(&"x".repeat(len));
        spandrel_socketio::encode_event("message", &[&text], None)
    };
    let bare = packet(0).len_bytes();
    for (name, sizes, is_lost) in [
        ("one of any size", &[500][..], false),
        ("at the bound", &[50, 50], false),
        ("one byte over", &[50, 51], true),
    ] {
        let limits = Limits { unsent_bytes_max: 100 + 2 * bare, ..Limits::default() };
        let (mut link, _far) = opened(limits).await;
        for size in sizes {
            link.send(&packet(*size));
        }
        let lost = matches!(poll(&mut link, 0).0, Poll::Ready(Err(HostLinkError::TooSlow)));
        assert_eq!(lost, is_lost, "{name}");
    }
}

/// Whoever holds the port may be anything: its pings make us say no more than it reads.
#[tokio::test(start_paused = true)]
async fn a_host_that_pings_and_reads_nothing_costs_one_answer() {
    let (mut link, mut far) = opened(Limits::default()).await;
    let ping = |n: usize| Frame::text(format!("2{n:04}{}", "x".repeat(10_000)));
    for n in 0..1_000 {
        assert!(far.try_feed(ping(n)).is_ok(), "{n}: it is read");
        let _ = poll_fn(|cx| Poll::Ready(far.poll_flush(cx))).await;
        // Something else too, so that it does not count as silent while our own pings wait.
        assert!(poll(&mut link, n as u64 * 1_000).0.is_pending(), "{n}");
    }
    let (mut bytes, mut pings, mut last) = (0, 0, String::new());
    while let Poll::Ready(Ok(Some(frame))) = poll_fn(|cx| Poll::Ready(far.poll_recv(cx))).await {
        bytes += frame.len();
        match frame.as_text() {
            Some("2") => pings += 1,
            text => text.unwrap().clone_into(&mut last),
        }
        assert!(poll(&mut link, 999_000).0.is_pending());
    }
    assert!(bytes < 300_000, "{bytes} bytes waited for a host that had sent 10 MB");
    assert!(pings < 100, "{pings} pings waited");
    assert!(last.starts_with("30999"), "the last one is answered: {}", &last[..9]);
}

#[tokio::test(start_paused = true)]
async fn a_packet_too_long_for_a_host_is_lost_alone() {
    let (mut link, mut far) = opened(Limits::default()).await;
    for text in ["x".repeat(2 << 20), "small".to_owned()] {
        link.send(&spandrel_socketio::encode_event(&text, &[], None));
        assert!(poll(&mut link, 0).0.is_pending(), "{} bytes", text.len());
    }
    assert_eq!(text(&mut far).await, r#"42["small"]"#);
}
