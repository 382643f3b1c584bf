//! A page of a list in Kubernetes' protobuf, read while it comes: an object is handed out as soon as its last byte is there,
//! and no more is held than what has come of the next one.
//!
//! The envelope is four bytes and a message with the kind and the list, a list is its metadata and its items. Not here: what
//! an item says.

use bytes::{Buf, BytesMut};
use prost::{DecodeError, Message};

/// How an answer in Kubernetes' protobuf begins.
pub(super) const MAGIC: &[u8] = b"k8s\0";
/// The longest field that is read. Stores of API servers take no object of more than a few MiB.
const LONGEST: u64 = 64 << 20;
/// The most bytes that a number takes.
const LONGEST_NUMBER: usize = 10;

/// Fields of the envelope.
mod envelope {
    pub(super) const KIND: u64 = 1;
    pub(super) const LIST: u64 = 2;
    pub(super) const ENCODING: u64 = 3;
}

/// Fields of a list.
mod list {
    pub(super) const META: u64 = 1;
    pub(super) const ITEM: u64 = 2;
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// It is something else.
    #[error("it does not begin as Kubernetes' protobuf does")]
    Magic,
    /// It ends before its end.
    #[error("it breaks off")]
    Truncated,
    /// No object is so long.
    #[error("a field is {0} bytes long, expected at most {LONGEST}")]
    TooLong(u64),
    /// A field ends behind what it is in.
    #[error("a field is longer than the list")]
    Overlong,
    /// A field that no message has.
    #[error("a field is of an unknown type")]
    WireType,
    /// A list of something else, or no list.
    #[error("it is a {found:?}, expected a {expected:?}")]
    Kind {
        /// What it says it is.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The list is compressed or the like, which nobody asked for.
    #[error("the list in it is encoded as {0:?}, expected none of it")]
    Encoded(String),
    /// A message is none.
    #[error("a message cannot be read")]
    Message(#[from] DecodeError),
}

/// What a page says of the list.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListMeta {
    /// The version of the list, from which a watch goes on.
    #[prost(string, tag = "2")]
    pub(crate) resource_version: String,
    /// Asks for the next page; empty in the last one.
    #[prost(string, tag = "3")]
    pub(crate) more: String,
}

/// The kind of what is in an envelope.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KindMessage {
    #[prost(string, tag = "2")]
    pub(super) kind: String,
}

/// Reads a page in pieces.
#[derive(Debug)]
pub(crate) struct PageReader {
    /// The kind of the list.
    expected: String,
    /// What has come and is not read.
    rest: BytesMut,
    place: Place,
    meta: ListMeta,
}

/// Where in a page the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// In the envelope, before its list.
    Before,
    /// In the list, of which so many bytes are to come.
    List(u64),
    /// In the envelope, behind its list.
    Behind,
}

/// The beginning of a field.
struct Field {
    number: u64,
    /// Whether its value is bytes.
    is_bytes: bool,
    /// Bytes before its value.
    head: usize,
    /// Bytes of its value.
    length: u64,
}

impl PageReader {
    /// A page of a list of this kind, such as `PodList`.
    pub(crate) fn new(expected: String) -> Self {
        Self { expected, rest: BytesMut::new(), place: Place::Start, meta: ListMeta::default() }
    }

    /// Takes what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next object, by `decode`; none until more has come.
    ///
    /// # Errors
    /// When the bytes are no such page. Nothing can be read then.
    pub(crate) fn next<T>(&mut self, decode: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Result<Option<T>, PageError> {
        if self.place == Place::Start {
            let Some(begin) = self.rest.get(..MAGIC.len()) else { return Ok(None) };
            if begin != MAGIC {
                return Err(PageError::Magic);
            }
            self.rest.advance(MAGIC.len());
            self.place = Place::Before;
        }
        loop {
            if self.place == Place::List(0) {
                self.place = Place::Behind;
            }
            let Some(field) = Field::at_front(&self.rest)? else { return Ok(None) };
            if self.place == Place::Before && field.number == envelope::LIST && field.is_bytes {
                self.rest.advance(field.head);
                self.place = Place::List(field.length);
                continue;
            }
            if field.length > LONGEST {
                return Err(PageError::TooLong(field.length));
            }
            let end = field.head + field.length as usize;
            let left = match self.place {
                Place::List(left) => Some(left.checked_sub(end as u64).ok_or(PageError::Overlong)?),
                _ => None,
            };
            let Some(value) = self.rest.get(field.head..end) else { return Ok(None) };
            let item = match (left, field.number) {
                _ if !field.is_bytes => None,
                (Some(_), list::META) => {
                    self.meta.merge(value)?;
                    None
                }
                (Some(_), list::ITEM) => Some(decode(value)?),
                (None, envelope::KIND) => {
                    let KindMessage { kind } = KindMessage::decode(value)?;
                    if kind != self.expected {
                        return Err(PageError::Kind { found: kind, expected: self.expected.clone() });
                    }
                    None
                }
                (None, envelope::ENCODING) if !value.is_empty() => {
                    return Err(PageError::Encoded(String::from_utf8_lossy(value).into_owned()));
                }
                _ => None,
            };
            self.rest.advance(end);
            if let Some(left) = left {
                self.place = Place::List(left);
            }
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    /// What the page said of the list, at the end of the bytes, when [`next`](Self::next) has handed out everything.
    ///
    /// # Errors
    /// When the page breaks off.
    pub(crate) fn finish(self) -> Result<ListMeta, PageError> {
        let is_whole = matches!(self.place, Place::List(0) | Place::Behind) && self.rest.is_empty();
        if is_whole { Ok(self.meta) } else { Err(PageError::Truncated) }
    }
}

impl Field {
    /// The field at the front, if enough of it is there.
    fn at_front(bytes: &[u8]) -> Result<Option<Self>, PageError> {
        let Some((key, head)) = number(bytes)? else { return Ok(None) };
        let fixed = |length| Some((head, length));
        let behind = &bytes[head..];
        let found = match key & 7 {
            0 => number(behind)?.map(|(_, length)| (head, length as u64)),
            1 => fixed(8),
            2 => number(behind)?.map(|(length, size)| (head + size, length)),
            5 => fixed(4),
            _ => return Err(PageError::WireType),
        };
        Ok(found.map(|(head, length)| Self { number: key >> 3, is_bytes: key & 7 == 2, head, length }))
    }
}

/// The number at the front and the bytes that it takes, if all of it is there.
fn number(bytes: &[u8]) -> Result<Option<(u64, usize)>, PageError> {
    let Some(last) = bytes.iter().take(LONGEST_NUMBER).position(|byte| byte & 0x80 == 0) else {
        return if bytes.len() < LONGEST_NUMBER { Ok(None) } else { Err(PageError::WireType) };
    };
    let mut digits = &bytes[..=last];
    let value = prost::encoding::decode_varint(&mut digits)?;
    Ok(Some((value, last + 1)))
}
