//! A process that writes numbered lines to files and rotates them: `bars role log-writer`, which says in its own code what
//! it does.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::backend::line_of;
use crate::engine::program;
use crate::within;

/// How files are written.
pub(crate) struct Load {
    pub(crate) files: u64,
    /// Lines a second, of all files together.
    pub(crate) rate: u64,
    /// What happens to files that are large enough: a name of `How`.
    pub(crate) rotation: Option<&'static str>,
    /// From how many bytes on.
    pub(crate) from_bytes: u64,
}

/// A running writer.
pub(crate) struct Writer {
    _process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// Lines of each file.
    pub(crate) lines: Vec<u64>,
    pub(crate) rotations: u64,
}

impl Writer {
    /// Begins to write to `app-0.log` and so on, and does not end by itself.
    pub(crate) fn start(directory: &Path, load: &Load) -> Self {
        let rotation = load.rotation.map(|how| json!({ "how": how, "from_bytes": load.from_bytes, "keep": 5 }));
        let spec = json!({
            "directory": directory, "layout": "Text", "files": load.files, "line_bytes": 234, "lines": 1_u64 << 32,
            "rate": load.rate as f64, "lines_per_write": 1, "rotation": rotation,
        });
        let mut process = Command::new(program("bars", "load"))
            .args(["role", "log-writer", &spec.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, orders, answers }
    }

    /// What was written so far.
    pub(crate) async fn written(&mut self) -> Written {
        self.ask("Tell").await
    }

    /// Writes no more.
    pub(crate) async fn stop(mut self) -> Written {
        self.ask("Stop").await
    }

    async fn ask(&mut self, order: &str) -> Written {
        self.orders.write_all(format!("\"{order}\"\n").as_bytes()).await.unwrap();
        let line = within("the writer answers", self.answers.next_line()).await.unwrap().expect("the writer runs");
        let answer: Value = serde_json::from_str(&line).unwrap();
        let written = &answer["Ok"];
        let lines = written["lines"].as_array().unwrap_or_else(|| panic!("{answer}"));
        Written {
            lines: lines.iter().map(|count| count.as_u64().unwrap()).collect(),
            rotations: written["rotations"].as_u64().unwrap(),
        }
    }
}

impl Written {
    /// The numbers of all lines.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        let files = self.lines.iter().enumerate();
        files.flat_map(|(file, lines)| (0..*lines).map(move |line| line_of(file as u64, line)))
    }

    /// How many lines there are.
    pub(crate) fn total(&self) -> u64 {
        self.lines.iter().sum()
    }
}
