//! Work on the ledgers, cut out of the machine so that a driver can do it where it does not hold others up: reading runs
//! on any thread, judging where the ledgers are.

use std::sync::Arc;

use spandrel_chain::{ChainError, PoolError};
use spandrel_chain_protocol::{
    Block, BlockHash, Coins, FormError, Height, Ledger, Limits, Notes, Transaction,
};
use spandrel_wire::Frame;

use crate::dialect::{Said, Spoken};
use crate::{Book, Books, Dialect, PeerId, Taken};

/// Something to do with the ledgers. Every task is done and answered, several side by side, in any order.
#[derive(Debug)]
pub struct Task(Work);

#[derive(Debug)]
enum Work {
    Look { peer: PeerId, dialect: Dialect, frame: Frame, limits: Limits },
    WriteChain { ledger: Ledger, bytes_max: usize },
}

/// A task whose text was read.
#[derive(Debug)]
pub struct Ready(ReadyWork);

#[derive(Debug)]
enum ReadyWork {
    Notes(PeerId, Result<Said<Notes>, FormError>),
    Coins(PeerId, Result<Said<Coins>, FormError>),
    WriteChain { ledger: Ledger, bytes_max: usize },
}

/// What came of a task. Give it to the machine with [`Input::Done`](crate::Input::Done), in the order in which the
/// ledgers judged: then the machine tells of tips and rows in that order too.
#[derive(Debug)]
pub struct Done(pub(crate) What);

#[derive(Debug)]
pub(crate) enum What {
    Looked { peer: PeerId, seen: Seen },
    Chain { ledger: Ledger, tip: BlockHash, frame: Option<Frame> },
}

/// What a document was worth.
#[derive(Debug)]
pub(crate) enum Seen {
    Malformed(FormError),
    Question,
    Block { height: Height, hash: BlockHash, taken: Result<Taken, ChainError> },
    Chain { top: Option<(Height, BlockHash)>, taken: Result<Taken, ChainError> },
    EmptyChain,
    Row { row: Arc<Transaction>, taken: Result<(), PoolError> },
    Nothing,
}

impl Task {
    pub(crate) const fn look(peer: PeerId, dialect: Dialect, frame: Frame, limits: Limits) -> Self {
        Self(Work::Look { peer, dialect, frame, limits })
    }

    pub(crate) const fn write_chain(ledger: Ledger, bytes_max: usize) -> Self {
        Self(Work::WriteChain { ledger, bytes_max })
    }

    /// The ledger it is about.
    #[must_use]
    pub const fn ledger(&self) -> Ledger {
        match &self.0 {
            Work::Look { dialect, .. } => dialect.ledger(),
            Work::WriteChain { ledger, .. } => *ledger,
        }
    }

    /// How many bytes there are to read: what a driver decides by whether another thread is worth it.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match &self.0 {
            Work::Look { frame, .. } => frame.len(),
            Work::WriteChain { .. } => 0,
        }
    }

    /// Reads the text. Takes about a second for the longest document; needs nothing but a processor.
    #[must_use]
    pub fn read(self) -> Ready {
        Ready(match self.0 {
            Work::Look { peer, dialect, frame, limits } => match dialect {
                Dialect::Jenny => ReadyWork::Notes(peer, read(&frame, &limits)),
                Dialect::Ingchain => ReadyWork::Coins(peer, read(&frame, &limits)),
            },
            Work::WriteChain { ledger, bytes_max } => ReadyWork::WriteChain { ledger, bytes_max },
        })
    }

    /// Reads and judges.
    #[must_use]
    pub fn run(self, books: &mut impl Books) -> Done {
        self.read().judge(books)
    }
}

impl Ready {
    /// Offers what was read to the ledgers.
    #[must_use]
    pub fn judge(self, books: &mut impl Books) -> Done {
        Done(match self.0 {
            ReadyWork::Notes(peer, said) => What::Looked { peer, seen: judge(said, books) },
            ReadyWork::Coins(peer, Ok(Said::Row(row))) => {
                let row = Arc::new(*row);
                let taken = books.submit(Arc::clone(&row));
                What::Looked { peer, seen: Seen::Row { row, taken } }
            }
            ReadyWork::Coins(peer, said) => What::Looked { peer, seen: judge(said, books) },
            ReadyWork::WriteChain { ledger, bytes_max } => {
                let (tip, frame) = match ledger {
                    Ledger::Note => Book::<Notes>::write_chain(books, bytes_max),
                    Ledger::Coin => Book::<Coins>::write_chain(books, bytes_max),
                };
                What::Chain { ledger, tip, frame }
            }
        })
    }
}

/// Binary frames are taken too (section 4), when they hold text.
fn read<P: Spoken>(frame: &Frame, limits: &Limits) -> Result<Said<P>, FormError> {
    let text = std::str::from_utf8(frame.data())
        .map_err(|error| FormError::Json { at: error.valid_up_to(), expected: "UTF-8" })?;
    P::understand(text, limits)
}

fn judge<P: Spoken + spandrel_chain::Kind>(
    said: Result<Said<P>, FormError>,
    book: &mut impl Book<P>,
) -> Seen {
    match said {
        Err(why) => Seen::Malformed(why),
        Ok(Said::Question) => Seen::Question,
        Ok(Said::EmptyChain) => Seen::EmptyChain,
        Ok(Said::Nothing | Said::Row(_)) => Seen::Nothing,
        Ok(Said::Block(block)) => {
            let (height, hash) = (block.header.height, block.header.hash);
            Seen::Block { height, hash, taken: book.offer(Arc::new(block)) }
        }
        Ok(Said::Chain(blocks)) => {
            let top = blocks.last().map(|top: &Block<P>| (top.header.height, top.header.hash));
            Seen::Chain { top, taken: book.offer_chain(blocks.into_iter().map(Arc::new).collect()) }
        }
    }
}
