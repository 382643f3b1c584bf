//! Looking into buffers from the outside: what is in them, whether it is whole, and what would still be delivered.
//!
//! Nothing is written, nothing is completed, and nothing is put aside: a buffer is after a look what it was before. Memory
//! does not grow with what is in it. Not here: in which words that is told (`telemetry-engine buffer`).

mod locate;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

use otlp::{AdmitError, Wire};

use crate::files::{Directory, Files, HoldError, Listed, OpenFile};
use crate::format::{COMPLETED, Completed, DAMAGED_SUFFIX, HEADER, Read, SPARE, VERSION, segment_name, segment_of};
use crate::log::{Log, Loss, Now, OpenError, Options, Place, Stored};

pub use locate::{buffers_at, bytes_in};

/// The moment at which everything is opened: behind every moment that can stand in a file, so that all of them are told as
/// they are written.
const END_OF_TIME: Now = Now { unix_millis: u64::MAX, elapsed: std::time::Duration::ZERO };
/// Nothing is written, so only the age matters: nothing is too old to be looked at.
const OPTIONS: Options = Options { segment_size: u64::MAX, max_size: u64::MAX, completions: u32::MAX, max_age: None };

/// Why a buffer cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is absent, in use, or not to be opened.
    #[error("{hold}{nearest}")]
    Hold {
        /// What stands in the way.
        hold: HoldError,
        /// What there is in its place, or the system's answer.
        nearest: String,
    },
    /// It is a directory, and none of a buffer.
    #[error(
        "{path} is no buffer{nearest}; expected the directory of a buffer, with files such as `{}` or `{}`, or a state directory with `buffers`",
        segment_name(0),
        COMPLETED[0]
    )]
    NoBuffer {
        /// The directory.
        path: String,
        /// What there is in its place.
        nearest: String,
    },
    /// Its files cannot be read, or a later version wrote them.
    #[error("the buffer {path} cannot be read")]
    Open {
        /// The directory.
        path: String,
        /// What stands in the way.
        #[source]
        source: OpenError,
    },
}

/// A buffer that is looked into.
#[derive(Debug)]
pub struct Inspection<F: Files = Directory> {
    log: Log<F>,
    contents: Contents,
    /// What is known to be damaged without reading frames.
    remarks: Vec<Damage>,
    /// Segments of which damage was told.
    told: BTreeSet<u64>,
    has_ended: bool,
}

/// What a buffer holds, as far as that is known without reading its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The version of its files.
    pub version: u32,
    /// Its segments, the oldest first.
    pub segments: Vec<SegmentContents>,
    /// Frames that are not completed.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Every frame with a lower sequence number is completed.
    pub completed_before: u64,
    /// Frames above that which are completed too, by sequence number.
    pub completed: Vec<Range<u64>>,
    /// Files in which an engine found damage, which it has kept aside. What was whole in them was delivered.
    pub kept_aside: Vec<Listed>,
    /// Bytes of all files in the directory.
    pub bytes: u64,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentContents {
    /// The name of its file.
    pub file: String,
    /// The sequence number of its first frame.
    pub first: u64,
    /// Its frames.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// How many of the frames are completed.
    pub completed_frames: u64,
    /// Records in those.
    pub completed_records: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes at its end that were never acknowledged: a write that was cut off.
    pub cut_off_bytes: u64,
    /// Whether nothing is appended to it any more, which its end says.
    pub is_sealed: bool,
    /// Milliseconds since 1970 at which it was begun; none where nothing of that is left.
    pub oldest_unix_millis: Option<u64>,
    /// Milliseconds since 1970 at which its last frame was appended; the beginning, where it has none.
    pub newest_unix_millis: Option<u64>,
}

/// Something that was found by reading.
#[derive(Debug)]
pub enum Item {
    /// A frame that is whole.
    Frame(Wire),
    /// Something that is not.
    Damage(Damage),
}

/// Something that is not as it was written.
#[derive(Debug)]
pub struct Damage {
    /// File and offset in bytes, as far as that is known.
    pub place: Option<(String, u64)>,
    /// Frames that are lost by it.
    pub frames: u64,
    /// Records that are lost by it, as far as that is known.
    pub records: u64,
    /// What it is.
    pub kind: DamageKind,
}

/// What is damaged.
#[derive(Debug)]
pub enum DamageKind {
    /// The bytes of frames are not those that were written.
    Frames,
    /// The file in which frames were is gone.
    Gone,
    /// The bytes are those that were written, and mean nothing.
    Meaningless(AdmitError),
    /// The bytes are those that were written, and hold another number of records than was written down: this one.
    Miscounted(u64),
    /// The operating system does not read the rest of a segment.
    Unreadable(io::Error),
    /// Marks of frames or the header of a segment, which cost nothing: what they say stands elsewhere too.
    Marks,
    /// A file that is called a segment and holds nothing that could be in it.
    Foreign,
    /// Neither of the two files that say what is completed can be read.
    Completions,
}

