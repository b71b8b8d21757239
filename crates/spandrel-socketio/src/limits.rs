//! Bounds on everything a peer can make grow.

/// Bounds of one session. Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `message_bytes_max` | 32 MiB | one Socket.IO packet with its attachments; larger ones end the session |
/// | `payload_bytes_max` | 48 MiB | one polling body: base64 makes the largest message a third longer |
/// | `packets_per_payload_max` | 16,384 | a page that emits each millisecond through a POST of 16 s; 640 KiB of frames |
/// | `attachments_max` | 64 | buffers of one packet: each is a frame of its own and awaited by name, and a hardware message carries one or two |
/// | `acks_max` | 1,024 | acknowledgements a client waits for at once: an answer that never comes must not hold memory for ever |
/// | `queued_bytes_max` | 8 MiB | packets a client holds for a peer that does not read (one larger packet is taken when nothing else waits) |
/// | `queued_frames_max` | 16,384 | the same in frames, so that tiny ones have a bound too |
///
/// Not a field because a [`Value`](crate::Value) is made without limits: JSON nests at most
/// [`Value::DEPTH_MAX`](crate::Value::DEPTH_MAX) = 1,024 levels; whatever reads our lines may be recursive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest packet, its attachments included, in bytes.
    pub message_bytes_max: usize,
    /// Longest polling body, in bytes.
    pub payload_bytes_max: usize,
    /// Most packets in one polling body.
    pub packets_per_payload_max: usize,
    /// Most attachments of one packet.
    pub attachments_max: usize,
    /// Most acknowledgements awaited at once.
    pub acks_max: usize,
    /// Most bytes that wait to be sent.
    pub queued_bytes_max: usize,
    /// Most frames that wait to be sent.
    pub queued_frames_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 32 << 20,
            payload_bytes_max: 48 << 20,
            packets_per_payload_max: 16_384,
            attachments_max: 64,
            acks_max: 1024,
            queued_bytes_max: 8 << 20,
            queued_frames_max: 16_384,
        }
    }
}

impl Limits {
    /// Sets the longest packet, its attachments included, in bytes; the longest polling body becomes half as long again.
    #[must_use]
    pub const fn with_message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self.payload_bytes_max = bytes.saturating_add(bytes / 2).saturating_add(1024);
        self
    }

    /// Sets how much may wait to be sent, in bytes and in frames.
    #[must_use]
    pub const fn with_queued_max(mut self, bytes: usize, frames: usize) -> Self {
        self.queued_bytes_max = bytes;
        self.queued_frames_max = frames;
        self
    }
}
