//! What is wrong with a configuration, where, and what to write instead.
//!
//! Carries everything a terminal needs to draw the place; drawing is the command line's work.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// Whether a configuration can run with this problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration runs, and probably not as its author meant.
    Warning,
}

/// Kinds of problems. The text of a code is stable: scripts may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not TOML.
    Syntax,
    /// `version` is missing or not one that this program reads.
    Version,
    /// A key that does not exist at this place.
    UnknownKey,
    /// A component type that does not exist.
    UnknownType,
    /// A key that must be there and is not.
    MissingKey,
    /// A string where a number is due, and the like.
    WrongType,
    /// A number, size or duration beyond its limits, or a text of a form that the key does not take.
    InvalidValue,
    /// Values that contradict each other.
    Conflict,
    /// An id with characters that are not allowed.
    InvalidId,
    /// One id twice, or one setting in two files.
    Duplicate,
    /// An input that names no component, or no output of it.
    UnknownInput,
    /// Components that feed each other in a circle.
    Cycle,
    /// A component that no source reaches, or a transform that reaches no sink.
    Unreachable,
    /// A source whose data, or some of it, goes nowhere.
    Unused,
    /// A signal that a component cannot carry.
    WrongSignal,
    /// Two components that want one socket or one file.
    Claim,
    /// A setting with which one sink could hold up another.
    Isolation,
    /// A promise of delivery that this combination cannot keep.
    Delivery,
    /// Buffers beyond the memory limit.
    Memory,
    /// A secret or file that is not there.
    MissingSecret,
    /// An environment variable that is not set.
    MissingVariable,
    /// A key whose value has no effect.
    NoEffect,
}

/// One problem at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it stops the configuration.
    pub severity: Severity,
    /// What kind of problem it is.
    pub code: Code,
    /// Name of the file, as given to `parse`; absent for a configuration built from types.
    pub file: Option<String>,
    /// Line, from 1; 0 without a file.
    pub line: usize,
    /// Column in characters, from 1; 0 without a file.
    pub column: usize,
    /// Byte range in the file.
    pub span: Range<usize>,
    /// The component or table, such as `sinks.backend`.
    pub component: Option<String>,
    /// What is wrong; lower-case, without a full stop.
    pub message: String,
    /// What would be right, such as `a duration such as "5s"`.
    pub expected: Option<String>,
    /// What to do, such as ``did you mean `endpoint`?``.
    pub help: Option<String>,
}

/// All problems that one look at a configuration found, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Code {
    /// The stable text of the code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Version => "version",
            Self::UnknownKey => "unknown_key",
            Self::UnknownType => "unknown_type",
            Self::MissingKey => "missing_key",
            Self::WrongType => "wrong_type",
            Self::InvalidValue => "invalid_value",
            Self::Conflict => "conflict",
            Self::InvalidId => "invalid_id",
            Self::Duplicate => "duplicate",
            Self::UnknownInput => "unknown_input",
            Self::Cycle => "cycle",
            Self::Unreachable => "unreachable",
            Self::Unused => "unused",
            Self::WrongSignal => "wrong_signal",
            Self::Claim => "claim",
            Self::Isolation => "isolation",
            Self::Delivery => "delivery",
            Self::Memory => "memory",
            Self::MissingSecret => "missing_secret",
            Self::MissingVariable => "missing_variable",
            Self::NoEffect => "no_effect",
        }
    }
}

impl Problem {
    /// Whether the problem stops the configuration.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Problems {
    /// No problems.
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Whether nothing at all was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many problems there are, warnings included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one of them stops the configuration.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(Problem::is_error)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// Those that stop the configuration.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|problem| problem.is_error())
    }

    /// Those that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|problem| !problem.is_error())
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Adds those of another look, and puts all into the order of files and lines. What both found stands once.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
        self.sort();
    }

    pub(crate) fn sort(&mut self) {
        self.list.sort_by(|left, right| {
            let key = |problem: &Problem| (problem.file.clone(), problem.span.start, problem.severity);
            key(left).cmp(&key(right))
        });
        self.list.dedup();
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// ``file.toml:12:3: sinks.backend: unknown key `endpiont`, did you mean `endpoint`?``
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{file}:{}:{}: ", self.line, self.column)?;
        }
        if self.severity == Severity::Warning {
            formatter.write_str("warning: ")?;
        }
        if let Some(component) = &self.component {
            write!(formatter, "{component}: ")?;
        }
        formatter.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(formatter, ", expected {expected}")?;
        }
        match &self.help {
            Some(help) if help.starts_with("did you mean") => write!(formatter, ", {help}"),
            Some(help) => write!(formatter, "; {help}"),
            None => Ok(()),
        }
    }
}

/// One line a problem.
impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.list.iter().enumerate() {
            if position > 0 {
                formatter.write_str("\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
impl std::error::Error for Problems {}
