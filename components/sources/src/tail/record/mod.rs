//! Lines as log records: each line is the text of one. Synchronous, without I/O, clock and runtime. Not here: where lines
//! come from and where records go.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::{head_len, put_head};

/// How lines become records: made once a source from its options, shared by all of its files.
#[derive(Debug)]
pub(crate) struct Format(());

/// One line of a file without its line end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    /// The line was longer than what a record may hold; the reader skipped the rest.
    pub(crate) is_truncated: bool,
    /// Where its first byte stands in the file.
    #[allow(dead_code, reason = "a line is a record at once, so that nothing waits from there")]
    pub(crate) start: u64,
}

/// What one open file has waiting. Small while nothing waits: thousands of files are open.
#[derive(Debug)]
pub(crate) struct FileParser {
    /// Encoded fields of LogRecord that every record of this file has.
    attributes: Bytes,
}

/// Log records on the wire, each a `log_records` field of ScopeLogs.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: BytesMut,
    count: usize,
    counts: LineCounts,
}

/// What became of lines besides being records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    /// Lines that were cut short.
    pub(crate) truncated: u64,
}

impl Format {
    /// Every line is the text of a record.
    pub(crate) fn text() -> Self {
        Self(())
    }

    /// The lines that container runtimes write.
    pub(crate) fn container() -> Self {
        Self(())
    }
}

impl FileParser {
    /// `attributes` are encoded fields of LogRecord with their keys and lengths; there may be none.
    pub(crate) fn new(_format: Arc<Format>, attributes: Bytes) -> Self {
        Self { attributes }
    }

    /// Takes a line, and writes the records that are complete with it.
    pub(crate) fn line(&mut self, line: Line<'_>, observed_unix_nano: u64, records: &mut Records) {
        records.counts.truncated += u64::from(line.is_truncated);
        records.put(&String::from_utf8_lossy(line.bytes), &self.attributes, observed_unix_nano);
    }

    /// The offset from which a restart must read again: the first byte that is read and in no record yet.
    pub(crate) fn waits_from(&self) -> Option<u64> {
        None
    }

    /// Makes a record of what waits.
    pub(crate) fn flush(&mut self, _observed_unix_nano: u64, _records: &mut Records) {}
}

impl Records {
    /// Records since the last [`take`](Self::take).
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Their bytes.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// What was written since the last time.
    pub(crate) fn take(&mut self) -> Bytes {
        self.count = 0;
        let taken = self.bytes.split().freeze();
        self.bytes.reserve(taken.len());
        taken
    }

    /// What was counted since the last time.
    pub(crate) fn counts(&mut self) -> LineCounts {
        std::mem::take(&mut self.counts)
    }

    fn put(&mut self, body: &str, attributes: &[u8], observed_unix_nano: u64) {
        const LOG_RECORDS: u32 = 2;
        const BODY: u32 = 5;
        const STRING_VALUE: u32 = 1;
        /// Field 11, eight bytes.
        const OBSERVED: u8 = 11 << 3 | 1;
        let value = head_len(body.len()) + body.len();
        let record = head_len(value) + value + attributes.len() + 1 + size_of::<u64>();
        self.bytes.reserve(head_len(record) + record);
        put_head(&mut self.bytes, LOG_RECORDS, record);
        put_head(&mut self.bytes, BODY, value);
        put_head(&mut self.bytes, STRING_VALUE, body.len());
        self.bytes.extend_from_slice(body.as_bytes());
        self.bytes.extend_from_slice(attributes);
        self.bytes.put_u8(OBSERVED);
        self.bytes.put_u64_le(observed_unix_nano);
        self.count += 1;
    }
}
