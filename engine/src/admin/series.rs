//! Series that a scrape shows from the start, at zero: Prometheus computes no rate over the first increment of a counter
//! that it has never seen, so the first loss would go unnoticed.
//!
//! They follow from the plan (signals, outputs) and from the reasons that the engine itself has. Reasons that only one
//! type of component has appear when they first count.

use std::collections::BTreeMap;

use engine_config::status::{Component, Flow};
use engine_config::{ComponentId, Kind, Plan, PlannedNode, SignalSet};
use engine_core::edge::{FULL, UNSELECTED};
use engine_core::outcome::RejectionKind;
use engine_core::sink::{EXPIRED, PARTIAL, SHUTDOWN, UNENCODABLE};

/// What is known of every component before anything has happened.
#[derive(Clone, Debug, Default)]
pub struct Series(BTreeMap<ComponentId, Known>);

#[derive(Clone, Debug)]
struct Known {
    received: SignalSet,
    /// By output; the default output has no name.
    sent: Vec<(Option<String>, SignalSet)>,
    discarded: &'static [&'static str],
    errors: Vec<&'static str>,
    dropped: Vec<&'static str>,
}

/// Whether a backend refuses data or its answer cannot be had: kinds of errors, and reasons why records are dropped.
const REJECTIONS: [RejectionKind; 5] = [
    RejectionKind::Invalid,
    RejectionKind::TooLarge,
    RejectionKind::Unauthorized,
    RejectionKind::Unsupported,
    RejectionKind::Panic,
];

/// A panic, and what is lost because it made something panic again and again.
const PANIC: &str = RejectionKind::Panic.as_str();

impl Series {
    /// The series of a plan.
    pub fn of(plan: &Plan) -> Self {
        Self(plan.nodes.iter().map(|node| (node.id.clone(), Known::of(node))).collect())
    }

    /// Adds what has not counted yet.
    pub(super) fn fill(&self, component: &mut Component) {
        let Some(known) = self.0.get(&component.id) else { return };
        add(&mut component.received, known.received);
        for (name, flows) in &mut component.sent {
            let named = known.sent.iter().find(|(output, _)| output.as_ref() == Some(name));
            let output = named.or_else(|| known.sent.iter().find(|(output, _)| output.is_none()));
            add(flows, output.map_or_else(SignalSet::default, |(_, signals)| *signals));
        }
        let zero = |counts: &mut BTreeMap<String, u64>, names: &[&str]| {
            for name in names {
                counts.entry((*name).to_owned()).or_default();
            }
        };
        zero(&mut component.discarded, known.discarded);
        zero(&mut component.errors, &known.errors);
        if let Some(sink) = &mut component.sink {
            zero(&mut sink.ledger.dropped, &known.dropped);
        }
    }
}

impl Known {
    fn of(node: &PlannedNode) -> Self {
        let rejections = REJECTIONS.map(RejectionKind::as_str);
        let sent = node.outputs.iter().map(|output| (output.name.as_deref().map(str::to_owned), output.signals));
        let (received, discarded, errors): (_, &'static [_], _) = match node.kind {
            Kind::Source if node.facts.pull => {
                (SignalSet::default(), &[UNSELECTED, PANIC, EXPIRED, SHUTDOWN], vec!["failed", PANIC])
            }
            Kind::Source => (SignalSet::default(), &[UNSELECTED, PANIC], vec!["failed", PANIC]),
            Kind::Transform => {
                (node.signals, &[UNSELECTED, PANIC, UNENCODABLE, FULL], vec!["failed", PANIC, UNENCODABLE])
            }
            Kind::Sink => (node.signals, &[], [&["retry", "finish", PARTIAL, UNENCODABLE][..], &rejections].concat()),
        };
        let dropped = match node.kind {
            Kind::Sink => [&[FULL, EXPIRED, SHUTDOWN, PARTIAL, UNENCODABLE][..], &rejections].concat(),
            Kind::Source | Kind::Transform => Vec::new(),
        };
        Self { received, sent: sent.collect(), discarded, errors, dropped }
    }
}

fn add(flows: &mut BTreeMap<String, Flow>, signals: SignalSet) {
    for signal in signals.iter() {
        flows.entry(signal.as_str().to_owned()).or_default();
    }
}
