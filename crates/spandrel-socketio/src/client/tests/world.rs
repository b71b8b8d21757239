//! A client, a server and what is under way between them. Each step moves one thing.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    Bytes, Decoder, Encoded, Form, Frame, Limits, Millis, Packet, Value, client, client::Transports,
    encode_ack, encode_event, encode_payload, server,
};

#[derive(Debug)]
enum Get {
    Asked,
    Held,
    Answered(Form, Bytes),
    Refused,
}

#[derive(Debug)]
enum Post {
    Sent(Form, Bytes),
    Done,
    Refused,
}

#[derive(Debug, Default)]
struct Socket {
    is_open: bool,
    up: VecDeque<Frame>,
    down: VecDeque<Frame>,
    /// This side wrote its last frame.
    client_left: bool,
    server_left: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) client: client::Session,
    server: Option<server::Session>,
    pub(super) now: Millis,
    get: Option<Get>,
    post: Option<Post>,
    socket: Option<Socket>,
    up_sent: u64,
    up_got: Vec<u64>,
    down_sent: u64,
    down_got: Vec<u64>,
    asked: Vec<u64>,
    acked: Vec<u64>,
    pub(super) large: Vec<Value>,
    pub(super) client_end: Option<client::CloseReason>,
    pub(super) server_end: Option<server::CloseReason>,
}

impl World {
    pub(super) fn new(transports: Transports) -> Self {
        let now = Millis::new(0);
        let mut world = Self {
            client: client::Session::new(now, client::SessionConfig::new(transports)),
            server: None,
            now,
            get: None,
            post: None,
            socket: None,
            up_sent: 0,
            up_got: Vec::new(),
            down_sent: 0,
            down_got: Vec::new(),
            asked: Vec::new(),
            acked: Vec::new(),
            large: Vec::new(),
            client_end: None,
            server_end: None,
        };
        world.drain();
        world
    }

    pub(super) fn server_mut(&mut self) -> &mut server::Session {
        self.server.as_mut().expect("the session was opened")
    }

    pub(super) fn client_sends(&mut self) {
        let n = self.up_sent;
        if self.client.send(&numbered("up", n)).is_ok() {
            self.up_sent += 1;
        }
    }

    pub(super) fn client_asks(&mut self) {
        let n = self.up_sent;
        if let Ok(id) = self.client.ask("up", &[&Value::from(n)]) {
            self.up_sent += 1;
            self.asked.push(id);
        }
    }

    pub(super) fn server_sends(&mut self) {
        let (n, now) = (self.down_sent, self.now);
        if let Some(server) = &mut self.server
            && server.send(now, &numbered("down", n)).is_ok()
        {
            self.down_sent += 1;
        }
    }

    /// Does one thing; returns whether there was anything to do.
    pub(super) fn step(&mut self, choice: u8, may_fail: bool) -> bool {
        let did = match choice % 16 {
            0 => self.get_arrives(),
            1 => self.get_is_answered(),
            2 => self.answer_arrives(),
            3 => self.post_leaves(),
            4 => self.post_arrives(),
            5 => self.post_is_answered(),
            6 => self.socket_opens(),
            7 => self.frame_leaves(),
            8 => self.frame_arrives(),
            9 => self.server_frame_leaves(),
            10 => self.server_frame_arrives(),
            11 => self.socket_ends(),
            12 => {
                self.client_sends();
                false
            }
            13 => {
                self.server_sends();
                false
            }
            14 if may_fail => self.try_fails(),
            14 => {
                self.client_asks();
                false
            }
            _ => {
                self.pass(7);
                false
            }
        };
        self.drain();
        did
    }

