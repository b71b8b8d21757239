//! Entries for the fuzzer: nothing here may panic, whatever the bytes.

use crate::{Keystore, Limits, PrivateKey};

/// A keystore from elsewhere, and a key from elsewhere. The bounds keep a try cheap.
pub fn fuzz_keystore(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let limits = Limits { memory_kib_max: 64, passes_max: 2, lanes_max: 2, ..Limits::default() };
    if let Ok(keystore) = Keystore::open(text, b"secret", limits.clone()) {
        let again = keystore.seal([1; 12]).expect("what was opened can be sealed");
        let again = Keystore::open(&again, b"secret", limits).expect("and opened");
        assert_eq!(again.keys().len(), keystore.keys().len());
    }
    if let Ok(key) = PrivateKey::from_hex(text) {
        assert!(!format!("{key:?}").contains(text), "a key shows itself");
    }
}
