//! Readings to Prometheus text.
//!
//! The engine counts where things happen, without metric names; at a scrape the counts become a fresh registry, which is
//! rendered and dropped. Labels are of bounded number: ids, types, signals, outputs, and reasons that the code spells.

use engine_config::status::{Component, ComponentState, Flow, Sink};
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::state::State;
use super::{process, status};

const METADATA: Metadata<'static> = Metadata::new("engine", Level::INFO, None);

/// All metrics now.
pub(super) fn render(state: &State) -> String {
    let registry = Registry { recorder: PrometheusBuilder::new().build_recorder() };
    registry.describe();
    let usage = process::usage();
    registry.process(state, usage);
    for mut component in status::document(state).components {
        state.facts().series.fill(&mut component);
        registry.component(&component);
    }
    let mut text = registry.recorder.handle().render();
    if let Some(usage) = usage {
        text.push_str(&cpu_seconds(usage.cpu_seconds));
    }
    text
}

/// Written by hand: a counter of the registry is an integer, and a whole second of processor time is a coarse unit.
fn cpu_seconds(seconds: f64) -> String {
    const NAME: &str = "process_cpu_seconds_total";
    format!("# HELP {NAME} Processor time, user and system.\n# TYPE {NAME} counter\n{NAME} {seconds}\n")
}

/// One scrape's registry.
struct Registry {
    recorder: PrometheusRecorder,
}

/// Name, help. Counters end in `_total`.
const HELP: &[(&str, &str)] = &[
    ("telemetry_engine_build_info", "Always 1; labels say what runs."),
    ("telemetry_engine_ready", "Whether /readyz says yes."),
    ("telemetry_engine_uptime_seconds", "Seconds since the start."),
    ("telemetry_engine_memory_limit_bytes", "Bytes that the process allows itself for data."),
    ("telemetry_engine_admission_limit_bytes", "Bytes for requests in flight and held data."),
    ("telemetry_engine_admission_used_bytes", "Bytes of requests in flight and held data."),
    ("telemetry_engine_component_healthy", "0 while a component has a lasting error or has failed, else 1."),
    ("telemetry_engine_component_received_batches_total", "Batches that came into a component."),
    ("telemetry_engine_component_received_records_total", "Log records, spans or data points that came in."),
    ("telemetry_engine_component_received_bytes_total", "Encoded bytes that came in."),
    ("telemetry_engine_component_sent_batches_total", "Batches that went out of an output."),
    ("telemetry_engine_component_sent_records_total", "Log records, spans or data points that went out of an output."),
    ("telemetry_engine_component_sent_bytes_total", "Encoded bytes that went out of an output."),
    ("telemetry_engine_component_discarded_records_total", "Records lost on purpose."),
    ("telemetry_engine_component_errors_total", "Errors."),
    ("telemetry_engine_component_panics_total", "Panics caught."),
    ("telemetry_engine_component_count", "Counts that only this type of component has."),
    ("telemetry_engine_component_network_bytes_total", "Bytes as they were on the wire."),
    ("telemetry_engine_sink_recovered_records_total", "Records found in a durable buffer at start."),
    ("telemetry_engine_sink_accepted_records_total", "Records taken at the entrance, after selection."),
    ("telemetry_engine_sink_created_records_total", "Records made on the way."),
    ("telemetry_engine_sink_delivered_records_total", "Records that the far end confirmed."),
    ("telemetry_engine_sink_dropped_records_total", "Records lost after they were accepted."),
    ("telemetry_engine_sink_returned_records_total", "Accepted records given back to be sent again."),
    ("telemetry_engine_sink_merged_records_total", "Records replaced by fewer."),
    ("telemetry_engine_sink_refused_records_total", "Records turned away at the entrance, never accepted."),
    ("telemetry_engine_sink_held_records", "Records held now."),
    ("telemetry_engine_sink_ledger_balanced", "Whether every accepted record is accounted for."),
    ("telemetry_engine_sink_buffer_used_bytes", "Encoded bytes in the buffer and in flight."),
    ("telemetry_engine_sink_buffer_max_bytes", "The most encoded bytes that are held."),
    ("telemetry_engine_runtime_longest_delay_seconds", "The longest wait for a turn in the last one to two minutes."),
    ("process_resident_memory_bytes", "Resident memory."),
    ("process_open_fds", "Open file descriptors."),
    ("process_threads", "Threads."),
    ("process_start_time_seconds", "Start of the process in seconds since 1970."),
];

impl Registry {
    fn describe(&self) {
        for (name, help) in HELP {
            let (name, help) = (KeyName::from_const_str(name), SharedString::const_str(help));
            if name.as_str().ends_with("_total") {
                self.recorder.describe_counter(name, None::<Unit>, help);
            } else {
                self.recorder.describe_gauge(name, None::<Unit>, help);
            }
        }
    }

