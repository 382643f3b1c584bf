//! What is in the file after deliveries, failures and other people's hands.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Write as _;
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use engine_config::{Acknowledge, ByteSize, ComponentId, SignalSet, WhenFull};
use engine_core::batch::Batch;
use engine_core::sink::{Backoff, Batching, DriverSettings, start};
use engine_core::telemetry::ComponentTelemetry;
use engine_core::test_kit::{self, records_of, within};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlp::Decoded;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

/// A directory with a file in it that nobody has made yet.
struct Room {
    directory: TempDir,
}

impl Room {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("out.json")
    }

    fn old(&self, number: u32) -> PathBuf {
        self.directory.path().join(format!("out.json.{number}"))
    }

    fn options(&self) -> Options {
        Options { path: self.path(), max_size: None, max_files: None, sync: false }
    }

    fn rotating(&self, max_size: u64, max_files: u32) -> Options {
        let max_files = NonZeroU32::new(max_files);
        Options { max_size: Some(ByteSize::bytes(max_size)), max_files, ..self.options() }
    }

    fn appender(&self) -> Appender {
        Appender::new(&self.options())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn sink(options: &Options) -> Result<FileSink, BuildError> {
    let (_threads, lanes) = test_kit::lanes(1);
    let id = ComponentId::new("archive").unwrap();
    FileSink::build(
        options,
        &BuildContext { id, signals: SignalSet::ALL, lanes, services: engine_core::service::Services::default() },
    )
}

fn record(number: u64) -> Wire {
    test_kit::wire(&test_kit::logs(&[("service.name", "shop")], [number]))
}

/// A request of about `size` bytes.
fn large(number: u64, size: usize) -> Wire {
    test_kit::wire(&test_kit::logs(&[("filler", &"x".repeat(size))], [number]))
}

/// Writes and expects it to be taken.
fn written(appender: &mut Appender, wire: &Wire) {
    assert_eq!(appender.write(wire), Outcome::Delivered);
}

/// Writes and expects to be told to try again, and why.
fn refused(appender: &mut Appender, wire: &Wire) -> String {
    match appender.write(wire) {
        Outcome::Retry { reason, .. } => reason,
        other => panic!("expected to try again, not {other:?}"),
    }
}

/// The numbers of the log records in a file, which must hold whole lines only.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{} ends in the middle of a line", path.display());
    text.lines().flat_map(numbers_of).collect()
}

fn numbers_of(line: &str) -> Vec<u64> {
    let request: ExportLogsServiceRequest = serde_json::from_str(line).unwrap();
    records_of(&Decoded::Logs(request).into())
}

/// Through the sink: every signal reads back as it was delivered, one line each, in the order of the deliveries, and
/// is there as soon as it is answered.
#[tokio::test]
async fn delivers_lines_in_order() {
    let room = Room::new();
    let file = sink(&Options { sync: true, ..room.options() }).unwrap();
    let payloads = [
        test_kit::logs(&[("text", "a\nb\u{2028}\u{1}\"\\\u{1f980}")], [1, 2]),
        test_kit::metrics(&[], [3]),
        test_kit::traces(&[], [4]),
    ];
    let all = futures::future::join_all(payloads.iter().map(|payload| file.deliver(payload.clone())));
    assert_eq!(within("all are written", all).await, vec![Outcome::Delivered; 3]);
    let text = fs::read_to_string(room.path()).unwrap();
    let lines: Vec<_> = text.split_terminator('\n').collect();
    let logs: ExportLogsServiceRequest = serde_json::from_str(lines[0]).unwrap();
    let metrics: ExportMetricsServiceRequest = serde_json::from_str(lines[1]).unwrap();
    let traces: ExportTraceServiceRequest = serde_json::from_str(lines[2]).unwrap();
    let read = vec![Decoded::Logs(logs), Decoded::Metrics(metrics), Decoded::Traces(traces)];
    assert_eq!(read, payloads.map(|payload| test_kit::wire(&payload).decode()).to_vec());
    assert_eq!(lines.len(), 3);
    within("it ends", file.finish()).await.unwrap();
    assert!(matches!(file.deliver(test_kit::logs(&[], [5])).await, Outcome::Retry { .. }));
}

