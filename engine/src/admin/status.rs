//! Readings to the `/status` document of `engine-config`.

use std::collections::BTreeMap;

use engine_config::status::{
    Buffer, Component, ComponentState, Flow, Health, Held, LastError, Ledger, Memory, Service, Sink, StageLedger,
    Status,
};
use engine_core::ledger::Line;
use engine_core::service::Services;
use engine_core::sink::SinkHandle;
use engine_core::stage::StageLine;
use engine_core::telemetry::{self, ComponentReading, FlowReading, HealthState};

use super::state::State;
use crate::topology::RunningNode;

/// The document now.
pub(super) fn document(state: &State) -> Status {
    let graph = state.graph();
    let not_ready_because = state.not_ready_because();
    let facts = state.facts();
    let (reload, last_good) = state.reload();
    let memory = Memory {
        limit_bytes: facts.memory_limit,
        admission_limit_bytes: graph.as_ref().map_or(0, |graph| graph.admission.limit() as u64),
        admission_used_bytes: graph.as_ref().map_or(0, |graph| graph.admission.used() as u64),
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: facts.role.as_deref().map(str::to_owned),
        config_hash: facts.config_hash.clone(),
        reload,
        last_good,
        phase: state.phase(),
        ready: not_ready_because.is_none(),
        not_ready_because: not_ready_because.map(str::to_owned),
        started_at_unix_seconds: state.started_at_unix().as_secs(),
        uptime_seconds: state.uptime().as_secs(),
        memory,
        listeners: graph.as_ref().map(|graph| graph.listeners.clone()).unwrap_or_default(),
        services: graph.as_ref().map(|graph| services(&graph.services)).unwrap_or_default(),
        orphaned_buffers: state.orphans().found(),
        components: graph.map(|graph| graph.nodes.iter().map(component).collect()).unwrap_or_default(),
    }
}

fn services(services: &Services) -> Vec<Service> {
    services.problems().map(|(id, problem)| Service { id: id.to_string(), problem }).collect()
}

fn component(node: &RunningNode) -> Component {
    let ComponentReading {
        received,
        sent,
        discarded,
        errors,
        protocol_bytes_in,
        protocol_bytes_out,
        panics,
        own,
        health,
    } = node.telemetry.read();
    Component {
        id: node.id.clone(),
        kind: node.kind,
        type_name: node.type_name.to_owned(),
        pipeline: node.pipeline.as_deref().map(str::to_owned),
        health: healthy(health),
        received: flows(received),
        sent: sent.into_iter().map(|(output, readings)| (output, flows(readings))).collect(),
        discarded: owned(discarded),
        errors: owned(errors),
        network_bytes_in: protocol_bytes_in,
        network_bytes_out: protocol_bytes_out,
        panics,
        own: owned(own),
        sink: node.sink.as_deref().map(sink),
        stage: node.stage.as_deref().map(|account| stage(account.line())),
    }
}

fn sink(handle: &SinkHandle) -> Sink {
    let on_disk = handle.store().map(|store| store.state());
    let buffer = Buffer {
        used_bytes: handle.buffered_bytes() as u64,
        max_bytes: handle.max_buffer() as u64,
        disk_used_bytes: on_disk.as_ref().map(|state| state.used),
        disk_max_bytes: on_disk.as_ref().map(|state| state.max),
        damaged_frames: on_disk.as_ref().map(|state| state.damaged_frames),
        synced_groups: on_disk.as_ref().map(|state| state.groups),
        problem: on_disk.and_then(|state| state.problem),
    };
    Sink { ledger: ledger(handle.line()), buffer }
}

fn ledger(line: Line) -> Ledger {
    let balanced = line.check().is_ok();
    let Line { counts, held, refused } = line;
    Ledger {
        recovered: counts.recovered,
        accepted: counts.accepted,
        created: counts.created,
        delivered: counts.delivered,
        dropped: owned(counts.dropped),
        returned: counts.returned,
        merged: counts.merged,
        left_on_disk: counts.left_on_disk,
        held: Held {
            queued: held.queued,
            in_flight: held.in_flight,
            on_disk: u64::try_from(held.stored).unwrap_or_default(),
        },
        refused,
        balanced,
    }
}

fn stage(line: StageLine) -> StageLedger {
    let balanced = line.check().is_ok();
    let StageLine { received, created, sent, dropped, returned, merged, held } = line;
    StageLedger { received, created, sent, dropped: owned(dropped), returned, merged, held, balanced }
}

fn healthy(health: telemetry::Health) -> Health {
    let state = match health.state {
        HealthState::Starting => ComponentState::Starting,
        HealthState::Ok => ComponentState::Ok,
        HealthState::Degraded => ComponentState::Degraded,
        HealthState::Draining => ComponentState::Draining,
        HealthState::Stopped => ComponentState::Stopped,
        HealthState::Failed => ComponentState::Failed,
    };
    let last_error =
        health.last_error.map(|error| LastError { message: error.message, at_unix_seconds: error.at_unix_seconds });
    Health { state, last_error }
}

fn flows(readings: BTreeMap<&'static str, FlowReading>) -> BTreeMap<String, Flow> {
    let flow = |reading: FlowReading| Flow { batches: reading.batches, records: reading.records, bytes: reading.bytes };
    readings.into_iter().map(|(signal, reading)| (signal.to_owned(), flow(reading))).collect()
}

fn owned(counts: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use std::sync::Arc;

    use engine_config::{ComponentId, Kind};
    use engine_core::telemetry::ComponentTelemetry;

    use super::*;

    /// The ledger of a stage stands beside its component, with what it holds and whether it balances.
    #[test]
    fn a_stage_shows_its_ledger() {
        let telemetry = Arc::new(ComponentTelemetry::default());
        let (_inlet, input) = engine_core::stage::single("sample", Arc::clone(&telemetry));
        let account = Arc::clone(input.account());
        account.created(3);
        let mut node = RunningNode {
            id: ComponentId::new("sample").unwrap(),
            kind: Kind::Transform,
            type_name: "sample",
            pipeline: None,
            telemetry,
            sink: None,
            stage: Some(Arc::clone(&account)),
        };
        let shown = component(&node).stage.unwrap();
        assert_eq!(shown, StageLedger { created: 3, ..StageLedger::default() });
        account.merged(3);
        let shown = serde_json::to_value(component(&node)).unwrap();
        assert_eq!((&shown["stage"]["merged"], &shown["stage"]["balanced"]), (&3.into(), &true.into()));
        node.stage = None;
        assert!(serde_json::to_value(component(&node)).unwrap().get("stage").is_none());
    }
}
