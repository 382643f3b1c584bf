//! Edits that set text, prepared in one piece of memory: for those who prepare them for every pod. What edits do is the
//! matter of `edit`.

use std::ops::Range;

use bytes::{BufMut, Bytes};

use super::edit::{Change, ResourceEdits};
use crate::protobuf::{field_len, put_length_head};

/// Bytes that most preparations take.
const USUAL_BYTES: usize = 1024;
/// Edits that most preparations have.
const USUAL_EDITS: usize = 24;

/// Edits of Resource attributes in the making. Keys and values come in parts that are put together.
#[derive(Debug)]
pub struct TextEdits {
    bytes: Vec<u8>,
    edits: Vec<Piece>,
}

/// An encoded attribute.
#[derive(Debug)]
struct Piece {
    key: Range<usize>,
    attribute: Range<usize>,
    change: fn(Bytes) -> Change,
}

impl Default for TextEdits {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_BYTES), edits: Vec::with_capacity(USUAL_EDITS) }
    }
}

impl TextEdits {
    /// Sets an attribute where it is absent, or has no value or an empty string first.
    pub fn fill(&mut self, key: &[&str], value: &[&str]) {
        self.add(key, value, Change::fill);
    }

    /// Sets an attribute everywhere.
    pub fn upsert(&mut self, key: &[&str], value: &[&str]) {
        self.add(key, value, Change::upsert);
    }

    /// The edits, ready to be applied.
    pub fn finish(self) -> ResourceEdits {
        let Self { bytes, edits } = self;
        let bytes = Bytes::from(bytes);
        ResourceEdits::of(
            edits
                .into_iter()
                .map(|Piece { key, attribute, change }| (bytes.slice(key), change(bytes.slice(attribute)))),
        )
    }

    fn add(&mut self, key: &[&str], value: &[&str], change: fn(Bytes) -> Change) {
        let len_of = |parts: &[&str]| parts.iter().map(|part| part.len()).sum::<usize>();
        let (key_len, text_len) = (len_of(key), len_of(value));
        let out = &mut self.bytes;
        let start = out.len();
        put_length_head(out, 1, field_len(key_len) + field_len(field_len(text_len)));
        put_length_head(out, 1, key_len);
        let key_start = out.len();
        key.iter().for_each(|part| out.put_slice(part.as_bytes()));
        let key = key_start..out.len();
        put_length_head(out, 2, field_len(text_len));
        put_length_head(out, 1, text_len);
        value.iter().for_each(|part| out.put_slice(part.as_bytes()));
        self.edits.push(Piece { key, attribute: start..out.len(), change });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::edit::{AttributeValue, EditAction, ResourceEdit, encode};

    /// They are the same edits as those that are made one by one, in their order and with keys that come twice.
    #[test]
    fn are_the_same_edits() {
        let long = "x".repeat(200);
        let edits = [
            ("k8s.pod.name", "web-1", false),
            ("empty", "", false),
            ("k8s.pod.name", "web-2", false),
            ("service.name", &long, true),
            (&*long, "a", true),
            ("service.name", "again", false),
        ];
        let mut text = TextEdits::default();
        let mut plain = Vec::new();
        for (key, value, is_everywhere) in edits {
            let middle = key.len() / 2;
            let (parts, value_of) = ([&key[..middle], &key[middle..]], AttributeValue::String(value.to_owned()));
            let action = match is_everywhere {
                true => {
                    text.upsert(&parts, &[value]);
                    EditAction::Upsert(value_of)
                }
                false => {
                    text.fill(&parts, &["", value]);
                    EditAction::Fill(value_of)
                }
            };
            plain.push(ResourceEdit { key: key.to_owned(), action });
        }
        assert_eq!(format!("{:?}", text.finish()), format!("{:?}", ResourceEdits::new(plain)));
    }

    /// An attribute is what the protocol says it is.
    #[test]
    fn encodes_alike() {
        let mut text = TextEdits::default();
        text.fill(&["a.", "b"], &["c", "d"]);
        assert_eq!(text.bytes, encode("a.b", &AttributeValue::String("cd".to_owned())));
    }
}
