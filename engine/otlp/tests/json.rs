//! OTLP/JSON at its edges: every form in which a value may stand, and everything that is refused, with the place. That
//! whole requests are read and written as they should be is shown in `properties.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use otlp::json::{Conversion, JsonError, Malformed, from_json, to_json};
use otlp::{Decoded, Signal, Wire};

/// A request with one record of these members: a log record, a span, or a metric.
fn text(signal: Signal, members: &str) -> String {
    match signal {
        Signal::Logs => format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{members}}}]}}]}}]}}"#),
        Signal::Traces => format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{members}}}]}}]}}]}}"#),
        Signal::Metrics => format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{{members}}}]}}]}}]}}"#),
    }
}

fn read(signal: Signal, members: &str) -> Result<Wire, JsonError> {
    from_json(signal, text(signal, members).as_bytes())
}

fn log(members: &str) -> LogRecord {
    let Decoded::Logs(mut request) = read(Signal::Logs, members).unwrap().decode() else { panic!("they are logs") };
    request.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0)
}

fn data(members: &str) -> Data {
    let Decoded::Metrics(mut request) = read(Signal::Metrics, members).unwrap().decode() else { panic!("metrics") };
    request.resource_metrics.remove(0).scope_metrics.remove(0).metrics.remove(0).data.unwrap()
}

fn malformed(signal: Signal, text: &str) -> Malformed {
    match from_json(signal, text.as_bytes()) {
        Err(JsonError::Malformed(malformed)) => *malformed,
        other => panic!("{text}: {other:?}"),
    }
}

