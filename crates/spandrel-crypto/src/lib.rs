//! Keys, key derivation and message authentication that never print a secret.
