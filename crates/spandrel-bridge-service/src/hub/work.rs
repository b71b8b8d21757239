//! What the machine wants done.

use std::{io, task::Context};

use spandrel_bridge::{Audience, Input, LinkId, Note, Output, Security};
use spandrel_bridge_protocol::{Secret, ToParent, decrypt, encrypt};
use spandrel_socketio::{Encoded, server::SendError};
use spandrel_wire::Millis;

use super::{Host, Hub};
use crate::host_link::HostLink;

/// How soon it is tried again.
const LISTEN_AGAIN_MS: u64 = 5;

impl Hub {
    pub(super) fn work(&mut self, now: Millis, work: Output) {
        match work {
            Output::Send(audience, packet) => self.send(now, &audience, &packet),
            Output::Report(message) => self.report(now, &message),
            Output::SendHost(link, packet) => self.send_host(link, &packet),
            Output::Encrypt(text) => self.answer(now, |secret| {
                let mut salt = [0; 8];
                getrandom::fill(&mut salt).ok()?;
                Some(ToParent::Encrypt(encrypt(secret, &text, salt)))
            }),
            Output::Decrypt(text) => {
                self.answer(now, |secret| Some(ToParent::Decrypt(decrypt(secret, &text))))
            }
            Output::Close(conn) => {
                if let Some(seat) = self.seats.remove(&conn) {
                    seat.socket.close();
                }
            }
            Output::StopListening => {
                self.listen_again = None;
                self.port.close();
                self.seats.clear();
                self.controls.listening.send_replace(None);
            }
            Output::Dial(link, security) => {
                let (port, limits) = (self.config.port, self.config.limits.clone());
                let dial = HostLink::dial(port, security == Security::Tls, limits, self.clock);
                self.host = Host::Dialing(link, Box::pin(dial));
            }
            Output::HangUp(link) => self.hang_up(link),
            Output::Note(note) => self.note(&note),
            // Done where the machine is stepped.
            Output::Listen | Output::Exit(_) => {}
        }
    }

    /// One packet, encoded once, for all that shall have it.
    fn send(&mut self, now: Millis, audience: &Audience, packet: &Encoded) {
        let (len, mut sent, mut too_long) = (packet.len_bytes() as u64, 0, None);
        for conn in self.bridge.audience(audience) {
            let Some(seat) = self.seats.get_mut(&conn) else { continue };
            match seat.socket.send(packet) {
                Ok(()) => {
                    sent += 1;
                    seat.messages_out += 1;
                    seat.bytes_out += len;
                }
                // The session goes on without it.
                Err(error @ SendError::TooLong { .. }) => {
                    self.counts.undelivered.inc();
                    too_long = Some(error);
                }
                // It closes itself, and says so.
                Err(_) => self.counts.undelivered.inc(),
            }
        }
        if let Some(error) = too_long
            && let Some(told) = self.too_long.admit(now, 1, error)
        {
            tell_too_long(&told);
        }
        self.counts.to_browsers.add(sent);
        self.flow.sent(usize::try_from(sent).unwrap_or(usize::MAX));
    }

    fn report(&mut self, now: Millis, message: &ToParent) {
        self.counts.to_parent.inc();
        self.flow.reported();
        self.parent.report(now, message);
    }

    fn answer(&mut self, now: Millis, make: impl FnOnce(&Secret) -> Option<ToParent>) {
        let Some(secret) = &self.config.secret else {
            if let Some(told) = self.no_secret.admit(now, 1, ()) {
                tell_no_secret(told);
            }
            return;
        };
        match make(secret) {
            Some(answer) => self.report(now, &answer),
            None => tracing::error!("encrypt is not answered: the system gives no random numbers"),
        }
    }

