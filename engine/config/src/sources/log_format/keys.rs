//! Keys of JSON, and groups of an expression, that have a meaning of their own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LineFormat;
use super::time::{TimeFormat, Zone};
use crate::component::Checker;
use crate::omit::is_default;

/// Keys with one meaning.
const MOST_NAMES: usize = 16;

/// Which keys, or groups, are more than attributes. Of several in a list the first one counts that a line has and that
/// can be used; it is then no attribute. All others stay attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordKeys {
    /// The time of the record. Default: none for JSON, whose times stay attributes; `["time", "timestamp"]` for groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub time: Option<Vec<String>>,
    /// How the time is written: `"rfc3339"`; `"epoch_s"`, `"epoch_ms"`, `"epoch_us"` or `"epoch_ns"` for a number since
    /// 1970, maybe with a fraction; or conversions of `strptime` such as `"%d/%b/%Y:%H:%M:%S %z"`, where `%f` is a fraction
    /// of the second. A time without a year is of the last twelve months.
    #[serde(skip_serializing_if = "is_default")]
    pub time_format: TimeFormat,
    /// For conversions of `strptime` that do not say it: where the clock stands. `"UTC"`, `"+02:00"`, or a name such as
    /// `"Europe/Berlin"`.
    #[serde(skip_serializing_if = "is_default")]
    pub time_zone: Zone,
    /// The body. Default: `["msg", "message"]`, and `"body"` for groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub body: Option<Vec<String>>,
    /// The severity: a name such as `"warn"` or `"ERROR"`, or a number of OpenTelemetry (1 to 24) or of pino and bunyan
    /// (10, 20, ... 60). Default: `["log.level", "level"]`, and `"severity"` for groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub severity: Option<Vec<String>>,
    /// The id of the trace, in hexadecimal. Default: `["trace_id"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub trace_id: Option<Vec<String>>,
    /// The id of the span, in hexadecimal, which counts beside an id of a trace. Default: `["span_id"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub span_id: Option<Vec<String>>,
    /// The flags of the trace, in hexadecimal or as a number, which count beside an id of a trace. Default:
    /// `["trace_flags"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub trace_flags: Option<Vec<String>>,
    /// All three as W3C Trace Context has them, where there is no `trace_id`. Default: `["traceparent"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub traceparent: Option<Vec<String>>,
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Time,
    Body,
    Severity,
    Other(&'static str),
}

impl RecordKeys {
    /// Keys of the record's time.
    pub fn time(&self, format: LineFormat) -> Vec<&str> {
        Self::names(self.time.as_ref(), Meaning::Time, format)
    }

    /// Keys of the body.
    pub fn body(&self, format: LineFormat) -> Vec<&str> {
        Self::names(self.body.as_ref(), Meaning::Body, format)
    }

    /// Keys of the severity.
    pub fn severity(&self, format: LineFormat) -> Vec<&str> {
        Self::names(self.severity.as_ref(), Meaning::Severity, format)
    }

    /// Keys of the trace's id.
    pub fn trace_id(&self) -> Vec<&str> {
        Self::names(self.trace_id.as_ref(), Meaning::Other("trace_id"), LineFormat::Json)
    }

    /// Keys of the span's id.
    pub fn span_id(&self) -> Vec<&str> {
        Self::names(self.span_id.as_ref(), Meaning::Other("span_id"), LineFormat::Json)
    }

    /// Keys of the trace's flags.
    pub fn trace_flags(&self) -> Vec<&str> {
        Self::names(self.trace_flags.as_ref(), Meaning::Other("trace_flags"), LineFormat::Json)
    }

    /// Keys of a whole trace context.
    pub fn traceparent(&self) -> Vec<&str> {
        Self::names(self.traceparent.as_ref(), Meaning::Other("traceparent"), LineFormat::Json)
    }

    fn names(written: Option<&Vec<String>>, meaning: Meaning, format: LineFormat) -> Vec<&str> {
        if let Some(names) = written {
            return names.iter().map(String::as_str).collect();
        }
        match (meaning, format) {
            (Meaning::Time, LineFormat::Regex) => vec!["time", "timestamp"],
            (Meaning::Time, _) => vec![],
            (Meaning::Body, LineFormat::Regex) => vec!["msg", "message", "body"],
            (Meaning::Body, _) => vec!["msg", "message"],
            (Meaning::Severity, LineFormat::Regex) => vec!["log.level", "level", "severity"],
            (Meaning::Severity, _) => vec!["log.level", "level"],
            (Meaning::Other(name), _) => vec![name],
        }
    }

    /// The lists that are written and not empty, by key.
    pub(super) fn written(&self) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
        let lists = [
            ("time", &self.time),
            ("body", &self.body),
            ("severity", &self.severity),
            ("trace_id", &self.trace_id),
            ("span_id", &self.span_id),
            ("trace_flags", &self.trace_flags),
            ("traceparent", &self.traceparent),
        ];
        lists.into_iter().filter_map(|(key, names)| Some((key, names.as_ref()?))).filter(|(_, names)| !names.is_empty())
    }

    /// Checks what several keys say together. The value stands at `path`.
    pub fn check<const N: usize>(&self, path: [&str; N], checker: &mut Checker) {
        let mut seen = BTreeMap::new();
        for (key, names) in self.written() {
            if names.len() > MOST_NAMES {
                let message = format!("`{key}` names {} keys", names.len());
                checker.invalid(path, message).expected(format!("at most {MOST_NAMES}"));
            }
            for name in names {
                if let Some(first) = seen.insert(name, key) {
                    let message = match first == key {
                        true => format!("`{name}` stands in `{key}` twice"),
                        false => format!("`{name}` stands in `{first}` and in `{key}`"),
                    };
                    checker.error(path, message).help("keep one of them");
                }
            }
        }
        if self.time_zone != Zone::default() && !matches!(self.time_format, TimeFormat::Conversions(_)) {
            let message = format!("`time_zone` has no effect with the time format \"{}\"", self.time_format);
            checker.no_effect(path, message).help("remove it");
        }
    }
}
