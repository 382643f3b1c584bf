//! What JSON costs, both ways. Every request has 1000 records, so microseconds an iteration are nanoseconds a record.

mod payload;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use otlp::Signal;
use otlp::json::{Conversion, read, to_json};
use prost::Message as _;

fn main() {
    divan::main();
}

const SIGNALS: [Signal; 3] = Signal::ALL;

#[divan::bench(args = SIGNALS)]
fn convert(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let text = bytes::Bytes::from(to_json(&wire));
    let bencher = bencher.counter(ItemsCount::new(wire.records())).counter(BytesCount::new(text.len()));
    bencher.bench(|| Conversion::new(signal, black_box(&text).clone(), usize::MAX).step(usize::MAX));
}

/// As [`convert`], with admission.
#[divan::bench(args = SIGNALS)]
fn read_and_admit(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let text = to_json(&wire);
    let bencher = bencher.counter(ItemsCount::new(wire.records())).counter(BytesCount::new(text.len()));
    bencher.bench(|| read(signal, black_box(text.as_bytes())));
}

/// With a space behind every colon and comma, as many encoders write.
#[divan::bench(args = SIGNALS)]
fn convert_spaced(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let text = to_json(&wire).replace("\":", "\": ").replace(",\"", ", \"").replace(",{", ", {");
    let text = bytes::Bytes::from(text);
    let bencher = bencher.counter(ItemsCount::new(wire.records())).counter(BytesCount::new(text.len()));
    bencher.bench(|| Conversion::new(signal, black_box(&text).clone(), usize::MAX).step(usize::MAX));
}

/// The same by way of structs.
#[divan::bench(args = SIGNALS)]
fn read_with_serde(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let text = to_json(&wire);
    let bencher = bencher.counter(ItemsCount::new(wire.records())).counter(BytesCount::new(text.len()));
    bencher.bench(|| {
        let text = black_box(text.as_bytes());
        match signal {
            Signal::Logs => serde_json::from_slice::<ExportLogsServiceRequest>(text).expect("read").encode_to_vec(),
            Signal::Metrics => {
                serde_json::from_slice::<ExportMetricsServiceRequest>(text).expect("read").encode_to_vec()
            }
            Signal::Traces => serde_json::from_slice::<ExportTraceServiceRequest>(text).expect("read").encode_to_vec(),
        }
    });
}

#[divan::bench(args = SIGNALS)]
fn write(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let bencher = bencher.counter(ItemsCount::new(wire.records())).counter(BytesCount::new(wire.len()));
    bencher.bench(|| to_json(black_box(&wire)));
}
