//! Which lines belong to the entry before. A line that begins an entry is found out by its first byte mostly; nothing is
//! searched in it but for what a trace begins with.
//!
//! The presets know traces as the runtimes of the languages print them, and join them with the line before, under which
//! loggers print them. What a trace is not sure of, such as a message of several lines, it takes as long as it does not
//! look like the beginning of an entry, and not for ever.

mod go;
mod java;
mod python;

use engine_config::sources::log_format::{MultilineTable, Preset};
use regex::bytes::Regex;

/// Tells entries of a stream apart.
#[derive(Debug)]
pub(super) struct Rules {
    kind: Kind,
    max_lines: u32,
}

#[derive(Debug)]
enum Kind {
    /// It matches the first line of every entry.
    Start(Regex),
    Preset(Preset),
}

/// Where in an entry the line before is. What the phases are depends on the language.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Phase {
    /// No trace was seen.
    #[default]
    Plain,
    /// The head of a trace, or what is said in it.
    Head,
    /// Frames of a stack.
    Frames,
    /// The end of a trace.
    Tail,
    /// Another trace is announced.
    Chained,
}

/// Lines of a head that are taken without being known.
const UNKNOWN_LINES: u32 = 16;

impl Rules {
    /// The rules that options state; `None` when they state none.
    pub(super) fn new(options: &MultilineTable) -> Option<Self> {
        let kind = match (&options.preset, &options.start) {
            (Some(preset), _) => Kind::Preset(*preset),
            (None, Some(start)) => Kind::Start(start.compile_for_bytes()),
            (None, None) => return None,
        };
        Some(Self { kind, max_lines: options.max_lines.get() })
    }

    /// Lines of one entry at most.
    pub(super) const fn max_lines(&self) -> u32 {
        self.max_lines
    }

    /// The phase of an entry that begins with a line.
    #[inline]
    pub(super) fn begins(&self, line: &[u8]) -> Phase {
        match &self.kind {
            Kind::Start(_) => Phase::Plain,
            Kind::Preset(Preset::Java) => java::begins(line),
            Kind::Preset(Preset::Python) => python::begins(line),
            Kind::Preset(Preset::Go) => go::begins(line),
        }
    }

    /// The phase that an entry has with one line more, if the line belongs to it. `lines` is how many lines the entry has
    /// had in its phase, but for the first.
    #[inline]
    pub(super) fn continues(&self, phase: Phase, lines: u32, line: &[u8]) -> Option<Phase> {
        match &self.kind {
            Kind::Start(start) => (!start.is_match(line)).then_some(Phase::Plain),
            Kind::Preset(Preset::Java) => java::continues(phase, lines, line),
            Kind::Preset(Preset::Python) => python::continues(phase, line),
            Kind::Preset(Preset::Go) => go::continues(phase, lines, line),
        }
    }
}

/// Whether a line looks like the first of an entry: a time, a level, a bracket or an object.
fn looks_like_entry(line: &[u8]) -> bool {
    let Some(first) = line.first() else { return false };
    if matches!(first, b'0'..=b'9' | b'[' | b'{' | b'<') {
        return true;
    }
    let word = line.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(line.len());
    matches!(
        line[..word].to_ascii_lowercase().as_slice(),
        b"trace" | b"debug" | b"info" | b"warn" | b"warning" | b"error" | b"severe" | b"fatal" | b"critical"
    )
}

/// Whether a line is indented.
fn is_indented(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}
