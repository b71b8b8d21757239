//! Sockets: calls, what is under way in either direction, and the two ends of each.

use spandrel_bridge::{ConnId, Input, LinkId, Role, Security};

use crate::world::{PAGE_RETURN_MS, PAGE_TIMEOUT_MS, Peer, Port, Sent, What, Wire, World, event};

impl World {
    pub(crate) fn way(&mut self) -> u64 {
        self.random.within(self.latency_ms, 2 * self.latency_ms)
    }

    pub(crate) fn towards_host(&mut self, wire: usize, sent: Sent) {
        let at = (self.now + self.way()).max(self.wires[wire].to_host_until);
        self.wires[wire].to_host_until = at;
        self.after(at - self.now, What::ToHost(wire, sent));
    }

    pub(crate) fn towards_peer(&mut self, wire: usize, sent: Sent) {
        let at = (self.now + self.way()).max(self.wires[wire].to_peer_until);
        self.wires[wire].to_peer_until = at;
        self.after(at - self.now, What::ToPeer(wire, sent));
    }

    pub(crate) fn peer_closes(&mut self, wire: usize) {
        if !std::mem::replace(&mut self.wires[wire].is_done_at_peer, true) {
            self.towards_host(wire, Sent::Close);
        }
    }

    pub(crate) fn at_host(&mut self, wire: usize, sent: Sent) {
        let it = &mut self.wires[wire];
        let (host, peer, conn) = (it.host, it.peer, ConnId(wire as u64));
        let is_close = matches!(sent, Sent::Close);
        if it.is_done_at_host || self.programs[host].life != it.host_life || (it.is_cut && !is_close) {
            return;
        }
        match sent {
            Sent::Open => {
                let (role, room) = match peer {
                    Peer::Browser(browser) => (Role::Browser, self.browsers[browser].room.clone()),
                    Peer::Program { .. } => (Role::Client, None),
                };
                self.fact(host, Input::Opened { conn, role, room: room.map(Into::into) });
            }
            Sent::Text(text) => self.fact(host, Input::Event { conn, event: event(&text) }),
            Sent::Close => {
                it.is_done_at_host = true;
                self.fact(host, Input::Closed { conn });
            }
        }
    }

    pub(crate) fn at_peer(&mut self, wire: usize, sent: Sent) {
        let it = &mut self.wires[wire];
        let peer = it.peer;
        if it.is_done_at_peer || (it.is_cut && !matches!(sent, Sent::Close)) {
            return;
        }
        match (sent, peer) {
            (Sent::Open, Peer::Browser(browser)) => {
                self.browsers[browser].is_connected = true;
                for text in std::mem::take(&mut self.browsers[browser].unsent) {
                    self.towards_host(wire, Sent::Text(text));
                }
            }
            (Sent::Text(text), Peer::Browser(browser)) => self.browser_hears(browser, wire, &text),
            (Sent::Open, Peer::Program { index, life, link }) => {
                self.link_fact(index, life, Input::HostUp { link })
            }
            (Sent::Text(text), Peer::Program { index, life, link }) => {
                self.link_fact(index, life, Input::HostEvent { link, event: event(&text) });
            }
            (Sent::Close, _) => {
                it.is_done_at_peer = true;
                self.peer_lost(peer);
            }
        }
    }

    pub(crate) fn peer_lost(&mut self, peer: Peer) {
        match peer {
            Peer::Browser(browser) => self.browser_lost(browser, PAGE_RETURN_MS),
            Peer::Program { index, life, link } => self.link_fact(index, life, Input::HostDown { link }),
        }
    }

    pub(crate) fn link_fact(&mut self, index: usize, life: u64, input: Input) {
        if self.programs[index].life == life {
            self.fact(index, input);
        }
    }

    pub(crate) fn browser_lost(&mut self, browser: usize, in_ms: u64) {
        let it = &mut self.browsers[browser];
        it.wire = None;
        it.is_connected = false;
        let spread = self.random.within(0, 200);
        self.after(in_ms + spread, What::Page { browser });
    }

    pub(crate) fn browser_calls(&mut self, browser: usize) {
        if self.browsers[browser].wire.is_some() {
            return;
        }
        let Port::Of(host) = self.port else {
            let pause = self.random.within(500, 1_500);
            return self.after(pause, What::Page { browser });
        };
        let wire = self.wire(host, Peer::Browser(browser));
        self.browsers[browser].wire = Some(wire);
        self.after(PAGE_TIMEOUT_MS, What::PageTimeout { browser, wire });
    }

    pub(crate) fn program_calls(&mut self, index: usize, link: LinkId, security: Security) {
        let life = self.programs[index].life;
        let back = self.way();
        match self.port {
            Port::Of(host) if self.programs[host].security == security || self.programs[host].is_frozen => {
                self.wire(host, Peer::Program { index, life, link });
            }
            Port::Foreign { answers: false } => {} // it hangs
            _ => self.after(back, What::Fact { program: index, life, input: Input::HostRefused { link } }),
        }
    }

    pub(crate) fn wire(&mut self, host: usize, peer: Peer) -> usize {
        self.wires.push(Wire {
            host,
            host_life: self.programs[host].life,
            peer,
            is_open_at_host: false,
            is_done_at_host: false,
            is_done_at_peer: false,
            is_cut: false,
            claim: None,
            to_host_until: 0,
            to_peer_until: 0,
        });
        let wire = self.wires.len() - 1;
        self.towards_host(wire, Sent::Open);
        wire
    }

    pub(crate) fn wire_of_link(&self, index: usize, link: LinkId) -> Option<usize> {
        let its_life = self.programs[index].life;
        self.wires.iter().rposition(
            |wire| matches!(wire.peer, Peer::Program { index: it, life, link: its } if it == index && life == its_life && its == link),
        )
    }
}
