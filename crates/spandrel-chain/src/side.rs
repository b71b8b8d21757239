//! Blocks beside the best chain, bounded: the lightest go first.

use std::collections::HashMap;
use std::sync::Arc;

use spandrel_chain_protocol::{Block, BlockHash, Payload};
use spandrel_consensus::IdHash;

use crate::{Entry, Limits};

#[derive(Debug)]
struct Node<P> {
    block: Arc<Block<P>>,
    entry: Entry,
    bytes: usize,
    /// Order of arrival.
    seen: u64,
    children: usize,
}

/// A forest whose roots stand on the best chain.
#[derive(Debug)]
pub(crate) struct Side<P> {
    nodes: HashMap<BlockHash, Node<P>, IdHash>,
    bytes: usize,
    seen: u64,
    blocks_max: usize,
    bytes_max: usize,
}

impl<P: Payload> Side<P> {
    pub(crate) fn new(key: [u64; 2], limits: &Limits) -> Self {
        Self {
            nodes: HashMap::with_hasher(IdHash::new(key)),
            bytes: 0,
            seen: 0,
            blocks_max: limits.side_blocks_max,
            bytes_max: limits.side_bytes_max,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn contains(&self, hash: &BlockHash) -> bool {
        self.nodes.contains_key(hash)
    }

    /// Keeps a block; when there is no room, the lightest block without children goes, which may be this one.
    pub(crate) fn insert(&mut self, block: Arc<Block<P>>, entry: Entry) {
        let bytes = block.json_len();
        if bytes > self.bytes_max || self.blocks_max == 0 || self.contains(&entry.hash) {
            return;
        }
        if let Some(parent) = self.nodes.get_mut(&block.header.previous_hash) {
            parent.children += 1;
        }
        // Children may be here already: those of a block that left the best chain.
        let children =
            self.nodes.values().filter(|node| node.block.header.previous_hash == entry.hash).count();
        self.bytes += bytes;
        self.seen += 1;
        self.nodes.insert(entry.hash, Node { block, entry, bytes, seen: self.seen, children });
        while self.nodes.len() > self.blocks_max || self.bytes > self.bytes_max {
            let leaves = self.nodes.values().filter(|node| node.children == 0);
            let lightest = leaves.min_by_key(|node| (node.entry.work, node.seen)).map(|node| node.entry.hash);
            match lightest {
                Some(hash) => drop(self.remove(&hash)),
                None => break,
            }
        }
    }

    fn remove(&mut self, hash: &BlockHash) -> Option<Node<P>> {
        let node = self.nodes.remove(hash)?;
        self.bytes -= node.bytes;
        if let Some(parent) = self.nodes.get_mut(&node.block.header.previous_hash) {
            parent.children -= 1;
        }
        Some(node)
    }

    /// Forgets a block, but not what stands on it: it became part of the best chain.
    pub(crate) fn take(&mut self, hash: &BlockHash) {
        self.remove(hash);
    }

    /// Forgets a block and everything that stands on it.
    pub(crate) fn remove_with_descendants(&mut self, hash: &BlockHash) {
        let mut gone = vec![*hash];
        while let Some(hash) = gone.pop() {
            self.remove(&hash);
            gone.extend(
                self.nodes.values().filter(|n| n.block.header.previous_hash == hash).map(|n| n.entry.hash),
            );
        }
    }

    /// Forgets what stands on blocks that are known nowhere.
    pub(crate) fn prune(&mut self, is_on_main: impl Fn(&BlockHash) -> bool) {
        loop {
            let loose = self.nodes.values().find(|node| {
                let parent = &node.block.header.previous_hash;
                !self.nodes.contains_key(parent) && !is_on_main(parent)
            });
            let Some(hash) = loose.map(|node| node.entry.hash) else { return };
            self.remove_with_descendants(&hash);
        }
    }

    /// The blocks from the best chain up to `hash`, lowest first.
    pub(crate) fn path_to(&self, hash: &BlockHash) -> Vec<(Arc<Block<P>>, Entry)> {
        let mut path = Vec::new();
        let mut at = self.nodes.get(hash);
        while let Some(node) = at {
            path.push((Arc::clone(&node.block), node.entry));
            at = self.nodes.get(&node.block.header.previous_hash);
        }
        path.reverse();
        path
    }
}
