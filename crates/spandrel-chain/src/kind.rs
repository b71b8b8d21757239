//! What differs between the two ledgers when a block is connected.

use std::fmt::Debug;

use spandrel_chain_protocol::{Block, CoinBlock, Coins, Height, NoteBlock, Notes, Payload};
use spandrel_consensus::{
    BlockError, Delta, Rules, Verifier, check_coin_shape, check_note_body, check_rows, supply_at,
};

use crate::{ChainError, CoinSet};

/// A ledger that a [`Chain`](crate::Chain) can be made of: notes or coins. Sealed.
pub trait Kind: Payload + Sealed {
    /// What blocks change.
    type State: Debug;
    /// What is needed to undo one block.
    type Undo: Debug;

    /// The first block.
    #[must_use]
    fn genesis() -> Block<Self>;

    /// Checks what of a body needs neither a branch nor a state.
    ///
    /// # Errors
    ///
    /// The first rule it breaks.
    fn check_shape(block: &Block<Self>, rules: Rules) -> Result<(), BlockError>;

    /// Checks a body against the state, and changes that.
    ///
    /// # Errors
    ///
    /// The first rule it breaks; the state is as before then.
    fn connect(
        state: &mut Self::State,
        block: &Block<Self>,
        rules: Rules,
        verifier: &impl Verifier,
    ) -> Result<Self::Undo, ChainError>;

    /// Does again what was undone.
    ///
    /// # Errors
    ///
    /// [`ChainError::Corrupt`].
    fn reconnect(state: &mut Self::State, undo: &Self::Undo) -> Result<(), ChainError>;

    /// Undoes a block.
    ///
    /// # Errors
    ///
    /// [`ChainError::Corrupt`].
    fn disconnect(state: &mut Self::State, undo: &Self::Undo) -> Result<(), ChainError>;

    /// Checks what has to hold at every height.
    ///
    /// # Errors
    ///
    /// [`ChainError::Corrupt`].
    fn audit(state: &Self::State, height: Height) -> Result<(), ChainError>;
}

/// Keeps [`Kind`] to the two ledgers there are.
#[expect(unnameable_types, reason = "that is what seals the trait")]
pub trait Sealed {}

impl Sealed for Notes {}
impl Sealed for Coins {}

impl Kind for Notes {
    type State = ();
    type Undo = ();

    fn genesis() -> NoteBlock {
        NoteBlock::genesis()
    }

    fn check_shape(block: &NoteBlock, _: Rules) -> Result<(), BlockError> {
        check_note_body(block)
    }

    fn connect((): &mut (), _: &NoteBlock, _: Rules, _: &impl Verifier) -> Result<(), ChainError> {
        Ok(())
    }

    fn reconnect((): &mut (), (): &()) -> Result<(), ChainError> {
        Ok(())
    }

    fn disconnect((): &mut (), (): &()) -> Result<(), ChainError> {
        Ok(())
    }

    fn audit((): &(), _: Height) -> Result<(), ChainError> {
        Ok(())
    }
}

impl Kind for Coins {
    type State = CoinSet;
    type Undo = Delta;

    fn genesis() -> CoinBlock {
        CoinBlock::genesis()
    }

    fn check_shape(block: &CoinBlock, rules: Rules) -> Result<(), BlockError> {
        check_coin_shape(block, rules)
    }

    fn connect(
        state: &mut CoinSet,
        block: &CoinBlock,
        rules: Rules,
        verifier: &impl Verifier,
    ) -> Result<Delta, ChainError> {
        let height = block.header.height;
        let delta =
            check_rows(block, state, rules, verifier).map_err(|why| ChainError::Invalid { height, why })?;
        state.apply(&delta)?;
        Self::audit(state, height)?;
        Ok(delta)
    }

    fn reconnect(state: &mut CoinSet, undo: &Delta) -> Result<(), ChainError> {
        state.apply(undo)
    }

    fn disconnect(state: &mut CoinSet, undo: &Delta) -> Result<(), ChainError> {
        state.undo(undo)
    }

    fn audit(state: &CoinSet, height: Height) -> Result<(), ChainError> {
        if state.supply() == supply_at(height) {
            Ok(())
        } else {
            Err(ChainError::Corrupt { what: "the supply is not 50 for each block after the first" })
        }
    }
}
