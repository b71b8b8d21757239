//! A peer that lies: forged and invalid blocks, chains and rows, malformed messages, floods, silence.

use spandrel_chain_protocol::{
    Block, CoinBlock, CoinMessage, Coins, Difficulty, Limits, NoteBlock, NoteMessage, Notes, WallMillis,
};
use spandrel_gossip::fuzz::toy;
use spandrel_gossip::{Dialect, Frame};

use crate::random::Random;

#[derive(Debug)]
pub(crate) struct Liar {
    /// Takes nothing off its wires.
    is_silent: bool,
    note: NoteBlock,
    coin: CoinBlock,
    notes: Vec<NoteBlock>,
    coins: Vec<CoinBlock>,
    heard: Vec<Frame>,
}

fn text(json: Vec<u8>) -> Frame {
    Frame::text(String::from_utf8(json).expect("JSON is text"))
}

impl Liar {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            is_silent: random.once_in(4),
            note: NoteBlock::genesis(),
            coin: CoinBlock::genesis(),
            notes: vec![NoteBlock::genesis()],
            coins: vec![CoinBlock::genesis()],
            heard: Vec::new(),
        }
    }

    /// Hears a document, to twist it. `false` when it is left on the wire.
    pub(crate) fn hear(&mut self, dialect: Dialect, frame: &Frame) -> bool {
        if self.is_silent {
            return false;
        }
        let (limits, said) = (Limits::default(), frame.as_text().expect("text"));
        match dialect {
            Dialect::Jenny => match NoteMessage::from_json(said, &limits) {
                Ok(NoteMessage::AllBlock(block)) => self.note = *block,
                Ok(NoteMessage::ReceivedChain(chain)) => self.notes = chain,
                _ => {}
            },
            _ => match CoinMessage::from_json(said, &limits) {
                Ok(CoinMessage::AllBlock(block)) => self.coin = *block,
                Ok(CoinMessage::ReceivedChain(chain)) => self.coins = chain,
                _ => {}
            },
        }
        if self.heard.len() < 4 {
            self.heard.push(frame.clone());
        }
        true
    }

    pub(crate) fn speak(&mut self, dialect: Dialect, random: &mut Random) -> Vec<Frame> {
        if self.is_silent {
            let asks = random.once_in(3);
            return if asks { vec![question(dialect); 3] } else { Vec::new() };
        }
        match random.within(0, 8) {
            0 => {
                let many = usize::try_from(random.within(5, 40)).expect("small");
                vec![question(dialect); many]
            }
            1 => {
                let junk = [
                    "{}",
                    r#"{"type":7}"#,
                    r#"{"type":1,"payload":3}"#,
                    r#"{"type":"allBlock","payload":3}"#,
                ];
                let many = random.within(1, 12);
                (0..many).filter_map(|_| random.pick(&junk).map(|junk| Frame::text(*junk))).collect()
            }
            2 => random.pick(&self.heard).cloned().map(|frame| flip(&frame, random)).into_iter().collect(),
            3 => random.pick(&self.heard).cloned().into_iter().collect(),
            4 | 5 => vec![match dialect {
                Dialect::Jenny => {
                    text(NoteMessage::write_all_block(&twist(&self.note, random, |data: &mut Notes| {
                        data.push("forged");
                    })))
                }
                _ => text(CoinMessage::write_all_block(&twist(&self.coin, random, forge))),
            }],
            6 => vec![match dialect {
                Dialect::Jenny => {
                    let chain = twist_chain(&self.notes, random, |data: &mut Notes| *data = Notes::default());
                    text(NoteMessage::ReceivedChain(chain).to_json())
                }
                _ => text(CoinMessage::ReceivedChain(twist_chain(&self.coins, random, forge)).to_json()),
            }],
            _ => match self.coin.data.rows().last().filter(|_| dialect == Dialect::Ingchain) {
                Some(row) => {
                    let mut row = row.clone();
                    for output in &mut row.outputs {
                        output.account = toy::account(66);
                    }
                    row.txid = row.compute_txid();
                    vec![text(CoinMessage::write_transaction(&row))]
                }
                None => vec![question(dialect)],
            },
        }
    }
}

fn question(dialect: Dialect) -> Frame {
    Frame::text(match dialect {
        Dialect::Jenny => NoteMessage::LATEST_BLOCK,
        _ => CoinMessage::LATEST_BLOCK,
    })
}

/// Another character somewhere.
fn flip(frame: &Frame, random: &mut Random) -> Frame {
    let mut bytes = frame.data().to_vec();
    let at = usize::try_from(random.within(0, bytes.len() as u64)).expect("an index");
    if bytes[at].is_ascii() {
        bytes[at] = b'0' + u8::try_from(random.within(0, 60)).expect("small");
    }
    Frame::text(String::from_utf8(bytes).expect("only an ASCII character was changed"))
}

/// Pays the liar.
fn forge(data: &mut Coins) {
    if let Coins::Rows(rows) = data {
        for row in rows {
            for output in &mut row.outputs {
                output.account = toy::account(66);
            }
            row.txid = row.compute_txid();
        }
    }
}

/// A block with something wrong about it, some with work done for it.
fn twist<P: spandrel_chain_protocol::Payload>(
    block: &Block<P>,
    random: &mut Random,
    forge: impl Fn(&mut P),
) -> Block<P> {
    let mut block = block.clone();
    match random.within(0, 5) {
        // The same hash with another body.
        0 => {
            forge(&mut block.data);
            return block;
        }
        1 => {
            for _ in 0..random.within(1, 300) {
                block.header.height = block.header.height.next();
            }
        }
        2 => block.header.difficulty = Difficulty::new(u8::try_from(random.within(0, 3)).expect("small")),
        3 => block.header.timestamp = WallMillis::new(random.within(0, 2_000_000_000_000)),
        // Stands on the block it was, with a body that cannot be.
        _ => {
            block.header.previous_hash = block.header.hash;
            block.header.height = block.header.height.next();
            forge(&mut block.data);
            if let Some(root) = block.data.merkle_root() {
                block.header.merkle_root = root;
            }
        }
    }
    toy::seal(block)
}

fn twist_chain<P: spandrel_chain_protocol::Payload>(
    chain: &[Block<P>],
    random: &mut Random,
    forge: impl Fn(&mut P),
) -> Vec<Block<P>> {
    let mut chain = chain.to_vec();
    let at = usize::try_from(random.within(0, chain.len() as u64)).expect("an index");
    let bad = twist(&chain[at], random, forge);
    match random.within(0, 3) {
        0 => chain[at] = bad,
        1 => chain.push(bad),
        _ => {
            chain.truncate(at + 1);
            chain.push(bad);
        }
    }
    chain
}
