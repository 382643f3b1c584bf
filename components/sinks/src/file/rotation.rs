//! Old files: `out.json` becomes `out.json.1`, that becomes `out.json.2`, and so on, and the oldest one goes.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Makes room at the path and keeps the newest `kept` old files. Numbers that are free are filled, so no file is moved
/// without need.
///
/// Each step leaves every line in one file or another, so it may end in the middle and be done again.
///
/// # Errors
///
/// Those of the operating system.
pub(super) fn rotate(path: &Path, kept: u32) -> io::Result<()> {
    let is_free = |number: &u32| fs::symlink_metadata(numbered(path, *number)).is_err();
    // Without a free number the last one is written over.
    let free = (1..=kept).find(is_free).unwrap_or(kept);
    for number in (1..free).rev() {
        fs::rename(numbered(path, number), numbered(path, number + 1))?;
    }
    fs::rename(path, numbered(path, 1))?;
    remove_beyond(path, kept)
}

/// Removes what is left of a time when more files were kept.
fn remove_beyond(path: &Path, kept: u32) -> io::Result<()> {
    for number in kept + 1.. {
        match fs::remove_file(numbered(path, number)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}
