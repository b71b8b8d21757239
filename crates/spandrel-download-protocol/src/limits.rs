//! Bounds on what a stranger may write.

/// Bounds of the vocabulary; every field has the protocol's value as default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a message or HTTP body, 1,048,576: one parse costs a known amount of memory.
    pub message_bytes_max: usize,
    /// Levels of arrays and objects in a message, 128: the reader recurses.
    pub json_depth_max: usize,
    /// Selected columns, 256.
    pub columns_max: usize,
    /// Sort keys, 4: each costs key bytes per row of an external sort.
    pub sort_keys_max: usize,
    /// Levels of a filter, 8: evaluation recurses per row group.
    pub filter_depth_max: usize,
    /// Leaves of all filters together, 256: each costs time on every row.
    pub filter_leaves_max: usize,
    /// Entries of one `and` or `or`, 256.
    pub group_entries_max: usize,
    /// Values of one `in`, 1000.
    pub in_values_max: usize,
    /// Bytes of one text or number in a filter, 4096.
    pub filter_value_bytes_max: usize,
    /// Rows of one part, 500,000: what spreadsheets still open.
    pub rows_per_part_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            json_depth_max: 128,
            columns_max: 256,
            sort_keys_max: 4,
            filter_depth_max: 8,
            filter_leaves_max: 256,
            group_entries_max: 256,
            in_values_max: 1000,
            filter_value_bytes_max: 4096,
            rows_per_part_max: 500_000,
        }
    }
}
