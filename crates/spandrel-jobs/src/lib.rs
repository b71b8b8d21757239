//! Job table of an export server as a pure machine: states, slots, fairness, idempotency, retention.