    /// Delivers everything; a little time passes, so that held requests are released.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            while (0..12).any(|choice| self.step(choice, false)) {}
            self.pass(10);
            self.drain();
        }
    }

    pub(super) fn check_all_arrived(&self) {
        assert_eq!((&self.client_end, &self.server_end), (&None, &None));
        assert_eq!(self.up_got, (0..self.up_sent).collect::<Vec<_>>(), "up");
        assert_eq!(self.down_got, (0..self.down_sent).collect::<Vec<_>>(), "down");
        assert_eq!(self.acked, self.asked, "acknowledgements");
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        self.client.tick(self.now);
        if let Some(server) = &mut self.server {
            server.tick(self.now);
        }
    }

    fn open(&mut self, carrier: server::Carrier) {
        let config = Arc::new(server::SessionConfig::default());
        self.server = Some(server::Session::new(self.now, "sid", carrier, config));
    }

    fn get_arrives(&mut self) -> bool {
        let Some(Get::Asked) = self.get else { return false };
        if self.server.is_none() {
            assert_eq!(self.client.sid(), None);
            self.open(server::Carrier::Polling);
        }
        let now = self.now;
        let taken = self.server_mut().get(now).is_ok();
        self.get = Some(if taken { Get::Held } else { Get::Refused });
        true
    }

    fn get_is_answered(&mut self) -> bool {
        let Some(Get::Held) = self.get else { return false };
        let Some(frames) = self.server_mut().answer() else { return false };
        let (form, body) = encode_payload(&frames, false);
        self.get = Some(Get::Answered(form, body));
        true
    }

    fn answer_arrives(&mut self) -> bool {
        match self.get.take() {
            Some(Get::Answered(form, body)) => self.client.answer(self.now, body, form),
            Some(Get::Refused) => self.client.request_failed(Some(400)),
            other => {
                self.get = other;
                return false;
            }
        }
        true
    }

    fn post_leaves(&mut self) -> bool {
        let Some((form, body)) = self.client.next_post() else { return false };
        assert!(self.post.is_none(), "two POSTs at once");
        self.post = Some(Post::Sent(form, body));
        true
    }

    fn post_arrives(&mut self) -> bool {
        let Some(Post::Sent(form, body)) = &self.post else { return false };
        let (form, body, now) = (*form, body.clone(), self.now);
        let server = self.server_mut();
        let taken = server.begin_post(now).and_then(|()| server.post(now, body, form)).is_ok();
        self.post = Some(if taken { Post::Done } else { Post::Refused });
        true
    }

    fn post_is_answered(&mut self) -> bool {
        match self.post.take() {
            Some(Post::Done) => self.client.post_done(),
            Some(Post::Refused) => self.client.request_failed(Some(400)),
            other => {
                self.post = other;
                return false;
            }
        }
        true
    }

    fn socket_opens(&mut self) -> bool {
        let Some(socket) = self.socket.as_mut().filter(|s| !s.is_open) else { return false };
        socket.is_open = true;
        let now = self.now;
        match &mut self.server {
            Some(server) => server.try_socket(now).expect("one WebSocket is tried"),
            None => self.open(server::Carrier::WebSocket),
        }
        self.client.socket_open();
        true
    }

    fn frame_leaves(&mut self) -> bool {
        let Some(socket) = self.socket.as_mut().filter(|s| s.is_open && !s.client_left) else { return false };
        let Some(frame) = self.client.next_frame() else { return false };
        socket.up.push_back(frame);
        true
    }

    fn frame_arrives(&mut self) -> bool {
        let Some(frame) = self.socket.as_mut().and_then(|s| s.up.pop_front()) else { return false };
        let now = self.now;
        self.server_mut().frame(now, frame);
        true
    }

    fn server_frame_leaves(&mut self) -> bool {
        let Some(socket) = self.socket.as_mut().filter(|s| s.is_open && !s.server_left) else { return false };
        let Some(frame) = self.server.as_mut().and_then(server::Session::next_frame) else { return false };
        socket.down.push_back(frame);
        true
    }

    fn server_frame_arrives(&mut self) -> bool {
        let Some(frame) = self.socket.as_mut().and_then(|s| s.down.pop_front()) else { return false };
        self.client.frame(self.now, frame);
        true
    }

    /// A side that hung up is noticed once its frames were read.
    fn socket_ends(&mut self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let server_is_gone = socket.server_left && socket.down.is_empty();
        let client_is_gone = socket.client_left && socket.up.is_empty();
        if !(server_is_gone || client_is_gone) {
            return false;
        }
        self.socket = None;
        let now = self.now;
        if server_is_gone {
            self.client.socket_gone(None);
        }
        if client_is_gone && let Some(server) = &mut self.server {
            server.socket_gone(now, server::CloseReason::Gone);
        }
        true
    }

    /// The WebSocket fails while it is tried.
    fn try_fails(&mut self) -> bool {
        if self.client.is_over_websocket() || self.socket.take_if(|s| !s.client_left).is_none() {
            return false;
        }
        self.client.socket_gone(None);
        let now = self.now;
        self.server_mut().socket_gone(now, server::CloseReason::Gone);
        true
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            assert!(self.client_end.is_none(), "after the end: {output:?}");
            match output {
                client::Output::Get => {
                    assert!(self.get.is_none(), "two GETs at once");
                    self.get = Some(Get::Asked);
                }
                client::Output::Dial => self.socket = Some(Socket::default()),
                client::Output::HangUp => {
                    if let Some(socket) = &mut self.socket {
                        socket.up.extend(std::iter::from_fn(|| self.client.next_frame()));
                        socket.client_left = true;
                    }
                }
                client::Output::Connected | client::Output::Upgraded => {}
                client::Output::Received(event) => got(&event, "down", &mut self.down_got, &mut self.large),
                client::Output::Acked(ack) => {
                    assert_eq!(ack.arg(0), Some(Value::TRUE));
                    self.acked.push(ack.id());
                }
                client::Output::Closed(why) => self.client_end = Some(why),
            }
        }
        let Some(server) = &mut self.server else { return };
        while let Some(output) = server.poll() {
            match output {
                server::Output::Received(event) => {
                    got(&event, "up", &mut self.up_got, &mut self.large);
                    if let Some(id) = event.ack_id() {
                        server.send(self.now, &encode_ack(id, &[&Value::TRUE])).expect("open");
                    }
                }
                server::Output::Acked(_) => panic!("the server asked nothing"),
                server::Output::HangUp => {
                    if let Some(socket) = &mut self.socket {
                        socket.down.extend(std::iter::from_fn(|| server.next_frame()));
                        socket.server_left = true;
                    }
                }
                server::Output::Closed(why) => self.server_end = Some(why),
            }
        }
    }
}

fn got(event: &crate::Event, name: &str, numbers: &mut Vec<u64>, large: &mut Vec<Value>) {
    let arg = event.arg(0).expect("an argument");
    if event.is_named("large") {
        return large.push(arg);
    }
    assert!(event.is_named(name));
    assert_eq!(
        event.attachments().len(),
        usize::from(event.ack_id().is_none() && arg.as_u64().unwrap() % 3 == 2)
    );
    numbers.push(arg.as_u64().expect("a number"));
}

/// An event with a number; every third brings an attachment.
fn numbered(name: &str, n: u64) -> Encoded {
    let number = Value::from(n);
    if n % 3 != 2 {
        return encode_event(name, &[&number], None);
    }
    let mut decoder = Decoder::new(&Limits::default());
    decoder.push(Frame::text(r#"451-["x",{"_placeholder":true,"num":0}]"#)).unwrap();
    let Ok(Some(Packet::Event(event))) = decoder.push(Frame::binary(vec![4, 1, 2, 255])) else { panic!() };
    encode_event(name, &[&number, &event.arg(0).unwrap()], None)
}
