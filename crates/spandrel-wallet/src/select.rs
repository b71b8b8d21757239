//! Which coins pay a receipt.

use std::collections::HashSet;

use spandrel_chain_protocol::{Amount, OutPoint, Receipt, Transaction, Txid};

/// A receipt cannot be paid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayError {
    /// A receipt pays at least one coin.
    #[error("a receipt pays at least 1")]
    NothingToPay,
    /// The account holds too little that is confirmed and not waiting in the pool.
    #[error("account can spend {held}, the receipt pays {wanted}")]
    TooLittle {
        /// What it can spend.
        held: u64,
        /// What the receipt pays.
        wanted: Amount,
    },
    /// It takes too many small outputs. Pay a part to yourself first.
    #[error("it takes more than {max} outputs to pay that")]
    TooManyInputs {
        /// The most a row may spend.
        max: usize,
    },
    /// Every choice of coins that was tried gives an identifier that is taken. Try again after the next block, or pay
    /// another amount.
    #[error("every choice of coins gives an identifier that is taken")]
    Conflict,
}

/// Most inputs of a row that is built here: about 230 bytes each, of a block's million.
pub const INPUTS_MAX: usize = 1000;

/// Most choices of coins that are tried.
pub const TRIES_MAX: usize = 64;

/// Builds the row that a signed receipt asks for, from coins of its sender that are confirmed and free.
///
/// Takes the smallest single coin that is enough, otherwise the fewest coins. Identifiers say nothing of what is spent,
/// so a choice can collide with another row: `is_taken` tells, and other coins are tried.
///
/// # Errors
///
/// [`PayError`].
pub fn pay(
    receipt: &Receipt,
    coins: &[(OutPoint, Amount)],
    is_taken: impl Fn(&Txid) -> bool,
) -> Result<Transaction, PayError> {
    if receipt.amount == Amount::ZERO {
        return Err(PayError::NothingToPay);
    }
    let held = coins.iter().map(|(_, amount)| amount.get()).fold(0, u64::saturating_add);
    if held < receipt.amount.get() {
        return Err(PayError::TooLittle { held, wanted: receipt.amount });
    }
    let mut sorted = coins.to_vec();
    sorted.sort_unstable_by_key(|(point, amount)| (*amount, *point));
    let choices = singles(&sorted, receipt.amount).chain(several(&sorted, receipt.amount)).take(TRIES_MAX);
    let mut too_many = true;
    for choice in choices {
        too_many = false;
        if let Some(row) = Transaction::pay(receipt.clone(), &choice).filter(|row| !is_taken(&row.txid)) {
            return Ok(row);
        }
    }
    Err(if too_many { PayError::TooManyInputs { max: INPUTS_MAX } } else { PayError::Conflict })
}

type Choice = Vec<(OutPoint, Amount)>;

/// Single coins that are enough, the smallest first; one of each kind that gives another identifier.
fn singles(sorted: &[(OutPoint, Amount)], wanted: Amount) -> impl Iterator<Item = Choice> + '_ {
    let mut seen = HashSet::new();
    sorted
        .iter()
        .filter(move |(point, amount)| *amount >= wanted && seen.insert((*amount, point.index)))
        .map(|coin| vec![*coin])
}

/// The largest coins that together are enough; then the same with one more, each of the others in turn.
fn several(sorted: &[(OutPoint, Amount)], wanted: Amount) -> impl Iterator<Item = Choice> + '_ {
    let mut sum = 0_u64;
    let fewest = sorted
        .iter()
        .rev()
        .position(|(_, amount)| {
            sum = sum.saturating_add(amount.get());
            sum >= wanted.get()
        })
        .map_or(usize::MAX, |last| last + 1);
    let base: Choice = sorted.iter().rev().take(fewest).copied().collect();
    let rest = sorted.len().saturating_sub(base.len());
    let first = (fewest <= INPUTS_MAX && fewest > 1).then(|| base.clone());
    let can_grow = fewest < INPUTS_MAX;
    let more = sorted.iter().take(if can_grow { rest } else { 0 }).map(move |extra| {
        let mut choice = base.clone();
        choice.push(*extra);
        choice
    });
    first.into_iter().chain(more)
}
