//! What a disk may hold after a loss of power, by a journal of every change that was made.
//!
//! Only what was synced is sure: bytes by a sync of their file, names by a sync of their folder. Of all else any part
//! may be there.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Seek as _;
use std::path::{Path, PathBuf};

use super::Step;

/// A folder, or a file with its number.
type Names = BTreeMap<PathBuf, Option<usize>>;

/// Every change below a folder, in order.
#[derive(Debug)]
pub(crate) struct Journal {
    root: PathBuf,
    names: Names,
    /// By inode.
    files: HashMap<u64, usize>,
    files_len: usize,
    events: Vec<Event>,
}

#[derive(Debug)]
enum Event {
    Folder(PathBuf),
    File(PathBuf, usize),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    Rename(PathBuf, PathBuf),
    SyncFolder(PathBuf),
    Remove(PathBuf),
    Mark(&'static str),
}

impl Event {
    /// The path whose name changes.
    fn name(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) | Self::File(path, _) | Self::Rename(_, path) | Self::Remove(path) => {
                Some(path)
            }
            _ => None,
        }
    }
}

/// What became of names that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamesAre {
    Lost,
    Kept,
    /// Up to some step.
    Cut,
    /// Each by itself.
    Mixed,
}

/// What became of bytes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BytesAre {
    Lost,
    Kept,
    /// Up to some multiple of 512.
    Torn,
    /// As long as they were.
    Zeros,
}

/// Files by path; `None`: a folder.
pub(crate) type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Journal {
    pub(crate) fn new(root: &Path) -> Self {
        let (names, files) = (Names::new(), HashMap::new());
        Self { root: root.to_owned(), names, files, files_len: 0, events: Vec::new() }
    }

    /// Something that others were told.
    pub(crate) fn mark(&mut self, what: &'static str) {
        self.events.push(Event::Mark(what));
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// What others were told in the first `n` steps.
    pub(crate) fn marks(&self, n: usize) -> Vec<&'static str> {
        let mark = |event: &Event| if let Event::Mark(what) = event { Some(*what) } else { None };
        self.events[..n].iter().filter_map(mark).collect()
    }

    /// The last of the first `n` steps, for people.
    pub(crate) fn step(&self, n: usize) -> String {
        match self.events[..n].last() {
            Some(Event::Write(file, at, bytes)) => format!("Write({file}, {at}, {} bytes)", bytes.len()),
            last => format!("{last:?}"),
        }
    }

    pub(super) fn note(&mut self, step: &Step<'_>) {
        match step {
            Step::Folder(path) => self.folder(&self.at(path)),
            Step::File(path, file) => self.file(self.at(path), file),
            Step::Write(file, bytes) => {
                let mut here: &File = file;
                let end = here.stream_position().unwrap();
                let at = end - u64::try_from(bytes.len()).unwrap();
                self.events.push(Event::Write(self.number(file), at, bytes.to_vec()));
            }
            Step::SetLen(file, len) => self.events.push(Event::SetLen(self.number(file), *len)),
            Step::Sync(file) => self.events.push(Event::Sync(self.number(file))),
            Step::Rename(from, to) => {
                let (from, to) = (self.at(from), self.at(to));
                let moved = self.names.remove(&from).unwrap();
                self.names.insert(to.clone(), moved);
                self.events.push(Event::Rename(from, to));
            }
            Step::SyncFolder(path) => self.events.push(Event::SyncFolder(self.at(path))),
            Step::Remove(path) => {
                let path = self.at(path);
                // What is deepest goes first.
                let gone: Vec<PathBuf> =
                    self.names.keys().filter(|name| name.starts_with(&path)).cloned().collect();
                for name in gone.into_iter().rev() {
                    self.names.remove(&name);
                    self.events.push(Event::Remove(name));
                }
            }
        }
    }

    fn folder(&mut self, path: &Path) {
        let above: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for path in above.into_iter().rev() {
            if self.names.insert(path.to_owned(), None).is_none() {
                self.events.push(Event::Folder(path.to_owned()));
            }
        }
    }

    fn file(&mut self, path: PathBuf, file: &File) {
        if let Some(Some(number)) = self.names.get(&path) {
            // It was there and was emptied.
            return self.events.push(Event::SetLen(*number, 0));
        }
        let number = self.files_len;
        self.files_len += 1;
        self.files.insert(inode(file), number);
        self.names.insert(path.clone(), Some(number));
        self.events.push(Event::File(path, number));
    }

    fn at(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }

    fn number(&self, file: &File) -> usize {
        self.files[&inode(file)]
    }

    /// What is there when the power is lost after `n` steps.
    pub(crate) fn after(&self, n: usize, names_are: NamesAre, bytes_are: BytesAre, seed: u64) -> Tree {
        let mut dice = Dice(seed ^ n as u64);
        let events = &self.events[..n];
        let cut = dice.below(n + 1);
        let mut names = Names::new();
        for (at, event) in events.iter().enumerate() {
            let Some(name) = event.name() else { continue };
            let is_synced = || {
                let folder = name.parent().unwrap();
                events[at..]
                    .iter()
                    .any(|later| matches!(later, Event::SyncFolder(synced) if synced == folder))
            };
            let is_kept = match names_are {
                NamesAre::Lost => is_synced(),
                NamesAre::Kept => true,
                NamesAre::Cut => at < cut || is_synced(),
                NamesAre::Mixed => dice.below(2) == 0 || is_synced(),
            };
            if is_kept {
                rename(&mut names, event);
            }
        }
        let mut bytes =
            |number: Option<usize>| number.map(|number| content(events, number, bytes_are, &mut dice));
        names.into_iter().map(|(path, number)| (path, bytes(number))).collect()
    }
}