    /// Binds the port, at once. `None`: a host that was lost a moment ago may have it still, and it is tried again soon.
    pub(super) fn listen(&mut self, now: Millis) -> Option<Input> {
        self.listen_again = None;
        match self.port.listen() {
            Ok(address) => {
                if self.config.port == 0 {
                    tracing::warn!(port = address.port(), "listening on {address}, a port the system chose");
                    // What was chosen stays: programs that join shall find it.
                    self.config.port = address.port();
                }
                self.controls.listening.send_replace(Some(address));
                Some(Input::Listening)
            }
            Err(_) if now < self.patient_until => {
                self.listen_again = Some(now.after(LISTEN_AGAIN_MS));
                None
            }
            Err(error) => {
                tracing::debug!(%error, port = self.config.port, "cannot listen");
                Some(not_listening(&error))
            }
        }
    }

    /// A host that takes nothing is noticed by the next poll of its link.
    fn send_host(&mut self, link: LinkId, packet: &Encoded) {
        if let Host::Open(open, to) = &mut self.host
            && *open == link
        {
            self.counts.to_host.inc();
            to.send(packet);
        }
    }

    fn hang_up(&mut self, link: LinkId) {
        match std::mem::replace(&mut self.host, Host::None) {
            Host::Open(open, to) if open == link => {
                to.close(&mut Context::from_waker(std::task::Waker::noop()))
            }
            Host::Dialing(dialled, _) if dialled == link => {}
            other => self.host = other,
        }
    }

    fn note(&self, note: &Note) {
        match note {
            Note::TookOver | Note::Joined(_) | Note::HostLost => tracing::info!("{note}"),
            note => tracing::warn!("{note}"),
        }
    }

    /// Writes what was held back of lines that come at most once a second, if it is due.
    pub(super) fn log_late(&mut self, now: Millis) {
        self.parent.log_late(now);
        self.port.log_late(now);
        self.gate.log_late(now);
        if let Host::Open(_, host) = &mut self.host {
            host.log_late(now);
        }
        if let Some(told) = self.too_long.due(now) {
            tell_too_long(&told);
        }
        if let Some(told) = self.no_secret.due(now) {
            tell_no_secret(told);
        }
    }

    /// When that has something to write.
    pub(super) fn late_at(&self, cx: &Context<'_>) -> Option<Millis> {
        let of_host = match &self.host {
            Host::Open(_, host) => host.late_at(),
            _ => None,
        };
        let of_gate = self.gate.late_at(cx);
        let due = [
            self.parent.late_at(),
            self.port.late_at(),
            of_gate,
            of_host,
            self.no_secret.wake(),
            self.too_long.wake(),
        ];
        due.into_iter().flatten().min()
    }
}

/// That another program has the port is the usual case; whatever else the system says is passed on.
fn not_listening(error: &io::Error) -> Input {
    match error.kind() {
        io::ErrorKind::AddrInUse => Input::ListenFailed,
        _ => Input::ListenRefused(error.to_string()),
    }
}

fn tell_too_long((messages, error): &(u64, SendError)) {
    tracing::warn!(messages, %error, "a message of the parent did not reach its pages");
}

fn tell_no_secret((requests, ()): (u64, ())) {
    tracing::warn!(requests, "encrypt and decrypt are not answered: set SPANDREL_HW_SECRET");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_is_taken_is_another_programs() {
        let not_listening = |kind: io::ErrorKind| not_listening(&kind.into());
        assert!(matches!(not_listening(io::ErrorKind::AddrInUse), Input::ListenFailed));
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::AddrNotAvailable, io::ErrorKind::Other] {
            let Input::ListenRefused(why) = not_listening(kind) else {
                panic!("{kind:?} is no other program")
            };
            assert_eq!(why, kind.to_string());
        }
    }

    /// What two programs on one port really get from the system.
    #[tokio::test]
    async fn the_systems_word_for_a_taken_port_is_understood() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = std::net::TcpListener::bind(taken.local_addr().unwrap()).unwrap_err();
        assert!(matches!(not_listening(&error), Input::ListenFailed), "{error}");
    }
}
