//! Typed filter values (protocol section 6).

use std::cmp::Ordering;

use crate::Timestamp;

/// A filter value of its column's type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// For `string` columns.
    String(String),
    /// For `int` columns.
    Int(i64),
    /// For `decimal` columns.
    Decimal(Decimal),
    /// For `float` columns; always finite.
    Float(f64),
    /// For `bool` columns.
    Bool(bool),
    /// For `timestamp` columns.
    Timestamp(Timestamp),
}

/// An exact decimal of any length, normalised: no leading or trailing zero digits, zero is empty and positive.
///
/// The value is `0.d1d2d3… × 10^exponent`, so two decimals compare by sign, then exponent, then digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    exponent: i32,
    digits: Vec<u8>,
}

impl Decimal {
    /// Reads `-?digits[.digits]`; `None` for anything else (exponents included).
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match rest.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (rest, ""),
        };
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        Some(Self::from_digits(
            negative,
            whole.bytes().chain(fraction.bytes()),
            i32::try_from(whole.len()).ok()?,
        ))
    }

    /// From ASCII digits with the decimal point after `point` of them.
    pub fn from_digits(negative: bool, digits: impl Iterator<Item = u8>, point: i32) -> Self {
        let mut exponent = point;
        let mut out: Vec<u8> = Vec::new();
        for digit in digits {
            if out.is_empty() && digit == b'0' {
                exponent = exponent.saturating_sub(1);
            } else {
                out.push(digit);
            }
        }
        while out.last() == Some(&b'0') {
            out.pop();
        }
        if out.is_empty() {
            return Self { negative: false, exponent: 0, digits: out };
        }
        Self { negative, exponent, digits: out }
    }

    /// Below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Power of ten in front of the first digit.
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Significant ASCII digits; empty for zero.
    pub fn digits(&self) -> &[u8] {
        &self.digits
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |d: &Self| match (d.digits.is_empty(), d.negative) {
            (true, _) => 0_i8,
            (false, true) => -1,
            (false, false) => 1,
        };
        rank(self).cmp(&rank(other)).then_with(|| {
            let magnitude = self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
            if self.negative { magnitude.reverse() } else { magnitude }
        })
    }
}

impl Value {
    /// Order of two values of one type; `None` across types.
    pub fn partial_cmp_same(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Decimal(a), Self::Decimal(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}
