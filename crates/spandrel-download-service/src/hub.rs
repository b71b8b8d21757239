//! Who wants to know of which job: job threads ring, connections look.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use spandrel_jobs::DownloadId;
use tokio::sync::Notify;

/// Where a follower finds which of its jobs changed. However often they change, it holds each once.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    dirty: Mutex<BTreeSet<DownloadId>>,
    bell: Notify,
    is_evicted: AtomicBool,
}

impl Mailbox {
    /// Waits until a job changed. Cancel safe: the ring is kept.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// A job that changed since it was last given out here.
    pub(crate) fn pop(&self) -> Option<DownloadId> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Not everything was taken: there is something to wait for at once.
    pub(crate) fn ring_again(&self) {
        self.bell.notify_one();
    }

    /// Tells the follower to leave.
    pub(crate) fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        self.bell.notify_one();
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    fn ring(&self, id: DownloadId) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.bell.notify_one();
    }
}

/// Followers by job. An entry costs a pointer; a job nobody follows has none.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    followers: Mutex<HashMap<DownloadId, Vec<Arc<Mailbox>>>>,
}

impl Hub {
    pub(crate) fn follow(&self, id: DownloadId, mailbox: &Arc<Mailbox>) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.entry(id).or_default().push(Arc::clone(mailbox));
    }

    pub(crate) fn unfollow(&self, id: DownloadId, mailbox: &Arc<Mailbox>) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = followers.get_mut(&id) {
            all.retain(|one| !Arc::ptr_eq(one, mailbox));
            if all.is_empty() {
                followers.remove(&id);
            }
        }
    }

    /// Tells every follower; returns at once.
    pub(crate) fn changed(&self, id: DownloadId) {
        let followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.get(&id).into_iter().flatten().for_each(|mailbox| mailbox.ring(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_holds_each_job_once() {
        let (hub, mailbox, other) =
            (Hub::default(), Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
        let id = |n| DownloadId::from_bytes([n; 16]);
        hub.follow(id(1), &mailbox);
        hub.follow(id(2), &mailbox);
        hub.follow(id(2), &other);
        for _ in 0..1_000 {
            hub.changed(id(1));
            hub.changed(id(2));
            hub.changed(id(3));
        }
        assert_eq!([mailbox.pop(), mailbox.pop(), mailbox.pop()], [Some(id(1)), Some(id(2)), None]);
        hub.unfollow(id(2), &mailbox);
        hub.changed(id(2));
        assert_eq!((mailbox.pop(), other.pop()), (None, Some(id(2))));
        hub.unfollow(id(1), &mailbox);
        hub.unfollow(id(2), &other);
        assert!(hub.followers.lock().unwrap().is_empty(), "nothing is left behind");
    }
}
