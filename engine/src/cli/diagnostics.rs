//! Draws problems of a configuration: the line, the place underlined, what was expected, what to do.
//!
//! What is wrong, and what of a file may be shown, is decided by `engine-config`.

use std::fmt;

use engine_config::{Catalog, Problem, Problems, Severity, SourceFile, covered};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::streams::Color;

/// Columns that a drawing takes at most.
const WIDTH: usize = 120;

/// All problems as drawings, then one line that counts them.
pub(super) fn draw(problems: &Problems, files: &[SourceFile], color: Color) -> String {
    let theme = match color {
        Color::Never => GraphicalTheme::unicode_nocolor(),
        Color::Always => GraphicalTheme::unicode(),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_links(false).with_context_lines(1);
    let catalog = Catalog::builtin();
    let shown: Vec<(&String, String)> = files.iter().map(|file| (&file.name, covered(file, &catalog))).collect();
    let mut text = String::new();
    for problem in problems {
        let source = shown.iter().find(|(name, _)| problem.file.as_ref() == Some(*name));
        let drawing = Drawing {
            problem,
            source: source.map(|(name, text)| NamedSource::new(*name, text.clone()).with_language("toml")),
        };
        handler.render_report(&mut text, &drawing).expect("writing to a String does not fail");
        text.push('\n');
    }
    text.push_str(&summary(problems));
    text.push('\n');
    text
}

/// `2 errors, 1 warning`.
fn summary(problems: &Problems) -> String {
    let counted = |count: usize, noun: &str| match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{count} {noun}s")),
    };
    let parts = [counted(problems.errors().count(), "error"), counted(problems.warnings().count(), "warning")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// One problem with the text it is about.
#[derive(Debug)]
struct Drawing<'p> {
    problem: &'p Problem,
    source: Option<NamedSource<String>>,
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(component) = &self.problem.component {
            write!(formatter, "{component}: ")?;
        }
        formatter.write_str(&self.problem.message)
    }
}

impl std::error::Error for Drawing<'_> {}

impl Diagnostic for Drawing<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help: &dyn fmt::Display = self.problem.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let label = match &self.problem.expected {
            Some(expected) => format!("expected {expected}"),
            None => "here".to_owned(),
        };
        let span = self.problem.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::new(Some(label), span.start, span.len()))))
    }
}