/// A file that is there is appended to, and others of the machine cannot read a new one.
#[test]
fn appends_with_a_mode_of_its_own() {
    let room = Room::new();
    written(&mut room.appender(), &record(1));
    written(&mut room.appender(), &record(2));
    assert_eq!(numbers(&room.path()), [1, 2]);
    let mode = fs::metadata(room.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
}

/// No line is divided between two files or lost, none of the files passes its size, and the oldest ones go.
#[test]
fn rotates_by_size() {
    let room = Room::new();
    let line = otlp::json::to_json(&record(10)).len() as u64 + 1;
    let mut appender = Appender::new(&room.rotating(3 * line + 5, 2));
    for number in 10..20 {
        written(&mut appender, &record(number));
    }
    assert_eq!(room.names(), ["out.json", "out.json.1", "out.json.2"]);
    assert_eq!(numbers(&room.old(2)), [13, 14, 15]);
    assert_eq!(numbers(&room.old(1)), [16, 17, 18]);
    assert_eq!(numbers(&room.path()), [19]);
}

/// A file may be filled to its last byte.
#[test]
fn fills_a_file_exactly() {
    let room = Room::new();
    let line = otlp::json::to_json(&record(10)).len() as u64 + 1;
    let mut appender = Appender::new(&room.rotating(2 * line, 5));
    for number in 10..13 {
        written(&mut appender, &record(number));
    }
    assert_eq!((numbers(&room.old(1)), numbers(&room.path())), (vec![10, 11], vec![12]));
}

/// What is larger than a file may be gets a file of its own, whole, and leaves no empty one.
#[test]
fn gives_a_large_line_its_own_file() {
    let room = Room::new();
    let mut appender = Appender::new(&room.rotating(1_000, 5));
    for wire in [large(1, 5_000), record(2), large(3, 5_000)] {
        written(&mut appender, &wire);
    }
    assert_eq!((numbers(&room.old(2)), numbers(&room.old(1)), numbers(&room.path())), (vec![1], vec![2], vec![3]));
    assert_eq!(room.names().len(), 3);
}

/// A new process goes on with the file and the numbers of the one before, and removes what fewer kept files leave over.
#[test]
fn rotates_what_another_process_left() {
    let room = Room::new();
    for (number, content) in [(1, 4), (2, 3), (3, 2), (4, 1)] {
        written(&mut Appender { path: room.old(number), ..room.appender() }, &record(content));
    }
    written(&mut room.appender(), &record(5));
    written(&mut Appender::new(&room.rotating(1, 2)), &record(6));
    assert_eq!(room.names(), ["out.json", "out.json.1", "out.json.2"]);
    assert_eq!((numbers(&room.old(2)), numbers(&room.old(1)), numbers(&room.path())), (vec![4], vec![5], vec![6]));
}

/// A number that somebody freed is filled, and files behind it stay where they are.
#[test]
fn moves_no_file_without_need() {
    let room = Room::new();
    for number in [1, 3] {
        written(&mut Appender { path: room.old(number), ..room.appender() }, &record(u64::from(number)));
    }
    written(&mut room.appender(), &record(5));
    written(&mut Appender::new(&room.rotating(1, 5)), &record(6));
    assert_eq!((numbers(&room.old(1)), numbers(&room.old(2)), numbers(&room.old(3))), (vec![5], vec![1], vec![3]));
}

/// While rotating is impossible nothing is written over and nothing is lost; then it goes on.
#[test]
fn tries_again_when_it_cannot_rotate() {
    let room = Room::new();
    let mut appender = Appender::new(&room.rotating(1, 1));
    written(&mut appender, &record(1));
    fs::create_dir_all(room.old(1).join("in the way")).unwrap();
    let reason = refused(&mut appender, &record(2));
    assert!(reason.starts_with("cannot rotate `") && reason.ends_with("(os error 21)"), "{reason}");
    assert_eq!(numbers(&room.path()), [1]);
    fs::remove_dir_all(room.old(1)).unwrap();
    written(&mut appender, &record(2));
    assert_eq!((numbers(&room.old(1)), numbers(&room.path())), (vec![1], vec![2]));
}

/// Whoever moves or deletes the file (logrotate, a person) gets what was written; what follows goes to a new one.
#[test]
fn follows_its_path() {
    let room = Room::new();
    let mut appender = room.appender();
    written(&mut appender, &record(1));
    let moved = room.directory.path().join("moved");
    fs::rename(room.path(), &moved).unwrap();
    written(&mut appender, &record(2));
    fs::remove_file(room.path()).unwrap();
    written(&mut appender, &record(3));
    assert_eq!((numbers(&moved), numbers(&room.path())), (vec![1], vec![3]));
}

/// A file that somebody empties in place (`copytruncate`) begins anew, without a hole.
#[test]
fn survives_truncation() {
    let room = Room::new();
    let mut appender = room.appender();
    written(&mut appender, &record(1));
    fs::OpenOptions::new().write(true).open(room.path()).unwrap().set_len(0).unwrap();
    written(&mut appender, &record(2));
    assert_eq!(numbers(&room.path()), [2]);
}

/// Half a line that a killed process left stays alone on its line.
#[test]
fn begins_after_a_torn_line() {
    let room = Room::new();
    written(&mut room.appender(), &record(1));
    fs::OpenOptions::new().append(true).open(room.path()).unwrap().write_all(b"{\"resourceLo").unwrap();
    let mut appender = room.appender();
    written(&mut appender, &record(2));
    written(&mut appender, &record(3));
    let text = fs::read_to_string(room.path()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (4, "{\"resourceLo"));
    assert_eq!([lines[0], lines[2], lines[3]].map(numbers_of), [[1], [2], [3]]);
}

/// A directory that went away is told and waited for.
#[test]
fn waits_for_its_directory() {
    let room = Room::new();
    let path = room.directory.path().join("later").join("out.json");
    let mut appender = Appender { path: path.clone(), ..room.appender() };
    let reason = refused(&mut appender, &record(1));
    assert!(reason.starts_with("cannot open `") && reason.ends_with("(os error 2)"), "{reason}");
    fs::create_dir(path.parent().unwrap()).unwrap();
    written(&mut appender, &record(1));
    assert_eq!(numbers(&path), [1]);
}

/// What can be seen to be wrong before anything runs is refused, and building leaves nothing behind.
#[test]
fn refuses_to_build_on_what_is_not_there() {
    let room = Room::new();
    let error = |path: PathBuf| sink(&Options { path, ..room.options() }).unwrap_err().to_string();
    let missing = room.directory.path().join("missing");
    assert_eq!(error(missing.join("out.json")), format!("cannot look at the directory `{}`", missing.display()));
    assert_eq!(error("/dev/null".into()), "`/dev/null` is not a regular file");
    fs::write(room.path(), "").unwrap();
    assert_eq!(error(room.path().join("x")), format!("`{}` is not a directory", room.path().display()));
    sink(&Options { path: room.old(7), ..room.options() }).unwrap();
    assert_eq!(room.names(), ["out.json"]);
    assert!(engine_core::registry::find(engine_config::Kind::Sink, "file").is_some());
}

/// Something that became a pipe or device in the meantime is not written to, because it cannot be taken back there.
#[test]
fn writes_to_regular_files_only() {
    let mut appender = Appender { path: "/dev/null".into(), ..Room::new().appender() };
    assert_eq!(refused(&mut appender, &record(1)), "cannot open `/dev/null`: not a regular file");
}

/// Ten thousand resources are one line.
#[test]
fn takes_many_resources() {
    let room = Room::new();
    let entries = (0..10_000).map(|number| test_kit::wire(&test_kit::logs(&[("n", "v")], [number])));
    written(&mut room.appender(), &Wire::concat(entries));
    assert_eq!(numbers(&room.path()), (0..10_000).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(room.path()).unwrap().lines().count(), 1);
}

/// A file system of `size` that ends with the test; none where mounting is not allowed.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(directory.path());
        let is_mounted = command.output().is_ok_and(|output| output.status.success());
        if is_mounted {
            return Some(Self { directory });
        }
        assert!(std::env::var_os("CI").is_none(), "the right to mount a tmpfs is missing, and CI skips nothing");
        eprintln!("skipped: the right to mount a tmpfs is missing");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.directory.path()).status().unwrap();
    }
}

