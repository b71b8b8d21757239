//! The contract of [`Link`](crate::Link) as tests: one generic function per row, for every transport, also yours.
//!
//! Make a [`Subject`] and call [`conformance_tests!`](crate::conformance_tests) in a test file, or [`all`] in one test.
//! Every function panics with a sentence when the transport breaks the row.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::BytesMut;
use spandrel_wire::{Batch, Close, Codec, Endpoint, Frame, Kind, Limits, OutBuf, WireError};
use tokio::time::timeout;

use crate::{Connection, LinkError, Listener, Transport};

/// Longest any single step may take: generous, since a slow machine is no breach.
const PATIENCE: Duration = Duration::from_secs(20);
/// After so long without a step forward a sender counts as waiting for its peer.
const STUCK: Duration = Duration::from_millis(150);

/// A transport to be tested, and what its wire can do.
#[derive(Clone)]
pub struct Subject {
    /// The transport, with [`limits`](Self::limits).
    pub transport: Arc<dyn Transport>,
    /// The same with a larger frame limit, to send what the other side must refuse. `None` where both ends share limits.
    pub generous: Option<Arc<dyn Transport>>,
    /// Where to listen; port 0 where there are ports.
    pub listen: Endpoint,
    /// Limits of the transport. A small frame limit keeps the rows fast.
    pub limits: Limits,
    /// Does the wire carry binary frames and any text? Else only JSON texts are sent.
    pub carries_any_bytes: bool,
    /// Does a peer say goodbye with a code?
    pub has_goodbye: bool,
    /// Does the wire have pings?
    pub has_pings: bool,
    /// Connections opened at once by [`many_connections`]; two descriptors each, where it is sockets.
    pub connections: usize,
}

impl Subject {
    /// Makes a subject whose wire can do everything.
    pub fn new(transport: impl Transport + 'static, listen: Endpoint, limits: Limits) -> Self {
        Self {
            transport: Arc::new(transport),
            generous: None,
            listen,
            limits,
            carries_any_bytes: true,
            has_goodbye: true,
            has_pings: true,
            connections: 400,
        }
    }

    /// Adds the transport with the larger limit.
    #[must_use]
    pub fn with_generous(mut self, transport: impl Transport + 'static) -> Self {
        self.generous = Some(Arc::new(transport));
        self
    }

    /// A text the wire carries, `len` bytes long where it can be.
    fn text(&self, len: usize) -> Frame {
        if self.carries_any_bytes {
            return Frame::text("x".repeat(len));
        }
        Frame::text(format!("[{}]", "1".repeat(len.saturating_sub(2))))
    }

    /// A frame that tells its number.
    fn numbered(&self, n: usize, len: usize) -> Frame {
        let padding = "0".repeat(len.saturating_sub(12));
        Frame::text(format!("[{n},\"{padding}\"]"))
    }

    async fn listener(&self) -> Box<dyn Listener> {
        self.transport.listen(&self.listen).await.expect("listens")
    }

    /// Opens a link; returns the dialling and the listening end.
    pub async fn pair(&self) -> (Connection, Connection) {
        self.pair_by(&self.transport).await
    }

