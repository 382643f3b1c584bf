//! Expressions with named groups.

use serde_json::json;

use super::*;

fn case(pattern: &str, keys: serde_json::Value) -> Case {
    Case::of(json!({ "type": "regex", "pattern": pattern, "keys": keys }))
}

/// Groups become attributes, and those with a meaning what they mean; groups without a name nothing.
#[test]
fn groups_become_attributes() {
    let pattern = r"^(?<time>\S+) (?<level>\w+) \[(?<trace_id>\w+)?\] (\w+) (?<http.method>\w+) (?<message>.*)$";
    let lines = [
        "2016-10-06T00:17:09Z WARN [4bf92f3577b34da6a3ce929d0e0e4736] x GET it took long",
        "2016-10-06T00:17:09Z LOUD [] x GET ",
    ];
    let records = plain(&case(pattern, json!({})), &lines);
    let first = &records[0];
    assert_eq!((first.time_unix_nano, first.severity_number), (1_475_713_029_000_000_000, 13));
    assert_eq!((body(first), first.severity_text.as_str(), first.trace_id.len()), (Some("it took long"), "WARN", 16));
    assert_eq!(keys(first), ["http.method", "log.original"]);
    assert_eq!(attribute(first, "http.method"), Some(&text("GET")));
    // A group that takes no part is no attribute; one that means nothing stays one.
    assert_eq!(keys(&records[1]), ["level", "http.method", "log.original"]);
    assert_eq!((body(&records[1]), original(&records[1])), (Some(""), lines[1]));
}

/// What does not match stays text and is counted; what matches in part keeps all of its text.
#[test]
fn lines_that_do_not_match() {
    let (records, counts) = read(&case(r"a=(?<a>\d+)", json!({})), &[b"none", b"before a=5 behind", b"a="]);
    assert_eq!(bodies(&records), ["none", "before a=5 behind", "a="]);
    assert_eq!(counts, LineCounts { unmatched: 2, ..LineCounts::default() });
    assert_eq!(attribute(&records[1], "a"), Some(&text("5")));
}

/// Meanings of groups can be named, and times have formats.
#[test]
fn named_groups() {
    let pattern = r#"^(?<client>\S+) \S+ \S+ \[(?<at>[^\]]+)\] "(?<request>[^"]*)" (?<status>\d+)"#;
    let keys_of = json!({ "time": ["at"], "time_format": "%d/%b/%Y:%H:%M:%S %z", "body": ["request"], "severity": [] });
    let line = r#"10.0.0.1 - - [06/Oct/2016:02:17:09 +0200] "GET / HTTP/1.1" 200 12"#;
    let records = plain(&case(pattern, keys_of), &[line, line]);
    for record in &records {
        assert_eq!(record.time_unix_nano, 1_475_713_029_000_000_000);
        assert_eq!(body(record), Some("GET / HTTP/1.1"));
        assert_eq!(keys(record), ["client", "status", "log.original"]);
    }
}

/// An entry of several lines is matched as one.
#[test]
fn entries_are_matched_whole() {
    let case = case(r"(?s)^(?<level>[A-Z]+) (?<message>.*)$", json!({})).keeping(check::start("^[A-Z]+ "));
    let records = plain(&case, &["ERROR failed", "\tat a", "INFO done"]);
    assert_eq!(bodies(&records), ["failed\n\tat a", "done"]);
    assert_eq!(records.iter().map(|record| record.severity_number).collect::<Vec<_>>(), [17, 9]);
}
