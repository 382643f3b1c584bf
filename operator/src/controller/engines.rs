//! What engines say of themselves: all gateways and some of the agents are asked, and their counts are added up.
//!
//! An engine that does not answer is one that does not report; what it counts is not guessed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use engine_config::SecretString;
use engine_config::status::{Component, ComponentState, Held, OrphanedBuffer, Sink, Status};
use futures::stream::{self, StreamExt};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

use crate::input::{BufferView, EngineReport, EngineView, FlowView, OrphanView, Recent};
use crate::render::config::STATUS_PORT;
use crate::role::Fleet;

/// How many agents are asked at once; others have their turn the next time.
const AGENTS_ASKED: usize = 20;
/// How many engines are asked at the same time.
const AT_ONCE: usize = 8;
/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const LARGEST_ANSWER: usize = 4 << 20;
/// How far back the last minutes go.
const WINDOW: Duration = Duration::from_secs(300);

/// An engine that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Engine {
    pub(super) fleet: Fleet,
    pub(super) pod: String,
    pub(super) address: IpAddr,
    /// Whether Services may send data to it.
    pub(super) receives: bool,
}

/// Asks engines and remembers what they said in the last minutes.
#[derive(Debug)]
pub(super) struct Engines {
    client: Client<HttpConnector, Empty<Bytes>>,
    /// What pods have counted for pipelines, the oldest first.
    history: BTreeMap<(String, String), VecDeque<(Instant, Counted)>>,
    /// What agents said when they were asked last, by their pods.
    agents: BTreeMap<String, Heard>,
    /// What they were to run when they were asked last.
    wanted: BTreeMap<Fleet, String>,
}

/// What an agent said.
#[derive(Debug)]
struct Heard {
    at: Instant,
    fleet: Fleet,
    /// Absent where it did not answer.
    report: Option<EngineReport>,
}

/// Counts of one pipeline in one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    delivered: u64,
    dropped: u64,
    refused: u64,
}

