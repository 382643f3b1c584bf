//! Where the files of the observed host are: below `/`, or below the mount of the host's root in a container.
//! Reads files and the host's identity; parses no measurement.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use opentelemetry_proto::tonic::resource::v1::Resource;
use thiserror::Error;

use super::sheet::text;

/// Why a measurement could not be taken.
#[derive(Debug, Error)]
pub(super) enum ScrapeError {
    /// A file of the host could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what the kernel documents for it.
    #[error("{path} holds no {expected}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is missing.
        expected: &'static str,
    },
}

/// The file tree of the observed host.
#[derive(Debug, Clone)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// `root` is `/`, or where the host's root directory is mounted.
    pub(super) fn new(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    /// A file that is the same for every process, as `/proc/stat`.
    pub(super) fn proc_path(&self, name: &str) -> PathBuf {
        self.root.join("proc").join(name)
    }

    /// A file of the host's namespaces, as its mounts and its network interfaces.
    ///
    /// Below a mounted root these are the files of process 1: `/proc/net` and `/proc/self` would show the namespaces
    /// of the reader, that is of the container.
    pub(super) fn namespace_path(&self, name: &str) -> PathBuf {
        let process = if self.is_mounted() { "1" } else { "self" };
        self.root.join("proc").join(process).join(name)
    }

    /// Where a path of the host is for this process.
    pub(super) fn rooted(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a whole file. Bytes that are not UTF-8 (a process may choose its name) are replaced.
    pub(super) fn read(&self, path: PathBuf) -> Result<TextFile, ScrapeError> {
        match fs::read(&path) {
            Ok(bytes) => Ok(TextFile {
                text: String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into()),
                path,
            }),
            Err(source) => Err(ScrapeError::Read { path, source }),
        }
    }

    /// The resource of every metric: `host.name`, `host.id`, `host.arch` and `os.type`, as far as they can be read.
    pub(super) fn resource(&self) -> Resource {
        let mut attributes = Vec::new();
        if let Some(name) = self.name() {
            attributes.push(text("host.name", name));
        }
        let machine_id = ["etc/machine-id", "var/lib/dbus/machine-id"];
        if let Some(id) = machine_id.iter().find_map(|path| self.line(&self.root.join(path))) {
            attributes.push(text("host.id", id));
        }
        attributes.push(text("host.arch", architecture()));
        attributes.push(text("os.type", "linux"));
        Resource { attributes, ..Default::default() }
    }

    /// `/proc/sys/kernel/hostname` shows the name of the reader's namespace, so a mounted root is asked by its
    /// `/etc/hostname` first.
    fn name(&self) -> Option<String> {
        let kernel = self.proc_path("sys/kernel/hostname");
        let file = self.root.join("etc/hostname");
        let order = if self.is_mounted() { [file, kernel] } else { [kernel, file] };
        order.iter().find_map(|path| self.line(path))
    }

    fn line(&self, path: &Path) -> Option<String> {
        let content = fs::read_to_string(path).ok()?;
        let line = content.lines().next()?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    fn is_mounted(&self) -> bool {
        self.root != Path::new("/")
    }
}

/// The content of a file with its path, for errors.
#[derive(Debug)]
pub(super) struct TextFile {
    pub(super) text: String,
    path: PathBuf,
}

impl TextFile {
    pub(super) fn malformed(&self, expected: &'static str) -> ScrapeError {
        ScrapeError::Malformed { path: self.path.clone(), expected }
    }
}

/// The architecture in the words of the semantic conventions; an engine runs on the architecture it was built for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "x86",
        "arm" => "arm32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed setup step is a failed test")]
    use super::*;

    fn attribute(resource: &Resource, key: &str) -> Option<String> {
        let found = resource.attributes.iter().find(|attribute| attribute.key == key)?;
        match found.value.as_ref()?.value.as_ref()? {
            opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// A mounted root names the host by its own files, not by those of the reader's namespace.
    #[test]
    fn identity_comes_from_the_mounted_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        fs::write(root.path().join("etc/hostname"), "node-7\n").unwrap();
        fs::write(root.path().join("etc/machine-id"), "8f2a\n").unwrap();
        fs::write(root.path().join("proc/sys/kernel/hostname"), "agent-pod\n").unwrap();

        let resource = Host::new(root.path()).resource();

        assert_eq!(attribute(&resource, "host.name").as_deref(), Some("node-7"));
        assert_eq!(attribute(&resource, "host.id").as_deref(), Some("8f2a"));
        assert_eq!(attribute(&resource, "os.type").as_deref(), Some("linux"));
    }

    /// Without identity files the resource leaves the attributes out instead of inventing them.
    #[test]
    fn unreadable_identity_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let resource = Host::new(root.path()).resource();
        assert_eq!(attribute(&resource, "host.name"), None);
        assert_eq!(attribute(&resource, "host.id"), None);
        assert!(attribute(&resource, "host.arch").is_some());
    }

    /// Namespaced files are those of process 1 below a mounted root, and the reader's own at `/`.
    #[test]
    fn namespaced_files_depend_on_the_root() {
        let mounted = Host::new("/hostfs").namespace_path("net/dev");
        assert_eq!(mounted, Path::new("/hostfs/proc/1/net/dev"));
        assert_eq!(Host::new("/").namespace_path("mountinfo"), Path::new("/proc/self/mountinfo"));
        let rooted = Host::new("/hostfs").rooted(Path::new("/var/lib"));
        assert_eq!(rooted, Path::new("/hostfs/var/lib"));
    }
}