fn rename(names: &mut Names, event: &Event) {
    let has_folder = |names: &Names, path: &Path| {
        let folder = path.parent().unwrap();
        folder.as_os_str().is_empty() || names.get(folder) == Some(&None)
    };
    match event {
        Event::Folder(path) if has_folder(names, path) => {
            names.insert(path.clone(), None);
        }
        Event::File(path, number) if has_folder(names, path) => {
            names.insert(path.clone(), Some(*number));
        }
        Event::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        Event::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
        _ => {}
    }
}

fn content(events: &[Event], number: usize, bytes_are: BytesAre, dice: &mut Dice) -> Vec<u8> {
    let is_ours = |event: &&Event| matches!(event, Event::Write(of, ..) | Event::SetLen(of, _) | Event::Sync(of) if *of == number);
    let ours: Vec<&Event> = events.iter().filter(is_ours).collect();
    let synced = ours.iter().rposition(|event| matches!(event, Event::Sync(_))).map_or(0, |at| at + 1);
    let mut bytes = Vec::new();
    for event in &ours[..synced] {
        change(&mut bytes, event);
    }
    let unsure = &ours[synced..];
    match bytes_are {
        BytesAre::Lost => {}
        BytesAre::Kept => unsure.iter().for_each(|event| change(&mut bytes, event)),
        BytesAre::Zeros => {
            for event in unsure {
                match event {
                    Event::Write(of, at, lost) => {
                        change(&mut bytes, &Event::Write(*of, *at, vec![0; lost.len()]));
                    }
                    event => change(&mut bytes, event),
                }
            }
        }
        BytesAre::Torn => {
            let whole = dice.below(unsure.len() + 1);
            unsure[..whole].iter().for_each(|event| change(&mut bytes, event));
            if let Some(Event::Write(of, at, torn)) = unsure.get(whole) {
                let end = usize::try_from(*at).unwrap() + torn.len();
                let sector = dice.below(end / 512 + 1) * 512;
                let len = sector.saturating_sub(usize::try_from(*at).unwrap()).min(torn.len());
                change(&mut bytes, &Event::Write(*of, *at, torn[..len].to_vec()));
            }
        }
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(_, at, new) if !new.is_empty() => {
            let at = usize::try_from(*at).unwrap();
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[at..at + new.len()].copy_from_slice(new);
        }
        Event::SetLen(_, len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        _ => {}
    }
}

#[cfg(unix)]
fn inode(file: &File) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap())
}

#[cfg(not(unix))]
fn inode(_: &File) -> u64 {
    panic!("only unix has a number for each file")
}

/// Puts it on the disk.
pub(crate) fn put(root: &Path, tree: &Tree) {
    for (path, bytes) in tree {
        match bytes {
            None => fs::create_dir(root.join(path)).unwrap(),
            Some(bytes) => fs::write(root.join(path), bytes).unwrap(),
        }
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
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}
