//! Who may be connected at once, and who has to leave when others come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::hub::Mailbox;

/// Message connections at once. When there are as many as may be, the oldest stranger makes room: an id of a key is
/// easily made up, and whoever has the key shows it with the first message.
#[derive(Debug)]
pub(crate) struct Seats {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    gone: u64,
    /// Those that have to prove themselves and did not yet, by number, which grows.
    strangers: BTreeMap<u64, Arc<Mailbox>>,
}

/// A connection that is counted; dropping it counts it out.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    mailbox: Arc<Mailbox>,
}

impl Seats {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, state: Mutex::default() })
    }

    /// Counts a connection in, unless there are too many.
    pub(crate) fn take(
        self: &Arc<Self>,
        number: u64,
        mailbox: &Arc<Mailbox>,
        is_stranger: bool,
    ) -> Option<Seat> {
        self.with(|state| {
            if state.taken < self.max {
                state.taken += 1;
            } else {
                // That one's seat is ours now.
                state.strangers.pop_first()?.1.evict();
            }
            if is_stranger {
                state.strangers.insert(number, Arc::clone(mailbox));
            }
            Some(())
        })?;
        Some(Seat { seats: Arc::clone(self), number, mailbox: Arc::clone(mailbox) })
    }

    /// This one showed that it has its key.
    pub(crate) fn keep(&self, number: u64) {
        self.with(|state| state.strangers.remove(&number));
    }

    /// Connections at this time.
    pub(crate) fn taken(&self) -> usize {
        self.with(|state| state.taken)
    }

    /// Connections that have come and gone.
    pub(crate) fn gone(&self) -> u64 {
        self.with(|state| state.gone)
    }

    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.with(|state| {
            state.gone += 1;
            state.strangers.remove(&self.number);
            if !self.mailbox.is_evicted() {
                state.taken = state.taken.saturating_sub(1);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_room_the_oldest_first_and_nobody_else_does() {
        let seats = Seats::new(3);
        let mailboxes: Vec<Arc<Mailbox>> = std::iter::repeat_with(Arc::default).take(9).collect();
        let take = |n: u64, is_stranger| seats.take(n, &mailboxes[usize::try_from(n).unwrap()], is_stranger);
        let evicted = || -> Vec<usize> {
            let gone = mailboxes.iter().enumerate().filter(|(_, mailbox)| mailbox.is_evicted());
            gone.map(|(n, _)| n).collect()
        };
        let known = take(0, false);
        let (first, second) = (take(1, true), take(2, true));
        seats.keep(1);
        let third = take(3, true);
        assert!(known.is_some() && first.is_some() && third.is_some());
        assert_eq!((evicted(), seats.taken()), (vec![2], 3));
        drop(second);
        assert_eq!(seats.taken(), 3, "it had given its seat away");
        let fourth = take(4, false);
        assert!(fourth.is_some() && take(5, true).is_none(), "nobody left who did not prove himself");
        assert_eq!((evicted(), seats.taken(), seats.gone()), (vec![2, 3], 3, 1));
        drop((known, first, third, fourth));
        assert_eq!((seats.taken(), seats.gone()), (0, 5));
        assert!(seats.with(|state| state.strangers.is_empty()));
    }
}
