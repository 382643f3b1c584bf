//! Parses `mountinfo` and chooses the mounts whose file systems are reported. Asks no file system for its size.

use std::{
    collections::HashMap,
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use engine_config::sources::host_metrics::FilesystemOptions;

/// Types that hold no data of a disk. As in the Collector, file systems of containers (overlay) and of memory (tmpfs)
/// are left out too; network file systems and FUSE are kept, because their space is real.
const VIRTUAL_TYPES: [&str; 34] = [
    "anon_inodefs",
    "autofs",
    "bdev",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "overlay",
    "pipefs",
    "proc",
    "pstore",
    "ramfs",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sockfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Device numbers of the file system: mounts of one file system share them.
    pub(super) file_system: String,
    /// The directory of the file system that is mounted; not `/` for a bind mount.
    origin: String,
    /// The path on the host, as the host has it.
    pub(super) path: PathBuf,
    /// The same as text for attributes.
    pub(super) mount_point: String,
    /// `rw` or `ro`.
    pub(super) mode: &'static str,
    pub(super) fs_type: String,
    pub(super) device: String,
}

/// The mounts to report: those that the options keep, one for each file system.
///
/// A node of a cluster bind-mounts one disk hundreds of times, each with the same numbers. As `df` does, one mount
/// stands for all: the whole file system before a part of it, then the shortest path. Of several mounts over one path
/// only the last is visible.
pub(super) fn select(mountinfo: &[u8], options: &FilesystemOptions) -> Vec<Mount> {
    let mut by_path: HashMap<PathBuf, Mount> = HashMap::new();
    for mount in mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line) {
        by_path.insert(mount.path.clone(), mount);
    }
    let mut by_file_system: HashMap<String, Mount> = HashMap::new();
    for mount in by_path.into_values().filter(|mount| is_wanted(mount, options)) {
        match by_file_system.get(&mount.file_system) {
            Some(chosen) if chosen.rank() <= mount.rank() => {}
            _ => {
                by_file_system.insert(mount.file_system.clone(), mount);
            }
        }
    }
    let mut mounts: Vec<Mount> = by_file_system.into_values().collect();
    mounts.sort_by(|left, right| left.path.cmp(&right.path));
    mounts
}

/// Resolves the octal escapes of the kernel's tables (`\040` is a space). Anything else stays as it is.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

fn is_wanted(mount: &Mount, options: &FilesystemOptions) -> bool {
    let is_virtual = VIRTUAL_TYPES.contains(&mount.fs_type.as_str());
    (options.include_virtual_filesystems || !is_virtual)
        && options.devices.matches(&mount.device)
        && options.fs_types.matches(&mount.fs_type)
        && options.mount_points.matches(&mount.mount_point)
}

impl Mount {
    fn rank(&self) -> (bool, usize, &Path) {
        (self.origin != "/", self.path.as_os_str().len(), &self.path)
    }
}

/// `36 35 98:0 /dir /mnt rw,noatime master:1 - ext4 /dev/root rw`: id, parent, device numbers, origin, path, options,
/// any number of optional fields, a dash, type, device, options of the file system.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let file_system = text(fields.nth(2)?);
    let origin = text(&unescape(fields.next()?));
    let path = unescape(fields.next()?);
    let options = fields.next()?;
    fields.by_ref().find(|field| field == b"-")?;
    let fs_type = text(&unescape(fields.next()?));
    let device = text(&unescape(fields.next()?));
    let read_only = options.split(|byte| *byte == b',').any(|option| option == b"ro");
    Some(Mount {
        file_system,
        origin,
        mount_point: text(&path),
        path: OsString::from_vec(path).into(),
        mode: if read_only { "ro" } else { "rw" },
        fs_type,
        device,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use engine_config::sources::host_metrics::Filter;

    use super::*;

    const NODE: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard\n\
        28 27 254:0 /var/lib/kubelet/pods/1/x /var/lib/kubelet/pods/1/volume-subpaths/x rw - ext4 /dev/vda1 rw\n\
        29 27 254:0 /b /b rw - ext4 /dev/vda1 rw\n\
        40 27 254:16 / /mnt/with\\040space\\134and\\011more ro,noatime shared:3 master:4 - xfs /dev/vdb ro\n\
        41 27 0:40 / /run rw - tmpfs tmpfs rw\n\
        42 27 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=/a:/b\n\
        43 27 0:60 / /mnt/nfs rw - nfs4 server:/export rw\n\
        44 27 8:1 / /data rw - ext4 /dev/old rw\n\
        45 27 8:2 / /data rw - ext4 /dev/new rw\n\
        broken line\n";

    fn only(names: &[&str]) -> Filter {
        Filter { include: names.iter().map(|name| (*name).to_owned()).collect(), exclude: Vec::new() }
    }

    fn points(mounts: &[Mount]) -> Vec<&str> {
        mounts.iter().map(|mount| mount.mount_point.as_str()).collect()
    }

    /// Bind mounts collapse into the whole file system, virtual types are left out, network file systems are kept,
    /// the last of two mounts over one path is the visible one, and escapes are resolved.
    #[test]
    fn a_node_reports_each_file_system_once() {
        let mounts = select(NODE, &FilesystemOptions::default());
        assert_eq!(points(&mounts), ["/", "/data", "/mnt/nfs", "/mnt/with space\\and\tmore"]);
        assert_eq!(mounts[1].device, "/dev/new");
        assert_eq!((mounts[3].mode, mounts[3].fs_type.as_str()), ("ro", "xfs"));
        assert_eq!(mounts[2].device, "server:/export");
    }

    /// A filter on a mount point is applied before the choice: a bind mount that is asked for is reported.
    #[test]
    fn a_bind_mount_can_be_asked_for() {
        let options = FilesystemOptions { mount_points: only(&["/b"]), ..FilesystemOptions::default() };
        assert_eq!(points(&select(NODE, &options)), ["/b"]);
    }

    /// Virtual file systems are reported when asked for, and types and devices filter.
    #[test]
    fn types_and_devices() {
        let options = FilesystemOptions {
            fs_types: only(&["tmpfs", "overlay"]),
            devices: Filter { exclude: vec!["overlay".into()], ..Filter::default() },
            include_virtual_filesystems: true,
            ..FilesystemOptions::default()
        };
        assert_eq!(points(&select(NODE, &options)), ["/run"]);
    }

    /// Only complete octal escapes are resolved.
    #[test]
    fn escapes() {
        assert_eq!(unescape(b"a\\040b"), b"a b");
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\999\\"), b"\\999\\");
        assert_eq!(unescape(b"\\303\\251"), "\u{e9}".as_bytes());
    }
}
