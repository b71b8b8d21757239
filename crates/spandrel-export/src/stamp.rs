//! Timestamps as text: `YYYY-MM-DDThh:mm:ss[.fraction]` and `Z` or an offset (protocol section 7).

use spandrel_download_protocol::{Timestamp, UtcOffset, write_timestamp};

use crate::cells::nanos;
use crate::digits::{byte, bytes, fixed, fixed_wide};

/// Characters of `YYYY-MM-DDThh:mm:ss`.
const PREFIX_LEN: usize = 19;
/// First second whose year is printed with four digits: 0000-01-01T00:00:00.
const YEAR_0: i64 = -62_167_219_200;
/// First second after them: 10000-01-01T00:00:00.
const YEAR_10000: i64 = 253_402_300_800;

/// Writes timestamps of one column. Keeps the last second it printed: neighbours in time order share it.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    precision: u8,
    offset: UtcOffset,
    offset_s: i64,
    zone: Vec<u8>,
    /// What `text` stands for; `None` before the first.
    second: Option<i64>,
    day: i64,
    /// `YYYY-MM-DDThh:mm:ss` and room, so that it is copied as one block.
    text: [u8; 32],
}

impl Stamp {
    pub(crate) fn new(precision: u8, zone: UtcOffset) -> Self {
        Self {
            precision: precision.min(9),
            offset: zone,
            offset_s: i64::from(zone.minutes()) * 60,
            zone: zone.to_string().into_bytes(),
            second: None,
            day: i64::MIN,
            text: [0; 32],
        }
    }

    /// Writes the instant of `value` ticks at `per_s` ticks a second.
    #[inline]
    pub(crate) fn write(&mut self, out: &mut [u8], at: usize, value: i64, per_s: i64) -> usize {
        let second = value.div_euclid(per_s);
        let fraction = value.rem_euclid(per_s).unsigned_abs();
        if self.prefix(second) {
            self.put(out, at, fraction, digits_of(per_s))
        } else {
            self.far(out, at, nanos(value, per_s))
        }
    }

    /// Writes an instant given in nanoseconds beyond 64 bits.
    pub(crate) fn write_wide(&mut self, out: &mut [u8], at: usize, nanos: i128) -> usize {
        let fraction = u64::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
        match i64::try_from(nanos.div_euclid(1_000_000_000)) {
            Ok(second) if self.prefix(second) => self.put(out, at, fraction, 9),
            _ => self.far(out, at, nanos),
        }
    }

    #[inline]
    fn put(&self, out: &mut [u8], at: usize, fraction: u64, digits: usize) -> usize {
        // One fixed copy; the fraction overwrites what is too much.
        if let Some(slot) = out.get_mut(at..at + self.text.len()) {
            slot.copy_from_slice(&self.text);
        }
        let mut at = at + PREFIX_LEN;
        let precision = usize::from(self.precision);
        if precision > 0 {
            at = byte(out, at, b'.');
            at = if precision >= digits {
                let at = fixed_wide(out, at, fraction, digits);
                fixed_wide(out, at, 0, precision - digits)
            } else {
                let drop = u32::try_from(digits - precision).unwrap_or(0);
                fixed_wide(out, at, fraction / 10_u64.pow(drop), precision)
            };
        }
        if let [z] = self.zone.as_slice() { byte(out, at, *z) } else { bytes(out, at, &self.zone) }
    }

    /// A year that does not have four digits: rare enough to be written the slow way.
    #[cold]
    fn far(&self, out: &mut [u8], at: usize, nanos: i128) -> usize {
        let mut text = Vec::with_capacity(64);
        write_timestamp(&mut text, Timestamp::from_nanos(nanos), self.precision, self.offset);
        bytes(out, at, &text)
    }

    /// Prints everything before the fraction into `self.text`; `false` when the printed year has not four digits.
    #[inline]
    fn prefix(&mut self, second: i64) -> bool {
        if self.second == Some(second) {
            return true;
        }
        let local = second.saturating_add(self.offset_s);
        if !(YEAR_0..YEAR_10000).contains(&local) {
            return false;
        }
        self.second = Some(second);
        let out = self.text.as_mut_slice();
        let small = |n: i64| u32::try_from(n).unwrap_or(0);
        let (day, rest) = (local.div_euclid(86_400), small(local.rem_euclid(86_400)));
        // Each store touches eight bytes, so what stands further right is printed again.
        if day != self.day {
            self.day = day;
            let (year, month, date) = civil(day);
            fixed(out, 0, small(year), 4);
            byte(out, 4, b'-');
            fixed(out, 5, month, 2);
            byte(out, 7, b'-');
            fixed(out, 8, date, 2);
        }
        byte(out, 10, b'T');
        fixed(out, 11, rest / 3600, 2);
        byte(out, 13, b':');
        fixed(out, 14, rest / 60 % 60, 2);
        byte(out, 16, b':');
        fixed(out, 17, rest % 60, 2);
        true
    }
}

const fn digits_of(per_s: i64) -> usize {
    match per_s {
        1_000_000_000 => 9,
        1_000_000 => 6,
        1_000 => 3,
        _ => 0,
    }
}

