//! One event, one line, no surprises: a value with a line end must not look like an event of its own, one with control
//! characters must not move the cursor.
//!
//! The formatter lets both through in fields that are displayed. Its own colours pass: sequences that only set colours.

use std::io;

use tracing_subscriber::fmt::MakeWriter;

use super::LogColor;

/// Makes writers that clean events.
#[derive(Debug)]
pub(super) struct Clean<M> {
    pub(super) writer: M,
    pub(super) color: LogColor,
}

/// Takes a whole event at once, as the formatter writes it.
#[derive(Debug)]
pub(super) struct Line<W> {
    writer: W,
    color: LogColor,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for Clean<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line { writer: self.writer.make_writer(), color: self.color }
    }
}

impl<W: io::Write> io::Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        if !body.contains(char::is_control) {
            self.writer.write_all(event)?;
            return Ok(event.len());
        }
        let mut line = clean(body, self.color);
        line.push('\n');
        self.writer.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn clean(body: &str, color: LogColor) -> String {
    let mut line = String::with_capacity(body.len() + 16);
    let mut rest = body;
    while let Some(at) = rest.find(char::is_control) {
        line.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match color {
            LogColor::Always => color_sequence(rest),
            LogColor::Never => 0,
        };
        if length > 0 {
            line.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let mut characters = rest.chars();
        line.extend(characters.next().into_iter().flat_map(char::escape_default));
        rest = characters.as_str();
    }
    line.push_str(rest);
    line
}

/// The length of a sequence at the start of `text` that sets colours and nothing else; 0 without one.
fn color_sequence(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let end = parameters.find(|character: char| !character.is_ascii_digit() && character != ';');
    match end {
        Some(end) if parameters[end..].starts_with('m') => "\u{1b}[".len() + end + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control characters are spelled; colours pass where they are wanted and nothing else does.
    #[test]
    fn control_characters_are_spelled() {
        assert_eq!(clean("a\nb\r\u{7}ü\u{9b}", LogColor::Never), "a\\nb\\r\\u{7}ü\\u{9b}");
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m", LogColor::Never), "\\u{1b}[31mred\\u{1b}[0m");
        assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m", LogColor::Always), "\u{1b}[1;31mred\u{1b}[0m");
        assert_eq!(clean("\u{1b}[2Jgone\u{1b}]0;title", LogColor::Always), "\\u{1b}[2Jgone\\u{1b}]0;title");
    }
}
