//! Numbers as text, written into a byte slice that is known to be long enough.
//!
//! Nearly everything here writes at `at` and returns the position after it. Fixed-width stores over-write a few bytes
//! past the end of the number; the next cell writes over them.

use crate::Text;

/// Bytes a writer may touch past the start of any number: the longest text, its quotes and the widest over-write.
///
/// The longest texts: an integer 20, a float 25, a decimal of 64 bits 40, a timestamp 58 (a sign and the 22 digits of
/// the furthest year, month to second 15, fraction 10, offset 6, and what one block copies). [`Text::with`] checks it.
pub(crate) const NUMBER_ROOM: usize = 128;

/// Eight decimal digits of `v` (below 10^8) as one byte each, most significant in the lowest byte.
#[inline]
fn eight(v: u32) -> u64 {
    let v = u64::from(v);
    let merged = (v / 10_000) | ((v % 10_000) << 32);
    let top = ((merged * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let hundreds = top | ((merged - 100 * top) << 16);
    let tens = ((hundreds * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((hundreds - 10 * tens) << 8)
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

#[inline]
fn store(out: &mut [u8], at: usize, bytes: u64) {
    if let Some(slot) = out.get_mut(at..at + 8) {
        slot.copy_from_slice(&bytes.to_le_bytes());
    }
}

/// `v` below 10^8 with exactly `width` digits, 1 to 8.
#[inline]
pub(crate) fn fixed(out: &mut [u8], at: usize, v: u32, width: usize) -> usize {
    store(out, at, (eight(v) | ZEROS) >> (8 * (8 - width)));
    at + width
}

/// `v` with exactly `width` digits, 0 to 19.
#[inline]
pub(crate) fn fixed_wide(out: &mut [u8], at: usize, v: u64, width: usize) -> usize {
    if width == 0 {
        return at;
    }
    if width <= 8 {
        return fixed(out, at, low(v), width);
    }
    let at = fixed_wide(out, at, v / 100_000_000, width - 8);
    fixed(out, at, low(v % 100_000_000), 8)
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass values below 10^8")]
#[inline]
fn low(v: u64) -> u32 {
    v as u32
}

/// Shortest decimal of `v`.
#[inline]
pub(crate) fn unsigned(out: &mut [u8], at: usize, v: u64) -> usize {
    if v < 100_000_000 {
        let digits = eight(low(v));
        // The first nonzero byte is the first digit; zero itself keeps one.
        let skip = ((digits | (1 << 56)).trailing_zeros() / 8) as usize;
        store(out, at, (digits | ZEROS) >> (8 * skip));
        return at + 8 - skip;
    }
    let at = unsigned(out, at, v / 100_000_000);
    fixed(out, at, low(v % 100_000_000), 8)
}

/// Shortest decimal of `v`.
#[inline]
pub(crate) fn signed(out: &mut [u8], at: usize, v: i64) -> usize {
    if v < 0 {
        if let Some(b) = out.get_mut(at) {
            *b = b'-';
        }
        return unsigned(out, at + 1, v.unsigned_abs());
    }
    unsigned(out, at, v.unsigned_abs())
}

/// A decimal stored as `small` units of 10^-scale, `scale` 0 to 18; keeps the scale.
#[inline]
pub(crate) fn decimal(out: &mut [u8], at: usize, is_negative: bool, small: u64, scale: usize) -> usize {
    let mut at = at;
    if is_negative {
        at = byte(out, at, b'-');
    }
    let unit = POWERS.get(scale).copied().unwrap_or(1);
    at = unsigned(out, at, small / unit);
    if scale == 0 {
        return at;
    }
    at = byte(out, at, b'.');
    fixed_wide(out, at, small % unit, scale)
}

/// A decimal of any width and scale from its unscaled digits with their sign, as `Display` prints an integer.
pub(crate) fn long_decimal(text: &mut Text, unscaled: &str, scale: i8) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    text.push(sign.as_bytes());
    let fraction = usize::try_from(scale).unwrap_or(0);
    let (whole, rest) = digits.split_at(digits.len().saturating_sub(fraction));
    text.push(if whole.is_empty() { b"0" } else { whole.as_bytes() });
    if fraction > 0 {
        text.push(b".");
        zeros(text, fraction - rest.len());
        text.push(rest.as_bytes());
    }
    // A negative scale has no fraction digits; zero stays a single digit.
    if scale < 0 && digits != "0" {
        zeros(text, usize::from(scale.unsigned_abs()));
    }
}

fn zeros(text: &mut Text, count: usize) {
    const ZEROS: [u8; 128] = [b'0'; 128]; // as many as a scale of 8 bits can ask for
    text.push(ZEROS.get(..count).unwrap_or(&ZEROS));
}

const POWERS: [u64; 19] = {
    let mut powers = [1_u64; 19];
    let mut i = 1;
    while i < 19 {
        #[expect(clippy::indexing_slicing, reason = "i is below the length")]
        {
            powers[i] = powers[i - 1] * 10;
        }
        i += 1;
    }
    powers
};

/// A finite binary64 as ECMAScript `Number::toString` prints it.
///
/// The shortest digits come from `zmij`; its own layout differs from ECMAScript's only outside 1e-5 … 1e16 and in a
/// trailing `.0`.
#[inline]
pub(crate) fn float(out: &mut [u8], at: usize, v: f64) -> usize {
    if v == 0.0 {
        return byte(out, at, b'0'); // minus zero prints as 0
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(v).as_bytes();
    let size = v.abs();
    if (1e-5..1e15).contains(&size) {
        return bytes(out, at, text.strip_suffix(b".0").unwrap_or(text));
    }
    ecmascript(out, at, text)
}

/// Lays out the digits of `text` (any of zmij's forms) as ECMAScript does.
#[cold]
fn ecmascript(out: &mut [u8], at: usize, text: &[u8]) -> usize {
    let (negative, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.iter().position(|b| *b == b'e') {
        Some(e) => {
            let exponent = rest.get(e + 1..).and_then(|t| std::str::from_utf8(t).ok());
            (rest.get(..e).unwrap_or(rest), exponent.and_then(|t| t.parse::<i32>().ok()).unwrap_or(0))
        }
        None => (rest, 0),
    };
    let point = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let all: Vec<u8> = mantissa.iter().copied().filter(|b| *b != b'.').collect();
    let zeros = all.iter().take_while(|b| **b == b'0').count();
    let digits: &[u8] = all.get(zeros..).unwrap_or(&[]);
    let kept = digits.iter().rposition(|b| *b != b'0').map_or(0, |p| p + 1);
    let digits = digits.get(..kept).unwrap_or(digits);
    let signed = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    // n of ECMA-262 Number::toString: the value is 0.digits × 10^n.
    let (n, k) = (signed(point) - signed(zeros) + exponent, signed(digits.len()));
    let mut s: Vec<u8> = Vec::with_capacity(32);
    if negative {
        s.push(b'-');
    }
    let split = usize::try_from(n).unwrap_or(0).min(digits.len());
    let (whole, fraction) = digits.split_at(split);
    if k <= n && n <= 21 {
        s.extend_from_slice(digits);
        s.extend(std::iter::repeat_n(b'0', usize::try_from(n - k).unwrap_or(0)));
    } else if 0 < n && n <= 21 {
        s.extend_from_slice(whole);
        s.push(b'.');
        s.extend_from_slice(fraction);
    } else if -6 < n && n <= 0 {
        s.extend_from_slice(b"0.");
        s.extend(std::iter::repeat_n(b'0', usize::try_from(-n).unwrap_or(0)));
        s.extend_from_slice(digits);
    } else {
        let (first, more) = digits.split_at(1.min(digits.len()));
        s.extend_from_slice(first);
        if !more.is_empty() {
            s.push(b'.');
            s.extend_from_slice(more);
        }
        let e = n - 1;
        s.extend_from_slice(if e < 0 { b"e-" } else { b"e+" });
        s.extend_from_slice(e.unsigned_abs().to_string().as_bytes());
    }
    bytes(out, at, &s)
}

/// One byte.
#[inline]
pub(crate) fn byte(out: &mut [u8], at: usize, b: u8) -> usize {
    if let Some(slot) = out.get_mut(at) {
        *slot = b;
    }
    at + 1
}

/// A run of bytes.
#[inline]
pub(crate) fn bytes(out: &mut [u8], at: usize, from: &[u8]) -> usize {
    let end = at + from.len();
    if let Some(slot) = out.get_mut(at..end) {
        slot.copy_from_slice(from);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut [u8]) -> usize) -> String {
        let mut out = vec![0; NUMBER_ROOM];
        let end = write(&mut out);
        String::from_utf8(out[..end].to_vec()).unwrap()
    }

    #[test]
    fn floats_follow_ecmascript() {
        for (v, want) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (0.000_025, "0.000025"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (0.1, "0.1"),
            (0.00001, "0.00001"),
            (100.0, "100"),
        ] {
            assert_eq!(text(|o| float(o, 0, v)), want);
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (v, scale, want) in [
            (150_i128, 2, "1.50"),
            (5, 2, "0.05"),
            (-5, 3, "-0.005"),
            (0, 4, "0.0000"),
            (7, 0, "7"),
            (7, -2, "700"),
            (0, -2, "0"),
            (
                -7,
                i8::MIN,
                concat!(
                    "-7",
                    "00000000000000000000000000000000",
                    "00000000000000000000000000000000",
                    "00000000000000000000000000000000",
                    "00000000000000000000000000000000"
                ),
            ),
            (i128::MAX, 39, "0.170141183460469231731687303715884105727"),
            (i128::MAX, 38, "1.70141183460469231731687303715884105727"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
            (1_844_674_407_370_955_161_500, 2, "18446744073709551615.00"),
        ] {
            assert_eq!(decimal_text(v, scale), want);
        }
    }

    #[test]
    fn every_pair_of_digits_is_right_in_both_halves() {
        for v in 0..10_000 {
            assert_eq!(text(|o| fixed(o, 0, v, 8)), format!("{v:08}"));
            assert_eq!(text(|o| fixed(o, 0, v * 10_000, 8)), format!("{:08}", v * 10_000));
        }
    }

    /// Both ways of printing a decimal, where both apply.
    fn decimal_text(v: i128, scale: i8) -> String {
        let mut long = Text::new();
        long_decimal(&mut long, &v.to_string(), scale);
        let long = String::from_utf8(long.as_bytes().to_vec()).unwrap();
        if let (Ok(small), Ok(scale @ 0..=18)) = (u64::try_from(v.unsigned_abs()), usize::try_from(scale)) {
            assert_eq!(text(|o| decimal(o, 0, v < 0, small, scale)), long);
        }
        long
    }

    proptest::proptest! {
        /// Integers print as the standard library prints them.
        #[test]
        fn prop_integers_agree_with_std(v in proptest::num::i64::ANY) {
            proptest::prop_assert_eq!(text(|o| signed(o, 0, v)), v.to_string());
            proptest::prop_assert_eq!(text(|o| unsigned(o, 0, v.unsigned_abs() % 100_000)), (v.unsigned_abs() % 100_000).to_string());
        }

        /// A printed float reads back to the same bits and is as short as ryu's.
        #[test]
        fn prop_floats_read_back(bits in proptest::num::u64::ANY) {
            let v = f64::from_bits(bits);
            if v.is_finite() {
                let t = text(|o| float(o, 0, v));
                let back: f64 = t.parse().unwrap();
                proptest::prop_assert!(back == v);
                let digits = |s: &str| s.split('e').next().unwrap().bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
                let trim = |d: Vec<u8>| { let s = String::from_utf8(d).unwrap(); s.trim_matches('0').to_owned() };
                let shortest = ryu::Buffer::new().format_finite(v).to_owned();
                proptest::prop_assert_eq!(trim(digits(&t)).len(), trim(digits(&shortest)).len());
            }
        }

        /// A decimal prints its unscaled digits with the point moved.
        #[test]
        fn prop_decimals_keep_digits(v in proptest::num::i128::ANY, small in proptest::num::i64::ANY, scale in 0_i8..=127) {
            for v in [v, i128::from(small), i128::from(small % 100)] {
                let t = decimal_text(v, scale);
                let fraction = t.split_once('.').map_or(0, |(_, f)| f.len());
                proptest::prop_assert_eq!(fraction, usize::from(scale.unsigned_abs()));
                proptest::prop_assert!(t.trim_start_matches('-').split('.').next().is_some_and(|w| w == "0" || !w.starts_with('0')));
                let negative = t.starts_with('-');
                let digits = t.replace(['.', '-'], "");
                let digits = digits.trim_start_matches('0');
                proptest::prop_assert_eq!(if digits.is_empty() { "0" } else { digits }, v.unsigned_abs().to_string());
                proptest::prop_assert_eq!(negative, v < 0);
            }
        }
    }
}
