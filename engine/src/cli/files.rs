//! Finds and reads the files of a configuration: named ones, and the `*.toml` of named directories.
//!
//! Does not look into them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use engine_config::SourceFile;

/// What runs when no file is named.
pub(super) const DEFAULT: &str = include_str!("../default.toml");

/// The name of the embedded configuration in problems and logs.
pub(super) const DEFAULT_NAME: &str = "the embedded default configuration";

/// A file or directory that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The system says why.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory for configurations holds none.
    #[error("{} has no files that end in .toml", .0.display())]
    NoFiles(PathBuf),
}

/// The files at these paths in order, those of a directory by name (its subdirectories are not looked into). Without
/// paths the embedded default.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<SourceFile>, Vec<FileError>> {
    if paths.is_empty() {
        return Ok(vec![SourceFile::new(DEFAULT_NAME, DEFAULT)]);
    }
    let mut files = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match files_at(path) {
            Ok(found) => {
                for file in found {
                    match fs::read_to_string(&file) {
                        Ok(text) => files.push(SourceFile::new(file.display().to_string(), text)),
                        Err(source) => errors.push(FileError::Unreadable { path: file, source }),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

fn files_at(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if file.extension().is_some_and(|extension| extension == "toml") && !is_hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() { Err(FileError::NoFiles(path.to_owned())) } else { Ok(files) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// A directory gives its visible TOML files by name; a mounted Secret's hidden directories stay out.
    #[test]
    fn a_directory_is_its_files() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", "c.txt", ".hidden.toml"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        fs::create_dir(directory.path().join("d.toml")).unwrap();
        let files = read(&[directory.path().to_owned()]).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.toml", "b.toml"]);
    }

    /// Everything that cannot be read is reported at once.
    #[test]
    fn all_errors_at_once() {
        let empty = tempfile::tempdir().unwrap();
        let absent = empty.path().join("absent.toml");
        let errors = read(&[absent, empty.path().to_owned()]).unwrap_err();
        assert!(matches!(&errors[..], [FileError::Unreadable { .. }, FileError::NoFiles(_)]));
    }
}
