//! What waits to be told to the parent.

use std::collections::VecDeque;

use spandrel_wire::Frame;

use crate::Limits;

/// How much a report matters when the parent does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// What a browser said: the oldest is given up first.
    Data,
    /// An answer to the parent, which did not read the ones before either: the oldest is given up.
    Answer,
    /// Never given up: the parent counts on each.
    Event,
}

/// Lines in order, of which the oldest `data` goes when too much of it waits. An empty queue takes one of any size.
#[derive(Debug)]
pub(crate) struct Reports {
    /// By [`Weight`], each with its place in the order of all.
    lanes: [Lane; 3],
    next: u64,
    bytes_max: usize,
    events_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Lane {
    lines: VecDeque<(u64, Frame)>,
    bytes: usize,
}

impl Lane {
    fn pop(&mut self) -> Option<Frame> {
        let (_, line) = self.lines.pop_front()?;
        self.bytes -= line.len();
        if self.lines.is_empty() && self.lines.capacity() > 64 {
            self.lines = VecDeque::new();
        }
        Some(line)
    }
}

impl Reports {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            lanes: std::array::from_fn(|_| Lane::default()),
            next: 0,
            bytes_max: limits.reports_bytes_max,
            events_bytes_max: limits.events_bytes_max,
        }
    }

    /// Adds a line at the end; returns how many older ones were given up for it.
    pub(crate) fn push(&mut self, line: Frame, weight: Weight) -> usize {
        let (len, bytes_max) = (line.len(), self.bytes_max);
        let next = self.next;
        self.next += 1;
        let lane = self.lane(weight);
        let mut given_up = 0;
        while weight != Weight::Event && !lane.lines.is_empty() && lane.bytes.saturating_add(len) > bytes_max
        {
            lane.pop();
            given_up += 1;
        }
        lane.bytes += len;
        lane.lines.push_back((next, line));
        given_up
    }

    /// Takes the oldest line.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let place = |lane: &Lane| lane.lines.front().map(|(place, _)| *place);
        let lane =
            self.lanes.iter_mut().filter(|lane| !lane.lines.is_empty()).min_by_key(|lane| place(lane))?;
        lane.pop()
    }

    /// Bytes that wait, all in all.
    pub(crate) fn bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.bytes).sum()
    }

    /// Do so many events wait that those who cause them have to wait too?
    pub(crate) fn is_clogged(&self) -> bool {
        let [_, _, events] = &self.lanes;
        events.bytes > self.events_bytes_max
    }

    const fn lane(&mut self, weight: Weight) -> &mut Lane {
        let [data, answers, events] = &mut self.lanes;
        match weight {
            Weight::Data => data,
            Weight::Answer => answers,
            Weight::Event => events,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(bytes: usize) -> Limits {
        Limits { reports_bytes_max: bytes, events_bytes_max: bytes, ..Limits::default() }
    }

    fn line(n: usize, len: usize) -> Frame {
        Frame::text(format!("{n:04}{}", ".".repeat(len.saturating_sub(4))))
    }

    fn numbers(reports: &mut Reports) -> Vec<usize> {
        std::iter::from_fn(|| reports.pop())
            .map(|line| line.as_text().unwrap()[..4].parse().unwrap())
            .collect()
    }

    #[test]
    fn one_byte_over_gives_up_the_oldest_data_and_nothing_else() {
        let mut reports = Reports::new(&limits(30));
        assert_eq!(reports.push(line(0, 10), Weight::Event), 0);
        for n in 1..4 {
            assert_eq!(reports.push(line(n, 10), Weight::Data), 0, "{n}");
        }
        assert_eq!(reports.push(line(4, 20), Weight::Event), 0);
        assert!(!reports.is_clogged(), "at the bound");
        assert_eq!(reports.push(line(5, 11), Weight::Data), 2, "one byte more than two lines leave");
        assert_eq!(reports.push(line(6, 4), Weight::Event), 0);
        assert!(reports.is_clogged(), "over it");
        assert_eq!(numbers(&mut reports), [0, 3, 4, 5, 6]);
        assert_eq!(reports.bytes(), 0);
    }

    #[test]
    fn one_that_is_larger_than_the_bound_waits_alone() {
        let mut reports = Reports::new(&limits(30));
        reports.push(line(0, 10), Weight::Data);
        reports.push(line(1, 10), Weight::Event);
        assert_eq!(reports.push(line(2, 500), Weight::Data), 1);
        assert_eq!(reports.push(line(3, 5), Weight::Data), 1, "the large one goes as soon as another comes");
        assert_eq!(numbers(&mut reports), [1, 3]);
    }

    proptest! {
        /// Against a list that is searched each time: the same lines are given up, events never, order holds, and data
        /// stays below its bound or is one line.
        #[test]
        fn prop_agrees_with_a_naive_queue(
            steps in prop::collection::vec((0_u8..5, 4_usize..60), 0..200),
            bytes_max in 0_usize..100,
        ) {
            let mut reports = Reports::new(&limits(bytes_max));
            let mut naive: Vec<(Weight, Frame)> = Vec::new();
            for (n, (what, len)) in steps.into_iter().enumerate() {
                let weight = match what {
                    0 => {
                        let want = (!naive.is_empty()).then(|| naive.remove(0).1);
                        prop_assert_eq!(reports.pop(), want);
                        continue;
                    }
                    1 => Weight::Event,
                    2 => Weight::Answer,
                    _ => Weight::Data,
                };
                let mut given_up = 0;
                loop {
                    let own = |(other, _): &&(Weight, Frame)| *other == weight;
                    let bytes: usize = naive.iter().filter(own).map(|(_, line)| line.len()).sum();
                    let Some(oldest) = naive.iter().position(|(other, _)| *other == weight) else { break };
                    if bytes + len <= bytes_max || weight == Weight::Event {
                        break;
                    }
                    naive.remove(oldest);
                    given_up += 1;
                }
                naive.push((weight, line(n, len)));
                prop_assert_eq!(reports.push(line(n, len), weight), given_up);
                prop_assert_eq!(reports.bytes(), naive.iter().map(|(_, line)| line.len()).sum::<usize>());
            }
            for (_, line) in naive {
                prop_assert_eq!(reports.pop(), Some(line));
            }
            prop_assert_eq!(reports.pop(), None);
        }
    }
}
