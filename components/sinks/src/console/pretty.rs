//! The `pretty` format: one line a log record, span or data point, read in place.
//!
//! A Resource and a scope are shown when they change. Further lines of a body, stack traces and the events of a span
//! follow on lines that are set in, so that a line with a time in front is a record, always. Everything of a record that a person looks for is shown;
//! exemplars, links, trace state, flags and schema URLs are not: `otlp_json` has them.

use std::io;

use otlp::{
    AttributeView, Attributes, DataPointView, EventView, LogRecordView, MetricView, PointKind, RecordView,
    ResourceView, ScopeView, SpanView, ValueView, Wire,
};

use super::distribution::{Distribution, Quantile};
use super::page::{Colors, Page, Style};
use super::units::{Elapsed, Moment, Size};

/// Text that is handed on in one piece, roughly: enough for one system call to be worth it.
const PIECE: usize = 64 * 1024;

/// Flag of a data point without a value (`NO_RECORDED_VALUE_MASK`).
const NO_RECORDED_VALUE: u32 = 1;

/// Codes of a span's status; 0 is unset, and others are not defined.
const STATUS_OK: i32 = 1;
const STATUS_ERROR: i32 = 2;

/// Temporality of sums and histograms that tell what happened since the last point.
const DELTA: i32 = 1;

/// Attributes that hold many lines.
const STACK_TRACES: [&str; 2] = ["exception.stacktrace", "code.stacktrace"];

/// Attributes that say where records come from, the first one that is there.
const ORIGINS: [&str; 3] = [SERVICE_NAME, "k8s.pod.name", "host.name"];

/// Unit of bytes in the notation that metrics use (UCUM).
const BYTES: &str = "By";

const SERVICE_NAME: &str = "service.name";
const SERVICE_VERSION: &str = "service.version";

/// Writes requests for people.
#[derive(Debug)]
pub(super) struct Pretty {
    page: Page,
    /// The encoded Resource that was shown last, with its scope.
    resource: Option<Vec<u8>>,
    scope: (String, String),
}

impl Pretty {
    pub(super) const fn new(colors: Colors) -> Self {
        Self { page: Page::new(colors), resource: None, scope: (String::new(), String::new()) }
    }

    /// Writes a request as whole lines, in pieces.
    ///
    /// # Errors
    ///
    /// Those of `write`, with which it ends. The Resource is shown again after that.
    pub(super) fn print(&mut self, wire: &Wire, write: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        // Left over when the last call did not come to its end.
        self.page.clear();
        let printed = self.entries(wire, write);
        if printed.is_err() {
            self.resource = None;
        }
        printed
    }

    fn entries(&mut self, wire: &Wire, write: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        for resource in wire.resources().filter(|resource| resource.records() > 0) {
            self.show_resource(&resource);
            let origin = ORIGINS.iter().find_map(|key| resource.get(key)?.as_str()).unwrap_or("-");
            for scope in resource.scopes() {
                self.show_scope(&scope);
                for record in scope.records() {
                    match record {
                        RecordView::Log(log) => print_log(&mut self.page, origin, &log),
                        RecordView::Span(one) => print_span(&mut self.page, origin, &one),
                        RecordView::Metric(one) => print_metric(&mut self.page, origin, &one),
                    }
                    if self.page.as_str().len() >= PIECE {
                        write(self.page.as_str())?;
                        self.page.clear();
                    }
                }
            }
        }
        if self.page.as_str().is_empty() { Ok(()) } else { write(self.page.as_str()) }
    }

    fn show_resource(&mut self, resource: &ResourceView<'_>) {
        if self.resource.as_deref() == Some(resource.resource_bytes()) {
            return;
        }
        self.resource = Some(resource.resource_bytes().to_vec());
        self.scope = (String::new(), String::new());
        self.page.styled(Style::Dim, |page| {
            page.put("\u{2500}\u{2500}");
        });
        let text_of = |key: &str| resource.get(key).and_then(|value| value.as_str());
        let (name, version) = (text_of(SERVICE_NAME), text_of(SERVICE_VERSION));
        if let Some(text) = name {
            self.page.put(" ").styled(Style::Bold, |page| {
                page.name(text);
            });
        }
        if let Some(text) = version {
            self.page.put(" ").name(text);
        }
        for attribute in resource.attributes() {
            let is_shown = (attribute.key == SERVICE_NAME && name.is_some())
                || (attribute.key == SERVICE_VERSION && version.is_some());
            if !is_shown {
                self.page.put(" ").key(attribute.key).value(attribute.value);
            }
        }
        if resource.attributes().next().is_none() {
            self.page.put(" no resource attributes");
        }
        self.page.put("\n");
    }

