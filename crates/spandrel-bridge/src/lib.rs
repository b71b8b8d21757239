//! A hardware bridge as a pure machine: rooms, host and client mode, take-over, holding and routing.
