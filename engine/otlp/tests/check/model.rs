//! The operations of the crate on decoded structs, written in the plainest way.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;
use otlp::{AttributeEdit, AttributeValue, Decoded, EditAction, KeyPattern, ResourceEdit};
use prost::Message;
use sha2::{Digest, Sha256};

pub fn encode(decoded: &Decoded) -> Vec<u8> {
    match decoded {
        Decoded::Logs(request) => request.encode_to_vec(),
        Decoded::Metrics(request) => request.encode_to_vec(),
        Decoded::Traces(request) => request.encode_to_vec(),
    }
}

/// Takes out the records that hold an id of a wrong length, and answers how many they were.
pub fn drop_records_with_wrong_ids(decoded: &mut Decoded) -> u64 {
    let is_id = |id: &[u8], len: usize| id.is_empty() || id.len() == len;
    let are_ids = |trace: &[u8], span: &[u8]| is_id(trace, 16) && is_id(span, 8);
    let before = decoded.records();
    match decoded {
        Decoded::Logs(request) => {
            for scope in request.resource_logs.iter_mut().flat_map(|entry| &mut entry.scope_logs) {
                scope.log_records.retain(|log| are_ids(&log.trace_id, &log.span_id));
            }
        }
        Decoded::Traces(request) => {
            for scope in request.resource_spans.iter_mut().flat_map(|entry| &mut entry.scope_spans) {
                scope.spans.retain(|span| {
                    are_ids(&span.trace_id, &span.span_id)
                        && is_id(&span.parent_span_id, 8)
                        && span.links.iter().all(|link| are_ids(&link.trace_id, &link.span_id))
                });
            }
        }
        Decoded::Metrics(request) => {
            let sound = |exemplars: &[Exemplar]| {
                exemplars.iter().all(|exemplar| are_ids(&exemplar.trace_id, &exemplar.span_id))
            };
            let scopes = request.resource_metrics.iter_mut().flat_map(|entry| &mut entry.scope_metrics);
            for metric in scopes.flat_map(|scope| &mut scope.metrics) {
                match &mut metric.data {
                    Some(Data::Gauge(data)) => data.data_points.retain(|point| sound(&point.exemplars)),
                    Some(Data::Sum(data)) => data.data_points.retain(|point| sound(&point.exemplars)),
                    Some(Data::Histogram(data)) => data.data_points.retain(|point| sound(&point.exemplars)),
                    Some(Data::ExponentialHistogram(data)) => data.data_points.retain(|point| sound(&point.exemplars)),
                    Some(Data::Summary(_)) | None => {}
                }
            }
        }
    }
    before - decoded.records()
}

pub fn drop_entries_without_records(decoded: &mut Decoded) {
    match decoded {
        Decoded::Logs(request) => {
            request.resource_logs.retain(|entry| entry.scope_logs.iter().any(|scope| !scope.log_records.is_empty()))
        }
        Decoded::Traces(request) => {
            request.resource_spans.retain(|entry| entry.scope_spans.iter().any(|scope| !scope.spans.is_empty()));
        }
        Decoded::Metrics(request) => request.resource_metrics.retain(|entry| {
            let mut metrics = entry.scope_metrics.iter().flat_map(|scope| &scope.metrics);
            metrics.any(|metric| !points(metric).1.is_empty())
        }),
    }
}

fn resources(decoded: &mut Decoded) -> Vec<&mut Option<Resource>> {
    match decoded {
        Decoded::Logs(request) => request.resource_logs.iter_mut().map(|entry| &mut entry.resource).collect(),
        Decoded::Metrics(request) => request.resource_metrics.iter_mut().map(|entry| &mut entry.resource).collect(),
        Decoded::Traces(request) => request.resource_spans.iter_mut().map(|entry| &mut entry.resource).collect(),
    }
}

pub fn edit_resources(decoded: &mut Decoded, edits: &[ResourceEdit]) {
    for resource in resources(decoded) {
        let was_absent = resource.is_none();
        let edited = resource.get_or_insert_default();
        for edit in edits {
            apply(&mut edited.attributes, edit);
        }
        if was_absent && edited.attributes.is_empty() {
            *resource = None;
        }
    }
}

