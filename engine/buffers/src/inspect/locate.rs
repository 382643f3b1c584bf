//! Where buffers are: one directory, or all in a directory of buffers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{InspectError, is_of_a_buffer};
use crate::files::HoldError;

/// The name of the directory that holds the buffers of an engine, below its state directory.
pub(super) const DIRECTORY: &str = "buffers";
/// Names that are told when something else was expected.
const TOLD: usize = 5;

/// What is in a directory.
struct Found {
    files: Vec<String>,
    directories: Vec<String>,
}

/// The directories of the buffers that a path means: of itself, or of all below a `buffers` or state directory, by name.
/// Whether those hold buffers is not looked at.
///
/// # Errors
/// [`InspectError::Hold`] when it is absent or cannot be read, [`InspectError::NoBuffer`] when it is something else.
pub fn buffers_at(path: &Path) -> Result<Vec<PathBuf>, InspectError> {
    let found = look(path)?;
    if is_buffer(path, &found) {
        return Ok(vec![path.to_owned()]);
    }
    if found.directories.iter().any(|name| name == DIRECTORY) {
        let below = path.join(DIRECTORY);
        return Ok(look(&below)?.directories.iter().map(|name| below.join(name)).collect());
    }
    let all: Vec<PathBuf> = found.directories.iter().map(|name| path.join(name)).collect();
    let mut holding = all.iter().filter_map(|path| look(path).ok().filter(has_files));
    if is_called(path, DIRECTORY) || holding.next().is_some() {
        return Ok(all);
    }
    Err(no_buffer(path, &found))
}

/// Bytes of the files in a directory, whatever they are.
///
/// # Errors
/// What the operating system says.
pub fn bytes_in(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let metadata = entry?.metadata()?;
        bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(bytes)
}

/// Says what a path is that is not the directory of a buffer.
pub(super) fn expect_buffer(path: &Path) -> Result<(), InspectError> {
    let found = look(path)?;
    if is_buffer(path, &found) || is_empty(&found) { Ok(()) } else { Err(no_buffer(path, &found)) }
}

/// An engine makes the directory of a buffer before it has anything to write.
fn is_buffer(path: &Path, found: &Found) -> bool {
    has_files(found) || (is_empty(found) && path.parent().is_some_and(|parent| is_called(parent, DIRECTORY)))
}

fn has_files(found: &Found) -> bool {
    found.files.iter().any(|name| is_of_a_buffer(name))
}

fn is_empty(found: &Found) -> bool {
    found.files.is_empty() && found.directories.is_empty()
}

fn is_called(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|own| own == name)
}

fn no_buffer(path: &Path, found: &Found) -> InspectError {
    let names: Vec<String> =
        found.directories.iter().map(|name| format!("{name}/")).chain(found.files.clone()).collect();
    let nearest = if names.is_empty() { ": it is empty".to_owned() } else { format!(": it has {}", told(&names)) };
    InspectError::NoBuffer { path: path.display().to_string(), nearest }
}

fn look(path: &Path) -> Result<Found, InspectError> {
    list(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            InspectError::Hold { hold: HoldError::Absent(path.to_owned()), nearest: beside(path).unwrap_or_default() }
        }
        io::ErrorKind::NotADirectory => {
            let name = path.file_name().and_then(|name| name.to_str());
            let nearest = match path.parent().filter(|_| name.is_some_and(is_of_a_buffer)) {
                Some(parent) => format!(": it is a file of the buffer {}", parent.display()),
                None => ": it is a file".to_owned(),
            };
            InspectError::NoBuffer { path: path.display().to_string(), nearest }
        }
        _ => not_held(HoldError::Io { action: "read", path: path.to_owned(), source }),
    })
}

/// What keeps from having a directory, with the system's answer.
pub(super) fn not_held(hold: HoldError) -> InspectError {
    let nearest = match &hold {
        HoldError::Io { source, .. } => format!(": {source}"),
        HoldError::Absent(_) | HoldError::InUse(_) => String::new(),
    };
    InspectError::Hold { hold, nearest }
}

/// What there is in the nearest directory above that exists.
fn beside(path: &Path) -> Option<String> {
    let above = path.ancestors().skip(1).find(|above| above.is_dir())?;
    let found = list(above).ok()?;
    let names: Vec<String> = found.directories.iter().map(|name| format!("{name}/")).collect();
    let what = if names.is_empty() { "no directory".to_owned() } else { told(&names) };
    Some(format!("; {} has {what}", above.display()))
}

fn told(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(TOLD).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(TOLD);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

fn list(path: &Path) -> io::Result<Found> {
    let mut found = Found { files: Vec::new(), directories: Vec::new() };
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // What is not UTF-8 is no file of a buffer and no identity; it is told in the letters that it has.
        let name = entry.file_name().to_string_lossy().into_owned();
        // A link to a directory is one.
        let is_directory = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        if is_directory { found.directories.push(name) } else { found.files.push(name) }
    }
    found.files.sort_unstable();
    found.directories.sort_unstable();
    Ok(found)
}
