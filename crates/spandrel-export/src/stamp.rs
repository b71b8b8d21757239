//! Timestamps as text: `YYYY-MM-DDThh:mm:ss[.fraction]` and `Z` or an offset (protocol section 7).

use spandrel_download_protocol::UtcOffset;

use crate::digits::{byte, bytes, fixed, fixed_wide};

/// Writes timestamps of one column. Keeps the last second it printed: neighbours in time order share it.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    precision: usize,
    offset_s: i64,
    zone: Vec<u8>,
    second: i64,
    day: i64,
    text: Vec<u8>,
}

impl Stamp {
    pub(crate) fn new(precision: u8, zone: UtcOffset) -> Self {
        Self {
            precision: usize::from(precision.min(9)),
            offset_s: i64::from(zone.minutes()) * 60,
            zone: zone.to_string().into_bytes(),
            second: i64::MIN,
            day: i64::MIN,
            text: vec![0; 64],
        }
    }

    /// Writes the instant of `value` ticks at `per_s` ticks a second.
    #[inline]
    pub(crate) fn write(&mut self, out: &mut [u8], at: usize, value: i64, per_s: i64) -> usize {
        let second = value.div_euclid(per_s);
        let fraction = value.rem_euclid(per_s).unsigned_abs();
        self.put(out, at, second, fraction, digits_of(per_s))
    }

    /// Writes an instant given in nanoseconds beyond 64 bits.
    pub(crate) fn write_wide(&mut self, out: &mut [u8], at: usize, nanos: i128) -> usize {
        let second = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(0);
        let fraction = u64::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
        self.put(out, at, second, fraction, 9)
    }

    #[inline]
    fn put(&mut self, out: &mut [u8], at: usize, second: i64, fraction: u64, digits: usize) -> usize {
        if second != self.second {
            self.prefix(second);
        }
        let mut at = match (self.text.get(..32), self.text.len()) {
            // The usual four-digit year: one fixed copy that the fraction then overwrites.
            (Some(head), 64) => {
                if let Some(slot) = out.get_mut(at..at + 32) {
                    slot.copy_from_slice(head);
                }
                at + 19
            }
            _ => bytes(out, at, &self.text),
        };
        if self.precision > 0 {
            at = byte(out, at, b'.');
            at = if self.precision >= digits {
                let at = fixed_wide(out, at, fraction, digits);
                fixed_wide(out, at, 0, self.precision - digits)
            } else {
                let drop = u32::try_from(digits - self.precision).unwrap_or(0);
                fixed_wide(out, at, fraction / 10_u64.pow(drop), self.precision)
            };
        }
        if let [z] = self.zone.as_slice() { byte(out, at, *z) } else { bytes(out, at, &self.zone) }
    }

    /// Prints everything before the fraction into `self.text`: 64 bytes long for the usual 19 characters, else exact.
    fn prefix(&mut self, second: i64) {
        self.second = second;
        let local = second.saturating_add(self.offset_s);
        let (day, rest) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        if day != self.day || self.text.len() != 64 {
            self.day = day;
            let (year, month, date) = civil(day);
            self.text.clear();
            self.text.resize(64, 0);
            let out = self.text.as_mut_slice();
            let small = |n: i64| u32::try_from(n).unwrap_or(0);
            let mut at = 0;
            if (0..=9999).contains(&year) {
                at = fixed(out, at, small(year), 4);
            } else {
                at = byte(out, at, if year < 0 { b'-' } else { b'+' });
                at = fixed(out, at, small(year.abs()), 6);
            }
            at = byte(out, at, b'-');
            at = fixed(out, at, month, 2);
            at = byte(out, at, b'-');
            at = fixed(out, at, date, 2);
            at = byte(out, at, b'T');
            if at != 11 {
                self.clock(at, rest);
                self.text.truncate(at + 8);
                return;
            }
        }
        self.clock(11, rest);
    }

    fn clock(&mut self, at: usize, rest: i64) {
        let rest = u32::try_from(rest).unwrap_or(0);
        let out = self.text.as_mut_slice();
        let mut at = at;
        at = fixed(out, at, rest / 3600, 2);
        at = byte(out, at, b':');
        at = fixed(out, at, rest / 60 % 60, 2);
        at = byte(out, at, b':');
        fixed(out, at, rest % 60, 2);
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
pub(crate) fn civil(day: i64) -> (i64, u32, u32) {
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
        ] {
            assert_eq!(print(value, per_s, precision, zone), want);
        }
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
        /// Every day of 20,000 years follows the one before it.
        #[test]
        fn prop_days_follow_each_other(day in -3_650_000_i64..3_650_000) {
            let ((y0, m0, d0), (y1, m1, d1)) = (civil(day), civil(day + 1));
            let next = (y1, m1, d1) == (y0, m0, d0 + 1) || (y1, m1, d1) == (y0, m0 + 1, 1) || (y1, m1, d1) == (y0 + 1, 1, 1);
            proptest::prop_assert!(next && (1..=12).contains(&m0) && (1..=31).contains(&d0));
        }
    }
}
