//! The texts of many blocks, one after the other.

use std::sync::Arc;

use spandrel_chain_protocol::Height;

use crate::journal::Content;
use crate::{DiskFile, Head, StoreError};

/// Bytes that are read at once where blocks lie side by side.
const READ_BYTES: u64 = 1 << 20;
/// The longest gap that is read over.
const GAP_BYTES: u64 = 4096;

/// Gives the texts of a chain, lowest first; see [`ChainStore::texts`](crate::ChainStore::texts). Ends after an error.
#[derive(Debug)]
pub struct Texts {
    file: Arc<dyn DiskFile>,
    genesis: Option<Vec<u8>>,
    height: Height,
    heads: Vec<Head>,
    next: usize,
    bytes: Vec<u8>,
    first: u64,
}

impl Texts {
    pub(crate) const fn new(
        file: Arc<dyn DiskFile>,
        genesis: Option<Vec<u8>>,
        height: Height,
        heads: Vec<Head>,
    ) -> Self {
        Self { file, genesis, height, heads, next: 0, bytes: Vec::new(), first: 0 }
    }

    fn read(&mut self, head: &Head) -> Result<Vec<u8>, StoreError> {
        if head.at < self.first || head.end() > self.first + self.bytes.len() as u64 {
            let heads = self.heads.get(self.next..).unwrap_or_default().iter();
            // As far as they go up without a gap that is worth skipping.
            let mut to = head.end();
            for next in heads.skip(1) {
                if next.at < to || next.at > to + GAP_BYTES || next.end() > head.at + READ_BYTES {
                    break;
                }
                to = next.end();
            }
            self.bytes.resize(usize::try_from(to - head.at).unwrap_or_default(), 0);
            self.first = head.at;
            if let Err(error) = self.file.read_at(head.at, &mut self.bytes) {
                self.bytes.clear();
                return Err(Content::failed(head, error));
            }
        }
        let from = usize::try_from(head.at - self.first).unwrap_or(usize::MAX);
        let len = usize::try_from(head.end() - head.at).unwrap_or(usize::MAX);
        let record = self.bytes.get(from..).and_then(|rest| rest.get(..len));
        Content::check(record.unwrap_or_default(), head, self.height).map(<[u8]>::to_vec)
    }
}

impl Iterator for Texts {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(genesis) = self.genesis.take() {
            return Some(Ok(genesis));
        }
        let head = *self.heads.get(self.next)?;
        let text = self.read(&head);
        self.next = if text.is_ok() { self.next + 1 } else { self.heads.len() };
        self.height = self.height.next();
        Some(text)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.heads.len() - self.next + usize::from(self.genesis.is_some());
        (0, Some(left))
    }
}
