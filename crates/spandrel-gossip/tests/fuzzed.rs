//! The fuzz functions on many scripts, so that they are known to get somewhere.

use spandrel_gossip::fuzz::{fuzz_ingchain_peer, fuzz_jenny_peer};

/// Numbers from a seed, as bytes.
fn script(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..1200)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn seeds() -> std::ops::Range<u64> {
    if std::env::var_os("SPANDREL_LONG").is_some() { 1..20_000 } else { 1..300 }
}

#[test]
fn many_scripts_of_jenny_peers() {
    seeds().for_each(|seed| fuzz_jenny_peer(&script(seed)));
}

#[test]
fn many_scripts_of_ingchain_peers() {
    seeds().for_each(|seed| fuzz_ingchain_peer(&script(seed)));
}
