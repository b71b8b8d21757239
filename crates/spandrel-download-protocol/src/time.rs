//! Instants and offsets as the protocol writes them (section 5): RFC 3339 with a mandatory offset.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ProtocolError;
use crate::error::shorten;

const NANOS_PER_S: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i128 = 86_400;
const DAYS_PER_ERA: i128 = 146_097;

/// An instant: nanoseconds since 1970-01-01T00:00:00Z.
///
/// 128 bits, because 64 bits of nanoseconds do not hold the years 0001 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i128);

impl Timestamp {
    /// From nanoseconds since 1970.
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// From milliseconds since 1970.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms as i128 * 1_000_000)
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// Reads RFC 3339 as section 5 narrows it: mandatory offset, upper-case `T` and `Z`, at most 9 fraction
    /// digits, years 0001 to 9999, no leap second, no `-00:00`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Time`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        read_timestamp(text).map_err(|why| ProtocolError::Time { text: shorten(text), why })
    }

    /// RFC 3339 in UTC with exactly `precision` fraction digits, 0 to 9; further digits are cut off.
    pub fn to_rfc3339(self, precision: u8) -> String {
        let mut out = Vec::with_capacity(32);
        write_timestamp(&mut out, self, precision, UtcOffset::Zulu);
        String::from_utf8(out).unwrap_or_default()
    }

    /// `YYYYMMDDThhmmssZ` in UTC, cut to seconds, as part names carry it.
    pub fn to_compact(self) -> String {
        let c = Civil::of(self, 0);
        format!("{:04}{:02}{:02}T{:02}{:02}{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with 0, 3, 6 or 9 fraction digits: as few as lose nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = self.0.rem_euclid(NANOS_PER_S);
        let precision = match fraction {
            0 => 0,
            n if n % 1_000_000 == 0 => 3,
            n if n % 1000 == 0 => 6,
            _ => 9,
        };
        f.write_str(&self.to_rfc3339(precision))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

/// Appends `YYYY-MM-DDThh:mm:ss[.digits]` and the offset, with exactly `precision` fraction digits (0 to 9);
/// further digits are cut off, not rounded.
///
/// A printed year outside 0000 to 9999 has a sign and at least six digits, as in ECMAScript.
pub fn write_timestamp(out: &mut Vec<u8>, time: Timestamp, precision: u8, offset: UtcOffset) {
    let c = Civil::of(time, offset.minutes());
    if (0..10_000).contains(&c.year) {
        pad(out, small(c.year), 4);
    } else {
        out.push(if c.year < 0 { b'-' } else { b'+' });
        out.extend_from_slice(format!("{:06}", c.year.unsigned_abs()).as_bytes());
    }
    for (mark, value) in [(b'-', c.month), (b'-', c.day), (b'T', c.hour), (b':', c.minute), (b':', c.second)]
    {
        out.push(mark);
        pad(out, value, 2);
    }
    let precision = precision.min(9);
    if precision > 0 {
        out.push(b'.');
        pad(out, c.nanos / 10_u32.pow(9 - u32::from(precision)), usize::from(precision));
    }
    match offset {
        UtcOffset::Zulu => out.push(b'Z'),
        UtcOffset::Minutes(m) => {
            out.push(if m < 0 { b'-' } else { b'+' });
            pad(out, u32::from(m.unsigned_abs()) / 60, 2);
            out.push(b':');
            pad(out, u32::from(m.unsigned_abs()) % 60, 2);
        }
    }
}

/// `value` with leading zeros, at most 9 digits.
fn pad(out: &mut Vec<u8>, mut value: u32, width: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev().take(width) {
        // One decimal digit always fits a byte.
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
    out.extend(digits.iter().skip(digits.len().saturating_sub(width)));
}

/// Wall clock fields of an instant.
struct Civil {
    year: i128,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
}

impl Civil {
    fn of(time: Timestamp, offset_minutes: i16) -> Self {
        let nanos = time.0.saturating_add(i128::from(offset_minutes) * 60 * NANOS_PER_S);
        // 64-bit division is an order of magnitude cheaper and holds the years 1678 to 2261.
        let (seconds, nanos) = match i64::try_from(nanos) {
            Ok(n) => (i128::from(n.div_euclid(1_000_000_000)), small(n.rem_euclid(1_000_000_000).into())),
            Err(_) => (nanos.div_euclid(NANOS_PER_S), small(nanos.rem_euclid(NANOS_PER_S))),
        };
        let (days, second_of_day) = match i64::try_from(seconds) {
            Ok(s) => (i128::from(s.div_euclid(86_400)), small(s.rem_euclid(86_400).into())),
            Err(_) => (seconds.div_euclid(SECONDS_PER_DAY), small(seconds.rem_euclid(SECONDS_PER_DAY))),
        };
        // Days counted from 0000-03-01, in eras of 400 years, so a leap day ends its year.
        let days = days.saturating_add(719_468);
        let (era, day_of_era) = match i64::try_from(days) {
            Ok(d) => (i128::from(d.div_euclid(146_097)), small(d.rem_euclid(146_097).into())),
            Err(_) => (days.div_euclid(DAYS_PER_ERA), small(days.rem_euclid(DAYS_PER_ERA))),
        };
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: era * 400 + i128::from(year_of_era) + i128::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            nanos,
        }
    }
}

/// A remainder that is known to fit.
fn small(value: i128) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

fn read_timestamp(text: &str) -> Result<Timestamp, &'static str> {
    let bytes = text.as_bytes();
    let (Some(head), Some(tail)) = (bytes.get(..19), bytes.get(19..)) else {
        return Err("too short: date, time and offset are needed");
    };
    for (at, mark) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if head.get(at) != Some(&mark) {
            return Err("expected YYYY-MM-DDThh:mm:ss");
        }
    }
    let field = |from: usize, len: usize| number(head.get(from..from + len).unwrap_or_default());
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) =
        (field(0, 4), field(5, 2), field(8, 2), field(11, 2), field(14, 2), field(17, 2))
    else {
        return Err("expected YYYY-MM-DDThh:mm:ss");
    };
    if year == 0 {
        return Err("the first year is 0001");
    }
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err("no such day");
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err("no such time of day; leap seconds are not accepted");
    }
    let (fraction, zone) = read_fraction(tail)?;
    let minutes =
        read_offset(zone).ok_or("an offset is needed: Z or +hh:mm or -hh:mm, not -00:00")?.minutes();
    let seconds = days_before(year, month, day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second)
        - i64::from(minutes) * 60;
    Ok(Timestamp(i128::from(seconds) * NANOS_PER_S + i128::from(fraction)))
}