/// On a full disk the reason is told and no half line stays; when there is space again the next attempt succeeds and
/// the file holds every line once.
#[test]
fn takes_lines_back_from_a_full_disk() {
    let Some(disk) = SmallDisk::mount("64k") else { return };
    let path = disk.directory.path().join("out.json");
    for durability in [Durability::OperatingSystem, Durability::Disk] {
        let mut appender = Appender { path: path.clone(), durability, ..Room::new().appender() };
        written(&mut appender, &record(1));
        let good = fs::metadata(&path).unwrap().size();
        // One page remains beside the one that the first line began: part of a large line fits.
        let filler = disk.directory.path().join("filler");
        fs::write(&filler, vec![0; 48 * 1024]).unwrap();
        let reason = refused(&mut appender, &large(2, 32 * 1024));
        assert_eq!(reason, format!("cannot write to `{}`: No space left on device (os error 28)", path.display()));
        assert_eq!(fs::metadata(&path).unwrap().size(), good, "half a line stayed");
        refused(&mut appender, &large(2, 32 * 1024));
        written(&mut appender, &record(3));
        fs::remove_file(&filler).unwrap();
        written(&mut appender, &large(2, 32 * 1024));
        assert_eq!(numbers(&path), [1, 3, 2]);
        fs::remove_file(&path).unwrap();
    }
}

