//! A folder with logs and state, and a source that reads it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_config::ComponentId;
use engine_core::batch::Batch;
use engine_core::budget::Budget;
use engine_core::contract::{ComponentError, Source, SourceContext};
use engine_core::outcome::Outcome;
use engine_core::socket::Sockets;
use engine_core::state_store::{DirectoryStore, StateStore};
use engine_core::test_kit::{SourceRun, run_source, within};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::BoxFuture;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use otlp::{Decoded, Payload};

use super::stepped::Stepped;
use crate::tail::checkpoint;
use crate::tail::{Decision, Description, Format, Selection, Settings, Tail, resource};

/// Logs and state in folders of their own.
pub(super) struct Folder {
    logs: tempfile::TempDir,
    state: tempfile::TempDir,
}

/// A source that reads a folder.
pub(super) struct Reading {
    pub(super) run: SourceRun,
    store: Arc<dyn StateStore>,
}

/// Every `*.log` of a folder and below it.
struct Logs<D> {
    root: PathBuf,
    decide: D,
}

struct TestSource(Tail);

impl Source for TestSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        self.0.run(context)
    }
}

impl<D: Fn(&Path) -> Decision + Send> Selection for Logs<D> {
    fn roots(&self) -> Vec<PathBuf> {
        vec![self.root.clone()]
    }

    fn enters(&self, directory: &Path) -> bool {
        directory.starts_with(&self.root)
    }

    fn log(&self, path: &Path) -> Option<Description> {
        let is_log = path.extension().is_some_and(|extension| extension == "log") && path.starts_with(&self.root);
        is_log.then(|| Description { resource: resource([]), attributes: Bytes::new() })
    }

    fn decide(&self, path: &Path) -> Decision {
        (self.decide)(path)
    }
}

pub(super) fn settings() -> Settings {
    Settings::new("telemetry-engine/test")
}

