//! Two miners, one partition: both chains grow apart and one of them wins.
//!
//! `cargo run -p spandrel-chain --example two_miners`

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::sync::Arc;

use spandrel_chain::{CoinLedger, Limits, NoArchive, Offered, Secrets};
use spandrel_chain_protocol::{Account, CoinBlock, Nonce, WallMillis};
use spandrel_consensus::{Rules, SecpVerifier};

fn node(seed: u64) -> CoinLedger {
    let secrets = Secrets { tables: [seed, 1], signatures: [7; 32] }; // random in a real node
    CoinLedger::new(secrets, Rules::default(), &Limits::default())
}

fn mine(node: &mut CoinLedger, miner: Account, now: WallMillis) -> Arc<CoinBlock> {
    let mut block = node.draft(miner, now).expect("a draft");
    for nonce in 1.. {
        block.header.nonce = Nonce::new(nonce).expect("found soon");
        block.header.hash = block.compute_hash();
        if block.header.hash.meets(block.header.difficulty) {
            break;
        }
    }
    let block = Arc::new(block);
    node.offer(Arc::clone(&block), now, &SecpVerifier, &NoArchive).expect("our own block");
    block
}

fn main() {
    let (mut here, mut there) = (node(1), node(2));
    let (ann, bob) = (Account::from_bytes([0xaa; 20]), Account::from_bytes([0xbb; 20]));
    let mut now = WallMillis::new(1_700_000_000_000);
    for _ in 0..3 {
        now = now.after(600_000);
        mine(&mut here, ann, now);
    }
    let blocks: Vec<Arc<CoinBlock>> =
        (0..4).map(|nth| mine(&mut there, bob, now.after(nth * 600_000))).collect();
    println!(
        "here  {} work {}, ann has {}",
        here.chain().height(),
        here.chain().work().tries(),
        here.chain().state().balance(&ann)
    );
    println!(
        "there {} work {}, bob has {}",
        there.chain().height(),
        there.chain().work().tries(),
        there.chain().state().balance(&bob)
    );

    for block in blocks {
        match here.offer(block, now.after(3_000_000), &SecpVerifier, &NoArchive) {
            Ok((Offered::Adopted(update), _)) => println!(
                "reorganised at {}: {} blocks left, {} joined",
                update.fork,
                update.disconnected.len(),
                update.connected.len()
            ),
            Ok(_) => println!("a block beside the chain"),
            Err(error) => println!("refused: {error}"),
        }
    }
    let state = here.chain().state();
    println!(
        "here  {}, ann has {}, bob has {}",
        here.chain().height(),
        state.balance(&ann),
        state.balance(&bob)
    );
}