fn apply(attributes: &mut Vec<KeyValue>, edit: &ResourceEdit) {
    let present = attributes.iter().position(|attribute| attribute.key == edit.key);
    let set = |value: &AttributeValue| KeyValue {
        key: edit.key.clone(),
        value: Some(AnyValue { value: Some(any_value(value)) }),
        key_strindex: 0,
    };
    let is_blank = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        None | Some(Value::StringValueStrindex(_)) => true,
        Some(Value::StringValue(text)) => text.is_empty(),
        Some(_) => false,
    };
    match (&edit.action, present) {
        (EditAction::Fill(value), Some(first)) if is_blank(&attributes[first]) => attributes[first] = set(value),
        (EditAction::Fill(_), Some(_)) => {}
        (EditAction::Insert(value) | EditAction::Upsert(value) | EditAction::Fill(value), None) => {
            attributes.push(set(value))
        }
        (EditAction::Insert(_), Some(_)) | (EditAction::Update(_), None) => {}
        (EditAction::Update(value) | EditAction::Upsert(value), Some(first)) => {
            attributes[first] = set(value);
            let mut position = 0;
            attributes.retain(|attribute| {
                position += 1;
                position - 1 <= first || attribute.key != edit.key
            });
        }
        (EditAction::Delete, _) => attributes.retain(|attribute| attribute.key != edit.key),
    }
}

/// Edits of resources, scopes and records, in this order.
pub fn edit_attributes(decoded: &mut Decoded, edits: [&[AttributeEdit]; 3]) {
    let [of_resources, of_scopes, of_records] = edits;
    for resource in resources(decoded) {
        edit_optional(resource, of_resources, |resource| &mut resource.attributes);
    }
    let mut scopes = Vec::new();
    let mut records = Vec::new();
    match decoded {
        Decoded::Logs(request) => {
            for list in request.resource_logs.iter_mut().flat_map(|entry| &mut entry.scope_logs) {
                scopes.push(&mut list.scope);
                records.extend(list.log_records.iter_mut().map(|record| &mut record.attributes));
            }
        }
        Decoded::Traces(request) => {
            for list in request.resource_spans.iter_mut().flat_map(|entry| &mut entry.scope_spans) {
                scopes.push(&mut list.scope);
                records.extend(list.spans.iter_mut().map(|record| &mut record.attributes));
            }
        }
        Decoded::Metrics(request) => {
            for list in request.resource_metrics.iter_mut().flat_map(|entry| &mut entry.scope_metrics) {
                scopes.push(&mut list.scope);
                for data in list.metrics.iter_mut().filter_map(|metric| metric.data.as_mut()) {
                    match data {
                        Data::Gauge(data) => records.extend(data.data_points.iter_mut().map(|at| &mut at.attributes)),
                        Data::Sum(data) => records.extend(data.data_points.iter_mut().map(|at| &mut at.attributes)),
                        Data::Histogram(data) => {
                            records.extend(data.data_points.iter_mut().map(|at| &mut at.attributes));
                        }
                        Data::ExponentialHistogram(data) => {
                            records.extend(data.data_points.iter_mut().map(|at| &mut at.attributes));
                        }
                        Data::Summary(data) => records.extend(data.data_points.iter_mut().map(|at| &mut at.attributes)),
                    }
                }
            }
        }
    }
    for scope in scopes {
        edit_optional(scope, of_scopes, |scope| &mut scope.attributes);
    }
    for attributes in records {
        of_records.iter().for_each(|edit| apply_to_attributes(attributes, edit));
    }
}

fn edit_optional<M: Default>(
    message: &mut Option<M>,
    edits: &[AttributeEdit],
    attributes: impl Fn(&mut M) -> &mut Vec<KeyValue>,
) {
    let was_absent = message.is_none();
    let edited = attributes(message.get_or_insert_default());
    edits.iter().for_each(|edit| apply_to_attributes(edited, edit));
    if was_absent && edited.is_empty() {
        *message = None;
    }
}

