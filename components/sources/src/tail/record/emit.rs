//! A line without its framing becomes a record: text, JSON, or what an expression finds.

use std::borrow::Cow;

use bytes::Bytes;
use otlp::json::{Members, Value};
use regex::CaptureLocations;

use super::container::Stream;
use super::format::{Body, JsonBody, RegexBody};
use super::meaning::{Meant, Source, length_bit};
use super::records::Records;
use super::severity::Severity;
use super::wire::{self, ATTRIBUTES, BODY};
use super::{Piece, Place};

/// The stream that a container wrote to.
const STREAM: &[u8] = b"log.iostream";
/// The text that attributes were made of.
const ORIGINAL: &[u8] = b"log.original";
/// Whether the text was longer than a record may be.
const TRUNCATED: &[u8] = b"log.truncated";

/// A bit for each length of these keys.
const OWN_LENGTHS: u64 = 1 << STREAM.len() | 1 << ORIGINAL.len() | 1 << TRUNCATED.len();

/// `attributes` fields with the streams.
const STDOUT: &[u8] = b"\x32\x18\x0a\x0clog.iostream\x12\x08\x0a\x06stdout";
const STDERR: &[u8] = b"\x32\x18\x0a\x0clog.iostream\x12\x08\x0a\x06stderr";

/// Attributes that every record of a file carries.
#[derive(Debug)]
pub(super) struct FileAttributes {
    /// Fields of `LogRecord`.
    encoded: Bytes,
    /// A bit for each length that a key has.
    lengths: u64,
}

/// A record in the making.
#[derive(Copy, Clone)]
pub(super) struct Emission<'a> {
    place: Place<'a>,
    piece: Piece<'a>,
}

impl FileAttributes {
    pub(super) fn new(encoded: Bytes) -> Self {
        let lengths = keys(&encoded).fold(0, |bits, key| bits | length_bit(key));
        Self { encoded, lengths }
    }
}

impl<'a> Emission<'a> {
    pub(super) fn new(place: Place<'a>, piece: Piece<'a>) -> Self {
        Self { place, piece }
    }

    /// Writes the record.
    #[inline]
    pub(super) fn write(self, records: &mut Records) {
        let Some(mut this) = self.cut(records) else { return };
        // What is read as JSON is UTF-8.
        if let Some(json) = this.json_body()
            && records.members.read(this.piece.content).is_ok()
        {
            return this.object(json, records);
        }
        let replaced;
        let text = match simdutf8::basic::from_utf8(this.piece.content) {
            Ok(text) => text,
            Err(_) => {
                records.counts.invalid_utf8 += 1;
                replaced = String::from_utf8_lossy(this.piece.content);
                this.piece.content = replaced.as_bytes();
                if let Some(json) = this.json_body()
                    && records.members.read(this.piece.content).is_ok()
                {
                    return this.object(json, records);
                }
                &replaced
            }
        };
        match &this.place.format.body {
            Body::Regex(regex) => this.matched(regex, text, records),
            _ => {
                records.counts.malformed_json += u64::from(this.json_body().is_some());
                this.plain(records);
            }
        }
    }

    /// Writes the record of a line that is known to be a JSON object, which `records.members` holds.
    #[inline]
    pub(super) fn write_object(self, records: &mut Records) {
        match &self.place.format.body {
            Body::Json(json) => self.object(json, records),
            _ => self.write(records),
        }
    }

    /// Writes the record with the whole line as its body.
    pub(super) fn write_text(self, records: &mut Records) {
        let Some(mut this) = self.cut(records) else { return };
        let text = String::from_utf8_lossy(this.piece.content);
        records.counts.invalid_utf8 += u64::from(matches!(text, Cow::Owned(_)));
        this.piece.content = text.as_bytes();
        this.plain(records);
    }

    /// The line as long as a record may be. `None` when there is nothing in it.
    #[inline]
    fn cut(mut self, records: &mut Records) -> Option<Self> {
        let max_bytes = self.place.format.max_bytes;
        if self.piece.content.len() > max_bytes {
            self.piece.content = &self.piece.content[..max_bytes];
            self.piece.is_truncated = true;
        }
        if self.piece.is_truncated {
            records.counts.truncated += 1;
            self.piece.content = whole_characters(self.piece.content);
            return Some(self);
        }
        if self.piece.content.is_empty() {
            records.counts.blank += 1;
            return None;
        }
        Some(self)
    }

