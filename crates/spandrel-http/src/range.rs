//! The `Range` request header (RFC 9110 section 14): one range, or the whole.

/// What of a file of known length a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranged {
    /// All of it, 200: no range that is served here was asked for.
    Whole,
    /// One part, 206. `start <= end_inclusive < len`.
    Part {
        /// Offset of the first byte.
        start: u64,
        /// Offset of the last byte.
        end_inclusive: u64,
    },
    /// Nothing of it, 416: the range begins at or after the end, or is the last 0 bytes.
    Unsatisfiable,
}

/// Reads the value of a `Range` header against a file of `len` bytes.
///
/// `bytes=a-b`, `bytes=a-` and `bytes=-n` are served, the end clipped to the file. Whatever else the value
/// says (another unit, several ranges, an end before the start, no grammar at all) is
/// [`Whole`](Ranged::Whole): a server may ignore a range, and a client sees that from the status. Numbers past
/// 64 bits are numbers: they lie past every end.
///
/// The last n bytes of an empty file are [`Whole`](Ranged::Whole): the range is satisfiable by RFC 9110
/// section 14.1.2, but `Content-Range` has no way to write an empty part.
#[must_use]
pub fn ranged(value: &str, len: u64) -> Ranged {
    parse(value).map_or(Ranged::Whole, |spec| spec.of(len))
}

enum Spec {
    From { first: u64, last: u64 },
    Last(u64),
}

impl Spec {
    fn of(self, len: u64) -> Ranged {
        let end = len.checked_sub(1);
        match (self, end) {
            (Self::Last(0), _) | (Self::From { .. }, None) => Ranged::Unsatisfiable,
            (Self::Last(_), None) => Ranged::Whole,
            (Self::Last(n), Some(end)) => Ranged::Part { start: len.saturating_sub(n), end_inclusive: end },
            (Self::From { first, .. }, Some(end)) if first > end => Ranged::Unsatisfiable,
            (Self::From { first, last }, Some(end)) => {
                Ranged::Part { start: first, end_inclusive: last.min(end) }
            }
        }
    }
}

fn parse(value: &str) -> Option<Spec> {
    let (unit, range) = value.split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(())?;
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    match (first, last) {
        ("", last) => Some(Spec::Last(number(last)?)),
        (first, "") => Some(Spec::From { first: number(first)?, last: u64::MAX }),
        (first, last) if !is_less(last, first) => {
            Some(Spec::From { first: number(first)?, last: number(last)? })
        }
        _ => None,
    }
}

