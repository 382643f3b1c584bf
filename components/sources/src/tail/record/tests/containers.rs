//! The framing of container runtimes.

use super::super::container::{Frame, Stream, frame};
use super::super::time::rfc3339;
use super::*;

/// 2016-10-06T00:17:09Z
const AT: u64 = 1_475_713_029_000_000_000;

/// The forms of the CRI, and lines that look like it.
#[test]
fn cri_lines() {
    let mut members = otlp::json::Members::default();
    let mut framed = |line: &'static str| {
        let found = frame(line.as_bytes(), &mut members);
        found.map(|frame| {
            (frame.time - AT, frame.stream, frame.is_partial, String::from_utf8_lossy(frame.content).into_owned())
        })
    };
    for (line, nanos, stream, is_partial, content) in [
        ("2016-10-06T00:17:09.669794202Z stdout F The log", 669_794_202, Stream::Stdout, false, "The log"),
        ("2016-10-06T00:17:09.669794202Z stderr P part ", 669_794_202, Stream::Stderr, true, "part "),
        ("2016-10-06T02:17:09+02:00 stdout F a", 0, Stream::Stdout, false, "a"),
        ("2016-10-05T19:47:09.5-04:30 stdout F a", 500_000_000, Stream::Stdout, false, "a"),
        ("2016-10-06T00:17:09Z stdout P:tag:other  two", 0, Stream::Stdout, true, " two"),
        ("2016-10-06T00:17:09Z stdout F:tag", 0, Stream::Stdout, false, ""),
        ("2016-10-06T00:17:09Z stdout F ", 0, Stream::Stdout, false, ""),
        ("2016-10-06T00:17:09Z stdout F", 0, Stream::Stdout, false, ""),
    ] {
        assert_eq!(framed(line), Some((nanos, stream, is_partial, content.to_owned())), "{line}");
    }
    for line in [
        "",
        "text",
        "2016-10-06T00:17:09Z",
        "2016-10-06T00:17:09Z ",
        "2016-10-06T00:17:09Z stdin F a",
        "2016-10-06T00:17:09Z stdout X a",
        "2016-10-06T00:17:09Z stdout Fa",
        "2016-10-06T00:17:09Z  stdout F a",
        "2016-10-06T00:17:09 stdout F a",
        "2016-13-06T00:17:09Z stdout F a",
        " 2016-10-06T00:17:09Z stdout F a",
    ] {
        assert_eq!(framed(line), None, "{line}");
    }
}

