//! `telemetry-engine buffer`: what is in buffers on disk, whether it is whole, and the data itself as OTLP JSON lines.
//!
//! For buffers that no engine has: of those that one has, its `/status` tells. Nothing is changed, and nothing is kept in
//! memory but what is being written. Not here: how buffers are read (`engine_buffers::inspect`).

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use engine_buffers::files::HoldError;
use engine_buffers::inspect::{Contents, Damage, InspectError, Inspection, Item, SegmentContents, buffers_at};
use jiff::Timestamp;
use otlp::Signal;
use serde_json::{Value, json};

use super::arguments::{BufferCommand, ExportArguments, InspectArguments, ReportFormat, VerifyArguments};
use super::streams::Streams;
use super::{Failure, OK, REFUSED};
use crate::logging::Chain;

/// Mode of an exported file: what is buffered is for nobody else to read.
const FILE_MODE: u32 = 0o600;
/// Bytes that are written at once.
const WRITTEN_AT_ONCE: usize = 256 * 1024;
/// Ranges of completed frames that are shown to people.
const RANGES_SHOWN: usize = 8;

/// What was read.
#[derive(Debug, Default)]
struct Tally {
    frames: u64,
    /// By signal, in the order of [`Signal::ALL`].
    records: [u64; Signal::ALL.len()],
    damages: u64,
    damaged_frames: u64,
    damaged_records: u64,
}

pub(super) fn buffer(command: &BufferCommand, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    match command {
        BufferCommand::Inspect(arguments) => inspect(arguments, streams),
        BufferCommand::Verify(arguments) => verify(arguments, streams),
        BufferCommand::Export(arguments) => export(arguments, streams),
    }
}

fn inspect(arguments: &InspectArguments, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let mut code = OK;
    let mut all = Vec::new();
    for path in located(&arguments.directory, streams)? {
        match Inspection::hold(&path) {
            Ok(inspection) if arguments.format == ReportFormat::Text => {
                write!(streams.stdout, "{}", text(&path, inspection.contents()))?;
            }
            Ok(inspection) => all.push(as_json(&path, inspection.contents())),
            Err(error) => code = refuse(&error, streams)?,
        }
    }
    if arguments.format == ReportFormat::Json {
        writeln!(streams.stdout, "{:#}", json!({ "buffers": all }))?;
    }
    Ok(code)
}

fn verify(arguments: &VerifyArguments, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let mut code = OK;
    for path in located(&arguments.directory, streams)? {
        let mut inspection = match Inspection::hold(&path) {
            Ok(inspection) => inspection,
            Err(error) => {
                code = refuse(&error, streams)?;
                continue;
            }
        };
        let mut tally = Tally::default();
        loop {
            let items = inspection.read();
            if items.is_empty() {
                break;
            }
            for item in &items {
                tally.count(item);
                if let Item::Damage(damage) = item {
                    writeln!(streams.stdout, "{}", placed(&path, damage))?;
                }
            }
        }
        writeln!(streams.stdout, "{}: {}", identity(&path), tally.verdict())?;
        if tally.damages > 0 {
            code = REFUSED;
        }
    }
    Ok(code)
}

fn export(arguments: &ExportArguments, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let path = only(&arguments.directory, streams)?;
    let mut inspection = match Inspection::hold(&path) {
        Ok(inspection) => inspection,
        Err(error) => return refuse(&error, streams),
    };
    let tally = match &arguments.output {
        None => write_lines(&mut inspection, &path, &mut *streams.stdout, &mut *streams.stderr)?,
        Some(file) => {
            let written = open_output(file, &path, arguments)
                .and_then(|output| write_to_file(&mut inspection, &path, output, &mut *streams.stderr));
            match written {
                Ok(tally) => tally,
                Err(error) => {
                    writeln!(streams.stderr, "error: cannot write {}: {error}", file.display())?;
                    return Ok(REFUSED);
                }
            }
        }
    };
    writeln!(
        streams.stderr,
        "{}: {} written, nothing is marked as delivered",
        identity(&path),
        counted(tally.frames, tally.records.iter().sum())
    )?;
    if tally.damages == 0 {
        return Ok(OK);
    }
    writeln!(streams.stderr, "error: {} damaged", counted(tally.damaged_frames, tally.damaged_records))?;
    Ok(REFUSED)
}

