//! OTLP/JSON against the structs of `opentelemetry-proto` with their `with-serde` feature, and in every spelling that
//! means the same. Where with-serde is not what the specification says, it is named here:
//!
//! - it writes `NaN` and infinities as null, but in quantiles, and does not read them as strings;
//! - it wants `key`, `values` and the fields of entity references, which may be left out;
//! - it reads bytes only in the standard alphabet with padding, and numbers below 64 bits only as numbers;
//! - it looks at no string that it skips, UTF-8 or not;
//! - it takes lists for objects, `0x` before ids, and one member of a oneof after another;
//! - what is wrong inside the data of a metric, or the value of a data point, makes it have none, without an error.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, exemplar, metric::Data, number_data_point};
use otlp::{Decoded, Signal, Wire};
use serde_json::{Map, Value};

use super::generate::Rng;
use super::model;

/// Values nested deeper than this would take with-serde more stack than a test has.
const DEPTH: usize = 60;

/// What with-serde makes of a text.
pub fn with_serde(signal: Signal, text: &[u8]) -> Result<Decoded, serde_json::Error> {
    Ok(match signal {
        Signal::Logs => Decoded::Logs(serde_json::from_slice(text)?),
        Signal::Metrics => Decoded::Metrics(serde_json::from_slice(text)?),
        Signal::Traces => Decoded::Traces(serde_json::from_slice(text)?),
    })
}

fn to_with_serde(decoded: &Decoded) -> String {
    let written = match decoded {
        Decoded::Logs(request) => serde_json::to_string(request),
        Decoded::Metrics(request) => serde_json::to_string(request),
        Decoded::Traces(request) => serde_json::to_string(request),
    };
    written.unwrap()
}

/// Both write what the other one reads, and it means the same. False for values that are nested too deeply for
/// with-serde.
pub fn agrees_with_serde(wire: &Wire) -> bool {
    let mut decoded = wire.decode();
    make_finite(&mut decoded);
    let finite = decoded.encode().unwrap();
    let ours = otlp::json::to_json(&finite);
    let nesting = ours.bytes().scan(0_usize, |depth, byte| {
        *depth += usize::from(byte == b'{');
        *depth -= usize::from(byte == b'}' && *depth > 0);
        Some(*depth)
    });
    if nesting.max().unwrap_or(0) > DEPTH {
        return false;
    }
    let theirs = to_with_serde(&decoded);
    match otlp::json::from_json(wire.signal(), theirs.as_bytes()) {
        Ok(read) => assert!(super::same(&read.decode(), &kept(&decoded)), "read from {theirs}\n{:?}", read.decode()),
        Err(error) => panic!("{error}: cannot read {theirs}"),
    }
    let mut completed: Value = serde_json::from_str(&ours).unwrap();
    complete(&mut completed);
    match with_serde(wire.signal(), completed.to_string().as_bytes()) {
        Ok(read) => assert!(super::same(&read, &decoded), "with-serde read from {completed}\n{read:?}"),
        Err(error) => panic!("{error}: with-serde cannot read {completed}"),
    }
    true
}

/// What admission leaves of a request.
fn kept(decoded: &Decoded) -> Decoded {
    let mut kept = decoded.clone();
    model::drop_records_with_wrong_ids(&mut kept);
    model::drop_entries_without_records(&mut kept);
    kept
}

