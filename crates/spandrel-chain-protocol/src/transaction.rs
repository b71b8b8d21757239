//! Rows of the coin ledger: what they spend, what they make, and the receipt they come from.

use sha2::{Digest as _, Sha256};

use crate::hex::{self, Case};
use crate::json::{Count, Extra, Reader, Sink, Unknown, need, once, put_list, read_document};
use crate::{
    Account, Amount, BodyCommitment, FormError, Height, Limits, OutputIndex, Receipt, SignatureText, Txid,
};

/// What a block pays its miner.
pub const REWARD: u64 = 50;

/// An output of an earlier row, spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxIn {
    /// Place of the output in its row; in a coinbase the height of the block. Wire name `txOutIndex`.
    pub index: OutputIndex,
    /// The row that made it; none in a coinbase. Wire name `txOutId`.
    pub txid: Option<Txid>,
    /// The signature of the receipt; none in a coinbase.
    pub signature: Option<SignatureText>,
    /// Unknown members.
    pub extra: Extra,
}

/// Coins that belong to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxOut {
    /// Who owns them.
    pub account: Account,
    /// How many.
    pub amount: Amount,
    /// Unknown members.
    pub extra: Extra,
}

/// A row of a coin block: the coinbase or a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What it spends.
    pub inputs: Vec<TxIn>,
    /// What it makes.
    pub outputs: Vec<TxOut>,
    /// Its identifier as its maker claims it. Wire name `hash`.
    pub txid: Txid,
    /// The receipt it was built from.
    pub receipt: Option<Box<Receipt>>,
    /// Unknown members.
    pub extra: Extra,
}

/// The place of an output in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutPoint {
    /// The row that made it.
    pub txid: Txid,
    /// Its place there.
    pub index: OutputIndex,
}