/// Year, month and day of a day number (0 is 1970-01-01) in the proleptic Gregorian calendar.
///
/// Counts in 400-year eras from 1 March 0000, so that the leap day is the last of its year.
fn civil(day: i64) -> (i64, u32, u32) {
    let shifted = day.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(date).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits::NUMBER_ROOM;

    fn print(value: i64, per_s: i64, precision: u8, zone: UtcOffset) -> String {
        let mut stamp = Stamp::new(precision, zone);
        let mut out = vec![0; 128];
        let end = stamp.write(&mut out, 0, value, per_s);
        String::from_utf8(out[..end].to_vec()).unwrap()
    }

    #[test]
    fn stamps_print_precision_and_zone() {
        let us = 1_709_251_200_123_456;
        for (value, per_s, precision, zone, want) in [
            (us, 1_000_000, 3, UtcOffset::Zulu, "2024-03-01T00:00:00.123Z"),
            (us, 1_000_000, 6, UtcOffset::Zulu, "2024-03-01T00:00:00.123456Z"),
            (us, 1_000_000, 9, UtcOffset::Zulu, "2024-03-01T00:00:00.123456000Z"),
            (us, 1_000_000, 0, UtcOffset::Minutes(540), "2024-03-01T09:00:00+09:00"),
            (us, 1_000_000, 1, UtcOffset::Minutes(-210), "2024-02-29T20:30:00.1-03:30"),
            (-1, 1_000, 3, UtcOffset::Zulu, "1969-12-31T23:59:59.999Z"),
            (-62_135_596_800, 1, 0, UtcOffset::Minutes(-1439), "0000-12-31T00:01:00-23:59"),
            (253_402_300_799, 1, 0, UtcOffset::Minutes(60), "+010000-01-01T00:59:59+01:00"),
            (-62_167_219_201, 1, 3, UtcOffset::Zulu, "-000001-12-31T23:59:59.000Z"),
            (i64::MIN, 1, 0, UtcOffset::Zulu, "-292277022657-01-27T08:29:52Z"),
            (i64::MAX, 1, 3, UtcOffset::Minutes(1439), "+292277026596-12-05T15:29:07.000+23:59"),
            (i64::MIN, 1_000, 3, UtcOffset::Minutes(-1439), "-292275055-05-15T16:48:04.192-23:59"),
            (i64::MIN, 1_000_000_000, 9, UtcOffset::Zulu, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(print(value, per_s, precision, zone), want);
        }
    }

    #[test]
    fn instants_beyond_every_calendar_print_like_the_protocol() {
        for nanos in [i128::MIN, i128::MIN / 2, -1, 0, i128::from(i64::MAX) * 1_000_000_000, i128::MAX] {
            for (precision, zone) in
                [(0, UtcOffset::Zulu), (9, UtcOffset::Minutes(-1439)), (4, UtcOffset::Minutes(1))]
            {
                let mut out = vec![0; NUMBER_ROOM];
                let end = Stamp::new(precision, zone).write_wide(&mut out, 0, nanos);
                assert_eq!(&out[..end], slow(nanos, precision, zone), "{nanos}");
                assert!(end + 2 <= NUMBER_ROOM, "{end} bytes and two quotes");
            }
        }
    }

    fn slow(nanos: i128, precision: u8, zone: UtcOffset) -> Vec<u8> {
        let mut want = Vec::new();
        write_timestamp(&mut want, Timestamp::from_nanos(nanos), precision, zone);
        want
    }

    #[test]
    fn a_second_that_repeats_prints_the_same() {
        let mut stamp = Stamp::new(3, UtcOffset::Zulu);
        let mut out = vec![0; 128];
        for (value, want) in [
            (1_000_i64, "1970-01-01T00:00:01.000Z"),
            (1_999, "1970-01-01T00:00:01.999Z"),
            (2_000, "1970-01-01T00:00:02.000Z"),
            (86_400_000, "1970-01-02T00:00:00.000Z"),
            (1_001, "1970-01-01T00:00:01.001Z"),
        ] {
            let end = stamp.write(&mut out, 0, value, 1_000);
            assert_eq!(std::str::from_utf8(&out[..end]).unwrap(), want);
        }
    }

    proptest::proptest! {
        /// One writer over any instants, in any order, units and zones, prints what the protocol's own writer prints.
        #[test]
        fn prop_agrees_with_the_protocol(
            values in proptest::collection::vec(proptest::prop_oneof![
                proptest::num::i64::ANY,
                -100_000_i64..100_000,
                -62_135_596_800_i64..253_402_300_800,
                1_700_000_000_000_000_i64..1_700_000_009_000_000,
            ], 1..20),
            unit in 0_usize..4, precision in 0_u8..=9, minutes in -1439_i16..=1439,
        ) {
            let per_s = [1, 1_000, 1_000_000, 1_000_000_000][unit];
            let zone = if minutes == 0 { UtcOffset::Zulu } else { UtcOffset::Minutes(minutes) };
            let (mut stamp, mut wide) = (Stamp::new(precision, zone), Stamp::new(precision, zone));
            let mut out = vec![b'x'; NUMBER_ROOM];
            for value in values {
                let want = slow(nanos(value, per_s), precision, zone);
                let end = stamp.write(&mut out, 0, value, per_s);
                proptest::prop_assert_eq!(&out[..end], want.as_slice());
                let end = wide.write_wide(&mut out, 0, nanos(value, per_s));
                proptest::prop_assert_eq!(&out[..end], want.as_slice());
            }
        }

        /// Every day of 20,000 years follows the one before it.
        #[test]
        fn prop_days_follow_each_other(day in -3_650_000_i64..3_650_000) {
            let ((y0, m0, d0), (y1, m1, d1)) = (civil(day), civil(day + 1));
            let next = (y1, m1, d1) == (y0, m0, d0 + 1) || (y1, m1, d1) == (y0, m0 + 1, 1) || (y1, m1, d1) == (y0 + 1, 1, 1);
            proptest::prop_assert!(next && (1..=12).contains(&m0) && (1..=31).contains(&d0));
        }
    }
}