impl Inspection<Directory> {
    /// Looks into a buffer, and holds it until this is dropped.
    ///
    /// # Errors
    /// [`InspectError`], also while an engine has it.
    pub fn hold(path: &Path) -> Result<Self, InspectError> {
        Self::of(path, Directory::hold)
    }

    /// Looks into a buffer that nobody is expected to have, without keeping anybody from having it.
    ///
    /// # Errors
    /// [`InspectError`].
    pub fn glance(path: &Path) -> Result<Self, InspectError> {
        Self::of(path, Directory::glance)
    }

    fn of(path: &Path, have: fn(&Path) -> Result<Directory, HoldError>) -> Result<Self, InspectError> {
        locate::expect_buffer(path)?;
        let directory = have(path).map_err(locate::not_held)?;
        let opened = Self::open(directory);
        opened.map_err(|source| InspectError::Open { path: path.display().to_string(), source })
    }
}

impl<F: Files> Inspection<F> {
    /// Looks into the buffer of these files.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(files: F) -> Result<Self, OpenError> {
        let log = Log::open(files, OPTIONS, END_OF_TIME)?;
        let listed = log.files().list().map_err(|source| OpenError::Io { name: ".".to_owned(), source })?;
        let contents = contents(&log, &listed)?;
        let remarks = remarks(&log, &listed)?;
        Ok(Self { log, contents, remarks, told: BTreeSet::new(), has_ended: false })
    }

    /// What it held when it was opened.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The next things that are found by reading what is not completed, in about the order in which they were appended; nothing
    /// at the end. What is damaged does not keep from reading on.
    pub fn read(&mut self) -> Vec<Item> {
        while !self.has_ended {
            let found = self.step();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    fn step(&mut self) -> Vec<Item> {
        // Losses that opening found are told first, since nobody has taken them.
        let mut found = self.lost(None);
        if found.is_empty() && !self.log.has_unread() {
            self.has_ended = true;
            return self.rest();
        }
        // A chunk at a time: an error costs nothing that was read before.
        match self.log.read(1, END_OF_TIME) {
            Ok(stored) => {
                found.extend(self.lost(None));
                found.extend(stored.into_iter().map(|stored| self.admitted(stored)));
            }
            Err(error) => {
                found.extend(self.lost(None));
                found.extend(self.unreadable(error));
            }
        }
        found
    }

    /// Goes on behind a segment that cannot be read.
    fn unreadable(&mut self, error: io::Error) -> Vec<Item> {
        let place = self.log.place();
        // The cursor stands in the oldest segment that has something to be read.
        self.log.drop_oldest();
        self.lost(place.map(|place| (place, error)))
    }

    /// What the log says is lost. With an error that is why.
    fn lost(&mut self, unreadable: Option<(Place, io::Error)>) -> Vec<Item> {
        let mut because = unreadable;
        let losses = self.log.take_losses();
        losses.into_iter().map(|loss| Item::Damage(self.damage(loss, because.take()))).collect()
    }

    fn damage(&mut self, loss: Loss, unreadable: Option<(Place, io::Error)>) -> Damage {
        let Loss { frames, records, place, .. } = loss;
        let (kind, place) = match (unreadable, place) {
            (Some((place, error)), _) => (DamageKind::Unreadable(error), Some(place)),
            (None, Some(place)) => (DamageKind::Frames, Some(place)),
            (None, None) => (DamageKind::Gone, None),
        };
        self.told.extend(place.map(|place| place.segment));
        Damage { place: place.map(named), frames, records, kind }
    }

    /// What was stored was admitted before; if it is not now, it is not what was stored.
    fn admitted(&mut self, stored: Stored) -> Item {
        let place = self.log.place_of(&stored);
        let records = u64::from(stored.frame.records);
        let kind = match otlp::readmit(stored.signal, stored.payload) {
            Ok(wire) if wire.records() == records => return Item::Frame(wire),
            Ok(wire) => DamageKind::Miscounted(wire.records()),
            Err(error) => DamageKind::Meaningless(error),
        };
        self.told.insert(place.segment);
        Item::Damage(Damage { place: Some(named(place)), frames: 1, records, kind })
    }

    /// What has cost nothing is told last.
    fn rest(&mut self) -> Vec<Item> {
        let damaged = self.log.known_segments(END_OF_TIME).filter(|segment| segment.is_damaged);
        let silent = damaged.filter(|segment| !self.told.contains(&segment.first));
        let marks = silent.map(|segment| Damage::free(DamageKind::Marks, segment_name(segment.first)));
        marks.collect::<Vec<_>>().into_iter().chain(self.remarks.drain(..)).map(Item::Damage).collect()
    }
}

impl Damage {
    /// Damage of a file that costs no frame.
    fn free(kind: DamageKind, file: String) -> Self {
        Self { place: Some((file, 0)), frames: 0, records: 0, kind }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, offset)) = &self.place {
            write!(formatter, "{file}, offset {offset}: ")?;
        }
        let (frames, records) = (counted(self.frames, "frame"), counted(self.records, "record"));
        match &self.kind {
            DamageKind::Frames if self.frames == 0 => write!(formatter, "{records} were in the frames that are damaged"),
            DamageKind::Frames if self.records == 0 => write!(formatter, "{frames} damaged"),
            DamageKind::Frames => write!(formatter, "{frames} with {records} damaged"),
            DamageKind::Gone if self.records == 0 => write!(formatter, "{frames} gone with their file"),
            DamageKind::Gone => write!(formatter, "{frames} with {records} gone with their file"),
            DamageKind::Meaningless(error) => {
                write!(formatter, "a frame with {records} is as it was written, and is no OTLP: {error}")
            }
            DamageKind::Miscounted(found) => {
                write!(formatter, "a frame is as it was written, and has {} instead of {records}", counted(*found, "record"))
            }
            DamageKind::Unreadable(error) => {
                write!(formatter, "{frames} with {records} cannot be read from here on: {error}")
            }
            DamageKind::Marks => formatter.write_str("a header or marks of frames are damaged, which costs nothing"),
            DamageKind::Foreign => formatter.write_str("this is no segment, or a copy of another one"),
            DamageKind::Completions => formatter.write_str(
                "what is completed is not known any more, the other file is damaged too: what was delivered seems not to be",
            ),
        }
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn named(place: Place) -> (String, u64) {
    (segment_name(place.segment), place.offset)
}

fn contents<F: Files>(log: &Log<F>, listed: &[Listed]) -> Result<Contents, OpenError> {
    let mut segments = Vec::new();
    for known in log.known_segments(END_OF_TIME) {
        let file = segment_name(known.first);
        // Of a segment that has lost its header and has no frame there is no moment.
        let moment = |before: u64| Some(u64::MAX - before).filter(|millis| *millis != 0 && *millis != u64::MAX);
        segments.push(SegmentContents {
            first: known.first,
            frames: known.end - known.first,
            records: known.records,
            completed_frames: known.done_frames,
            completed_records: known.done_records,
            bytes: known.size,
            cut_off_bytes: known.behind,
            is_sealed: known.is_sealed,
            oldest_unix_millis: moment(known.oldest),
            newest_unix_millis: moment(known.newest),
            file,
        });
    }
    let (frames, records) = log.unread();
    let mut kept_aside: Vec<Listed> =
        listed.iter().filter(|listed| listed.name.ends_with(DAMAGED_SUFFIX)).cloned().collect();
    kept_aside.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(Contents {
        version: VERSION,
        segments,
        frames,
        records,
        completed_before: log.done().watermark(),
        completed: log.done().ranges().iter().map(|(first, end)| *first..*end).collect(),
        kept_aside,
        bytes: listed.iter().map(|listed| listed.size).sum(),
    })
}

/// What is damaged beside frames.
fn remarks<F: Files>(log: &Log<F>, listed: &[Listed]) -> Result<Vec<Damage>, OpenError> {
    let mut remarks = Vec::new();
    let size = |name: &str| listed.iter().find(|listed| listed.name == name).map(|listed| listed.size);
    // One that is no longer than its header was begun, and nothing ever stood in it.
    let foreign = log.foreign().iter().filter(|name| size(name).is_some_and(|size| size > HEADER as u64));
    remarks.extend(foreign.map(|name| Damage::free(DamageKind::Foreign, name.clone())));
    let mut damaged = None;
    for name in COMPLETED {
        let Some(size) = size(name) else { continue };
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        let read = log.files().open_to_read(name).and_then(|file| file.read_at(0, &mut bytes)).map_err(failed(name))?;
        match Completed::decode(&bytes[..read]) {
            // One is enough: they are written in turns, and the other one may have been cut off.
            Read::Whole(_) | Read::Newer(_) => return Ok(remarks),
            Read::Damaged if bytes.iter().all(|byte| *byte == 0) => {}
            Read::Damaged => damaged = Some(name),
        }
    }
    remarks.extend(damaged.map(|name| Damage::free(DamageKind::Completions, name.to_owned())));
    Ok(remarks)
}

fn failed(name: &str) -> impl FnOnce(io::Error) -> OpenError {
    let name = name.to_owned();
    move |source| OpenError::Io { name, source }
}

/// Whether a file is one that a buffer has.
fn is_of_a_buffer(name: &str) -> bool {
    segment_of(name).is_some() || name == SPARE || COMPLETED.contains(&name) || name.ends_with(DAMAGED_SUFFIX)
}

#[cfg(test)]
mod tests;
