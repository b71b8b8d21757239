//! What HTTP faces share: ranges and conditional requests, problem replies, origin rules, signed URLs, metrics.