impl Engines {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(PATIENCE).build(connector);
        Self { client, history: BTreeMap::new(), agents: BTreeMap::new(), wanted: BTreeMap::new() }
    }

    /// Asks once. `engines` are all that run, `wanted` what those of a role are to run; the views are of all roles among them.
    pub(super) async fn ask(
        &mut self,
        engines: &[Engine],
        wanted: &BTreeMap<Fleet, String>,
        token: &SecretString,
    ) -> BTreeMap<Fleet, EngineView> {
        if self.wanted != *wanted {
            // What was said before is about what was wanted before.
            self.wanted.clone_from(wanted);
            self.agents
                .retain(|_, heard| heard.report.as_ref().is_some_and(|report| runs(report, heard.fleet, wanted)));
        }
        let asked = self.sample(engines);
        let client = &self.client;
        let answers = stream::iter(asked.clone()).map(|engine| async move {
            let answer = tokio::time::timeout(PATIENCE, status_of(client, &engine, token)).await;
            let result = answer.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            (engine, result)
        });
        let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
        let mut views: BTreeMap<Fleet, EngineView> = BTreeMap::new();
        let now = Instant::now();
        for (engine, result) in answers {
            let view = views.entry(engine.fleet).or_default();
            let report = match result {
                Ok(status) => {
                    self.count(view, &engine, &status, now);
                    Some(report(&engine, &status))
                }
                Err(error) => {
                    tracing::debug!(pod = engine.pod, error, "an engine does not report");
                    None
                }
            };
            if is_agent(&engine) {
                self.agents.insert(engine.pod, Heard { at: now, fleet: engine.fleet, report });
            } else {
                view.asked += 1;
                view.reports.extend(report);
            }
        }
        self.forget(engines);
        // What an agent said stands until it is asked again.
        for engine in engines.iter().filter(|engine| is_agent(engine)) {
            let Some(heard) = self.agents.get(&engine.pod) else { continue };
            let view = views.entry(engine.fleet).or_default();
            view.asked += 1;
            view.reports.extend(heard.report.clone());
        }
        for view in views.values_mut() {
            view.reports.sort_by(|one, other| one.pod.cmp(&other.pod));
        }
        views
    }

    /// All gateways, and as many agents as may be asked. Half of them are those that are not well or do not run what they should,
    /// so that it is soon known when they do; the others take turns.
    fn sample(&self, engines: &[Engine]) -> Vec<Engine> {
        let (mut agents, gateways): (Vec<&Engine>, Vec<&Engine>) = engines.iter().partition(|engine| is_agent(engine));
        let heard = |engine: &Engine| self.agents.get(&engine.pod);
        // Whoever was never asked comes first.
        agents.sort_by_key(|engine| heard(engine).map(|heard| heard.at));
        let is_unwell = |engine: &&&Engine| heard(engine).is_some_and(|heard| !heard.is_well(&self.wanted));
        let unwell: Vec<&Engine> = agents.iter().filter(is_unwell).take(AGENTS_ASKED / 2).copied().collect();
        let others = agents.into_iter().filter(|engine| !unwell.contains(engine)).take(AGENTS_ASKED - unwell.len());
        gateways.into_iter().chain(unwell.iter().copied()).chain(others).cloned().collect()
    }

    fn count(&mut self, view: &mut EngineView, engine: &Engine, status: &Status, now: Instant) {
        for component in &status.components {
            let (Some(pipeline), Some(sink)) = (&component.pipeline, &component.sink) else { continue };
            let ledger = &sink.ledger;
            let dropped: u64 = ledger.dropped.values().sum();
            let counted = Counted { delivered: ledger.delivered, dropped, refused: ledger.refused };
            let before = self.remember(&engine.pod, pipeline, counted, now);
            let flow = view.flows.entry(pipeline.clone()).or_default();
            flow.accepted += ledger.recovered + ledger.accepted;
            flow.delivered += ledger.delivered;
            flow.held += held(sink);
            for (reason, records) in &ledger.dropped {
                *flow.dropped.entry(reason.clone()).or_default() += records;
            }
            let failure = component.health.last_error.as_ref().map(|error| error.message.clone());
            let is_failing = component.health.state == ComponentState::Degraded;
            add_recent(flow, counted, before, failure.filter(|_| is_failing));
        }
    }

    /// Adds counts and gives those of the beginning of the last minutes.
    fn remember(&mut self, pod: &str, pipeline: &str, counted: Counted, now: Instant) -> Counted {
        let history = self.history.entry((pod.to_owned(), pipeline.to_owned())).or_default();
        // An engine that has started anew, or whose counts begin anew, has no past.
        if history.back().is_some_and(|(_, last)| counted.delivered < last.delivered || counted.dropped < last.dropped)
        {
            history.clear();
        }
        history.push_back((now, counted));
        while history.len() > 1 && history.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            history.pop_front();
        }
        history.front().map(|(_, counted)| *counted).unwrap_or_default()
    }

    fn forget(&mut self, engines: &[Engine]) {
        let pods: BTreeSet<&str> = engines.iter().map(|engine| engine.pod.as_str()).collect();
        self.history.retain(|(pod, _), _| pods.contains(pod.as_str()));
        self.agents.retain(|pod, _| pods.contains(pod.as_str()));
    }
}

impl Heard {
    fn is_well(&self, wanted: &BTreeMap<Fleet, String>) -> bool {
        let is_well = |report: &EngineReport| {
            report.problem.is_none() && report.failure.is_none() && runs(report, self.fleet, wanted)
        };
        self.report.as_ref().is_some_and(is_well)
    }
}

/// Whether an engine runs what it is to run.
fn runs(report: &EngineReport, fleet: Fleet, wanted: &BTreeMap<Fleet, String>) -> bool {
    wanted.get(&fleet).is_none_or(|hash| *hash == report.config_hash)
}

fn is_agent(engine: &Engine) -> bool {
    engine.fleet.role.is_agent()
}