    async fn pair_by(&self, dialler: &Arc<dyn Transport>) -> (Connection, Connection) {
        let mut listener = self.listener().await;
        let to = listener.local().clone();
        let accept = async {
            let incoming = poll_fn(|cx| listener.poll_accept(cx)).await.expect("accepts");
            incoming.accept().await.expect("handshake")
        };
        let (dialled, accepted) = within(async { tokio::join!(dialler.dial(&to), accept) }).await;
        let dialled = dialled.expect("dials");
        (Connection::with_limits(dialled, &self.limits), Connection::with_limits(accepted, &self.limits))
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Makes one test per row. The argument is an expression that makes a [`Subject`].
#[macro_export]
macro_rules! conformance_tests {
    ($subject:expr) => {
        $crate::conformance_tests!(@each $subject =>
            echo_of_every_size, order_is_kept, many_frames_in_one_flush, own_frames_over_the_limit_are_refused,
            foreign_frames_over_the_limit_are_refused, slow_reader_is_waited_for, goodbye_arrives_from_either_side,
            frames_before_the_goodbye_arrive, end_stays_the_end, peer_gone_without_goodbye, nothing_goes_after_the_goodbye,
            cancelled_recv_loses_nothing, both_directions_at_once, pings_are_life, unread_pings_are_bounded, many_connections, peer_facts);
    };
    (@each $subject:expr => $($row:ident),+) => {
        $(
            #[tokio::test]
            async fn $row() {
                $crate::conformance::$row(&$subject).await;
            }
        )+
    };
}

/// Runs every row, one after the other.
pub async fn all(subject: &Subject) {
    echo_of_every_size(subject).await;
    order_is_kept(subject).await;
    many_frames_in_one_flush(subject).await;
    own_frames_over_the_limit_are_refused(subject).await;
    foreign_frames_over_the_limit_are_refused(subject).await;
    slow_reader_is_waited_for(subject).await;
    goodbye_arrives_from_either_side(subject).await;
    frames_before_the_goodbye_arrive(subject).await;
    end_stays_the_end(subject).await;
    peer_gone_without_goodbye(subject).await;
    nothing_goes_after_the_goodbye(subject).await;
    cancelled_recv_loses_nothing(subject).await;
    both_directions_at_once(subject).await;
    pings_are_life(subject).await;
    unread_pings_are_bounded(subject).await;
    many_connections(subject).await;
    peer_facts(subject).await;
}

/// Frames from the smallest to the limit come back as they were.
pub async fn echo_of_every_size(subject: &Subject) {
    let (mut here, there) = subject.pair().await;
    let echo = tokio::spawn(echo(there));
    let max = subject.limits.frame_bytes_max;
    for len in [0, 1, 2, 125, 126, 127, 4095, 4096, 4097, 65_535, 65_536, max - 1, max] {
        if len > max || (!subject.carries_any_bytes && len < 2) {
            continue;
        }
        let mut frames = vec![subject.text(len)];
        if subject.carries_any_bytes {
            frames.push(Frame::binary(vec![0xA5; len]));
        }
        for frame in frames {
            within(here.send(frame.clone())).await.expect("sends");
            let back = within(here.recv()).await.expect("receives").expect("is open");
            assert!(back == frame, "{:?} frame of {len} bytes came back changed", frame.kind());
        }
    }
    within(here.close(Close::normal())).await.expect("closes");
    within(echo).await.expect("echo ends");
}

/// Frames arrive in the order they were sent, whatever their sizes.
pub async fn order_is_kept(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    let lens: Vec<usize> = (0..600).map(|n| (n * 7919) % 5000).collect();
    let send = async {
        for (n, len) in lens.iter().enumerate() {
            here.feed(subject.numbered(n, *len)).await.expect("feeds");
        }
        here.flush().await.expect("flushes");
    };
    let receive = async {
        for (n, len) in lens.iter().enumerate() {
            let got = there.recv().await.expect("receives").expect("is open");
            assert!(got == subject.numbered(n, *len), "frame {n} is not the one that was sent");
        }
    };
    within(async { tokio::join!(send, receive) }).await;
}

/// Frames fed one by one and flushed once stay single frames; a batch is bounded.
pub async fn many_frames_in_one_flush(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    for n in 0..100 {
        here.feed(subject.numbered(n, 20)).await.expect("feeds");
    }
    within(here.flush()).await.expect("flushes");
    let (mut seen, mut batch) = (0, Batch::with_bounds(1 << 20, 7));
    while seen < 100 {
        let n = within(there.recv_batch(&mut batch)).await.expect("receives");
        assert!(n > 0 && n == batch.len() && n <= 7, "{n} frames in a batch of at most 7");
        while let Some(frame) = batch.pop() {
            assert!(frame == subject.numbered(seen, 20), "frame {seen} is merged, split or lost");
            seen += 1;
        }
    }
}

/// A frame over the limit is refused where it is sent, and the link lives on.
pub async fn own_frames_over_the_limit_are_refused(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    let max = subject.limits.frame_bytes_max;
    let refused = within(here.send(subject.text(max + 1))).await;
    assert!(
        matches!(refused, Err(LinkError::Wire(WireError::TooLong { .. }))),
        "one over the limit gave {refused:?}"
    );
    within(here.send(subject.text(10))).await.expect("the link lives on");
    assert_eq!(within(there.recv()).await.expect("receives"), Some(subject.text(10)));
}

/// A frame over the limit from the peer is a typed error here and a close with 1009 there.
pub async fn foreign_frames_over_the_limit_are_refused(subject: &Subject) {
    let Some(generous) = &subject.generous else { return };
    let (mut here, mut there) = subject.pair_by(generous).await;
    let send = async {
        here.feed(subject.text(10)).await.expect("feeds");
        let _ = here.send(subject.text(subject.limits.frame_bytes_max + 1)).await;
        let end = here.recv().await;
        if subject.has_goodbye {
            assert!(matches!(end, Ok(None)), "the sender's end is {end:?}");
            assert_eq!(here.close_info().map(|c| c.code), Some(Close::TOO_BIG));
        }
        let _ = here.close(Close::normal()).await;
    };
    let receive = async {
        let first = there.recv().await.expect("the frame before it is good");
        assert_eq!(first, Some(subject.text(10)));
        let end = there.recv().await;
        assert!(
            matches!(end, Err(LinkError::Wire(WireError::TooLong { .. }))),
            "the receiver's end is {end:?}"
        );
        let again = there.recv().await;
        assert!(matches!(again, Err(LinkError::Closed)), "after its end it says {again:?}");
    };
    within(async { tokio::join!(send, receive) }).await;
}

/// A peer that does not read makes the sender wait with bounded memory; once it reads, nothing is lost.
pub async fn slow_reader_is_waited_for(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    let len = (16 << 10).min(subject.limits.frame_bytes_max);
    let mut sent = 0;
    loop {
        // Half a GiB: no queue of the system is that deep.
        assert!(sent < 32_768, "a peer that reads nothing was sent {sent} frames of {len} bytes");
        match timeout(STUCK, here.feed(subject.numbered(sent, len))).await {
            Ok(fed) => fed.expect("feeds"),
            Err(_) => break,
        }
        sent += 1;
    }
    let limits = &subject.limits;
    let most = limits.queued_bytes_max + limits.batch_bytes_max + 4 * len;
    assert!(here.queued_bytes() <= most, "{} bytes are queued, at most {most} may be", here.queued_bytes());
    let flush = async { here.flush().await.expect("flushes once the peer reads") };
    let receive = async {
        for n in 0..sent {
            let got = there.recv().await.expect("receives").expect("is open");
            assert!(got == subject.numbered(n, len), "frame {n} of {sent} is not the one that was sent");
        }
    };
    within(async { tokio::join!(flush, receive) }).await;
}

/// Code and reason of a close arrive, from the dialling and from the listening side.
pub async fn goodbye_arrives_from_either_side(subject: &Subject) {
    for dialler_closes in [true, false] {
        let (here, there) = subject.pair().await;
        let (mut closer, mut other) = if dialler_closes { (here, there) } else { (there, here) };
        let close =
            async { closer.close(Close::new(Close::SLOW_CONSUMER, "too slow")).await.expect("closes") };
        let receive = async {
            assert_eq!(other.recv().await.expect("ends in good order"), None);
            if subject.has_goodbye {
                assert_eq!(other.close_info(), Some(&Close::new(Close::SLOW_CONSUMER, "too slow")));
            }
            other.close(Close::normal()).await.expect("closes");
        };
        within(async { tokio::join!(close, receive) }).await;
    }
}

/// Everything sent before a goodbye is received before the end is, also by a reader that starts late.
pub async fn frames_before_the_goodbye_arrive(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    // Little enough to fit the queues below, so that the sender is through before the reader starts.
    let count = 40;
    for n in 0..count {
        within(here.feed(subject.numbered(n, 500))).await.expect("feeds");
    }
    within(here.flush()).await.expect("flushes");
    let close = async { here.close(Close::normal()).await.expect("closes") };
    let receive = async {
        tokio::task::yield_now().await;
        for n in 0..count {
            let got = there.recv().await.expect("receives").expect("comes before the end");
            assert!(got == subject.numbered(n, 500), "frame {n} is not the one that was sent");
        }
        assert_eq!(there.recv().await.expect("ends in good order"), None);
        drop(there);
    };
    within(async { tokio::join!(close, receive) }).await;
}

/// After the end every further call says the end again.
pub async fn end_stays_the_end(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    let close = async { here.close(Close::normal()).await.expect("closes") };
    let receive = async {
        for _ in 0..3 {
            assert_eq!(there.recv().await.expect("ends in good order"), None);
        }
        there.close(Close::normal()).await.expect("closes");
        there.close(Close::normal()).await.expect("closes once more without harm");
    };
    within(async { tokio::join!(close, receive) }).await;
}

/// A peer dropped without a goodbye is told apart from one that closed.
pub async fn peer_gone_without_goodbye(subject: &Subject) {
    let (here, mut there) = subject.pair().await;
    drop(here);
    let end = within(there.recv()).await;
    if subject.has_goodbye {
        assert!(matches!(end, Err(LinkError::Gone)), "a dropped peer gave {end:?}");
        assert_eq!(there.close_info(), None);
    } else {
        assert!(matches!(end, Ok(None) | Err(LinkError::Gone)), "a dropped peer gave {end:?}");
    }
}

/// Sending after either side has said goodbye is refused.
pub async fn nothing_goes_after_the_goodbye(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    let close = async { here.close(Close::normal()).await.expect("closes") };
    let receive = async {
        assert_eq!(there.recv().await.expect("ends in good order"), None);
        there.close(Close::normal()).await.expect("closes");
    };
    within(async { tokio::join!(close, receive) }).await;
    for (side, conn) in [("closer", &mut here), ("other", &mut there)] {
        let late = within(conn.send(subject.text(5))).await;
        assert!(
            matches!(late, Err(LinkError::Closed | LinkError::Gone)),
            "the {side} could still send: {late:?}"
        );
    }
}

/// A `recv` dropped at any point loses no frame.
pub async fn cancelled_recv_loses_nothing(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    let count = 300;
    let send = async {
        for n in 0..count {
            here.feed(subject.numbered(n, 3000)).await.expect("feeds");
            if n % 3 == 0 {
                here.flush().await.expect("flushes");
                tokio::task::yield_now().await;
            }
        }
        here.flush().await.expect("flushes");
    };
    let receive = async {
        let (mut seen, mut cancelled) = (0, 0);
        while seen < count {
            tokio::select! {
                biased;
                got = there.recv() => {
                    let got = got.expect("receives").expect("is open");
                    assert!(got == subject.numbered(seen, 3000), "frame {seen} is lost after {cancelled} cancelled calls");
                    seen += 1;
                }
                () = tokio::task::yield_now() => cancelled += 1,
            }
        }
    };
    within(async { tokio::join!(send, receive) }).await;
}

/// Two peers that send and receive at once do not wait for each other: `recv` moves fed frames out.
pub async fn both_directions_at_once(subject: &Subject) {
    let (here, there) = subject.pair().await;
    let talk = |mut conn: Connection| async move {
        let (mut fed, mut got) = (0, 0);
        let count = 400;
        while got < count || fed < count || conn.queued_bytes() > 0 {
            while fed < count && conn.has_room() {
                conn.try_feed(subject.numbered(fed, 8000)).expect("has room");
                fed += 1;
            }
            if got == count {
                conn.flush().await.expect("flushes");
                continue;
            }
            let frame = conn.recv().await.expect("receives").expect("is open");
            assert!(frame == subject.numbered(got, 8000), "frame {got} is not the one that was sent");
            got += 1;
        }
        conn
    };
    let (here, there) = within(async { tokio::join!(talk(here), talk(there)) }).await;
    assert_eq!((here.stats().frames_in, there.stats().frames_out), (400, 400));
}

/// A ping moves the activity of both sides without showing up as a frame.
pub async fn pings_are_life(subject: &Subject) {
    let (mut here, mut there) = subject.pair().await;
    let sent = within(here.ping(b"life")).await.expect("pings");
    assert_eq!(sent, subject.has_pings, "ping said {sent}");
    if !sent {
        return;
    }
    // A frame behind the ping, and its echo behind the answer, tell when both have come.
    within(here.send(subject.text(5))).await.expect("sends");
    let frame = within(there.recv()).await.expect("receives").expect("is open");
    assert!(frame == subject.text(5), "a ping came up as a frame");
    within(there.send(frame)).await.expect("sends");
    assert_eq!(within(here.recv()).await.expect("receives"), Some(subject.text(5)));
    for (side, conn) in [("pinging", &here), ("answering", &there)] {
        let stats = conn.stats();
        assert_eq!((stats.frames_in, stats.activity), (1, 2), "frames and activity of the {side} side");
    }
    let long = within(here.ping(&[0; 126])).await;
    assert!(long.is_err(), "a ping of 126 bytes gave {long:?}");
}

/// A peer that pings and reads nothing does not make the other side's queue grow.
pub async fn unread_pings_are_bounded(subject: &Subject) {
    if !subject.has_pings {
        return;
    }
    let (mut here, mut there) = subject.pair().await;
    let flood = async {
        for _ in 0..200_000 {
            if timeout(STUCK, here.ping(&[7; 120])).await.is_err() {
                return; // the other side has stopped reading: well done
            }
        }
    };
    let mut most = 0;
    let watch = async {
        tokio::select! {
            got = there.recv() => panic!("a ping came up as {got:?}"),
            () = flood => {}
        }
        most = most.max(there.queued_bytes());
    };
    within(watch).await;
    let bound = subject.limits.queued_bytes_max + (64 << 10);
    assert!(most <= bound, "{most} bytes of answers are queued, at most {bound} may be");
}

/// Many connections at once each get their own answer.
pub async fn many_connections(subject: &Subject) {
    let listener = subject.listener().await;
    let to = listener.local().clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let server = tokio::spawn(crate::serve(listener, subject.limits.clone(), stopped, echo));
    let mut open = Vec::new();
    for n in 0..subject.connections {
        let link =
            within(subject.transport.dial(&to)).await.unwrap_or_else(|e| panic!("connection {n}: {e}"));
        open.push(Connection::with_limits(link, &subject.limits));
    }
    for (n, conn) in open.iter_mut().enumerate() {
        within(conn.send(subject.numbered(n, 50))).await.expect("sends");
    }
    for (n, conn) in open.iter_mut().enumerate() {
        let back = within(conn.recv()).await.expect("receives");
        assert!(back == Some(subject.numbered(n, 50)), "connection {n} got the answer of another");
    }
    drop(stop);
    within(server).await.expect("server stops");
}

/// Both ends know the scheme; where there are addresses, each knows the other's.
pub async fn peer_facts(subject: &Subject) {
    let (here, there) = subject.pair().await;
    assert_eq!(
        (here.peer().scheme, there.peer().scheme),
        (subject.transport.scheme(), subject.transport.scheme())
    );
    assert_eq!(
        here.peer().address.is_some(),
        subject.listen.host_port().is_some(),
        "address of the listening side"
    );
    assert_eq!(here.peer().address.is_some(), there.peer().address.is_some(), "address of the dialling side");
}

/// A codec gives the same frames however the bytes are cut, and refuses more than its limit. `make` gives a sender and a
/// receiver with these `limits`.
pub fn codec_splits_anywhere<C: Codec>(frames: &[Frame], make: impl Fn() -> (C, C)) {
    let mut wire = OutBuf::new();
    let (mut sender, _) = make();
    for frame in frames {
        sender.encode(frame.clone(), &mut wire).expect("encodes");
    }
    let bytes = wire.to_vec();
    for at in 0..=bytes.len() {
        let (mut sender, mut receiver) = make();
        let _ = &mut sender;
        let (first, second) = bytes.split_at(at);
        let (mut src, mut out, mut got) = (BytesMut::new(), OutBuf::new(), Vec::new());
        for part in [first, second] {
            src.extend_from_slice(part);
            while let Some(frame) = receiver.decode(&mut src, false, &mut out).expect("decodes") {
                got.push(frame);
            }
        }
        assert!(got == frames, "cut at byte {at} the frames came out changed");
        assert_eq!(
            got.iter().filter(|f| f.kind() == Kind::Text).count(),
            frames.iter().filter(|f| f.is_text()).count()
        );
    }
}

/// Sends back what comes until the peer closes.
async fn echo(mut conn: Connection) {
    while let Ok(Some(frame)) = conn.recv().await {
        if conn.feed(frame).await.is_err() {
            break;
        }
    }
    let _ = conn.close(Close::normal()).await;
}

async fn within<F: Future>(step: F) -> F::Output {
    timeout(PATIENCE, step).await.unwrap_or_else(|_| panic!("nothing happened for {PATIENCE:?}"))
}
