//! Session policies as pure machines: heartbeat, progress batching, reconnect backoff, rate limits.
