//! Options of the `file` source.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log_format::{LineFormat, LogFormat, Multiline};
use super::reading::{self, FileAttribute, Watch};
use crate::component::{Checker, ComponentOptions, Facts, Kind, ServiceId, Stability};
use crate::omit::is_default;
use crate::signal::SignalSet;
use crate::size::ByteSize;
use crate::span::Span;

/// Reads the lines of files as log records, and follows the files as they grow and rotate.
///
/// A position is kept for every file and moves when the backend has answered; after a crash at most `max_in_flight` is sent
/// twice. A file is known by device, inode and its first bytes, so that renaming it changes nothing. What a file was renamed
/// to by rotation (`app.log.1`, `app.log-20261130`, `app.log.1.gz`) is read to its end. When the sinks do not keep up,
/// reading waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute paths. In each part of a path `*` stands for any text, `?` for any character, `[...]` for one of some, and
    /// `**` as a whole part for any number of directories.
    #[schemars(length(min = 1))]
    pub paths: Vec<String>,
    /// Patterns of files that are not read although `paths` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Where files begin that are there at the very first start. Files that come later begin at their beginning.
    #[serde(default)]
    pub start_at: StartAt,
    /// How a line is written: `"text"`, `"json"`, or a table with more about it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: LogFormat,
    /// Lines that belong together become one record: a preset such as `"java"`, or a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<Multiline>,
    /// Keep the line as it was written in the attribute `log.original` where its parts became attributes: twice the bytes for
    /// all that the format leaves out.
    #[serde(default)]
    pub keep_original_body: bool,
    /// Attributes of each record that tell which file it is from.
    #[serde(default = "file_name")]
    pub attributes: BTreeSet<FileAttribute>,
    /// Longer lines are cut to this, which counts as `lines_truncated`, and entries of several lines become several.
    #[serde(default = "max_line_size")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "16MiB"))]
    pub max_line_size: ByteSize,
    /// Bytes of the files that may be read and not yet be kept as delivered: what is sent twice after a crash, at most. About
    /// half of it is held in memory while a backend is slow.
    #[serde(default = "max_in_flight")]
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "1GiB"))]
    pub max_in_flight: ByteSize,
    /// How changes are noticed.
    #[serde(default)]
    pub watch: Watch,
    /// Time between two looks where changes are not told by the kernel.
    #[serde(default = "poll_interval")]
    #[schemars(extend("x-minimum" = "50ms", "x-maximum" = "1h"))]
    pub poll_interval: Span,
}

/// Where a file begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At its first byte.
    #[default]
    Beginning,
    /// At the line that is written next.
    End,
}

impl File {
    /// These paths with the defaults of all else.
    pub fn new(paths: impl IntoIterator<Item = String>) -> Self {
        Self {
            paths: paths.into_iter().collect(),
            exclude: Vec::new(),
            start_at: StartAt::default(),
            format: LogFormat::default(),
            multiline: None,
            keep_original_body: false,
            attributes: file_name(),
            max_line_size: max_line_size(),
            max_in_flight: max_in_flight(),
            watch: Watch::default(),
            poll_interval: poll_interval(),
        }
    }
}

impl ComponentOptions for File {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "file";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        reading::check_paths("paths", &self.paths, checker);
        reading::check_paths("exclude", &self.exclude, checker);
        self.format.check(checker);
        if let Some(multiline) = &self.multiline {
            multiline.check(checker);
        }
        if self.keep_original_body && self.format.kind() == LineFormat::Text {
            let message = "`keep_original_body` has no effect: the body of the format \"text\" is the line";
            checker.no_effect(["keep_original_body"], message).help("remove it");
        }
        reading::check_sizes(self.max_line_size, self.max_in_flight, checker);
        for (index, pattern) in self.paths.iter().enumerate() {
            if self.exclude.contains(pattern) {
                let message = format!("`{pattern}` is excluded too, so it can match nothing");
                checker.no_effect(["paths", &index.to_string()], message).help("remove it from one of the lists");
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts { pull: true, rereads: true, ..Facts::source(SignalSet::LOGS) }.needs([], ServiceId::state())
    }
}

fn file_name() -> BTreeSet<FileAttribute> {
    BTreeSet::from([FileAttribute::Name])
}

fn max_line_size() -> ByteSize {
    reading::MAX_LINE
}

fn max_in_flight() -> ByteSize {
    reading::MAX_IN_FLIGHT
}

fn poll_interval() -> Span {
    reading::POLL_INTERVAL
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use crate::{Catalog, Environment, ParseOptions, SourceFile, load};

    fn problems(keys: &str) -> Option<String> {
        let text = format!(
            "version = 1\n[state]\ndirectory = \"/state\"\n[sources.logs]\ntype = \"file\"\n{keys}\n\
             [sinks.out]\ntype = \"blackhole\"\ninputs = [\"logs\"]\nacknowledge = \"delivered\"\n"
        );
        let files = [SourceFile::new("engine.toml", text)];
        let loaded = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default());
        loaded.err().map(|problems| problems.to_string())
    }

    /// Patterns that can match no file are refused, each with what is wrong, and others are not.
    #[test]
    fn patterns_must_be_able_to_match() {
        for pattern in ["/var/log/app.log", "/var/log/*.log", "/srv/**/[ab]?.log", "/*"] {
            assert_eq!(problems(&format!("paths = [\"{pattern}\"]")), None, "{pattern}");
        }
        for (pattern, words) in [
            ("var/log/*.log", "is not an absolute path"),
            ("", "is not an absolute path"),
            ("/var/log/", "names a directory"),
            ("/var/log/**", "names directories"),
            ("/var/../log", "a part of it is `..`"),
            ("/var//log", "a part of it is ``"),
            ("/var/log/a**.log", "`**` stands between slashes"),
            ("/var/log/{a,b}.log", "alternatives"),
            ("/var/log/[a.log", "is no pattern"),
        ] {
            let found = problems(&format!("paths = [\"{pattern}\"]")).unwrap_or_default();
            assert!(found.contains(words), "{pattern}: {found}");
        }
    }

    /// Keys that contradict each other are told.
    #[test]
    fn contradictions_are_told() {
        let of = |keys: &str| problems(&format!("paths = [\"/a\"]\n{keys}")).unwrap();
        assert!(of("exclude = [\"/a\"]").contains("is excluded too"));
        assert!(of("max_in_flight = \"3MiB\"").contains("more than a quarter of `max_in_flight`"));
        assert!(problems("paths = []").is_some() && problems("").is_some());
    }

    /// Positions need a place, and a sink that answers early would make them lies.
    #[test]
    fn what_positions_need() {
        let judge = |state: &str, sink: &str| {
            let text = format!(
                "version = 1\n{state}[sources.logs]\ntype = \"file\"\npaths = [\"/a\"]\n\
                 [sinks.out]\ntype = \"blackhole\"\ninputs = [\"logs\"]\n{sink}"
            );
            let files = [SourceFile::new("engine.toml", text)];
            let loaded = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default());
            loaded.err().map(|problems| problems.to_string()).unwrap_or_default()
        };
        let state = "[state]\ndirectory = \"/state\"\n";
        assert_eq!(judge(state, "acknowledge = \"delivered\"\n"), "");
        assert_eq!(judge(state, "may_lose_on_crash = true\n"), "");
        assert!(judge(state, "").contains("can read its data again after a crash"));
        assert!(judge("", "acknowledge = \"delivered\"\n").contains("`state.directory` is not set"));
    }
}