/// The directories of the buffers that an argument means.
fn located(directory: &Path, streams: &mut Streams<'_>) -> Result<Vec<PathBuf>, Failure> {
    // Such as `.`, which names nobody.
    let named = match directory.file_name() {
        Some(_) => directory.to_owned(),
        None => fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()),
    };
    let located = buffers_at(&named);
    match located {
        Ok(paths) if paths.is_empty() => {
            writeln!(streams.stderr, "{} has no buffers", named.display())?;
            Ok(paths)
        }
        Ok(paths) => Ok(paths),
        Err(error) => {
            refuse(&error, streams)?;
            Err(Failure::Said)
        }
    }
}

/// The one buffer that an argument means.
fn only(directory: &Path, streams: &mut Streams<'_>) -> Result<PathBuf, Failure> {
    let mut paths = located(directory, streams)?;
    match paths.len() {
        0 => Err(Failure::Said),
        1 => Ok(paths.remove(0)),
        _ => {
            let lines: Vec<String> = paths.iter().map(|path| format!("  {}\n", path.display())).collect();
            write!(
                streams.stderr,
                "error: {} has several buffers, and lines do not say whose they are; expected one of\n{}",
                directory.display(),
                lines.concat()
            )?;
            Err(Failure::Said)
        }
    }
}

fn refuse(error: &InspectError, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    writeln!(streams.stderr, "error: {}", Chain(error))?;
    if let InspectError::Hold { hold: HoldError::InUse(_), .. } = error {
        writeln!(
            streams.stderr,
            "  /status of the engine that has it tells what it holds; it can be read when that has ended"
        )?;
    }
    Ok(REFUSED)
}

/// A file that is there is not overwritten unless that is said.
fn open_output(file: &Path, buffer: &Path, arguments: &ExportArguments) -> io::Result<File> {
    let above = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if fs::canonicalize(above)? == fs::canonicalize(buffer)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it would be a file of the buffer that is read"));
    }
    let mut options = File::options();
    options.write(true).mode(FILE_MODE);
    match fs::metadata(file) {
        // A pipe or a device is written to as it is.
        Ok(found) if !found.is_file() => {}
        Ok(_) if arguments.force => {
            options.truncate(true);
        }
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it is there already, expected --force to overwrite it",
            ));
        }
        Err(_) => {
            options.create_new(true);
        }
    }
    options.open(file)
}

/// Once it is written it is on the disk: the buffer may be deleted then.
fn write_to_file(
    inspection: &mut Inspection,
    path: &Path,
    mut output: File,
    told: &mut dyn Write,
) -> io::Result<Tally> {
    let tally = write_lines(inspection, path, &mut output, told)?;
    if output.metadata()?.is_file() {
        output.sync_all()?;
    }
    Ok(tally)
}

fn write_lines(
    inspection: &mut Inspection,
    path: &Path,
    output: &mut dyn Write,
    told: &mut dyn Write,
) -> io::Result<Tally> {
    let mut output = BufWriter::with_capacity(WRITTEN_AT_ONCE, output);
    let mut tally = Tally::default();
    loop {
        let items = inspection.read();
        if items.is_empty() {
            break;
        }
        for item in &items {
            tally.count(item);
            match item {
                Item::Frame(wire) => {
                    output.write_all(otlp::json::to_json(wire).as_bytes())?;
                    output.write_all(b"\n")?;
                }
                // Where standard error cannot be written nobody is left to tell; the exit code does.
                Item::Damage(damage) => drop(writeln!(told, "error: {}", placed(path, damage))),
            }
        }
    }
    output.flush()?;
    Ok(tally)
}

impl Tally {
    fn count(&mut self, item: &Item) {
        match item {
            Item::Frame(wire) => {
                self.frames += 1;
                self.records[wire.signal() as usize] += wire.records();
            }
            Item::Damage(Damage { frames, records, .. }) => {
                self.damages += 1;
                self.damaged_frames += frames;
                self.damaged_records += records;
            }
        }
    }

    fn verdict(&self) -> String {
        let signals = Signal::ALL.iter().zip(self.records).filter(|(_, records)| *records > 0);
        let signals: Vec<String> = signals.map(|(signal, records)| format!("{signal} {records}")).collect();
        let signals = if signals.is_empty() { String::new() } else { format!(" ({})", signals.join(", ")) };
        let whole = counted(self.frames, self.records.iter().sum());
        match self.damages {
            0 => format!("all is well: {whole}{signals}"),
            _ => format!("{whole}{signals} whole, {} damaged", counted(self.damaged_frames, self.damaged_records)),
        }
    }
}

