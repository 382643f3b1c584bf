//! How families and series are written: the text format 0.0.4 of Prometheus and OpenMetrics 1.0.
//!
//! Both are lines; a text that comes from outside is escaped or made of allowed characters only before it gets here, but for
//! help. Exemplars and units are in OpenMetrics only.

use std::fmt::Write as _;

use super::labels::push_escaped;
use super::table::{Description, Kind, Series};
use super::value::{Exemplar, ExponentialValue, Histogram, Summary, Value};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) syntax: Syntax,
    pub(super) timestamps: Timestamps,
}

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Text,
    OpenMetrics,
}

/// Whether lines carry the time of their point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timestamps {
    Sent,
    Absent,
}

/// One line: everything but its value.
#[derive(Clone, Copy)]
struct Line<'a> {
    name: &'a str,
    suffix: &'static str,
    labels: &'a str,
    /// `le` or `quantile`.
    extra: Option<(&'static str, f64)>,
    time: u64,
    exemplar: Option<&'a Exemplar>,
    format: Format,
}

/// A sample's number.
#[derive(Clone, Copy)]
enum Number {
    Count(u64),
    Int(i64),
    Double(f64),
}

impl Syntax {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What stands behind the last family.
    pub(super) const fn end(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::OpenMetrics => "# EOF\n",
        }
    }
}

/// Writes what a family is.
pub(super) fn write_head(text: &mut String, description: &Description, format: Format) {
    let name = match format.syntax {
        Syntax::Text => &description.name,
        Syntax::OpenMetrics => description.family_name(),
    };
    writeln!(text, "# TYPE {name} {}", type_name(description, format.syntax)).expect("a string takes everything");
    if format.syntax == Syntax::OpenMetrics && ends_in_unit(name, &description.unit) {
        writeln!(text, "# UNIT {name} {}", description.unit).expect("a string takes everything");
    }
    if !description.help.is_empty() {
        write!(text, "# HELP {name} ").expect("a string takes everything");
        match format.syntax {
            Syntax::OpenMetrics => push_escaped(text, &description.help),
            Syntax::Text => push_help(text, &description.help),
        }
        text.push('\n');
    }
}

/// Writes all lines of a series.
pub(super) fn write_series(text: &mut String, description: &Description, series: &Series, format: Format) {
    let line = Line {
        name: &description.name,
        suffix: "",
        labels: &series.labels,
        extra: None,
        time: series.times.end,
        exemplar: None,
        format,
    };
    match &series.value {
        Value::Int(number) => write_number(text, line, Number::Int(*number), description, &series.exemplars),
        Value::Double(number) => write_number(text, line, Number::Double(*number), description, &series.exemplars),
        Value::Histogram(histogram) => {
            let Histogram { bounds, counts, count, sum } = histogram;
            let mut below: u64 = 0;
            let cumulative = bounds.iter().zip(counts).map(|(bound, count)| {
                below = below.saturating_add(*count);
                (*bound, below)
            });
            let buckets: Vec<(f64, u64)> = cumulative.collect();
            write_histogram(text, line, &buckets, (*count, *sum), &series.exemplars);
        }
        Value::Exponential(exponential) => {
            let ExponentialValue { buckets, count, sum } = exponential.as_ref();
            write_histogram(text, line, &buckets.cumulative(), (*count, *sum), &series.exemplars);
        }
        Value::Summary(Summary { quantiles, count, sum }) => {
            for (quantile, value) in quantiles {
                Line { extra: Some(("quantile", *quantile)), ..line }.write(text, Number::Double(*value));
            }
            Line { suffix: "_sum", ..line }.write(text, Number::Double(*sum));
            Line { suffix: "_count", ..line }.write(text, Number::Count(*count));
        }
    }
}

fn write_number(text: &mut String, line: Line<'_>, number: Number, description: &Description, exemplars: &[Exemplar]) {
    // In OpenMetrics only counters and buckets have exemplars; a counter without `_total` is unknown there.
    let may_have_one = description.kind == Kind::Counter && description.name.ends_with("_total");
    let latest = exemplars.iter().max_by_key(|exemplar| exemplar.time).filter(|_| may_have_one);
    Line { exemplar: latest, ..line }.write(text, number);
}

