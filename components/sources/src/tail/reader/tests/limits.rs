//! More than there is room for.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::harness::{self, Folder};
use super::stepped::Stepped;
use crate::tail::{Format, Settings};

const SECOND: Duration = Duration::from_secs(1);

fn open(reader: &Stepped) -> usize {
    reader.reader.files.iter().filter(|(_, file)| file.content.is_some()).count()
}

/// Of many files only so many are open as may be, so that sinks can connect; none of them is forgotten for that, whether it
/// is written to, rotated or deleted.
#[test]
fn few_files_are_open() {
    let folder = Folder::new();
    let text = |name: &str| (0..100).map(|line| format!("{name} {line}\n")).collect::<String>();
    let names: Vec<String> = (0..50).map(|number| format!("{number}.log")).collect();
    names.iter().for_each(|name| folder.append(name, &text(name)));
    let settings = Settings { max_open: 10, ..harness::settings() };
    let mut reader = folder.step_with(settings.clone(), Format::plain());
    assert!(open(&reader) <= 10);
    assert_eq!(reader.delivered(SECOND).len(), 5000);
    for round in 0..3 {
        names.iter().for_each(|name| folder.append(name, &format!("{name} more {round}\n")));
        let lines: BTreeSet<String> = reader.delivered(SECOND).into_iter().collect();
        assert_eq!(lines, names.iter().map(|name| format!("{name} more {round}")).collect());
        assert!(open(&reader) <= 10);
    }
    for name in &names {
        folder.append(name, "last\n");
        folder.rename(name, &format!("{name}.1"));
        folder.append(name, "new\n");
    }
    let lines = reader.delivered(SECOND);
    let count = |text: &str| lines.iter().filter(|line| *line == text).count();
    assert_eq!((count("last"), count("new"), lines.len()), (50, 50, 100));
    names.iter().for_each(|name| fs::remove_file(folder.path(name)).unwrap());
    assert!(reader.delivered(60 * SECOND).is_empty());
    reader.stop();
    names.iter().for_each(|name| folder.append(name, "newer\n"));
    assert_eq!(folder.step_with(settings, Format::plain()).delivered(SECOND).len(), 50);
}