/// Damage with the path of its file.
fn placed(path: &Path, damage: &Damage) -> String {
    let separator = if damage.place.is_some() { "/" } else { ": " };
    format!("{}{separator}{damage}", path.display())
}

fn identity(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn text(path: &Path, contents: &Contents) -> String {
    let mut lines = vec![
        format!("buffer {}", identity(path)),
        format!("  directory        {}", path.display()),
        format!("  version          {}", contents.version),
        format!("  to be delivered  {}", counted(contents.frames, contents.records)),
        format!("  completed        {}", completed(contents)),
        format!("  bytes            {}", contents.bytes),
    ];
    lines.extend(contents.segments.iter().map(segment_text));
    let aside = contents.kept_aside.iter();
    lines.extend(aside.map(|file| format!("  damaged, kept aside  {}  {} bytes", file.name, file.size)));
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn segment_text(segment: &SegmentContents) -> String {
    let SegmentContents { frames, completed_frames, records, completed_records, bytes, .. } = segment;
    let end = match (segment.is_sealed, segment.cut_off_bytes) {
        (true, _) => "sealed".to_owned(),
        (false, 0) => "not sealed".to_owned(),
        (false, cut_off) => format!("not sealed, a write of {cut_off} bytes cut off"),
    };
    let unknown = || "unknown".to_owned();
    format!(
        "  segment {}  {frames} frames ({completed_frames} completed)  {records} records ({completed_records} completed)  {bytes} bytes  {} to {}  {end}",
        segment.file,
        segment.oldest_unix_millis.and_then(moment).unwrap_or_else(unknown),
        segment.newest_unix_millis.and_then(moment).unwrap_or_else(unknown),
    )
}

fn completed(contents: &Contents) -> String {
    let mut text = format!("all frames before {}", contents.completed_before);
    let ranges = contents.completed.iter().take(RANGES_SHOWN).map(|range| match range.end - range.start {
        1 => range.start.to_string(),
        _ => format!("{} to {}", range.start, range.end - 1),
    });
    let ranges: Vec<String> = ranges.collect();
    if !ranges.is_empty() {
        text.push_str(&format!(", and {}", ranges.join(", ")));
    }
    let more = contents.completed.len().saturating_sub(RANGES_SHOWN);
    if more > 0 {
        text.push_str(&format!(", and {more} ranges more"));
    }
    text
}

fn as_json(path: &Path, contents: &Contents) -> Value {
    let ranges: Vec<[u64; 2]> = contents.completed.iter().map(|range| [range.start, range.end - 1]).collect();
    let aside = contents.kept_aside.iter().map(|file| json!({ "file": file.name, "bytes": file.size }));
    json!({
        "identity": identity(path),
        "directory": path.display().to_string(),
        "version": contents.version,
        "frames": contents.frames,
        "records": contents.records,
        "completed_before": contents.completed_before,
        "completed": ranges,
        "bytes": contents.bytes,
        "segments": contents.segments.iter().map(segment_json).collect::<Vec<_>>(),
        "damaged_kept_aside": aside.collect::<Vec<_>>(),
    })
}

fn segment_json(segment: &SegmentContents) -> Value {
    json!({
        "file": segment.file,
        "first": segment.first,
        "frames": segment.frames,
        "completed_frames": segment.completed_frames,
        "records": segment.records,
        "completed_records": segment.completed_records,
        "bytes": segment.bytes,
        "cut_off_bytes": segment.cut_off_bytes,
        "sealed": segment.is_sealed,
        "oldest": segment.oldest_unix_millis.and_then(moment),
        "newest": segment.newest_unix_millis.and_then(moment),
    })
}

/// A moment as people and programs read it; none where it is beyond all calendars.
fn moment(unix_millis: u64) -> Option<String> {
    let millis = i64::try_from(unix_millis).ok()?;
    Timestamp::from_millisecond(millis).ok().map(|time| time.to_string())
}

fn counted(frames: u64, records: u64) -> String {
    let some = |count: u64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", some(frames, "frame"), some(records, "record"))
}
