//! Services of a graph: who shares one, when it starts and stops, what its failures do, and documents that outlive a run.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use engine::topology::{BuildFailure, build};
use engine_config::{ComponentOptions, Facts, Kind, ServiceId, SignalSet, Stability};
use engine_core::batch::Batch;
use engine_core::contract::{ComponentError, Sink, Source, SourceContext};
use engine_core::outcome::Outcome;
use engine_core::registry::{BuildContext, BuildError, BuildSink, BuildSource, Registration};
use engine_core::service::{Service, ServiceContext, ServiceRegistration};
use engine_core::state_store::{Document, StateDirectory, StateStore};
use engine_core::telemetry::HealthState;
use engine_core::test_kit::{logs, records_of, within};
use futures::future::BoxFuture;
use otlp::Payload;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::fakes::Board;
use crate::{plan, state};

/// What happened, in order, as `KEY: WHAT`.
static EVENTS: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);

fn happened(key: &str, what: &str) {
    EVENTS.lock().unwrap().push(format!("{key}: {what}"));
}

/// Events of services and components whose key begins like this.
pub(crate) fn events(prefix: &str) -> Vec<String> {
    EVENTS.lock().unwrap().iter().filter(|event| event.starts_with(prefix)).cloned().collect()
}

/// Names the probe that the component uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskOptions {
    /// The key.
    probe: String,
}

/// The same for a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedOptions {
    /// The key.
    probe: String,
    /// Whether it asks for what its facts do not name.
    #[serde(default)]
    undeclared: Option<String>,
}

/// Counts its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RememberOptions {}

struct Probe {
    key: String,
}

struct Ask(Arc<Probe>);
struct Asked(Arc<Probe>);
struct Remember(Arc<dyn StateStore>);

inventory::submit! { ServiceRegistration::of::<Probe>() }
inventory::submit! { Registration::source::<Ask>() }
inventory::submit! { Registration::sink::<Asked>() }
inventory::submit! { Registration::source::<Remember>() }

impl ComponentOptions for AskOptions {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "ask";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::source(SignalSet::ALL).needs(["probe"], ServiceId::new("probe", &self.probe))
    }
}

impl ComponentOptions for AskedOptions {
    const KIND: Kind = Kind::Sink;
    const TYPE: &'static str = "asked";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::sink(SignalSet::ALL).needs(["probe"], ServiceId::new("probe", &self.probe))
    }
}

impl ComponentOptions for RememberOptions {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "remember";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::source(SignalSet::LOGS).needs([], ServiceId::state())
    }
}

impl Service for Probe {
    const TYPE: &'static str = "probe";

    fn open(context: &ServiceContext<'_>) -> Result<Self, BuildError> {
        if context.key.ends_with("broken") {
            return Err(BuildError::new("it is broken"));
        }
        happened(context.key, "opened");
        Ok(Self { key: context.key.to_owned() })
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            happened(&self.key, "runs");
            if self.key.ends_with("fails") {
                return Err(ComponentError::new("told to fail"));
            }
            assert!(!self.key.ends_with("panics"), "told to panic");
            stop.cancelled().await;
            happened(&self.key, "stopped");
            if self.key.ends_with("hangs") {
                futures::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

impl BuildSource for Ask {
    type Options = AskOptions;

    fn build(options: &AskOptions, context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self(context.services.get::<Probe>(&options.probe)?))
    }
}

impl BuildSink for Asked {
    type Options = AskedOptions;

    fn build(options: &AskedOptions, context: &BuildContext) -> Result<Self, BuildError> {
        let key = options.undeclared.as_ref().unwrap_or(&options.probe);
        Ok(Self(context.services.get::<Probe>(key)?))
    }
}

impl BuildSource for Remember {
    type Options = RememberOptions;

    fn build(_options: &RememberOptions, context: &BuildContext) -> Result<Self, BuildError> {
        let directory = context.services.get::<StateDirectory>("")?;
        directory.of(&context.id).map(Self).map_err(|error| BuildError::caused("cannot remember", error))
    }
}

impl Source for Ask {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            happened(&self.0.key, "source runs");
            context.drain.cancelled().await;
            happened(&self.0.key, "source ends");
            Ok(())
        })
    }
}

impl Sink for Asked {
    fn deliver(&self, _payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::Delivered })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        Box::pin(async {
            happened(&self.0.key, "sink finishes");
            Ok(())
        })
    }
}

impl Source for Remember {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let before = self.0.load("runs").map_err(|error| ComponentError::caused("cannot load", error))?;
            let count = before.map_or(0, |document| u64::from(document.content[0]));
            let (batch, receipt) = Batch::new(logs(&[], [count]));
            context.output.send(batch).await;
            assert_eq!(receipt.await, Outcome::Delivered);
            let after = Document { version: 1, content: vec![u8::try_from(count).unwrap() + 1] };
            self.0.store("runs", &after).map_err(|error| ComponentError::caused("cannot store", error))
        })
    }
}

pub(crate) fn graph(probe: &str, other: &str) -> String {
    format!(
        "[sources.in]\ntype = \"ask\"\nprobe = \"{probe}\"\n\
         [sinks.out]\ntype = \"asked\"\ninputs = [\"in\"]\nprobe = \"{other}\"\n"
    )
}

