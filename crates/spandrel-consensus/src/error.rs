//! Why a block or a row is refused. Every variant is one rule.

use spandrel_chain_protocol::{Amount, BlockHash, Difficulty, Height, WallMillis};

/// A block breaks a rule. The variants are the rules, in the order in which they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The first block of a chain is another one: it belongs to another network.
    #[error("the first block is not the one of this ledger")]
    Genesis,
    /// The height is not one more than that of the parent.
    #[error("height {found}, expected {expected}")]
    Height {
        /// What fits on the parent.
        expected: Height,
        /// What the block says.
        found: Height,
    },
    /// The block names another parent.
    #[error("parent {found}, expected {expected}")]
    PreviousHash {
        /// The hash of the parent.
        expected: BlockHash,
        /// What the block says.
        found: BlockHash,
    },
    /// The hash does not follow from the header.
    #[error("hash {claimed} does not follow from the header")]
    Hash {
        /// What the block says.
        claimed: BlockHash,
    },
    /// The declared difficulty is not that of the table.
    #[error("difficulty {declared}, expected {expected}")]
    Difficulty {
        /// What the table asks for.
        expected: Difficulty,
        /// What the block says.
        declared: Difficulty,
    },
    /// The hash has fewer zero bits than declared.
    #[error("hash has {bits} zero bits, {difficulty} declared")]
    ProofOfWork {
        /// Zero bits of the hash.
        bits: u32,
        /// What the block declares.
        difficulty: Difficulty,
    },
    /// The stamp lies before the median of the last eleven.
    #[error("stamp {found} lies before the median {median} of the blocks below")]
    TooOld {
        /// The earliest that fits.
        median: WallMillis,
        /// What the block says.
        found: WallMillis,
    },
    /// The stamp lies too far ahead of the clock. Try again later; nothing is wrong with the block itself.
    #[error("stamp {found} is after {latest}, the latest that is taken now")]
    TooNew {
        /// The latest that fits now.
        latest: WallMillis,
        /// What the block says.
        found: WallMillis,
    },
    /// The text of the block is too long.
    #[error("block of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Bytes of its text.
        len: usize,
        /// The most a block may have.
        max: usize,
    },
    /// There are no data.
    #[error("block without data")]
    NoData,
    /// Only the first block of the coin ledger holds a text.
    #[error("data are a text instead of rows")]
    TextData,
    /// An item looks like a Merkle root, so that other data would have the same root.
    #[error("item {at} is 64 upper-case hexadecimal digits")]
    AmbiguousLeaf {
        /// Its place in the data.
        at: usize,
    },
    /// The root does not follow from the data. Another body may be the right one for this hash.
    #[error("Merkle root does not follow from the data")]
    MerkleRoot,
    /// The version carries no commitment to the body although there are transfers.
    #[error("transfers without a commitment to them in the version")]
    NoCommitment,
    /// The version carries the commitment to another body.
    #[error("version does not commit to this body")]
    Commitment,
    /// The first row is no coinbase of this height.
    #[error("first row does not name the height as its one input")]
    CoinbaseInput,
    /// The coinbase does not pay the reward to one account.
    #[error("coinbase does not pay exactly {reward} to one account")]
    CoinbaseOutput {
        /// What it has to pay.
        reward: u64,
    },
    /// The identifier of the coinbase does not follow from it.
    #[error("identifier of the coinbase does not follow from it")]
    CoinbaseTxid,
    /// The identifier of the coinbase still has unspent outputs.
    #[error("identifier of the coinbase still has unspent outputs")]
    CoinbaseTaken,
    /// An identifier stands there twice.
    #[error("row {at} has the identifier of an earlier row")]
    RepeatedRow {
        /// Its place in the data.
        at: usize,
    },
    /// A row is not valid after the rows before it.
    #[error("row {at}: {why}")]
    Row {
        /// Its place in the data.
        at: usize,
        /// The rule it breaks.
        why: RowError,
    },
}

/// What a refusal says about a block hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The header breaks a rule on this parent: no body helps.
    Header,
    /// The header is too new by this clock; the same block may be good later.
    NotYet,
    /// This body breaks a rule. The hash does not cover all of a body, so another copy may be good: nothing may be
    /// remembered about the hash.
    Body,
}

impl BlockError {
    /// What may be remembered.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Genesis
            | Self::Height { .. }
            | Self::PreviousHash { .. }
            | Self::Hash { .. }
            | Self::Difficulty { .. }
            | Self::ProofOfWork { .. }
            | Self::TooOld { .. } => Verdict::Header,
            Self::TooNew { .. } => Verdict::NotYet,
            _ => Verdict::Body,
        }
    }
}

/// A row breaks a rule. The variants are the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// It spends nothing.
    #[error("no inputs")]
    NoInputs,
    /// It makes nothing.
    #[error("no outputs")]
    NoOutputs,
    /// An input names no row: only the first row of a block does that.
    #[error("input {at} names no row")]
    NoOutPoint {
        /// Place of the input.
        at: usize,
    },
    /// It spends the same output twice.
    #[error("input {at} spends what an earlier input spends")]
    RepeatedInput {
        /// Place of the later input.
        at: usize,
    },
    /// An input is not there: spent, never made, or in another row of the pool.
    #[error("input {at} is missing or spent")]
    MissingInput {
        /// Place of the input.
        at: usize,
    },
    /// An output holds nothing.
    #[error("output {at} holds no coins")]
    ZeroAmount {
        /// Place of the output.
        at: usize,
    },
    /// A sum is more than can be counted.
    #[error("amounts sum to more than 2^53 - 1")]
    Overflow,
    /// It makes more or less than it spends.
    #[error("inputs hold {spent}, outputs {made}")]
    Unbalanced {
        /// Sum of what it spends.
        spent: Amount,
        /// Sum of what it makes.
        made: Amount,
    },
    /// The identifier does not follow from the row.
    #[error("identifier does not follow from the row")]
    Txid,
    /// The identifier still has unspent outputs, or waits in the pool. Build the row from other inputs.
    #[error("identifier is taken")]
    TxidTaken,
    /// There is no receipt, so nobody could check who pays.
    #[error("no receipt")]
    NoReceipt,
    /// The account of the receipt is not that of its key.
    #[error("account of the receipt is not that of its key")]
    ReceiptAccount,
    /// The receipt was used before on this chain, or waits in the pool. Add a nonce to pay the same again.
    #[error("receipt was used before")]
    ReceiptUsed,
    /// An input carries another signature than the receipt.
    #[error("input {at} carries another signature than the receipt")]
    InputSignature {
        /// Place of the input.
        at: usize,
    },
    /// An input belongs to somebody else.
    #[error("input {at} does not belong to the sender")]
    NotOwner {
        /// Place of the input.
        at: usize,
    },
    /// The first output is not what the receipt pays.
    #[error("first output is not what the receipt pays")]
    Payment,
    /// There are more outputs than the payment and the change to the sender.
    #[error("output {at} is no change to the sender")]
    Change {
        /// Place of the output.
        at: usize,
    },
    /// The signature is not written in strict DER and lower-case digits.
    #[error("signature is not strict DER")]
    SignatureForm,
    /// The signature does not fit the message and the key, or the key is not on the curve.
    #[error("signature does not fit")]
    Signature,
}

impl RowError {
    /// Does the row collide with another payment rather than break a rule by itself? A builder can help with other
    /// inputs or a nonce.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::TxidTaken | Self::ReceiptUsed)
    }
}
