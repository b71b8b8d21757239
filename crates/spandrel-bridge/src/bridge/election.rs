//! Who has the port: whoever binds it first. The others are clients of the host, until it is gone.

use spandrel_bridge_protocol::{CloudMode, RunningMode, ToParent};
use spandrel_wire::Millis;

use super::{Bridge, Host, LinkId, Note, Output, Security, State};
use crate::packets;

/// A client's way to its host.
#[derive(Debug)]
pub(super) enum Link {
    /// Under way.
    Dialing {
        link: LinkId,
        security: Security,
        /// Given up then.
        until: Millis,
    },
    /// It took us in.
    Up { link: LinkId, since: Millis },
    /// Nobody to reach, for now.
    Waiting { until: Millis, next: Next },
}

/// What follows a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Listen,
    Dial,
}

impl Link {
    const fn id(&self) -> Option<LinkId> {
        match self {
            Self::Dialing { link, .. } | Self::Up { link, .. } => Some(*link),
            Self::Waiting { .. } => None,
        }
    }
}

impl Bridge {
    /// `open`: the first one counts; a later one only cuts a wait short.
    pub(super) fn open(&mut self) {
        match self.state {
            State::Idle => self.listen(false, 0),
            State::Client(Link::Waiting { .. }) => self.listen(true, 0),
            _ => {}
        }
    }

    pub(super) fn listen(&mut self, was_client: bool, pause_ms: u64) {
        self.state = State::Electing { was_client, pause_ms };
        self.out.push_back(Output::Listen);
    }

    /// The port is ours. After a take-over rooms count for a while, and the own messages wait for the own
    /// browser.
    pub(super) fn listening(&mut self, now: Millis) {
        let State::Electing { was_client, .. } = self.state else { return };
        let is_awaited = was_client && self.own_room.is_some();
        if !is_awaited {
            self.held.clear(); // There is nobody it could be for.
        }
        self.state = State::Host(Host {
            guard_until: was_client.then(|| now.after(self.config.limits.guard_ms)),
            is_awaited,
        });
        self.pace.reset();
        self.report(ToParent::RunningModeChanged(RunningMode::Server));
        self.report(ToParent::CloudModeChanged(CloudMode::Single));
        if was_client {
            self.note(Note::TookOver);
        }
    }

    /// The port is another's: join it. Also when it failed for another reason: there may be a host all the same.
    pub(super) fn listen_failed(&mut self, now: Millis, why: Option<String>) {
        let State::Electing { pause_ms, .. } = self.state else { return };
        self.refusal = why;
        self.report(ToParent::RunningModeChanged(RunningMode::Client));
        self.report(ToParent::CloudModeChanged(CloudMode::Cloud));
        if pause_ms == 0 {
            self.dial(now);
        } else {
            self.state = State::Client(Link::Waiting { until: now.after(pause_ms), next: Next::Dial });
        }
    }

    pub(super) fn dial(&mut self, now: Millis) {
        self.dial_by(now, self.config.security);
    }

    fn dial_by(&mut self, now: Millis, security: Security) {
        self.links += 1;
        let link = LinkId(self.links);
        let until = now.after(self.config.limits.dial_ms);
        self.state = State::Client(Link::Dialing { link, security, until });
        self.out.push_back(Output::Dial(link, security));
    }

    /// The host took us in: the room first, then what waited.
    pub(super) fn host_up(&mut self, now: Millis, link: LinkId) {
        let State::Client(Link::Dialing { link: dialled, security, .. }) = self.state else { return };
        if dialled != link {
            return;
        }
        self.state = State::Client(Link::Up { link, since: now });
        self.note(Note::Joined(security));
        self.claim_at_host();
        let held = self.held.take_all(now, &self.config.limits);
        self.out.extend(held.map(|packet| Output::SendHost(link, packet)));
    }

    /// Tells the host which room is ours, if both are known.
    pub(super) fn claim_at_host(&mut self) {
        if let State::Client(Link::Up { link, .. }) = self.state
            && let Some(room) = &self.own_room
        {
            self.out.push_back(Output::SendHost(link, packets::claim(room)));
        }
    }

    /// An attempt failed or a link ended. An old one's end changes nothing.
    pub(super) fn host_gone(&mut self, now: Millis, link: LinkId) {
        let State::Client(current) = &self.state else { return };
        if current.id() != Some(link) {
            return;
        }
        match *current {
            Link::Dialing { security, .. } => self.refused(now, security),
            Link::Up { since, .. } => self.lost(now, since),
            Link::Waiting { .. } => {}
        }
    }

    /// The attempt came to nothing in time.
    pub(super) fn dial_timed_out(&mut self, now: Millis, link: LinkId) {
        let State::Client(Link::Dialing { security, .. }) = self.state else { return };
        self.out.push_back(Output::HangUp(link));
        self.refused(now, security);
    }

    /// The host cannot be reached this way: the other kind of security next. Neither: the port again, at once
    /// or after a wait.
    fn refused(&mut self, now: Millis, security: Security) {
        if security == self.config.security {
            return self.dial_by(now, security.other());
        }
        match self.pace.failed(&self.config.limits) {
            0 => self.listen(true, 0),
            wait_ms => {
                let note = match self.refusal.take() {
                    Some(why) => Note::CannotListen { why, wait_ms },
                    None => Note::NoHost { wait_ms },
                };
                self.note(note);
                self.state = State::Client(Link::Waiting { until: now.after(wait_ms), next: Next::Listen });
            }
        }
    }

    /// The host is gone: the port at once. If another has it again and links keep ending soon, that one is
    /// called less often.
    fn lost(&mut self, now: Millis, since: Millis) {
        if now.since(since) >= self.config.limits.settled_ms {
            self.pace.reset();
        }
        let pause_ms = self.pace.failed(&self.config.limits);
        self.note(Note::HostLost);
        self.listen(true, pause_ms);
    }
}
