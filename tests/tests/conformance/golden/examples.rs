//! OTLP/JSON as it is written by hand: an example for each signal and for events.

use crate::harness::Signal;

pub(super) const ALL: [(Signal, &str); 4] =
    [(Signal::Traces, TRACES), (Signal::Metrics, METRICS), (Signal::Logs, LOGS), (Signal::Logs, EVENTS)];

const TRACES: &str = r#"{
  "resourceSpans": [{
    "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "checkout" } }] },
    "scopeSpans": [{
      "scope": {
        "name": "http", "version": "2.1.0",
        "attributes": [{ "key": "scope.owner", "value": { "stringValue": "team-a" } }]
      },
      "spans": [{
        "traceId": "0AF7651916CD43DD8448EB211C80319C", "spanId": "B7AD6B7169203331",
        "parentSpanId": "00F067AA0BA902B7", "name": "GET /cart", "kind": 2,
        "startTimeUnixNano": 1767225600000000001, "endTimeUnixNano": "1767225600250000002",
        "attributes": [{ "key": "http.response.status_code", "value": { "intValue": 200 } }]
      }]
    }]
  }]
}"#;

const METRICS: &str = r#"{
  "resourceMetrics": [{
    "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "checkout" } }] },
    "scopeMetrics": [{
      "scope": { "name": "meters", "version": "1.0.0" },
      "metrics": [
        { "name": "orders", "unit": "1", "description": "Orders that were placed", "sum": {
          "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [{
            "asDouble": 5, "startTimeUnixNano": 1767225600000000000, "timeUnixNano": 1767225660000000000,
            "attributes": [{ "key": "currency", "value": { "stringValue": "EUR" } }]
          }]
        } },
        { "name": "queue", "unit": "1", "gauge": { "dataPoints": [
          { "asDouble": 10, "timeUnixNano": 1767225660000000000 }, { "asInt": "11", "timeUnixNano": "1767225660000000001" }
        ] } },
        { "name": "latency", "unit": "ms", "histogram": { "aggregationTemporality": 2, "dataPoints": [{
          "startTimeUnixNano": 1767225600000000000, "timeUnixNano": 1767225660000000000,
          "count": 3, "sum": 3, "min": 0.5, "max": 2, "bucketCounts": [1, "1", 1], "explicitBounds": [1, 1.5]
        }] } }
      ]
    }]
  }]
}"#;

const LOGS: &str = r#"{
  "resourceLogs": [{
    "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "checkout" } }] },
    "scopeLogs": [{
      "scope": { "name": "logger" },
      "logRecords": [{
        "timeUnixNano": 1767225600000000000, "observedTimeUnixNano": "1767225600000000005",
        "severityNumber": 9, "severityText": "Information",
        "traceId": "0AF7651916CD43DD8448EB211C80319C", "spanId": "b7ad6b7169203331",
        "body": { "stringValue": "the cart is \"full\"\nand heavy \u00e4\ud83d\ude00" },
        "attributes": [
          { "key": "text", "value": { "stringValue": "some" } },
          { "key": "boolean", "value": { "boolValue": true } },
          { "key": "integer", "value": { "intValue": 10 } },
          { "key": "double", "value": { "doubleValue": 637.704 } },
          { "key": "list", "value": { "arrayValue": { "values": [{ "stringValue": "many" }, { "intValue": "2" }] } } },
          { "key": "map", "value": { "kvlistValue": { "values": [{ "key": "k", "value": { "stringValue": "v" } }] } } }
        ]
      }]
    }]
  }]
}"#;

const EVENTS: &str = r#"{
  "resourceLogs": [{
    "scopeLogs": [{
      "logRecords": [{
        "timeUnixNano": "1767225600000000000", "eventName": "browser.page_view", "severityNumber": 9,
        "body": { "kvlistValue": { "values": [
          { "key": "type", "value": { "intValue": "0" } },
          { "key": "url", "value": { "stringValue": "https://shop.example/cart" } }
        ] } }
      }]
    }]
  }]
}"#;
