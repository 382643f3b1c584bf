//! Entries of several lines.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Pattern;
use crate::component::Checker;
use crate::span::Span;

/// Which lines belong to the entry before: a preset such as `"java"`, or a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Multiline {
    /// The traces of a language, with all defaults.
    Preset(Preset),
    /// A preset or an expression, and how much an entry may hold.
    Table(MultilineTable),
}

/// Which lines belong to the entry before, and how much an entry may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MultilineTable {
    /// The traces of a language. Excludes `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// An expression that matches the first line of every entry, in the syntax of the Rust crate `regex`: `'^\d{4}-'`. All
    /// lines that it does not match belong to the entry before. Excludes `preset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Pattern>,
    /// Lines of one entry. What follows becomes another entry.
    #[schemars(range(min = 2, max = 100_000))]
    pub max_lines: NonZeroU32,
    /// An entry is complete when nothing was added to it for so long.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1m"))]
    pub timeout: Span,
}

/// A language whose traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Exceptions of Java and other languages of its virtual machine. The line before an exception belongs to it, as
    /// loggers write them.
    Java,
    /// Tracebacks of Python. The line before a traceback belongs to it, as `logging.exception` writes them.
    Python,
    /// Panics, fatal errors and goroutines of Go.
    Go,
}

impl Default for MultilineTable {
    fn default() -> Self {
        Self { preset: None, start: None, max_lines: NonZeroU32::new(1024).expect("not zero"), timeout: Span::secs(1) }
    }
}

impl Multiline {
    /// The table that it is, or stands for.
    pub fn table(&self) -> MultilineTable {
        match self {
            Self::Preset(preset) => MultilineTable { preset: Some(*preset), ..MultilineTable::default() },
            Self::Table(table) => table.clone(),
        }
    }

    /// Checks what several keys say together. The value stands at the key `multiline`.
    pub fn check(&self, checker: &mut Checker) {
        let Self::Table(table) = self else { return };
        match (&table.preset, &table.start) {
            (None, None) => {
                let help = "write `multiline.start = '...'`, or `multiline = \"java\"`";
                checker.error(["multiline"], "`multiline` does not say where an entry begins").help(help);
            }
            (Some(_), Some(_)) => {
                let message = "`multiline.preset` and `multiline.start` exclude each other";
                checker.error(["multiline", "start"], message).help("keep one of them");
            }
            (None, Some(start)) if start.matches_nothing() => {
                let message = "the expression matches the empty text, so every line would begin an entry";
                let help = "write what the first line of an entry begins with: `'^\\d{4}-\\d\\d-\\d\\d'`";
                checker.invalid(["multiline", "start"], message).help(help);
            }
            _ => {}
        }
    }
}
