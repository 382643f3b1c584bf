//! Who sends to whom, by the places of a plan.
//!
//! Filled from the sinks towards the sources, so that whoever is wired finds those it sends to. Not here: what a route
//! does with a batch (`engine_core::edge`).

use engine_config::{Plan, PlannedNode, SignalSet, WhenFull};
use engine_core::edge::{Consumer, Route, Target};

/// The targets of the nodes that have been started or wired already.
pub(super) struct Wiring<'p> {
    plan: &'p Plan,
    targets: Vec<Option<Target>>,
}

impl<'p> Wiring<'p> {
    pub(super) fn of(plan: &'p Plan) -> Self {
        Self { plan, targets: vec![None; plan.nodes.len()] }
    }

    /// What is sent to the node at this place of the plan.
    pub(super) fn set(&mut self, place: usize, target: Option<Target>) {
        self.targets[place] = target;
    }

    /// The routes of a node's outputs.
    pub(super) fn routes(&self, node: &PlannedNode) -> Vec<Route> {
        let consumer = |planned: &engine_config::Consumer| Consumer {
            signals: planned.signals,
            target: self.targets[planned.node].clone().expect("consumers start before those they get data from"),
        };
        node.outputs.iter().map(|output| Route::new(output.consumers.iter().map(consumer).collect())).collect()
    }

    /// The signals with which a node reaches sinks that drop what they have no room for: others must not wait for those.
    pub(super) fn shared_behind(&self, node: &PlannedNode) -> SignalSet {
        let consumers = node.outputs.iter().flat_map(|output| &output.consumers);
        let behind = consumers.flat_map(|consumer| {
            let next = &self.plan.nodes[consumer.node];
            let shared = match &next.sink {
                Some(sink) if matches!(sink.buffer.when_full, WhenFull::DropNewest | WhenFull::DropOldest) => {
                    SignalSet::ALL
                }
                Some(_) => SignalSet::default(),
                None => self.shared_behind(next),
            };
            consumer.signals.iter().filter(move |signal| shared.contains(*signal))
        });
        behind.collect()
    }
}