/// Any text: what is no JSON is refused, what both take means the same, and what only with-serde takes is refused for
/// a reason that is known.
pub fn judged_as_with_serde(signal: Signal, text: &[u8]) {
    let ours = otlp::json::from_json(signal, text);
    if let Err(error) = serde_json::from_slice::<Value>(text) {
        let said = error.to_string();
        let is_json = said.contains("recursion limit") || said.contains("number out of range");
        assert!(is_json || ours.is_err(), "taken, though it is no JSON ({error}): {}", String::from_utf8_lossy(text));
    }
    // What with-serde does not know, because only profiles have it.
    if String::from_utf8_lossy(text).contains("trindex") {
        return;
    }
    let Ok(theirs) = with_serde(signal, text) else { return };
    let lost = |decoded: &Decoded, what: &str| format!("{decoded:?}").matches(what).count();
    match ours {
        Ok(wire) => assert!(
            super::same(&wire.decode(), &kept(&theirs))
                || (signal == Signal::Metrics
                    && ["data: None", "value: None"]
                        .into_iter()
                        .any(|what| lost(&theirs, what) > lost(&wire.decode(), what))),
            "{}\nours {:?}\nwith-serde {theirs:?}",
            String::from_utf8_lossy(text),
            wire.decode()
        ),
        Err(_) if signal == Signal::Metrics && lost(&theirs, "data: None") + lost(&theirs, "value: None") > 0 => {}
        Err(error) => {
            let said = error.to_string();
            let known = [
                "the key occurs twice",
                "another member",
                "an object, found a list",
                "`\"0x",
                "`\"+",
                "nested",
                "one entry too many",
                "a string is not valid UTF-8",
            ];
            let leading_zero = said.contains("found `\"0") || said.contains("found `\"-0");
            assert!(
                leading_zero || known.iter().any(|reason| said.contains(reason)),
                "with-serde takes {}: {said}",
                String::from_utf8_lossy(text)
            );
        }
    }
}

/// However a request is spelled, it is the same request.
pub fn spelled_the_same(wire: &Wire, rng: &mut Rng) {
    let value: Value = serde_json::from_str(&otlp::json::to_json(wire)).unwrap();
    let mut text = String::new();
    spell("", &value, rng, &mut text);
    match otlp::json::from_json(wire.signal(), text.as_bytes()) {
        Ok(again) => {
            assert_eq!(format!("{:?}", again.decode()), format!("{:?}", wire.decode()), "{text}");
            assert_eq!(in_steps(wire.signal(), &text).rope(), again.rope());
        }
        Err(error) => panic!("{error}: cannot read {text}"),
    }
}

/// The JSON of a request with something changed that matters to JSON.
pub fn mutated(wire: &Wire, rng: &mut Rng) -> Vec<u8> {
    let mut text = otlp::json::to_json(wire).into_bytes();
    for _ in 0..=rng.below(2) {
        let at = rng.below(text.len());
        match rng.below(3) {
            0 => text[at] = *rng.pick(b"{}[]\",:\\0-.eEntfu \n\x01\xff"),
            1 => text.insert(at, *rng.pick(b"{}[]\",:\\0-.eEntfu \n\x01\xff")),
            _ => {
                text.remove(at);
            }
        }
    }
    text
}

/// What a conversion in the smallest steps makes.
fn in_steps(signal: Signal, text: &str) -> Wire {
    let mut conversion = otlp::json::Conversion::new(signal, text.to_owned().into(), usize::MAX);
    let converted = loop {
        if let Some(converted) = conversion.step(1).unwrap() {
            break converted;
        }
    };
    otlp::admit(signal, converted.body).unwrap()
}

/// Writes a value in one of the ways that mean the same. `key` is the name of the field that it belongs to.
fn spell(key: &str, value: &Value, rng: &mut Rng, out: &mut String) {
    space(rng, out);
    match value {
        Value::Object(members) => spell_object(members, rng, out),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                spell(key, element, rng, out);
            }
            space(rng, out);
            out.push(']');
        }
        Value::String(text) => spell_string(key, text, rng, out),
        Value::Number(number) => match rng.below(4) {
            0 => out.push_str(&format!("\"{number}\"")),
            1 if number.as_i64().is_some_and(|value| value.abs() < 1 << 50) => out.push_str(&format!("{number}.0")),
            2 if number.as_i64().is_some_and(|value| value != 0 && value.abs() < 1 << 50) => {
                out.push_str(&format!("{number}0e-1"))
            }
            _ => out.push_str(&number.to_string()),
        },
        _ => out.push_str(&value.to_string()),
    }
    space(rng, out);
}

fn spell_object(members: &Map<String, Value>, rng: &mut Rng, out: &mut String) {
    let mut members: Vec<(String, Option<&Value>)> =
        members.iter().map(|(key, value)| (key.clone(), Some(value))).collect();
    if rng.chance(10) {
        members.push((format!("unknown{}", rng.below(3)), None));
    }
    if rng.chance(30) {
        for index in (1..members.len()).rev() {
            members.swap(index, rng.below(index + 1));
        }
    }
    out.push('{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        space(rng, out);
        spell_plain(key, rng, out);
        space(rng, out);
        out.push(':');
        match value {
            Some(value) => spell(key, value, rng, out),
            None => anything(rng, 4, out),
        }
    }
    space(rng, out);
    out.push('}');
}

