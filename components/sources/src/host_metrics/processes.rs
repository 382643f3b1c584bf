//! `system.processes.*`: processes by state from every `/proc/PID/stat`, created processes from `/proc/stat`.
//! Reports no single process.

use std::{fs, io};

use engine_config::sources::host_metrics::Semconv;

use super::{
    host::{Host, ScrapeError},
    names::{self, key},
    sheet::{Attribute, Sheet},
    stat::Stat,
};

/// What a state letter of `/proc/PID/stat` is called.
const STATES: [(u8, &str, &str); 7] = [
    (b'R', "running", "running"),
    (b'S', "sleeping", "sleeping"),
    (b'D', "blocked", "sleeping"),
    (b'I', "idle", "sleeping"),
    (b'T', "stopped", "stopped"),
    (b't', "stopped", "stopped"),
    (b'Z', "zombies", "defunct"),
];
/// Any other letter (dead, parked, waking): they last for moments. The registry has no name for it.
const OTHER: &str = "unknown";

/// Counts by state name, in the order of first appearance in the table; a state without processes counts 0.
#[derive(Debug)]
struct Counts {
    semconv: Semconv,
    counts: Vec<(&'static str, u64)>,
}

/// Reads and writes the process metrics.
pub(super) fn scrape(host: &Host, sheet: &mut Sheet<'_>, stat: &Stat) -> Result<(), ScrapeError> {
    if let Some(created) = stat.created {
        sheet.metric(&names::PROCESSES_CREATED).int(created, &[]);
    }
    let counts = count(host, sheet.semconv())?;
    let mut points = sheet.metric(&names::PROCESSES_COUNT);
    for (state, count) in counts.counts {
        points.int(count, &[Attribute::Text(key::PROCESS_STATE, state)]);
    }
    Ok(())
}

fn count(host: &Host, semconv: Semconv) -> Result<Counts, ScrapeError> {
    let directory = host.proc_path("");
    let unreadable = |source: io::Error| ScrapeError::Read { path: directory.clone(), source };
    let mut counts = Counts::new(semconv);
    for entry in fs::read_dir(&directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // A process that ended since the directory was read is no process any more.
        if let Some(state) = fs::read(entry.path().join("stat")).ok().as_deref().and_then(state_of) {
            counts.add(state);
        }
    }
    Ok(counts)
}

/// `4 (a name) S ...`: the letter after the last parenthesis, because a name may hold parentheses and spaces.
fn state_of(stat: &[u8]) -> Option<u8> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    stat[end + 1..].iter().copied().find(|byte| *byte != b' ')
}

impl Counts {
    fn new(semconv: Semconv) -> Counts {
        let mut counts = Counts { semconv, counts: Vec::new() };
        for (letter, ..) in STATES {
            *counts.place(letter) = 0;
        }
        counts
    }

    fn add(&mut self, letter: u8) {
        *self.place(letter) += 1;
    }

    fn place(&mut self, letter: u8) -> &mut u64 {
        let row = STATES.iter().find(|(known, ..)| *known == letter);
        let name = match (row, self.semconv) {
            (Some((_, legacy, _)), Semconv::Legacy) => legacy,
            (Some((_, _, stable)), Semconv::Stable) => stable,
            (None, _) => OTHER,
        };
        let place = match self.counts.iter().position(|(known, _)| *known == name) {
            Some(place) => place,
            None => {
                self.counts.push((name, 0));
                self.counts.len() - 1
            }
        };
        &mut self.counts[place].1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed setup step is a failed test")]
    use super::*;

    fn host_with(stats: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, stat) in stats {
            let directory = root.path().join("proc").join(pid);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("stat"), stat).unwrap();
        }
        root
    }

    fn count_of(counts: &Counts, state: &str) -> Option<u64> {
        let found = counts.counts.iter().find(|(name, _)| *name == state)?;
        Some(found.1)
    }

    /// Names with spaces, parentheses and bytes that are no text do not hide the state; other directories are no
    /// processes, and a process without a file has ended.
    #[test]
    fn odd_names_are_counted() {
        let root = host_with(&[
            ("1", b"1 (systemd) S 0 1"),
            ("20", b"20 (a) b) (c) R 1 20"),
            ("21", b"21 (\xff\xfe x) D 1 21"),
            ("22", b"22 (kworker/0:1-ev) I 2 0"),
            ("23", b"23 (gone) Z 2 0"),
            ("24", b"24 (odd) P 2 0"),
            ("acpi", b"1 (no) R"),
        ]);
        fs::create_dir_all(root.path().join("proc/99")).unwrap();

        let legacy = count(&Host::new(root.path()), Semconv::Legacy).unwrap();
        for (state, expected) in [
            ("running", 1),
            ("sleeping", 1),
            ("blocked", 1),
            ("idle", 1),
            ("zombies", 1),
            ("stopped", 0),
            ("unknown", 1),
        ] {
            assert_eq!(count_of(&legacy, state), Some(expected), "{state}");
        }

        let stable = count(&Host::new(root.path()), Semconv::Stable).unwrap();
        for (state, expected) in [("running", 1), ("sleeping", 3), ("stopped", 0), ("defunct", 1), ("unknown", 1)] {
            assert_eq!(count_of(&stable, state), Some(expected), "{state}");
        }
    }

    /// A host without a proc directory is an error that names it.
    #[test]
    fn missing_directory_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = count(&Host::new(root.path()), Semconv::Legacy).unwrap_err();
        assert!(error.to_string().contains("/proc"), "{error}");
    }
}
