//! JSON bodies.

use serde_json::json;

use super::*;

fn record(line: &str) -> LogRecord {
    plain(&Case::of(json!("json")), &[line]).remove(0)
}

/// Members become attributes of the kinds that they are; nested ones too.
#[test]
fn members_become_attributes() {
    let line = r#"{"text":"a\nb","int":-5,"double":1.5,"yes":true,"nothing":null,"list":[1,"a",{"b":[]}],"map":{"a":{"b":2}}}"#;
    let record = record(line);
    assert_eq!(body(&record), Some(line), "without a message the line is the body");
    let found: serde_json::Map<_, _> =
        record.attributes.iter().map(|found| (found.key.clone(), check::json(found.value.as_ref().unwrap()))).collect();
    assert_eq!(serde_json::Value::from(found), serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(record.attributes[4].value.as_ref().unwrap().value, None);
}

/// The message is the body; of two, `msg`, and the other stays an attribute. It may be anything but null.
#[test]
fn messages() {
    for (line, expected, left) in [
        (r#"{"message":"m","a":1}"#, text("m"), vec!["a", "log.original"]),
        (r#"{"msg":"m","a":1}"#, text("m"), vec!["a", "log.original"]),
        (r#"{"message":"long","msg":"short"}"#, text("short"), vec!["message", "log.original"]),
        (r#"{"msg":"short","message":"long"}"#, text("short"), vec!["message", "log.original"]),
        (r#"{"msg":null,"message":"long"}"#, text("long"), vec!["msg", "log.original"]),
        (r#"{"msg":""}"#, text(""), vec!["log.original"]),
        (r#"{"msg":5}"#, Value::IntValue(5), vec!["log.original"]),
        (r#"{"msg":null}"#, text(r#"{"msg":null}"#), vec!["msg"]),
        (r#"{"msg":"first","msg":"last"}"#, text("last"), vec!["log.original"]),
    ] {
        let record = record(line);
        assert_eq!(record.body.as_ref().unwrap().value, Some(expected), "{line}");
        assert_eq!(keys(&record), left, "{line}");
        assert_eq!(original(&record), line);
    }
    let nested = record(r#"{"msg":{"a":[1]}}"#);
    assert_eq!(check::json(nested.body.as_ref().unwrap()), json!({ "a": [1] }));
}

/// Without the original there is no second copy, and no body where there is no message.
#[test]
fn without_the_original() {
    let case = Case { keep_original_body: false, ..Case::of(json!("json")) };
    let records = plain(&case, &[r#"{"msg":"m","a":1}"#, r#"{"a":1}"#, "{}"]);
    assert_eq!(body(&records[0]), Some("m"));
    assert!(records[1].body.is_none() && records[2].body.is_none());
    assert_eq!((keys(&records[0]), keys(&records[1]), keys(&records[2])), (vec!["a"], vec!["a"], vec![]));
}

/// A line that is no JSON object stays whole; one that does not look like it is nothing special in a container.
#[test]
fn malformed_lines_stay() {
    let lines = ["{oops}", r#"{"a":1"#, r#"{"a":1} tail"#, "{", "text", "[1]", "\"a\"", " {\"b\":1} "];
    let case = Case::of(json!("json"));
    let (records, counts) = read(&case, &bytes(&lines));
    assert_eq!(bodies(&records), lines);
    assert_eq!(counts, LineCounts { malformed_json: 7, ..LineCounts::default() });
    assert_eq!(keys(&records[7]), ["b"]);
    let framed: Vec<String> = lines.iter().map(|line| format!("2016-10-06T00:17:09Z stdout F {line}")).collect();
    let (records, counts) = read(&Case::container(), &framed.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(bodies(&records), lines);
    assert_eq!(counts.malformed_json, 4);
    // Not even without the original.
    let bare = Case { keep_original_body: false, ..case };
    assert_eq!(bodies(&read(&bare, &[b"{oops}"]).0), ["{oops}"]);
}

/// Levels by name and number; what is none stays an attribute.
#[test]
fn severities() {
    for (value, number, written) in [
        (json!("trace"), 1, "trace"),
        (json!("DEBUG"), 5, "DEBUG"),
        (json!("Info"), 9, "Info"),
        (json!("information"), 9, "information"),
        (json!("notice"), 10, "notice"),
        (json!("warn"), 13, "warn"),
        (json!("WARNING"), 13, "WARNING"),
        (json!("warn3"), 15, "warn3"),
        (json!("err"), 17, "err"),
        (json!("error"), 17, "error"),
        (json!("SEVERE"), 17, "SEVERE"),
        (json!("critical"), 21, "critical"),
        (json!("fatal"), 21, "fatal"),
        (json!("fatal4"), 24, "fatal4"),
        (json!("emergency"), 24, "emergency"),
        (json!(30), 9, "30"),
        (json!(50), 17, "50"),
        (json!(60), 21, "60"),
        (json!(17), 17, "17"),
        (json!("13"), 13, "13"),
    ] {
        let record = record(&json!({ "level": value, "msg": "m" }).to_string());
        assert_eq!((record.severity_number, record.severity_text.as_str()), (number, written), "{value}");
        assert_eq!(keys(&record), ["log.original"], "{value}");
    }
    for value in
        [json!("loud"), json!(""), json!(0), json!(25), json!(70), json!(-1), json!(1.5), json!(true), json!(null)]
    {
        let record = record(&json!({ "level": value, "msg": "m" }).to_string());
        assert_eq!((record.severity_number, record.severity_text.as_str()), (0, ""), "{value}");
        assert_eq!(keys(&record), ["level", "log.original"], "{value}");
    }
    // `log.level` wins, unless it says nothing; what is not used stays.
    for (line, number, left) in [
        (r#"{"level":"info","log.level":"error","msg":"m"}"#, 17, "level"),
        (r#"{"log.level":"error","level":"info","msg":"m"}"#, 17, "level"),
        (r#"{"log.level":"loud","level":"info","msg":"m"}"#, 9, "log.level"),
    ] {
        let record = record(line);
        assert_eq!((record.severity_number, keys(&record)), (number, vec![left, "log.original"]), "{line}");
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Ids of traces and spans, of either kind; what is none stays an attribute.
#[test]
fn trace_context() {
    let zeros = "0".repeat(32);
    let parent = format!("00-{TRACE}-{SPAN}-01");
    for (line, span, flags, left) in [
        (json!({ "trace_id": TRACE }), false, 0, vec![]),
        (json!({ "trace_id": TRACE.to_uppercase(), "span_id": SPAN, "trace_flags": "01" }), true, 1, vec![]),
        (json!({ "trace_id": TRACE, "span_id": "short", "trace_flags": 1 }), false, 1, vec!["span_id"]),
        (json!({ "trace_id": TRACE, "trace_flags": "x" }), false, 0, vec!["trace_flags"]),
        (json!({ "traceparent": parent }), true, 1, vec![]),
        (json!({ "traceparent": parent.replace("00-4", "cc-4") + "-more" }), true, 1, vec![]),
        (json!({ "trace_id": zeros, "traceparent": parent }), true, 1, vec!["trace_id"]),
        (json!({ "trace_id": TRACE, "traceparent": parent }), false, 0, vec!["traceparent"]),
    ] {
        let record = record(&line.to_string());
        assert_eq!(record.trace_id, 0x4bf92f3577b34da6a3ce929d0e0e4736_u128.to_be_bytes(), "{line}");
        let expected = if span { 0x00f067aa0ba902b7_u64.to_be_bytes().to_vec() } else { Vec::new() };
        assert_eq!((record.span_id, record.flags), (expected, flags), "{line}");
        assert_eq!(record.attributes.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), left, "{line}");
    }
    for line in [
        json!({ "trace_id": zeros }),
        json!({ "trace_id": &TRACE[1..] }),
        json!({ "trace_id": TRACE.replace('f', "g") }),
        json!({ "trace_id": 5 }),
        json!({ "span_id": SPAN }),
        json!({ "trace_flags": "01" }),
        json!({ "traceparent": parent.clone() + "-more" }),
        json!({ "traceparent": parent.replace("00-4", "ff-4") }),
        json!({ "traceparent": parent.replace('-', "_") }),
        json!({ "traceparent": parent.replace(SPAN, "0000000000000000") }),
        json!({ "traceparent": &parent[..54] }),
    ] {
        let record = record(&line.to_string());
        assert!(record.trace_id.is_empty() && record.span_id.is_empty() && record.flags == 0, "{line}");
        assert_eq!(record.attributes.len(), 1, "{line}");
    }
}

/// Keys that a user names have the meanings, and the usual ones have none then.
#[test]
fn named_keys() {
    let case = Case::of(json!({
        "type": "json",
        "keys": { "time": ["ts", "time"], "time_format": "epoch_s", "body": ["text"], "severity": ["sev"], "trace_id": ["dd.trace_id"] },
    }));
    let line =
        format!(r#"{{"ts":1475713029.25,"text":"t","msg":"m","sev":"warn","level":"info","dd.trace_id":"{TRACE}"}}"#);
    let record = plain(&case, &[&line]).remove(0);
    assert_eq!((record.time_unix_nano, record.severity_number), (1_475_713_029_250_000_000, 13));
    assert_eq!((body(&record), record.trace_id.len()), (Some("t"), 16));
    assert_eq!(keys(&record), ["msg", "level", "log.original"]);
}

/// Times of keys in every format. One that cannot be read stays, is counted, and the next key is asked.
#[test]
fn times_of_keys() {
    const AT: u64 = 1_475_713_029_000_000_000;
    for (format, value, expected) in [
        ("rfc3339", json!("2016-10-06T02:17:09.5+02:00"), Some(AT + 500_000_000)),
        ("rfc3339", json!("2016-10-06T02:17:09.5+02:00 "), None),
        ("epoch_s", json!(1_475_713_029), Some(AT)),
        ("epoch_s", json!("1475713029.123456789"), Some(AT + 123_456_789)),
        ("epoch_s", json!(1.475713029e9), Some(AT)),
        ("epoch_ms", json!(1_475_713_029_001_u64), Some(AT + 1_000_000)),
        ("epoch_ms", json!("1475713029001.5"), Some(AT + 1_500_000)),
        ("epoch_us", json!("1475713029000001"), Some(AT + 1_000)),
        ("epoch_ns", json!(AT + 7), Some(AT + 7)),
        ("epoch_s", json!(-5), None),
        ("epoch_s", json!("1e40"), None),
        ("epoch_s", json!("99999999999999999999"), None),
        ("epoch_s", json!("12."), None),
        ("epoch_s", json!(""), None),
        ("epoch_s", json!(null), None),
        ("epoch_s", json!({ "a": 1 }), None),
        ("%d/%b/%Y:%H:%M:%S %z", json!("06/Oct/2016:02:17:09 +0200"), Some(AT)),
        ("%d/%b/%Y:%H:%M:%S %z", json!("06/Oct/2016"), None),
    ] {
        let case = Case::of(json!({ "type": "json", "keys": { "time": ["t", "u"], "time_format": format } }));
        let line = json!({ "t": value, "msg": "m" }).to_string();
        let (records, counts) = read(&case, &[line.as_bytes()]);
        assert_eq!(records[0].time_unix_nano, expected.unwrap_or(0), "{format} {value}");
        assert_eq!(counts.unread_times, u64::from(expected.is_none()), "{format} {value}");
        assert_eq!(keys(&records[0]).contains(&"t"), expected.is_none(), "{format} {value}");
        let (records, _) = read(&case, &[json!({ "t": "x", "u": value, "msg": "m" }).to_string().as_bytes()]);
        assert_eq!(records[0].time_unix_nano, expected.unwrap_or(0), "{format} {value}");
    }
    // In a container the time of the line stands where the key's does not.
    let framed = Case { is_container: true, ..Case::of(json!({ "type": "json", "keys": { "time": ["t"] } })) };
    let line = |time: &str| format!("2016-10-06T00:17:09Z stdout F {{\"t\":\"{time}\"}}");
    let (records, _) = read(&framed, &[line("2016-10-06T00:17:10Z").as_bytes(), line("x").as_bytes()]);
    assert_eq!((records[0].time_unix_nano, records[1].time_unix_nano), (AT + 1_000_000_000, AT));
    // Times stay attributes where nobody says otherwise.
    let untouched = record(r#"{"time":"2016-10-06T00:17:09Z","timestamp":1}"#);
    assert_eq!((untouched.time_unix_nano, keys(&untouched)), (0, vec!["time", "timestamp"]));
}
