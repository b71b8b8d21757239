//! Mines a few blocks into a folder, as if killed after each, and shows what a start finds:
//! `cargo run --release -p spandrel-store --example keep -- DIR`.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use spandrel_chain::Offered;
use spandrel_chain_protocol::{Notes, WallMillis};
use spandrel_consensus::{SignatureCheck, Verifier};
use spandrel_store::{ChainStore, Folder, Start};

/// Notes carry no signatures.
struct NoSignatures;

impl Verifier for NoSignatures {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("a folder is expected, like target/notes")?;
    let start = Start::new([1, 2]); // random in a real node
    for _ in 0..5 {
        let (mut store, mut chain) = ChainStore::<Notes>::open(Arc::new(Folder::open(&dir)?), &start)?;
        let height = chain.height();
        println!("found block {height}, {} bytes, {:?}", store.journal_bytes(), store.recovery());

        let now = WallMillis::new(1_700_000_000_000);
        let mut block = spandrel_chain::draft_notes(&chain, vec![format!("after {height}")], now)?;
        for nonce in 1.. {
            block.header.nonce = spandrel_chain_protocol::Nonce::new(nonce).ok_or("no nonce fits")?;
            block.header.hash = block.compute_hash();
            if block.header.hash.meets(block.header.difficulty) {
                break;
            }
        }
        if let Offered::Adopted(update) = chain.offer(Arc::new(block), now, &NoSignatures, &store)? {
            store.commit(&update)?;
        }
    }
    Ok(())
}
