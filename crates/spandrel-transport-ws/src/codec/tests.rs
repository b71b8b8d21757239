//! The codec alone.
