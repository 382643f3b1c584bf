//! A source, a stage and a sink that a test plays through a board: what it pushes, what is held, what was shown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use engine_config::{ComponentOptions, Facts, Kind, SignalSet, Stability};
use engine_core::batch::Batch;
use engine_core::contract::{ComponentError, Input, Sink, Source, SourceContext, Stage, StageContext};
use engine_core::outcome::Outcome;
use engine_core::receipt::Receipt;
use engine_core::registry::{BuildContext, BuildError, BuildSink, BuildSource, BuildStage, Registration};
use engine_core::telemetry::HealthState;
use futures::future::BoxFuture;
use otlp::Payload;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};

static BOARDS: LazyLock<Mutex<HashMap<String, Board>>> = LazyLock::new(Mutex::default);

/// Where a test and its components meet.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    pushed: mpsc::UnboundedSender<Batch>,
    /// Whoever runs has it.
    to_send: tokio::sync::Mutex<mpsc::UnboundedReceiver<Batch>>,
    /// Whether deliveries are answered.
    answers: watch::Sender<bool>,
    held: watch::Sender<usize>,
    shown: Mutex<Vec<Payload>>,
    fail: Notify,
    panic: Notify,
    hangs: AtomicBool,
    lingers: AtomicBool,
}

impl Board {
    /// The board of this name; each test has its own.
    pub(crate) fn named(name: &str) -> Self {
        let new = || {
            let (pushed, to_send) = mpsc::unbounded_channel();
            let (to_send, held) = (tokio::sync::Mutex::new(to_send), watch::Sender::new(0));
            Self(Arc::new(Inner {
                pushed,
                to_send,
                answers: watch::Sender::new(true),
                held,
                shown: Mutex::default(),
                fail: Notify::new(),
                panic: Notify::new(),
                hangs: AtomicBool::new(false),
                lingers: AtomicBool::new(false),
            }))
        };
        BOARDS.lock().unwrap().entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Has the source send this.
    pub(crate) fn push(&self, payload: Payload) -> Receipt {
        let (batch, receipt) = Batch::new(payload);
        self.0.pushed.send(batch).unwrap();
        receipt
    }

    /// Has the source end with an error.
    pub(crate) fn fail(&self) {
        self.0.fail.notify_one();
    }

    /// Has the source panic.
    pub(crate) fn panic(&self) {
        self.0.panic.notify_one();
    }

    /// Has the sink never come to its end.
    pub(crate) fn hang(&self) {
        self.0.hangs.store(true, Ordering::Relaxed);
    }

    /// Has the sink answer deliveries from now on, or not until it may again.
    pub(crate) fn answer(&self, answers: bool) {
        self.0.answers.send_replace(answers);
    }

    /// Has the source never come to its end while it says that all is well.
    pub(crate) fn linger(&self) {
        self.0.lingers.store(true, Ordering::Relaxed);
    }

    /// Waits until the stage holds so many batches.
    pub(crate) async fn held(&self, count: usize) {
        self.0.held.subscribe().wait_for(|held| *held >= count).await.unwrap();
    }

    /// What the sink was given.
    pub(crate) fn shown(&self) -> Vec<Payload> {
        self.0.shown.lock().unwrap().clone()
    }
}

macro_rules! options {
    ($(#[$doc:meta])* $name:ident, $kind:expr, $type:literal, $facts:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// The board of the test.
            #[serde(default)]
            pub(crate) board: String,
            /// Tells one instance from the next.
            #[serde(default)]
            pub(crate) version: u64,
        }

        impl ComponentOptions for $name {
            const KIND: Kind = $kind;
            const TYPE: &'static str = $type;
            const STABILITY: Stability = Stability::Experimental;

            fn facts(&self) -> Facts {
                Facts::$facts(SignalSet::ALL)
            }
        }
    };
}

options!(
    /// Sends what a test pushes.
    PushOptions, Kind::Source, "push", source
);
options!(
    /// Holds batches until the process drains.
    KeepOptions, Kind::Transform, "keep", transform
);
options!(
    /// Remembers what it is given.
    ShowOptions, Kind::Sink, "show", sink
);

pub(crate) struct Push(Board);
pub(crate) struct Keep(Board);
pub(crate) struct Show(Board);

inventory::submit! { Registration::source::<Push>() }
inventory::submit! { Registration::stage::<Keep>() }
inventory::submit! { Registration::sink::<Show>() }

impl Keep {
    pub(crate) fn on(board: Board) -> Self {
        Self(board)
    }
}

impl BuildSource for Push {
    type Options = PushOptions;

    fn build(options: &PushOptions, _context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self(Board::named(&options.board)))
    }
}

impl BuildStage for Keep {
    type Options = KeepOptions;

    fn build(options: &KeepOptions, context: &BuildContext) -> Result<Self, BuildError> {
        // Without a board of its own the stage uses that of the test that runs it alone under this id.
        let name = if options.board.is_empty() { "stage" } else { &options.board };
        assert_eq!(context.id.as_str(), "hold");
        Ok(Self(Board::named(name)))
    }
}

impl BuildSink for Show {
    type Options = ShowOptions;

    fn build(options: &ShowOptions, _context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self(Board::named(&options.board)))
    }
}

impl Source for Push {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            // The instance before gives it back at its end.
            let mut to_send = self.0.0.to_send.lock().await;
            loop {
                tokio::select! {
                    Some(batch) = to_send.recv() => context.output.send(batch).await,
                    () = self.0.0.fail.notified() => return Err(ComponentError::new("told to fail")),
                    () = self.0.0.panic.notified() => std::panic::resume_unwind(Box::new("told to panic")),
                    () = context.drain.cancelled() => break,
                }
            }
            if self.0.0.lingers.load(Ordering::Relaxed) {
                context.telemetry.set_state(HealthState::Ok);
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

impl Stage for Keep {
    fn run(self: Box<Self>, mut input: Input, context: StageContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let mut held = Vec::new();
            while let Some(batch) = input.next().await {
                held.push(batch);
                self.0.0.held.send_modify(|count| *count += 1);
            }
            for batch in held {
                context.outputs[0].send(batch).await;
            }
            Ok(())
        })
    }
}

impl Sink for Show {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        self.0.0.shown.lock().unwrap().push(payload);
        Box::pin(async {
            self.0.0.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
            Outcome::Delivered
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        if self.0.0.hangs.load(Ordering::Relaxed) {
            return Box::pin(std::future::pending());
        }
        Box::pin(async { Ok(()) })
    }
}