    fn show_scope(&mut self, scope: &ScopeView<'_>) {
        let (name, version) = (scope.name(), scope.version());
        if self.scope.0 == name && self.scope.1 == version {
            return;
        }
        self.scope = (name.to_owned(), version.to_owned());
        self.page.styled(Style::Dim, |page| {
            page.put("   ");
            match name {
                "" => page.put("no scope"),
                named => page.put("scope ").name(named),
            };
            if !version.is_empty() {
                page.put(" ").name(version);
            }
        });
        for attribute in scope.attributes() {
            self.page.put(" ").key(attribute.key).value(attribute.value);
        }
        self.page.put("\n");
    }
}

fn print_log(page: &mut Page, origin: &str, log: &LogRecordView<'_>) {
    let nanos = match log.time_unix_nano() {
        0 => log.observed_time_unix_nano(),
        known => known,
    };
    let (level, style) = severity(log);
    head(page, nanos, level, style, origin);
    if !log.event_name().is_empty() {
        page.put("  ").styled(Style::Bold, |inner| {
            inner.name(log.event_name());
        });
    }
    page.put("  ");
    let further_lines = match log.body() {
        ValueView::Str(text) => {
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            page.free_text(first.strip_suffix('\r').unwrap_or(first));
            rest
        }
        other => {
            page.value(other);
            ""
        }
    };
    attributes(page, log.attributes(), log.dropped_attributes_count());
    id(page, "trace", log.trace_id());
    id(page, "span", log.span_id());
    page.put("\n").block(further_lines);
    stack_traces(page, log.attributes());
}

fn print_span(page: &mut Page, origin: &str, span: &SpanView<'_>) {
    let (start, end) = (span.start_time_unix_nano(), span.end_time_unix_nano());
    let style = if span.status_code() == STATUS_ERROR { Style::Red } else { Style::Cyan };
    head(page, start, "SPAN", style, origin);
    page.put("  ").styled(Style::Bold, |inner| {
        inner.free_text(span.name());
    });
    match end {
        0 => page.put("  unfinished"),
        _ => page.put("  ").styled(Style::Yellow, |inner| {
            inner.show(Elapsed::between(start, end));
        }),
    };
    if let Some(kind) = kind_name(span.kind()) {
        page.put("  ").put(kind);
    }
    print_status(page, span);
    attributes(page, span.attributes(), span.dropped_attributes_count());
    id(page, "trace", span.trace_id());
    id(page, "span", span.span_id());
    id(page, "parent", span.parent_span_id());
    page.put("\n");
    stack_traces(page, span.attributes());
    for event in span.events() {
        print_event(page, start, &event);
    }
}

fn print_status(page: &mut Page, span: &SpanView<'_>) {
    match span.status_code() {
        STATUS_OK => {
            page.put("  ").styled(Style::Green, |inner| {
                inner.put("ok");
            });
        }
        STATUS_ERROR => {
            page.put("  ").styled(Style::Red, |inner| {
                inner.put("error");
                if !span.status_message().is_empty() {
                    inner.put(": ").free_text(span.status_message());
                }
            });
        }
        _ => {}
    }
}

fn print_event(page: &mut Page, span_start: u64, event: &EventView<'_>) {
    page.put("    +").show(Elapsed::between(span_start, event.time_unix_nano())).put("  ").name(event.name());
    attributes(page, event.attributes(), event.dropped_attributes_count());
    page.put("\n");
    stack_traces(page, event.attributes());
}

fn print_metric(page: &mut Page, origin: &str, metric: &MetricView<'_>) {
    let Some(kind) = metric.kind() else { return };
    let label = match kind {
        PointKind::Gauge => "GAUGE",
        PointKind::Sum => "SUM",
        PointKind::Histogram => "HIST",
        PointKind::ExponentialHistogram => "EHIST",
        PointKind::Summary => "SUMRY",
    };
    for point in metric.data_points() {
        head(page, point.time_unix_nano(), label, Style::Magenta, origin);
        page.put("  ").styled(Style::Bold, |inner| {
            inner.name(metric.name());
        });
        if point.attributes().next().is_some() {
            page.put("{").pairs(point.attributes()).put("}");
        }
        page.put("  ");
        value_of(page, &point, unit(metric.unit()));
        if metric.aggregation_temporality() == DELTA {
            page.styled(Style::Dim, |inner| {
                inner.put("  delta");
            });
        }
        page.put("\n");
    }
}

