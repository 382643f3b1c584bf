//! What the operations cost. Every request has 1000 records, so microseconds an iteration are nanoseconds a record.

mod payload;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use otlp::{
    AttributeEdit, AttributeEdits, AttributeValue, EditAction, KeyPattern, RecordView, ResourceEdit, ResourceEdits,
    Signal, SplitLimits, Wire, WireEdits, admit,
};

fn main() {
    for signal in Signal::ALL {
        let wire = payload::request(signal);
        assert_eq!(wire.records(), 1000);
        assert!(wire.len() > 200_000, "{signal}: {} bytes", wire.len());
    }
    divan::main();
}

const SIGNALS: [Signal; 3] = Signal::ALL;

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, wire: &Wire) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(wire.records())).counter(BytesCount::new(wire.len()))
}

/// Six attributes as the enrichment of a gateway sets them: two of them are there already.
fn upserts() -> ResourceEdits {
    ["k8s.pod.uid", "k8s.deployment.name", "k8s.node.name", "cloud.region", "cloud.account.id", "k8s.namespace.name"]
        .into_iter()
        .map(|key| ResourceEdit {
            key: key.to_owned(),
            action: EditAction::Upsert(AttributeValue::String("a value of usual length".to_owned())),
        })
        .collect()
}

#[divan::bench(args = SIGNALS)]
fn copy(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let body = wire.rope().into_bytes();
    counted(bencher, &wire).bench(|| black_box(&body).to_vec());
}

#[divan::bench(args = SIGNALS)]
fn walk(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    counted(bencher, &wire).bench(|| {
        let scopes = black_box(&wire).resources().flat_map(|resource| resource.scopes());
        scopes.flat_map(|scope| scope.records()).count()
    });
}

#[divan::bench(args = SIGNALS)]
fn read_one_field(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    counted(bencher, &wire).bench(|| {
        let scopes = black_box(&wire).resources().flat_map(|resource| resource.scopes());
        let records = scopes.flat_map(|scope| scope.records());
        records
            .map(|record| match record {
                RecordView::Log(log) => usize::from(log.get("user.id").is_some()),
                RecordView::Span(span) => span.trace_id().len(),
                RecordView::Metric(metric) => metric.name().len(),
            })
            .sum::<usize>()
    });
}

#[divan::bench(args = SIGNALS)]
fn admission(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let body = wire.rope().into_bytes();
    counted(bencher, &wire).bench(|| admit(signal, black_box(&body).clone()));
}

/// Bodies and attributes that are not ASCII.
#[divan::bench]
fn admission_of_text_that_is_not_ascii(bencher: Bencher<'_, '_>) {
    let wire = payload::request(Signal::Logs);
    let body = wire.rope().into_bytes().to_vec();
    let mut changed = body;
    let places: Vec<usize> =
        changed.windows(9).enumerate().filter(|(_, window)| window == b"processed").map(|(at, _)| at).collect();
    for at in places {
        changed[at..at + 2].copy_from_slice("ü".as_bytes());
    }
    let body = Bytes::from(changed);
    counted(bencher, &wire).bench(|| admit(Signal::Logs, black_box(&body).clone()));
}

#[divan::bench(args = SIGNALS)]
fn decode_and_encode(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    counted(bencher, &wire).bench(|| black_box(&wire).decode().encode());
}

#[divan::bench(args = SIGNALS)]
fn edit(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let edits = upserts();
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| wire.edit_resources(&edits));
}

/// 500 resources of 20 attributes with 2 records each: nanoseconds a record as before.
#[divan::bench]
fn edit_of_many_resources(bencher: Bencher<'_, '_>) {
    let wire = payload::shaped(Signal::Logs, 500, 2, 20);
    let edits = upserts();
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| wire.edit_resources(&edits));
}

fn of_records(edit: AttributeEdit) -> WireEdits {
    WireEdits { record: AttributeEdits::new(&[edit]).expect("it is only one"), ..WireEdits::default() }
}

/// An attribute that no record has yet.
#[divan::bench(args = SIGNALS)]
fn upsert_into_records(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let value = AttributeValue::String("production".to_owned());
    let edits = of_records(AttributeEdit::Upsert("deployment.environment.name".to_owned(), value));
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| wire.edit_attributes(&edits));
}

/// Attributes that no record has, so that nothing changes.
#[divan::bench(args = SIGNALS)]
fn delete_from_records_in_vain(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let edits = of_records(AttributeEdit::Delete(KeyPattern::Prefix("enduser.".to_owned())));
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| wire.edit_attributes(&edits));
}

/// One attribute of every record.
#[divan::bench]
fn hash_in_records(bencher: Bencher<'_, '_>) {
    let wire = payload::request(Signal::Logs);
    let edits = of_records(AttributeEdit::Hash(KeyPattern::Exact("user.id".to_owned())));
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| wire.edit_attributes(&edits));
}

/// Every record has the attribute.
#[divan::bench]
fn rename_in_records(bencher: Bencher<'_, '_>) {
    let wire = payload::request(Signal::Logs);
    let edits = of_records(AttributeEdit::Rename { from: "user.id".to_owned(), to: "enduser.id".to_owned() });
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| wire.edit_attributes(&edits));
}

#[divan::bench(args = SIGNALS)]
fn split(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    let limits = SplitLimits { max_bytes: wire.len() / 3, max_records: 400 };
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| wire.split(&limits));
}

#[divan::bench(args = SIGNALS)]
fn partition(bencher: Bencher<'_, '_>, signal: Signal) {
    let wire = payload::request(signal);
    counted(bencher, &wire).with_inputs(|| wire.clone()).bench_values(|wire| {
        wire.partition(|resource| {
            resource.get("k8s.pod.name").and_then(|name| name.as_str()).is_some_and(|name| name.ends_with('2'))
        })
    });
}

/// Ten requests of 100 records into one.
#[divan::bench(args = SIGNALS)]
fn concat(bencher: Bencher<'_, '_>, signal: Signal) {
    let small = payload::shaped(signal, 1, 100, 10);
    let inputs: Vec<Wire> = std::iter::repeat_n(small, 10).collect();
    let whole = Wire::concat(inputs.clone());
    counted(bencher, &whole).with_inputs(|| inputs.clone()).bench_values(Wire::concat);
}
