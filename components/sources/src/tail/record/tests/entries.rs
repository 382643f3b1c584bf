//! Entries of several lines.

use engine_config::sources::log_format::{Multiline, MultilineTable, Preset};
use serde_json::json;

use super::*;

/// Entries are told by blank lines between them in `text`, which is what the log holds without those marks (`~`).
fn joins(multiline: Multiline, log: &str) {
    let entries: Vec<&str> = log.trim_matches('\n').split("\n~\n").collect();
    let whole = entries.join("\n");
    let lines: Vec<&str> = whole.split('\n').collect();
    let records = plain(&Case::text().keeping(multiline.clone()), &lines);
    assert_eq!(bodies(&records), entries);
    // The same in a container, with another stream between all lines.
    let framed: Vec<String> = lines
        .iter()
        .flat_map(|line| {
            [
                format!("2016-10-06T00:17:09Z stdout F {line}"),
                "2016-10-06T00:17:09Z stderr F 2099-01-01 beside".to_owned(),
            ]
        })
        .collect();
    let records = plain(&Case::container().keeping(multiline), &framed.iter().map(String::as_str).collect::<Vec<_>>());
    let (out, err): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| stream(record) == Some("stdout"));
    assert_eq!(bodies(&out), entries);
    assert!(err.iter().all(|record| body(record) == Some("2099-01-01 beside")) && err.len() == lines.len());
}

/// Lines that the expression does not match belong to the entry before.
#[test]
fn entries_begin_with_an_expression() {
    joins(
        check::start(r"^\d{4}-\d\d-\d\d"),
        "
no start
at first
~
2024-01-01 one
~
2024-01-02 two
  more
2024 is no start

behind an empty line
~
2024-01-03 three
",
    );
}

/// Traces of Java as loggers and `printStackTrace` write them.
#[test]
fn traces_of_java() {
    joins(
        Multiline::Preset(Preset::Java),
        "
2024-01-01 12:00:00 INFO  Started
~
2024-01-01 12:00:01 ERROR c.e.Shop - order failed
java.lang.IllegalStateException: no stock
	at com.example.Shop.order(Shop.java:17)
	at com.example.Shop$$Lambda/0x1.run(Unknown Source)
	Suppressed: java.io.IOException: closed
		at com.example.Shop.close(Shop.java:99)
Caused by: java.sql.SQLException: syntax error
	at org.db.Driver.run(Driver.java:5)
	... 12 more
Caused by: javax.net.ssl.SSLException: handshake
	at a.b.C.d(C.java:1) ~[app.jar:1.0]
	... 3 common frames omitted
~
2024-01-01 12:00:02 INFO  goes on
~
Exception in thread \"main\" java.lang.OutOfMemoryError: heap
	at a.B.c(B.java:1)
~
java.lang.RuntimeException: one
	at a.B.c(B.java:1)
~
java.lang.RuntimeException: two
	at a.B.c(B.java:1)
~
INFO  plain
~
  indented without a trace
~
done
",
    );
}

/// Messages of exceptions have several lines, empty ones too; what looks like an entry ends them.
#[test]
fn messages_of_several_lines() {
    joins(
        Multiline::Preset(Preset::Java),
        "
ERROR [exec-4] c.v.Rest: failed
java.sql.SQLException: Failed to parse query. SQL statement:
failing10 [42001-197]

  indented
	at org.apache.ignite.Jdbc.send(Jdbc.java:1009)
~
ERROR one
org.a.ValidationException: not valid
~
WARN next
org.a.ValidationException: again
~
[thread] in brackets
",
    );
    let mut lines = vec!["a.b.SomeException: endless"];
    lines.extend(["words"; 40]);
    let records = plain(&Case::text().keeping(Multiline::Preset(Preset::Java)), &lines);
    assert_eq!(body(&records[0]).unwrap().lines().count(), 17, "what is not known is not joined for ever");
    assert_eq!(records.len(), 25);
}

/// Tracebacks of Python, chained ones and groups too.
#[test]
fn traces_of_python() {
    joins(
        Multiline::Preset(Preset::Python),
        "
INFO:root:started
~
ERROR:root:failed
Traceback (most recent call last):
  File \"/app/a.py\", line 1, in <module>
    run()
    ^^^^^
  [Previous line repeated 996 more times]
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"/app/a.py\", line 3, in <module>
    raise shop.Closed(\"b\") from error
shop.errors.Closed: b
  with more to say
~
INFO:root:next
~
alone
  + Exception Group Traceback (most recent call last):
  |   File \"a.py\", line 1, in <module>
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +------------------------------------
~
broken
  File \"a.py\", line 1
    if
      ^
SyntaxError: invalid syntax
~
plain
~
  indented without a trace
",
    );
}

/// Panics of Go, fatal errors, and panics that a server has caught.
#[test]
fn traces_of_go() {
    joins(
        Multiline::Preset(Preset::Go),
        "
2024/01/01 12:00:00 started
~
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48d]

goroutine 1 [running]:
main.(*Shop).order(0xc000010000, {0x1, 0x2})
	/app/main.go:18 +0x27
main.main()
	/app/main.go:7 +0x1d
created by main.start in goroutine 1
	/app/main.go:9 +0x2c

goroutine 18 [select, 2 minutes]:
net.wait(...)
	/usr/lib/go/net.go:1
exit status 2
~
2024/01/01 12:00:01 http: panic serving 10.0.0.1:5000: oops
goroutine 21 [running]:
net/http.(*conn).serve.func1()
	/usr/lib/go/net/http/server.go:1850 +0xb0
panic({0x6, 0x7})
	/usr/lib/go/panic.go:890 +0x262
~
2024/01/01 12:00:02 goes on
~
fatal error: all goroutines are asleep - deadlock!

goroutine 1 [chan receive]:
main.main()
	/app/main.go:4 +0x28
~
I0101 12:00:03 klog
~
panic: of
several lines [recovered]
	panic: again
~
2024/01/01 12:00:04 done
",
    );
}