    fn process(&self, state: &State, usage: Option<process::Usage>) {
        let facts = state.facts();
        let role = facts.role.as_deref().unwrap_or_default().to_owned();
        let build = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("role", role),
            ("config_hash", facts.config_hash.clone()),
        ];
        self.gauge("telemetry_engine_build_info", &labels(build), 1.0);
        self.gauge("telemetry_engine_ready", &[], flag(state.not_ready_because().is_none()));
        self.gauge("telemetry_engine_uptime_seconds", &[], state.uptime().as_secs_f64());
        self.gauge("telemetry_engine_memory_limit_bytes", &[], facts.memory_limit as f64);
        if let Some(graph) = state.graph() {
            self.gauge("telemetry_engine_admission_limit_bytes", &[], graph.admission.limit() as f64);
            self.gauge("telemetry_engine_admission_used_bytes", &[], graph.admission.used() as f64);
        }
        for (runtime, delay) in state.heartbeats().longest_delays() {
            let labels = labels([("runtime", runtime)]);
            self.gauge("telemetry_engine_runtime_longest_delay_seconds", &labels, delay.as_secs_f64());
        }
        self.gauge("process_start_time_seconds", &[], state.started_at_unix().as_secs_f64());
        if let Some(usage) = usage {
            self.gauge("process_resident_memory_bytes", &[], usage.resident_bytes as f64);
            self.gauge("process_open_fds", &[], usage.open_files as f64);
            self.gauge("process_threads", &[], usage.threads as f64);
        }
    }

    fn component(&self, component: &Component) {
        let own = labels([
            ("component_id", component.id.to_string()),
            ("component_kind", component.kind.to_string()),
            ("component_type", component.type_name.clone()),
        ]);
        let is_ill = matches!(component.health.state, ComponentState::Degraded | ComponentState::Failed);
        self.gauge("telemetry_engine_component_healthy", &own, flag(!is_ill));
        for (signal, flow) in &component.received {
            self.flow(
                ["received_batches", "received_records", "received_bytes"],
                &with(&own, [("signal", signal)]),
                flow,
            );
        }
        for (output, flows) in &component.sent {
            for (signal, flow) in flows {
                let labels = with(&own, [("output", output), ("signal", signal)]);
                self.flow(["sent_batches", "sent_records", "sent_bytes"], &labels, flow);
            }
        }
        for (reason, records) in &component.discarded {
            let labels = with(&own, [("reason", reason)]);
            self.counter("telemetry_engine_component_discarded_records_total", &labels, *records);
        }
        for (kind, errors) in &component.errors {
            self.counter("telemetry_engine_component_errors_total", &with(&own, [("kind", kind)]), *errors);
        }
        self.counter("telemetry_engine_component_panics_total", &own, component.panics);
        for (direction, bytes) in [("in", component.network_bytes_in), ("out", component.network_bytes_out)] {
            let labels = with(&own, [("direction", &direction.to_owned())]);
            self.counter("telemetry_engine_component_network_bytes_total", &labels, bytes);
        }
        for (name, count) in &component.own {
            self.gauge("telemetry_engine_component_count", &with(&own, [("name", name)]), *count as f64);
        }
        if let Some(sink) = &component.sink {
            let pipeline = component.pipeline.clone().unwrap_or_default();
            self.sink(&with(&own, [("pipeline", &pipeline)]), sink);
        }
    }

    fn flow(&self, [batches, records, bytes]: [&str; 3], labels: &[Label], flow: &Flow) {
        for (name, count) in [(batches, flow.batches), (records, flow.records), (bytes, flow.bytes)] {
            self.counter(&format!("telemetry_engine_component_{name}_total"), labels, count);
        }
    }

    fn sink(&self, own: &[Label], sink: &Sink) {
        let ledger = &sink.ledger;
        self.counter("telemetry_engine_sink_recovered_records_total", own, ledger.recovered);
        self.counter("telemetry_engine_sink_accepted_records_total", own, ledger.accepted);
        self.counter("telemetry_engine_sink_delivered_records_total", own, ledger.delivered);
        self.counter("telemetry_engine_sink_returned_records_total", own, ledger.returned);
        self.counter("telemetry_engine_sink_refused_records_total", own, ledger.refused);
        for (reason, records) in &ledger.dropped {
            let labels = with(own, [("reason", reason)]);
            self.counter("telemetry_engine_sink_dropped_records_total", &labels, *records);
        }
        for (by, records) in &ledger.created {
            self.counter("telemetry_engine_sink_created_records_total", &with(own, [("by", by)]), *records);
        }
        for (by, records) in &ledger.merged {
            self.counter("telemetry_engine_sink_merged_records_total", &with(own, [("by", by)]), *records);
        }
        for (place, records) in [("queued", ledger.held.queued), ("in_flight", ledger.held.in_flight)] {
            let labels = with(own, [("place", &place.to_owned())]);
            self.gauge("telemetry_engine_sink_held_records", &labels, records as f64);
        }
        self.gauge("telemetry_engine_sink_ledger_balanced", own, flag(ledger.balanced));
        self.gauge("telemetry_engine_sink_buffer_used_bytes", own, sink.buffer.used_bytes as f64);
        self.gauge("telemetry_engine_sink_buffer_max_bytes", own, sink.buffer.max_bytes as f64);
    }

    fn counter(&self, name: &str, labels: &[Label], value: u64) {
        self.recorder.register_counter(&Key::from_parts(name.to_owned(), labels.to_vec()), &METADATA).absolute(value);
    }

    fn gauge(&self, name: &str, labels: &[Label], value: f64) {
        self.recorder.register_gauge(&Key::from_parts(name.to_owned(), labels.to_vec()), &METADATA).set(value);
    }
}

fn labels<const N: usize>(pairs: [(&'static str, String); N]) -> Vec<Label> {
    pairs.into_iter().map(|(name, value)| Label::new(name, value)).collect()
}

fn with<const N: usize>(own: &[Label], more: [(&'static str, &String); N]) -> Vec<Label> {
    own.iter().cloned().chain(more.map(|(name, value)| Label::new(name, value.clone()))).collect()
}

fn flag(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}