fn spell_string(key: &str, text: &str, rng: &mut Rng, out: &mut String) {
    let is_integer =
        ["timeUnixNano", "startTimeUnixNano", "endTimeUnixNano", "observedTimeUnixNano", "intValue", "asInt"]
            .contains(&key)
            || ["count", "zeroCount", "bucketCounts"].contains(&key);
    if is_integer && rng.chance(50) {
        out.push_str(text);
    } else if ["traceId", "spanId", "parentSpanId"].contains(&key) && rng.chance(50) {
        spell_plain(&text.to_ascii_uppercase(), rng, out);
    } else if key == "bytesValue" && rng.chance(50) {
        let url = text.replace('+', "-").replace('/', "_");
        spell_plain(if rng.chance(50) { url.trim_end_matches('=') } else { &url }, rng, out);
    } else {
        spell_plain(text, rng, out);
    }
}

fn spell_plain(text: &str, rng: &mut Rng, out: &mut String) {
    let escapes = if rng.chance(10) { 30 } else { 0 };
    out.push('"');
    for character in text.chars() {
        if rng.chance(escapes) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&if rng.chance(50) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") });
            }
            continue;
        }
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' if rng.chance(20) => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..' ' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// JSON that nobody reads.
fn anything(rng: &mut Rng, depth: usize, out: &mut String) {
    let scalars = ["null", "true", "false", "0", "-1.5e+30", "1e999", "\"\"", "\"a\\\"\\u0000\\\\\"", "\"}]\""];
    match rng.below(if depth == 0 { 1 } else { 3 }) {
        1 => {
            out.push('[');
            for index in 0..rng.below(4) {
                out.push_str(if index > 0 { " , " } else { "" });
                anything(rng, depth - 1, out);
            }
            out.push(']');
        }
        2 => {
            out.push('{');
            for index in 0..rng.below(4) {
                out.push_str(if index > 0 { "," } else { "\n" });
                out.push_str("\"name\" :");
                anything(rng, depth - 1, out);
            }
            out.push('}');
        }
        _ => out.push_str(rng.pick::<&str>(&scalars)),
    }
}

fn space(rng: &mut Rng, out: &mut String) {
    if rng.chance(3) {
        out.push_str(rng.pick::<&str>(&[" ", "\n", "\t", "\r\n", "        "]));
    }
}

/// Adds what with-serde does not do without.
fn complete(value: &mut Value) {
    let members = match value {
        Value::Array(elements) => return elements.iter_mut().for_each(complete),
        Value::Object(members) => members,
        _ => return,
    };
    for (key, member) in members {
        let add = |inner: &mut Value, missing: &str, default: Value| {
            inner.as_object_mut().unwrap().entry(missing).or_insert(default);
        };
        match key.as_str() {
            "arrayValue" => add(member, "values", Value::Array(Vec::new())),
            "kvlistValue" => {
                add(member, "values", Value::Array(Vec::new()));
                let values = member["values"].as_array_mut().unwrap();
                values.iter_mut().for_each(|value| add(value, "key", "".into()));
            }
            "attributes" | "filteredAttributes" | "metadata" => {
                let values = member.as_array_mut().unwrap();
                values.iter_mut().for_each(|value| add(value, "key", "".into()));
            }
            "entityRefs" => {
                for value in member.as_array_mut().unwrap() {
                    ["schemaUrl", "type"].into_iter().for_each(|missing| add(value, missing, "".into()));
                    ["idKeys", "descriptionKeys"]
                        .into_iter()
                        .for_each(|missing| add(value, missing, Value::Array(Vec::new())));
                }
            }
            _ => {}
        }
        complete(member);
    }
}

