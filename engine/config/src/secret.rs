//! Secrets: references to them in a configuration, and the texts themselves once something has read them.
//!
//! A reference never holds the value, and nothing here reads files or variables.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// What is printed in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Where a secret comes from: `"file:/path"`, `"directory:NAME"` or `"env:NAME"`. The value is read when a component is
/// built; it is never part of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretRef {
    /// The content of a file, without a line end.
    File(PathBuf),
    /// The content of a file in the directory of secrets, without a line end. A plan turns it into the file.
    Directory(String),
    /// The value of an environment variable.
    Env(String),
}

/// A text that is not a reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// None of the three forms. Does not repeat the text: it may be the secret itself.
    #[error("a reference to a secret starts with `file:`, `directory:` or `env:`")]
    Scheme,
    /// A path that depends on the working directory.
    #[error("`{0}` is not an absolute path")]
    RelativePath(String),
    /// A name that would lead out of the directory, or that no key of a Kubernetes Secret can have.
    #[error("`{0}` is not the name of a file in a directory of secrets: letters, digits and `-_.`, not `..` in front")]
    FileName(String),
    /// Not the name of a variable.
    #[error("`{0}` is not the name of an environment variable")]
    VariableName(String),
}

/// A secret that was read. Debug, Display and Serialize print [`REDACTED`]; only [`SecretString::expose`] shows it. Its
/// memory is overwritten when the last clone is dropped; what was made of it, such as a header, is not.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretString(Arc<Zeroizing<String>>);

/// A text that stands in the configuration and may be sensitive, such as the value of a header. Debug hides it and
/// printing a configuration redacts it; Serialize keeps it, because the operator writes configurations.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SensitiveText(String);

impl SecretString {
    /// Takes over a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The secret itself. Never pass it to a log, a metric or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl SensitiveText {
    /// Takes over a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        if let Some(path) = text.strip_prefix("file:") {
            if !path.starts_with('/') {
                return Err(SecretError::RelativePath(path.to_owned()));
            }
            return Ok(Self::File(path.into()));
        }
        if let Some(name) = text.strip_prefix("directory:") {
            if !is_file_name(name) {
                return Err(SecretError::FileName(name.to_owned()));
            }
            return Ok(Self::Directory(name.to_owned()));
        }
        let name = text.strip_prefix("env:").ok_or(SecretError::Scheme)?;
        if !is_variable_name(name) {
            return Err(SecretError::VariableName(name.to_owned()));
        }
        Ok(Self::Env(name.to_owned()))
    }
}

/// What Kubernetes allows as a key of a Secret: no separator can stand in it, and neither `.` nor `..` is one. A mounted
/// Secret keeps its own books in entries that start with two dots.
fn is_file_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text != "." && !text.starts_with("..") && text.bytes().all(is_allowed)
}

/// `[A-Za-z_][A-Za-z0-9_]*`, the names that every shell can set.
pub(crate) fn is_variable_name(text: &str) -> bool {
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well && text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

impl fmt::Display for SecretRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Directory(name) => write!(formatter, "directory:{name}"),
            Self::Env(name) => write!(formatter, "env:{name}"),
        }
    }
}

impl fmt::Display for SecretString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

impl fmt::Debug for SensitiveText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

impl Serialize for SecretString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "secret",
            "pattern": "^(file:/.+|directory:\\.?[A-Za-z0-9_-][A-Za-z0-9_.-]*|env:[A-Za-z_][A-Za-z0-9_]*)$",
        })
    }
}

impl JsonSchema for SensitiveText {
    fn schema_name() -> Cow<'static, str> {
        "SensitiveText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-sensitive": true })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// References read and print the same text; everything else is refused without repeating a possible secret.
    #[test]
    fn references() {
        let good = ["file:/etc/token", "env:TOKEN", "env:_t0", "directory:shop-token", "directory:.dockerconfigjson"];
        for text in good {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
        assert!(matches!("file:token".parse::<SecretRef>(), Err(SecretError::RelativePath(_))));
        for name in ["", ".", "..", "..data", "../token", "a/b", "a b", "\u{e4}"] {
            let error = format!("directory:{name}").parse::<SecretRef>().unwrap_err();
            assert_eq!(error, SecretError::FileName(name.to_owned()));
        }
        assert!(matches!("env:0".parse::<SecretRef>(), Err(SecretError::VariableName(_))));
        let error = "hunter2".parse::<SecretRef>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    /// No way of printing shows a secret.
    #[test]
    fn secrets_do_not_print() {
        let secret = SecretString::new("hunter2");
        let printed = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(!printed.contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{:?}", SensitiveText::new("hunter2")).contains("hunter2"));
    }
}