fn value_of(page: &mut Page, point: &DataPointView<'_>, unit: &str) {
    if point.flags() & NO_RECORDED_VALUE != 0 {
        page.put("no value");
        return;
    }
    if let Some(distribution) = Distribution::of(point) {
        return distribution_of(page, &distribution, unit);
    }
    let (int, double) = (point.as_int(), point.as_double());
    page.styled(Style::Cyan, |inner| {
        match (int, double) {
            (Some(value), _) => inner.show(value),
            (None, Some(value)) => inner.double(value),
            (None, None) => inner.put("no value"),
        };
    });
    if !unit.is_empty() {
        page.put(" ").free_text(unit);
    }
    let bytes = int.map(|value| value as f64).or(double).filter(|_| unit == BYTES);
    if let Some(size) = bytes.and_then(Size::of_many) {
        page.styled(Style::Dim, |inner| {
            inner.put(" (").show(size).put(")");
        });
    }
}

fn distribution_of(page: &mut Page, distribution: &Distribution, unit: &str) {
    page.key("count").styled(Style::Cyan, |inner| {
        inner.show(distribution.count);
    });
    for (name, value) in
        [("sum", distribution.sum), ("min", distribution.min), ("max", distribution.max), ("avg", distribution.mean())]
    {
        if let Some(known) = value {
            page.put(" ").key(name).double(known);
        }
    }
    for Quantile { quantile, value } in distribution.quantiles() {
        page.put(" ").styled(Style::Dim, |inner| {
            inner.put("p").show(percent(quantile)).put(if distribution.is_exact() { "=" } else { "\u{2248}" });
        });
        page.double(value);
    }
    if !unit.is_empty() {
        page.put(" ").free_text(unit);
    }
}

/// What every line begins with.
fn head(page: &mut Page, nanos: u64, label: &str, style: Style, origin: &str) {
    page.styled(Style::Dim, |inner| {
        inner.show(Moment(nanos));
    });
    page.put(" ").styled(style, |inner| {
        inner.name(label);
    });
    // Labels are five letters wide, so that what follows stands in a column.
    page.put(&"     "[label.chars().count().min(5)..]).put(" ").styled(Style::Blue, |inner| {
        inner.name(origin);
    });
}

fn attributes(page: &mut Page, attributes: Attributes<'_>, dropped: u32) {
    let shown = attributes.filter(|attribute| stack_trace(attribute).is_none());
    for (place, attribute) in shown.enumerate() {
        page.put(if place == 0 { "  " } else { " " }).key(attribute.key).value(attribute.value);
    }
    if dropped > 0 {
        page.put("  (").show(dropped).put(" attributes dropped)");
    }
}

fn stack_traces(page: &mut Page, attributes: Attributes<'_>) {
    for trace in attributes.filter_map(|attribute| stack_trace(&attribute)) {
        page.block(trace);
    }
}

fn stack_trace<'v>(attribute: &AttributeView<'v>) -> Option<&'v str> {
    attribute.value.as_str().filter(|_| STACK_TRACES.contains(&attribute.key))
}

/// Writes the last digits of an id: the first ones may be padding or a time. Equal ids have equal colours.
fn id(page: &mut Page, key: &str, id: &[u8]) {
    const COLORS: [Style; 6] = [Style::Red, Style::Green, Style::Yellow, Style::Blue, Style::Magenta, Style::Cyan];
    let Some(last) = id.last() else { return };
    let shown = &id[id.len().saturating_sub(4)..];
    page.put("  ").key(key).styled(COLORS[usize::from(*last) % COLORS.len()], |inner| {
        inner.put("\u{2026}").hex(shown);
    });
}

/// The name of a span's kind; none when it has none.
const fn kind_name(kind: i32) -> Option<&'static str> {
    match kind {
        0 => None,
        1 => Some("internal"),
        2 => Some("server"),
        3 => Some("client"),
        4 => Some("producer"),
        5 => Some("consumer"),
        _ => Some("unknown kind"),
    }
}

/// The name of a severity and its style. Numbers 1 to 24 have names; else the source's own text is shown.
fn severity<'l>(log: &LogRecordView<'l>) -> (&'l str, Style) {
    let number = log.severity_number();
    let known = match number {
        1..=4 => Some(("TRACE", Style::Dim)),
        5..=8 => Some(("DEBUG", Style::Blue)),
        9..=12 => Some(("INFO", Style::Green)),
        13..=16 => Some(("WARN", Style::Yellow)),
        17..=20 => Some(("ERROR", Style::Red)),
        21..=24 => Some(("FATAL", Style::Alarm)),
        _ => None,
    };
    match (known, log.severity_text()) {
        (Some(known), _) => known,
        (None, "") => ("-", Style::Dim),
        (None, text) => (text, Style::Bold),
    }
}

/// A quantile in percent, without the digits that the multiplication adds.
fn percent(quantile: f64) -> f64 {
    (quantile * 1e6).round() / 1e4
}

/// A unit as it is shown: none for the unit of ratios, annotations (`{request}`) without their braces.
fn unit(unit: &str) -> &str {
    match unit {
        "1" => "",
        other => other.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(other),
    }
}
