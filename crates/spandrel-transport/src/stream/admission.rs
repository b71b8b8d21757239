//! Who may come in: counted per address and in all, before anything is spent on a peer.

use std::{
    collections::HashMap,
    fmt,
    io::{self, IoSlice},
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use spandrel_wire::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counts open connections, in all and per address, and says no over the bounds
/// ([`connections_max`](Limits::connections_max), [`connections_per_address_max`](Limits::connections_per_address_max)).
///
/// Clones count together: share one between the doors of a server. IPv6 addresses count by their /64, which is what one
/// customer gets. Loopback addresses are not counted per address: a proxy on the same machine is many peers.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    all_max: usize,
    per_address_max: usize,
    counts_loopback: bool,
    open: Mutex<Open>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Admission {
    /// Makes a count with the bounds of `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self::with(limits, false)
    }

    /// As [`new`](Self::new), and loopback addresses are counted like all others.
    #[must_use]
    pub fn counting_loopback(limits: &Limits) -> Self {
        Self::with(limits, true)
    }

    fn with(limits: &Limits, counts_loopback: bool) -> Self {
        Self(Arc::new(Shared {
            all_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            counts_loopback,
            open: Mutex::default(),
            refused: AtomicU64::new(0),
        }))
    }

    /// Takes a slot for a peer at `address` (`None` where there are no addresses, as with a unix socket), or says no.
    /// The slot is free again when it is dropped.
    #[must_use]
    pub fn admit(&self, address: Option<IpAddr>) -> Option<Slot> {
        let key = address.map(group).filter(|ip| self.0.counts_loopback || !ip.is_loopback());
        let mut open = self.0.lock();
        let is_crowd = key.is_some_and(|key| {
            open.by_address.get(&key).is_some_and(|open| *open >= self.0.per_address_max)
                || self.0.per_address_max == 0
        });
        if is_crowd || open.all >= self.0.all_max {
            drop(open);
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        open.all += 1;
        if let Some(key) = key {
            *open.by_address.entry(key).or_default() += 1;
        }
        Some(Slot { shared: Arc::clone(&self.0), key })
    }

    /// Returns how many slots are taken.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.lock().all
    }

    /// Returns how many peers were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Every change under the lock is one step: a panic elsewhere leaves the counts whole.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("open", &self.open()).field("refused", &self.refused()).finish()
    }
}

/// The address under which a peer counts: an IPv4 address however written, or the /64 of an IPv6 address.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

/// A place taken in an [`Admission`], given back on drop.
pub struct Slot {
    shared: Arc<Shared>,
    key: Option<IpAddr>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.shared.lock();
        open.all = open.all.saturating_sub(1);
        let Some(key) = self.key else { return };
        if let Some(count) = open.by_address.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_address.remove(&key);
            }
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A byte stream that keeps its [`Slot`] for as long as it lives.
#[derive(Debug)]
pub struct Held<S> {
    stream: S,
    _slot: Slot,
}

impl<S> Held<S> {
    /// Ties the slot to the stream.
    pub const fn new(stream: S, slot: Slot) -> Self {
        Self { stream, _slot: slot }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(all: usize, per_address: usize) -> Limits {
        Limits::default().with_connections_max(all, per_address)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect(text))
    }

    #[test]
    fn one_address_has_its_bound_and_a_slot_comes_back() {
        let door = Admission::new(&limits(100, 2));
        let first = door.admit(ip("192.0.2.1")).expect("first");
        let _second = door.admit(ip("::ffff:192.0.2.1")).expect("the same address, written as IPv6");
        assert!(door.admit(ip("192.0.2.1")).is_none(), "one over");
        assert!(door.admit(ip("192.0.2.2")).is_some(), "another address");
        drop(first);
        assert!(door.admit(ip("192.0.2.1")).is_some(), "after one left");
        assert_eq!((door.open(), door.refused()), (1, 1));
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let door = Admission::new(&limits(100, 1));
        let _held = door.admit(ip("2001:db8:0:1::1")).expect("first");
        assert!(door.admit(ip("2001:db8:0:1:ffff::2")).is_none(), "same /64");
        assert!(door.admit(ip("2001:db8:0:2::1")).is_some(), "next /64");
    }

    #[test]
    fn loopback_has_only_the_bound_of_all() {
        let door = Admission::new(&limits(3, 1));
        let held: Vec<_> = ["127.0.0.1", "127.0.0.1", "::1"].map(|a| door.admit(ip(a)).expect(a)).into();
        assert!(door.admit(ip("127.0.0.1")).is_none() && door.admit(None).is_none(), "one over in all");
        drop(held);
        assert_eq!(door.open(), 0);
        let strict = Admission::counting_loopback(&limits(3, 1));
        let _held = strict.admit(ip("::1")).expect("first");
        assert!(strict.admit(ip("::1")).is_none());
    }

    proptest::proptest! {
        /// Whatever comes and goes, the counts are those of a model that keeps a list, and end at nothing.
        #[test]
        fn prop_counts_agree_with_model(steps in proptest::collection::vec((0_u8..6, proptest::bool::ANY), 0..200)) {
            let (all_max, per_address_max) = (9, 3);
            let door = Admission::new(&limits(all_max, per_address_max));
            let mut held: Vec<(u8, Slot)> = Vec::new();
            for (last, comes) in steps {
                if comes {
                    let same = held.iter().filter(|(other, _)| *other == last).count();
                    let fits = held.len() < all_max && same < per_address_max;
                    let slot = door.admit(Some(IpAddr::from([192, 0, 2, last])));
                    proptest::prop_assert_eq!(slot.is_some(), fits);
                    held.extend(slot.map(|slot| (last, slot)));
                } else if !held.is_empty() {
                    held.swap_remove(usize::from(last) % held.len());
                }
                proptest::prop_assert_eq!(door.open(), held.len());
            }
            drop(held);
            proptest::prop_assert_eq!(door.open(), 0);
            proptest::prop_assert!(door.0.lock().by_address.is_empty());
        }
    }
}
