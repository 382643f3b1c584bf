//! Options of the `console` sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;

/// Prints records on the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// What records look like.
    pub format: Format,
    /// Whether `"pretty"` is coloured.
    pub color: Color,
    /// Where to print.
    pub target: Target,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people: one line a record, with stack traces and the events of spans set in below it.
    #[default]
    Pretty,
    /// For programs: one OTLP JSON request a line.
    OtlpJson,
}

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// When the output is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Into files and pipes as well.
    Always,
    /// Not at all.
    Never,
}

/// One of the two standard outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error, where the program's own log goes as well.
    Stderr,
}

impl ComponentOptions for Console {
    const KIND: Kind = Kind::Sink;
    const TYPE: &'static str = "console";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        if self.format == Format::OtlpJson && self.color != Color::Auto {
            let message = "`color` has no effect with `format = \"otlp_json\"`";
            checker.no_effect(["color"], message).help("remove it");
        }
    }

    fn facts(&self) -> Facts {
        Facts::sink(SignalSet::ALL)
    }
}
