//! What the simulated directory promises itself: the tests of the log are worth no more than this.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod failing;
mod losing;

use std::io::IoSlice;

use super::*;

/// A file with bytes that were synced, in a directory whose names were.
fn durable(disk: &SimulatedDirectory, name: &str, bytes: &[u8]) -> SimulatedFile {
    let mut file = disk.create(name).unwrap();
    append(&mut file, bytes).unwrap();
    file.sync().unwrap();
    disk.sync_names().unwrap();
    file
}

fn append(file: &mut SimulatedFile, bytes: &[u8]) -> io::Result<()> {
    file.write_pieces_at(file.length(), &[IoSlice::new(bytes)])
}

fn listed(disk: &SimulatedDirectory) -> Vec<(String, u64)> {
    disk.list().unwrap().into_iter().map(|file| (file.name, file.size)).collect()
}

fn names(disk: &SimulatedDirectory) -> Vec<String> {
    disk.snapshot().into_keys().collect()
}

/// Files are created, written to in pieces and in place, read, cut, renamed over others and removed as in a real directory.
#[test]
fn it_is_a_directory() {
    let disk = SimulatedDirectory::new();
    let mut file = disk.create("a").unwrap();
    assert_eq!(disk.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.open("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    file.write_pieces_at(0, &[IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")]).unwrap();
    let mut into = [0; 10];
    assert_eq!(file.read_at(4, &mut into).unwrap(), 3);
    assert_eq!(&into[..3], b"two");
    assert_eq!(file.read_at(70, &mut into).unwrap(), 0);

    let mut again = disk.open("a").unwrap();
    again.write_at(9, b"!").unwrap();
    again.write_at(0, b"1").unwrap();
    assert_eq!(disk.contents("a"), b"1ne two\0\0!");
    again.set_size(3).unwrap();
    again.allocate(5).unwrap();
    again.allocate(2).unwrap();
    assert_eq!((file.size().unwrap(), disk.contents("a")), (5, b"1ne\0\0".to_vec()));

    durable(&disk, "b", b"other");
    disk.rename("a", "b").unwrap();
    assert_eq!(listed(&disk), [("b".to_owned(), 5)]);
    assert_eq!(disk.rename("a", "c").unwrap_err().kind(), io::ErrorKind::NotFound);
    disk.remove("b").unwrap();
    assert_eq!(disk.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(listed(&disk), []);
    append(&mut file, b"still open").unwrap();
    assert_eq!(file.size().unwrap(), 15);
}

/// Nobody writes to a file that was opened for reading, or leaves a hole in one by pieces.
#[test]
fn handles_do_what_they_are_for() {
    let disk = SimulatedDirectory::new();
    let made = durable(&disk, "a", b"bytes");
    type Misuse = fn(&SimulatedDirectory, SimulatedFile);
    let misuses: [Misuse; 4] = [
        |_, mut made| drop(made.write_pieces_at(6, &[IoSlice::new(b"x")])),
        |disk, _| drop(disk.open_to_read("a").unwrap().write_at(0, b"x")),
        |disk, _| drop(append(&mut disk.open_to_read("a").unwrap(), b"x")),
        |disk, _| drop(disk.open_to_read("a").unwrap().set_size(0)),
    ];
    drop(made);
    for (index, misuse) in misuses.into_iter().enumerate() {
        let disk = SimulatedDirectory::new();
        let made = durable(&disk, "a", b"bytes");
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| misuse(&disk, made)));
        assert!(stopped.is_err(), "misuse {index} went through");
        assert_eq!(disk.contents("a"), b"bytes");
    }
}

/// Damage does to a file what its name says, and nothing to others.
#[test]
fn damage_is_what_it_says() {
    let disk = SimulatedDirectory::new();
    let bytes = vec![7; 9000];
    durable(&disk, "a", &bytes);
    durable(&disk, "b", b"other");
    disk.flip_bit("a", 8 * 100 + 3);
    assert_eq!(disk.contents("a")[100], 7 ^ 8);
    disk.zero_page("a", 2);
    assert_eq!(disk.contents("a").iter().filter(|byte| **byte == 0).count(), 9000 - 8192);
    disk.truncate("a", 2);
    disk.append_garbage("a", b"xyz");
    assert_eq!(disk.contents("a"), b"\x07\x07xyz");
    disk.duplicate("a", "c");
    disk.truncate("a", 0);
    assert_eq!(
        (disk.contents("a"), disk.contents("c"), disk.contents("b")),
        (vec![], b"\x07\x07xyz".to_vec(), b"other".to_vec())
    );
    disk.delete("a");
    let lost = disk.power_loss(NameLoss::Any, &mut Choices::seeded(1));
    assert_eq!(names(&lost), ["b", "c"]);
    assert_eq!(lost.contents("c"), b"\x07\x07xyz");
}