/// A line that is JSON by itself is a record of its own, wherever it stands; one that only looks like it is text.
#[test]
fn json_is_never_joined() {
    let lines = [
        "2016-10-06T00:17:09Z stdout F java.lang.RuntimeException: a",
        "2016-10-06T00:17:09Z stdout F \tat a.B.c(B.java:1)",
        r#"2016-10-06T00:17:09Z stdout F {"msg":"between"}"#,
        "2016-10-06T00:17:09Z stdout F \tat a.B.d(B.java:2)",
        r#"2016-10-06T00:17:09Z stdout F {"msg":"alone"}"#,
    ];
    let records = plain(&Case::container().keeping(Multiline::Preset(Preset::Java)), &lines);
    let expected = ["java.lang.RuntimeException: a\n\tat a.B.c(B.java:1)", "between", "\tat a.B.d(B.java:2)", "alone"];
    assert_eq!(bodies(&records), expected);
    let case = Case::container().keeping(check::start("^x"));
    let text = ["2016-10-06T00:17:09Z stdout F x", "2016-10-06T00:17:09Z stdout F {oops}"];
    assert_eq!(bodies(&plain(&case, &text)), ["x\n{oops}"]);
}

/// An object over several lines is joined and then read as one.
#[test]
fn objects_of_several_lines() {
    let case = Case::of(json!("json")).keeping(check::start(r"^\{"));
    let records = plain(&case, &["{", "  \"msg\": \"m\",", "  \"n\": 1", "}", "{\"msg\":\"next\"}"]);
    assert_eq!(bodies(&records), ["m", "next"]);
    assert_eq!(attribute(&records[0], "n"), Some(&Value::IntValue(1)));
}

/// Entries of too many lines or bytes become several, and nothing of them is lost.
#[test]
fn entries_are_bounded() {
    let table = |max_lines: u32| {
        let max_lines = max_lines.try_into().unwrap();
        Multiline::Table(MultilineTable { preset: Some(Preset::Java), max_lines, ..MultilineTable::default() })
    };
    let mut lines = vec!["a.b.SomeException: x".to_owned()];
    lines.extend((0..10).map(|index| format!("\tat a.B.c(B.java:{index})")));
    lines.push("2024 next".to_owned());
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let (records, counts) = read(&Case::text().keeping(table(4)), &lines);
    let sizes: Vec<_> = records.iter().map(|record| body(record).unwrap().lines().count()).collect();
    assert_eq!((sizes, counts.split, counts.joined), (vec![4, 4, 3, 1], 2, 8));
    let by_bytes = Case { max_record_size: 50, ..Case::text().keeping(table(1024)) };
    let (records, counts) = read(&by_bytes, &lines);
    assert!(records.iter().all(|record| body(record).unwrap().len() <= 50));
    assert_eq!((counts.truncated, counts.split), (0, 5));
    let joined: Vec<&str> = bodies(&records);
    assert_eq!(joined.join("\n").as_bytes(), lines.join(&b'\n'));
}

/// Waiting ends when the reader says so; what comes then begins anew.
#[test]
fn waiting_ends() {
    let mut parser = FileParser::new(Case::text().keeping(check::start("^x")).build(), Bytes::new());
    let mut records = Records::default();
    for (start, line) in [(0, "x one"), (6, "more")] {
        parser.line(Line { bytes: line.as_bytes(), is_truncated: false, start }, OBSERVED, &mut records);
    }
    assert_eq!((parser.waits_from(), records.len()), (Some(0), 0));
    parser.flush(OBSERVED, &mut records);
    parser.flush(OBSERVED, &mut records);
    assert_eq!(parser.waits_from(), None);
    parser.line(Line { bytes: b"late", is_truncated: false, start: 11 }, OBSERVED, &mut records);
    assert_eq!(parser.waits_from(), Some(11));
    parser.line(Line { bytes: b"x two", is_truncated: false, start: 16 }, OBSERVED, &mut records);
    parser.flush(OBSERVED, &mut records);
    assert_eq!(bodies(&check::decoded(&mut records)), ["x one\nmore", "late", "x two"]);
}
