//! A disk in memory: fails at a chosen step, and loses what was not synced when its power is lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// A disk in memory, for tests and simulations. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

/// Which steps fail. A step is a change: opening a new file, a write, a cut, a sync, a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step after so many more.
    Once(u64, io::ErrorKind),
    /// Every step after so many more, until [`MemoryDisk::heal`].
    From(u64, io::ErrorKind),
}

/// What becomes of bytes and names that were not synced when the power is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All gone.
    All,
    /// All there: the process was killed, the system was not.
    Nothing,
    /// There up to some step; a write may be cut at any byte. Names are there.
    Tail,
    /// Each write, cut and name by itself, writes by sectors of 512 bytes.
    Some,
    /// Files as long as they were, with zeros where they grew; what was written over is as before. Names are there.
    Zeros,
}

impl Loss {
    /// Every kind.
    pub const EACH: [Self; 5] = [Self::All, Self::Nothing, Self::Tail, Self::Some, Self::Zeros];
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<&'static str, usize>,
    sure_names: BTreeMap<&'static str, usize>,
    files: Vec<Content>,
    steps: u64,
    fault: Option<(u64, io::ErrorKind, bool)>,
    has_struck: bool,
}

#[derive(Debug, Clone, Default)]
struct Content {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What survives a loss of power.
    sure: Vec<u8>,
    unsure: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    /// `true`: a sync failed on it, and no later one will write it.
    Write(usize, Vec<u8>, bool),
    SetLen(usize),
}

impl MemoryDisk {
    /// An empty disk that works.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes steps fail from here on.
    pub fn fail(&self, fault: Fault) {
        let mut state = self.state();
        let (after, kind, is_lasting) = match fault {
            Fault::Once(after, kind) => (after, kind, false),
            Fault::From(after, kind) => (after, kind, true),
        };
        state.has_struck = false;
        state.fault = Some((state.steps.saturating_add(after), kind, is_lasting));
    }

    /// The disk works again.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// Did the fault happen?
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.state().has_struck
    }

    /// How many steps were made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The bytes of a file as a reader sees them.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = *state.names.get(name)?;
        state.files.get(file).map(|content| content.seen.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &'static str, bytes: &[u8]) {
        let mut state = self.state();
        let number = state.files.len();
        state.files.push(Content { seen: bytes.to_vec(), sure: bytes.to_vec(), unsure: Vec::new() });
        state.names.insert(name, number);
        state.sure_names.insert(name, number);
    }

    /// The disk as it is found after a loss of power now. This one goes on as it is. The same seed gives the same disk.
    #[must_use]
    pub fn crash(&self, loss: Loss, seed: u64) -> Self {
        let state = self.state();
        let mut dice = Dice(seed);
        let mut names = state.sure_names.clone();
        for (name, file) in &state.names {
            if loss == Loss::Some && dice.below(2) == 1 || !matches!(loss, Loss::All | Loss::Some) {
                names.insert(name, *file);
            }
        }
        // Removals that were not synced.
        names.retain(|name, _| {
            state.names.contains_key(name) || loss == Loss::All || loss == Loss::Some && dice.below(2) == 0
        });
        let content = |number: usize, dice: &mut Dice| {
            let bytes = state.files.get(number).map(|content| content.after(loss, dice)).unwrap_or_default();
            Content { seen: bytes.clone(), sure: bytes, unsure: Vec::new() }
        };
        let mut after = State::default();
        for (name, number) in names {
            after.names.insert(name, after.files.len());
            after.files.push(content(number, &mut dice));
        }
        after.sure_names.clone_from(&after.names);
        Self(Arc::new(Mutex::new(after)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        let now = self.steps;
        self.steps += 1;
        match self.fault {
            Some((at, kind, is_lasting)) if now == at || is_lasting && now > at => {
                self.has_struck = true;
                Err(io::Error::new(kind, "a fault on purpose"))
            }
            _ => Ok(()),
        }
    }
}

impl Content {
    fn after(&self, loss: Loss, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.sure.clone();
        match loss {
            Loss::All => {}
            Loss::Nothing => return self.seen.clone(),
            Loss::Tail => {
                let whole = dice.below(self.unsure.len() + 1);
                self.unsure.iter().take(whole).for_each(|change| change.make(&mut bytes));
                if let Some(Change::Write(at, torn, _)) = self.unsure.get(whole) {
                    let part = torn.get(..dice.below(torn.len() + 1)).unwrap_or_default();
                    write(&mut bytes, *at, part);
                }
            }
            Loss::Some => {
                for change in &self.unsure {
                    match change {
                        Change::SetLen(_) if dice.below(2) == 0 => {}
                        Change::SetLen(_) => change.make(&mut bytes),
                        Change::Write(at, written, _) => {
                            let mut at = *at;
                            let mut rest = written.as_slice();
                            while !rest.is_empty() {
                                let (sector, after) = rest.split_at((512 - at % 512).min(rest.len()));
                                if dice.below(2) == 1 {
                                    write(&mut bytes, at, sector);
                                }
                                at += sector.len();
                                rest = after;
                            }
                        }
                    }
                }
            }
            Loss::Zeros => {
                for change in &self.unsure {
                    match change {
                        Change::Write(at, lost, _) => bytes.resize(bytes.len().max(at + lost.len()), 0),
                        Change::SetLen(_) => change.make(&mut bytes),
                    }
                }
            }
        }
        bytes
    }
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written, _) => write(bytes, *at, written),
            Self::SetLen(len) => bytes.resize(*len, 0),
        }
    }
}

