//! Events of the log for whoever takes the engine's own telemetry. While nobody does, an event costs one look at a number.

use std::fmt;

use engine_config::sources::internal::LogLevel;
use engine_core::self_telemetry::{OwnField, OwnLog, SelfTelemetry, unix_nanos};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Hands events on.
#[derive(Debug)]
pub(super) struct Tap(pub(super) SelfTelemetry);

#[derive(Default)]
struct Content {
    message: String,
    fields: Vec<(&'static str, OwnField)>,
}

impl<S: Subscriber> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = level_of(metadata.level());
        if !self.0.wants(level) {
            return;
        }
        let mut content = Content::default();
        event.record(&mut content);
        let Content { message, fields } = content;
        self.0.log(OwnLog { unix_nanos: unix_nanos(), level, target: metadata.target(), message, fields });
    }
}

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.push((field.name(), OwnField::Text(format!("{value:?}"))));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.push((field.name(), OwnField::Text(value.to_owned())));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), OwnField::Int(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // OTLP numbers are signed.
        let number = i64::try_from(value).map_or_else(|_| OwnField::Text(value.to_string()), OwnField::Int);
        self.fields.push((field.name(), number));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), OwnField::Double(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), OwnField::Bool(value)));
    }
}

fn level_of(level: &Level) -> LogLevel {
    match *level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        _ => LogLevel::Trace,
    }
}
