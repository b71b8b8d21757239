//! Bounds on what peers can make the machine hold and do.

/// Bounds of a [`Gossip`](crate::Gossip). Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `document_bytes_max` | 32 MiB | longest message in either direction; a chain over it is not sent |
/// | `peers_max` | 125 | connections of both dialects together |
/// | `peers_per_address_max` | 16 | of one address (of IPv6: one /64) outside loopback |
/// | `dial_slots` | 8 | kept free of incoming peers while there are addresses to dial, so that a crowd cannot lock us in |
/// | `targets_max` | 1,000 | addresses to dial; only the owner adds any |
/// | `dials_max` | 8 | dials under way at once |
/// | `retry_ms` | 1,000 to 60,000 | first and longest pause before a broken connection is dialled again; doubles |
/// | `bad_messages_max` | 10 | malformed messages that close a connection |
/// | `inbox_bytes_max` | 1 MiB | of one peer waiting to be looked at; over it the peer is not read |
/// | `inbox_documents_max` | 256 | the same by number |
/// | `inboxes_bytes_max` | 256 MiB | of all peers together |
/// | `tasks_max` | 4 | checks under way at once, one a peer |
/// | `unsent_bytes_max` | 64 MiB | output one peer has not taken; over it the connection ends |
/// | `unmoved_ms` | 60,000 | output of which nothing was taken for so long ends it too |
/// | `window_bytes` | 256 KiB | handed to the driver at once where documents need no pause |
/// | `pause_ms` | 20 | between two documents on TCP: originals lose those that arrive merged; 0 where there are none |
/// | `chain_answer_ms` | 2,000 | one whole chain a peer and tip in that time; a second request is answered later |
/// | `retell_ms` | 3,000 | a tip is not told again before, while its answer may be on the way |
/// | `chain_text_ms` | 10,000 | how long the text of the whole chain is kept after its last use |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest message, in bytes. The driver's codecs hold input to the same.
    pub document_bytes_max: usize,
    /// Most connections.
    pub peers_max: usize,
    /// Most connections of one address outside loopback.
    pub peers_per_address_max: usize,
    /// Places that incoming peers do not get while addresses wait to be dialled, at most one an address.
    pub dial_slots: usize,
    /// Most addresses to dial.
    pub targets_max: usize,
    /// Most dials under way.
    pub dials_max: usize,
    /// First and longest pause before dialling again, in milliseconds.
    pub retry_ms: (u64, u64),
    /// So many malformed messages close a connection.
    pub bad_messages_max: u32,
    /// Bytes of one peer that may wait before it is not read any more. One document more is taken whatever its size.
    pub inbox_bytes_max: usize,
    /// Documents of one peer that may wait before it is not read any more; four times as many end the connection.
    pub inbox_documents_max: usize,
    /// Bytes of all peers that may wait.
    pub inboxes_bytes_max: usize,
    /// Most checks under way.
    pub tasks_max: usize,
    /// Most bytes of output a peer has not taken.
    pub unsent_bytes_max: usize,
    /// Longest time in which a peer takes nothing of its output, in milliseconds.
    pub unmoved_ms: u64,
    /// Most bytes handed to the driver and not yet taken by the peer, but at least one document.
    pub window_bytes: usize,
    /// Pause between two documents on TCP, in milliseconds.
    pub pause_ms: u64,
    /// Pause between two whole chains for one peer and tip, in milliseconds.
    pub chain_answer_ms: u64,
    /// Pause before the same tip is told to a peer that has not answered, in milliseconds.
    pub retell_ms: u64,
    /// How long the text of a whole chain is kept, in milliseconds.
    pub chain_text_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes_max: 32 << 20,
            peers_max: 125,
            peers_per_address_max: 16,
            dial_slots: 8,
            targets_max: 1000,
            dials_max: 8,
            retry_ms: (1000, 60_000),
            bad_messages_max: 10,
            inbox_bytes_max: 1 << 20,
            inbox_documents_max: 256,
            inboxes_bytes_max: 256 << 20,
            tasks_max: 4,
            unsent_bytes_max: 64 << 20,
            unmoved_ms: 60_000,
            window_bytes: 256 << 10,
            pause_ms: 20,
            chain_answer_ms: 2000,
            retell_ms: 3000,
            chain_text_ms: 10_000,
        }
    }
}

impl Limits {
    /// Sets the longest message, in bytes.
    #[must_use]
    pub const fn with_document_bytes_max(mut self, bytes: usize) -> Self {
        self.document_bytes_max = bytes;
        self
    }

    /// Sets the most connections, in all and of one address.
    #[must_use]
    pub const fn with_peers_max(mut self, all: usize, per_address: usize) -> Self {
        self.peers_max = all;
        self.peers_per_address_max = per_address;
        self
    }

    /// Sets the pause between two documents on TCP, in milliseconds.
    #[must_use]
    pub const fn with_pause_ms(mut self, ms: u64) -> Self {
        self.pause_ms = ms;
        self
    }

    /// Sets how much output a peer may leave untaken, in bytes, and for how long, in milliseconds.
    #[must_use]
    pub const fn with_unsent_max(mut self, bytes: usize, unmoved_ms: u64) -> Self {
        self.unsent_bytes_max = bytes;
        self.unmoved_ms = unmoved_ms;
        self
    }

    /// Sets how much of one peer may wait to be looked at, in bytes and documents.
    #[must_use]
    pub const fn with_inbox_max(mut self, bytes: usize, documents: usize) -> Self {
        self.inbox_bytes_max = bytes;
        self.inbox_documents_max = documents;
        self
    }

    /// Sets how many checks are under way at once.
    #[must_use]
    pub const fn with_tasks_max(mut self, tasks: usize) -> Self {
        self.tasks_max = tasks;
        self
    }
}
