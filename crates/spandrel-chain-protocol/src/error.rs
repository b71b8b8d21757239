//! Why a text is no block, row, receipt or message.

/// A text is not what it should be.
///
/// Three kinds matter to a driver: what is no JSON at all breaks a stream ([`is_json`](Self::is_json) is false),
/// what has another shape costs its sender points ([`is_shape`](Self::is_shape)), and what has the shape and a value no rule
/// allows is refused and costs nothing, since older programs send such things in good faith.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// The text breaks off or is no JSON. On a stream without frames the position is lost: close it.
    #[error("not JSON at byte {at}: {expected} expected")]
    Json {
        /// Offset of the first byte that does not fit.
        at: usize,
        /// What would have fitted.
        expected: &'static str,
    },
    /// Brackets nest deeper than the dialects allow. Close the stream.
    #[error("JSON nests deeper than {max} at byte {at}")]
    TooDeep {
        /// Offset of the bracket that is too much.
        at: usize,
        /// The deepest that is read.
        max: usize,
    },
    /// The text is longer than the limit. Close the stream.
    #[error("document of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Bytes of the text.
        len: usize,
        /// The most that is read.
        max: usize,
    },
    /// A member has a type of JSON that it never has.
    #[error("{member} should be {want}")]
    Type {
        /// Name of the member, or of what was being read.
        member: &'static str,
        /// The type it should have.
        want: &'static str,
    },
    /// A member that is always there is not.
    #[error("{object} has no {member}")]
    Missing {
        /// What was being read.
        object: &'static str,
        /// The member it lacks.
        member: &'static str,
    },
    /// A member stands there twice, so readers could disagree about it.
    #[error("{object} has {member:?} twice")]
    Repeated {
        /// What was being read.
        object: &'static str,
        /// The member, at most its first 40 characters.
        member: String,
    },
    /// A member has the right type and a value that it never has.
    #[error("{member} should be {want}")]
    Value {
        /// Name of the member.
        member: &'static str,
        /// The values it may have.
        want: &'static str,
    },
    /// An escape in a string is half of a pair: the string has no UTF-8 form, and no hash.
    #[error("string with an unpaired surrogate escape at byte {at}")]
    Surrogate {
        /// Offset of the escape.
        at: usize,
    },
}

impl FormError {
    /// Was the text JSON within the limits, so that what follows it on a stream can still be read?
    #[must_use]
    pub const fn is_json(&self) -> bool {
        !matches!(self, Self::Json { .. } | Self::TooDeep { .. } | Self::TooLong { .. })
    }

    /// Has the text another shape than its kind? Such a message counts against its sender.
    #[must_use]
    pub const fn is_shape(&self) -> bool {
        matches!(self, Self::Type { .. } | Self::Missing { .. } | Self::Repeated { .. })
    }
}
