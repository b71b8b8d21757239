//! What all clients together may have sent in part.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use spandrel_wire::Millis;

use crate::{SocketId, socket::Shared};

/// A session that holds less is not looked at: what one read may bring.
pub(crate) const FLOOR: usize = 16 << 10;
/// Lines of the log: at most one in this time.
const PAUSE_MS: u64 = 1_000;

/// Half messages, bodies and packets without their attachments, of all sessions of a server.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    /// Held for moments; no other lock is taken inside it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    holders: HashMap<SocketId, Holder>,
    crowded: u64,
    logged: u64,
    last_line: Option<Millis>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    session: Weak<Shared>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// Notes that a session holds so much now. `Some`: the session to end for it, the one that holds most; its bytes count
    /// no more. A session that holds something alone may go over the bound: each has one of its own.
    #[must_use]
    pub(crate) fn note(&self, session: &Arc<Shared>, bytes: usize, now: Millis) -> Option<Arc<Shared>> {
        let mut state = self.lock();
        let State { bytes: all, holders, .. } = &mut *state;
        let before = if bytes == 0 {
            holders.remove(&session.id).map_or(0, |holder| holder.bytes)
        } else {
            let holder = holders
                .entry(session.id)
                .or_insert_with(|| Holder { bytes: 0, session: Arc::downgrade(session) });
            std::mem::replace(&mut holder.bytes, bytes)
        };
        *all = all.saturating_sub(before).saturating_add(bytes);
        if holders.is_empty() && holders.capacity() > 64 {
            *holders = HashMap::new();
        }
        if bytes <= before || *all <= self.bytes_max || holders.len() < 2 {
            return None;
        }
        let (id, holder) = holders.iter().max_by_key(|(id, holder)| (holder.bytes, id.0))?;
        let (id, victim) = (*id, holder.session.upgrade());
        *all = all.saturating_sub(holder.bytes);
        holders.remove(&id);
        state.crowded += 1;
        let is_silent = state.last_line.is_some_and(|last| now < last.after(PAUSE_MS));
        let sessions = state.crowded - state.logged;
        if !is_silent {
            state.last_line = Some(now);
            state.logged = state.crowded;
        }
        drop(state);
        if !is_silent {
            tracing::warn!(
                sessions,
                "too much is half received: the sessions that held most of it were closed"
            );
        }
        victim
    }

    /// Sessions that were ended.
    pub(crate) fn crowded(&self) -> u64 {
        self.lock().crowded
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
