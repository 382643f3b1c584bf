//! How lines become records, compiled once a source from its options and shared by all of its files.

use engine_config::ByteSize;
use engine_config::sources::log_format::{LineFormat, LogFormat, Multiline, RecordKeys};
use engine_core::registry::BuildError;
use otlp::json::hash_of_key;
use regex::Regex;

use super::Piece;
use super::meaning::Meanings;
use super::multiline::Rules;
use super::records::Records;

/// What the framing of a line takes at most besides its text, and how long a part of a line may be that a runtime
/// writes, with every byte of it escaped.
const FRAMING_BYTES: usize = 128 * 1024;

/// How lines become records.
#[derive(Debug)]
pub(crate) struct Format {
    pub(super) is_container: bool,
    pub(super) body: Body,
    pub(super) multiline: Option<Rules>,
    /// Bytes of a body.
    pub(super) max_bytes: usize,
    pub(super) keeps_original: bool,
}

/// Options that sources have besides the format.
#[derive(Copy, Clone, Debug)]
pub(crate) struct RecordOptions<'a> {
    /// Entries of several lines.
    pub(crate) multiline: Option<&'a Multiline>,
    /// Bytes of a line, with its parts joined, and of an entry. A longer line is truncated, a longer entry becomes several.
    pub(crate) max_record_size: ByteSize,
    /// Whether the text of JSON, and of lines that match the expression, is kept as `log.original`.
    pub(crate) keep_original_body: bool,
}

/// What is made of a line without its framing.
#[derive(Debug)]
pub(super) enum Body {
    Text,
    /// Attributes where it is a JSON object, else text.
    Json(Box<JsonBody>),
    /// Attributes where it matches, else text.
    Regex(Box<RegexBody>),
}

#[derive(Debug)]
pub(super) struct JsonBody {
    pub(super) meanings: Meanings,
    /// Every line should be an object, with white space around it, and not only those that begin with a brace.
    pub(super) is_due: bool,
}

#[derive(Debug)]
pub(super) struct RegexBody {
    pub(super) regex: Regex,
    /// Names by group.
    pub(super) groups: Vec<Option<Box<[u8]>>>,
    pub(super) meanings: Meanings,
    /// For each key with a meaning, the group that has it.
    pub(super) hits: Vec<Option<usize>>,
}

impl Format {
    /// Lines of any file.
    ///
    /// # Errors
    ///
    /// The options are not complete, which the checks of configurations find too.
    pub(crate) fn text(format: &LogFormat, options: RecordOptions<'_>) -> Result<Self, BuildError> {
        let no_keys = RecordKeys::default();
        let keys = format.keys().unwrap_or(&no_keys);
        let body = match format.kind() {
            LineFormat::Text => Body::Text,
            LineFormat::Json => {
                Body::Json(Box::new(JsonBody { meanings: Meanings::new(keys, LineFormat::Json), is_due: true }))
            }
            LineFormat::Regex => {
                let pattern =
                    format.pattern().ok_or_else(|| BuildError::new("the format \"regex\" needs a `pattern`"))?;
                Body::Regex(Box::new(RegexBody::new(pattern.compile(), Meanings::new(keys, LineFormat::Regex))))
            }
        };
        Self::new(false, body, options)
    }

    /// Lines of containers, in the form of the CRI or of Docker. A body that is a JSON object becomes attributes; `keys`
    /// says which of them are more.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    pub(crate) fn container(keys: &RecordKeys, options: RecordOptions<'_>) -> Result<Self, BuildError> {
        let json = JsonBody { meanings: Meanings::new(keys, LineFormat::Json), is_due: false };
        Self::new(true, Body::Json(Box::new(json)), options)
    }

    fn new(is_container: bool, body: Body, options: RecordOptions<'_>) -> Result<Self, BuildError> {
        let multiline = match options.multiline {
            Some(multiline) => {
                let rules = Rules::new(&multiline.table());
                Some(rules.ok_or_else(|| BuildError::new("`multiline` does not say where an entry begins"))?)
            }
            None => None,
        };
        let (max_bytes, keeps_original) = (options.max_record_size.as_usize(), options.keep_original_body);
        Ok(Self { is_container, body, multiline, max_bytes, keeps_original })
    }

    /// Bytes of a line that the reader should hand over at most; of what is longer it skips the rest.
    pub(crate) const fn max_line_bytes(&self) -> usize {
        if self.is_container { self.max_bytes.saturating_add(FRAMING_BYTES) } else { self.max_bytes }
    }
}

impl Body {
    /// Whether a line is a JSON object, and should be: then `records.members` holds it.
    pub(super) fn is_json_object(&self, piece: Piece<'_>, max_bytes: usize, records: &mut Records) -> bool {
        matches!(self, Self::Json(_))
            && piece.content.first() == Some(&b'{')
            && !piece.is_truncated
            && piece.content.len() <= max_bytes
            && records.members.read(piece.content).is_ok()
    }
}

impl RegexBody {
    fn new(regex: Regex, meanings: Meanings) -> Self {
        let groups: Vec<Option<Box<[u8]>>> =
            regex.capture_names().map(|name| name.map(|name| Box::from(name.as_bytes()))).collect();
        let mut hits = vec![None; meanings.len()];
        for (group, name) in groups.iter().enumerate() {
            if let Some(number) = name.as_ref().and_then(|name| meanings.number_of(hash_of_key(name), || Some(&**name)))
            {
                hits[number] = Some(group);
            }
        }
        Self { regex, groups, meanings, hits }
    }
}

#[cfg(test)]
impl Format {
    /// Lines of text, with the defaults of all else.
    pub(crate) fn plain() -> Self {
        let options = RecordOptions { multiline: None, max_record_size: ByteSize::mib(1), keep_original_body: false };
        Self::text(&LogFormat::default(), options).expect("the defaults are complete")
    }
}
