//! A program that logs: writes numbered lines to files at a rate, and rotates them under load as the kubelet, logrotate and
//! others do. It writes and rotates in turns, so that a copy of a file has every line of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};

/// What is written between two looks at the clock.
const SLICE: Duration = Duration::from_millis(10);

/// What marks the number of a line: `line-number=FILE.LINE`, and a space behind it. Long enough to be in no time or length of the wire.
pub const MARK: &str = "line-number=";

/// What a writer is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Where the files are.
    pub directory: PathBuf,
    /// How they are laid out.
    pub layout: Layout,
    /// How many there are.
    pub files: u64,
    /// Bytes of a line with its end; at least what its number takes.
    pub line_bytes: usize,
    /// Lines of each file.
    pub lines: u64,
    /// Lines a second, of all files together; as fast as it goes where missing.
    pub rate: Option<f64>,
    /// Lines that are written at once.
    pub lines_per_write: u64,
    /// How files are rotated, if they are.
    pub rotation: Option<Rotation>,
}

/// Names of files and forms of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// `app-FILE.log` with lines of text.
    Text,
    /// The kubelet's directories, with lines as containerd writes them, whose content is JSON.
    Pods,
}

/// How files are rotated.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Rotation {
    /// What happens to a file.
    pub how: How,
    /// From how many bytes on.
    pub from_bytes: u64,
    /// Rotated files that are kept of each.
    pub keep: usize,
}

/// What happens to a file that is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It is renamed.
    Rename,
    /// It is renamed, and compressed at the next rotation, as the kubelet does.
    RenameAndCompress,
    /// It is copied and truncated.
    CopyAndTruncate,
    /// It is deleted.
    Delete,
}

/// What a writer does on a line of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Say what was written.
    Tell,
    /// Write no more, and say what was written.
    Stop,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Lines of each file.
    pub lines: Vec<u64>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// How often a file was rotated.
    pub rotations: u64,
    /// Whether all lines are written, or no more are to be.
    pub is_over: bool,
}

/// Writes lines.
#[derive(Debug)]
pub struct LogWriter {
    spec: Spec,
    logs: Vec<OpenLog>,
    written: Written,
    buffer: Vec<u8>,
    /// The file that is next.
    turn: usize,
}

#[derive(Debug)]
struct OpenLog {
    path: PathBuf,
    file: File,
    size: u64,
    /// Rotated files, the oldest first.
    rotated: Vec<PathBuf>,
    rotations: u64,
}

impl LogWriter {
    /// Makes the files.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(spec: Spec) -> Result<LogWriter> {
        let open = |number: u64| {
            let path = match spec.layout {
                Layout::Text => spec.directory.join(format!("app-{number}.log")),
                Layout::Pods => spec.directory.join(format!("shop_cart-{number}_0f1e2d3c-{number:04}/app/0.log")),
            };
            fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
            let file = append_to(&path)?;
            Ok(OpenLog { path, file, size: 0, rotated: Vec::new(), rotations: 0 })
        };
        let logs = (0..spec.files).map(open).collect::<Result<Vec<_>>>()?;
        let written = Written { lines: vec![0; logs.len()], ..Written::default() };
        Ok(LogWriter { spec, logs, written, buffer: Vec::new(), turn: 0 })
    }

    /// What was written so far.
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Writes what is due `elapsed` after the start, and answers how long to wait then; none when all is written.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&mut self, elapsed: Duration) -> Result<Option<Duration>> {
        let total = self.spec.lines * self.spec.files;
        let so_far: u64 = self.written.lines.iter().sum();
        let due = match self.spec.rate {
            Some(rate) => ((elapsed.as_secs_f64() * rate) as u64).min(total),
            None => (so_far + 100_000).min(total),
        };
        let mut left = due.saturating_sub(so_far);
        while left > 0 {
            let count = left.min(self.spec.lines_per_write).min(self.spec.lines - self.written.lines[self.turn]);
            self.lines(count)?;
            left -= count;
            self.turn = (self.turn + 1) % self.logs.len();
        }
        self.written.is_over = due == total;
        Ok((!self.written.is_over).then_some(if self.spec.rate.is_some() { SLICE } else { Duration::ZERO }))
    }

    /// Writes lines to the file whose turn it is.
    fn lines(&mut self, count: u64) -> Result<()> {
        self.buffer.clear();
        for _ in 0..count {
            line(&mut self.buffer, self.spec.layout, self.turn, self.written.lines[self.turn], self.spec.line_bytes)?;
            self.written.lines[self.turn] += 1;
        }
        let log = &mut self.logs[self.turn];
        log.file.write_all(&self.buffer)?;
        log.size += self.buffer.len() as u64;
        self.written.bytes += self.buffer.len() as u64;
        if let Some(rotation) = self.spec.rotation.filter(|rotation| log.size >= rotation.from_bytes) {
            log.rotate(rotation)?;
            self.written.rotations += 1;
        }
        Ok(())
    }
}

