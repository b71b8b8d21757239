//! Waiting jobs: first in, first out for each principal, round robin between principals.

use std::collections::{BTreeMap, VecDeque};

use crate::{DownloadId, Principal};

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// No empty lines are kept.
    lines: BTreeMap<Principal, VecDeque<DownloadId>>,
    served: Option<Principal>,
    len: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, principal: &Principal, id: DownloadId) {
        self.lines.entry(principal.clone()).or_default().push_back(id);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, principal: &Principal, id: DownloadId) {
        let Some(line) = self.lines.get_mut(principal) else { return };
        let before = line.len();
        line.retain(|j| *j != id);
        self.len -= before - line.len();
        if line.is_empty() {
            self.lines.remove(principal);
        }
    }

    /// The next job of a principal that `may` have one more; its turn is over then.
    pub(crate) fn pop(&mut self, may: impl Fn(&Principal) -> bool) -> Option<DownloadId> {
        let principal = self.turns().find(|p| may(p))?.clone();
        let line = self.lines.get_mut(&principal)?;
        let id = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&principal);
        }
        self.len -= 1;
        self.served = Some(principal);
        Some(id)
    }

    /// Place of a waiting job, from 1, when every principal may have a slot.
    pub(crate) fn position(&self, principal: &Principal, id: DownloadId) -> Option<usize> {
        let own = self.lines.get(principal)?.iter().position(|j| *j == id)?;
        let turn = self.turns().position(|p| p == principal)?;
        // Whole rounds before ours give each line at most `own` jobs; in our round only earlier turns count.
        let ahead = self
            .turns()
            .enumerate()
            .filter_map(|(at, p)| self.lines.get(p).map(|line| line.len().min(own + usize::from(at < turn))));
        Some(ahead.sum::<usize>() + 1)
    }

    /// Principals that wait, in the order of their turns.
    fn turns(&self) -> impl Iterator<Item = &Principal> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let (after, upto) = match &self.served {
            Some(p) => (Excluded(p), Included(p)),
            None => (Unbounded, Excluded(EMPTY.get_or_init(|| Principal::new("")))),
        };
        self.lines.range((after, Unbounded)).chain(self.lines.range((Unbounded, upto))).map(|(p, _)| p)
    }
}

/// Before every other principal: the end of an empty range.
static EMPTY: std::sync::OnceLock<Principal> = std::sync::OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> DownloadId {
        DownloadId::from_bytes([n; 16])
    }

    #[test]
    fn principals_take_turns() {
        let (a, b) = (Principal::new("a"), Principal::new("b"));
        let mut queue = Queue::default();
        for n in 1..=3 {
            queue.push(&a, id(n));
        }
        queue.push(&b, id(9));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(|_| true)).collect();
        assert_eq!(order, [id(1), id(9), id(2), id(3)]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_principal_at_its_bound_is_passed_over() {
        let (a, b) = (Principal::new("a"), Principal::new("b"));
        let mut queue = Queue::default();
        queue.push(&a, id(1));
        queue.push(&b, id(2));
        assert_eq!(queue.pop(|p| *p != a), Some(id(2)));
        assert_eq!(queue.pop(|p| *p != a), None);
        assert_eq!(queue.pop(|_| true), Some(id(1)));
    }

    proptest::proptest! {
        /// The place a job is told is the place at which it is taken.
        #[test]
        fn prop_position_is_the_order_of_service(
            owners in proptest::collection::vec(0_u8..4, 0..40), served in proptest::option::of(0_u8..5),
        ) {
            let name = |n: u8| Principal::new(&format!("p{n}"));
            let mut queue = Queue { served: served.map(name), ..Queue::default() };
            for (n, owner) in owners.iter().enumerate() {
                queue.push(&name(*owner), DownloadId::from_bytes([u8::try_from(n).unwrap(); 16]));
            }
            let told: Vec<_> = owners.iter().enumerate()
                .map(|(n, o)| queue.position(&name(*o), id(u8::try_from(n).unwrap())).unwrap()).collect();
            let mut taken = vec![0; owners.len()];
            let mut place = 0;
            while let Some(job) = queue.pop(|_| true) {
                place += 1;
                let n = (0..owners.len()).find(|n| id(u8::try_from(*n).unwrap()) == job).unwrap();
                taken[n] = place;
            }
            proptest::prop_assert_eq!(told, taken);
        }
    }
}