impl TxOut {
    /// Makes an output.
    #[must_use]
    pub const fn new(account: Account, amount: Amount) -> Self {
        Self { account, amount, extra: Extra::NONE }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormError> {
        const WHAT: &str = "output";
        let (mut account, mut amount, mut unknown) = (None, None, Unknown::new());
        reader.object(WHAT, |r, key| match &*key {
            "account" => once(&mut account, WHAT, "account", Account::read(r, "account")),
            "amount" => once(&mut amount, WHAT, "amount", Amount::read(r, "amount")),
            _ => unknown.keep(r, key),
        })?;
        Ok(Self {
            account: need(account, WHAT, "account")?,
            amount: need(amount, WHAT, "amount")?,
            extra: unknown.finish(WHAT)?,
        })
    }

    fn put(&self, out: &mut impl Sink) {
        out.put(br#"{"account":"#);
        self.account.put_string(out);
        out.put(br#","amount":"#);
        out.put_int(self.amount.get());
        self.extra.put(out);
        out.put(b"}");
    }
}

impl TxIn {
    /// Spends an output under the signature of a receipt.
    #[must_use]
    pub const fn spend(from: OutPoint, signature: SignatureText) -> Self {
        Self { index: from.index, txid: Some(from.txid), signature: Some(signature), extra: Extra::NONE }
    }

    /// The output this spends; `None` in a coinbase.
    #[must_use]
    pub fn out_point(&self) -> Option<OutPoint> {
        self.txid.map(|txid| OutPoint { txid, index: self.index })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormError> {
        const WHAT: &str = "input";
        let (mut index, mut txid, mut signature, mut unknown) = (None, None, None, Unknown::new());
        reader.object(WHAT, |r, key| match &*key {
            "txOutIndex" => once(&mut index, WHAT, "txOutIndex", OutputIndex::read(r, "txOutIndex")),
            "txOutId" => once(&mut txid, WHAT, "txOutId", Txid::read(r, "txOutId")),
            "signature" => once(&mut signature, WHAT, "signature", SignatureText::read(r, "signature")),
            _ => unknown.keep(r, key),
        })?;
        Ok(Self { index: need(index, WHAT, "txOutIndex")?, txid, signature, extra: unknown.finish(WHAT)? })
    }

    fn put(&self, out: &mut impl Sink) {
        out.put(br#"{"txOutIndex":"#);
        out.put_int(self.index.get());
        if let Some(txid) = &self.txid {
            out.put(br#","txOutId":"#);
            txid.put_string(out);
        }
        if let Some(signature) = &self.signature {
            out.put(br#","signature":"#);
            signature.put_string(out);
        }
        self.extra.put(out);
        out.put(b"}");
    }
}

impl Transaction {
    /// The row that pays the miner of the block at `height`.
    #[must_use]
    pub fn coinbase(height: Height, account: Account) -> Self {
        let index = OutputIndex::new(height.get()).unwrap_or(OutputIndex::MAX);
        let reward = Amount::new(REWARD).unwrap_or_default();
        let input = TxIn { index, txid: None, signature: None, extra: Extra::NONE };
        Self::new(vec![input], vec![TxOut::new(account, reward)], None)
    }

    /// A row with its identifier.
    #[must_use]
    pub fn new(inputs: Vec<TxIn>, outputs: Vec<TxOut>, receipt: Option<Receipt>) -> Self {
        let mut row = Self {
            inputs,
            outputs,
            txid: Txid::from_bytes([0; 32]),
            receipt: receipt.map(Box::new),
            extra: Extra::NONE,
        };
        row.txid = row.compute_txid();
        row
    }

    /// Builds the row of a receipt from outputs of its sender: the payment first, then the change, if any.
    ///
    /// `None` when the outputs hold less than the receipt pays, or more than can be counted.
    #[must_use]
    pub fn pay(receipt: Receipt, from: &[(OutPoint, Amount)]) -> Option<Self> {
        let total = from.iter().try_fold(Amount::ZERO, |sum, (_, amount)| sum.checked_add(amount.get()))?;
        let change = total.checked_sub(receipt.amount.get())?;
        let mut outputs = vec![TxOut::new(receipt.received, receipt.amount)];
        if change > Amount::ZERO {
            outputs.push(TxOut::new(receipt.account, change));
        }
        let inputs = from.iter().map(|(at, _)| TxIn::spend(*at, receipt.signature.clone())).collect();
        Some(Self::new(inputs, outputs, Some(receipt)))
    }

    /// The identifier that follows from the outputs and the places of the inputs.
    #[must_use]
    pub fn compute_txid(&self) -> Txid {
        let mut all = Sha256::new();
        let mut text = Vec::with_capacity(64);
        for output in &self.outputs {
            text.clear();
            output.account.put(&mut text);
            text.put_int(output.amount.get());
            all.update(hex::encode_32(&Sha256::digest(&text).into(), Case::Lower));
        }
        for input in &self.inputs {
            text.clear();
            text.put_int(input.index.get());
            all.update(hex::encode_32(&Sha256::digest(&text).into(), Case::Lower));
        }
        Txid::from_bytes(all.finalize().into())
    }

    /// Has it the form of a coinbase: one input that spends nothing?
    #[must_use]
    pub fn is_coinbase(&self) -> bool {
        matches!(self.inputs.as_slice(), [only] if only.txid.is_none())
    }

    /// Reads one row from JSON.
    ///
    /// # Errors
    ///
    /// [`FormError`] with the member at fault.
    pub fn from_json(text: &str, limits: &Limits) -> Result<Self, FormError> {
        read_document(text, limits, Self::read)
    }

    /// Writes it as JSON, members in the family's order.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 << 10);
        self.put(&mut out);
        out
    }

    /// The length of [`to_json`](Self::to_json), without writing it.
    #[must_use]
    pub fn json_len(&self) -> usize {
        let mut count = Count::default();
        self.put(&mut count);
        count.0
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormError> {
        const WHAT: &str = "transaction";
        let (mut inputs, mut outputs, mut txid, mut receipt) = (None, None, None, None);
        let mut unknown = Unknown::new();
        reader.object(WHAT, |r, key| match &*key {
            "txIns" => once(&mut inputs, WHAT, "txIns", read_inputs(r)),
            "txOuts" => once(&mut outputs, WHAT, "txOuts", read_all(r, "txOuts", 2, TxOut::read)),
            "hash" => once(&mut txid, WHAT, "hash", Txid::read(r, "hash")),
            "receipt" => once(&mut receipt, WHAT, "receipt", Receipt::read(r).map(Box::new)),
            _ => unknown.keep(r, key),
        })?;
        let inputs: Vec<TxIn> = need(inputs, WHAT, "txIns")?;
        Ok(Self {
            inputs,
            outputs: need(outputs, WHAT, "txOuts")?,
            txid: need(txid, WHAT, "hash")?,
            receipt,
            extra: unknown.finish(WHAT)?,
        })
    }

    pub(crate) fn put<S: Sink>(&self, out: &mut S) {
        out.put(br#"{"txIns":"#);
        put_list(out, self.inputs.iter(), |out: &mut S, input| input.put(out));
        out.put(br#","txOuts":"#);
        put_list(out, self.outputs.iter(), |out: &mut S, output| output.put(out));
        out.put(br#","hash":"#);
        self.txid.put_string(out);
        if let Some(receipt) = &self.receipt {
            out.put(br#","receipt":"#);
            receipt.put(out);
        }
        self.extra.put(out);
        out.put(b"}");
    }

    /// Writes what the body commitment says of this row.
    fn put_commitment(&self, out: &mut Vec<u8>) {
        self.txid.put(out);
        out.put(b"|");
        for (at, input) in self.inputs.iter().enumerate() {
            if at > 0 {
                out.put(b",");
            }
            if let Some(txid) = &input.txid {
                txid.put(out);
            }
            out.put(b":");
            out.put_int(input.index.get());
            out.put(b":");
            if let Some(signature) = &input.signature {
                signature.put(out);
            }
        }
        out.put(b"|");
        if let Some(receipt) = &self.receipt {
            receipt.public_key.put(out);
        }
        out.put(b"|");
        if let Some(nonce) = self.receipt.as_ref().and_then(|receipt| receipt.nonce.as_ref()) {
            out.put(nonce.as_str().as_bytes());
        }
    }
}

/// The commitment to what identifiers leave out: which outputs are spent, under which signature and key.
#[must_use]
pub fn body_commitment(rows: &[Transaction]) -> BodyCommitment {
    let (mut all, mut text) = (Sha256::new(), Vec::with_capacity(512));
    for (at, row) in rows.iter().enumerate() {
        text.clear();
        if at > 0 {
            text.put(b"\n");
        }
        row.put_commitment(&mut text);
        all.update(&text);
    }
    BodyCommitment::from_bytes(all.finalize().into())
}

/// Reads inputs. One that spends nothing stands alone, as in a coinbase: no rule takes it otherwise, and in memory it is many
/// times its sixteen bytes of text.
fn read_inputs(reader: &mut Reader<'_>) -> Result<Vec<TxIn>, FormError> {
    let mut inputs: Vec<TxIn> = Vec::with_capacity(1);
    reader.list("txIns", |reader| {
        inputs.push(TxIn::read(reader)?);
        match inputs.as_slice() {
            [_] => Ok(()),
            [first, .., last] if first.txid.is_some() && last.txid.is_some() => Ok(()),
            _ => Err(FormError::Value { member: "txIns", want: "one input, or inputs with a txOutId each" }),
        }
    })?;
    Ok(inputs)
}

fn read_all<'a, T>(
    reader: &mut Reader<'a>,
    what: &'static str,
    usual: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, FormError>,
) -> Result<Vec<T>, FormError> {
    let mut items = Vec::with_capacity(usual);
    reader.list(what, |reader| {
        items.push(read(reader)?);
        Ok(())
    })?;
    Ok(items)
}

#[cfg(test)]
pub(crate) fn read_output(reader: &mut Reader<'_>) -> Result<TxOut, FormError> {
    TxOut::read(reader)
}