impl OpenLog {
    fn rotate(&mut self, rotation: Rotation) -> Result<()> {
        self.rotations += 1;
        let name = format!("{}.20261130-{:06}", self.path.display(), self.rotations);
        let old = PathBuf::from(name);
        match rotation.how {
            How::Rename | How::RenameAndCompress => {
                fs::rename(&self.path, &old)?;
                self.file = append_to(&self.path)?;
            }
            How::CopyAndTruncate => {
                fs::copy(&self.path, &old)?;
                self.file.set_len(0)?;
            }
            How::Delete => {
                fs::remove_file(&self.path)?;
                self.file = append_to(&self.path)?;
            }
        }
        self.size = 0;
        if rotation.how == How::Delete {
            return Ok(());
        }
        if rotation.how == How::RenameAndCompress
            && let Some(last) = self.rotated.last_mut()
        {
            *last = compress(last)?;
        }
        self.rotated.push(old);
        while self.rotated.len() > rotation.keep {
            fs::remove_file(self.rotated.remove(0))?;
        }
        Ok(())
    }
}

/// Compresses a file into one of its own, then removes it.
fn compress(path: &Path) -> Result<PathBuf> {
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let unfinished = with(".tmp");
    let mut encoder = GzEncoder::new(File::create(&unfinished)?, Compression::fast());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    let packed = with(".gz");
    fs::rename(unfinished, &packed)?;
    fs::remove_file(path)?;
    Ok(packed)
}

fn append_to(path: &Path) -> Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// One line of `bytes` bytes.
fn line(out: &mut Vec<u8>, layout: Layout, file: usize, number: u64, bytes: usize) -> Result<()> {
    let start = out.len();
    let end: &[u8] = match layout {
        Layout::Text => {
            write!(out, "{MARK}{file}.{number} ")?;
            b"\n"
        }
        Layout::Pods => {
            // Times as they go on, without asking the clock for each line.
            let (seconds, nanos) = (number / 100_000 % 60, number % 100_000 * 10_000);
            write!(out, "2026-11-30T10:15:{seconds:02}.{nanos:09}Z stdout F ")?;
            write!(
                out,
                r#"{{"level":"info","message":"{MARK}{file}.{number} handled","path":"/api/cart","status":200,"pad":""#
            )?;
            b"\"}\n"
        }
    };
    let padding = bytes.saturating_sub(out.len() - start + end.len());
    out.resize(out.len() + padding, b'x');
    out.extend_from_slice(end);
    Ok(())
}

/// Writes from `begin` on, until everything is written or `stop` says so, which is asked now and then with what was written.
///
/// # Errors
/// When the system refuses.
pub fn write_until(writer: &mut LogWriter, begin: Instant, mut stop: impl FnMut(&Written) -> bool) -> Result<()> {
    while !stop(writer.written()) {
        match writer.write(begin.elapsed())? {
            Some(wait) => std::thread::sleep(wait),
            None => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use std::collections::BTreeSet;

    use super::*;

    fn spec(directory: &Path, layout: Layout, rotation: Option<Rotation>) -> Spec {
        Spec {
            directory: directory.to_owned(),
            layout,
            files: 3,
            line_bytes: 234,
            lines: 100,
            rate: None,
            lines_per_write: 7,
            rotation,
        }
    }

    /// Every line has its number and its length, whatever the layout.
    #[test]
    fn lines_are_numbered() {
        for layout in [Layout::Text, Layout::Pods] {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = LogWriter::new(spec(folder.path(), layout, None)).unwrap();
            write_until(&mut writer, Instant::now(), |_| false).unwrap();
            assert_eq!(writer.written().lines, [100, 100, 100]);
            assert!(writer.written().is_over && writer.written().bytes == 300 * 234);
            let text = fs::read_to_string(&writer.logs[1].path).unwrap();
            for (number, line) in text.lines().enumerate() {
                assert_eq!(line.len(), 233);
                assert!(line.contains(&format!("{MARK}1.{number} ")), "{line}");
            }
        }
    }

    /// Rotation keeps every line in some file, as many files as it should, and compressed ones can be read.
    #[test]
    fn rotation_keeps_lines() {
        for how in [How::Rename, How::RenameAndCompress, How::CopyAndTruncate] {
            let folder = tempfile::tempdir().unwrap();
            let rotation = Rotation { how, from_bytes: 3000, keep: 100 };
            let mut writer = LogWriter::new(spec(folder.path(), Layout::Text, Some(rotation))).unwrap();
            write_until(&mut writer, Instant::now(), |_| false).unwrap();
            let mut found = BTreeSet::new();
            let log = &writer.logs[0];
            for path in log.rotated.iter().chain([&log.path]) {
                let file = File::open(path).unwrap();
                let text = match path.extension().unwrap() == "gz" {
                    true => io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap(),
                    false => io::read_to_string(file).unwrap(),
                };
                found.extend(text.lines().map(|line| line.split(' ').next().unwrap().to_owned()));
            }
            assert_eq!(found.len(), 100, "{how:?}");
            assert_eq!(log.rotated.len() as u64, log.rotations);
            assert!(log.rotations >= 7, "{how:?}: {}", log.rotations);
        }
    }

    /// No more than the wanted number of old files is kept, and a rate is kept to.
    #[test]
    fn limits_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { how: How::Rename, from_bytes: 2000, keep: 2 };
        let limited = Spec { rate: Some(100.0), ..spec(folder.path(), Layout::Text, Some(rotation)) };
        let mut writer = LogWriter::new(limited).unwrap();
        assert_eq!(writer.write(Duration::from_secs(1)).unwrap(), Some(SLICE));
        assert_eq!(writer.written().lines.iter().sum::<u64>(), 100);
        assert_eq!(writer.write(Duration::from_secs(10)).unwrap(), None);
        assert_eq!(writer.logs[0].rotated.len(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 9);
    }
}
