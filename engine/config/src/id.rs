//! Names inside a pipeline: component ids and references to their outputs.
//!
//! Does not know which components exist; resolving a reference is the plan's work.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest id that is accepted: ids become label values and file names.
pub const MAX_ID_LENGTH: usize = 128;

/// Id of one component, unique across sources, transforms and sinks: `[a-z0-9][a-z0-9_.-]*`, at most 128 bytes.
///
/// Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(Arc<str>);

/// One output of one component, as written in `inputs`: `"ID"` or `"ID.output"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRef {
    /// The component that produces.
    pub component: ComponentId,
    /// A named output; `None` is the default output.
    pub output: Option<Arc<str>>,
}

/// An `inputs` entry as written. Ids may hold dots, so only the plan can tell `"ID.output"` from an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputRef(ComponentId);

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No characters at all.
    #[error("an id is empty")]
    Empty,
    /// More than [`MAX_ID_LENGTH`] bytes.
    #[error("an id has {0} bytes, at most 128 are allowed")]
    TooLong(usize),
    /// A character outside `[a-z0-9_.-]`, or one of `_.-` in first place.
    #[error("`{0}` is not allowed in an id at position {1}")]
    Character(char, usize),
}

impl ComponentId {
    /// Checks and takes over an id.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MAX_ID_LENGTH {
            return Err(IdError::TooLong(text.len()));
        }
        for (position, character) in text.chars().enumerate() {
            let is_alphanumeric = character.is_ascii_lowercase() || character.is_ascii_digit();
            let is_punctuation = matches!(character, '_' | '.' | '-');
            if !is_alphanumeric && (position == 0 || !is_punctuation) {
                return Err(IdError::Character(character, position + 1));
            }
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InputRef {
    /// Checks and takes over an `inputs` entry. Its characters are those of an id.
    pub fn new(text: &str) -> Result<Self, IdError> {
        ComponentId::new(text).map(Self)
    }

    /// The entry as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The entry read as the id of a component.
    pub fn as_component(&self) -> &ComponentId {
        &self.0
    }

    /// The entry read as `ID.output`, split at its last dot.
    pub fn split(&self) -> Option<(ComponentId, Arc<str>)> {
        let (component, output) = self.as_str().rsplit_once('.')?;
        Some((ComponentId::new(component).ok()?, output.into()))
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ComponentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for InputRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for PortRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.output {
            Some(output) => write!(formatter, "{}.{output}", self.component),
            None => self.component.fmt(formatter),
        }
    }
}

impl FromStr for ComponentId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for ComponentId {
    type Error = IdError;
    fn try_from(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl AsRef<str> for ComponentId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ComponentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for ComponentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ComponentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for ComponentId {
    fn schema_name() -> Cow<'static, str> {
        "ComponentId".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "identity",
            "pattern": "^[a-z0-9][a-z0-9_.-]*$",
            "maxLength": MAX_ID_LENGTH,
        })
    }
}

impl JsonSchema for InputRef {
    fn schema_name() -> Cow<'static, str> {
        "InputRef".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "input",
            "pattern": "^[a-z0-9][a-z0-9_.-]*$",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// Ids that the grammar allows are taken, all others are refused with the reason.
    #[test]
    fn the_grammar_of_ids() {
        for good in ["a", "0", "apps", "a.b", "a-b_c.9"] {
            assert_eq!(ComponentId::new(good).unwrap().as_str(), good);
        }
        assert_eq!(ComponentId::new(""), Err(IdError::Empty));
        assert_eq!(ComponentId::new("-a"), Err(IdError::Character('-', 1)));
        assert_eq!(ComponentId::new("aB"), Err(IdError::Character('B', 2)));
        assert_eq!(ComponentId::new(&"a".repeat(129)), Err(IdError::TooLong(129)));
    }

    /// An entry with a dot can be read both ways; the output is what follows the last dot.
    #[test]
    fn an_input_splits_at_its_last_dot() {
        let (component, output) = InputRef::new("a.b.errors").unwrap().split().unwrap();
        assert_eq!((component.as_str(), &*output), ("a.b", "errors"));
        assert_eq!(InputRef::new("apps").unwrap().split(), None);
    }
}
