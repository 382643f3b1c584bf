//! Options of how lines become log records, for the sources that read files: formats, keys with a meaning, entries of
//! several lines.
//!
//! Where lines come from is the matter of the sources, which hold these as values of their keys.

mod keys;
mod multiline;
mod pattern;
mod time;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::keys::RecordKeys;
pub use self::multiline::{Multiline, MultilineTable, Preset};
pub use self::pattern::{Pattern, PatternError};
pub use self::time::{ReadTime, TimeFormat, TimeFormatError, Zone, ZoneError};
use crate::check::did_you_mean;
use crate::component::Checker;
use crate::omit::is_default;

/// How a line is written: `"text"`, `"json"`, or a table with more about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LogFormat {
    /// The kind of format, with all defaults.
    Kind(LineFormat),
    /// A format with options.
    Table(Box<FormatTable>),
}

/// A format with options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FormatTable {
    /// How a line is written.
    #[serde(rename = "type")]
    pub kind: LineFormat,
    /// For `"regex"`: the expression that lines match, in the syntax of the Rust crate `regex`. Each named group
    /// `(?<name>...)` becomes an attribute, if it is no group with a meaning of its own (`keys`). A line that does not
    /// match is kept as text and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Which keys of JSON, or groups of the pattern, are more than attributes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys: RecordKeys,
}

/// The kind of a format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineFormat {
    /// The line is the body.
    #[default]
    Text,
    /// A JSON object a line, whose members become attributes. Other lines are kept as text and counted.
    Json,
    /// An expression with named groups.
    Regex,
}

impl Default for LogFormat {
    fn default() -> Self {
        Self::Kind(LineFormat::Text)
    }
}

impl LogFormat {
    /// The kind of format.
    pub const fn kind(&self) -> LineFormat {
        match self {
            Self::Kind(kind) => *kind,
            Self::Table(table) => table.kind,
        }
    }

    /// The expression, if one is written.
    pub const fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::Kind(_) => None,
            Self::Table(table) => table.pattern.as_ref(),
        }
    }

    /// Keys with a meaning, if some are written.
    pub const fn keys(&self) -> Option<&RecordKeys> {
        match self {
            Self::Kind(_) => None,
            Self::Table(table) => Some(&table.keys),
        }
    }

    /// Checks what several keys say together. The value stands at the key `format`.
    pub fn check(&self, checker: &mut Checker) {
        let kind = self.kind();
        if kind == LineFormat::Regex && self.pattern().is_none() {
            let help = "write `format = { type = \"regex\", pattern = '(?<time>\\S+) (?<level>\\w+) (?<message>.*)' }`";
            checker.error(["format"], "the format \"regex\" needs a `pattern`").help(help);
        }
        if kind != LineFormat::Regex && self.pattern().is_some() {
            let message = "`pattern` has no effect: only the format \"regex\" has one";
            checker.no_effect(["format", "pattern"], message).help("remove it, or write `type = \"regex\"`");
        }
        let Some(keys) = self.keys() else { return };
        match (kind, self.pattern()) {
            (LineFormat::Text, _) if *keys != RecordKeys::default() => {
                let message = "`keys` has no effect: a line of text has none";
                checker.no_effect(["format", "keys"], message).help("remove it, or write `type = \"json\"`");
            }
            (LineFormat::Regex, Some(pattern)) => {
                keys.check(["format", "keys"], checker);
                check_groups(pattern, keys, checker);
            }
            _ => keys.check(["format", "keys"], checker),
        }
    }
}

/// Groups that an expression needs.
fn check_groups(pattern: &Pattern, keys: &RecordKeys, checker: &mut Checker) {
    let groups = pattern.groups();
    if groups.is_empty() {
        let message = "the pattern names no group, so nothing would come of it";
        checker.invalid(["format", "pattern"], message).help("name what shall become attributes: `(?<name>...)`");
        return;
    }
    for (key, names) in keys.written() {
        if names.iter().all(|name| !groups.contains(name)) {
            let message = format!("`{key}` names no group of the pattern");
            let nearest = names.iter().find_map(|name| did_you_mean(name, groups.iter().map(String::as_str)));
            let help = nearest.unwrap_or_else(|| format!("its groups are {}", quoted(&groups)));
            checker.no_effect(["format", "keys", key], message).help(help);
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
