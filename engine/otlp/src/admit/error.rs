//! Why a body was refused: the fault, and where it is in words of the protocol.

use std::fmt::Write as _;

use crate::protobuf::{WireType, varint};
use crate::schema::{Kind, Message};

/// What is wrong with a field.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A length or fixed-width value reaches past the end of its message.
    #[error("is cut off")]
    Truncated,
    /// A varint is cut off or has more than 64 bits.
    #[error("has a malformed varint")]
    Varint,
    /// A key has field number 0, an unused wire type, or more than 32 bits.
    #[error("has a malformed key")]
    Key,
    /// A known field has another wire type than its definition says.
    #[error("has the wrong wire type")]
    WireType,
    /// A string is not UTF-8.
    #[error("is not valid UTF-8")]
    Utf8,
    /// Messages are nested deeper than the protobuf recursion limit of 100.
    #[error("is nested too deeply")]
    Depth,
    /// A group ends that did not begin, or the other way round.
    #[error("is a malformed group")]
    Group,
    /// Singular fields occur again and again, more than 1024 times in the request.
    #[error("occurs again; too many singular fields occur more than once")]
    TooManyRepeats,
    /// The request has more than 16384 entries, and they are smaller than 256 bytes on average.
    #[error("is one entry too many for a request of this size")]
    TooManyEntries,
    /// The request has more than 1048576 records, and they are smaller than 16 bytes on average.
    #[error("has more records than a request of this size can mean")]
    TooManyRecords,
}

/// A body was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The bytes are not a message that every OTLP receiver can decode.
    #[error("{path} {fault} (byte {offset})")]
    Malformed {
        /// The field, for example `resource_logs[3].scope_logs[0].log_records[17].severity_text`.
        path: String,
        /// Where the field begins in the body.
        offset: usize,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// Numbers of known fields are below this.
const NUMBERS: usize = 32;

/// Names the field that begins at `offset` of a body, by walking down to it. For refusals only.
pub(super) fn path_of(request: &'static Message, body: &[u8], offset: usize) -> String {
    let mut path = String::new();
    let mut message = request;
    let (mut at, mut end) = (0, body.len());
    // Not of unknown fields: there may be as many as fit into the body, and looking each up would take its square.
    let mut occurrences = [0_usize; NUMBERS];
    while at <= offset && at < end {
        let Some((key, key_len)) = varint(&body[at..end]) else {
            break;
        };
        let number = (key >> 3) as u32;
        let field = message.field(number);
        let content = content(&body[..end], at + key_len, key);
        if at < offset && content.1 <= offset {
            if let Some(times) = occurrences.get_mut(number as usize) {
                *times += 1;
            }
            at = content.1;
            continue;
        }
        if !path.is_empty() {
            path.push('.');
        }
        let written = match field {
            Some(found) if found.is_repeated() => {
                write!(path, "{}[{}]", found.name, occurrences[number as usize])
            }
            Some(found) => write!(path, "{}", found.name),
            None => write!(path, "unknown field {number}"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        let Some(Kind::Message(inner)) = field.map(|found| found.kind) else {
            return path;
        };
        if at == offset {
            return path;
        }
        message = inner;
        occurrences = [0; NUMBERS];
        (at, end) = content;
    }
    if path.is_empty() {
        path.push_str("request");
    }
    path
}

/// Start and end of a field's content; for what cannot be framed, the end of the message.
fn content(message: &[u8], at: usize, key: u64) -> (usize, usize) {
    let end = message.len();
    let size = match WireType::from_key(key) {
        Some(WireType::Length) => {
            let Some((len, len_len)) = varint(&message[at..]) else {
                return (at, end);
            };
            let start = at + len_len;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            return (start, start.saturating_add(len).min(end));
        }
        Some(WireType::Varint) => varint(&message[at..]).map(|(_, len)| len),
        Some(WireType::Fixed64) => Some(8),
        Some(WireType::Fixed32) => Some(4),
        Some(WireType::StartGroup | WireType::EndGroup) => Some(0),
        None => None,
    };
    (at, size.map_or(end, |size| (at + size).min(end)))
}
