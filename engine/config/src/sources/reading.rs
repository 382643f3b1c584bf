//! What the sources that read files have in common: how much is read ahead, how changes are noticed, and the patterns that
//! name files and other things. Not here: how lines become records.

use std::time::Duration;

use glob::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log_format::Multiline;
use crate::component::Checker;
use crate::size::ByteSize;
use crate::span::Span;

/// Default of `max_line_size`.
pub(super) const MAX_LINE: ByteSize = ByteSize::mib(1);
/// Default of `max_in_flight`.
pub(super) const MAX_IN_FLIGHT: ByteSize = ByteSize::mib(16);
/// Default of `poll_interval`.
pub(super) const POLL_INTERVAL: Span = Span::secs(1);

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// The kernel tells (inotify). Directories that it cannot watch, such as those of network file systems or beyond the
    /// limits of inotify, are looked at every `poll_interval`, and the log says so.
    #[default]
    Auto,
    /// Everything is looked at every `poll_interval`.
    Poll,
}

/// An attribute that tells of the file a record was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FileAttribute {
    /// The file's name.
    #[serde(rename = "log.file.name")]
    Name,
    /// The whole path of the file.
    #[serde(rename = "log.file.path")]
    Path,
}

/// Some of many, by name. `*`, `?` and `[...]` in a name stand for any text, any character and one of some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Chosen {
    /// Only these. Without it all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// None of these, also where `include` names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// What is wrong with one pattern.
struct Wrong {
    message: String,
    help: &'static str,
}

impl Chosen {
    /// Checks the patterns of names that Kubernetes allows: small letters, digits, `-`, and `.` in some.
    pub(super) fn check(&self, key: &str, checker: &mut Checker) {
        for (list, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            for (index, pattern) in patterns.iter().enumerate() {
                if let Some(wrong) = wrong_name(pattern) {
                    checker.invalid([key, list, &index.to_string()], wrong.message).help(wrong.help);
                }
            }
        }
        for (index, pattern) in self.include.iter().enumerate() {
            if self.exclude.contains(pattern) {
                let message = format!("`{pattern}` is excluded too, so it has no effect");
                checker
                    .no_effect([key, "include", &index.to_string()], message)
                    .help("remove it from one of the lists");
            }
        }
    }
}

/// How long lines that belong together are waited for: the parts of a line where nothing is said about entries.
pub fn flush_after(multiline: Option<&Multiline>) -> Duration {
    multiline.map(Multiline::table).unwrap_or_default().timeout.get()
}

/// Checks the patterns of paths under one key.
pub(super) fn check_paths(key: &str, patterns: &[String], checker: &mut Checker) {
    for (index, pattern) in patterns.iter().enumerate() {
        if let Some(wrong) = wrong_path(pattern) {
            checker.invalid([key, &index.to_string()], wrong.message).help(wrong.help);
        }
    }
}

/// Checks that a line fits into what may be in flight several times.
pub(super) fn check_sizes(max_line_size: ByteSize, max_in_flight: ByteSize, checker: &mut Checker) {
    if max_line_size.as_u64().saturating_mul(4) > max_in_flight.as_u64() {
        let message =
            format!("`max_line_size` ({max_line_size}) is more than a quarter of `max_in_flight` ({max_in_flight})");
        checker.error(["max_line_size"], message).help("lower the one or raise the other");
    }
}

fn wrong_path(pattern: &str) -> Option<Wrong> {
    let wrong = |message: String, help| Some(Wrong { message, help });
    if !pattern.starts_with('/') {
        return wrong(format!("`{pattern}` is not an absolute path"), "begin it with `/`");
    }
    if pattern.ends_with('/') {
        return wrong(format!("`{pattern}` names a directory and can match no file"), "add `*` or a name");
    }
    if pattern.contains('{') {
        return wrong(format!("`{pattern}`: alternatives in `{{` and `}}` are not known"), "write one path for each");
    }
    for part in pattern.split('/').skip(1) {
        if part.is_empty() || part == "." || part == ".." {
            return wrong(
                format!("`{pattern}` can match nothing: a part of it is `{part}`"),
                "write the path without it",
            );
        }
        if part.contains("**") && part != "**" {
            return wrong(format!("`{pattern}`: `**` stands between slashes"), "for example `/var/log/**/*.log`");
        }
        if part != "**"
            && let Err(error) = Pattern::new(part)
        {
            return wrong(format!("`{pattern}` is no pattern: {}", error.msg), "`*`, `?` and `[...]` are known");
        }
    }
    pattern
        .ends_with("/**")
        .then(|| Wrong { message: format!("`{pattern}` names directories and can match no file"), help: "add `/*`" })
}

fn wrong_name(pattern: &str) -> Option<Wrong> {
    if let Err(error) = Pattern::new(pattern) {
        let message = format!("`{pattern}` is no pattern: {}", error.msg);
        return Some(Wrong { message, help: "`*`, `?` and `[...]` are known" });
    }
    let allowed = |found: char| {
        found.is_ascii_lowercase() || found.is_ascii_digit() || matches!(found, '-' | '.' | '*' | '?' | '[' | ']' | '!')
    };
    if pattern.is_empty() || !pattern.chars().all(allowed) {
        let message = format!("`{pattern}` can match no name of Kubernetes");
        return Some(Wrong { message, help: "names have small letters, digits, `-` and `.`" });
    }
    None
}
