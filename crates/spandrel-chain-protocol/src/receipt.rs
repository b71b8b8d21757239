//! A signed receipt: who pays how much to whom.

use sha2::{Digest as _, Sha256};

use crate::hex::{self, Case};
use crate::json::{Extra, Reader, Sink, Unknown, need, once, read_document};
use crate::{Account, Amount, FormError, Limits, PublicKey, ReceiptId, ReceiptNonce, SignatureText};

/// A receipt. Its members may contradict each other; the rules decide whether it is worth anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The account that pays, wire name `sender.account`.
    pub account: Account,
    /// Its key, wire name `sender.publicKey`.
    pub public_key: PublicKey,
    /// The account that is paid, wire name `received`.
    pub received: Account,
    /// How much.
    pub amount: Amount,
    /// The signature over [`id`](Self::id).
    pub signature: SignatureText,
    /// Tells equal payments apart.
    pub nonce: Option<ReceiptNonce>,
    /// Unknown members of the receipt, and those of `sender`.
    pub extra: Box<(Extra, Extra)>,
}

impl Receipt {
    /// The message that is signed, which also names the receipt: SHA-256 of key, receiver and amount, and of `#` and the
    /// nonce where there is one.
    #[must_use]
    pub fn id(&self) -> ReceiptId {
        ReceiptId::from_bytes(Self::message(
            &self.public_key,
            &self.received,
            self.amount,
            self.nonce.as_ref(),
        ))
    }

    /// The message of a receipt that is not signed yet.
    #[must_use]
    pub fn message(
        public_key: &PublicKey,
        received: &Account,
        amount: Amount,
        nonce: Option<&ReceiptNonce>,
    ) -> [u8; 32] {
        let mut text = Vec::with_capacity(160);
        hex::push(public_key.as_bytes(), Case::Lower, &mut text);
        hex::push(received.as_bytes(), Case::Lower, &mut text);
        text.put_int(amount.get());
        if let Some(nonce) = nonce {
            text.put(b"#");
            text.put(nonce.as_str().as_bytes());
        }
        Sha256::digest(&text).into()
    }

    /// Reads one receipt from JSON.
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
        let mut out = Vec::with_capacity(400);
        self.put(&mut out);
        out
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormError> {
        const WHAT: &str = "receipt";
        let (mut sender, mut received, mut amount) = (None, None, None);
        let (mut signature, mut nonce, mut unknown) = (None, None, Unknown::new());
        reader.object(WHAT, |r, key| match &*key {
            "sender" => once(&mut sender, WHAT, "sender", read_sender(r)),
            "received" => once(&mut received, WHAT, "received", Account::read(r, "received")),
            "amount" => once(&mut amount, WHAT, "amount", Amount::read(r, "amount")),
            "signature" => once(&mut signature, WHAT, "signature", SignatureText::read(r, "signature")),
            "nonce" => once(&mut nonce, WHAT, "nonce", ReceiptNonce::read(r, "nonce")),
            _ => unknown.keep(r, key),
        })?;
        let (account, public_key, sender_extra) = need(sender, WHAT, "sender")?;
        Ok(Self {
            account,
            public_key,
            received: need(received, WHAT, "received")?,
            amount: need(amount, WHAT, "amount")?,
            signature: need(signature, WHAT, "signature")?,
            nonce,
            extra: Box::new((unknown.finish(WHAT)?, sender_extra)),
        })
    }

    pub(crate) fn put(&self, out: &mut impl Sink) {
        let (extra, sender_extra) = &*self.extra;
        out.put(br#"{"sender":{"account":"#);
        self.account.put_string(out);
        out.put(br#","publicKey":"#);
        self.public_key.put_string(out);
        sender_extra.put(out);
        out.put(br#"},"received":"#);
        self.received.put_string(out);
        out.put(br#","amount":"#);
        out.put_int(self.amount.get());
        out.put(br#","signature":"#);
        self.signature.put_string(out);
        if let Some(nonce) = &self.nonce {
            out.put(br#","nonce":"#);
            out.put_string(nonce.as_str());
        }
        extra.put(out);
        out.put(b"}");
    }
}

fn read_sender(reader: &mut Reader<'_>) -> Result<(Account, PublicKey, Extra), FormError> {
    const WHAT: &str = "sender";
    let (mut account, mut public_key, mut unknown) = (None, None, Unknown::new());
    reader.object(WHAT, |r, key| match &*key {
        "account" => once(&mut account, WHAT, "account", Account::read(r, "account")),
        "publicKey" => once(&mut public_key, WHAT, "publicKey", PublicKey::read(r, "publicKey")),
        _ => unknown.keep(r, key),
    })?;
    Ok((need(account, WHAT, "account")?, need(public_key, WHAT, "publicKey")?, unknown.finish(WHAT)?))
}