/// Ids are hexadecimal of either case, wherever they stand, and may be empty; anything else is refused, never mangled.
#[test]
fn ids_are_hexadecimal() {
    let trace_id = "5b8efff798038103d269b633813fc60c";
    let trace_bytes = &[0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c];
    let places: [(Signal, &str); 7] = [
        (Signal::Logs, r#""traceId":"ID""#),
        (Signal::Logs, r#""spanId":"ID""#),
        (Signal::Traces, r#""traceId":"ID""#),
        (Signal::Traces, r#""parentSpanId":"ID""#),
        (Signal::Traces, r#""links":[{"traceId":"ID"}]"#),
        (Signal::Traces, r#""links":[{},{"spanId":"ID"}]"#),
        (Signal::Metrics, r#""gauge":{"dataPoints":[{"exemplars":[{"spanId":"ID"}]}]}"#),
    ];
    for (signal, place) in places {
        // A record with an id of a wrong length is left out.
        let len = if place.contains("traceId") { 16 } else { 8 };
        let (id, bytes) = (&trace_id[..2 * len], &trace_bytes[..len]);
        for form in [id.to_owned(), id.to_ascii_uppercase(), "5B8effF798038103d269b633813fc60C"[..2 * len].to_owned()] {
            let body = read(signal, &place.replace("ID", &form)).unwrap().rope().into_bytes();
            assert!(body.windows(bytes.len()).any(|window| window == bytes), "{place} {form}");
        }
        assert!(read(signal, &place.replace("ID", "")).is_ok());
        for wrong in ["W47/95gDgQPSabYzgT/GDA==", &id[1..], "0x5b8e", "5b8g", "5b 8e", "-5b8", "5b8e\\n0"] {
            let error = read(signal, &place.replace("ID", wrong)).unwrap_err().to_string();
            assert!(error.contains("expected a string in hexadecimal, found `\""), "{error}");
        }
        assert!(read(signal, &place.replace("\"ID\"", "7")).is_err());
    }
}

/// Enumerations are numbers, known or not. Names are refused, as the specification forbids to send them.
#[test]
fn enumerations_are_numbers() {
    for number in [0, 9, 99, -1, i32::MAX, i32::MIN] {
        assert_eq!(log(&format!("\"severityNumber\":{number}")).severity_number, number);
    }
    for (signal, wrong) in [
        (Signal::Logs, r#""severityNumber":"SEVERITY_NUMBER_INFO""#),
        (Signal::Traces, r#""kind":"SPAN_KIND_SERVER""#),
        (Signal::Traces, r#""status":{"code":"STATUS_CODE_OK"}"#),
        (Signal::Metrics, r#""sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}"#),
        (Signal::Logs, r#""severityNumber":2147483648"#),
        (Signal::Logs, r#""severityNumber":true"#),
    ] {
        assert!(read(signal, wrong).is_err(), "{wrong}");
    }
}

/// 64-bit integers are exact as numbers and as strings, to their bounds and not beyond.
#[test]
fn wide_integers_have_two_forms() {
    let point = |member: &str| {
        let text = format!(r#""sum":{{"dataPoints":[{{{member}}}]}}"#);
        let Data::Sum(mut sum) = data(&text) else { panic!("a sum") };
        sum.data_points.remove(0)
    };
    for number in [i64::MIN, -1, 0, 1, 99_999_999, 100_000_000, 12_345_678_901_234_567, i64::MAX] {
        for form in [format!("{number}"), format!("\"{number}\"")] {
            let expected = Some(number_data_point::Value::AsInt(number));
            assert_eq!(point(&format!("\"asInt\":{form}")).value, expected, "{form}");
            let body = log(&format!(r#""body":{{"intValue":{form}}}"#)).body.unwrap().value;
            assert_eq!(body, Some(Value::IntValue(number)), "{form}");
        }
    }
    for number in [0, 1_700_000_000_000_000_000, u64::MAX] {
        for form in [format!("{number}"), format!("\"{number}\"")] {
            assert_eq!(point(&format!("\"timeUnixNano\":{form}")).time_unix_nano, number);
            let histogram =
                format!(r#""histogram":{{"dataPoints":[{{"count":{form},"bucketCounts":[{form},0,"1"]}}]}}"#);
            let Data::Histogram(found) = data(&histogram) else { panic!("a histogram") };
            assert_eq!(
                (found.data_points[0].count, &found.data_points[0].bucket_counts[..]),
                (number, &[number, 0, 1][..])
            );
            let buckets = format!(
                r#""exponentialHistogram":{{"dataPoints":[{{"zeroCount":{form},"scale":-3,"positive":{{"offset":-2,"bucketCounts":[{form}]}}}}]}}"#
            );
            let Data::ExponentialHistogram(found) = data(&buckets) else { panic!("an exponential histogram") };
            let point = &found.data_points[0];
            assert_eq!((point.zero_count, point.scale), (number, -3));
            let positive = point.positive.as_ref().unwrap();
            assert_eq!((positive.offset, &positive.bucket_counts[..]), (-2, &[number][..]));
        }
    }
    assert_eq!(log("\"timeUnixNano\":-0").time_unix_nano, 0);
    assert_eq!(log("\"timeUnixNano\":\"\\u0031\\u0032\"").time_unix_nano, 12);
    assert_eq!(log("\"timeUnixNano\":1.5e1").time_unix_nano, 15);
    for wrong in [
        "18446744073709551616",
        "-1",
        "\"-1\"",
        "1.5",
        "\"\"",
        "\" 1\"",
        "\"1 \"",
        "\"0x1\"",
        "1e400",
        "\"NaN\"",
        "[1]",
        "{}",
        "true",
    ] {
        assert!(read(Signal::Logs, &format!("\"timeUnixNano\":{wrong}")).is_err(), "{wrong}");
    }
}

/// Whole numbers of JavaScript that no integer has are doubles; whoever writes them otherwise is told.
#[test]
fn whole_numbers_beyond_integers_are_doubles() {
    let value = |form: &str| read(Signal::Logs, &format!(r#""body":{{"intValue":{form}}}"#)).map(|_| ());
    for (form, expected) in [("1e300", 1e300), ("-1e+21", -1e21), ("1.5e+25", 1.5e25)] {
        let body = log(&format!(r#""body":{{"intValue":{form}}}"#)).body.unwrap().value;
        assert_eq!(body, Some(Value::DoubleValue(expected)), "{form}");
        let nested = log(&format!(r#""attributes":[{{"key":"a","value":{{"intValue":{form}}}}}]"#));
        assert_eq!(nested.attributes[0].value.clone().unwrap().value, Some(Value::DoubleValue(expected)), "{form}");
    }
    assert_eq!(log(r#""body":{"intValue":1e3}"#).body.unwrap().value, Some(Value::IntValue(1000)));
    for wrong in [
        "1.5",
        "1e18",
        "9007199254740993.0",
        "10000000000000000000",
        "1e999",
        "\"1e300\"",
        "\"9223372036854775808\"",
        "1e-1",
    ] {
        assert!(
            value(wrong).unwrap_err().to_string().contains("body.intValue: expected an integer of 64 bits"),
            "{wrong}"
        );
    }
}

/// Doubles are exact, signed zero included, and have names for what is no number.
#[test]
fn doubles_have_names_for_what_is_no_number() {
    let value = |form: &str| {
        let body = log(&format!(r#""body":{{"doubleValue":{form}}}"#)).body.unwrap().value;
        let Some(Value::DoubleValue(value)) = body else { panic!("{form}: {body:?}") };
        value
    };
    for number in
        [0.0, -0.0, 0.1, 1e308, -1.5e-300, f64::MIN_POSITIVE, 5e-324, f64::MAX, 9_007_199_254_740_993.0, 123456.789]
    {
        for form in [format!("{number:?}"), format!("{number:e}"), format!("{number}"), format!("\"{number:?}\"")] {
            assert_eq!(value(&form).to_bits(), f64::to_bits(number), "{form}");
        }
    }
    assert_eq!(value("7"), 7.0);
    assert_eq!(value("18446744073709551616"), 18_446_744_073_709_551_616.0);
    assert!(value("\"NaN\"").is_nan());
    assert_eq!((value("\"Infinity\""), value("\"-Infinity\"")), (f64::INFINITY, f64::NEG_INFINITY));
    for name in ["NaN", "Infinity", "-Infinity"] {
        let wire = read(Signal::Logs, &format!(r#""body":{{"doubleValue":"{name}"}}"#)).unwrap();
        assert!(to_json(&wire).contains(&format!("\"{name}\"")));
        assert!(read(Signal::Logs, &format!(r#""body":{{"doubleValue":{name}}}"#)).is_err());
    }
    for wrong in [
        "1e309",
        "\"1e309\"",
        "\"nan\"",
        "\"inf\"",
        "\"infinity\"",
        "\"1,5\"",
        "true",
        "\"\"",
        ".5",
        "1.",
        "+1",
        "01",
        "1e",
    ] {
        assert!(read(Signal::Logs, &format!(r#""body":{{"doubleValue":{wrong}}}"#)).is_err(), "{wrong}");
    }
}

/// Bytes are base64 of either alphabet, padded or not.
#[test]
fn bytes_are_base64() {
    for form in ["+/+/8A==", "+/+/8A", "-_-_8A==", "-_-_8A", "+_-/8A"] {
        let body = log(&format!(r#""body":{{"bytesValue":"{form}"}}"#)).body.unwrap().value;
        assert_eq!(body, Some(Value::BytesValue(vec![0xfb, 0xff, 0xbf, 0xf0])), "{form}");
    }
    for wrong in ["\"+/+/8\"", "\"8A=\"", "\"8===\"", "\"8 A\"", "[1]", "7"] {
        assert!(read(Signal::Logs, &format!(r#""body":{{"bytesValue":{wrong}}}"#)).is_err(), "{wrong}");
    }
}

/// Null means unset for every field of every message, and is no element of a list.
#[test]
fn null_is_unset() {
    let all = [
        (
            Signal::Logs,
            "timeUnixNano severityNumber severityText body attributes droppedAttributesCount flags traceId spanId observedTimeUnixNano eventName",
        ),
        (
            Signal::Traces,
            "traceId spanId traceState parentSpanId name kind startTimeUnixNano endTimeUnixNano attributes droppedAttributesCount events droppedEventsCount links droppedLinksCount status flags",
        ),
        (Signal::Metrics, "name description unit gauge sum histogram exponentialHistogram summary metadata"),
    ];
    for (signal, names) in all {
        let nulls: Vec<String> = names.split(' ').map(|name| format!("\"{name}\" : null")).collect();
        assert_eq!(read(signal, &nulls.join(",")).unwrap().decode(), read(signal, "").unwrap().decode());
    }
    let points = "startTimeUnixNano timeUnixNano asDouble exemplars asInt attributes flags count sum bucketCounts explicitBounds min max scale zeroCount positive negative zeroThreshold quantileValues";
    let nulls: Vec<String> = points.split(' ').map(|name| format!("\"{name}\":null")).collect();
    for kind in ["gauge", "sum", "histogram", "exponentialHistogram", "summary"] {
        let nothing = read(Signal::Metrics, &format!(r#""{kind}":{{"dataPoints":[{{}}]}}"#)).unwrap();
        let null = read(Signal::Metrics, &format!(r#""{kind}":{{"dataPoints":[{{{}}}]}}"#, nulls.join(","))).unwrap();
        assert_eq!(null.decode(), nothing.decode());
        assert_eq!(null.records(), 1);
    }
    let envelope = r#"{"resourceLogs":[{"resource":null,"schemaUrl":null,"scopeLogs":[{"scope":null,"schemaUrl":null,"logRecords":[{}]}]},{"scopeLogs":null}]}"#;
    assert_eq!(from_json(Signal::Logs, envelope.as_bytes()).unwrap().rope(), read(Signal::Logs, "").unwrap().rope());
    assert!(from_json(Signal::Logs, br#"{"resourceLogs":null}"#).unwrap().is_empty());
    let values = r#""body":{"stringValue":null,"boolValue":null,"intValue":null,"doubleValue":null,"arrayValue":null,"kvlistValue":null,"bytesValue":null}"#;
    assert_eq!(log(values).body.unwrap().value, None);
    assert_eq!(log(r#""body":{"stringValue":null,"intValue":3}"#).body.unwrap().value, Some(Value::IntValue(3)));
    for wrong in
        [r#""attributes":[null]"#, r#""body":{"arrayValue":{"values":[null]}}"#, r#""body":nul"#, r#""body":nulll"#]
    {
        assert!(read(Signal::Logs, wrong).is_err(), "{wrong}");
    }
}

/// Unknown keys are ignored at every level with whatever they hold, however deep that is; but it must be JSON.
#[test]
fn unknown_keys_are_ignored() {
    let junk = r#""x":[1,-2.5e+7,1e999,{"":[],"y":{"z":[null,true,false,"\"\\]}\ud83d\ude00"]}},[[[]]],{}],"#;
    let with = |junk: &str| {
        format!(
            r#"{{{junk}"resourceSpans":[{{{junk}"resource":{{{junk}"attributes":[{{{junk}"key":"k","value":{{{junk}"arrayValue":{{{junk}"values":[{{{junk}"intValue":1}}]}}}}}}],"entityRefs":[{{{junk}"type":"t","idKeys":["k"]}}]}},"scopeSpans":[{{{junk}"scope":{{{junk}"name":"n"}},"spans":[{{{junk}"name":"s","events":[{{{junk}"name":"e"}}],"links":[{{{junk}"flags":1}}],"status":{{{junk}"code":2}}}}]}}]}}]}}"#
        )
    };
    let plain = from_json(Signal::Traces, with("").as_bytes()).unwrap();
    assert_eq!(from_json(Signal::Traces, with(junk).as_bytes()).unwrap().rope(), plain.rope());
    let points = |junk: &str| {
        format!(
            r#""exponentialHistogram":{{{junk}"dataPoints":[{{{junk}"positive":{{{junk}"offset":1}},"exemplars":[{{{junk}"asInt":"1"}}]}}]}}"#
        )
    };
    let plain = read(Signal::Metrics, &points("")).unwrap();
    assert_eq!(read(Signal::Metrics, &points(junk)).unwrap().rope(), plain.rope());
    for levels in [63, 64, 65, 128, 1000, 100_000] {
        let (open, close) = ("[{\"a\":".repeat(levels), "}]".repeat(levels));
        assert!(read(Signal::Logs, &format!("\"x\":{open}1{close}")).is_ok());
        assert!(read(Signal::Logs, &format!("\"x\":{open}1{}", close.replacen('}', "]", 1))).is_err());
        assert!(read(Signal::Logs, &format!("\"x\":{open}")).is_err());
    }
    for wrong in [
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "{1:1}",
        "tru",
        "01",
        "\"\\x\"",
        "\"\t\"",
        "]",
        "",
        "'a'",
        "[}",
        "{]",
    ] {
        assert!(read(Signal::Logs, &format!("\"x\":{wrong}")).is_err(), "{wrong}");
    }
    let not_utf8 = [br#"{"x":""#, &b"\xff"[..], br#""}"#].concat();
    assert!(from_json(Signal::Logs, &not_utf8).is_err());
}

/// Keys may be written with escapes, and mean the same; a key that only begins like a name is another key.
#[test]
fn keys_are_compared_whole() {
    assert_eq!(log(r#""severity\u0054ext":"a""#).severity_text, "a");
    for other in [
        "severityTex",
        "severityTexts",
        "severitytext",
        "severity_text",
        "severityText\\u0000",
        "",
        "SeverityText",
        "droppedAttributesCountAndMore",
    ] {
        assert_eq!(log(&format!(r#""{other}":"a""#)), LogRecord::default(), "{other}");
    }
    assert!(read(Signal::Logs, r#""severityText":"a","severity\u0054ext":"a""#).is_err());
    assert!(read(Signal::Logs, r#""severityText":null,"severityText":"a""#).is_err());
}

/// The text must be one JSON value, to the last byte: nothing may be missing, nothing may follow.
#[test]
fn every_part_of_a_text_is_refused() {
    let whole = text(
        Signal::Logs,
        r#""timeUnixNano":"1","body":{"arrayValue":{"values":[{"stringValue":"\n"},{"doubleValue":-1.5e3}]}},"x":[{}],"traceId":"00aa""#,
    );
    from_json(Signal::Logs, whole.as_bytes()).unwrap();
    for end in 0..whole.len() {
        assert!(from_json(Signal::Logs, &whole.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    for behind in ["x", "}", "{}", ",", "\0", "\u{feff}"] {
        assert!(from_json(Signal::Logs, format!("{whole}{behind}").as_bytes()).is_err(), "{behind:?}");
    }
    assert!(from_json(Signal::Logs, format!(" \t\r\n{whole}\n\n").as_bytes()).is_ok());
    for none in [
        "",
        " ",
        "null",
        "[]",
        "\"{}\"",
        "\u{feff}{}",
        "{,}",
        "{\"a\":1,}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "nul",
        "/**/{}",
    ] {
        assert!(from_json(Signal::Logs, none.as_bytes()).is_err(), "{none:?}");
    }
    for character in 0..0x20_u8 {
        let raw = text(Signal::Logs, &format!("\"severityText\":\"a{}b\"", char::from(character)));
        assert!(from_json(Signal::Logs, raw.as_bytes()).is_err());
        assert_eq!(log(&format!("\"severityText\":\"a\\u00{character:02x}b\"")).severity_text.as_bytes()[1], character);
    }
}

/// An error names the field, what was expected, what is there, and the line and column.
#[test]
fn errors_name_the_place() {
    let two = format!(
        "{{\"resourceLogs\":[{{}},\n  {{\"scopeLogs\":[{{\"logRecords\":[{{}},{{}},{}]}}]}}]}}",
        r#"{"severityNumber":"INFO"}"#
    );
    let found = malformed(Signal::Logs, &two);
    assert_eq!(found.path, "resourceLogs[1].scopeLogs[0].logRecords[2].severityNumber");
    assert_eq!(found.problem, "expected an integer of 32 bits, found `\"INFO\"`");
    assert_eq!((found.line, found.column), (2, 56));
    assert_eq!(&two[found.offset..found.offset + 6], "\"INFO\"");
    assert_eq!(
        from_json(Signal::Logs, two.as_bytes()).unwrap_err().to_string(),
        "invalid OTLP/JSON: resourceLogs[1].scopeLogs[0].logRecords[2].severityNumber: expected an integer of 32 bits, \
         found `\"INFO\"` (line 2, column 56)"
    );
    let record = "resourceLogs[0].scopeLogs[0].logRecords[0]";
    for (members, path, problem) in [
        (
            r#""attributes":[{},{"value":{"arrayValue":{"values":[{},{"boolValue":1}]}}}]"#,
            ".attributes[1].value.arrayValue.values[1].boolValue",
            "expected a boolean, found `1`",
        ),
        (
            r#""attributes":[{"key":"a","value":{"intValue":1.5}}]"#,
            ".attributes[0].value.intValue",
            "expected an integer of 64 bits, found `1.5`",
        ),
        (r#""body":{"intValue":"1","intValue":"1"}"#, ".body.intValue", "the key occurs twice"),
        (r#""body":{"intValue":"1","boolValue":true}"#, ".body.boolValue", "another member of its oneof is set too"),
        (r#""body":"text""#, ".body", "expected an object, found `\"text\"`"),
        (r#""attributes":{}"#, ".attributes", "expected a list, found an object"),
        (r#""attributes":[[]]"#, ".attributes[0]", "expected an object, found a list"),
        (r#""severityText":"a\qb""#, ".severityText", "invalid escape `\\\\qb`"),
        ("\"severityText\":\"a\nb\"", ".severityText", "a control character in a string is not escaped"),
        (r#""severityText":"a" "flags":1"#, "", "expected `,` or `}`, found `\"flags\"`"),
        (r#""flags":4294967296"#, ".flags", "expected an unsigned integer of 32 bits, found `4294967296`"),
    ] {
        let found = malformed(Signal::Logs, &text(Signal::Logs, members));
        assert_eq!((found.path, found.problem), (format!("{record}{path}"), problem.to_owned()), "{members}");
    }
    let found = malformed(Signal::Logs, r#"{"resourceLogs":["#);
    assert_eq!(
        (found.path, found.problem),
        ("resourceLogs[0]".into(), "expected an object, found the end of the text".into())
    );
    let found = malformed(Signal::Logs, "{} {");
    assert_eq!((found.path, found.problem), (String::new(), "expected the end of the text, found an object".into()));
    let long = malformed(Signal::Logs, &text(Signal::Logs, &format!("\"flags\":\"{}\"", "x".repeat(1_000_000))));
    assert!(long.problem.len() < 120, "{}", long.problem);
    let not_utf8 = [br#"{"resourceLogs":[{"schemaUrl":"a"#, &b"\xc3\x28"[..], br#""}]}"#].concat();
    let Err(JsonError::Malformed(found)) = from_json(Signal::Logs, &not_utf8) else { panic!("not UTF-8") };
    assert_eq!((found.path.as_str(), found.offset), ("resourceLogs[0].schemaUrl", 32));
}

/// As many levels are read as protobuf decodes. More are refused with their place, whatever is behind them.
#[test]
fn levels_are_limited() {
    let nested = |levels: usize, inner: &str| {
        text(
            Signal::Logs,
            &format!("\"body\":{}{inner}{}", "{\"arrayValue\":{\"values\":[".repeat(levels), "]}}".repeat(levels)),
        )
    };
    // Below the request stand four messages before the first list, and two levels for each.
    for inner in ["", "{}"] {
        assert!(from_json(Signal::Logs, nested(48, inner).as_bytes()).is_ok(), "{inner}");
    }
    assert_eq!(malformed(Signal::Logs, &nested(48, "{\"arrayValue\":{}}")).problem, "values are nested too deeply");
    assert_eq!(malformed(Signal::Logs, &nested(48, "{\"kvlistValue\":{}}")).problem, "values are nested too deeply");
    assert_eq!(malformed(Signal::Logs, &nested(49, "")).problem, "values are nested too deeply");
    assert_eq!(malformed(Signal::Logs, &nested(1_000_000, "")).problem, "values are nested too deeply");
    // The shortcut for attributes and plain values knows the limit too.
    for levels in 40..50 {
        for inner in [r#"{"stringValue":"a"}"#, r#"{ "stringValue":"a"}"#] {
            assert_eq!(from_json(Signal::Logs, nested(levels, inner).as_bytes()).is_ok(), levels <= 48, "{levels}");
        }
    }
}

/// In steps the outcome is the same; a step reads about what it was told, also within a text, a list of numbers, or
/// what is ignored; and a limit on the output is kept.
#[test]
fn conversions_go_in_steps() {
    let million = 1_000_000;
    let large = [
        format!("\"severityText\":\"{}\"", "\\n".repeat(million)),
        format!("\"x\":[{}1]", "1,".repeat(million)),
        format!("\"x\":\"{}\"", "\\n".repeat(million)),
        format!("\"x\":{{\"{}\":[\"{}\"]}}", "\\n".repeat(million), "\\n".repeat(million)),
        format!("\"{}\":{{}},\"{}\":1", "\\n".repeat(million), "long".repeat(20)),
        format!("\"severityText\":\"{}\"", "\u{e4}\u{1f600}".repeat(million / 4)),
        format!("\"body\":{{\"stringValue\":\"{}\"}}", "x".repeat(million)),
        format!("\"body\":{{\"bytesValue\":\"{}\"}}", "AAEC".repeat(million / 4)),
        format!("\"body\":{{\"bytesValue\":\"{}A=\"}}", r"\u0041\u0041B".repeat(million / 8 / 4 * 4 + 2)),
        format!("\"body\":{{\"bytesValue\":\"{}\"}}", r"\/-_+".repeat(million / 4)),
        format!("\"attributes\":[{}{{}}]", r#"{"key":"a","value":{"stringValue":"b"}},"#.repeat(100_000)),
    ];
    for members in large {
        let text = Bytes::from(text(Signal::Logs, &members));
        let mut conversion = Conversion::new(Signal::Logs, text.clone(), usize::MAX);
        let mut steps = 1;
        let converted = loop {
            match conversion.step(10_000).unwrap() {
                Some(converted) => break converted,
                None => steps += 1,
            }
            assert!(conversion.held_bytes() <= 2 * text.len());
        };
        assert!(steps >= text.len() / 20_000 && steps <= text.len() / 10_000 + 2, "{steps} steps for {}", text.len());
        let wire = from_json(Signal::Logs, &text).unwrap();
        assert_eq!(otlp::admit(Signal::Logs, converted.body).unwrap().rope(), wire.rope());
    }
    let zeros = |kind: &str, list: &str| {
        text(Signal::Metrics, &format!(r#""{kind}":{{"dataPoints":[{{"{list}":[{}0]}}]}}"#, "0,".repeat(million)))
    };
    let text = zeros("histogram", "explicitBounds");
    let mut conversion = Conversion::new(Signal::Metrics, text.clone().into(), usize::MAX);
    assert_eq!(conversion.step(usize::MAX).unwrap().unwrap().body.len(), 8 * (million + 1) + 30);
    for limit in [0, 100, million, 8 * million] {
        let mut conversion = Conversion::new(Signal::Metrics, text.clone().into(), limit);
        assert_eq!(conversion.step(usize::MAX).unwrap_err(), JsonError::TooLarge(limit));
        assert!(conversion.held_bytes() <= 2 * limit + 64, "{} for {limit}", conversion.held_bytes());
    }
}

/// Long strings, which are read in pieces, say what short ones say, wherever a piece ends: in a character, an escape or a
/// group of base64.
#[test]
fn long_strings_are_whole() {
    for len in (49_140..49_156).chain([0, 1, 65_534, 65_535, 65_536, 65_537, 200_000]) {
        let bytes: Vec<u8> = (0..len).map(|index| (index * index / 7) as u8).collect();
        let texts = [("a", 1), ("\u{e4}", 2), ("\u{20ac}", 3), ("\u{1f600}", 4)]
            .map(|(first, width)| format!("{}{}", "x".repeat(len % width), first.repeat(len / width)));
        for text in texts {
            for tail in ["", "\n"] {
                let written = text.clone() + tail;
                let member = format!(r#""body":{{"stringValue":{}}}"#, serde_json::to_string(&written).unwrap());
                assert_eq!(log(&member).body.unwrap().value, Some(Value::StringValue(written)));
            }
        }
        let encoded = log_with_bytes(&bytes);
        for member in [encoded.clone(), encoded.replace('A', r"\u0041")] {
            assert_eq!(log(&member).body.unwrap().value, Some(Value::BytesValue(bytes.clone())), "{len}");
        }
    }
    for wrong in ["AA=A", "AAAA*", "AA==", "A"] {
        let member = format!(r#""body":{{"bytesValue":"{}{wrong}AAAA"}}"#, "AAAA".repeat(50_000));
        let error = read(Signal::Logs, &member).unwrap_err().to_string();
        assert!(error.contains("expected a string in base64"), "{wrong}: {error}");
        for step in [1, 3, 10_000] {
            let mut conversion = Conversion::new(Signal::Logs, text(Signal::Logs, &member).into(), usize::MAX);
            let refused = std::iter::repeat_with(|| conversion.step(step)).find_map(Result::err).unwrap();
            assert_eq!(refused.to_string(), error);
        }
    }
}

/// The body of a record as the writer writes bytes.
fn log_with_bytes(bytes: &[u8]) -> String {
    use prost::Message as _;
    let body = opentelemetry_proto::tonic::common::v1::AnyValue { value: Some(Value::BytesValue(bytes.to_vec())) };
    let mut request = log_request();
    request.resource_logs[0].scope_logs[0].log_records[0].body = Some(body);
    let text = to_json(&otlp::admit(Signal::Logs, request.encode_to_vec().into()).unwrap());
    let from = text.find("\"body\"").unwrap();
    text[from..text.rfind("}]}]}]}").unwrap()].to_owned()
}

fn log_request() -> opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest {
    let Decoded::Logs(request) = read(Signal::Logs, "").unwrap().decode() else { panic!("they are logs") };
    request
}

/// A number is as long as numbers are: more digits than any double needs are refused before they are worked on.
#[test]
fn numbers_have_an_end() {
    let of = |digits: usize, quote: &str| format!(r#""timeUnixNano":{quote}{}1{quote}"#, "0".repeat(digits));
    let decimal = |digits: usize| {
        let text =
            text(Signal::Metrics, &format!(r#""gauge":{{"dataPoints":[{{"asDouble":0.{}1}}]}}"#, "0".repeat(digits)));
        from_json(Signal::Metrics, text.as_bytes())
    };
    decimal(4093).unwrap();
    let told = "a number of more than 4096 characters";
    assert!(decimal(4094).unwrap_err().to_string().contains(told));
    for quote in ["", "\""] {
        let digits = of(5_000, quote).replace('0', "1");
        let error = read(Signal::Logs, &digits).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let escaped = format!(r#""timeUnixNano":"{}""#, r"\u0031".repeat(5_000));
    assert!(read(Signal::Logs, &escaped).unwrap_err().to_string().contains(told));
}
