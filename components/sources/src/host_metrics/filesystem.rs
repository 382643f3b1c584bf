//! `system.filesystem.*` for the mounts of the host.

use std::{
    io,
    path::{Path, PathBuf},
};

use engine_config::sources::host_metrics::FilesystemOptions;

use super::{
    host::{Host, ScrapeError},
    mounts::{self, Mount},
    names::{self, Named, key, value},
    prober::{Prober, Share, Space, Unanswered},
    sheet::{Attribute, Sheet},
};

/// A mount that could not be measured.
#[derive(Debug)]
pub(super) struct MissedMount {
    pub(super) mount_point: String,
    pub(super) why: Unanswered,
}

/// Reads the mounts, asks the file systems and writes what was answered. Returns the mounts that were not.
pub(super) fn scrape<F>(
    host: &Host,
    sheet: &mut Sheet<'_>,
    options: &FilesystemOptions,
    prober: &mut Prober<F>,
) -> Result<Vec<MissedMount>, ScrapeError>
where
    F: Fn(&Path) -> io::Result<Space> + Clone + Send + 'static,
{
    let path = host.namespace_path("mountinfo");
    let mountinfo = std::fs::read(&path).map_err(|source| ScrapeError::Read { path, source })?;
    let mounts = mounts::select(&mountinfo, options);
    let paths: Vec<PathBuf> = mounts.iter().map(|mount| host.rooted(&mount.path)).collect();
    let answers = prober.ask_all(paths.iter().map(PathBuf::as_path));
    let mut measured = Vec::new();
    let mut missed = Vec::new();
    for (mount, answer) in mounts.into_iter().zip(answers) {
        match answer {
            Ok(space) => measured.push((mount, space)),
            Err(why) => missed.push(MissedMount { mount_point: mount.mount_point, why }),
        }
    }
    write(sheet, &measured);
    Ok(missed)
}

fn write(sheet: &mut Sheet<'_>, measured: &[(Mount, Space)]) {
    let mut usage = sheet.metric(&names::FILESYSTEM_USAGE);
    for (mount, space) in measured {
        usage.int(space.bytes.reserved, &labels(mount, value::RESERVED));
        usage.int(space.bytes.used, &labels(mount, value::USED));
        usage.int(space.bytes.free, &labels(mount, value::FREE));
    }
    let mut inodes = sheet.metric(&names::FILESYSTEM_INODES);
    for (mount, space) in measured.iter().filter(|(_, space)| space.inodes != Share::default()) {
        inodes.int(space.inodes.used, &labels(mount, value::USED));
        inodes.int(space.inodes.free, &labels(mount, value::FREE));
    }
}

fn labels(mount: &Mount, state: Named) -> [Attribute<'_>; 5] {
    [
        Attribute::Text(key::DEVICE, &mount.device),
        Attribute::Text(key::FILESYSTEM_MODE, mount.mode),
        Attribute::Text(key::FILESYSTEM_MOUNTPOINT, &mount.mount_point),
        Attribute::Text(key::FILESYSTEM_TYPE, &mount.fs_type),
        Attribute::Name(key::FILESYSTEM_STATE, state),
    ]
}