/// Behind its driver: a disk that is full holds records up and loses none, what was answered Delivered is in the file,
/// and what was only held at the end is there as well, each record once.
#[tokio::test]
async fn loses_nothing_behind_its_driver() {
    let Some(disk) = SmallDisk::mount("64k") else { return };
    let path = disk.directory.path().join("out.json");
    let settings = DriverSettings {
        acknowledge: Acknowledge::Delivered,
        when_full: WhenFull::Refuse,
        max_buffer: 1 << 20,
        batching: Batching::NONE,
        concurrency: 1,
        backoff: Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(10) },
        max_elapsed: None,
        max_age: None,
    };
    let (_threads, lanes) = test_kit::lanes(1);
    let telemetry = Arc::new(ComponentTelemetry::default());
    let file = sink(&Options { path: path.clone(), max_size: None, max_files: None, sync: false }).unwrap();
    let (inlet, handle) = start("archive", Box::new(file), settings, Arc::clone(&telemetry), &lanes);
    let offer = |wire: Wire| {
        let (batch, receipt) = Batch::new(wire.into());
        let room = inlet.reserve(batch.encoded_len()).unwrap();
        inlet.commit(batch, room);
        receipt
    };
    let filler = disk.directory.path().join("filler");
    fs::write(&filler, vec![0; 60 * 1024]).unwrap();
    let receipts: Vec<_> = (0..4).map(|number| offer(large(number, 6 * 1024))).collect();
    let failed = async {
        while !telemetry.read().errors.contains_key("retry") {
            tokio::task::yield_now().await;
        }
    };
    within("the disk is found full", failed).await;
    let message = telemetry.health().last_error.unwrap().message;
    assert!(message.ends_with("No space left on device (os error 28)"), "{message}");
    fs::remove_file(&filler).unwrap();
    let outcomes = within("all are delivered", futures::future::join_all(receipts)).await;
    assert_eq!(outcomes, vec![Outcome::Delivered; 4]);
    let _held = offer(record(4));
    handle.drain(Instant::now() + Duration::from_secs(30)).await;
    assert_eq!(numbers(&path), [0, 1, 2, 3, 4]);
    let line = handle.line();
    line.check().unwrap();
    assert_eq!((line.counts.delivered, line.held.total()), (5, 0));
}