/// Nanoseconds of `.digits`, and what follows.
fn read_fraction(tail: &[u8]) -> Result<(u32, &[u8]), &'static str> {
    let Some(rest) = tail.strip_prefix(b".") else { return Ok((0, tail)) };
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, zone) = rest.split_at_checked(len).unwrap_or((&[], rest));
    if !(1..=9).contains(&len) {
        return Err("a fraction has 1 to 9 digits");
    }
    let scale = 10_u32.pow(9 - u32::try_from(len).unwrap_or(9));
    Ok((number(digits).unwrap_or_default() * scale, zone))
}

/// Digits only, at most 9.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

fn read_offset(text: &[u8]) -> Option<UtcOffset> {
    let (sign, digits) = match text {
        b"Z" => return Some(UtcOffset::Zulu),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => (*sign, [[*h1, *h2], [*m1, *m2]]),
        _ => return None,
    };
    let [hours, minutes] = digits.map(|pair| number(&pair));
    let (hours, minutes) = (hours?, minutes?);
    if hours > 23 || minutes > 59 || (sign == b'-' && hours + minutes == 0) {
        return None;
    }
    let total = i16::try_from(hours * 60 + minutes).ok()?;
    Some(UtcOffset::Minutes(if sign == b'-' { -total } else { total }))
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the years 1 to 9999.
fn days_before(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    i64::from(365 * year + year / 4 - year / 100 + year / 400 + day_of_year) - 719_468
}

/// Offset from UTC used to print timestamps: whole minutes, -23:59 to +23:59; `Z` is the default.
///
/// `Z` and `+00:00` print differently, so the spelling is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UtcOffset {
    /// Printed as `Z`.
    #[default]
    Zulu,
    /// Minutes east of UTC, printed as `±hh:mm`.
    Minutes(i16),
}

impl UtcOffset {
    /// Minutes east of UTC.
    pub const fn minutes(self) -> i16 {
        match self {
            Self::Zulu => 0,
            Self::Minutes(m) => m,
        }
    }

