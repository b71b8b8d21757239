//! Strict DER of a signature, the same for every library behind it.

use spandrel_chain_protocol::SignatureText;

/// Reads `30 len 02 len r 02 len s` with nothing before, between or after, both numbers positive and as short as they
/// can be. Returns r and s, 32 bytes each. Whether they are in range is for the curve to say.
#[must_use]
pub fn strict_der(der: &[u8]) -> Option<[u8; 64]> {
    let body = match der {
        [0x30, len, body @ ..] if usize::from(*len) == body.len() && *len < 0x80 => body,
        _ => return None,
    };
    let mut compact = [0; 64];
    let (r, s) = compact.split_at_mut(32);
    let rest = integer(body, r)?;
    let rest = integer(rest, s)?;
    rest.is_empty().then_some(compact)
}

/// Reads one integer into 32 bytes and returns what follows.
fn integer<'a>(body: &'a [u8], into: &mut [u8]) -> Option<&'a [u8]> {
    let [0x02, len, rest @ ..] = body else { return None };
    let (digits, rest) = rest.split_at_checked(usize::from(*len))?;
    let digits = match digits {
        [] | [0x80..=0xff, ..] => return None, // nothing, or below zero
        [0, 0..0x80, ..] => return None,       // a zero too many
        [0, tail @ ..] if !tail.is_empty() => tail,
        all => all,
    };
    let start = into.len().checked_sub(digits.len())?;
    into.get_mut(start..)?.copy_from_slice(digits);
    Some(rest)
}

/// Writes r and s, 32 bytes each, the one way [`strict_der`] reads them.
#[must_use]
pub fn write_der(compact: &[u8; 64]) -> SignatureText {
    let (r, s) = compact.split_at(32);
    let mut der = vec![0x30, 0];
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(31);
        let digits = number.get(zeros..).unwrap_or_default();
        let sign = usize::from(digits.first().is_some_and(|byte| *byte >= 0x80));
        der.push(0x02);
        der.push(u8::try_from(digits.len() + sign).unwrap_or_default());
        der.extend(std::iter::repeat_n(0, sign));
        der.extend_from_slice(digits);
    }
    let len = u8::try_from(der.len() - 2).unwrap_or_default();
    if let Some(slot) = der.get_mut(1) {
        *slot = len;
    }
    SignatureText::from_der(&der).expect("two numbers of 32 bytes take at most 72")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written is read back.
        #[test]
        fn prop_roundtrip_der(mut compact in any::<[u8; 64]>(), zeros in 0_usize..40, at in 0_usize..2) {
            compact[at * 32..at * 32 + zeros.min(32)].fill(0);
            let written = write_der(&compact);
            prop_assert_eq!(written.der().and_then(strict_der), Some(compact));
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split(' ').collect();
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn only_one_spelling_is_read() {
        let long = "11".repeat(32);
        for (name, hex, ok) in [
            ("one and one", "30 06 0201 01 0201 01".to_owned(), true),
            ("zero is in form", "30 06 0201 00 0201 00".to_owned(), true),
            ("high bit behind a zero", "30 08 0202 0080 0202 00ff".to_owned(), true),
            ("32 bytes", format!("30 44 0220 {long} 0220 {long}"), true),
            ("33 bytes with a zero", format!("30 46 0221 00ff{} 0221 00ee{}", &long[2..], &long[2..]), true),
            ("33 bytes without", format!("30 45 0221 11{long} 0220 {long}"), false),
            ("34 bytes", format!("30 47 0222 00ff{long} 0221 00ff{}", &long[2..]), false),
            ("empty", String::new(), false),
            ("only a head", "30 00".to_owned(), false),
            ("no sequence", "31 06 0201 01 0201 01".to_owned(), false),
            ("no integer", "30 06 0301 01 0201 01".to_owned(), false),
            ("second is no integer", "30 06 0201 01 0401 01".to_owned(), false),
            ("length too short", "30 05 0201 01 0201 01".to_owned(), false),
            ("length too long", "30 07 0201 01 0201 01".to_owned(), false),
            ("trailing byte outside", "30 06 0201 01 0201 01 00".to_owned(), false),
            ("trailing byte inside", "30 07 0201 01 0201 01 00".to_owned(), false),
            ("long form of a length", "30 8106 0201 01 0201 01".to_owned(), false),
            ("indefinite length", "30 80 0201 01 0201 01 0000".to_owned(), false),
            ("empty integer", "30 05 0200 0201 01".to_owned(), false),
            ("negative", "30 06 0201 80 0201 01".to_owned(), false),
            ("negative second", "30 06 0201 01 0201 ff".to_owned(), false),
            ("a zero too many", "30 07 0202 0001 0201 01".to_owned(), false),
            ("a zero too many in the second", "30 07 0201 01 0202 007f".to_owned(), false),
            ("one integer", "30 03 0201 01".to_owned(), false),
            ("three integers", "30 09 0201 01 0201 01 0201 01".to_owned(), false),
            ("integer runs over the end", "30 06 0201 01 0202 01".to_owned(), false),
        ] {
            assert_eq!(strict_der(&bytes(&hex)).is_some(), ok, "{name}: {hex}");
        }
        let read = strict_der(&bytes("30 08 0202 0080 0202 00ff")).unwrap();
        assert_eq!((read[31], read[63], read.iter().filter(|b| **b != 0).count()), (0x80, 0xff, 2));
    }
}
