//! Peers of the chain node as one pure machine: who is connected, what each is told, and how much each may cost.
//!
//! Facts go in, work comes out ([`Gossip`]). It never opens a socket, reads a clock, draws a random number or starts a
//! thread, and it never decides about a block: documents go out as [`Task`]s, which a driver runs on the ledgers
//! ([`Books`]) wherever that holds nobody up, and come back as [`Done`].
//!
//! ```
//! use spandrel_chain::{Chain, CoinLedger, Limits, Secrets};
//! use spandrel_consensus::{Rules, SignatureCheck, Verifier};
//! use spandrel_gossip::{Config, Dialect, Frame, Gossip, Input, MemoryBooks, Millis, Output, PeerId, Way};
//!
//! struct Nobody; // has no signatures to check
//! impl Verifier for Nobody {
//!     fn is_valid(&self, _: &SignatureCheck) -> bool { false }
//! }
//! let secrets = Secrets { tables: [1, 2], signatures: [3; 32] }; // random in a real node
//! let notes = Chain::new((), [1, 2], Rules::default(), &Limits::default());
//! let coins = CoinLedger::new(secrets, Rules::default(), &Limits::default());
//! let mut books = MemoryBooks::new(notes, coins, Nobody);
//! let mut gossip = Gossip::new(Config::new(7), books.tips());
//!
//! let (now, peer) = (Millis::new(0), PeerId(1));
//! let remote = "192.0.2.1:7545".parse()?;
//! gossip.step(now, Input::Opened { peer, dialect: Dialect::Jenny, way: Way::Accepted, local: None, remote });
//! gossip.step(now, Input::Received { peer, frame: Frame::text(r#"{"type":0,"payload":{}}"#) });
//! let mut sent = Vec::new();
//! while let Some(output) = gossip.poll() {
//!     match output {
//!         Output::Send { frame, .. } => sent.push(frame),
//!         Output::Task(task) => gossip.step(now, Input::Done(task.run(&mut books))),
//!         _ => {}
//!     }
//! }
//! assert_eq!(sent[0].as_text(), Some(r#"{"type":0,"payload":{}}"#)); // both ends ask
//! assert!(sent[1].as_text().unwrap().starts_with(r#"{"type":1,"payload":[{"version":"1.0.0","height":0"#));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! # Layers
//!
//! `dialect` is all that differs between the dialects: words, and four questions about habits. Tables, queues, pace,
//! dials and the talk about tips know none of it; another dialect adds its words there and a kind of task.
//!
//! # Specified where
//!
//! Sections 4, 5.2 and 7 of the older chain dialects. Decided here, where nothing is said:
//!
//! - A tip is not announced to a peer that showed it, was told it or was sent its chain.
//! - A peer that is ahead is told our tip once in [`Limits::retell_ms`] and not each time: the chain that answers the
//!   first may be on its way.
//! - A chain that is higher than ours and has less work is answered with a question, once a tip; the tip that answers
//!   it is then answered with our chain, which the peer could not ask for.
//! - An owed chain waits while another is still being sent to the same peer.
//! - While the chain is too long to be sent, mining is told with the block besides the question, and a chain that was
//!   taken by its last block.
//! - What a peer said before it hung up is still looked at; it keeps its place in the table till then.
//! - Incoming peers leave a place for each address that waits to be dialled, up to [`Limits::dial_slots`].
//! - On a stream without frames, what is no JSON closes at once; over WebSocket it counts like another shape.
//! - A value no rule allows in a message of the right shape costs nothing.
//!
//! Limits: [`Limits`], all tested.
//!
//! Reading order: `words`, `dialect`, `books`, `task`, `outbox`, `dials`, `peer`, `gossip`, `gossip/table`,
//! `gossip/talk`.

mod books;
mod dialect;
mod dials;
#[doc(hidden)]
pub mod fuzz;
mod gossip;
mod limits;
mod outbox;
mod peer;
mod task;
mod words;

pub use books::{Book, Books, MemoryBooks, Taken, Tip, write_coins, write_notes};
pub use dialect::Dialect;
pub use gossip::{Config, Gossip};
pub use limits::Limits;
pub use peer::PeerInfo;
pub use spandrel_wire::{Frame, Millis};
pub use task::{Done, Ready, Task};
pub use words::{Address, AddressError, CloseReason, DialId, Event, Input, Output, PeerId, Way};