    /// How to read the line as JSON, if it should be.
    #[inline]
    fn json_body(&self) -> Option<&'a JsonBody> {
        let Body::Json(json) = &self.place.format.body else { return None };
        let is_due = json.is_due || self.piece.content.first() == Some(&b'{');
        (is_due && !self.piece.is_truncated).then_some(&**json)
    }

    /// Writes a line of text.
    fn plain(self, records: &mut Records) {
        let start = self.begin(self.piece.time, None, records);
        Value::String(self.piece.content).put_field(BODY, &mut records.bytes);
        self.put_own_attributes(&mut records.bytes);
        if self.piece.is_truncated {
            Value::Bool(true).put_attribute(ATTRIBUTES, TRUNCATED, &mut records.bytes);
        }
        wire::end(start, None, self.place.observed, &mut records.bytes);
    }

    /// Writes the JSON object that `records.members` holds.
    fn object(self, json: &JsonBody, records: &mut Records) {
        let text = self.piece.content;
        let members = std::mem::take(&mut records.members);
        let mut hits = std::mem::take(&mut records.hits);
        hits.clear();
        hits.resize(json.meanings.len(), 0);
        for place in 0..members.len() {
            if let Some(number) = json.meanings.number_of(members.key_hash(place), || members.key(place, text)) {
                hits[number] = place as u32 + 1;
            }
        }
        let meant = json.meanings.of(self.place.observed, &ObjectKeys { text, members: &members, hits: &hits });
        let start = self.begin_meant(&meant, records);
        match meant.body {
            Some(place) => members.put_field(place, text, BODY, &mut records.bytes),
            None => self.put_line_as_body(&mut records.bytes),
        }
        self.put_own_attributes(&mut records.bytes);
        let taken = OWN_LENGTHS | self.place.file.lengths;
        for place in (0..members.len()).filter(|place| !meant.has_used(*place)) {
            let Some(key) = members.key(place, text) else { continue };
            if taken & length_bit(key) != 0 && self.is_taken(key) {
                records.counts.shadowed += 1;
            } else {
                members.put_attribute(place, text, ATTRIBUTES, &mut records.bytes);
            }
        }
        self.end_meant(start, &meant, records);
        records.members = members;
        records.hits = hits;
    }

    /// Writes what an expression finds in the line, or the line if it finds nothing.
    fn matched(self, body: &RegexBody, text: &str, records: &mut Records) {
        let kept = records.captures.take().filter(|captures| captures.len() == body.groups.len());
        let mut captures = kept.unwrap_or_else(|| body.regex.capture_locations());
        if body.regex.captures_read(&mut captures, text).is_none() {
            records.captures = Some(captures);
            records.counts.unmatched += 1;
            return self.plain(records);
        }
        let groups = Groups { text: text.as_bytes(), captures: &captures, hits: &body.hits };
        let meant = body.meanings.of(self.place.observed, &groups);
        let start = self.begin_meant(&meant, records);
        match meant.body.and_then(|place| groups.get(place)) {
            Some(found) => Value::String(found).put_field(BODY, &mut records.bytes),
            None => self.put_line_as_body(&mut records.bytes),
        }
        self.put_own_attributes(&mut records.bytes);
        for (place, name) in body.groups.iter().enumerate() {
            let found = name.as_ref().zip(groups.get(place)).filter(|_| !meant.has_used(place));
            let Some((name, value)) = found else { continue };
            if self.is_taken(name) {
                records.counts.shadowed += 1;
            } else {
                Value::String(value).put_attribute(ATTRIBUTES, name, &mut records.bytes);
            }
        }
        self.end_meant(start, &meant, records);
        records.captures = Some(captures);
    }

    /// Begins a record with what its keys mean.
    #[inline]
    fn begin_meant(self, meant: &Meant<'_>, records: &mut Records) -> usize {
        records.counts.unread_times += u64::from(meant.has_unread_time);
        self.begin(meant.time.unwrap_or(self.piece.time), meant.severity, records)
    }

    /// Without a body of its own a record has the line as one, if that is kept.
    fn put_line_as_body(self, out: &mut Vec<u8>) {
        if self.place.format.keeps_original {
            Value::String(self.piece.content).put_field(BODY, out);
        }
    }

    #[inline]
    fn end_meant(self, start: usize, meant: &Meant<'_>, records: &mut Records) {
        // Where the line is the body, it need not be told twice.
        if self.place.format.keeps_original && meant.body.is_some() {
            Value::String(self.piece.content).put_attribute(ATTRIBUTES, ORIGINAL, &mut records.bytes);
        }
        if self.piece.is_truncated {
            Value::Bool(true).put_attribute(ATTRIBUTES, TRUNCATED, &mut records.bytes);
        }
        wire::end(start, meant.trace, self.place.observed, &mut records.bytes);
    }

    /// Begins a record, up to its body.
    #[inline]
    fn begin(self, time: u64, severity: Option<Severity<'_>>, records: &mut Records) -> usize {
        records.len += 1;
        records.bytes.reserve(2 * self.piece.content.len() + self.place.file.encoded.len() + 256);
        wire::begin(time, severity, &mut records.bytes)
    }

    /// Writes the attributes that do not come out of the line.
    #[inline]
    fn put_own_attributes(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.place.file.encoded);
        match self.place.stream {
            Stream::None => {}
            Stream::Stdout => out.extend_from_slice(STDOUT),
            Stream::Stderr => out.extend_from_slice(STDERR),
        }
    }

    /// Whether the record has an attribute of this name that does not come out of the line.
    fn is_taken(self, key: &[u8]) -> bool {
        let Place { format, file, stream, .. } = self.place;
        match key {
            STREAM if stream != Stream::None => true,
            ORIGINAL if format.keeps_original => true,
            TRUNCATED if self.piece.is_truncated => true,
            _ => keys(&file.encoded).any(|taken| taken == key),
        }
    }
}

