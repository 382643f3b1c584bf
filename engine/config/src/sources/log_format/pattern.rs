//! `Pattern`: a regular expression of the Rust crate `regex`, which needs time in proportion to the text at worst.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use regex::{Regex, bytes};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A regular expression that compiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// A text that is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It breaks the grammar.
    #[error("not a regular expression, at character {at}: {problem}")]
    Syntax {
        /// Characters up to the fault, from 1 on.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// It would need too much memory.
    #[error("the regular expression needs more memory than {0} bytes")]
    TooLarge(usize),
    /// Something else.
    #[error("not a regular expression: {0}")]
    Other(String),
}

impl Pattern {
    /// The expression as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compiles it for texts.
    pub fn compile(&self) -> Regex {
        Regex::new(&self.0).expect("it was compiled when it was read")
    }

    /// Compiles it for bytes that are mostly text.
    pub fn compile_for_bytes(&self) -> bytes::Regex {
        bytes::Regex::new(&self.0).expect("what is an expression for texts is one for bytes")
    }

    /// The names of its groups.
    pub fn groups(&self) -> Vec<String> {
        self.compile().capture_names().flatten().map(str::to_owned).collect()
    }

    /// Whether it matches the empty text.
    pub fn matches_nothing(&self) -> bool {
        self.compile().is_match("")
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (problem, span) = match regex_syntax::parse(text) {
            Err(regex_syntax::Error::Parse(error)) => (error.kind().to_string(), *error.span()),
            Err(regex_syntax::Error::Translate(error)) => (error.kind().to_string(), *error.span()),
            Err(error) => return Err(PatternError::Other(error.to_string())),
            Ok(_) => {
                return match Regex::new(text) {
                    Ok(_) => Ok(Self(text.to_owned())),
                    Err(regex::Error::CompiledTooBig(limit)) => Err(PatternError::TooLarge(limit)),
                    Err(error) => Err(PatternError::Other(error.to_string())),
                };
            }
        };
        let at = text.get(..span.start.offset).map_or(0, |before| before.chars().count()) + 1;
        Err(PatternError::Syntax { at, problem })
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Not the form `regex` of JSON Schema, which means that of ECMA-262.
        json_schema!({ "type": "string", "format": "rust-regex" })
    }
}
