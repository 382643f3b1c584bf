//! Why a text is no OTLP/JSON, and where: the field in words of the protocol, the line and the column.

use std::fmt;

use super::scan::LONGEST_NUMBER;
use crate::AdmitError;

/// The text is no OTLP/JSON.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON, a key occurs twice, or a value is not what its field takes.
    #[error("invalid OTLP/JSON: {0}")]
    Malformed(Box<Malformed>),
    /// What the text says is larger in protobuf than the reader was told to make.
    #[error("the request is larger than {0} bytes in protobuf")]
    TooLarge(usize),
    /// The text was read, and what it says is not admitted.
    #[error("invalid OTLP/JSON: {0}")]
    Refused(#[from] AdmitError),
}

/// The place where a text stops being OTLP/JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Malformed {
    /// The field, for example `resourceLogs[0].scopeLogs[2].logRecords[7].severityNumber`. Empty for the request.
    pub path: String,
    /// What was expected and what is there.
    pub problem: String,
    /// Line, from 1 on.
    pub line: usize,
    /// Bytes from the start of the line, from 1 on.
    pub column: usize,
    /// Bytes from the start of the text.
    pub offset: usize,
}

/// Something wrong, at a byte of the text.
#[derive(Copy, Clone, Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) problem: Problem,
}

/// What is wrong.
#[derive(Copy, Clone, Debug)]
pub(super) enum Problem {
    /// Something else was expected.
    Expected(&'static str),
    /// The key of a known field for the second time.
    DuplicateKey,
    /// A member of a oneof beside another one.
    SecondMember,
    /// More levels of messages than protobuf decodes.
    Depth,
    /// An escape that means no character.
    Escape,
    /// A control character that is not escaped.
    ControlCharacter,
    Utf8,
    /// More characters than any number needs.
    LongNumber,
    /// Too large in protobuf. It has a variant of its own in [`JsonError`].
    TooLarge,
}

/// Bytes of a text that an error shows at most.
const SHOWN: usize = 40;

impl Fault {
    pub(super) const fn expected(at: usize, what: &'static str) -> Self {
        Self { at, problem: Problem::Expected(what) }
    }

    /// The error for this fault in `text`, in the field at `path`.
    #[cold]
    pub(super) fn in_text(self, text: &[u8], path: String) -> JsonError {
        let before = &text[..self.at.min(text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
        JsonError::Malformed(Box::new(Malformed {
            path,
            problem: self.problem.told(&text[before.len()..]),
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: before.len() - line_start + 1,
            offset: before.len(),
        }))
    }
}

impl Problem {
    fn told(self, found: &[u8]) -> String {
        match self {
            Self::Expected(what) => format!("expected {what}, found {}", shown(found)),
            Self::DuplicateKey => "the key occurs twice".to_owned(),
            Self::SecondMember => "another member of its oneof is set too".to_owned(),
            Self::Depth => "values are nested too deeply".to_owned(),
            Self::Escape => format!("invalid escape {}", shown(found)),
            Self::ControlCharacter => "a control character in a string is not escaped".to_owned(),
            Self::Utf8 => "a string is not valid UTF-8".to_owned(),
            Self::LongNumber => format!("a number of more than {LONGEST_NUMBER} characters"),
            Self::TooLarge => "too large".to_owned(),
        }
    }
}

/// The token at the start of `text`, or what can be shown of it.
fn shown(text: &[u8]) -> String {
    // A token may go on for as long as the text: what is behind it is not looked for.
    let text = &text[..text.len().min(SHOWN + 2)];
    let Some(first) = text.first() else { return "the end of the text".to_owned() };
    let len = match first {
        b'"' => text[1..].iter().position(|byte| *byte == b'"').map_or(text.len(), |len| len + 2),
        b'{' => return "an object".to_owned(),
        b'[' => return "a list".to_owned(),
        b',' | b':' | b'}' | b']' => 1,
        _ => text.iter().position(|byte| b" \t\r\n,:{}[]\"".contains(byte)).unwrap_or(text.len()).max(1),
    };
    let end = if len > SHOWN { "..." } else { "" };
    format!(
        "`{}{end}`",
        String::from_utf8_lossy(&text[..len.min(SHOWN)]).escape_debug().to_string().replace("\\\"", "\"")
    )
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        write!(formatter, "{} (line {}, column {})", self.problem, self.line, self.column)
    }
}