/// The members of an object, by the keys that have a meaning.
struct ObjectKeys<'a> {
    text: &'a [u8],
    members: &'a Members,
    hits: &'a [u32],
}

impl<'a> Source<'a> for ObjectKeys<'a> {
    #[inline]
    fn place(&self, number: usize) -> Option<usize> {
        (self.hits[number] as usize).checked_sub(1)
    }

    fn value(&self, place: usize) -> (Value<'a>, &'a [u8]) {
        self.members.get(place, self.text).map_or((Value::Null, &[]), |member| (member.value, member.raw))
    }
}

/// What the groups of an expression have found.
struct Groups<'a> {
    text: &'a [u8],
    captures: &'a CaptureLocations,
    hits: &'a [Option<usize>],
}

impl<'a> Groups<'a> {
    fn get(&self, group: usize) -> Option<&'a [u8]> {
        self.captures.get(group).map(|(start, end)| &self.text[start..end])
    }
}

impl<'a> Source<'a> for Groups<'a> {
    fn place(&self, number: usize) -> Option<usize> {
        self.hits[number].filter(|group| self.captures.get(*group).is_some())
    }

    fn value(&self, group: usize) -> (Value<'a>, &'a [u8]) {
        self.get(group).map_or((Value::Null, &[]), |found| (Value::String(found), found))
    }
}

/// The text without the beginning of a character of which the rest was cut off.
fn whole_characters(text: &[u8]) -> &[u8] {
    for back in 1..=text.len().min(3) {
        let at = text.len() - back;
        let len = match text[at] {
            0x80..0xc0 => continue,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
            _ => 1,
        };
        return if len > back { &text[..at] } else { text };
    }
    text
}

/// The keys of encoded attributes. What is none ends the list.
fn keys(encoded: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        let mut attribute = field(&mut rest, ATTRIBUTES)?;
        field(&mut attribute, 1)
    })
}

/// Takes a length-delimited field with a number off the front of a message.
fn field<'m>(message: &mut &'m [u8], number: u32) -> Option<&'m [u8]> {
    let mut rest = *message;
    if rest.split_off_first()? != &((number << 3 | 2) as u8) {
        return None;
    }
    let len = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
    let (content, behind) = rest.split_at_checked(len)?;
    *message = behind;
    Some(content)
}
