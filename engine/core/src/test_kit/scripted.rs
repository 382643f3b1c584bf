//! A sink that says what the test tells it to, for tests of what stands in front of a sink.

use std::sync::Arc;

use futures::future::BoxFuture;
use otlp::Payload;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Script;
use crate::contract::Sink;
use crate::outcome::Outcome;

/// One call of `deliver`: the payload and what was answered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What was handed over.
    pub payload: Payload,
    /// What the script said.
    pub outcome: Outcome,
}

/// A sink that asks a script; clones share what they have seen.
#[derive(Clone)]
pub struct ScriptedSink {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Delivery>>>,
    calls: watch::Sender<usize>,
}

impl ScriptedSink {
    /// A sink that asks `script` each time.
    pub fn new(script: impl Fn(Payload) -> BoxFuture<'static, Outcome> + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(Box::new(script)), seen: Arc::default(), calls: watch::Sender::new(0) }
    }

    /// A sink that answers at once.
    pub fn answering(answer: impl Fn(&Payload) -> Outcome + Send + Sync + 'static) -> Self {
        Self::new(move |payload| {
            let outcome = answer(&payload);
            Box::pin(async move { outcome })
        })
    }

    /// Every call so far that was answered.
    pub fn seen(&self) -> Vec<Delivery> {
        self.seen.lock().clone()
    }

    /// Waits until `deliver` has been called `count` times, answered or not.
    pub async fn called(&self, count: usize) {
        let mut calls = self.calls.subscribe();
        calls.wait_for(|made| *made >= count).await.expect("the sink lives as long as this");
    }
}

impl Sink for ScriptedSink {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            self.calls.send_modify(|calls| *calls += 1);
            let outcome = (self.script)(payload.clone()).await;
            self.seen.lock().push(Delivery { payload, outcome: outcome.clone() });
            outcome
        })
    }
}