/// Decimal digits only; what does not fit is past every end.
fn number(digits: &str) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Compares digits of any length by value; numbers past 64 bits are ordered too.
fn is_less(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    (a.len(), a) < (b.len(), b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn part(start: u64, end_inclusive: u64) -> Ranged {
        Ranged::Part { start, end_inclusive }
    }

    #[test]
    fn the_grammar_of_one_range() {
        for (value, len, want) in [
            ("bytes=0-0", 1000, part(0, 0)),
            ("bytes=100-199", 1000, part(100, 199)),
            ("bytes=100-", 1000, part(100, 999)),
            ("bytes=-10", 1000, part(990, 999)),
            ("bytes=-1005", 1000, part(0, 999)),
            ("bytes=999-1100", 1000, part(999, 999)),
            ("bytes=0-", 1000, part(0, 999)),
            ("bytes=007-0009", 1000, part(7, 9)),
            ("BYTES=1-2", 1000, part(1, 2)),
            ("bytes= 1-2\t", 1000, part(1, 2)),
            ("bytes=1000-", 1000, Ranged::Unsatisfiable),
            ("bytes=1000-2000", 1000, Ranged::Unsatisfiable),
            ("bytes=-0", 1000, Ranged::Unsatisfiable),
            ("bytes=-000", 1000, Ranged::Unsatisfiable),
        ] {
            assert_eq!(ranged(value, len), want, "{value:?} of {len}");
        }
    }

    #[test]
    fn what_is_not_one_range_is_the_whole() {
        for value in [
            "",
            "=",
            "-",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=--1",
            "bytes=5-2",
            "bytes=10-9",
            "bytes=a-b",
            "bytes=0-1,5-6",
            "bytes=0-1,",
            "bytes=,0-1",
            "lines=1-2",
            "bytes =0-1",
            " bytes=0-1",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=1 -2",
            "bytes=1- 2",
            "bytes=1.0-2",
            "bytes=1-2-3",
            "bytes=1-2;q=1",
            "bytes:0-1",
            "bytes=٣-٤",
            "bytes=0-1\0",
            "none",
            "bytes=1-2 3-4",
            "bytes=99999999999999999999999-88888888888888888888888",
        ] {
            assert_eq!(ranged(value, 1000), Ranged::Whole, "{value:?}");
        }
    }

    #[test]
    fn numbers_past_64_bits_are_past_the_end() {
        let max = u64::MAX;
        for (value, len, want) in [
            ("bytes=0-18446744073709551615", max, part(0, max - 1)),
            ("bytes=0-18446744073709551616", 10, part(0, 9)),
            ("bytes=5-99999999999999999999999999", 10, part(5, 9)),
            ("bytes=18446744073709551614-", max, part(max - 1, max - 1)),
            ("bytes=18446744073709551615-", max, Ranged::Unsatisfiable),
            ("bytes=18446744073709551616-", max, Ranged::Unsatisfiable),
            ("bytes=99999999999999999999-99999999999999999999", 10, Ranged::Unsatisfiable),
            ("bytes=-99999999999999999999", 10, part(0, 9)),
            ("bytes=-18446744073709551615", max, part(0, max - 1)),
        ] {
            assert_eq!(ranged(value, len), want, "{value:?} of {len}");
        }
    }

    #[test]
    fn an_empty_file_has_no_part() {
        for (value, want) in [
            ("bytes=0-", Ranged::Unsatisfiable),
            ("bytes=0-0", Ranged::Unsatisfiable),
            ("bytes=-0", Ranged::Unsatisfiable),
            ("bytes=-1", Ranged::Whole),
            ("bytes=2-1", Ranged::Whole),
        ] {
            assert_eq!(ranged(value, 0), want, "{value:?}");
        }
    }

    proptest! {
        /// A part always lies inside the file and is never empty.
        #[test]
        fn prop_a_part_lies_inside(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", len in any::<u64>()) {
            if let Ranged::Part { start, end_inclusive } = ranged(&value, len) {
                prop_assert!(start <= end_inclusive && end_inclusive < len);
            }
        }

        /// The bytes served are the bytes a plain filter over the offsets would keep.
        #[test]
        fn prop_ranges_agree_with_model(len in 0_u64..40, a in 0_u64..50, b in 0_u64..50, form in 0..3) {
            let (value, keep): (String, Box<dyn Fn(u64) -> bool>) = match form {
                0 => (format!("bytes={a}-{b}"), Box::new(move |at| (a..=b).contains(&at) || b < a)),
                1 => (format!("bytes={a}-"), Box::new(move |at| at >= a)),
                _ => (format!("bytes=-{a}"), Box::new(move |at| at + a >= len)),
            };
            let want: Vec<u64> = (0..len).filter(|at| keep(*at)).collect();
            let got: Vec<u64> = match ranged(&value, len) {
                Ranged::Whole => (0..len).collect(),
                Ranged::Part { start, end_inclusive } => (start..=end_inclusive).collect(),
                Ranged::Unsatisfiable => vec![],
            };
            prop_assert_eq!(got, want, "{} of {}", value, len);
        }

        /// No text makes the parser panic.
        #[test]
        fn prop_never_panics_on_any_text(value in ".*", len in any::<u64>()) {
            let _ = ranged(&value, len);
        }
    }
}
