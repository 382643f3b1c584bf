//! Lines that wait for more: how long they do, and what that means for positions.

use std::time::Duration;

use super::harness::{self, Folder};
use super::stepped::{Stepped, container, cri, java};
use crate::tail::Settings;

/// What one stream has waiting is told in time although the other stream goes on.
#[test]
fn a_stream_is_not_held_up_by_the_other() {
    let folder = Folder::new();
    folder.append("a.log", &cri("stderr", "F", "boom"));
    folder.append("a.log", &cri("stderr", "F", "a.b.SomeException: no"));
    let mut reader = folder.step_with(harness::settings(), java());
    let mut lines = Vec::new();
    for number in 0..20 {
        folder.append("a.log", &cri("stdout", "F", &format!("line {number}")));
        lines.extend(reader.step());
    }
    assert!(lines.contains(&"boom\na.b.SomeException: no".to_owned()), "{lines:?}");
}

/// An entry that goes on is not cut because the other stream waits for nothing.
#[test]
fn an_entry_that_goes_on_stays_whole() {
    let folder = Folder::new();
    folder.append("a.log", &cri("stderr", "F", "boom"));
    folder.append("a.log", &cri("stderr", "F", "a.b.SomeException: no"));
    let mut reader = folder.step_with(harness::settings(), java());
    let mut lines = Vec::new();
    for number in 0..10 {
        folder.append("a.log", &cri("stderr", "F", &format!("\tat a.B.c(B.java:{number})")));
        lines.extend(reader.step());
    }
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(reader.steps(Duration::from_secs(2)).len(), 1);
}

/// Lines that are in the file already are no reason to end the wait, however long sinks take.
#[test]
fn a_slow_sink_splits_nothing() {
    let folder = Folder::new();
    let part = "x".repeat(10 << 10);
    for _ in 0..300 {
        let parts = cri("stdout", "P", &part).repeat(6) + &cri("stdout", "F", "end");
        folder.append("a.log", &parts);
    }
    let settings = Settings { max_in_flight: 4 << 20, ..harness::settings() };
    let mut reader = folder.step_with(settings, container());
    let mut lines = Vec::new();
    for _ in 0..40 {
        lines.extend(reader.steps(Duration::from_secs(2)));
        reader.deliver();
    }
    let whole = part.repeat(6) + "end";
    assert_eq!(lines.len(), 300);
    assert!(lines.iter().all(|line| *line == whole));
}

/// What waits while the other stream was delivered beyond it is sent at an end in order, so that nothing comes twice.
#[test]
fn an_end_in_order_repeats_nothing_of_the_other_stream() {
    let folder = Folder::new();
    folder.append("a.log", &cri("stderr", "F", "waits"));
    for number in 0..10 {
        folder.append("a.log", &(cri("stdout", "F", &format!("out {number}")) + &cri("stdout", "F", "next")));
    }
    let mut lines = Vec::new();
    for _ in 0..2 {
        let mut reader = folder.step_with(harness::settings(), java());
        lines.extend(reader.step());
        lines.extend(reader.stop());
    }
    let mut reader = folder.step_with(harness::settings(), java());
    lines.extend(reader.steps(Duration::from_secs(3)));
    lines.sort();
    let mut expected: Vec<_> = (0..10).map(|number| format!("out {number}")).collect();
    expected.extend((0..10).map(|_| "next".to_owned()));
    expected.push("waits".to_owned());
    expected.sort();
    assert_eq!(lines, expected);
}

/// An entry under way at an end in order is whole after it, where nothing comes twice for that.
#[test]
fn an_end_in_order_splits_nothing() {
    let folder = Folder::new();
    folder.append("a.log", &(cri("stderr", "F", "first") + &cri("stderr", "F", "boom")));
    let mut reader = folder.step_with(harness::settings(), java());
    assert_eq!(reader.step(), ["first"]);
    assert!(reader.stop().is_empty());
    folder.append("a.log", &cri("stderr", "F", "\tat a.B.c(B.java:1)"));
    let mut reader = folder.step_with(harness::settings(), java());
    assert_eq!(reader.steps(Duration::from_secs(3)), ["boom\n\tat a.B.c(B.java:1)"]);
}

/// However slowly an entry of one stream grows, a crash repeats no more of the other than may be in flight.
#[test]
fn what_waits_holds_positions_back_by_little() {
    let folder = Folder::new();
    let window = 1 << 20;
    let settings = Settings { max_in_flight: window, ..harness::settings() };
    let mut reader = folder.step_with(settings.clone(), java());
    let mut read: Vec<String> = Vec::new();
    folder.append("a.log", &cri("stderr", "F", "a.b.SomeException: no"));
    for number in 0..40 {
        folder.append("a.log", &cri("stderr", "F", "\tat a.B.c(B.java:1)"));
        let filler = format!("{number} {}", "x".repeat(990));
        folder.append("a.log", &cri("stdout", "F", &filler).repeat(100));
        read.extend(reader.delivered(Duration::from_millis(600)));
    }
    drop::<Stepped>(reader);
    let again = folder.step_with(settings, java()).delivered(Duration::from_secs(10));
    let twice: usize = again.iter().filter(|line| read.contains(line)).map(String::len).sum();
    assert!(twice < window as usize, "{twice} bytes come twice");
}
