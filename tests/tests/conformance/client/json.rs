//! OTLP/JSON as the sink writes it.

use serde_json::Value;

use super::QUICKLY;
use crate::golden::documents;
use crate::harness::{Bench, Data, Export, Signal, Transport};

/// Ids are hexadecimal, enumerations numbers, 64-bit integers texts, names lowerCamelCase, and there is no empty envelope.
#[tokio::test]
async fn k18_json() {
    let bench = Bench::sending(Transport::Json, &format!("acknowledge = \"delivered\"\n{QUICKLY}")).await;
    for signal in Signal::ALL {
        for document in documents::all(signal) {
            // An envelope without records before the ones that have some.
            let body = [Data::of(signal, 0).encode(), document.encode()].concat();
            Export::raw(Transport::Grpc, signal, body).send(&bench.engine).await.took_all();
            let received = bench.backend.received().pop().unwrap();
            received.data.assert_same(&document);
            let json: Value = serde_json::from_slice(&received.body).unwrap();
            let entries = json.as_object().unwrap().values().next().unwrap().as_array().unwrap();
            let scopes = ["scopeLogs", "scopeMetrics", "scopeSpans"];
            assert!(entries.iter().all(|entry| scopes.iter().any(|name| entry.get(name).is_some())), "{json}");
            check(&json);
        }
    }
}

/// Checks every member of every object.
fn check(value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(check),
        Value::Object(members) => {
            for (key, member) in members {
                assert!(key.starts_with(|first: char| first.is_ascii_lowercase()) && !key.contains('_'), "{key}");
                match key.as_str() {
                    "traceId" | "spanId" | "parentSpanId" => {
                        let id = member.as_str().unwrap();
                        assert!(id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{id}");
                        assert_eq!(id.len(), if key == "traceId" { 32 } else { 16 });
                    }
                    "kind" | "code" | "severityNumber" | "aggregationTemporality" | "flags" | "scale" | "offset" => {
                        assert!(member.is_i64(), "{key}: {member}");
                    }
                    "timeUnixNano"
                    | "observedTimeUnixNano"
                    | "startTimeUnixNano"
                    | "endTimeUnixNano"
                    | "asInt"
                    | "intValue"
                    | "count"
                    | "zeroCount" => assert!(member.is_string(), "{key}: {member}"),
                    "bucketCounts" => assert!(member.as_array().unwrap().iter().all(Value::is_string), "{member}"),
                    _ => check(member),
                }
            }
        }
        _ => {}
    }
}
