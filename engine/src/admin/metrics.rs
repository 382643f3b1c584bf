//! Readings to metrics: one list, which `/metrics` shows as Prometheus' text and the source `internal` sends as OTLP.
//!
//! The engine counts where things happen, without metric names; when somebody asks, the counts get names, and for text a
//! fresh registry, which is rendered and dropped. Labels are of bounded number: ids, types, signals, outputs, and reasons
//! that the code spells.

use std::collections::{BTreeMap, HashMap};

use engine_config::status::{Component, ComponentState, Flow, OrphanedBuffer, ReloadResult, Sink};
use engine_core::self_telemetry::{OwnMetric, OwnPoint, OwnValue};
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::state::State;
use super::{process, status};

const METADATA: Metadata<'static> = Metadata::new("engine", Level::INFO, None);

/// Buffers without a sink that have a label of their own, and the label of all others together.
const MOST_ORPHANS: usize = 100;
const OTHER: &str = "other";

/// How the name of a counter ends.
const TOTAL: &str = "_total";

/// All metrics now.
pub fn measure(state: &State) -> Vec<OwnMetric> {
    let mut reading = Reading::new();
    reading.process(state, process::usage());
    let document = status::document(state);
    reading.orphans(&document.orphaned_buffers);
    for mut component in document.components {
        state.facts().series.fill(&mut component);
        reading.component(&component);
    }
    reading.metrics.retain(|metric| !metric.points.is_empty());
    reading.metrics
}

/// All metrics now, as Prometheus' text.
pub(super) fn render(state: &State) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut by_hand = String::new();
    for metric in measure(state) {
        let OwnMetric { name, description, points, .. } = metric;
        let help = SharedString::const_str(description);
        if name.ends_with(TOTAL) {
            recorder.describe_counter(KeyName::from_const_str(name), None::<Unit>, help);
        } else {
            recorder.describe_gauge(KeyName::from_const_str(name), None::<Unit>, help);
        }
        for OwnPoint { attributes, value } in points {
            let labels: Vec<Label> = attributes.into_iter().map(|(name, value)| Label::new(name, value)).collect();
            let key = Key::from_parts(name, labels);
            match value {
                OwnValue::Count(count) if name.ends_with(TOTAL) => {
                    recorder.register_counter(&key, &METADATA).absolute(count);
                }
                // A counter of the registry is an integer, and a whole second of processor time is a coarse unit.
                OwnValue::Double(number) if name.ends_with(TOTAL) => {
                    by_hand.push_str(&format!("# HELP {name} {description}\n# TYPE {name} counter\n{name} {number}\n"));
                }
                OwnValue::Count(count) => recorder.register_gauge(&key, &METADATA).set(count as f64),
                OwnValue::Double(number) => recorder.register_gauge(&key, &METADATA).set(number),
            }
        }
    }
    recorder.handle().render() + &by_hand
}

/// One reading, being made.
struct Reading {
    metrics: Vec<OwnMetric>,
    places: HashMap<&'static str, usize>,
}

