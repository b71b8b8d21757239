//! Keys, receipts, choices and keystores.

use proptest::prelude::*;
use spandrel_chain_protocol::{Account, Amount, OutPoint, OutputIndex, ReceiptNonce, SignatureText, Txid};
use spandrel_consensus::check_of;

use crate::*;

const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes(&[seed; 32]).unwrap()
}

fn amount(coins: u64) -> Amount {
    Amount::new(coins).unwrap()
}

/// Private key, public key.
const KEYS: &[(&str, &str)] = &[
    (
        "6fb6a1482159a4b05a96636d0a390f7be0f29552c1a2edef79e83998221bc261",
        "02c94e0e599b53ddfec96ec3e2a7f413bcd5bf5d7272eb3bf3570c79caac848aac",
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000000001",
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
    (
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
        "0379be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
    (
        "1111111111111111111111111111111111111111111111111111111111111111",
        "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
    ),
    (
        "2222222222222222222222222222222222222222222222222222222222222222",
        "02466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f27",
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000c0ffee",
        "032a5bbcb0eede528e6abe5f2ec50ad7887eb5677af383a460b05ee23bf892dfe5",
    ),
];

#[test]
fn keys_of_the_table_own_their_accounts() {
    for (private, public) in KEYS {
        let key = PrivateKey::from_hex(private).unwrap();
        assert_eq!(key.public_key().to_string(), *public);
        assert_eq!(key.account().to_string(), public[26..]);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    for (name, text) in [
        ("zero", "0".repeat(64)),
        ("the order", order.to_owned()),
        ("over the order", "f".repeat(64)),
        ("upper case", KEYS[0].0.to_uppercase()),
        ("short", "1".repeat(63)),
        ("long", "1".repeat(65)),
        ("empty", String::new()),
        ("no digits", "g".repeat(64)),
        ("not ASCII", "é".repeat(32)),
    ] {
        assert_eq!(PrivateKey::from_hex(&text).unwrap_err(), KeyError, "{name}");
    }
}

#[test]
fn a_key_never_shows_itself() {
    let (private, public) = KEYS[0];
    let key = PrivateKey::from_hex(private).unwrap();
    let mut keystore = Keystore::create(b"secret words", CHEAP, [3; 16], Limits::default()).unwrap();
    keystore.add(key.clone(), "label").unwrap();
    let shown = format!(
        "{key:?} {:#?} {keystore:?} {:?} {:?}",
        Some(&key),
        keystore.keys(),
        PrivateKey::from_hex("1")
    );
    let bytes: Vec<String> = key.expose().iter().map(|byte| byte.to_string()).collect();
    for secret in [private, &private[..16], "secret words", &bytes[..4].join(", ")] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains(&public[26..]), "the account may be seen");
    assert!(!keystore.seal([4; 12]).unwrap().contains(private));
}

/// A payment and its signature by RFC 6979 with the low s: number of the key, receiver, amount, nonce, signature.
type Signed = (usize, &'static str, u64, Option<&'static str>, &'static str);

const SIGNED: &[Signed] = include!("../tests/data/signed.in");

#[test]
fn receipts_have_the_signatures_every_signer_gives() {
    for (signer, to, coins, nonce, signature) in SIGNED {
        let signer = PrivateKey::from_hex(KEYS[*signer].0).unwrap();
        let nonce = nonce.map(|text| ReceiptNonce::new(text).unwrap());
        let receipt = signer.sign(to.parse().unwrap(), amount(*coins), nonce);
        assert_eq!(receipt.signature.to_string(), *signature, "{coins}");
        let check = check_of(&receipt).unwrap();
        #[cfg(feature = "secp256k1")]
        assert!(spandrel_consensus::Verifier::is_valid(&spandrel_consensus::SecpVerifier, &check));
        #[cfg(feature = "k256")]
        assert!(spandrel_consensus::Verifier::is_valid(&spandrel_consensus::PureVerifier, &check));
    }
    assert_eq!(SIGNED.len(), 10);
}

#[cfg(all(feature = "secp256k1", feature = "k256"))]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both libraries give the same key and the same signature, or none.
    #[test]
    fn prop_libraries_agree(secret in any::<[u8; 32]>(), message in any::<[u8; 32]>()) {
        use crate::curve::{pure, secp};
        prop_assert_eq!(pure::public_key(&secret), secp::public_key(&secret));
        if secp::public_key(&secret).is_some() {
            prop_assert_eq!(pure::sign(&secret, message), secp::sign(&secret, message));
        }
    }
}

fn coin(seed: u8, index: u64, coins: u64) -> (OutPoint, Amount) {
    (OutPoint { txid: Txid::from_bytes([seed; 32]), index: OutputIndex::new(index).unwrap() }, amount(coins))
}

fn to() -> Account {
    Account::from_bytes([9; 20])
}

#[test]
fn coins_are_chosen_small_and_few() {
    let coins = [coin(1, 0, 10), coin(2, 0, 50), coin(3, 0, 30), coin(4, 0, 5)];
    for (name, wanted, want) in [
        ("exact", 30, Ok(vec![30])),
        ("smallest that is enough", 20, Ok(vec![30])),
        ("largest", 45, Ok(vec![50])),
        ("two", 60, Ok(vec![50, 30])),
        ("three", 85, Ok(vec![50, 30, 10])),
        ("all", 95, Ok(vec![50, 30, 10, 5])),
        ("too much", 96, Err(PayError::TooLittle { held: 95, wanted: amount(96) })),
        ("nothing", 0, Err(PayError::NothingToPay)),
    ] {
        let row = pay(&key(1).sign(to(), amount(wanted), None), &coins, |_| false);
        let spent = row.map(|row| {
            let worth = |point| coins.iter().find(|(own, _)| *own == point).unwrap().1.get();
            row.inputs.iter().map(|input| worth(input.out_point().unwrap())).collect::<Vec<_>>()
        });
        assert_eq!(spent, want, "{name}");
    }
}

#[test]
fn a_taken_identifier_is_stepped_around() {
    let receipt = key(1).sign(to(), amount(20), None);
    let equal = [coin(1, 0, 50), coin(2, 0, 50), coin(3, 0, 50)];
    let first = pay(&receipt, &equal, |_| false).unwrap();
    let other = pay(&receipt, &equal, |txid| *txid == first.txid).unwrap();
    assert_ne!(other.txid, first.txid, "equal coins one by one give the same: it takes two");
    assert_eq!(other.inputs.len(), 2);
    let place = [coin(1, 0, 50), coin(2, 1, 50)];
    let other = pay(&receipt, &place, |txid| *txid == first.txid).unwrap();
    assert_eq!(other.inputs.len(), 1, "another place is another identifier");
    assert_eq!(pay(&receipt, &equal, |_| true), Err(PayError::Conflict));
}

#[test]
fn rows_and_tries_are_bounded() {
    let dust: Vec<_> = (0..INPUTS_MAX as u64 + 1).map(|at| coin(1, at, 1)).collect();
    let all = INPUTS_MAX as u64;
    assert_eq!(
        pay(&key(1).sign(to(), amount(all), None), &dust, |_| false).unwrap().inputs.len(),
        INPUTS_MAX
    );
    let one_more = pay(&key(1).sign(to(), amount(all + 1), None), &dust, |_| false);
    assert_eq!(one_more, Err(PayError::TooManyInputs { max: INPUTS_MAX }));
    let tries = std::cell::Cell::new(0);
    let count = |_: &Txid| {
        tries.set(tries.get() + 1);
        true
    };
    let large: Vec<_> = (0..200).map(|at| coin(2, at, 100 + at)).collect();
    assert_eq!(pay(&key(1).sign(to(), amount(50), None), &large, count), Err(PayError::Conflict));
    assert_eq!(tries.get(), TRIES_MAX);
}

proptest! {
    /// A row that is built balances, spends only what it was given, each once, and its identifier is free.
    #[test]
    fn prop_rows_are_sound(worth in prop::collection::vec(1_u64..100, 0..12), wanted in 1_u64..400, taken in 0_usize..4) {
        let coins: Vec<_> = worth.iter().zip(0..).map(|(n, at)| coin(at, u64::from(at) % 3, *n)).collect();
        let receipt = key(1).sign(to(), amount(wanted), None);
        let mut used = Vec::new();
        for _ in 0..=taken {
            match pay(&receipt, &coins, |txid| used.contains(txid)) {
                Ok(row) => {
                    prop_assert!(!used.contains(&row.txid));
                    let mut points: Vec<_> = row.inputs.iter().map(|input| input.out_point().unwrap()).collect();
                    let sum: u64 = points.iter().map(|point| coins.iter().find(|(own, _)| own == point).unwrap().1.get()).sum();
                    prop_assert_eq!(sum, row.outputs.iter().map(|output| output.amount.get()).sum::<u64>());
                    prop_assert_eq!(row.outputs[0].amount.get(), wanted);
                    points.sort_unstable();
                    points.dedup();
                    prop_assert_eq!(points.len(), row.inputs.len());
                    used.push(row.txid);
                }
                Err(PayError::TooLittle { held, .. }) => {
                    prop_assert!(held < wanted);
                    break;
                }
                Err(error) => {
                    prop_assert_eq!(error, PayError::Conflict);
                    prop_assert!(!used.is_empty());
                    break;
                }
            }
        }
    }
}

fn sealed() -> String {
    let mut keystore = Keystore::create(b"secret", CHEAP, [3; 16], Limits::default()).unwrap();
    keystore.add(key(1), "").unwrap();
    keystore.add(key(2), "Ann's 두 번째").unwrap();
    keystore.seal([4; 12]).unwrap()
}

#[test]
fn a_keystore_gives_back_what_was_put_in() {
    let text = sealed();
    let keystore = Keystore::open(&text, b"secret", Limits::default()).unwrap();
    let labels: Vec<&str> = keystore.keys().iter().map(|named| named.label.as_str()).collect();
    assert_eq!(labels, ["", "Ann's 두 번째"]);
    assert_eq!(keystore.get(&key(2).account()).unwrap().expose(), &[2; 32]);
    assert!(keystore.get(&key(3).account()).is_none());
    assert_ne!(keystore.seal([5; 12]).unwrap(), text, "another vector, another text");
    assert_eq!(keystore.seal([4; 12]).unwrap(), text, "the text follows from keys, salt and vector");
}

#[test]
fn the_format_of_version_1_stays_readable() {
    let text = include_str!("../tests/data/keystore_v1.json");
    let keystore = Keystore::open(text.trim(), b"secret", Limits::default()).unwrap();
    assert_eq!(keystore.keys().len(), 2);
    assert_eq!(text.trim(), sealed());
}

#[test]
fn wrong_password_and_damage_are_told_apart() {
    let text = sealed();
    let open = |text: &str| Keystore::open(text, b"secret", Limits::default()).err();
    for password in [&b"Secret"[..], b"", b"secret ", &[0xff; 40]] {
        let refused = Keystore::open(&text, password, Limits::default()).err();
        assert_eq!(refused, Some(KeystoreError::WrongPassword));
    }
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let error = open(&changed).unwrap_or_else(|| panic!("byte {at} does not matter"));
        assert_ne!(error, KeystoreError::WrongPassword, "byte {at}");
    }
    for cut in 0..text.len() {
        assert!(open(&text[..cut]).is_some(), "cut at {cut}");
    }
    for (name, text, want) in [
        ("empty", "", "Form"),
        ("no object", "[]", "Form"),
        ("something else", r#"{"format":"x","version":1}"#, "Form"),
        ("newer", r#"{"format":"spandrel-keystore","version":2,"new":true}"#, "Newer { version: 2 }"),
        ("head alone", r#"{"format":"spandrel-keystore","version":1}"#, "Damaged"),
        ("older", &text.replace("\"version\":1", "\"version\":0"), "Damaged"),
    ] {
        let error = format!("{:?}", open(text).unwrap());
        assert!(error.starts_with(want), "{name}: {error}");
    }
}

#[test]
fn a_sealed_part_is_bound_to_its_head() {
    // Somebody who can write the file mends the checksum too.
    let mend = |text: &str| -> String {
        let (head, _) = text.rsplit_once("\"checksum\":\"").unwrap();
        let bare = format!("{head}\"checksum\":\"\"}}");
        format!(
            "{head}\"checksum\":\"{}\"}}",
            spandrel_crypto::hex(&spandrel_crypto::sha256(bare.as_bytes()))
        )
    };
    let text = sealed();
    assert_eq!(mend(&text), text);
    for (name, text, want) in [
        ("vector", text.replace(&"04".repeat(12), &"05".repeat(12)), KeystoreError::Damaged),
        ("salt", text.replace(&"03".repeat(16), &"05".repeat(16)), KeystoreError::WrongPassword),
        ("passes", text.replace("\"passes\":1", "\"passes\":2"), KeystoreError::WrongPassword),
    ] {
        assert_eq!(Keystore::open(&mend(&text), b"secret", Limits::default()).unwrap_err(), want, "{name}");
    }
}

#[test]
fn bounds_of_a_keystore_hold() {
    let text = sealed();
    let with = |limits: Limits| Keystore::open(&text, b"secret", limits).err();
    let costly = |what| Some(KeystoreError::TooCostly { what });
    assert_eq!(with(Limits { text_bytes_max: text.len(), ..Limits::default() }), None);
    assert_eq!(with(Limits { text_bytes_max: text.len() - 1, ..Limits::default() }), costly("text"));
    assert_eq!(with(Limits { memory_kib_max: 8, ..Limits::default() }), None);
    assert_eq!(with(Limits { memory_kib_max: 7, ..Limits::default() }), costly("memory"));
    assert_eq!(with(Limits { passes_max: 0, ..Limits::default() }), costly("passes"));
    assert_eq!(with(Limits { lanes_max: 0, ..Limits::default() }), costly("lanes"));
    assert_eq!(with(Limits { keys_max: 2, ..Limits::default() }), None);
    assert_eq!(with(Limits { keys_max: 1, ..Limits::default() }), Some(KeystoreError::Full { max: 1 }));
    let limits = Limits { keys_max: 1, label_bytes_max: 3, ..Limits::default() };
    let mut keystore = Keystore::create(b"", CHEAP, [3; 16], limits).unwrap();
    assert_eq!(keystore.add(key(1), "four"), Err(KeystoreError::Label { len: 4, max: 3 }));
    assert_eq!(keystore.add(key(1), "ann"), Ok(key(1).account()));
    assert_eq!(keystore.add(key(1), "ann"), Err(KeystoreError::Known { account: key(1).account() }));
    assert_eq!(keystore.add(key(2), "bob"), Err(KeystoreError::Full { max: 1 }));
    let none = Cost { memory_kib: 0, passes: 0, lanes: 0 };
    assert!(matches!(
        Keystore::create(b"", none, [3; 16], Limits::default()),
        Err(KeystoreError::Form { .. })
    ));
}

#[test]
fn a_password_can_be_changed() {
    let mut keystore = Keystore::open(&sealed(), b"secret", Limits::default()).unwrap();
    let refused = keystore.set_password(b"new", Cost { memory_kib: u32::MAX, ..CHEAP }, [6; 16]);
    assert_eq!(refused, Err(KeystoreError::TooCostly { what: "memory" }));
    assert!(Keystore::open(&keystore.seal([7; 12]).unwrap(), b"secret", Limits::default()).is_ok());
    keystore.set_password(b"new", CHEAP, [6; 16]).unwrap();
    let text = keystore.seal([7; 12]).unwrap();
    assert_eq!(
        Keystore::open(&text, b"secret", Limits::default()).unwrap_err(),
        KeystoreError::WrongPassword
    );
    assert_eq!(Keystore::open(&text, b"new", Limits::default()).unwrap().keys().len(), 2);
}

#[test]
fn signatures_are_strict_der_with_the_low_s() {
    for seed in 1..40 {
        let receipt = key(seed).sign(to(), amount(u64::from(seed)), None);
        let compact = check_of(&receipt).unwrap().signature;
        assert!(compact[32] < 0x80, "s is in the lower half");
        assert_eq!(SignatureText::from_text(&receipt.signature.to_string()), receipt.signature);
        let again = key(seed).sign(to(), amount(u64::from(seed)), None);
        assert_eq!(again, receipt, "no randomness");
    }
}
