//! Rules of a transfer.

use std::collections::HashSet;

use spandrel_chain_protocol::{Amount, OutPoint, Receipt, ReceiptId, Transaction};

use crate::{CoinView, IdHash, RowError, Rules, SignatureCheck, strict_der};

/// What is left to do for a row that is valid but for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// The receipt that is used; `None` under rules without receipts.
    pub receipt: Option<ReceiptId>,
    /// The check that is still owed.
    pub check: Option<SignatureCheck>,
}

/// Checks every rule of a transfer against a state, all but the costly one: the signature is left to the caller.
///
/// # Errors
///
/// The first rule it breaks.
pub fn check_row(row: &Transaction, coins: &impl CoinView, rules: Rules) -> Result<Unsigned, RowError> {
    if row.inputs.is_empty() {
        return Err(RowError::NoInputs);
    }
    if row.outputs.is_empty() {
        return Err(RowError::NoOutputs);
    }
    let spent = sum_of_inputs(row, coins)?;
    let made = sum_of_outputs(row)?;
    if spent != made {
        return Err(RowError::Unbalanced { spent, made });
    }
    if row.txid != row.compute_txid() {
        return Err(RowError::Txid);
    }
    if coins.unspent(&row.txid).is_some() {
        return Err(RowError::TxidTaken);
    }
    if rules.is_unsigned() {
        return Ok(Unsigned { receipt: None, check: None });
    }
    let receipt = row.receipt.as_deref().ok_or(RowError::NoReceipt)?;
    let id = check_receipt(row, receipt, coins)?;
    let check = signature_check(receipt, id)?;
    Ok(Unsigned { receipt: Some(id), check: Some(check) })
}

/// The signature check that a receipt asks for.
///
/// # Errors
///
/// [`RowError::ReceiptAccount`] and [`RowError::SignatureForm`].
pub fn check_of(receipt: &Receipt) -> Result<SignatureCheck, RowError> {
    if receipt.account != receipt.public_key.account() {
        return Err(RowError::ReceiptAccount);
    }
    signature_check(receipt, receipt.id())
}

fn signature_check(receipt: &Receipt, id: ReceiptId) -> Result<SignatureCheck, RowError> {
    let signature = receipt.signature.der().and_then(strict_der).ok_or(RowError::SignatureForm)?;
    Ok(SignatureCheck { message: *id.as_bytes(), key: receipt.public_key, signature })
}

fn sum_of_inputs(row: &Transaction, coins: &impl CoinView) -> Result<Amount, RowError> {
    let mut sum = Amount::ZERO;
    let mut seen = Seen::new(row.inputs.len());
    for (at, input) in row.inputs.iter().enumerate() {
        let point = input.out_point().ok_or(RowError::NoOutPoint { at })?;
        if !seen.insert(point) {
            return Err(RowError::RepeatedInput { at });
        }
        let coin = coins.coin(&point).ok_or(RowError::MissingInput { at })?;
        sum = sum.checked_add(coin.amount.get()).ok_or(RowError::Overflow)?;
    }
    Ok(sum)
}

/// Outputs spent by earlier inputs. Most rows have one or two, which a set would only slow down.
enum Seen {
    /// There is only one.
    Alone,
    Few(Vec<OutPoint>),
    Many(HashSet<OutPoint, IdHash>),
}

impl Seen {
    fn new(inputs: usize) -> Self {
        match inputs {
            0..2 => Self::Alone,
            2..16 => Self::Few(Vec::with_capacity(inputs)),
            _ => Self::Many(HashSet::with_capacity_and_hasher(inputs, IdHash::fixed())),
        }
    }

    fn insert(&mut self, point: OutPoint) -> bool {
        match self {
            Self::Alone => true,
            Self::Few(points) if points.contains(&point) => false,
            Self::Few(points) => {
                points.push(point);
                true
            }
            Self::Many(points) => points.insert(point),
        }
    }
}

fn sum_of_outputs(row: &Transaction) -> Result<Amount, RowError> {
    let mut sum = Amount::ZERO;
    for (at, output) in row.outputs.iter().enumerate() {
        if output.amount == Amount::ZERO {
            return Err(RowError::ZeroAmount { at });
        }
        sum = sum.checked_add(output.amount.get()).ok_or(RowError::Overflow)?;
    }
    Ok(sum)
}

fn check_receipt(row: &Transaction, receipt: &Receipt, coins: &impl CoinView) -> Result<ReceiptId, RowError> {
    if receipt.account != receipt.public_key.account() {
        return Err(RowError::ReceiptAccount);
    }
    for (at, input) in row.inputs.iter().enumerate() {
        if input.signature.as_ref() != Some(&receipt.signature) {
            return Err(RowError::InputSignature { at });
        }
        let owner = input.out_point().and_then(|point| coins.coin(&point)).map(|coin| coin.account);
        if owner != Some(receipt.account) {
            return Err(RowError::NotOwner { at });
        }
    }
    let mut outputs = row.outputs.iter();
    if outputs.next().is_none_or(|first| (first.account, first.amount) != (receipt.received, receipt.amount))
    {
        return Err(RowError::Payment);
    }
    if outputs.next().is_some_and(|change| change.account != receipt.account) {
        return Err(RowError::Change { at: 1 });
    }
    if outputs.next().is_some() {
        return Err(RowError::Change { at: 2 });
    }
    let id = receipt.id();
    if coins.is_receipt_used(&id) {
        return Err(RowError::ReceiptUsed);
    }
    Ok(id)
}
