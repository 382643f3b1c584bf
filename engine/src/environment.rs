//! Looks at the surroundings of the process: variables, secrets, the memory limit, cores.
//!
//! Gives values to `engine-config`, which judges. No secret is read here beyond whether it is there and not empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use engine_config::{ByteSize, Known, Pipeline, Reference, SecretRef};

/// From this on a limit of the first control group version means that there is none: it says so with the largest
/// multiple of a page that fits into an `i64`.
const UNLIMITED: u64 = 1 << 60;

/// The surroundings, with the environment variables as given.
pub fn look(variables: BTreeMap<String, String>) -> Known {
    let root = Path::new("/");
    Known {
        variables,
        secrets: BTreeMap::new(),
        secret_names: BTreeSet::new(),
        memory_limit: memory_limit(root),
        memory_total: memory_total(root),
        cores: std::thread::available_parallelism().ok().map(usize::from),
    }
}

/// Looks at every secret and file that the configuration needs, and notes which are there.
pub fn look_at_references(known: &mut Known, pipeline: &Pipeline) {
    let directory = pipeline.settings.secrets.directory.as_deref();
    let of_components = pipeline.references().into_iter().map(|needed| needed.reference);
    for Reference { target, .. } in of_components.chain(pipeline.settings.references()) {
        if known.secrets.contains_key(&target) {
            continue;
        }
        let found = match (&target, directory) {
            (SecretRef::Env(name), _) => is_set(known.variables.get(name).map(String::as_str)),
            (SecretRef::File(path), _) => is_filled(path),
            (SecretRef::Directory(name), Some(directory)) => match names_in(directory) {
                Ok(names) => {
                    known.secret_names = names;
                    is_filled(&directory.join(name))
                }
                Err(error) => Err(format!("the directory cannot be listed: {}", error.to_string().to_lowercase())),
            },
            // Refused whatever is on this machine.
            (SecretRef::Directory(_), None) => continue,
        };
        known.secrets.insert(target, found);
    }
}

fn is_set(value: Option<&str>) -> Result<(), String> {
    match value {
        None => Err("the variable is not set".to_owned()),
        Some("") => Err("the variable is empty".to_owned()),
        Some(_) => Ok(()),
    }
}

fn is_filled(path: &Path) -> Result<(), String> {
    let mut first = [0];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut first));
    match read {
        Ok(0) => Err("the file is empty".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string().to_lowercase()),
    }
}

/// The files of a directory of secrets that a reference can name. Others, such as the housekeeping of a mounted Secret,
/// are no advice to anybody.
fn names_in(directory: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // The files of a mounted Secret are links, which must be followed.
        let is_file = fs::metadata(entry.path()).is_ok_and(|found| found.is_file());
        if is_file && format!("directory:{name}").parse::<SecretRef>().is_ok() {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The smallest memory limit of the control groups that this process is in; `None` without one.
///
/// Reads below `root`: `proc/self/cgroup` says which groups these are, `sys/fs/cgroup` has their limits. A container
/// often sees the path of its group on the host and the group itself as the root, so every ancestor is looked at.
fn memory_limit(root: &Path) -> Option<ByteSize> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (base, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let base = root.join(base);
        for directory in Path::new(path).ancestors() {
            let below: PathBuf = directory.components().skip(1).collect();
            limits.extend(limit_in(&base.join(below).join(file)));
        }
    }
    limits.into_iter().min().map(ByteSize)
}

fn limit_in(file: &Path) -> Option<u64> {
    // `max` of the second version does not parse, and means no limit.
    let limit = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (limit < UNLIMITED).then_some(limit)
}

fn memory_total(root: &Path) -> Option<ByteSize> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(ByteSize(kibibytes * 1024))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// A directory tree that stands for a machine.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// The second version: the limit of an ancestor counts when it is the smaller one, `max` is none.
    #[test]
    fn unified_control_groups() {
        let root = machine(&[
            ("proc/self/cgroup", "0::/kubepods/pod1/engine\n"),
            ("sys/fs/cgroup/kubepods/pod1/engine/memory.max", "max\n"),
            ("sys/fs/cgroup/kubepods/pod1/memory.max", "536870912\n"),
            ("sys/fs/cgroup/kubepods/memory.max", "1073741824\n"),
        ]);
        assert_eq!(memory_limit(root.path()), Some(ByteSize::mib(512)));
    }

    /// In a container with a namespace of its own the group is the root.
    #[test]
    fn the_root_of_a_container() {
        let root = machine(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "268435456\n")]);
        assert_eq!(memory_limit(root.path()), Some(ByteSize::mib(256)));
    }

    /// The first version: only the memory controller counts, and its largest number is no limit.
    #[test]
    fn separate_control_groups() {
        let limit = ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "134217728\n");
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let groups = ("proc/self/cgroup", "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n");
        assert_eq!(memory_limit(machine(&[groups, limit, none]).path()), Some(ByteSize::mib(128)));
        assert_eq!(memory_limit(machine(&[groups, none]).path()), None);
    }

    /// MemTotal is given in units of 1024 bytes whatever it says.
    #[test]
    fn total_memory() {
        let root = machine(&[("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n")]);
        assert_eq!(memory_total(root.path()), Some(ByteSize::mib(2)));
    }

    /// What is missing or empty is said without a value; what is there is fine.
    #[test]
    fn references_resolve_or_say_why_not() {
        let root = machine(&[("token", "secret"), ("empty", "")]);
        let file = |name: &str| is_filled(&root.path().join(name));
        assert_eq!((file("token"), is_set(Some("x"))), (Ok(()), Ok(())));
        assert_eq!(file("empty").unwrap_err(), "the file is empty");
        assert!(file("absent").unwrap_err().contains("no such file"));
        assert!(file("").unwrap_err().contains("directory"));
        assert_eq!(is_set(Some("")).unwrap_err(), "the variable is empty");
        assert_eq!(is_set(None).unwrap_err(), "the variable is not set");
    }

    /// A mounted Secret shows its keys: links to files in a hidden directory that is a link itself. What no reference can
    /// name is not shown.
    #[test]
    fn a_mounted_secret_shows_its_keys() {
        use std::os::unix::fs::symlink;
        let root = machine(&[("..2026/token", "x"), ("..2026/ca.crt", "x"), ("my token", "x"), ("folder/token", "x")]);
        symlink("..2026", root.path().join("..data")).unwrap();
        for key in ["token", "ca.crt"] {
            symlink(format!("..data/{key}"), root.path().join(key)).unwrap();
        }
        assert_eq!(names_in(root.path()).unwrap(), BTreeSet::from(["ca.crt".to_owned(), "token".to_owned()]));
    }
}