fn write(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = at.saturating_add(bytes.len());
    if into.len() < end {
        into.resize(end, 0);
    }
    if let Some(place) = into.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &'static str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let number = match state.names.get(name) {
            Some(number) => *number,
            None => {
                state.step()?;
                let number = state.files.len();
                state.files.push(Content::default());
                state.names.insert(name, number);
                number
            }
        };
        drop(state);
        Ok(Arc::new(MemoryFile { disk: self.clone(), number }))
    }

    fn remove(&self, name: &'static str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.names.remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.sure_names = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    number: usize,
}

impl MemoryFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        act(&mut self.disk.state(), self.number)
    }
}

fn content(state: &mut State, number: usize) -> io::Result<&mut Content> {
    state.files.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn place(at: u64) -> io::Result<usize> {
    usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state, number| Ok(content(state, number)?.seen.len() as u64))
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let at = place(at)?;
        self.with(|state, number| {
            let from = content(state, number)?.seen.get(at..at.saturating_add(into.len()));
            into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = place(at)?;
        self.with(|state, number| {
            let done = state.step();
            // A disk that fills up takes a part first.
            let part = if done.is_ok() { bytes.len() } else { bytes.len() / 2 };
            let bytes = bytes.get(..part).unwrap_or_default();
            let content = content(state, number)?;
            write(&mut content.seen, at, bytes);
            content.unsure.push(Change::Write(at, bytes.to_vec(), false));
            done
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = place(len)?;
        self.with(|state, number| {
            state.step()?;
            let content = content(state, number)?;
            content.seen.resize(len, 0);
            content.unsure.push(Change::SetLen(len));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, number| {
            let done = state.step();
            let content = content(state, number)?;
            if done.is_err() {
                for change in &mut content.unsure {
                    if let Change::Write(_, _, is_forgotten) = change {
                        *is_forgotten = true;
                    }
                }
                return done;
            }
            for change in std::mem::take(&mut content.unsure) {
                match change {
                    // The system took the failed sync for the end of it: the place stays as it was, or zero.
                    Change::Write(at, bytes, true) => {
                        let len = content.sure.len().max(at + bytes.len());
                        content.sure.resize(len, 0);
                    }
                    change => change.make(&mut content.sure),
                }
            }
            Ok(())
        })
    }
}

/// The same throws for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (n.max(1) as u64)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(disk: &MemoryDisk) -> Option<Vec<u8>> {
        disk.content("f")
    }

    #[test]
    fn what_is_synced_survives_every_loss() {
        let disk = MemoryDisk::new();
        let file = disk.open("f").unwrap();
        file.write_at(0, b"sure").unwrap();
        file.sync().unwrap();
        disk.sync_names().unwrap();
        file.write_at(2, b"unsure").unwrap();
        for (loss, want) in
            [(Loss::All, &b"sure"[..]), (Loss::Nothing, b"suunsure"), (Loss::Zeros, b"sure\0\0\0\0")]
        {
            assert_eq!(seen(&disk.crash(loss, 1)).unwrap(), want, "{loss:?}");
        }
        let tails: std::collections::BTreeSet<Vec<u8>> =
            (0..200).filter_map(|seed| seen(&disk.crash(Loss::Tail, seed))).collect();
        assert!(tails.contains(&b"suun"[..]) && tails.contains(&b"suunsure"[..]), "{tails:?}");
    }

    #[test]
    fn names_are_lost_unless_synced() {
        let disk = MemoryDisk::new();
        let _file = disk.open("f").unwrap();
        assert_eq!(seen(&disk.crash(Loss::All, 1)), None);
        assert_eq!(seen(&disk.crash(Loss::Nothing, 1)), Some(vec![]));
        disk.sync_names().unwrap();
        disk.remove("f").unwrap();
        assert_eq!(seen(&disk.crash(Loss::All, 1)), Some(vec![]), "the removal was not synced");
        assert_eq!(seen(&disk.crash(Loss::Nothing, 1)), None);
    }

    #[test]
    fn a_failed_sync_is_not_mended_by_the_next() {
        let disk = MemoryDisk::new();
        let file = disk.open("f").unwrap();
        disk.sync_names().unwrap();
        file.write_at(0, b"once").unwrap();
        disk.fail(Fault::Once(0, io::ErrorKind::Other));
        assert!(file.sync().is_err() && disk.has_struck());
        file.write_at(4, b"again").unwrap();
        file.sync().unwrap();
        assert_eq!(seen(&disk).unwrap(), b"onceagain");
        assert_eq!(seen(&disk.crash(Loss::All, 1)).unwrap(), b"\0\0\0\0again");
    }

    #[test]
    fn a_full_disk_takes_a_part_and_works_again() {
        let disk = MemoryDisk::new();
        let file = disk.open("f").unwrap();
        disk.fail(Fault::From(0, io::ErrorKind::StorageFull));
        assert_eq!(file.write_at(0, b"four").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(file.set_len(0).is_err() && disk.open("g").is_err() && disk.open("f").is_ok());
        assert_eq!(seen(&disk).unwrap(), b"fo");
        disk.heal();
        file.write_at(0, b"four").unwrap();
        assert_eq!(seen(&disk).unwrap(), b"four");
    }
}
