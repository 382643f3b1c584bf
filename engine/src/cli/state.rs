//! `telemetry-engine state give`: hands a state directory to the user that runs the engine.
//!
//! A kubelet makes the directories of a node for root, and the engine is not root. Whoever runs this before the engine needs
//! no right but to change owners.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use super::arguments::GiveArguments;
use super::{Failure, OK, REFUSED, Streams};

/// For nobody but the owner.
const MODE: u32 = 0o700;

pub(super) fn give(arguments: &GiveArguments, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let GiveArguments { directory, user, group } = arguments;
    match hand_over(directory, *user, *group) {
        Ok(()) => Ok(OK),
        Err(error) => {
            let directory = directory.display();
            writeln!(streams.stderr, "error: cannot give {directory} to user {user} and group {group}: {error}")?;
            Ok(REFUSED)
        }
    }
}

/// What is theirs already is left as it is, so that a second time nothing has to be allowed.
fn hand_over(directory: &Path, user: u32, group: u32) -> io::Result<()> {
    let found = std::fs::symlink_metadata(directory)?;
    if !found.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    if (found.uid(), found.gid()) == (user, group) {
        return Ok(());
    }
    // While it is still ours.
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(MODE))?;
    chown(directory, Some(user), Some(group))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// A directory of one's own needs no right; a link or a file is refused; what is absent is said.
    #[test]
    fn directories_are_handed_over() {
        let scratch = tempfile::tempdir().unwrap();
        let own = scratch.path().join("state");
        std::fs::create_dir(&own).unwrap();
        let found = std::fs::metadata(&own).unwrap();
        hand_over(&own, found.uid(), found.gid()).unwrap();
        let file = scratch.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(hand_over(&file, 1, 1).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert_eq!(hand_over(&link, 1, 1).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(hand_over(&scratch.path().join("absent"), 1, 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
