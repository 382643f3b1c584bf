//! The `kubernetes_attributes` transform: says which pod, workload, node and cluster data comes from.
//!
//! A resource that can be told at once is written anew inline; entries whose pod is not known yet, or whose address is not
//! settled, go to the companion (`hold`) and come back behind it. Records are never looked at. Not here: what the cluster
//! says (`kubernetes`), how bytes are spliced (`otlp`).

mod counts;
mod hold;
mod identity;
mod prepared;
mod resolve;
mod service;

use std::sync::Arc;

use engine_config::transforms::KubernetesAttributes as Options;
use engine_core::batch::Batch;
use engine_core::contract::{Outputs, Stage, Transform, TransformWithCompanion};
use engine_core::registry::{BuildContext, BuildError, BuildTransform, Registration};
use engine_core::telemetry::ComponentTelemetry;
use kubernetes::Metadata;
use otlp::{Payload, ResourceEdits, Wire};
use smallvec::SmallVec;
use tokio::time::Instant;

use self::counts::{Counts, Unmatched};
use self::hold::Companion;
use self::prepared::Preparation;
use self::resolve::{Found, Resolver, Window};

inventory::submit! { Registration::with_companion::<KubernetesAttributes>() }

/// The part that works inline.
pub(crate) struct KubernetesAttributes(Arc<Enrichment>);

/// What the transform and its companion share.
struct Enrichment {
    metadata: Arc<Metadata>,
    resolver: Resolver,
    preparation: Preparation,
    counts: Counts,
    options: Options,
}

/// What was found for each entry of a request.
type Findings = SmallVec<[Finding; 8]>;

/// An entry's pod, as far as it is known, and what its resource needs besides.
struct Finding {
    found: Found,
    /// Whether the resource names a service.
    service: prepared::ServiceName,
    /// The container that the resource names.
    container: Option<Box<str>>,
}

impl BuildTransform for KubernetesAttributes {
    type Options = Options;

    fn build(options: &Options, context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self::new(options, context.services.get("")?))
    }
}

impl KubernetesAttributes {
    fn new(options: &Options, metadata: Arc<Metadata>) -> Self {
        metadata.want(&prepared::wanted(options));
        Self(Arc::new(Enrichment {
            resolver: Resolver::new(Arc::clone(&metadata), options.hold.timeout.get()),
            preparation: Preparation::new(options, Arc::clone(&metadata)),
            counts: Counts::default(),
            options: options.clone(),
            metadata,
        }))
    }
}

impl Transform for KubernetesAttributes {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        let Self(enrichment) = self;
        let Some(batch) = batch.map_wire(outputs.telemetry(), |wire| wire) else { return };
        let findings = enrichment.look(&batch, Window::at(Instant::now()));
        let waits = findings.iter().filter(|finding| finding.found.waits()).count();
        if waits == 0 {
            outputs.emit(enrichment.enriched(batch, findings, outputs.telemetry()));
            return;
        }
        if waits == findings.len() {
            outputs.hand_over(batch);
            return;
        }
        let Payload::Wire(wire) = batch.payload().clone() else { unreachable!("it was made bytes just now") };
        let mut places = findings.iter();
        let (waiting, ready) = wire.partition(|_| places.next().is_some_and(|finding| finding.found.waits()));
        outputs.hand_over(batch.branch(Payload::Wire(waiting)));
        let ready_findings = findings.into_iter().filter(|finding| !finding.found.waits()).collect();
        let rest = batch.map(|_| Payload::Wire(ready));
        outputs.emit(enrichment.enriched(rest, ready_findings, outputs.telemetry()));
    }
}

impl TransformWithCompanion for KubernetesAttributes {
    fn companion(&self) -> Box<dyn Stage> {
        Box::new(Companion::new(Arc::clone(&self.0)))
    }
}

impl Enrichment {
    /// What is known of each entry of a batch, which is bytes. The window is that of batches of nobody.
    fn look(&self, batch: &Batch, window: Window) -> Findings {
        let Payload::Wire(wire) = batch.payload() else { return Findings::new() };
        let arrival = batch.arrival();
        let sender = arrival.map(|arrival| &*arrival.peer);
        let window = arrival.map_or(window, |arrival| Window::at(arrival.at));
        wire.resources().map(|resource| self.resolver.look(&resource, sender, &window)).collect()
    }

    /// The batch with attributes; counts what was found. What still waits goes on without a pod.
    fn enriched(&self, batch: Batch, findings: Findings, telemetry: &ComponentTelemetry) -> Batch {
        let edits: SmallVec<[Arc<ResourceEdits>; 8]> =
            findings.iter().map(|finding| self.preparation.edits(finding)).collect();
        let Payload::Wire(wire) = batch.payload() else { return batch };
        for (resource, finding) in wire.resources().zip(&findings) {
            self.counts.add(&finding.found, resource.records());
        }
        let edit = |wire: Wire| wire.edit_each_resource(|place| &edits[place]);
        batch.map_wire(telemetry, edit).unwrap_or_else(|| unreachable!("bytes stay bytes"))
    }
}

impl Finding {
    /// Gives up waiting, for this reason or because it was in vain.
    fn gives_up(&mut self, reason: Option<Unmatched>) {
        if let Found::Waits { in_vain, .. } = self.found {
            self.found = Found::Nothing(reason.unwrap_or(in_vain));
        }
    }
}

#[cfg(test)]
mod tests;