/// Docker's form, with escapes, members in any order, and lines that look like it.
#[test]
fn docker_lines() {
    let mut members = otlp::json::Members::default();
    for (line, expected) in [
        (
            r#"{"log":"text\n","stream":"stdout","time":"2016-10-06T00:17:09Z"}"#,
            Some((AT, Stream::Stdout, false, "text")),
        ),
        (r#"{"log":"part","stream":"stderr","time":"2016-10-06T00:17:09Z"}"#, Some((AT, Stream::Stderr, true, "part"))),
        (
            r#"{"time":"2016-10-06T00:17:09Z", "log":"a\t\"\u00e9\\\r\n"}"#,
            Some((AT, Stream::None, false, "a\t\"\u{e9}\\")),
        ),
        (r#"{"log":"\n","stream":"other","time":"x","attrs":{"a":"b"}}"#, Some((0, Stream::None, false, ""))),
        (r#"{"log":1,"stream":"stdout"}"#, None),
        (r#"{"stream":"stdout"}"#, None),
        (r#"{"log":"text\n","stream":"stdout""#, None),
    ] {
        let found = frame(line.as_bytes(), &mut members);
        let expected = expected.map(|(time, stream, is_partial, content): (u64, Stream, bool, &str)| Frame {
            time,
            stream,
            is_partial,
            content: content.as_bytes(),
        });
        assert_eq!(found, expected, "{line}");
    }
}

/// Time, stream and text of both forms get to where they belong; what is neither stays text and is counted.
#[test]
fn both_forms_in_one_file() {
    let lines = [
        "2016-10-06T00:17:09Z stdout F one",
        r#"{"log":"two\n","stream":"stderr","time":"2016-10-06T00:17:09.5Z"}"#,
        "neither",
        r#"{"msg":"neither"}"#,
        "2016-10-06T00:17:09Z stdout F ",
    ];
    let (records, counts) = read(&Case::container(), &bytes(&lines));
    assert_eq!(bodies(&records), ["one", "two", "neither", r#"{"msg":"neither"}"#]);
    assert_eq!(counts, LineCounts { unframed: 2, blank: 1, ..LineCounts::default() });
    let streams: Vec<_> = records.iter().map(stream).collect();
    assert_eq!(streams, [Some("stdout"), Some("stderr"), None, None]);
    let times: Vec<_> = records.iter().map(|record| record.time_unix_nano).collect();
    assert_eq!(times, [AT, AT + 500_000_000, 0, 0]);
    assert!(records[3].attributes.is_empty());
}

/// Parts of a line are joined by stream, whatever stands between them; the time is that of the first part.
#[test]
fn parts_are_joined() {
    let lines = [
        "2016-10-06T00:17:09Z stdout P out 1,",
        "2016-10-06T00:17:10Z stderr P err 1,",
        "2016-10-06T00:17:11Z stdout P out 2,",
        "2016-10-06T00:17:12Z stderr F err 2",
        "2016-10-06T00:17:13Z stderr F whole",
        "2016-10-06T00:17:14Z stdout F ",
        r#"{"log":"docker 1,","stream":"stdout","time":"2016-10-06T00:17:15Z"}"#,
        r#"{"log":"docker 2\n","stream":"stdout","time":"2016-10-06T00:17:16Z"}"#,
        "2016-10-06T00:17:17Z stdout P the end",
    ];
    let records = plain(&Case::container(), &lines);
    assert_eq!(bodies(&records), ["err 1,err 2", "whole", "out 1,out 2,", "docker 1,docker 2", "the end"]);
    let seconds: Vec<_> = records.iter().map(|record| (record.time_unix_nano - AT) / 1_000_000_000).collect();
    assert_eq!(seconds, [1, 4, 0, 6, 8]);
    assert_eq!(read(&Case::container(), &bytes(&lines)).1.joined, 4);
}

/// A character that the runtime has cut through is whole again, and JSON in parts is JSON.
#[test]
fn parts_are_cut_anywhere() {
    let whole = "{\"msg\":\"\u{e9}\u{1f600}\",\"n\":1}".as_bytes();
    for cut in 0..=whole.len() {
        let first = [b"2016-10-06T00:17:09Z stdout P ", &whole[..cut]].concat();
        let last = [b"2016-10-06T00:17:09Z stdout F ", &whole[cut..]].concat();
        let (records, counts) = read(&Case::container(), &[&first, &last]);
        assert_eq!(bodies(&records), ["\u{e9}\u{1f600}"]);
        assert_eq!((counts.invalid_utf8, counts.malformed_json), (0, 0));
    }
}

/// Parts are joined up to what a record may hold, and the rest of the line is dropped, counted once.
#[test]
fn joined_parts_are_bounded() {
    let case = Case { max_record_size: 10, ..Case::container() };
    let lines = [
        "2016-10-06T00:17:09Z stdout P 12345",
        "2016-10-06T00:17:09Z stdout P 67890",
        "2016-10-06T00:17:09Z stdout P more",
        "2016-10-06T00:17:09Z stdout F and more",
        "2016-10-06T00:17:09Z stdout F next",
    ];
    let (records, counts) = read(&case, &bytes(&lines));
    assert_eq!(bodies(&records), ["1234567890", "next"]);
    assert_eq!((counts.truncated, counts.joined), (1, 3));
    assert!(case.build().max_line_bytes() > 16 * 1024 * 6);
}

/// A restart reads again from the first byte that is in no record yet.
#[test]
fn the_oldest_waiting_byte_is_told() {
    let mut parser = FileParser::new(Case::container().build(), Bytes::new());
    let mut records = Records::default();
    let mut line = |start, bytes: &str, records: &mut Records| {
        parser.line(Line { bytes: bytes.as_bytes(), is_truncated: false, start }, OBSERVED, records);
        parser.waits_from()
    };
    assert_eq!(line(100, "2016-10-06T00:17:09Z stdout P a", &mut records), Some(100));
    assert_eq!(line(200, "2016-10-06T00:17:09Z stderr P b", &mut records), Some(100));
    assert_eq!(line(300, "2016-10-06T00:17:09Z stdout F a", &mut records), Some(200));
    assert_eq!(line(400, "2016-10-06T00:17:09Z stdout P c", &mut records), Some(200));
    assert_eq!(line(500, "2016-10-06T00:17:09Z stderr F b", &mut records), Some(400));
    assert_eq!(records.len(), 2);
    parser.flush(OBSERVED, &mut records);
    assert_eq!((parser.waits_from(), records.len()), (None, 3));
}

/// Times of RFC 3339 at the limits of the calendar, and what is none.
#[test]
fn times() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1969-12-31T23:59:59Z", None),
        ("1970-01-01T00:30:00+01:00", None),
        ("1969-12-31T23:30:00-01:00", Some(1_800_000_000_000)),
        ("2000-02-29T12:00:00Z", Some(951_825_600_000_000_000)),
        ("1900-02-29T12:00:00Z", None),
        ("2023-02-29T12:00:00Z", None),
        ("2024-04-31T12:00:00Z", None),
        ("2024-00-10T12:00:00Z", None),
        ("2024-01-00T12:00:00Z", None),
        ("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000_000)),
        ("2016-12-31T24:00:00Z", None),
        ("2016-12-31T23:60:00Z", None),
        ("2016-12-31T23:59:61Z", None),
        ("2016-10-06 00:17:09z", Some(AT)),
        ("2016-10-06t00:17:09.1234567891Z", Some(AT + 123_456_789)),
        ("2016-10-06T00:17:09.Z", None),
        ("2016-10-06T00:17:09+24:00", None),
        ("2016-10-06T00:17:09+0000", None),
        ("2554-07-21T23:34:33.709551615Z", Some(u64::MAX)),
        ("2554-07-21T23:34:33.709551616Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("2016-10-06", None),
        ("", None),
    ] {
        let found = rfc3339(text.as_bytes());
        assert_eq!(found, expected.map(|time| (time, text.len())), "{text}");
    }
    assert_eq!(rfc3339(b"2016-10-06T00:17:09Z and more"), Some((AT, 20)));
}
