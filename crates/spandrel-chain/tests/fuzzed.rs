//! The fuzz function on many scripts, so that it is known to reach forks and rows.

/// Numbers from a seed, as bytes.
fn script(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..300)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

#[test]
fn many_scripts_agree_with_the_model() {
    for seed in 1..400 {
        spandrel_chain::fuzz::fuzz_chain_actions(&script(seed));
    }
}
