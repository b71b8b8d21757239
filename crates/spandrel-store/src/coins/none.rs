//! No coin store: every start replays the whole journal.

use std::sync::Arc;

use spandrel_chain_protocol::{ReceiptId, Txid};
use spandrel_consensus::Unspent;

use super::{Batch, CoinStore, Items};
use crate::{Disk, Head, Limits, Point, StoreError};

/// Keeps nothing, so that every start replays the whole journal: for tests, simulations and small chains.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCoins;

impl CoinStore for NoCoins {
    fn open(_: &Arc<dyn Disk>, _: &Limits) -> Result<Self, StoreError> {
        Ok(Self)
    }

    fn remove(_: &Arc<dyn Disk>) -> Result<(), StoreError> {
        Ok(())
    }

    fn point(&self) -> Option<Point> {
        None
    }

    fn can_keep(&self, _: usize) -> bool {
        true
    }

    fn heads(&self) -> Result<Items<'_, Head>, StoreError> {
        Ok(Box::new(std::iter::empty()))
    }

    fn coins(&self) -> Result<Items<'_, (Txid, Unspent)>, StoreError> {
        Ok(Box::new(std::iter::empty()))
    }

    fn receipts(&self) -> Result<Items<'_, ReceiptId>, StoreError> {
        Ok(Box::new(std::iter::empty()))
    }

    fn write(&mut self, _: &Batch<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
