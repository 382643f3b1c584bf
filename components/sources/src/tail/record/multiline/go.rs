//! Panics and fatal errors as the runtime of Go prints them, and goroutines below a line of `net/http`.

use super::{Phase, UNKNOWN_LINES, is_indented, looks_like_entry};

pub(super) fn begins(line: &[u8]) -> Phase {
    match line.first() {
        Some(b'p' | b'f' | b'S' | b'r') if is_head(line) => Phase::Head,
        Some(b'g') if is_goroutine(line) => Phase::Frames,
        _ => Phase::Plain,
    }
}

pub(super) fn continues(phase: Phase, lines: u32, line: &[u8]) -> Option<Phase> {
    if is_goroutine(line) {
        return Some(Phase::Frames);
    }
    match phase {
        Phase::Plain => line.starts_with(b"[signal ").then_some(Phase::Head),
        Phase::Head => {
            let is_known = line.is_empty() || is_indented(line) || line.starts_with(b"[signal ") || is_head(line);
            let may_be_message = lines < UNKNOWN_LINES && !looks_like_entry(line);
            (is_known || may_be_message).then_some(Phase::Head)
        }
        _ => {
            let is_known = line.is_empty()
                || is_indented(line)
                || is_call(line)
                || is_register(line)
                || [&b"created by "[..], b"exit status ", b"...", b"panic: "].iter().any(|head| line.starts_with(head));
            is_known.then_some(phase)
        }
    }
}

/// The first line of a trace.
fn is_head(line: &[u8]) -> bool {
    [&b"panic: "[..], b"fatal error: ", b"runtime: ", b"SIGQUIT: ", b"SIGABRT: ", b"SIGSEGV: "]
        .iter()
        .any(|head| line.starts_with(head))
}

/// `goroutine 1 [running]:`.
fn is_goroutine(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"goroutine ") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(b" [") && line.ends_with(b"]:")
        || digits > 0 && rest[digits..].starts_with(b" gp=")
}

/// `main.(*T).method(0xc000010000, {0x1, 0x2})`.
fn is_call(line: &[u8]) -> bool {
    let open = line.iter().position(|byte| matches!(byte, b'(' | b' '));
    open.is_some_and(|at| at > 0 && line[at] == b'(') && line.ends_with(b")")
}

/// `rax    0xca`.
fn is_register(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    (2..=6).contains(&name) && line[name..].trim_ascii_start().starts_with(b"0x") && line[name..].starts_with(b" ")
}
