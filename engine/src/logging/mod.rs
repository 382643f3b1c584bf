//! The log of the process: `tracing` events as lines on standard error, text or JSON, repeats counted instead of told.
//!
//! Secrets do not come here: their types do not print them.

mod line;
mod repeats;
mod tap;

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use clap::ValueEnum;
use engine_core::self_telemetry::SelfTelemetry;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

pub use repeats::Repeats;

/// The crates of the engine, by whose names `debug` is told apart from that of libraries.
const OWN: [&str; 8] =
    ["engine", "engine_core", "engine_config", "otlp", "transport", "sources", "transforms", "sinks"];

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What the engine does, in large steps.
    #[default]
    Info,
    /// What the engine does.
    Debug,
    /// What everything does, libraries included.
    Trace,
}

/// Whether text lines have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogColor {
    /// A terminal reads.
    Always,
    /// A file or pipe reads.
    Never,
}

/// An error with its causes on one line.
pub struct Chain<'e>(pub &'e dyn Error);

/// Makes `tracing` write to standard error, and tell `own`, from now on. The answer must be asked to
/// [`Repeats::summarise`] now and then.
pub fn start(format: LogFormat, level: LogLevel, color: LogColor, own: SelfTelemetry) -> Arc<Repeats> {
    let repeats = Arc::new(Repeats::default());
    let subscriber = subscriber(format, level, color, Told { repeats: Arc::clone(&repeats), own }, io::stderr);
    // An error means that this process logs already, as in tests that run several engines.
    tracing::subscriber::set_global_default(subscriber).ok();
    repeats
}

/// What decides about events, and who hears of them besides the log.
struct Told {
    repeats: Arc<Repeats>,
    own: SelfTelemetry,
}

fn subscriber<W>(
    format: LogFormat,
    level: LogLevel,
    color: LogColor,
    told: Told,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let Told { repeats, own } = told;
    let lines = tracing_subscriber::fmt::layer().with_writer(line::Clean { writer, color });
    let wanted = tracing_subscriber::registry().with(level.filter());
    // One filter for both, so that what is not told is no record either.
    let (filter, tap) = (repeats::Filter(repeats), tap::Tap(own));
    match format {
        LogFormat::Text => {
            Box::new(wanted.with(lines.with_ansi(color == LogColor::Always).and_then(tap).with_filter(filter)))
        }
        LogFormat::Json => Box::new(wanted.with(lines.json().and_then(tap).with_filter(filter))),
    }
}

impl LogLevel {
    /// Libraries tell their warnings only, but for [`LogLevel::Trace`]: their debug lines are one a packet.
    fn filter(self) -> Targets {
        let level = match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        };
        let others = if self == Self::Trace { level } else { level.min(LevelFilter::WARN) };
        Targets::new().with_default(others).with_targets(OWN.map(|target| (target, level)))
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        formatter.write_str(&told)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors end with the text of their cause already.
            if !told.ends_with(&text) {
                write!(formatter, ": {text}")?;
            }
            told = text;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
