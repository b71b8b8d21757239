//! Makes a keystore with one key and shows what is in the file, and what a wrong password gets.
//!
//! `cargo run -p spandrel-wallet --example keystore`

#![expect(clippy::print_stdout, reason = "an example talks")]

use spandrel_wallet::{Cost, Keystore, KeystoreError, Limits, PrivateKey};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Key, salt and vector are random in a real wallet.
    let key = PrivateKey::from_bytes(&[0x11; 32])?;
    let mut keystore = Keystore::create(b"correct horse", Cost::default(), [2; 16], Limits::default())?;
    let account = keystore.add(key, "savings")?;
    println!("new account {account}");

    let text = keystore.seal([3; 12])?;
    println!("{text}");
    match Keystore::open(&text, b"wrong horse", Limits::default()) {
        Err(KeystoreError::WrongPassword) => println!("wrong password: nothing to see"),
        other => println!("unexpected: {other:?}"),
    }
    let opened = Keystore::open(&text, b"correct horse", Limits::default())?;
    for named in opened.keys() {
        println!("{} is {:?}", named.label, named.key);
    }
    Ok(())
}
