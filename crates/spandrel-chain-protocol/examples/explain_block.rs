//! Reads a block from standard input or takes the first one, and says what its hashes are made of.
//!
//! `cargo run -p spandrel-chain-protocol --example explain_block < block.json`

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::io::{IsTerminal as _, Read as _};

use spandrel_chain_protocol::{CoinBlock, Limits, Payload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_string(&mut text)?;
    }
    let block = match text.trim() {
        "" => CoinBlock::genesis(),
        text => CoinBlock::from_json(text, &Limits::default())?,
    };
    let header = &block.header;
    println!("block {} of {}, {} bytes", header.height, header.timestamp, block.json_len());
    println!("  hash   {}", header.hash);
    println!("  is     {}", block.compute_hash());
    println!("  root   {}", header.merkle_root);
    if let Some(root) = block.data.merkle_root() {
        println!("  is     {root}");
    }
    println!("  work   {} of {} bits", header.hash.leading_zero_bits(), header.difficulty);
    for row in block.data.rows() {
        let paid: Vec<String> =
            row.outputs.iter().map(|o| format!("{} to {}", o.amount, o.account)).collect();
        let kind = if row.is_coinbase() { "coinbase" } else { "transfer" };
        println!("  {kind} {}: {}", row.txid, paid.join(", "));
    }
    Ok(())
}
