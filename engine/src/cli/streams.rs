//! Where commands write to, and whether colours are wanted there.
//!
//! Commands write through this only, so that tests can read what they say.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

/// Standard output and standard error of a command.
pub struct Streams<'s> {
    /// Results: what a script would read.
    pub stdout: &'s mut dyn Write,
    /// Everything else: problems and logs.
    pub stderr: &'s mut dyn Write,
    /// Whether standard error is drawn in colours. Standard output never is.
    pub color: Color,
}

/// Whether escape sequences may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// A terminal reads, and its user has nothing against it.
    Always,
    /// A file or pipe reads, or `NO_COLOR` is set (no-color.org).
    Never,
}

impl Color {
    /// What standard error of this process wants.
    pub(super) fn of_stderr(variables: &BTreeMap<String, String>) -> Self {
        let is_declined = variables.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = variables.get("TERM").is_some_and(|value| value == "dumb");
        if io::stderr().is_terminal() && !is_declined && !is_dumb { Self::Always } else { Self::Never }
    }
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Streams").field("color", &self.color).finish_non_exhaustive()
    }
}
