//! The coin store in redb: one file, one transaction for each point.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `version`, `point`, `floor` | 4 bytes; a point; 8 bytes: how many blocks share the loose receipts |
//! | `heads` | number of a group of 256 blocks | their heads, one after the other |
//! | `coins` | identifier of a row | its unspent outputs |
//! | `receipts` | number of a block, from 0 on | identifiers of its receipts, one after the other |
//! | `loose` | number of a group | identifiers of receipts of the blocks below the floor |
//!
//! Receipts stand by block, not each by itself: nobody looks for one here, and a block is one entry at the end of a table
//! instead of a thousand all over it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{
    Database, Durability, ReadableDatabase, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use spandrel_chain_protocol::{ReceiptId, Txid};
use spandrel_consensus::Unspent;

use super::{Batch, CoinStore, Items};
use crate::codec::{Bytes, put_unspent, take_unspent};
use crate::{Disk, DiskFile, Head, Limits, Point, StoreError};

const FILE: &str = "coins.redb";
const VERSION: u32 = 1;
const GROUP: usize = 256;
const LOOSE_GROUP: usize = 4096;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
const COINS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("coins");
const RECEIPTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("receipts");
const LOOSE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("loose");

/// Unspent outputs in one redb file, which takes up to four times the live data; [`tidy`](CoinStore::tidy) packs it.
#[derive(Debug)]
pub struct RedbCoins {
    database: Database,
    file: Arc<dyn DiskFile>,
    health: Arc<Health>,
    point: Option<Point>,
    /// Blocks below this cannot leave one by one: their receipts are loose.
    floor: u64,
}

impl CoinStore for RedbCoins {
    fn open(disk: &Arc<dyn Disk>, limits: &Limits) -> Result<Self, StoreError> {
        let file = disk.open(FILE).map_err(StoreError::disk(FILE))?;
        let health = Arc::<Health>::default();
        let backend = Backend { file: Arc::clone(&file), health: Arc::clone(&health) };
        let database = Database::builder()
            .set_cache_size(limits.cache_bytes)
            .create_with_backend(backend)
            .map_err(|error| health.explain(error))?;
        let mut coins = Self { database, file, health, point: None, floor: 0 };
        coins.read_meta()?;
        Ok(coins)
    }

    fn remove(disk: &Arc<dyn Disk>) -> Result<(), StoreError> {
        disk.remove(FILE).map_err(StoreError::disk(FILE))?;
        disk.sync_names().map_err(StoreError::sync(FILE))
    }

    fn point(&self) -> Option<Point> {
        self.point
    }

    fn can_keep(&self, heads_kept: usize) -> bool {
        heads_kept as u64 >= self.floor
    }

    fn heads(&self) -> Result<Items<'_, Head>, StoreError> {
        let table = match self.read(|read| read.open_table(HEADS)) {
            Ok(Some(table)) => table,
            Ok(None) => return Ok(Box::new(std::iter::empty())),
            Err(error) => return Err(error),
        };
        let groups = table.range::<u64>(..).map_err(|e| self.health.explain(e))?;
        let mut number = 0;
        Ok(Box::new(groups.flat_map(move |group| -> Vec<Result<Head, StoreError>> {
            let (key, value) = match group {
                Ok(group) => group,
                Err(error) => return vec![Err(self.health.explain(error))],
            };
            let mut bytes = Bytes(value.value());
            if key.value() != number || bytes.0.len() % Head::BYTES != 0 {
                return vec![Err(damaged("a group of heads is missing"))];
            }
            number += 1;
            std::iter::from_fn(|| Head::take(&mut bytes).map(Ok)).collect()
        })))
    }

    fn coins(&self) -> Result<Items<'_, (Txid, Unspent)>, StoreError> {
        let Some(table) = self.read(|read| read.open_table(COINS))? else {
            return Ok(Box::new(std::iter::empty()));
        };
        let rows = table.range::<&[u8; 32]>(..).map_err(|e| self.health.explain(e))?;
        Ok(Box::new(rows.map(|row| {
            let (key, value) = row.map_err(|error| self.health.explain(error))?;
            let mut bytes = Bytes(value.value());
            let unspent = take_unspent(&mut bytes).flatten().filter(|_| bytes.is_done());
            let unspent = unspent.ok_or_else(|| damaged("unspent outputs cannot be read"))?;
            Ok((Txid::from_bytes(*key.value()), unspent))
        })))
    }

    fn receipts(&self) -> Result<Items<'_, ReceiptId>, StoreError> {
        let mut groups = Vec::new();
        for table in [LOOSE, RECEIPTS] {
            if let Some(table) = self.read(|read| read.open_table(table))? {
                groups.push(table.range::<u64>(..).map_err(|e| self.health.explain(e))?);
            }
        }
        Ok(Box::new(groups.into_iter().flatten().flat_map(|group| -> Vec<Result<ReceiptId, StoreError>> {
            let ids = match group {
                Ok((_, ids)) => ids,
                Err(error) => return vec![Err(self.health.explain(error))],
            };
            let (ids, rest) = ids.value().as_chunks::<32>();
            if !rest.is_empty() {
                return vec![Err(damaged("a group of receipts is cut"))];
            }
            ids.iter().map(|id| Ok(ReceiptId::from_bytes(*id))).collect()
        })))
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let mut write = self.database.begin_write().map_err(|e| self.health.explain(e))?;
        // A restart after a crash is then as quick as any, for one more sync; flushes are rare.
        write.set_quick_repair(true);
        write.set_durability(Durability::Immediate).map_err(|_| damaged("a commit cannot be durable"))?;
        fill(&write, batch)
            .and_then(|()| write.commit().map_err(redb::Error::from))
            .map_err(|e| self.health.explain(e))?;
        self.point = Some(batch.point);
        if batch.is_whole {
            self.floor = batch.point.blocks;
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        let stored = {
            let read = self.database.begin_read().map_err(|e| self.health.explain(e))?;
            let Ok(coins) = read.open_table(COINS) else { return Ok(()) };
            coins.stats().map_err(|e| self.health.explain(e))?.stored_bytes()
        };
        let len = self.file.len().map_err(StoreError::disk(FILE))?;
        // Packing rewrites everything: only when much is gained.
        if len > (64 << 20) && len / 2 > stored {
            self.database.compact().map_err(|e| self.health.explain(e))?;
        }
        Ok(())
    }
}

