//! A host for tests: a root directory with the files of the kernel that a small virtual machine shows.
#![allow(clippy::unwrap_used, reason = "a failed setup step is a failed test")]

use std::{fs, path::Path};

use tempfile::TempDir;

/// A host's root directory with what `proc` shows of it.
pub(super) struct FakeHost {
    root: TempDir,
}

impl FakeHost {
    pub(super) fn empty() -> FakeHost {
        FakeHost { root: tempfile::tempdir().unwrap() }
    }

    pub(super) fn complete() -> FakeHost {
        let host = FakeHost::empty();
        host.write("etc/hostname", "node-1\n");
        host.write(
            "proc/stat",
            "cpu  1000 200 300 4000 50 60 70 80 90 0\ncpu0 500 100 150 2000 25 30 35 40 45 0\n\
             cpu1 500 100 150 2000 25 30 35 40 45 0\nbtime 1795505093\nprocesses 10636\n",
        );
        host.write(
            "proc/meminfo",
            "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nBuffers: 50 kB\nCached: 300 kB\nShmem: 20 kB\n\
             SReclaimable: 40 kB\nSUnreclaim: 10 kB\n",
        );
        host.write("proc/loadavg", "1.03 0.67 0.28 5/110 10637\n");
        host.write("proc/uptime", "3600.25 7000.00\n");
        host.write(
            "proc/diskstats",
            " 254 0 vda 36615 8079 3935378 14295 9039 39136 3968872 26299 3 7140 41917 0 0 0 0 0 0\n   7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n",
        );
        host.write("proc/swaps", "Filename Type Size Used Priority\n/dev/dm-1 partition 1000 100 -2\n");
        host.write("proc/vmstat", "pgpgin 7\npgpgout 8\npswpin 1\npswpout 2\npgfault 100\npgmajfault 4\n");
        host.write("proc/1/stat", "1 (init) S 0\n");
        host.write("proc/2/stat", "2 (a b) R 0\n");
        host.write(
            "proc/1/net/dev",
            "Inter-| Receive | Transmit\n face |bytes packets\n  eth0: 10 11 12 13 0 0 0 0 20 21 22 23 0 0 0 0\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
        );
        host.write(
            "proc/1/net/tcp",
            "  sl  local_address rem_address   st\n   0: 0100007F:0035 00000000:0000 0A 0 0\n   1: 0100007F:0036 0100007F:0035 01 0 0\n",
        );
        host.write("proc/1/net/tcp6", "  sl  local_address rem_address   st\n   0: 0:0035 0:0000 0A 0 0\n");
        fs::create_dir_all(host.root.path().join("mnt/a b")).unwrap();
        host.write(
            "proc/1/mountinfo",
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw\n28 27 254:1 / /mnt/a\\040b ro - xfs /dev/vdb1 ro\n\
             29 27 254:2 / /mnt/gone rw - xfs /dev/vdc1 rw\n30 27 0:5 / /run rw - tmpfs tmpfs rw\n",
        );
        host
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}