/// Components that name one key share one service. It runs before the first source does and until the last sink has
/// finished.
#[tokio::test]
async fn a_service_outlives_those_who_share_it() {
    let running = build(plan(&graph("shared", "shared"))).unwrap_or_else(|failures| panic!("{failures:?}")).run();
    tokio::task::yield_now().await;
    let report = within("the graph drains", running.drain()).await;
    assert!(report.unfinished.is_empty(), "{report:?}");
    let expected = ["opened", "runs", "source runs", "source ends", "sink finishes", "stopped"];
    assert_eq!(events("shared:"), expected.map(|what| format!("shared: {what}")));
}

/// Other keys are other services, and what was started last is stopped first.
#[tokio::test]
async fn services_stop_in_reverse() {
    let running = build(plan(&graph("order-b", "order-a"))).unwrap_or_else(|failures| panic!("{failures:?}")).run();
    tokio::task::yield_now().await;
    within("the graph drains", running.drain()).await;
    let of_services =
        |event: &String| ["opened", "runs", "stopped"].iter().any(|what| event.ends_with(&format!(": {what}")));
    let seen: Vec<_> = events("order-").into_iter().filter(of_services).collect();
    let expected = ["a: opened", "b: opened", "a: runs", "b: runs", "b: stopped", "a: stopped"];
    assert_eq!(seen, expected.map(|event| format!("order-{event}")));
}

/// A service that cannot be opened is an error with the names of those who need it; others are still judged.
#[tokio::test]
async fn a_service_that_cannot_be_opened_names_its_users() {
    let failures = build(plan(&graph("this-is-broken", "this-is-broken"))).err().expect("it cannot be built");
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(matches!(failures[..], [BuildFailure::Service { .. }]), "{texts:?}");
    assert_eq!(texts, ["in, out: the service probe `this-is-broken`: it is broken"]);
}

/// A component cannot take a service that its facts do not name: the plan would not know that it is needed.
#[tokio::test]
async fn only_what_is_declared_is_handed_out() {
    let text = format!("{}undeclared = \"known\"\n", graph("known", "declared"));
    let failures = build(plan(&text)).err().expect("it cannot be built");
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["out: uses the service probe `known`, which its facts do not name"]);
}

/// When a service fails or panics, its users say so and go on, and the report of the drain names it: the end is not a clean
/// one.
#[tokio::test]
async fn a_failed_service_degrades_its_users() {
    for (key, words) in [("it-fails", "told to fail"), ("it-panics", "told to panic")] {
        let running = build(plan(&graph(key, "well"))).unwrap_or_else(|failures| panic!("{failures:?}")).run();
        within("the failure is told", async {
            while state(&running, "in") != HealthState::Degraded {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(state(&running, "out"), HealthState::Ok);
        let health = running.nodes().iter().find(|node| node.id.as_str() == "in").unwrap().telemetry.health();
        assert!(health.last_error.is_some_and(|error| error.message.contains(words)), "{key}");
        let report = within("the graph drains", running.drain()).await;
        assert_eq!((report.failed, report.unfinished), (vec![format!("service probe `{key}`")], Vec::new()));
    }
}

/// A service that does not stop is aborted, named, and holds up the end no longer than its grace.
#[tokio::test]
async fn a_service_that_hangs_is_named() {
    let running = build(plan(&graph("it-hangs", "it-hangs"))).unwrap_or_else(|failures| panic!("{failures:?}")).run();
    tokio::task::yield_now().await;
    let report = within("the graph drains", running.drain()).await;
    assert_eq!(report.unfinished, ["service probe `it-hangs`"]);
}

/// One that hangs does not take the time of those that stop after it.
#[tokio::test]
async fn a_service_that_hangs_leaves_time_to_the_others() {
    let text = graph("beside-a", "beside-b-hangs");
    let running = build(plan(&text)).unwrap_or_else(|failures| panic!("{failures:?}")).run();
    tokio::task::yield_now().await;
    let report = within("the graph drains", running.drain()).await;
    assert_eq!(report.unfinished, ["service probe `beside-b-hangs`"]);
    assert_eq!(events("beside-a:").last().unwrap(), "beside-a: stopped");
}

fn remembering(directory: &Path) -> String {
    format!(
        "[state]\ndirectory = \"{}\"\n[sources.in]\ntype = \"remember\"\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"in\"]\nboard = \"remember\"\n",
        directory.display()
    )
}

/// A source finds in its next run what it stored in the last, below `state.directory` and its own id.
#[tokio::test]
async fn documents_outlive_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("made/on/demand");
    for _ in 0..3 {
        let built = build(plan(&remembering(&root))).unwrap_or_else(|failures| panic!("{failures:?}"));
        let mut running = built.run();
        within("the source ends", running.sources_ended()).await;
        within("the graph drains", running.drain()).await;
    }
    let shown: Vec<u64> = Board::named("remember").shown().iter().flat_map(records_of).collect();
    assert_eq!(shown, [0, 1, 2]);
    assert!(root.join("in/runs").is_file());
}

/// Two processes cannot keep state in one directory: the second is told so by the name of its component.
#[tokio::test]
async fn a_state_directory_has_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let first = build(plan(&remembering(directory.path()))).unwrap_or_else(|failures| panic!("{failures:?}"));
    let failures = build(plan(&remembering(directory.path()))).err().expect("the directory is in use");
    let BuildFailure::Service { error, .. } = &failures[0] else { panic!("{failures:?}") };
    let cause = std::error::Error::source(error).expect("there is a cause").to_string();
    assert!(failures[0].to_string().starts_with("in: the service state: "), "{}", failures[0]);
    assert!(cause.ends_with("is used by another process"), "{cause}");
    drop(first);
    assert!(build(plan(&remembering(directory.path()))).is_ok());
}