fn write_histogram(
    text: &mut String,
    line: Line<'_>,
    buckets: &[(f64, u64)],
    (count, sum): (u64, Option<f64>),
    exemplars: &[Exemplar],
) {
    let mut lower = f64::NEG_INFINITY;
    let all = count.max(buckets.last().map_or(0, |(_, below)| *below));
    for (bound, below) in buckets.iter().copied().chain([(f64::INFINITY, all)]) {
        let inside = exemplars.iter().filter(|exemplar| lower < exemplar.value && exemplar.value <= bound);
        let exemplar = inside.max_by_key(|exemplar| exemplar.time);
        Line { suffix: "_bucket", extra: Some(("le", bound)), exemplar, ..line }.write(text, Number::Count(below));
        lower = bound;
    }
    if let Some(sum) = sum {
        Line { suffix: "_sum", ..line }.write(text, Number::Double(sum));
    }
    // OpenMetrics wants a count if and only if there is a sum.
    if sum.is_some() || line.format.syntax == Syntax::Text {
        Line { suffix: "_count", ..line }.write(text, Number::Count(all));
    }
}

impl Line<'_> {
    fn write(self, text: &mut String, number: Number) {
        let Self { name, suffix, labels, extra, time, exemplar, format } = self;
        text.push_str(name);
        text.push_str(suffix);
        if extra.is_some() || !labels.is_empty() {
            text.push('{');
            text.push_str(labels);
            if let Some((label, value)) = extra {
                text.push_str(if labels.is_empty() { "" } else { "," });
                text.push_str(label);
                text.push_str("=\"");
                push_bound(text, value, format.syntax);
                text.push('"');
            }
            text.push('}');
        }
        text.push(' ');
        match number {
            Number::Count(count) => write!(text, "{count}").expect("a string takes everything"),
            Number::Int(number) => write!(text, "{number}").expect("a string takes everything"),
            Number::Double(number) => push_double(text, number),
        }
        if format.timestamps == Timestamps::Sent && time > 0 {
            text.push(' ');
            push_time(text, time, format.syntax);
        }
        if let (Some(exemplar), Syntax::OpenMetrics) = (exemplar, format.syntax) {
            write!(text, " # {{{}}} ", exemplar.labels).expect("a string takes everything");
            push_double(text, exemplar.value);
            if exemplar.time > 0 {
                text.push(' ');
                push_time(text, exemplar.time, format.syntax);
            }
        }
        text.push('\n');
    }
}

fn type_name(description: &Description, syntax: Syntax) -> &'static str {
    match (description.kind, syntax) {
        (Kind::Counter, Syntax::OpenMetrics) if !description.name.ends_with("_total") => "unknown",
        (Kind::Counter, _) => "counter",
        (Kind::Gauge, _) | (Kind::Info, Syntax::Text) => "gauge",
        (Kind::Info, Syntax::OpenMetrics) => "info",
        (Kind::Histogram, _) => "histogram",
        (Kind::Summary, _) => "summary",
    }
}

/// OpenMetrics wants the unit at the end of the name it is told of.
fn ends_in_unit(name: &str, unit: &str) -> bool {
    !unit.is_empty() && name.strip_suffix(unit).is_some_and(|start| start.ends_with('_'))
}

/// In the text format, quotes in help are not escaped.
fn push_help(text: &mut String, help: &str) {
    for character in help.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

fn push_double(text: &mut String, number: f64) {
    let written = if number.is_nan() {
        text.push_str("NaN");
        Ok(())
    } else if number.is_infinite() {
        text.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
        Ok(())
    } else {
        // The shortest text that reads back as the same number, with an exponent where that is shorter.
        write!(text, "{number:?}")
    };
    written.expect("a string takes everything");
}

/// A bound is a label, so its text is part of a series' name: `1` in text and `1.0` in OpenMetrics, as every client
/// library writes them.
fn push_bound(text: &mut String, bound: f64, syntax: Syntax) {
    let is_whole = bound.is_finite() && bound.fract() == 0.0 && bound.abs() < 1e16;
    if syntax == Syntax::Text && is_whole {
        write!(text, "{bound:.0}").expect("a string takes everything");
    } else {
        push_double(text, bound);
    }
}

/// Milliseconds in text, seconds in OpenMetrics.
fn push_time(text: &mut String, nanos: u64, syntax: Syntax) {
    let millis = nanos / 1_000_000;
    match syntax {
        Syntax::Text => write!(text, "{millis}"),
        Syntax::OpenMetrics => write!(text, "{}.{:03}", millis / 1000, millis % 1000),
    }
    .expect("a string takes everything");
}
