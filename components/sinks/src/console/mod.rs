//! The `console` sink: prints records on standard output or standard error.
//!
//! Printing happens on a thread of its own, because terminals and pipes block. What is printed for people is in
//! `pretty`, for programs in `otlp::json`.
//!
//! When nobody reads the output any more (`| head` has ended), records are refused for good and counted as
//! `unsupported`: trying again cannot help, holding them would fill the buffer and refuse senders, and ending the
//! process would end other sinks with it. Every other error is tried again.

mod distribution;
mod page;
mod pretty;
mod units;

use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use engine_config::sinks::Console as Options;
use engine_config::sinks::console::{Color, Format, Target};
use engine_core::contract::{ComponentError, Sink};
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use futures::future::BoxFuture;
use otlp::{Payload, Wire};

use crate::writer::{Write, WriterThread};
use page::Colors;
use pretty::Pretty;

/// How long the thread rests when the output takes nothing and does not block: another process that shares the
/// terminal has switched it so.
const BUSY: Duration = Duration::from_millis(5);

/// Prints records.
#[derive(Debug)]
struct Console {
    thread: WriterThread<Printer>,
}

/// What runs on the thread.
struct Printer {
    output: Output,
    form: Form,
}

/// How a request becomes text.
enum Form {
    Pretty(Pretty),
    OtlpJson,
}

/// Where text goes, and whether the last of it is a whole line.
struct Output {
    name: &'static str,
    target: Box<dyn io::Write + Send>,
    is_torn: bool,
}

inventory::submit! { Registration::sink::<Console>() }

impl BuildSink for Console {
    type Options = Options;

    fn build(options: &Options, context: &BuildContext) -> Result<Self, BuildError> {
        // A duplicate of the descriptor: the standard library's handle buffers, which would hide errors.
        let (name, descriptor, is_terminal) = match options.target {
            Target::Stdout => {
                ("standard output", io::stdout().as_fd().try_clone_to_owned(), io::stdout().is_terminal())
            }
            Target::Stderr => ("standard error", io::stderr().as_fd().try_clone_to_owned(), io::stderr().is_terminal()),
        };
        let target = descriptor.map_err(|error| BuildError::caused(format!("cannot open {name}"), error))?;
        let colors = match options.color {
            Color::Always => Colors::On,
            Color::Never => Colors::Off,
            Color::Auto if is_terminal && wants_color(std::env::var_os("NO_COLOR").as_deref()) => Colors::On,
            Color::Auto => Colors::Off,
        };
        let form = match options.format {
            Format::Pretty => Form::Pretty(Pretty::new(colors)),
            Format::OtlpJson => Form::OtlpJson,
        };
        let output = Output::new(name, File::from(target));
        Ok(Self { thread: WriterThread::new(context.id.to_string(), Printer { output, form }) })
    }
}

impl Sink for Console {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(self.thread.deliver(payload))
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        Box::pin(self.thread.finish())
    }
}

impl Write for Printer {
    fn write(&mut self, wire: &Wire) -> Outcome {
        let Self { output, form } = self;
        let printed = match form {
            Form::Pretty(pretty) => pretty.print(wire, &mut |text| output.write(text)),
            Form::OtlpJson => {
                let mut line = otlp::json::to_json(wire);
                line.push('\n');
                output.write(&line)
            }
        };
        match printed {
            Ok(()) => Outcome::Delivered,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                let message = format!("nobody reads {} any more", output.name);
                Outcome::rejected(RejectionKind::Unsupported, message)
            }
            Err(error) => Outcome::retry(format!("cannot write to {}: {error}", output.name)),
        }
    }
}

impl Output {
    fn new(name: &'static str, target: impl io::Write + Send + 'static) -> Self {
        Self { name, target: Box::new(target), is_torn: false }
    }

    /// Writes whole lines. After an error the next call begins a line of its own.
    fn write(&mut self, lines: &str) -> io::Result<()> {
        if self.is_torn {
            self.write_bytes(b"\n")?;
        }
        self.write_bytes(lines.as_bytes())
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.target.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.is_torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BUSY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the environment leaves colours on (<https://no-color.org>: any text that is not empty switches them off).
fn wants_color(no_color: Option<&std::ffi::OsStr>) -> bool {
    no_color.is_none_or(std::ffi::OsStr::is_empty)
}

#[cfg(test)]
mod tests;
