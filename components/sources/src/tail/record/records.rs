//! Log records on the wire, and what is needed to write them that is better kept than made for each.

use bytes::Bytes;
use otlp::json::Members;
use regex::CaptureLocations;

use super::Piece;
use super::waiting::Waiting;

/// Waiting lines whose room is kept for others.
const SPARE: usize = 16;

/// Log records, each a `log_records` field (tag 2 with its length) of `ScopeLogs`, ready to be put into one. One such
/// value serves any number of files, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(super) bytes: Vec<u8>,
    pub(super) len: usize,
    pub(super) counts: LineCounts,
    /// The framing of a line.
    pub(super) frame: Members,
    /// The body of a line.
    pub(super) members: Members,
    /// For each key with a meaning, which member has it, from 1 on.
    pub(super) hits: Vec<u32>,
    pub(super) captures: Option<CaptureLocations>,
    #[expect(clippy::vec_box, reason = "a file that waits for nothing holds a pointer, which moves to here and back")]
    spare: Vec<Box<Waiting>>,
}

/// What happened to lines besides becoming records.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    /// Records that hold less than was written, because it was longer than a record may be. They carry `log.truncated`.
    pub(crate) truncated: u64,
    /// Lines of containers in neither of the two forms. They are kept as text.
    pub(crate) unframed: u64,
    /// Lines that are no JSON object although they begin like one, or the format says so. They are kept as text.
    pub(crate) malformed_json: u64,
    /// Lines that the expression does not match. They are kept as text.
    pub(crate) unmatched: u64,
    /// Records in which bytes that are no UTF-8 were replaced by U+FFFD.
    pub(crate) invalid_utf8: u64,
    /// Times of keys or groups that are not in their format. They stay attributes.
    pub(crate) unread_times: u64,
    /// Attributes that were left out because the record has one of this name already.
    pub(crate) shadowed: u64,
    /// Lines without anything in them. They become no records.
    pub(crate) blank: u64,
    /// Lines that were joined with the one before.
    pub(crate) joined: u64,
    /// Entries that became several records, because they have more lines or bytes than an entry may have.
    pub(crate) split: u64,
}

impl Records {
    /// How many records were written since the last [`take`](Self::take).
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of these records.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The records that were written since the last call. As much room is made for those that come.
    pub(crate) fn take(&mut self) -> Bytes {
        self.len = 0;
        let room = self.bytes.len() + self.bytes.len() / 8;
        Bytes::from(std::mem::replace(&mut self.bytes, Vec::with_capacity(room)))
    }

    /// What happened since the last call.
    pub(crate) fn counts(&mut self) -> LineCounts {
        std::mem::take(&mut self.counts)
    }

    /// A piece that waits.
    pub(super) fn waiting(&mut self, piece: Piece<'_>, max_bytes: usize) -> Box<Waiting> {
        let mut waiting = self.spare.pop().unwrap_or_default();
        waiting.begin(piece, max_bytes);
        waiting
    }

    /// Keeps the room of lines that wait no more.
    pub(super) fn give_back(&mut self, waiting: Box<Waiting>) {
        if self.spare.len() < SPARE {
            self.spare.push(waiting);
        }
    }
}
