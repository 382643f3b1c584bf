//! Traces as `Throwable.printStackTrace` and the loggers of the Java virtual machine write them.

use super::{Phase, UNKNOWN_LINES, is_indented, looks_like_entry};

pub(super) fn begins(line: &[u8]) -> Phase {
    if is_throwable(line) || line.starts_with(b"Exception in thread ") {
        return Phase::Head;
    }
    if is_frame(line) || is_cause(line) { Phase::Frames } else { Phase::Plain }
}

pub(super) fn continues(phase: Phase, lines: u32, line: &[u8]) -> Option<Phase> {
    let Some(first) = line.first() else {
        // Messages have empty lines.
        return (phase == Phase::Head && lines < UNKNOWN_LINES).then_some(Phase::Head);
    };
    match first {
        b' ' | b'\t' if is_frame(line) => return Some(Phase::Frames),
        b' ' | b'\t' | b'C' | b'S' | b'n' if is_cause(line) => return Some(Phase::Head),
        b' ' | b'\t' if phase != Phase::Plain => return Some(phase),
        _ => {}
    }
    match phase {
        Phase::Plain => is_throwable(line).then_some(Phase::Head),
        Phase::Head => {
            let may_be_message = lines < UNKNOWN_LINES && !looks_like_entry(line) && !is_throwable(line);
            may_be_message.then_some(Phase::Head)
        }
        _ => None,
    }
}

/// `at a.B.c(B.java:1)` or `... 12 more`, indented.
fn is_frame(line: &[u8]) -> bool {
    let rest = line.trim_ascii_start();
    is_indented(line)
        && (rest.starts_with(b"at ") || matches!(rest, [b'.', b'.', b'.', b' ', digit, ..] if digit.is_ascii_digit()))
}

/// `Caused by: a.B: message` and the like, with any indentation.
fn is_cause(line: &[u8]) -> bool {
    let rest = line.trim_ascii_start();
    [&b"Caused by: "[..], b"Suppressed: ", b"nested exception is: "].iter().any(|head| rest.starts_with(head))
}

/// `a.b.SomeException: message`, the name of a class in a package that is one of a throwable.
fn is_throwable(line: &[u8]) -> bool {
    if !line.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$');
    let len = line.iter().position(|byte| !is_of_name(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at(len);
    let is_ended = matches!(rest, [] | [b':', ..]);
    let is_throwable = [&b"Exception"[..], b"Error", b"Throwable"].iter().any(|end| name.ends_with(end));
    is_ended && is_throwable && name.contains(&b'.')
}