/// What an engine says of its configuration. Whether a sink is well is a matter of pipelines in a gateway; an agent has one.
fn report(engine: &Engine, status: &Status) -> EngineReport {
    let is_failing = |state| is_agent(engine) && state == ComponentState::Degraded;
    let failing =
        status.components.iter().filter(|found| found.sink.is_some()).find(|found| is_failing(found.health.state));
    EngineReport {
        pod: engine.pod.clone(),
        config_hash: status.config_hash.clone(),
        problem: status.reload.as_ref().and_then(|reload| reload.problem.clone()),
        failure: failing.and_then(|found| found.health.last_error.as_ref()).map(|error| error.message.clone()),
        receives: engine.receives,
        holds: status.components.iter().filter_map(|found| found.sink.as_ref()).map(held).sum(),
        buffers: status.components.iter().filter_map(buffer).collect(),
        orphans: status.orphaned_buffers.iter().map(orphan).collect(),
    }
}

fn held(sink: &Sink) -> u64 {
    let Held { queued, in_flight, on_disk } = sink.ledger.held;
    queued + in_flight + on_disk
}

/// The buffer on disk of a pipeline.
fn buffer(component: &Component) -> Option<(String, BufferView)> {
    let Sink { ledger, buffer } = component.sink.as_ref()?;
    let view = BufferView {
        used: buffer.disk_used_bytes?,
        max: buffer.disk_max_bytes?,
        in_memory: buffer.used_bytes,
        waiting: ledger.held.on_disk,
        problem: buffer.problem.clone(),
    };
    Some((component.pipeline.clone()?, view))
}

fn orphan(buffer: &OrphanedBuffer) -> (String, OrphanView) {
    (buffer.identity.to_string(), OrphanView { used: buffer.used_bytes, records: buffer.records })
}

fn add_recent(flow: &mut FlowView, now: Counted, before: Counted, failure: Option<String>) {
    let recent: &mut Recent = &mut flow.recent;
    recent.delivered += now.delivered.saturating_sub(before.delivered);
    recent.dropped += now.dropped.saturating_sub(before.dropped);
    recent.refused += now.refused.saturating_sub(before.refused);
    if recent.failure.is_none() {
        recent.failure = failure;
    }
}

async fn status_of(
    client: &Client<HttpConnector, Empty<Bytes>>,
    engine: &Engine,
    token: &SecretString,
) -> Result<Status, String> {
    let host = match engine.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let mut authorization =
        HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| "the token is none")?;
    authorization.set_sensitive(true);
    let request = Request::get(format!("http://{host}:{STATUS_PORT}/status"))
        .header(AUTHORIZATION, authorization)
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("its status cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    fn agents(count: u8) -> Vec<Engine> {
        let agent = |number| Engine {
            fleet: Role::LogAgent.fleet(),
            receives: false,
            pod: format!("agent-{number:03}"),
            address: IpAddr::from([127, 0, 0, number]),
        };
        (0..count).map(agent).collect()
    }

    fn heard(engines: &mut Engines, sample: &[Engine], at: Instant, ill: &str) {
        for engine in sample {
            let problem = (engine.pod == ill).then(|| "no disk".to_owned());
            let report = EngineReport { pod: engine.pod.clone(), problem, ..EngineReport::default() };
            engines.agents.insert(engine.pod.clone(), Heard { at, fleet: engine.fleet, report: Some(report) });
        }
    }

    /// All agents have their turn, and one that is not well is asked each time.
    #[tokio::test(start_paused = true)]
    async fn agents_take_turns_and_the_unwell_are_asked_again() {
        let (all, mut engines) = (agents(100), Engines::new());
        let mut seen = BTreeSet::new();
        for round in 0..6 {
            let sample = engines.sample(&all);
            assert_eq!(sample.len(), AGENTS_ASKED);
            let is_known = seen.contains("agent-007");
            assert!(!is_known || sample.iter().any(|engine| engine.pod == "agent-007"), "round {round}");
            seen.extend(sample.iter().map(|engine| engine.pod.clone()));
            heard(&mut engines, &sample, Instant::now(), "agent-007");
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        assert_eq!(seen.len(), 100, "nobody is left out");
    }
}
