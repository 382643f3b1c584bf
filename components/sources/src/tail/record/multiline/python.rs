//! Tracebacks as the interpreter and the module `logging` print them.

use super::{Phase, is_indented, looks_like_entry};

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
const GROUP: &[u8] = b"+ Exception Group Traceback (most recent call last):";

pub(super) fn begins(line: &[u8]) -> Phase {
    if is_head(line) { Phase::Frames } else { Phase::Plain }
}

pub(super) fn continues(phase: Phase, line: &[u8]) -> Option<Phase> {
    match phase {
        Phase::Plain => is_head(line).then_some(Phase::Frames),
        Phase::Head | Phase::Frames => {
            if is_end_of_group(line) {
                return Some(Phase::Tail);
            }
            if line.is_empty() || is_indented(line) || is_head(line) {
                return Some(Phase::Frames);
            }
            is_exception(line).then_some(Phase::Tail)
        }
        // Messages of several lines are indented, mostly; between two tracebacks stand empty lines.
        Phase::Tail | Phase::Chained => {
            if line.is_empty() {
                return Some(phase);
            }
            if line.starts_with(b"During handling of the above exception")
                || line.starts_with(b"The above exception was the direct cause")
            {
                return Some(Phase::Chained);
            }
            if phase == Phase::Chained && is_head(line) {
                return Some(Phase::Frames);
            }
            is_indented(line).then_some(phase)
        }
    }
}

/// The head of a traceback, or the place of an error of syntax, which has no head.
fn is_head(line: &[u8]) -> bool {
    match line.first() {
        Some(b'T') => line.starts_with(TRACEBACK),
        Some(b' ' | b'\t') => {
            let rest = line.trim_ascii_start();
            rest.starts_with(GROUP) || rest.starts_with(b"File \"")
        }
        _ => false,
    }
}

/// `  +------------------------------------`
fn is_end_of_group(line: &[u8]) -> bool {
    is_indented(line)
        && line.trim_ascii().strip_prefix(b"+--").is_some_and(|rest| rest.iter().all(|byte| *byte == b'-'))
}

/// `package.SomeError: message`, or the name alone.
fn is_exception(line: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || !byte.is_ascii();
    let len = line.iter().position(|byte| !is_of_name(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at(len);
    let is_class = || {
        let last = name.rsplit(|byte| *byte == b'.').next();
        last.and_then(<[u8]>::first).is_some_and(u8::is_ascii_uppercase)
    };
    !name.is_empty() && !looks_like_entry(line) && (rest.starts_with(b":") || (rest.is_empty() && is_class()))
}
