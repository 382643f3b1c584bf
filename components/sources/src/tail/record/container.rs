//! The framing that container runtimes put around each line: that of the CRI, `2016-10-06T00:17:09.669794202Z stdout F
//! text`, and Docker's, `{"log":"text\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`. A node may have files
//! of both, so each line tells by itself.
//!
//! What else Docker writes (`attrs`, which labels and options of its logging driver make) is left out.

use otlp::json::{Member, Members, Value};

use super::time::rfc3339;

/// What the framing says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    pub(super) stream: Stream,
    /// The line goes on in the next one of the same stream.
    pub(super) is_partial: bool,
    pub(super) content: &'a [u8],
}

/// Where a container wrote a line.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    /// It is not known, or the file is none of a container.
    None,
    Stdout,
    Stderr,
}

impl Stream {
    pub(super) const COUNT: usize = 3;
    pub(super) const ALL: [Self; Self::COUNT] = [Self::None, Self::Stdout, Self::Stderr];

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// Takes the framing off a line. The content lies in the line, or in `members` where it was escaped. `None` when the line
/// is of neither form.
#[inline]
pub(super) fn frame<'a>(line: &'a [u8], members: &'a mut Members) -> Option<Frame<'a>> {
    match line.first()? {
        b'{' => docker(line, members),
        b'0'..=b'9' => cri(line),
        _ => None,
    }
}

/// The CRI's form. Behind `P` or `F` more tags may stand, divided by colons; of them nothing is known.
#[inline]
fn cri(line: &[u8]) -> Option<Frame<'_>> {
    let (time, len) = rfc3339(line)?;
    let [b' ', rest @ ..] = &line[len..] else { return None };
    let (name, [b' ', rest @ ..]) = rest.split_at_checked(6)? else { return None };
    let (is_partial, rest) = match rest {
        [b'F', rest @ ..] => (false, rest),
        [b'P', rest @ ..] => (true, rest),
        _ => return None,
    };
    let content = match rest {
        [] => rest,
        [b' ', content @ ..] => content,
        [b':', tags @ ..] => tags.iter().position(|byte| *byte == b' ').map_or(&[][..], |space| &tags[space + 1..]),
        _ => return None,
    };
    Some(Frame { time, stream: Stream::of(name)?, is_partial, content })
}

/// Docker's form. A line that is not ended by a line feed goes on.
fn docker<'a>(line: &'a [u8], members: &'a mut Members) -> Option<Frame<'a>> {
    members.read(line).ok()?;
    let (mut log, mut stream, mut time) = (None, Stream::None, 0);
    for Member { key, value, .. } in members.iter(line) {
        let Value::String(text) = value else { continue };
        match key {
            b"log" => log = Some(text),
            b"stream" => stream = Stream::of(text).unwrap_or(Stream::None),
            b"time" => time = rfc3339(text).filter(|(_, len)| *len == text.len()).map_or(0, |(time, _)| time),
            _ => {}
        }
    }
    let log = log?;
    let (is_partial, content) = match log {
        [content @ .., b'\r', b'\n'] | [content @ .., b'\n'] => (false, content),
        _ => (true, log),
    };
    Some(Frame { time, stream, is_partial, content })
}
