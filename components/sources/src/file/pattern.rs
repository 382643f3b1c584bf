//! Patterns of paths: in each part `*`, `?` and `[...]`, and `**` for any number of directories.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern, PatternError};

/// Points at the beginning of a name are characters like others.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: false, require_literal_leading_dot: false };

/// A pattern of absolute paths.
#[derive(Clone, Debug)]
pub(super) struct PathPattern(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    /// Any number of directories.
    Directories,
    Name(Pattern),
}

impl PathPattern {
    pub(super) fn new(text: &str) -> Result<Self, PatternError> {
        let parts = text.split('/').skip(1).map(|part| match part {
            "**" => Ok(Part::Directories),
            name => Pattern::new(name).map(Part::Name),
        });
        parts.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a path is of this pattern.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        matches(&self.0, &names(path))
    }

    /// Whether a path of this pattern may be in this directory or below it.
    pub(super) fn may_be_below(&self, directory: &Path) -> bool {
        may_be_below(&self.0, &names(directory))
    }

    /// The directory up to which nothing is left open.
    pub(super) fn root(&self) -> PathBuf {
        let is_plain = |part: &&Part| matches!(part, Part::Name(name) if !name.as_str().contains(['*', '?', '[']));
        let last = self.0.len().saturating_sub(1);
        let plain = self.0[..last].iter().take_while(is_plain);
        let names = plain.filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Directories => None,
        });
        std::iter::once("/").chain(names).collect()
    }
}

fn names(path: &Path) -> Vec<&OsStr> {
    let name = |part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

fn is_of_name(pattern: &Pattern, name: &OsStr) -> bool {
    pattern.matches_with(&name.to_string_lossy(), OPTIONS)
}

fn matches(parts: &[Part], names: &[&OsStr]) -> bool {
    match (parts, names) {
        ([], []) => true,
        ([Part::Directories, rest @ ..], _) => (0..=names.len()).any(|skipped| matches(rest, &names[skipped..])),
        ([Part::Name(pattern), parts @ ..], [name, names @ ..]) => is_of_name(pattern, name) && matches(parts, names),
        _ => false,
    }
}

fn may_be_below(parts: &[Part], names: &[&OsStr]) -> bool {
    match (parts, names) {
        ([], _) => false,
        (_, []) | ([Part::Directories, ..], _) => true,
        ([Part::Name(pattern), parts @ ..], [name, names @ ..]) => {
            is_of_name(pattern, name) && may_be_below(parts, names)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// Parts of a pattern match parts of a path, and no character stands for a slash.
    #[test]
    fn which_paths_match() {
        for (pattern, path, is_of) in [
            ("/var/log/*.log", "/var/log/app.log", true),
            ("/var/log/*.log", "/var/log/.app.log", true),
            ("/var/log/*.log", "/var/log/deep/app.log", false),
            ("/var/log/*/app.log", "/var/log/shop/app.log", true),
            ("/var/log/**/*.log", "/var/log/app.log", true),
            ("/var/log/**/*.log", "/var/log/a/b/app.log", true),
            ("/var/log/**/*.log", "/var/app.log", false),
            ("/var/log/app-?[0-9].log", "/var/log/app-x7.log", true),
            ("/var/log/app.log", "/var/log/app.log.1", false),
        ] {
            assert_eq!(PathPattern::new(pattern).unwrap().is_of(Path::new(path)), is_of, "{pattern} {path}");
        }
    }

    /// Directories are entered that lead to matching paths, and no others.
    #[test]
    fn which_directories_are_entered() {
        for (pattern, directory, is_entered) in [
            ("/var/log/*.log", "/var/log", true),
            ("/var/log/*.log", "/var/log/deep", false),
            ("/var/log/*.log", "/var", true),
            ("/var/log/*.log", "/", true),
            ("/var/log/*.log", "/home", false),
            ("/var/log/*/app.log", "/var/log/shop", true),
            ("/var/log/**/*.log", "/var/log/a/b/c", true),
        ] {
            let found = PathPattern::new(pattern).unwrap().may_be_below(Path::new(directory));
            assert_eq!(found, is_entered, "{pattern} {directory}");
        }
    }

    /// The search begins where the pattern does.
    #[test]
    fn where_the_search_begins() {
        for (pattern, root) in [
            ("/var/log/*.log", "/var/log"),
            ("/var/log/app.log", "/var/log"),
            ("/var/*/app.log", "/var"),
            ("/var/log/**/*.log", "/var/log"),
            ("/*", "/"),
        ] {
            assert_eq!(PathPattern::new(pattern).unwrap().root(), Path::new(root), "{pattern}");
        }
    }
}
