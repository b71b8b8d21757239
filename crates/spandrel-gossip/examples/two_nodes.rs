//! Two nodes on a wire of memory: one has mined, the other gets its chain.
//!
//! `cargo run -p spandrel-gossip --example two_nodes`

#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "an example talks, of two nodes")]

use spandrel_chain::{Chain, CoinLedger, Limits, Secrets};
use spandrel_chain_protocol::{Ledger, WallMillis};
use spandrel_consensus::{Rules, SignatureCheck, Verifier};
use spandrel_gossip::{
    Book, Config, Dialect, Event, Gossip, Input, MemoryBooks, Millis, Output, PeerId, Way,
};

/// Nobody signs anything here.
struct Nobody;

impl Verifier for Nobody {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        false
    }
}

fn books() -> MemoryBooks<Nobody> {
    let secrets = Secrets { tables: [1, 2], signatures: [3; 32] }; // random in a real node
    let (rules, limits) = (Rules::default(), Limits::default());
    let mut books = MemoryBooks::new(
        Chain::new((), secrets.tables, rules, &limits),
        CoinLedger::new(secrets, rules, &limits),
        Nobody,
    );
    books.set_now(WallMillis::new(1_700_000_000_000));
    books
}

fn main() {
    let mut books = [books(), books()];
    for nth in 0..3 {
        let items = vec![format!("note {nth}")];
        let now = WallMillis::new(1_700_000_000_000);
        let mut block = spandrel_chain::draft_notes(books[0].notes(), items, now).expect("a note fits");
        block.header.hash = block.compute_hash(); // the first blocks need no work
        books[0].offer(block.into()).expect("valid");
    }
    let mut nodes = [0, 1].map(|at: usize| Gossip::new(Config::new(7), books[at].tips()));
    let (now, peer, dialect) = (Millis::new(0), PeerId(1), Dialect::Jenny);
    for node in &mut nodes {
        let remote = ([192, 0, 2, 1], 7545).into();
        node.step(now, Input::Opened { peer, dialect, way: Way::Accepted, local: None, remote });
    }
    let mut is_quiet = false;
    while !std::mem::replace(&mut is_quiet, true) {
        for at in [0, 1] {
            while let Some(output) = nodes[at].poll() {
                is_quiet = false;
                match output {
                    Output::Send { frame, .. } => {
                        println!("{at} says {:.60}...", frame.as_text().unwrap_or_default());
                        let bytes = frame.len();
                        nodes[1 - at].step(now, Input::Received { peer, frame });
                        nodes[at].step(now, Input::Written { peer, bytes });
                    }
                    Output::Task(task) => {
                        let done = task.run(&mut books[at]);
                        nodes[at].step(now, Input::Done(done));
                    }
                    Output::Event(Event::Tip { height, .. }) => println!("{at} is at height {height}"),
                    _ => {}
                }
            }
        }
    }
    assert_eq!(nodes[0].tip(Ledger::Note).hash(), nodes[1].tip(Ledger::Note).hash());
}