/// Puts zero in the place of what with-serde has no form for.
fn make_finite(decoded: &mut Decoded) {
    match decoded {
        Decoded::Logs(request) => {
            for entry in &mut request.resource_logs {
                of_attributes(entry.resource.iter_mut().flat_map(|resource| &mut resource.attributes));
                for scope in &mut entry.scope_logs {
                    of_attributes(scope.scope.iter_mut().flat_map(|scope| &mut scope.attributes));
                    for record in &mut scope.log_records {
                        record.body.iter_mut().for_each(of_value);
                        of_attributes(&mut record.attributes);
                    }
                }
            }
        }
        Decoded::Traces(request) => {
            for entry in &mut request.resource_spans {
                of_attributes(entry.resource.iter_mut().flat_map(|resource| &mut resource.attributes));
                for scope in &mut entry.scope_spans {
                    of_attributes(scope.scope.iter_mut().flat_map(|scope| &mut scope.attributes));
                    for span in &mut scope.spans {
                        of_attributes(&mut span.attributes);
                        of_attributes(span.events.iter_mut().flat_map(|event| &mut event.attributes));
                        of_attributes(span.links.iter_mut().flat_map(|link| &mut link.attributes));
                    }
                }
            }
        }
        Decoded::Metrics(request) => {
            for entry in &mut request.resource_metrics {
                of_attributes(entry.resource.iter_mut().flat_map(|resource| &mut resource.attributes));
                for scope in &mut entry.scope_metrics {
                    of_attributes(scope.scope.iter_mut().flat_map(|scope| &mut scope.attributes));
                    for metric in &mut scope.metrics {
                        of_attributes(&mut metric.metadata);
                        metric.data.iter_mut().for_each(of_data);
                    }
                }
            }
        }
    }
}

fn of_data(data: &mut Data) {
    let numbers = |points: &mut Vec<opentelemetry_proto::tonic::metrics::v1::NumberDataPoint>| {
        for point in points {
            if let Some(number_data_point::Value::AsDouble(value)) = &mut point.value {
                of_double(value);
            }
            of_attributes(&mut point.attributes);
            of_exemplars(&mut point.exemplars);
        }
    };
    match data {
        Data::Gauge(gauge) => numbers(&mut gauge.data_points),
        Data::Sum(sum) => numbers(&mut sum.data_points),
        Data::Histogram(histogram) => {
            for point in &mut histogram.data_points {
                [&mut point.sum, &mut point.min, &mut point.max].into_iter().flatten().for_each(of_double);
                point.explicit_bounds.iter_mut().for_each(of_double);
                of_attributes(&mut point.attributes);
                of_exemplars(&mut point.exemplars);
            }
        }
        Data::ExponentialHistogram(histogram) => {
            for point in &mut histogram.data_points {
                [&mut point.sum, &mut point.min, &mut point.max].into_iter().flatten().for_each(of_double);
                of_double(&mut point.zero_threshold);
                of_attributes(&mut point.attributes);
                of_exemplars(&mut point.exemplars);
            }
        }
        Data::Summary(summary) => {
            for point in &mut summary.data_points {
                of_double(&mut point.sum);
                // NaN has many forms in binary and one in JSON.
                for quantile in &mut point.quantile_values {
                    [&mut quantile.quantile, &mut quantile.value]
                        .into_iter()
                        .filter(|value| value.is_nan())
                        .for_each(|value| *value = f64::NAN);
                }
                of_attributes(&mut point.attributes);
            }
        }
    }
}

fn of_exemplars(exemplars: &mut [Exemplar]) {
    for exemplar in exemplars {
        if let Some(exemplar::Value::AsDouble(value)) = &mut exemplar.value {
            of_double(value);
        }
        of_attributes(&mut exemplar.filtered_attributes);
    }
}

fn of_attributes<'a>(attributes: impl IntoIterator<Item = &'a mut KeyValue>) {
    attributes.into_iter().flat_map(|attribute| &mut attribute.value).for_each(of_value);
}

fn of_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Any::DoubleValue(value)) => of_double(value),
        Some(Any::ArrayValue(array)) => array.values.iter_mut().for_each(of_value),
        Some(Any::KvlistValue(list)) => of_attributes(&mut list.values),
        _ => {}
    }
}

fn of_double(value: &mut f64) {
    if !value.is_finite() {
        *value = 0.0;
    }
}
