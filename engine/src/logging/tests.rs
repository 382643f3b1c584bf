//! The log as a whole, written to memory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Mutex;

use super::*;

/// Collects lines.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, level: LogLevel, color: LogColor, work: impl FnOnce(&Repeats)) -> String {
    logged_beside(&SelfTelemetry::default(), format, level, color, work)
}

fn logged_beside(
    own: &SelfTelemetry,
    format: LogFormat,
    level: LogLevel,
    color: LogColor,
    work: impl FnOnce(&Repeats),
) -> String {
    let lines = Lines::default();
    let (repeats, writer) = (Arc::new(Repeats::default()), lines.clone());
    let told = Told { repeats: Arc::clone(&repeats), own: own.clone() };
    let subscriber = subscriber(format, level, color, told, move || writer.clone());
    tracing::subscriber::with_default(subscriber, || work(&repeats));
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// A flood becomes a few lines and one that counts the rest.
#[test]
fn a_flood_is_summarised() {
    let text = logged(LogFormat::Json, LogLevel::Info, LogColor::Never, |repeats| {
        for attempt in 0..1000 {
            tracing::error!(sink = "out", attempt, "delivery failed");
        }
        repeats.finish();
    });
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, repeats::TOLD + 1);
    let last = &lines.last().unwrap()["fields"];
    assert_eq!(last["repeats"], 1000 - repeats::TOLD);
    assert_eq!((&last["of"], &last["component"]), (&"delivery failed".into(), &"out".into()));
}

/// Who takes the engine's own telemetry gets the same events as the log, a flood as few, with fields and levels; what is
/// less important than asked for or unheard is in the log only.
#[test]
fn events_are_records_too() {
    use engine_config::sources::internal::LogLevel as OwnLevel;
    use engine_core::self_telemetry::{OwnField, unheard};
    let own = SelfTelemetry::default();
    let _claim = own.want_logs("self", OwnLevel::Info);
    let text = logged_beside(&own, LogFormat::Json, LogLevel::Debug, LogColor::Never, |repeats| {
        tracing::debug!("not important");
        for attempt in 0..1000_u64 {
            tracing::error!(sink = "out", attempt, ratio = 0.5, last = false, reason = %"down", "delivery failed");
        }
        futures::executor::block_on(unheard(async { tracing::warn!("about own records") }));
        repeats.finish();
    });
    assert!(text.contains("not important") && text.contains("about own records"), "{text}");
    let records = own.take_logs().records;
    assert_eq!(records.len() as u64, repeats::TOLD + 1, "{records:?}");
    let first = &records[0];
    assert_eq!(
        (first.level, first.message.as_str(), first.target),
        (OwnLevel::Error, "delivery failed", "engine::logging::tests")
    );
    let text = |text: &str| OwnField::Text(text.to_owned());
    let expected = [
        ("sink", text("out")),
        ("attempt", OwnField::Int(0)),
        ("ratio", OwnField::Double(0.5)),
        ("last", OwnField::Bool(false)),
        ("reason", text("down")),
    ];
    assert_eq!(first.fields, expected);
    assert_eq!(records.last().map(|record| record.message.as_str()), Some("repeats suppressed"));
}

/// Libraries stay silent below warnings until everything is asked for.
#[test]
fn levels_are_of_the_engine() {
    let work = |_: &Repeats| {
        tracing::debug!("own");
        tracing::debug!(target: "h2::codec", "foreign");
        tracing::warn!(target: "h2::codec", "serious");
    };
    let has = |level, word| logged(LogFormat::Text, level, LogColor::Never, work).contains(word);
    assert!(has(LogLevel::Debug, "own") && !has(LogLevel::Info, "own"));
    assert!(has(LogLevel::Trace, "foreign") && !has(LogLevel::Debug, "foreign"));
    assert!(has(LogLevel::Info, "serious") && !has(LogLevel::Off, "serious"));
}

/// A value with line ends and escape sequences stays on its line and cannot paint the terminal.
#[test]
fn values_cannot_forge_lines() {
    let hostile = "x\n2026-01-01 ERROR forged \u{1b}[31mred";
    for format in [LogFormat::Text, LogFormat::Json] {
        let text = logged(format, LogLevel::Info, LogColor::Never, |_| {
            tracing::info!(error = %hostile, component = hostile, "failed");
            tracing::info!("failed with {hostile}");
        });
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().count(), 2, "{text:?}");
    }
}

/// Causes follow, and what an error says already is not said twice.
#[test]
fn chains_do_not_repeat() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen: {0}")]
    struct Outer(#[source] io::Error);
    let error = Outer(io::Error::other("address in use"));
    assert_eq!(Chain(&error).to_string(), "cannot listen: address in use");
}
