//! Numbers as text, written into a byte slice that is known to be long enough.
//!
//! Everything here writes at `at` and returns the position after it. Fixed-width stores over-write a few bytes
//! past the end of the number; the next cell writes over them.

/// Bytes a writer may touch past the start of any number: the longest text plus the widest over-write.
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

/// A decimal stored as `v` units of 10^-scale; keeps the scale.
#[inline]
pub(crate) fn decimal(out: &mut [u8], at: usize, v: i128, scale: i8) -> usize {
    let (magnitude, negative) = (v.unsigned_abs(), v < 0);
    if let (Ok(small), 0..=18) = (u64::try_from(magnitude), scale) {
        let mut at = at;
        if negative {
            at = byte(out, at, b'-');
        }
        let unit = POWERS.get(usize::from(scale.unsigned_abs())).copied().unwrap_or(1);
        at = unsigned(out, at, small / unit);
        if scale == 0 {
            return at;
        }
        at = byte(out, at, b'.');
        return fixed_wide(out, at, small % unit, usize::from(scale.unsigned_abs()));
    }
    decimal_text(out, at, negative, &magnitude.to_string(), scale)
}

/// A decimal from its unscaled ASCII digits, for widths past 64 bits and negative scales.
pub(crate) fn decimal_text(out: &mut [u8], at: usize, negative: bool, digits: &str, scale: i8) -> usize {
    let mut text = String::with_capacity(digits.len() + 8);
    if negative {
        text.push('-');
    }
    match usize::try_from(scale) {
        Ok(0) => text.push_str(digits),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            text.push_str(whole);
            text.push('.');
            text.push_str(fraction);
        }
        // A negative scale has no fraction digits; zero stays a single digit.
        Err(_) if digits == "0" => text.push('0'),
        Err(_) => {
            text.push_str(digits);
            text.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
    }
    bytes(out, at, text.as_bytes())
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
            (i128::MAX, 38, "1.70141183460469231731687303715884105727"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
            (1_844_674_407_370_955_161_500, 2, "18446744073709551615.00"),
        ] {
            assert_eq!(text(|o| decimal(o, 0, v, scale)), want);
        }
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
        fn prop_decimals_keep_digits(v in proptest::num::i128::ANY, small in proptest::num::i64::ANY, scale in 0_i8..38) {
            for v in [v, i128::from(small)] {
                let t = text(|o| decimal(o, 0, v, scale));
                let fraction = t.split_once('.').map_or(0, |(_, f)| f.len());
                proptest::prop_assert_eq!(fraction, usize::from(scale.unsigned_abs()));
                proptest::prop_assert_eq!(t.replace('.', "").parse::<i128>().unwrap(), v);
            }
        }
    }
}
