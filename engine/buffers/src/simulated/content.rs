//! The bytes of one simulated file: what lasts, what was written since, and what a power loss makes of both.
//!
//! Not here: names, errors and capacity.

use super::choices::Choices;

/// The piece of a write that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// A file without its name.
#[derive(Clone, Default)]
pub(super) struct Content {
    /// What lasts whatever happens.
    base: Vec<u8>,
    /// What was done on top of it, in order. Whatever a sync made last stands here only behind something that may be lost.
    changes: Vec<Change>,
    /// What reads see.
    current: Vec<u8>,
    /// Bytes of the disk that are taken.
    allocated: u64,
}

/// A change and how much it can be relied on.
#[derive(Clone)]
struct Change {
    what: What,
    state: State,
}

/// Something that changes a file. Appends are writes at what was the end then.
#[derive(Clone)]
pub(super) enum What {
    /// Bytes at an offset.
    Write { offset: u64, bytes: Vec<u8> },
    /// Another size.
    Size(u64),
    /// At least this size, with space taken for it.
    Allocate(u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next sync makes it last.
    Unsynced,
    /// A sync failed, and no later one tries it again: the operating system has forgotten that it was to be written.
    Abandoned,
    /// It lasts.
    Synced,
}

impl Content {
    /// What reads see.
    pub(super) fn current(&self) -> &[u8] {
        &self.current
    }

    /// Bytes of the disk that are taken.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Bytes of the disk that a change takes in addition.
    pub(super) fn needs(&self, what: &What) -> u64 {
        let end = match what {
            What::Write { offset, bytes } => offset + bytes.len() as u64,
            // What is not written yet takes no space.
            What::Size(_) => 0,
            What::Allocate(size) => *size,
        };
        end.saturating_sub(self.allocated)
    }

    /// Changes the file for those who read it; nothing of it lasts yet.
    pub(super) fn change(&mut self, what: What) {
        self.allocated += self.needs(&what);
        what.apply(&mut self.current);
        if let What::Size(size) = what {
            self.allocated = self.allocated.min(size);
        }
        self.changes.push(Change { what, state: State::Unsynced });
    }

    /// Makes what was not given up last.
    pub(super) fn sync(&mut self) {
        for change in self.changes.iter_mut().filter(|change| change.state == State::Unsynced) {
            change.state = State::Synced;
        }
        let lasting = self.changes.iter().take_while(|change| change.state == State::Synced).count();
        for change in self.changes.drain(..lasting) {
            change.what.apply(&mut self.base);
        }
    }

    /// Gives up what was not synced: it may or may not last.
    pub(super) fn fail_sync(&mut self) {
        for change in self.changes.iter_mut().filter(|change| change.state == State::Unsynced) {
            change.state = State::Abandoned;
        }
    }

    /// Puts other bytes in the place of all, lasting.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        *self = Self { allocated: bytes.len() as u64, base: bytes.clone(), current: bytes, changes: Vec::new() };
    }

    /// What a power loss leaves.
    ///
    /// Changes are applied in their order although a disk may take them in any: of two writes to one place, the earlier is
    /// left where the later is lost, and nothing else can come of it.
    pub(super) fn lose(&self, choices: &mut Choices) -> Self {
        let fate = Fate::choose(self.changes.len(), choices);
        let mut bytes = self.base.clone();
        for (index, change) in self.changes.iter().enumerate() {
            match (change.state, fate) {
                (State::Synced, _) | (_, Fate::AllArrive) => change.what.apply(&mut bytes),
                (_, Fate::AllLost) => {}
                (_, Fate::Until(last)) if index < last => change.what.apply(&mut bytes),
                (_, Fate::Until(last)) if index > last => {}
                (_, Fate::Until(_) | Fate::EachByItself) => change.what.arrive(&mut bytes, choices),
            }
        }
        let mut left = Self::default();
        left.replace(bytes);
        left
    }
}

/// What becomes of the changes of one file.
#[derive(Clone, Copy)]
enum Fate {
    AllArrive,
    AllLost,
    /// Those before arrive, that one perhaps or in part, those behind are lost.
    Until(usize),
    EachByItself,
}

impl Fate {
    fn choose(changes: usize, choices: &mut Choices) -> Self {
        if changes == 0 {
            return Self::AllArrive;
        }
        match choices.number(0..=4) {
            0 => Self::AllArrive,
            1 => Self::AllLost,
            2 => Self::Until(choices.number(0..=changes as u64 - 1) as usize),
            _ => Self::EachByItself,
        }
    }
}

impl What {
    /// The change as far as its first bytes go.
    pub(super) fn prefix(self, length: u64) -> Self {
        match self {
            Self::Write { offset, mut bytes } => {
                bytes.truncate(length as usize);
                Self::Write { offset, bytes }
            }
            whole => whole,
        }
    }

    /// How many bytes it writes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } => bytes.len() as u64,
            Self::Size(_) | Self::Allocate(_) => 0,
        }
    }

    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(to, *offset, bytes),
            Self::Size(size) => to.resize(*size as usize, 0),
            Self::Allocate(size) => to.resize(to.len().max(*size as usize), 0),
        }
    }

    /// Arrives whole, in part or not at all.
    fn arrive(&self, to: &mut Vec<u8>, choices: &mut Choices) {
        let Self::Write { offset, bytes } = self else {
            if !choices.flag() {
                self.apply(to);
            }
            return;
        };
        match choices.number(0..=5) {
            0 => self.apply(to),
            1 => {}
            2 => {
                let length = choices.number(0..=bytes.len() as u64) as usize;
                write(to, *offset, &bytes[..length]);
            }
            // The size went ahead of the data, of which nothing or some sectors follow.
            3 => grow(to, offset + bytes.len() as u64),
            4 => {
                grow(to, offset + bytes.len() as u64);
                write_sectors(to, *offset, bytes, choices);
            }
            _ => write_sectors(to, *offset, bytes, choices),
        }
    }
}

fn grow(to: &mut Vec<u8>, size: u64) {
    to.resize(to.len().max(size as usize), 0);
}

fn write(to: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let start = offset as usize;
    grow(to, offset + bytes.len() as u64);
    to[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Writes some of the sectors that the bytes lie in.
fn write_sectors(to: &mut Vec<u8>, offset: u64, bytes: &[u8], choices: &mut Choices) {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min((SECTOR - at % SECTOR) as usize));
        if !choices.flag() {
            write(to, at, piece);
        }
        at += piece.len() as u64;
        rest = behind;
    }
}
