//! The two operations on the curve, by whichever library is built in. Both give the same bytes.

#[cfg(feature = "k256")]
#[cfg_attr(
    all(feature = "secp256k1", not(test)),
    allow(dead_code, reason = "the C library is taken when both are there")
)]
pub(crate) mod pure;
#[cfg(feature = "secp256k1")]
pub(crate) mod secp;

#[cfg(all(feature = "k256", not(feature = "secp256k1")))]
pub(crate) use pure::{public_key, sign};
#[cfg(feature = "secp256k1")]
pub(crate) use secp::{public_key, sign};

#[cfg(not(any(feature = "secp256k1", feature = "k256")))]
compile_error!("keys need a curve: switch on the feature secp256k1 (the default) or k256");