impl Folder {
    pub(super) fn new() -> Self {
        Self { logs: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    /// Appends to a file, which is made with its folder.
    pub(super) fn append(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Compresses a file as rotation does: into a file of its own, then away with the other.
    pub(super) fn compress(&self, name: &str) {
        let text = fs::read(self.path(name)).unwrap();
        let unfinished = self.path(&format!("{name}.tmp"));
        let mut encoder = GzEncoder::new(fs::File::create(&unfinished).unwrap(), Compression::fast());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap();
        fs::rename(unfinished, self.path(&format!("{name}.gz"))).unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(super) fn read(&self) -> Reading {
        self.read_with(settings(), |_| Decision::Collect)
    }

    pub(super) fn read_with(&self, settings: Settings, decide: impl Fn(&Path) -> Decision + Send + 'static) -> Reading {
        self.start(self.store(), settings, decide)
    }

    /// A reader that is driven by hand.
    pub(super) fn step_with(&self, settings: Settings, format: Format) -> Stepped {
        self.step_if(settings, format, |_| Decision::Collect)
    }

    pub(super) fn step_if(
        &self,
        settings: Settings,
        format: Format,
        decide: impl Fn(&Path) -> Decision + Send + 'static,
    ) -> Stepped {
        let selection = Box::new(Logs { root: self.logs.path().to_owned(), decide });
        Stepped::begin(self.store(), settings, format, selection)
    }

    /// A reader that is driven by hand and keeps positions elsewhere.
    pub(super) fn step_to(&self, store: Arc<dyn StateStore>, settings: Settings, format: Format) -> Stepped {
        let selection = Box::new(Logs { root: self.logs.path().to_owned(), decide: |_: &Path| Decision::Collect });
        Stepped::begin(store, settings, format, selection)
    }

    /// A reader of lines that is driven by hand.
    pub(super) fn step(&self) -> Stepped {
        self.step_with(settings(), Format::plain())
    }

    fn store(&self) -> Arc<dyn StateStore> {
        let id = ComponentId::new("tail").unwrap();
        Arc::new(DirectoryStore::open(self.state.path(), &id).unwrap())
    }

    /// Reads and keeps positions elsewhere.
    pub(super) fn read_to(&self, store: Arc<dyn StateStore>, settings: Settings) -> Reading {
        self.start(store, settings, |_| Decision::Collect)
    }

    fn start(
        &self,
        store: Arc<dyn StateStore>,
        settings: Settings,
        decide: impl Fn(&Path) -> Decision + Send + 'static,
    ) -> Reading {
        let selection = Box::new(Logs { root: self.logs.path().to_owned(), decide });
        let tail = Tail { settings, format: Arc::new(Format::plain()), selection, store: Arc::clone(&store) };
        let run = run_source("tail", Box::new(TestSource(tail)), Sockets::default(), Budget::new(64 << 20));
        Reading { run, store }
    }
}

impl Reading {
    /// The next batch, not answered.
    pub(super) async fn batch(&mut self) -> Batch {
        within("a batch", self.run.batches.next()).await.expect("the source runs")
    }

    /// Takes and answers batches until so many lines have come.
    pub(super) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(30), self.run.batches.next()).await;
            let Ok(batch) = next else { panic!("{} of {count} lines came: {lines:?}", lines.len()) };
            let batch = batch.expect("the source runs");
            lines.extend(lines_of(&batch));
            batch.answer(&Outcome::Delivered);
        }
        assert_eq!(lines.len(), count, "the last ones are {:?}", lines.last());
        lines
    }

    /// Takes batches and keeps them until for a while none comes.
    pub(super) async fn held_until_nothing_comes(&mut self) -> Vec<Batch> {
        let mut held = vec![self.batch().await];
        while let Ok(Some(batch)) = tokio::time::timeout(Duration::from_secs(1), self.run.batches.next()).await {
            held.push(batch);
        }
        held
    }

    /// Nothing comes for longer than changes are let come together.
    pub(super) async fn nothing_more(&mut self) {
        let more = tokio::time::timeout(Duration::from_millis(700), self.run.batches.next()).await;
        if let Ok(batch) = more {
            panic!("more has come: {:?}", batch.map(|batch| lines_of(&batch)));
        }
    }

    /// Waits until the first look is over.
    pub(super) async fn is_started(&self) {
        eventually("the first look is over", || checkpoint::load(&self.store).unwrap().is_some()).await;
    }

    /// Waits until positions are kept that say so.
    pub(super) async fn kept(&self, what: &str, is_so: impl Fn(&[(PathBuf, checkpoint::Position)]) -> bool) {
        eventually(what, || {
            let remembered = checkpoint::load(&self.store).unwrap();
            remembered.is_some_and(|found| is_so(&found.iter().cloned().collect::<Vec<_>>()))
        })
        .await;
    }

    /// Whether this process has a file open.
    pub(super) fn is_open(&self, path: &Path) -> bool {
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        open.into_iter().any(|target| target == path)
    }

    /// A count of the source's own.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.run.telemetry.read().own[name]
    }

    /// Ends the source and waits for its end. Everything must be answered.
    pub(super) async fn stop(mut self) {
        self.run.drain.cancel();
        within("the source ends", &mut self.run.ended).await.unwrap().unwrap();
    }

    /// Ends the source as a crash would.
    pub(super) async fn crash(self) {
        self.run.ended.abort();
        // Its thread ends when it hears that nobody listens, and keeps nothing after that.
        let Self { run, store } = self;
        drop(run);
        eventually("its thread has ended", || Arc::strong_count(&store) == 1).await;
    }
}

/// The texts of the records of a batch.
pub(super) fn lines_of(batch: &Batch) -> Vec<String> {
    let Payload::Wire(wire) = batch.payload() else { panic!("the source sends bytes") };
    let Decoded::Logs(request) = wire.decode() else { panic!("the source brings logs") };
    let records =
        request.resource_logs.into_iter().flat_map(|entry| entry.scope_logs).flat_map(|scope| scope.log_records);
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    };
    records.map(|record| text(record.body.unwrap().value)).collect()
}

/// Looks until something is so.
pub(super) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    within(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