    /// Reads `Z` or `±hh:mm`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Offset`] for anything else, `-00:00` and names of zones included.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        read_offset(text.as_bytes()).ok_or_else(|| ProtocolError::Offset(shorten(text)))
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zulu => f.write_str("Z"),
            Self::Minutes(m) => {
                let sign = if *m < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", m.unsigned_abs() / 60, m.unsigned_abs() % 60)
            }
        }
    }
}

impl Serialize for UtcOffset {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcOffset {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Deserialize)]
    struct Times {
        valid: Vec<(String, String)>,
        invalid: Vec<String>,
    }

    #[test]
    fn reads_the_listed_times_and_no_others() {
        let times: Times = serde_json::from_str(include_str!("../tests/data/times.json")).unwrap();
        for (text, nanos) in times.valid {
            assert_eq!(Timestamp::parse(&text).unwrap().nanos().to_string(), nanos, "{text}");
        }
        for text in times.invalid {
            assert!(Timestamp::parse(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn prints_with_precision_and_offset() {
        let day = 86_400 * NANOS_PER_S;
        for (nanos, precision, offset, want) in [
            (0, 3, "Z", "1970-01-01T00:00:00.000Z"),
            (0, 0, "+00:00", "1970-01-01T00:00:00+00:00"),
            (-1, 9, "Z", "1969-12-31T23:59:59.999999999Z"),
            (-1, 3, "Z", "1969-12-31T23:59:59.999Z"),
            (1_709_251_200_123_456_789, 6, "+09:00", "2024-03-01T09:00:00.123456+09:00"),
            (1_709_251_200_123_456_789, 1, "-03:30", "2024-02-29T20:30:00.1-03:30"),
            (253_402_300_799 * NANOS_PER_S, 0, "+00:01", "+010000-01-01T00:00:59+00:01"),
            (-62_167_219_200 * NANOS_PER_S, 0, "Z", "0000-01-01T00:00:00Z"),
            (-62_167_219_201 * NANOS_PER_S, 0, "Z", "-000001-12-31T23:59:59Z"),
            (8_640_000_000_000 * NANOS_PER_S, 0, "Z", "+275760-09-13T00:00:00Z"),
            (146_097 * 10_000 * day, 0, "Z", "+4001970-01-01T00:00:00Z"),
        ] {
            let mut out = Vec::new();
            write_timestamp(&mut out, Timestamp(nanos), precision, UtcOffset::parse(offset).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
        assert_eq!(Timestamp::from_millis(1_709_251_200_500).to_compact(), "20240301T000000Z");
        assert_eq!(Timestamp::from_millis(1_709_251_200_500).to_string(), "2024-03-01T00:00:00.500Z");
    }

    #[test]
    fn offsets_keep_their_spelling() {
        for text in ["Z", "+00:00", "+09:00", "-03:30", "+23:59", "-23:59"] {
            assert_eq!(UtcOffset::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "z", "-00:00", "+24:00", "+09:60", "+0900", "09:00", "Asia/Seoul", "+9:00", "+09:00 "]
        {
            assert!(UtcOffset::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// Printing and reading gives the same instant back, for every nanosecond of the readable years.
        #[test]
        fn prop_roundtrip_instants(nanos in -62_135_510_400_000_000_000_i128..253_402_214_400_000_000_000_i128,
                                   minutes in -1439_i16..1440) {
            let offset = if minutes == 0 { UtcOffset::Zulu } else { UtcOffset::Minutes(minutes) };
            let mut out = Vec::new();
            write_timestamp(&mut out, Timestamp(nanos), 9, offset);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(Timestamp::parse(&text), Ok(Timestamp(nanos)), "{}", text);
        }

        /// Printing never panics, whatever the instant.
        #[test]
        fn prop_never_panics_on_any_instant(nanos: i128, precision: u8, minutes in -1439_i16..1440) {
            let mut out = Vec::new();
            write_timestamp(&mut out, Timestamp(nanos), precision, UtcOffset::Minutes(minutes));
            let _ = Timestamp(nanos).to_compact();
        }

        /// Reading never panics.
        #[test]
        fn prop_never_panics_on_any_text(text in "[0-9TZ:.+é-]{0,36}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
