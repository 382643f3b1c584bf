//! Places in files, and the report that turns findings at places into problems.

use std::fmt;
use std::ops::Range;

use crate::SourceFile;
use crate::problem::{Code, Problem, Problems, Severity};

/// A byte range in one of the files. [`At::NOWHERE`] stands for values that were built from types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) file: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The files of a configuration; empty for one built from types.
#[derive(Clone, Default)]
pub(crate) struct Files(Vec<SourceFile>);

/// What is wrong, without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    severity: Severity,
    code: Code,
    message: String,
    pub(crate) expected: Option<String>,
    pub(crate) help: Option<String>,
}

/// Collects findings.
pub(crate) struct Report<'f> {
    files: &'f Files,
    problems: Problems,
}

impl At {
    pub(crate) const NOWHERE: Self = Self { file: usize::MAX, start: 0, end: 0 };

    pub(crate) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }

    /// For what is missing from the whole.
    pub(crate) fn start_of_first_file() -> Self {
        Self { file: 0, start: 0, end: 0 }
    }
}

impl Files {
    pub(crate) fn new(files: &[SourceFile]) -> Self {
        Self(files.to_vec())
    }

    pub(crate) fn get(&self, file: usize) -> Option<&SourceFile> {
        self.0.get(file)
    }

    /// Line and column of a byte, both from 1; columns count characters.
    fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |position| position + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// Names only: texts may hold header values.
impl fmt::Debug for Files {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|file| &file.name)).finish()
    }
}

impl Finding {
    pub(crate) fn error(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), expected: None, help: None }
    }

    pub(crate) fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds help where there is any.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

impl<'f> Report<'f> {
    pub(crate) fn new(files: &'f Files) -> Self {
        Self { files, problems: Problems::new() }
    }

    /// Files a finding under a place and a component.
    pub(crate) fn add(&mut self, at: At, component: Option<&str>, finding: Finding) {
        let file = self.files.get(at.file);
        let (line, column) = file.map_or((0, 0), |file| Files::line_and_column(&file.text, at.start));
        self.problems.push(Problem {
            severity: finding.severity,
            code: finding.code,
            file: file.map(|file| file.name.clone()),
            line,
            column,
            span: if file.is_some() { at.start..at.end } else { 0..0 },
            component: component.map(str::to_owned),
            message: finding.message,
            expected: finding.expected,
            help: finding.help,
        });
    }

    /// `file:line:column` of a place.
    pub(crate) fn place(&self, at: At) -> String {
        let Some(file) = self.files.get(at.file) else { return "an unknown place".to_owned() };
        let (line, column) = Files::line_and_column(&file.text, at.start);
        format!("{}:{line}:{column}", file.name)
    }

    /// How many errors there are by now: a caller compares before and after.
    pub(crate) fn error_count(&self) -> usize {
        self.problems.errors().count()
    }

    /// The problems in order.
    pub(crate) fn finish(self) -> Problems {
        let mut problems = self.problems;
        problems.sort();
        problems
    }
}