fn fill(write: &WriteTransaction, batch: &Batch<'_>) -> Result<(), redb::Error> {
    if batch.is_whole {
        write.delete_table(COINS)?;
        write.delete_table(RECEIPTS)?;
        write.delete_table(LOOSE)?;
        write.delete_table(HEADS)?;
    }
    let mut bytes = Vec::new();
    let mut coins = write.open_table(COINS)?;
    for (txid, unspent) in &batch.coins {
        match unspent {
            Some(unspent) => {
                bytes.clear();
                put_unspent(Some(unspent), &mut bytes);
                coins.insert(txid.as_bytes(), bytes.as_slice())?;
            }
            None => drop(coins.remove(txid.as_bytes())?),
        }
    }
    let mut put = |ids: &[ReceiptId]| {
        bytes.clear();
        ids.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
        std::mem::take(&mut bytes)
    };
    let mut loose = write.open_table(LOOSE)?;
    for (number, ids) in (0_u64..).zip(batch.loose_receipts.chunks(LOOSE_GROUP)) {
        loose.insert(number, put(ids).as_slice())?;
    }
    let mut receipts = write.open_table(RECEIPTS)?;
    receipts.retain_in(batch.heads_kept as u64.., |_, _| false)?;
    for (place, ids) in (batch.heads_kept as u64..).zip(&batch.receipts).filter(|(_, ids)| !ids.is_empty()) {
        receipts.insert(place, put(ids).as_slice())?;
    }
    let mut heads = write.open_table(HEADS)?;
    for (number, group) in (0_u64..).zip(batch.heads.chunks(GROUP)).skip(batch.heads_kept / GROUP) {
        bytes.clear();
        group.iter().for_each(|head| head.put(&mut bytes));
        heads.insert(number, bytes.as_slice())?;
    }
    let groups = batch.heads.len().div_ceil(GROUP) as u64;
    heads.retain_in(groups.., |_, _| false)?;
    let mut meta = write.open_table(META)?;
    meta.insert("version", VERSION.to_le_bytes().as_slice())?;
    bytes.clear();
    batch.point.put(&mut bytes);
    meta.insert("point", bytes.as_slice())?;
    if batch.is_whole {
        meta.insert("floor", batch.point.blocks.to_le_bytes().as_slice())?;
    }
    Ok(())
}

fn damaged(what: &'static str) -> StoreError {
    StoreError::Damaged { file: FILE, at: 0, what }
}

impl RedbCoins {
    fn read<T>(
        &self,
        open: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::TableError>,
    ) -> Result<Option<T>, StoreError> {
        let read = self.database.begin_read().map_err(|e| self.health.explain(e))?;
        match open(&read) {
            Ok(table) => Ok(Some(table)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(self.health.explain(error)),
        }
    }

    fn read_meta(&mut self) -> Result<(), StoreError> {
        let Some(meta) = self.read(|read| read.open_table(META))? else { return Ok(()) };
        let get = |key| meta.get(key).map_err(|e| self.health.explain(e));
        let version = get("version")?.and_then(|version| Bytes(version.value()).u32());
        if version != Some(VERSION) {
            return Err(damaged("it has another version"));
        }
        let point = get("point")?.and_then(|point| Point::read(point.value()));
        let floor = get("floor")?.and_then(|floor| Bytes(floor.value()).u64());
        self.point = Some(point.ok_or_else(|| damaged("the point it is complete up to cannot be read"))?);
        self.floor = floor.unwrap_or_default();
        Ok(())
    }
}

/// What redb's errors do not say: whether it was a sync.
#[derive(Debug, Default)]
struct Health {
    has_sync_failed: AtomicBool,
    has_io_failed: AtomicBool,
}

impl Health {
    fn explain(&self, error: impl Into<redb::Error>) -> StoreError {
        let source = match error.into() {
            redb::Error::Io(source) => source,
            error => io::Error::other(error),
        };
        if self.has_sync_failed.load(Ordering::Relaxed) {
            return StoreError::Sync { file: FILE, source };
        }
        if self.has_io_failed.load(Ordering::Relaxed) {
            return StoreError::Disk { file: FILE, source };
        }
        // Not the disk: what redb found in the file.
        damaged("it cannot be read")
    }
}

#[derive(Debug)]
struct Backend {
    file: Arc<dyn DiskFile>,
    health: Arc<Health>,
}

impl Backend {
    fn watch<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            self.health.has_io_failed.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.watch(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch(self.file.read_at(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let done = self.file.sync();
        if done.is_err() {
            self.health.has_sync_failed.store(true, Ordering::Relaxed);
        }
        done
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch(self.file.write_at(offset, data))
    }
}
