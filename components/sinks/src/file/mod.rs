//! The `file` sink: appends to a file, one OTLP JSON request a line.
//!
//! Delivered means that the whole line was handed to the operating system, with `sync` that it is on the disk. What
//! stands in the way (no space, no permission, a broken disk) is told and tried again; a line that did not fit is taken
//! back, and a line is never divided between two files. Files are written on a thread of its own with `std::fs`, whose
//! errors are those of the write that failed. One line is one payload: what is larger than `max_size` gets a file
//! of its own.

mod lines;
mod rotation;

use std::path::PathBuf;
use std::{fs, io};

use engine_config::sinks::File as Options;
use engine_core::contract::{ComponentError, Sink};
use engine_core::outcome::Outcome;
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use futures::future::BoxFuture;
use otlp::{Payload, Wire};

use crate::writer::{Write, WriterThread};
use lines::{Durability, Lines};

/// Appends to a file.
#[derive(Debug)]
struct FileSink {
    thread: WriterThread<Appender>,
}

/// What runs on the thread.
#[derive(Debug)]
struct Appender {
    path: PathBuf,
    rotation: Option<Rotation>,
    durability: Durability,
    /// Closed after every error, so that the next payload begins from what the disk says.
    lines: Option<Lines>,
}

/// When a new file is started and how many old ones are kept.
#[derive(Clone, Copy, Debug)]
struct Rotation {
    max_size: u64,
    kept_files: u32,
}

/// What could not be done.
struct Failure {
    attempt: &'static str,
    error: io::Error,
}

inventory::submit! { Registration::sink::<FileSink>() }

impl BuildSink for FileSink {
    type Options = Options;

    /// Only looks: the file is made with the first payload, so that a configuration that is not run after all leaves
    /// nothing behind.
    fn build(options: &Options, context: &BuildContext) -> Result<Self, BuildError> {
        let directory = lines::directory_of(&options.path);
        let is_directory = fs::metadata(directory).map_err(|error| {
            BuildError::caused(format!("cannot look at the directory `{}`", directory.display()), error)
        })?;
        if !is_directory.is_dir() {
            return Err(BuildError::new(format!("`{}` is not a directory", directory.display())));
        }
        if fs::metadata(&options.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(BuildError::new(format!("`{}` is not a regular file", options.path.display())));
        }
        let appender = Appender::new(options);
        Ok(Self { thread: WriterThread::new(context.id.to_string(), appender) })
    }
}

impl Sink for FileSink {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(self.thread.deliver(payload))
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        Box::pin(self.thread.finish())
    }
}

impl Write for Appender {
    fn write(&mut self, wire: &Wire) -> Outcome {
        let mut line = otlp::json::to_json(wire);
        line.push('\n');
        match self.append(line.as_bytes()) {
            Ok(()) => Outcome::Delivered,
            Err(Failure { attempt, error }) => {
                Outcome::retry(format!("cannot {attempt} `{}`: {error}", self.path.display()))
            }
        }
    }
}

impl Appender {
    fn new(options: &Options) -> Self {
        let kept_files = options.kept_files();
        Self {
            path: options.path.clone(),
            rotation: options.max_size.map(|size| Rotation { max_size: size.as_u64(), kept_files }),
            durability: if options.sync { Durability::Disk } else { Durability::OperatingSystem },
            lines: None,
        }
    }

    /// Appends one line, whole or not at all.
    fn append(&mut self, line: &[u8]) -> Result<(), Failure> {
        // Taken out, so that an error closes it.
        let mut lines = self.current()?;
        if let Some(Rotation { max_size, kept_files }) = self.rotation
            && lines.len() > 0
            && lines.len() + line.len() as u64 > max_size
        {
            drop(lines);
            rotation::rotate(&self.path, kept_files).map_err(Failure::of("rotate"))?;
            lines = self.open()?;
        }
        lines.append(line).map_err(Failure::of("write to"))?;
        self.lines = Some(lines);
        Ok(())
    }

    /// The open file if it still is the one at the path, else the one that is there now or a new one.
    fn current(&mut self) -> Result<Lines, Failure> {
        match self.lines.take().and_then(|lines| lines.still_at(&self.path)) {
            Some(lines) => Ok(lines),
            None => self.open(),
        }
    }

    fn open(&self) -> Result<Lines, Failure> {
        Lines::open(&self.path, self.durability).map_err(Failure::of("open"))
    }
}

impl Failure {
    fn of(attempt: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self { attempt, error }
    }
}

#[cfg(test)]
mod tests;
