//! Every record is accounted for: random graphs with random buffers and backends that answer anything, ended at any moment and
//! started again over the same disk.
//!
//! What the engine counts is compared with what the test has seen itself: what it sent, what it was told, and what backends said.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use engine_config::{ComponentOptions, Facts, Kind, SignalSet, Stability};
use engine_core::contract::Sink;
use engine_core::ledger::Line;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use engine_core::test_kit::{logs, within};
use futures::future::BoxFuture;
use otlp::Payload;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run;
use crate::fakes::Board;

/// What backends have said, by the name of the backend.
static SAID: LazyLock<Mutex<HashMap<String, Said>>> = LazyLock::new(Mutex::default);

/// Records by what a backend said of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    taken: u64,
    partly_rejected: u64,
    rejected: u64,
}

/// A backend that says anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoodyOptions {
    name: String,
    seed: u64,
    /// Of a hundred answers.
    away: u8,
    rejects: u8,
}

struct Moody {
    options: MoodyOptions,
    moods: Mutex<StdRng>,
}

inventory::submit! { Registration::sink::<Moody>() }

impl ComponentOptions for MoodyOptions {
    const KIND: Kind = Kind::Sink;
    const TYPE: &'static str = "moody";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::sink(SignalSet::ALL)
    }
}

impl BuildSink for Moody {
    type Options = MoodyOptions;

    fn build(options: &MoodyOptions, _context: &BuildContext) -> Result<Self, BuildError> {
        let moods = Mutex::new(StdRng::seed_from_u64(options.seed));
        Ok(Self { options: options.clone(), moods })
    }
}

impl Sink for Moody {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        let (mood, pause) = {
            let mut moods = self.moods.lock().unwrap();
            (moods.random_range(0..100), moods.random_range(0..3))
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let records = payload.records();
            let MoodyOptions { name, away, rejects, .. } = &self.options;
            if mood < *away {
                return Outcome::retry("away");
            }
            let mut said = SAID.lock().unwrap();
            let said = said.entry(name.clone()).or_default();
            let outcome = match mood - away {
                value if value < *rejects && value % 3 == 0 => {
                    said.partly_rejected += 1;
                    Outcome::Partial { rejected: 1, message: "one of them".to_owned() }
                }
                // What is said of several at once is found out for each of them.
                value if value < *rejects && value % 3 == 1 => {
                    return Outcome::rejected(RejectionKind::Unauthorized, "not you");
                }
                value if value < *rejects => return Outcome::rejected(RejectionKind::Invalid, "bad"),
                _ => Outcome::Delivered,
            };
            said.taken += records;
            outcome
        })
    }
}

/// A sink of a random graph.
#[derive(Clone, Debug)]
struct Plan {
    is_on_disk: bool,
    when_full: usize,
    /// In KiB.
    memory: u64,
    batch: u64,
    away: u8,
    rejects: u8,
    selects: Option<u8>,
    seed: u64,
}

fn sinks() -> impl Strategy<Value = Plan> {
    let numbers = (64_u64..200, prop_oneof![Just(1_u64), 10_u64..200], any::<u64>());
    let moods = (prop_oneof![Just(0_u8), 0_u8..60, Just(100)], 0_u8..30);
    (any::<bool>(), 0_usize..3, numbers, moods, prop::option::of(0_u8..3)).prop_map(
        |(is_on_disk, when_full, (memory, batch, seed), (away, rejects), selects)| Plan {
            is_on_disk,
            when_full,
            memory,
            batch,
            away: away.min(100 - rejects),
            rejects,
            selects,
            seed,
        },
    )
}

fn configuration(case: &str, state: &std::path::Path, sinks: &[Plan]) -> String {
    let mut text =
        format!("[state]\ndirectory = \"{}\"\n[sources.in]\ntype = \"push\"\nboard = \"{case}\"\n", state.display());
    for (number, plan) in sinks.iter().enumerate() {
        let mut input = "in".to_owned();
        if let Some(team) = plan.selects {
            input = format!("only-{number}");
            text += &format!(
                "[transforms.{input}]\ntype = \"select\"\ninputs = [\"in\"]\nkeep = {{ \"team\" = [\"{team}\"] }}\n"
            );
        }
        // Alone behind the source a sink may refuse.
        let rules = if sinks.len() == 1 {
            ["refuse", "drop_newest", "drop_oldest"]
        } else {
            ["drop_newest", "drop_newest", "drop_oldest"]
        };
        let buffer = match plan.is_on_disk {
            true => "type = \"disk\", max_size = \"8MiB\"".to_owned(),
            false => format!("max_size = \"{}KiB\"", plan.memory),
        };
        text += &format!(
            "[sinks.out-{number}]\ntype = \"moody\"\ninputs = [\"{input}\"]\nname = \"{case}-{number}\"\nseed = {}\naway = {}\n\
             rejects = {}\nbatch = {{ max_records = {}, timeout = \"1ms\" }}\nconcurrency = 3\n\
             retry = {{ initial_interval = \"1ms\", max_interval = \"5ms\" }}\nbuffer = {{ {buffer}, when_full = \"{}\" }}\n",
            plan.seed >> 2,
            plan.away,
            plan.rejects,
            plan.batch,
            rules[plan.when_full],
        );
    }
    text
}

