//! Bounds on what a keystore may be.

/// Bounds of reading a keystore. Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `text_bytes_max` | 4 MiB | thousands of keys |
/// | `keys_max` | 10,000 | a node holds a few |
/// | `label_bytes_max` | 200 | a name, not a letter |
/// | `memory_kib_max` | 1 GiB | what opening a file from elsewhere may take |
/// | `passes_max` | 32 | the same in time |
/// | `lanes_max` | 16 | the same |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest file, in bytes.
    pub text_bytes_max: usize,
    /// Most keys.
    pub keys_max: usize,
    /// Longest label, in bytes.
    pub label_bytes_max: usize,
    /// Most memory that a file may ask for to be opened, in KiB.
    pub memory_kib_max: u32,
    /// Most passes over that memory.
    pub passes_max: u32,
    /// Most lanes.
    pub lanes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes_max: 4 << 20,
            keys_max: 10_000,
            label_bytes_max: 200,
            memory_kib_max: 1 << 20,
            passes_max: 32,
            lanes_max: 16,
        }
    }
}
