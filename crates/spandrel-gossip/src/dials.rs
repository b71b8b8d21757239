//! Addresses to be connected to, and when to try again.

use std::collections::BTreeMap;

use spandrel_wire::Millis;

use crate::{Address, DialId, Limits, PeerId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Millis },
    Dialling(DialId),
    Open(PeerId),
}

#[derive(Debug)]
struct Target {
    state: State,
    /// Failures since the peer last said something of sense.
    failures: u32,
}

/// The addresses the owner wants, each with its pauses: 1 s, doubled up to 60 s, and up to a fifth more, so that a
/// thousand nodes do not come back in one instant.
#[derive(Debug)]
pub(crate) struct Dials {
    targets: BTreeMap<Address, Target>,
    next: u64,
    dialling: usize,
    seed: u64,
    targets_max: usize,
    dials_max: usize,
    retry_ms: (u64, u64),
}

impl Dials {
    pub(crate) const fn new(seed: u64, limits: &Limits) -> Self {
        Self {
            targets: BTreeMap::new(),
            next: 0,
            dialling: 0,
            seed,
            targets_max: limits.targets_max,
            dials_max: limits.dials_max,
            retry_ms: limits.retry_ms,
        }
    }

    /// Wants an address. One that waits is tried at once. `false` when there is no room for it.
    pub(crate) fn want(&mut self, now: Millis, address: Address) -> bool {
        if let Some(target) = self.targets.get_mut(&address) {
            if let State::Waiting { until } = &mut target.state {
                *until = now;
            }
            return true;
        }
        let has_room = self.targets.len() < self.targets_max;
        if has_room {
            self.targets.insert(address, Target { state: State::Waiting { until: now }, failures: 0 });
        }
        has_room
    }

    /// Wants it no more.
    pub(crate) fn forget(&mut self, address: &Address) {
        if let Some(Target { state: State::Dialling(_), .. }) = self.targets.remove(address) {
            self.dialling -= 1;
        }
    }

    /// The next address to dial, if one is due and `places` (or the bound on dials) leave room for it.
    pub(crate) fn due(&mut self, now: Millis, places: usize) -> Option<(DialId, Address)> {
        if self.dialling >= self.dials_max.min(places) {
            return None;
        }
        let is_due = |target: &Target| matches!(target.state, State::Waiting { until } if until <= now);
        let (address, target) = self.targets.iter_mut().find(|(_, target)| is_due(target))?;
        let dial = DialId(self.next);
        self.next += 1;
        self.dialling += 1;
        target.state = State::Dialling(dial);
        Some((dial, address.clone()))
    }

    /// A dial succeeded; gives its address, unless nobody wants it any more.
    pub(crate) fn opened(&mut self, dial: DialId, peer: PeerId) -> Option<Address> {
        let (address, target) =
            self.targets.iter_mut().find(|(_, target)| target.state == State::Dialling(dial))?;
        target.state = State::Open(peer);
        self.dialling -= 1;
        Some(address.clone())
    }

    /// The peer at this address said something of sense: the next pause is the first again.
    pub(crate) fn proved(&mut self, address: &Address) {
        if let Some(target) = self.targets.get_mut(address) {
            target.failures = 0;
        }
    }

    /// A dial failed; gives address and pause.
    pub(crate) fn failed(&mut self, now: Millis, dial: DialId) -> Option<(Address, u64)> {
        self.dialling -= self.targets.values().filter(|target| target.state == State::Dialling(dial)).count();
        self.lost(now, State::Dialling(dial))
    }

    /// A connection ended; gives address and pause.
    pub(crate) fn closed(&mut self, now: Millis, peer: PeerId) -> Option<(Address, u64)> {
        self.lost(now, State::Open(peer))
    }

    fn lost(&mut self, now: Millis, state: State) -> Option<(Address, u64)> {
        let (first, longest) = self.retry_ms;
        let seed = self.seed ^ self.next;
        let (address, target) = self.targets.iter_mut().find(|(_, target)| target.state == state)?;
        let pause = first.saturating_mul(1_u64.checked_shl(target.failures).unwrap_or(u64::MAX));
        let pause = pause.saturating_add(spread(seed, address.as_str(), pause.min(longest) / 5)).min(longest);
        target.failures = target.failures.saturating_add(1);
        target.state = State::Waiting { until: now.after(pause) };
        Some((address.clone(), pause))
    }

    /// How many addresses have no connection.
    pub(crate) fn unmet(&self) -> usize {
        self.targets.values().filter(|target| !matches!(target.state, State::Open(_))).count()
    }

    pub(crate) fn wake(&self, places: usize) -> Option<Millis> {
        if self.dialling >= self.dials_max.min(places) {
            return None;
        }
        let waiting = self.targets.values().filter_map(|target| match target.state {
            State::Waiting { until } => Some(until),
            _ => None,
        });
        waiting.min()
    }
}

/// A number from 0 to `max` that differs from address to address and from time to time.
fn spread(seed: u64, text: &str, max: u64) -> u64 {
    // FNV-1a, then a finish of SplitMix64: no secret, only an end to steps in time.
    let hash = text.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) % max.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn pauses_double_to_a_minute_and_begin_anew_after_a_good_connection() {
        let mut dials = Dials::new(7, &Limits::default());
        let at = address("ws://a:1");
        assert!(dials.want(Millis::new(0), at.clone()));
        let mut now = Millis::new(0);
        for base in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let (dial, _) = dials.due(now, 9).expect("due");
            let (_, pause) = dials.failed(now, dial).expect("wanted");
            assert!((base..=(base * 6 / 5).min(60_000)).contains(&pause), "{pause} after {base}");
            assert_eq!(dials.due(now.after(pause - 1), 9), None);
            assert_eq!(dials.wake(9), Some(now.after(pause)));
            now = now.after(pause);
        }
        let (dial, _) = dials.due(now, 9).expect("due");
        assert_eq!(dials.opened(dial, PeerId(1)), Some(at.clone()));
        dials.proved(&at);
        let (_, pause) = dials.closed(now, PeerId(1)).expect("wanted");
        assert!((1000..=1200).contains(&pause));
    }

    #[test]
    fn an_address_is_dialled_once() {
        let mut dials = Dials::new(7, &Limits::default());
        for text in ["tcp://b:2", "TCP://B:2", "tcp://b:2"] {
            assert!(dials.want(Millis::new(0), address(text)));
        }
        assert!(dials.due(Millis::new(0), 9).is_some());
        assert_eq!(dials.due(Millis::new(0), 9), None);
    }

    #[test]
    fn dials_and_targets_are_bounded() {
        let mut dials = Dials::new(7, &Limits::default());
        for port in 1..=1001 {
            let has_room = dials.want(Millis::new(0), address(&format!("tcp://b:{port}")));
            assert_eq!(has_room, port <= 1000);
        }
        assert_eq!(std::iter::from_fn(|| dials.due(Millis::new(0), 99)).count(), 8);
        assert_eq!(dials.wake(99), None);
        dials.failed(Millis::new(0), DialId(0));
        assert_eq!(std::iter::from_fn(|| dials.due(Millis::new(0), 8)).count(), 1);
        dials.failed(Millis::new(0), DialId(1));
        assert_eq!(dials.due(Millis::new(0), 7), None, "no place for another");
    }
}
