//! What the tests of the layers share.

use serde_json::Value;
use spandrel_crypto::SecretKey;

use super::{
    Entropy, KeyId, Layers, LayersConfig, SealForm, SealKeys, Sealing, Side, Signer, Signing, signing_key,
};

pub(super) fn text<'a>(case: &'a Value, member: &str) -> &'a str {
    case[member].as_str().unwrap_or_else(|| panic!("{member} missing in {case}"))
}

pub(super) fn number(case: &Value, member: &str) -> u64 {
    case[member].as_u64().unwrap_or_else(|| panic!("{member} missing in {case}"))
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

pub(super) fn array<const N: usize>(hex: &str) -> [u8; N] {
    unhex(hex).try_into().expect("of that length")
}

pub(super) fn secret() -> SecretKey {
    SecretKey::from_bytes([0x11; 32])
}

pub(super) fn kid() -> KeyId {
    KeyId::new("k1").expect("a key id")
}

pub(super) fn signer(mode: Signing) -> Signer {
    Signer { kid: kid(), key: signing_key(&secret()), mode }
}

pub(super) fn keys() -> SealKeys {
    SealKeys::derive(&secret(), &[1; 16], &[2; 16])
}

/// Random enough for a test: different for each `n`.
pub(super) fn entropy(n: u8) -> Entropy {
    Entropy { nonce: [n; 16], iv: [n; 12] }
}

/// Which layers a pair has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stack {
    pub(super) deflates: bool,
    pub(super) seals: bool,
    pub(super) signing: Option<Signing>,
    pub(super) form: SealForm,
}

impl Stack {
    pub(super) const PLAIN: Self =
        Self { deflates: false, seals: false, signing: None, form: SealForm::Binary };

    pub(super) fn config(self, side: Side) -> LayersConfig {
        let mut config = LayersConfig::new(side);
        config.deflates = self.deflates;
        config.sealing = if self.seals { Sealing::Keys(keys()) } else { Sealing::Off };
        config.signer = self.signing.map(signer);
        config.form = self.form;
        config
    }

    pub(super) fn layers(self, side: Side) -> Layers {
        Layers::new(self.config(side))
    }

    /// Client and server.
    pub(super) fn pair(self) -> (Layers, Layers) {
        (self.layers(Side::Client), self.layers(Side::Server))
    }
}