fn apply_to_attributes(attributes: &mut Vec<KeyValue>, edit: &AttributeEdit) {
    let mut set = |key: &String, action| apply(attributes, &ResourceEdit { key: key.clone(), action });
    match edit {
        AttributeEdit::Insert(key, value) => set(key, EditAction::Insert(value.clone())),
        AttributeEdit::Update(key, value) => set(key, EditAction::Update(value.clone())),
        AttributeEdit::Upsert(key, value) => set(key, EditAction::Upsert(value.clone())),
        AttributeEdit::Delete(pattern) => attributes.retain(|attribute| !matches(pattern, &attribute.key)),
        AttributeEdit::Hash(pattern) => {
            for attribute in attributes.iter_mut().filter(|attribute| matches(pattern, &attribute.key)) {
                let hash = hash(attribute.value.as_ref());
                let hex = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                attribute.value = Some(AnyValue { value: Some(Value::StringValue(hex)) });
                attribute.key_strindex = 0;
            }
        }
        AttributeEdit::Rename { from, to } => {
            let Some(first) = attributes.iter().position(|attribute| attribute.key == *from) else { return };
            let renamed = KeyValue { key: to.clone(), ..attributes[first].clone() };
            let goes = |attribute: &KeyValue| attribute.key == *from || attribute.key == *to;
            let place = attributes[..first].iter().filter(|attribute| !goes(attribute)).count();
            attributes.retain(|attribute| !goes(attribute));
            attributes.insert(place, renamed);
        }
    }
}

fn matches(pattern: &KeyPattern, key: &str) -> bool {
    match pattern {
        KeyPattern::Exact(exact) => key == exact,
        KeyPattern::Prefix(prefix) => key.starts_with(prefix),
    }
}

fn hash(value: Option<&AnyValue>) -> Vec<u8> {
    let bytes = match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone().into_bytes(),
        Some(Value::BytesValue(bytes)) => bytes.clone(),
        Some(Value::BoolValue(flag)) => vec![u8::from(*flag)],
        Some(Value::IntValue(number)) => number.to_le_bytes().to_vec(),
        Some(Value::DoubleValue(number)) => number.to_le_bytes().to_vec(),
        Some(Value::ArrayValue(list)) => list.values.iter().flat_map(|value| hash(Some(value))).collect(),
        Some(Value::KvlistValue(map)) => {
            let both = |entry: &KeyValue| [Sha256::digest(&entry.key).to_vec(), hash(entry.value.as_ref())].concat();
            map.values.iter().flat_map(both).collect()
        }
        Some(Value::StringValueStrindex(_)) | None => Vec::new(),
    };
    Sha256::digest(bytes).to_vec()
}

fn any_value(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::String(text) => Value::StringValue(text.clone()),
        AttributeValue::Bool(flag) => Value::BoolValue(*flag),
        AttributeValue::Int(number) => Value::IntValue(*number),
        AttributeValue::Double(number) => Value::DoubleValue(*number),
    }
}

pub fn sort_resource_attributes(decoded: &mut Decoded) {
    for resource in resources(decoded).into_iter().flatten() {
        resource.attributes.sort_by(|left, right| left.key.cmp(&right.key));
    }
}

/// By the debug form of the first `service.name`'s string.
pub fn partition(decoded: &Decoded, chosen: impl Fn(&str) -> bool) -> (Decoded, Decoded) {
    let keep = |resource: &Option<Resource>| {
        let attributes = resource.iter().flat_map(|resource| &resource.attributes);
        let name = attributes.filter(|attribute| attribute.key == "service.name").map(text_of).next();
        chosen(&format!("{name:?}"))
    };
    let (mut yes, mut no) = (decoded.clone(), decoded.clone());
    for (part, wanted) in [(&mut yes, true), (&mut no, false)] {
        match part {
            Decoded::Logs(request) => request.resource_logs.retain(|entry| keep(&entry.resource) == wanted),
            Decoded::Metrics(request) => request.resource_metrics.retain(|entry| keep(&entry.resource) == wanted),
            Decoded::Traces(request) => request.resource_spans.retain(|entry| keep(&entry.resource) == wanted),
        }
    }
    (yes, no)
}

