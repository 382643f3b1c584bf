//! A reader that a test drives round by round, with a clock that the test moves and answers that it gives.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_config::ByteSize;
use engine_config::sources::log_format::{Multiline, Preset, RecordKeys};
use engine_core::state_store::StateStore;
use engine_core::telemetry::ComponentTelemetry;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::{Answer, Bell, Delivery, Kept, Parts, Reader, Round, Told};
use crate::tail::checkpoint;
use crate::tail::counts::Counts;
use crate::tail::{Format, RecordOptions, Selection, Settings};

/// What passes between two rounds: longer than changes are let come together, and than anything waits for a look.
const STEP: Duration = Duration::from_millis(300);

thread_local! {
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

/// A reader and who would be its runtime.
pub(super) struct Stepped {
    pub(super) reader: Reader,
    told: UnboundedReceiver<Told>,
    answers: crossbeam_channel::Sender<Answer>,
    store: Arc<dyn StateStore>,
    unanswered: Vec<u64>,
}

impl Stepped {
    /// Has looked at everything for the first time.
    pub(super) fn begin(
        store: Arc<dyn StateStore>,
        settings: Settings,
        format: Format,
        selection: Box<dyn Selection>,
    ) -> Self {
        let (tells, told) = unbounded_channel();
        let (answers, hears) = crossbeam_channel::unbounded();
        let parts = Parts {
            settings,
            format: Arc::new(format),
            selection,
            store: Arc::clone(&store),
            telemetry: Arc::new(ComponentTelemetry::default()),
            counts: Arc::new(Counts::default()),
            told: tells,
            answers: hears,
            bell: Bell::new().unwrap(),
        };
        let mut stepped =
            Self { reader: Reader::with_clock(parts, || NOW.get()), told, answers, store, unanswered: Vec::new() };
        stepped.reader.begin().unwrap();
        assert!(stepped.take().is_empty(), "positions are kept before anything is read");
        stepped
    }

    /// One round later: the lines that are sent.
    pub(super) fn step(&mut self) -> Vec<String> {
        self.wait();
        self.reader.round().unwrap();
        self.take()
    }

    /// The lines that are sent during rounds that take at least so long.
    pub(super) fn steps(&mut self, time: Duration) -> Vec<String> {
        let rounds = time.div_duration_f64(STEP).ceil() as usize;
        (0..rounds).flat_map(|_| self.step()).collect()
    }

    /// Delivers everything that was sent.
    pub(super) fn deliver(&mut self) {
        for number in self.unanswered.drain(..) {
            self.answers.send(Answer::Request(number, Delivery::Done)).unwrap();
        }
    }

    /// Delivers what was sent first.
    pub(super) fn deliver_one(&mut self) {
        let number = self.unanswered.remove(0);
        self.answers.send(Answer::Request(number, Delivery::Done)).unwrap();
    }

    /// Takes and delivers lines for so long.
    pub(super) fn delivered(&mut self, time: Duration) -> Vec<String> {
        let rounds = time.div_duration_f64(STEP).ceil() as usize;
        let mut lines = Vec::new();
        for _ in 0..rounds {
            lines.extend(self.step());
            self.deliver();
        }
        lines
    }

    /// Ends in order: the lines that are sent at the end, which are delivered.
    pub(super) fn stop(mut self) -> Vec<String> {
        self.answers.send(Answer::Drain).unwrap();
        let mut lines = Vec::new();
        for _ in 0..100 {
            self.deliver();
            self.wait();
            let round = self.reader.round().unwrap();
            lines.extend(self.take());
            if round == Round::Last {
                return lines;
            }
        }
        panic!("it does not end");
    }

    /// A count of the source's own.
    pub(super) fn count(&self, name: &str) -> u64 {
        let counts = self.reader.parts.counts.read();
        counts.into_iter().find(|(found, _)| *found == name).unwrap().1
    }

    fn wait(&mut self) {
        NOW.set(NOW.get() + STEP);
        self.reader.clock.look();
    }

    fn take(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(told) = self.told.try_recv() {
            match told {
                Told::Request(sent) => {
                    self.unanswered.push(sent.number);
                    lines.extend(texts(&sent.body));
                }
                Told::Save(content) => {
                    checkpoint::save(&self.store, content).unwrap();
                    self.answers.send(Answer::Saved(Kept::Yes)).unwrap();
                }
            }
        }
        lines
    }
}

/// Lines of containers, with entries of Java.
pub(super) fn java() -> Format {
    let multiline = Multiline::Preset(Preset::Java);
    let options =
        RecordOptions { multiline: Some(&multiline), max_record_size: ByteSize::mib(1), keep_original_body: false };
    Format::container(&RecordKeys::default(), options).unwrap()
}

/// Lines of containers.
pub(super) fn container() -> Format {
    let options = RecordOptions { multiline: None, max_record_size: ByteSize::mib(1), keep_original_body: false };
    Format::container(&RecordKeys::default(), options).unwrap()
}

/// A line as the CRI frames it.
pub(super) fn cri(stream: &str, tag: &str, text: &str) -> String {
    format!("2026-11-30T10:15:00.000000000Z {stream} {tag} {text}\n")
}

fn texts(body: &[u8]) -> Vec<String> {
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|entry| entry.scope_logs);
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    };
    scopes.flat_map(|scope| scope.log_records).map(|record| text(record.body.unwrap().value)).collect()
}
