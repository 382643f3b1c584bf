//! Text for a terminal: styles, values, and user text that can do no harm.
//!
//! User text is escaped, so that nothing a sender writes ends a line, moves the cursor, changes colours or reverses
//! the order in which text is shown. What a record looks like is the matter of `pretty`.

use std::fmt::{self, Write as _};

use otlp::{Attributes, ValueView};

/// Bytes of one text that are shown; what is left out is counted.
const LONGEST_TEXT: usize = 16 * 1024;

/// Bytes of one binary value that are shown.
const LONGEST_BYTES: usize = 32;

/// Whether styles are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colors {
    Off,
    On,
}

/// How text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Dim,
    Bold,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
    Alarm,
}

/// What every line of a block begins with.
const MARGIN: &str = "    \u{2502} ";

/// Lines that are being written.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    colors: Colors,
}

/// How many bytes of a text are left out.
struct LeftOut(usize);

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
            Self::Red => "\x1b[31m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Blue => "\x1b[34m",
            Self::Magenta => "\x1b[35m",
            Self::Cyan => "\x1b[36m",
            Self::Alarm => "\x1b[1;41;97m",
        }
    }
}

impl Page {
    pub(super) const fn new(colors: Colors) -> Self {
        Self { text: String::new(), colors }
    }

    /// What was written since the last [`clear`](Self::clear).
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    /// Writes text of the sink's own.
    pub(super) fn put(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Writes numbers and the like.
    pub(super) fn show(&mut self, what: impl fmt::Display) -> &mut Self {
        write!(self.text, "{what}").expect("writing to a string does not fail");
        self
    }

    /// Writes something in a style.
    pub(super) fn styled(&mut self, style: Style, write: impl FnOnce(&mut Self)) -> &mut Self {
        if self.colors == Colors::Off {
            write(self);
            return self;
        }
        self.text.push_str(style.code());
        write(self);
        self.text.push_str("\x1b[0m");
        self
    }

    /// Writes user text that stands alone.
    pub(super) fn free_text(&mut self, text: &str) -> &mut Self {
        let (shown, left_out) = shorten(text);
        self.escaped(shown, |_| false);
        self.show(left_out)
    }

    /// Writes user text on lines of its own, each behind a margin that no sender can leave out. The line before must
    /// have ended.
    pub(super) fn block(&mut self, text: &str) {
        let (shown, left_out) = shorten(text);
        for line in shown.lines() {
            self.margin();
            for (place, part) in line.split('\t').enumerate() {
                self.put(if place == 0 { "" } else { "    " }).escaped(part, |_| false);
            }
            self.put("\n");
        }
        if left_out.0 > 0 {
            self.margin().show(left_out).put("\n");
        }
    }

    /// Writes user text among other things: quoted when it is empty, holds spaces or quotes, or reads like a value of
    /// another type, so that where it ends and what it is stays clear.
    pub(super) fn word(&mut self, text: &str) -> &mut Self {
        if is_plain_word(text) && !reads_as_other_type(text) { self.free_text(text) } else { self.quoted(text) }
    }

    /// Writes the name of something: quoted when it does not read as one word.
    pub(super) fn name(&mut self, text: &str) -> &mut Self {
        if is_plain_word(text) { self.free_text(text) } else { self.quoted(text) }
    }

    /// Writes a value among other things.
    pub(super) fn value(&mut self, value: ValueView<'_>) -> &mut Self {
        match value {
            ValueView::Str(text) => self.word(text),
            ValueView::Bool(value) => self.show(value),
            ValueView::Int(value) => self.show(value),
            ValueView::Double(value) => self.double(value),
            ValueView::Bytes(bytes) => self.bytes(bytes),
            ValueView::Array(array) => {
                self.put("[");
                for (place, element) in array.iter().enumerate() {
                    self.put(if place == 0 { "" } else { ", " }).value(element);
                }
                self.put("]")
            }
            ValueView::Map(map) => self.put("{").pairs(map.iter()).put("}"),
            ValueView::Empty => self.put("null"),
        }
    }

    /// Writes attributes as `key=value` with commas between them.
    pub(super) fn pairs(&mut self, attributes: Attributes<'_>) -> &mut Self {
        for (place, attribute) in attributes.enumerate() {
            self.put(if place == 0 { "" } else { ", " }).key(attribute.key).value(attribute.value);
        }
        self
    }

    /// Writes what stands before a value.
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.styled(Style::Dim, |page| {
            page.name(key).put("=");
        })
    }

    /// Writes a number as short as it can be read back; whole ones keep their fraction, which tells them from integers.
    pub(super) fn double(&mut self, value: f64) -> &mut Self {
        self.show(format_args!("{value:?}"))
    }

    /// Writes bytes in hexadecimal.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let shown = bytes.len().min(LONGEST_BYTES);
        self.put("0x").hex(&bytes[..shown]).show(LeftOut(bytes.len() - shown))
    }

    /// Writes bytes in hexadecimal without a mark.
    pub(super) fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.show(format_args!("{byte:02x}"));
        }
        self
    }

    fn margin(&mut self) -> &mut Self {
        self.styled(Style::Dim, |page| {
            page.put(MARGIN);
        })
    }

    fn quoted(&mut self, text: &str) -> &mut Self {
        let (shown, left_out) = shorten(text);
        self.put("\"").escaped(shown, |character| matches!(character, '"' | '\\'));
        self.show(left_out).put("\"")
    }

    fn escaped(&mut self, text: &str, also: impl Fn(char) -> bool) {
        let mut plain = 0;
        for (index, character) in text.char_indices() {
            if !is_harmful(character) && !also(character) {
                continue;
            }
            self.text.push_str(&text[plain..index]);
            plain = index + character.len_utf8();
            match character {
                '"' | '\\' => self.show(format_args!("\\{character}")),
                '\n' => self.put("\\n"),
                '\r' => self.put("\\r"),
                '\t' => self.put("\\t"),
                '\x1b' => self.put("\\e"),
                other => self.show(format_args!("\\u{{{:x}}}", u32::from(other))),
            };
        }
        self.text.push_str(&text[plain..]);
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(formatter, "\u{2026}[+{} bytes]", self.0) }
    }
}

/// Controls of terminals (C0, DEL, C1), line and paragraph separators, and marks that change the direction of text.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

fn is_plain_word(text: &str) -> bool {
    const SYNTAX: [char; 9] = ['"', '\\', '=', ',', '[', ']', '{', '}', '\u{2026}'];
    let belongs = |character: char| !character.is_whitespace() && !SYNTAX.contains(&character);
    !text.is_empty() && text.chars().all(belongs)
}

fn reads_as_other_type(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || text.parse::<f64>().is_ok() || text.starts_with("0x")
}

fn shorten(text: &str) -> (&str, LeftOut) {
    if text.len() <= LONGEST_TEXT {
        return (text, LeftOut(0));
    }
    let shown = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    (shown, LeftOut(text.len() - shown.len()))
}
