//! Errors on demand, full disks, counts of calls.

use super::*;

/// A sync that failed gives up what it should have written: later ones, which succeed, do not bring it to the disk; what is
/// written after it they do.
#[test]
fn a_failed_sync_is_never_made_up_for() {
    let disk = SimulatedDirectory::new();
    let mut file = durable(&disk, "a", b"one ");
    append(&mut file, b"two ").unwrap();
    disk.set_fault(Fault::once(Calls::Only(Call::Sync), 0, Failure::Device));
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
    append(&mut file, b"three").unwrap();
    file.sync().unwrap();
    assert_eq!(disk.contents("a"), b"one two three");
    let left = |seed| disk.power_loss(NameLoss::Last, &mut Choices::seeded(seed)).contents("a");
    let mut seen: Vec<Vec<u8>> = (0..500).map(left).collect();
    assert!(seen.iter().all(|bytes| bytes.starts_with(b"one ") && bytes.ends_with(b"three") && bytes.len() == 13));
    seen.sort();
    seen.dedup();
    assert!(seen.contains(&b"one two three".to_vec()) && seen.contains(&b"one \0\0\0\0three".to_vec()), "{seen:?}");
}

/// A fault hits the calls that it says, as often as it says, and a write that fails leaves the part that it says.
#[test]
fn faults_hit_the_calls_they_name() {
    let disk = SimulatedDirectory::new();
    let mut file = disk.create("a").unwrap();
    disk.set_fault(Fault {
        times: 2,
        arrives: 128,
        ..Fault::once(Calls::Only(Call::WritePieces), 1, Failure::StorageFull)
    });
    append(&mut file, b"12").unwrap();
    assert_eq!(append(&mut file, b"34").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(append(&mut file, b"56").unwrap_err().kind(), io::ErrorKind::StorageFull);
    append(&mut file, b"78").unwrap();
    assert_eq!(disk.contents("a"), b"123578");
    assert_eq!(disk.faults_hit(), 2);

    disk.set_fault(Fault::from(Calls::Only(Call::Remove), 0, Failure::Other(io::ErrorKind::PermissionDenied)));
    for _ in 0..3 {
        assert_eq!(disk.remove("a").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
    disk.clear_faults();
    disk.remove("a").unwrap();
    assert_eq!(disk.faults_hit(), 5);

    disk.set_fault(Fault::once(Calls::Changing, 0, Failure::Device));
    file.size().unwrap();
    disk.list().unwrap();
    assert!(disk.sync_names().is_err());
}

/// Calls are counted by kind, those that fail as well.
#[test]
fn calls_are_counted() {
    let disk = SimulatedDirectory::new();
    let mut file = durable(&disk, "a", b"a");
    append(&mut file, b"b").unwrap();
    disk.set_fault(Fault::once(Calls::Only(Call::WritePieces), 0, Failure::Device));
    assert!(append(&mut file, b"c").is_err());
    disk.open_to_read("a").unwrap().read_at(0, &mut [0; 4]).unwrap();
    assert!(disk.open("b").is_err());
    let counts = disk.counts();
    let expected = [
        (Calls::Only(Call::Create), 1),
        (Calls::Only(Call::WritePieces), 3),
        (Calls::Only(Call::Sync), 1),
        (Calls::Only(Call::SyncNames), 1),
        (Calls::Only(Call::Open), 1),
        (Calls::Only(Call::OpenToRead), 1),
        (Calls::Only(Call::ReadAt), 1),
        (Calls::Only(Call::WriteAt), 0),
        (Calls::Changing, 6),
        (Calls::Any, 9),
    ];
    for (calls, count) in expected {
        assert_eq!(counts.of(calls), count, "{calls:?}");
    }
}

/// On a full disk appends write what fits and fail, reserved space can be written to, and removed files give theirs back
/// once they are closed.
#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimulatedDirectory::new();
    disk.set_capacity(Some(100));
    let mut reserved = disk.create("reserved").unwrap();
    reserved.allocate(40).unwrap();
    drop(reserved);
    let mut file = disk.create("a").unwrap();
    append(&mut file, &[1; 50]).unwrap();
    assert_eq!(append(&mut file, &[2; 11]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((disk.contents("a").len(), disk.used()), (60, 100));
    assert_eq!(append(&mut file, &[2; 1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.create("b").unwrap().allocate(1).unwrap_err().kind(), io::ErrorKind::StorageFull);

    let mut inside = disk.open("reserved").unwrap();
    inside.write_at(30, &[9; 10]).unwrap();
    assert_eq!(inside.write_at(31, &[8; 10]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.contents("reserved")[29..], [0, 9, 8, 8, 8, 8, 8, 8, 8, 8, 8]);

    disk.remove("a").unwrap();
    assert_eq!(disk.used(), 100);
    drop(file);
    assert_eq!(disk.used(), 40);
    inside.set_size(10).unwrap();
    assert_eq!(disk.used(), 10);
    inside.set_size(500).unwrap();
    assert_eq!((disk.used(), inside.size().unwrap()), (10, 500));
    disk.set_capacity(None);
    inside.write_at(490, &[1; 10]).unwrap();
}