type Labels = Vec<(&'static str, String)>;

/// Name, unit, help. Counters end in `_total`.
const METRICS: &[(&str, &str, &str)] = &[
    ("telemetry_engine_build_info", "", "Always 1; labels say what runs."),
    ("telemetry_engine_config_reloads_total", "{attempt}", "Attempts to take another configuration, by result."),
    (
        "telemetry_engine_config_last_reload_successful",
        "",
        "0 while the configuration that was to be run last is refused, else 1.",
    ),
    (
        "telemetry_engine_config_last_good",
        "",
        "1 while the last good configuration runs because the one of the start is refused, else 0.",
    ),
    ("telemetry_engine_ready", "", "Whether /readyz says yes."),
    ("telemetry_engine_uptime_seconds", "s", "Seconds since the start."),
    ("telemetry_engine_memory_limit_bytes", "By", "Bytes that the process allows itself for data."),
    ("telemetry_engine_admission_limit_bytes", "By", "Bytes for requests in flight and held data."),
    ("telemetry_engine_admission_used_bytes", "By", "Bytes of requests in flight and held data."),
    (
        "telemetry_engine_service_healthy",
        "",
        "0 while something keeps what components share from its work, such as an API server that is away, else 1.",
    ),
    ("telemetry_engine_component_healthy", "", "0 while a component has a lasting error or has failed, else 1."),
    ("telemetry_engine_component_received_batches_total", "{batch}", "Batches that came into a component."),
    (
        "telemetry_engine_component_received_records_total",
        "{record}",
        "Log records, spans or data points that came in.",
    ),
    ("telemetry_engine_component_received_bytes_total", "By", "Encoded bytes that came in."),
    ("telemetry_engine_component_sent_batches_total", "{batch}", "Batches that went out of an output."),
    (
        "telemetry_engine_component_sent_records_total",
        "{record}",
        "Log records, spans or data points that went out of an output.",
    ),
    ("telemetry_engine_component_sent_bytes_total", "By", "Encoded bytes that went out of an output."),
    ("telemetry_engine_component_discarded_records_total", "{record}", "Records lost on purpose."),
    ("telemetry_engine_component_errors_total", "{error}", "Errors."),
    ("telemetry_engine_component_panics_total", "{panic}", "Panics caught."),
    ("telemetry_engine_component_count", "", "Counts that only this type of component has."),
    ("telemetry_engine_component_network_bytes_total", "By", "Bytes as they were on the wire."),
    ("telemetry_engine_sink_recovered_records_total", "{record}", "Records found in a durable buffer at start."),
    ("telemetry_engine_sink_accepted_records_total", "{record}", "Records taken at the entrance, after selection."),
    ("telemetry_engine_sink_created_records_total", "{record}", "Records made on the way."),
    ("telemetry_engine_sink_delivered_records_total", "{record}", "Records that the far end confirmed."),
    ("telemetry_engine_sink_dropped_records_total", "{record}", "Records lost after they were accepted."),
    ("telemetry_engine_sink_returned_records_total", "{record}", "Accepted records given back to be sent again."),
    ("telemetry_engine_sink_merged_records_total", "{record}", "Records replaced by fewer."),
    (
        "telemetry_engine_sink_left_on_disk_records_total",
        "{record}",
        "Records left on disk by a sink that is gone or has another buffer by now.",
    ),
    ("telemetry_engine_sink_refused_records_total", "{record}", "Records turned away at the entrance, never accepted."),
    ("telemetry_engine_sink_held_records", "{record}", "Records held now."),
    ("telemetry_engine_sink_ledger_balanced", "", "Whether every accepted record is accounted for."),
    ("telemetry_engine_sink_buffer_used_bytes", "By", "Encoded bytes in the buffer and in flight."),
    ("telemetry_engine_sink_buffer_max_bytes", "By", "The most encoded bytes that are held."),
    ("telemetry_engine_sink_buffer_disk_used_bytes", "By", "Bytes of the files of a disk buffer."),
    ("telemetry_engine_sink_buffer_disk_max_bytes", "By", "The most bytes of the files of a disk buffer."),
    ("telemetry_engine_sink_buffer_disk_healthy", "", "0 while a disk buffer cannot be written, else 1."),
    (
        "telemetry_engine_sink_buffer_synced_groups_total",
        "{group}",
        "Groups of payloads that were written to a disk buffer and synced at once.",
    ),
    (
        "telemetry_engine_sink_buffer_damaged_frames_total",
        "{frame}",
        "Frames of a disk buffer that were found damaged; each is one payload as it came.",
    ),
    ("telemetry_engine_orphaned_buffers", "{buffer}", "Buffers on disk that belong to no sink."),
    ("telemetry_engine_orphaned_buffer_bytes", "By", "Bytes of the files of a disk buffer that belongs to no sink."),
    (
        "telemetry_engine_orphaned_buffer_records",
        "{record}",
        "Records in a disk buffer that belongs to no sink, which were not delivered.",
    ),
    (
        "telemetry_engine_runtime_longest_delay_seconds",
        "s",
        "The longest wait for a turn in the last one to two minutes.",
    ),
    ("process_resident_memory_bytes", "By", "Resident memory."),
    ("process_open_fds", "{file}", "Open file descriptors."),
    ("process_threads", "{thread}", "Threads."),
    ("process_start_time_seconds", "s", "Start of the process in seconds since 1970."),
    ("process_cpu_seconds_total", "s", "Processor time, user and system."),
];

impl Reading {
    fn new() -> Self {
        let metric = |(name, unit, description): &(&'static str, &'static str, &'static str)| OwnMetric {
            name,
            description,
            unit,
            points: Vec::new(),
        };
        let metrics: Vec<OwnMetric> = METRICS.iter().map(metric).collect();
        let places = metrics.iter().enumerate().map(|(place, metric)| (metric.name, place)).collect();
        Self { metrics, places }
    }

    fn process(&mut self, state: &State, usage: Option<process::Usage>) {
        let facts = state.facts();
        let role = facts.role.as_deref().unwrap_or_default().to_owned();
        let build = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("role", role),
            ("config_hash", facts.config_hash.clone()),
        ];
        self.gauge("telemetry_engine_build_info", &labels(build), 1.0);
        for (result, attempts) in state.attempts() {
            let labels = labels([("result", result.as_str().to_owned())]);
            self.counter("telemetry_engine_config_reloads_total", &labels, attempts);
        }
        let (reload, last_good) = state.reload();
        let is_refused = reload.is_some_and(|reload| reload.result == ReloadResult::Refused);
        self.gauge("telemetry_engine_config_last_reload_successful", &Labels::new(), flag(!is_refused));
        self.gauge("telemetry_engine_config_last_good", &Labels::new(), flag(last_good.is_some()));
        self.gauge("telemetry_engine_ready", &Labels::new(), flag(state.not_ready_because().is_none()));
        self.gauge("telemetry_engine_uptime_seconds", &Labels::new(), state.uptime().as_secs_f64());
        self.gauge("telemetry_engine_memory_limit_bytes", &Labels::new(), facts.memory_limit as f64);
        if let Some(graph) = state.graph() {
            self.gauge("telemetry_engine_admission_limit_bytes", &Labels::new(), graph.admission.limit() as f64);
            self.gauge("telemetry_engine_admission_used_bytes", &Labels::new(), graph.admission.used() as f64);
        }
        for (id, problem) in state.graph().iter().flat_map(|graph| graph.services.problems()) {
            let labels = labels([("service", id.to_string())]);
            self.gauge("telemetry_engine_service_healthy", &labels, flag(problem.is_none()));
        }
        for (runtime, delay) in state.heartbeats().longest_delays() {
            let labels = labels([("runtime", runtime)]);
            self.gauge("telemetry_engine_runtime_longest_delay_seconds", &labels, delay.as_secs_f64());
        }
        self.gauge("process_start_time_seconds", &Labels::new(), state.started_at_unix().as_secs_f64());
        if let Some(usage) = usage {
            self.gauge("process_resident_memory_bytes", &Labels::new(), usage.resident_bytes as f64);
            self.gauge("process_open_fds", &Labels::new(), usage.open_files as f64);
            self.gauge("process_threads", &Labels::new(), usage.threads as f64);
            self.add("process_cpu_seconds_total", &Labels::new(), OwnValue::Double(usage.cpu_seconds));
        }
    }

    fn orphans(&mut self, orphans: &[OrphanedBuffer]) {
        self.gauge("telemetry_engine_orphaned_buffers", &Labels::new(), orphans.len() as f64);
        // Directories are of no bounded number.
        let mut named: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (place, OrphanedBuffer { identity, used_bytes, records }) in orphans.iter().enumerate() {
            let name = if place < MOST_ORPHANS { identity.as_str() } else { OTHER };
            let (bytes, held) = named.entry(name).or_default();
            *bytes += used_bytes;
            *held += records;
        }
        for (identity, (bytes, records)) in named {
            let labels = labels([("identity", identity.to_owned())]);
            self.gauge("telemetry_engine_orphaned_buffer_bytes", &labels, bytes as f64);
            self.gauge("telemetry_engine_orphaned_buffer_records", &labels, records as f64);
        }
    }

    fn component(&mut self, component: &Component) {
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

    fn flow(&mut self, [batches, records, bytes]: [&str; 3], labels: &Labels, flow: &Flow) {
        for (name, count) in [(batches, flow.batches), (records, flow.records), (bytes, flow.bytes)] {
            self.counter(&format!("telemetry_engine_component_{name}_total"), labels, count);
        }
    }

    fn sink(&mut self, own: &Labels, sink: &Sink) {
        let ledger = &sink.ledger;
        self.counter("telemetry_engine_sink_recovered_records_total", own, ledger.recovered);
        self.counter("telemetry_engine_sink_accepted_records_total", own, ledger.accepted);
        self.counter("telemetry_engine_sink_delivered_records_total", own, ledger.delivered);
        self.counter("telemetry_engine_sink_returned_records_total", own, ledger.returned);
        self.counter("telemetry_engine_sink_left_on_disk_records_total", own, ledger.left_on_disk);
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
        for (place, records) in
            [("queued", ledger.held.queued), ("in_flight", ledger.held.in_flight), ("on_disk", ledger.held.on_disk)]
        {
            let labels = with(own, [("place", &place.to_owned())]);
            self.gauge("telemetry_engine_sink_held_records", &labels, records as f64);
        }
        self.gauge("telemetry_engine_sink_ledger_balanced", own, flag(ledger.balanced));
        self.gauge("telemetry_engine_sink_buffer_used_bytes", own, sink.buffer.used_bytes as f64);
        self.gauge("telemetry_engine_sink_buffer_max_bytes", own, sink.buffer.max_bytes as f64);
        let Some(used) = sink.buffer.disk_used_bytes else { return };
        self.gauge("telemetry_engine_sink_buffer_disk_used_bytes", own, used as f64);
        let max = sink.buffer.disk_max_bytes.unwrap_or_default();
        self.gauge("telemetry_engine_sink_buffer_disk_max_bytes", own, max as f64);
        self.gauge("telemetry_engine_sink_buffer_disk_healthy", own, flag(sink.buffer.problem.is_none()));
        let groups = sink.buffer.synced_groups.unwrap_or_default();
        self.counter("telemetry_engine_sink_buffer_synced_groups_total", own, groups);
        let damaged = sink.buffer.damaged_frames.unwrap_or_default();
        self.counter("telemetry_engine_sink_buffer_damaged_frames_total", own, damaged);
    }

    fn counter(&mut self, name: &str, labels: &Labels, value: u64) {
        self.add(name, labels, OwnValue::Count(value));
    }

    fn gauge(&mut self, name: &str, labels: &Labels, value: f64) {
        self.add(name, labels, OwnValue::Double(value));
    }

    fn add(&mut self, name: &str, labels: &Labels, value: OwnValue) {
        let place = self.places.get(name).copied().expect("every metric stands in the table");
        self.metrics[place].points.push(OwnPoint { attributes: labels.clone(), value });
    }
}

fn labels<const N: usize>(pairs: [(&'static str, String); N]) -> Labels {
    pairs.into()
}

fn with<const N: usize>(own: &Labels, more: [(&'static str, &String); N]) -> Labels {
    own.iter().cloned().chain(more.map(|(name, value)| (name, value.clone()))).collect()
}

fn flag(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}