/// The lines of all sinks, each of which balances.
fn lines(sinks: &[Arc<engine_core::sink::SinkHandle>]) -> Vec<Line> {
    let lines: Vec<Line> = sinks.iter().map(|sink| sink.line()).collect();
    for line in &lines {
        line.check().unwrap_or_else(|error| panic!("{error}: {line:?}"));
    }
    lines
}

async fn play(case: &str, sinks: &[Plan], batches: &[(u8, u64)], lives: usize) {
    let state = tempfile::tempdir().unwrap();
    let text = configuration(case, state.path(), sinks);
    let board = Board::named(case);
    let mut left = vec![0; sinks.len()];
    let mut delivered = vec![(0, 0); sinks.len()];
    for life in 0..lives {
        let running = run(&text);
        let handles: Vec<_> = running.nodes().iter().filter_map(|node| node.sink.clone()).collect();
        let ids: Vec<_> =
            running.nodes().iter().filter(|node| node.sink.is_some()).map(|node| node.id.to_string()).collect();
        let recovered: BTreeMap<String, u64> =
            ids.iter().cloned().zip(lines(&handles).iter().map(|line| line.counts.recovered)).collect();
        for (number, left) in left.iter().enumerate() {
            assert_eq!(recovered[&format!("out-{number}")], *left, "life {life} finds what the one before left");
        }
        let mut receipts = Vec::new();
        let mut sent: BTreeMap<u8, u64> = BTreeMap::new();
        for (team, records) in batches {
            let team_name = team.to_string();
            receipts.push((*team, *records, board.push(logs(&[("team", &team_name)], 0..*records))));
            lines(&handles);
        }
        // What was taken may still be on its way when it ends.
        for (team, records, receipt) in receipts {
            match within("a batch is answered", receipt).await {
                Outcome::Delivered => *sent.entry(team).or_default() += records,
                Outcome::Retry { .. } => {}
                other => panic!("nobody waits for a backend here: {other:?}"),
            }
        }
        lines(&handles);
        within("the graph drains", running.drain()).await;
        let ended: BTreeMap<String, Line> = ids.into_iter().zip(lines(&handles)).collect();
        for (number, plan) in sinks.iter().enumerate() {
            let line = &ended[&format!("out-{number}")];
            let name = format!("{case}-{number}");
            let said = SAID.lock().unwrap().get(&name).cloned().unwrap_or_default();
            let (taken, partly) = &mut delivered[number];
            let (now_taken, now_partly) = (said.taken - *taken, said.partly_rejected - *partly);
            (*taken, *partly) = (said.taken, said.partly_rejected);
            assert_eq!(line.counts.delivered, now_taken - now_partly, "{line:?}");
            assert_eq!(line.counts.dropped.get("partial").copied().unwrap_or(0), now_partly, "{line:?}");
            let offered: u64 = match plan.selects {
                Some(team) => sent.get(&team).copied().unwrap_or(0),
                None => sent.values().sum(),
            };
            assert_eq!(
                line.counts.accepted - line.counts.returned,
                offered,
                "what was answered OK was taken: {line:?}"
            );
            assert_eq!(line.held.queued + line.held.in_flight, 0);
            left[number] = line.held.total();
            assert!(plan.is_on_disk || left[number] == 0, "{line:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever the graph, the buffers and the backends: each ledger balances at every moment it is looked at, agrees with what
    /// was sent, answered and delivered, and what is left on disk is what the next life recovers.
    #[test]
    fn every_record_is_accounted_for(
        sinks in prop::collection::vec(sinks(), 1..4),
        batches in prop::collection::vec((0_u8..4, 1_u64..60), 1..60),
        lives in 1_usize..4,
        number in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(&format!("ledger-{number}"), &sinks, &batches, lives));
    }
}