fn text_of(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

pub fn append(to: &mut Decoded, from: Decoded) {
    match (to, from) {
        (Decoded::Logs(to), Decoded::Logs(from)) => to.resource_logs.extend(from.resource_logs),
        (Decoded::Metrics(to), Decoded::Metrics(from)) => to.resource_metrics.extend(from.resource_metrics),
        (Decoded::Traces(to), Decoded::Traces(from)) => to.resource_spans.extend(from.resource_spans),
        _ => panic!("the signals differ"),
    }
}

/// Every record with all that stands above it, encoded. A metric gives one element a data point.
pub fn flatten(decoded: &Decoded) -> Vec<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    match decoded {
        Decoded::Logs(request) => {
            for entry in &request.resource_logs {
                for scope in &entry.scope_logs {
                    let heads = heads(&entry.resource, &entry.schema_url, &scope.scope, &scope.schema_url);
                    out.extend(scope.log_records.iter().map(|record| with(&heads, [record.encode_to_vec()])));
                }
            }
        }
        Decoded::Traces(request) => {
            for entry in &request.resource_spans {
                for scope in &entry.scope_spans {
                    let heads = heads(&entry.resource, &entry.schema_url, &scope.scope, &scope.schema_url);
                    out.extend(scope.spans.iter().map(|record| with(&heads, [record.encode_to_vec()])));
                }
            }
        }
        Decoded::Metrics(request) => {
            for entry in &request.resource_metrics {
                for scope in &entry.scope_metrics {
                    let heads = heads(&entry.resource, &entry.schema_url, &scope.scope, &scope.schema_url);
                    for metric in &scope.metrics {
                        let (head, points) = points(metric);
                        out.extend(points.into_iter().map(|point| with(&heads, [head.clone(), point])));
                    }
                }
            }
        }
    }
    out
}

/// For every record in order (for metrics: every metric) how many elements [`flatten`] gives for it.
pub fn weights(decoded: &Decoded) -> Vec<usize> {
    match decoded {
        Decoded::Logs(request) => {
            let scopes = request.resource_logs.iter().flat_map(|entry| &entry.scope_logs);
            scopes.flat_map(|scope| &scope.log_records).map(|_| 1).collect()
        }
        Decoded::Traces(request) => {
            let scopes = request.resource_spans.iter().flat_map(|entry| &entry.scope_spans);
            scopes.flat_map(|scope| &scope.spans).map(|_| 1).collect()
        }
        Decoded::Metrics(request) => {
            let scopes = request.resource_metrics.iter().flat_map(|entry| &entry.scope_metrics);
            scopes.flat_map(|scope| &scope.metrics).map(|metric| points(metric).1.len()).collect()
        }
    }
}

fn heads(
    resource: &Option<Resource>,
    resource_url: &str,
    scope: &Option<impl Message>,
    scope_url: &str,
) -> Vec<Vec<u8>> {
    let resource = resource.as_ref().map_or_else(|| b"none".to_vec(), Message::encode_to_vec);
    let scope = scope.as_ref().map_or_else(|| b"none".to_vec(), Message::encode_to_vec);
    vec![resource, resource_url.as_bytes().to_vec(), scope, scope_url.as_bytes().to_vec()]
}

fn with<const N: usize>(heads: &[Vec<u8>], more: [Vec<u8>; N]) -> Vec<Vec<u8>> {
    heads.iter().cloned().chain(more).collect()
}

fn points(metric: &Metric) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut head = metric.clone();
    let points = match &mut head.data {
        Some(Data::Gauge(data)) => take(&mut data.data_points),
        Some(Data::Sum(data)) => take(&mut data.data_points),
        Some(Data::Histogram(data)) => take(&mut data.data_points),
        Some(Data::ExponentialHistogram(data)) => take(&mut data.data_points),
        Some(Data::Summary(data)) => take(&mut data.data_points),
        None => Vec::new(),
    };
    (head.encode_to_vec(), points)
}

fn take(points: &mut Vec<impl Message>) -> Vec<Vec<u8>> {
    std::mem::take(points).iter().map(Message::encode_to_vec).collect()
}
