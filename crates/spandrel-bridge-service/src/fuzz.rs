//! Bodies of fuzz targets: plain functions that must never panic, whatever the bytes.

use spandrel_wire::Frame;

use crate::{
    Limits,
    reports::{Reports, Weight},
};

/// Reports of all weights come and go, two bits and six of length to a byte: events stay whole and in order, `data` below
/// its bound.
pub fn fuzz_reports(data: &[u8]) {
    const BYTES_MAX: usize = 100;
    let limits = Limits { reports_bytes_max: BYTES_MAX, events_bytes_max: BYTES_MAX, ..Limits::default() };
    let mut reports = Reports::new(&limits);
    let (mut pushed, mut taken, mut last) = (0_u64, 0_u64, None);
    let mut take = |reports: &mut Reports, taken: &mut u64| {
        let Some(line) = reports.pop() else { return false };
        let text = line.as_text().unwrap_or_default();
        let (place, weight) = (text.get(..8).and_then(|n| n.parse::<u64>().ok()), text.get(8..9));
        assert!(place > last, "out of order: {text}");
        last = place;
        *taken += u64::from(weight == Some("e"));
        true
    };
    for (n, byte) in data.iter().enumerate() {
        let pad = ".".repeat(usize::from(byte & 63));
        let (weight, name) = match byte >> 6 {
            0 => {
                take(&mut reports, &mut taken);
                continue;
            }
            1 => (Weight::Event, "e"),
            2 => (Weight::Answer, "a"),
            _ => (Weight::Data, "d"),
        };
        pushed += u64::from(weight == Weight::Event);
        reports.push(Frame::text(format!("{n:08}{name}{pad}")), weight);
    }
    while take(&mut reports, &mut taken) {}
    assert_eq!(pushed, taken, "events were lost");
    assert_eq!(reports.bytes(), 0);
}

#[cfg(test)]
mod tests {
    proptest::proptest! {
        /// No order of pushes and pops loses an event or the order.
        #[test]
        fn prop_reports_keep_events_and_order(data in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            super::fuzz_reports(&data);
        }
    }
}
