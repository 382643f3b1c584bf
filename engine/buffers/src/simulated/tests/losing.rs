//! Power losses and kills.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// How many power losses are tried where every outcome must be seen.
const TRIES: u64 = 3000;

/// What a power loss may leave, over many of them.
fn outcomes<T: Ord>(disk: &SimulatedDirectory, loss: NameLoss, look: impl Fn(&SimulatedDirectory) -> T) -> BTreeSet<T> {
    (0..TRIES).map(|seed| look(&disk.power_loss(loss, &mut Choices::seeded(seed)))).collect()
}

fn any_operations() -> impl Strategy<Value = Vec<(u8, u8, Vec<u8>)>> {
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..8), prop::collection::vec(any::<u8>(), 0..1500)];
    prop::collection::vec((0_u8..7, 0_u8..3, bytes), 0..30)
}

/// Does something with one of three files.
fn operate(disk: &SimulatedDirectory, (what, file, bytes): &(u8, u8, Vec<u8>)) {
    let name = file.to_string();
    let Ok(mut handle) = disk.open(&name) else {
        let mut made = disk.create(&name).unwrap();
        return append(&mut made, bytes).unwrap();
    };
    let at = bytes.first().map_or(0, |byte| u64::from(*byte) * 7);
    match what {
        0..=2 => handle.write_at(at, bytes).unwrap(),
        3 => handle.set_size(at).unwrap(),
        4 => handle.allocate(at).unwrap(),
        5 => disk.remove(&name).unwrap(),
        _ => disk.rename(&name, &((file + 1) % 3).to_string()).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever was synced is there after every power loss, byte by byte, with its names; and the mildest loss loses nothing.
    #[test]
    fn what_was_synced_stays(before in any_operations(), mut choices in Choices::any()) {
        let disk = SimulatedDirectory::new();
        before.iter().for_each(|operation| operate(&disk, operation));
        let mild = disk.power_loss(NameLoss::Any, &mut Choices::mild());
        prop_assert_eq!(mild.snapshot(), disk.snapshot());
        for name in names(&disk) {
            disk.open(&name).unwrap().sync().unwrap();
        }
        disk.sync_names().unwrap();
        let lost = disk.power_loss(NameLoss::Any, &mut choices);
        prop_assert_eq!(lost.snapshot(), disk.snapshot());
        prop_assert_eq!(lost.power_loss(NameLoss::Any, &mut choices).snapshot(), disk.snapshot());
    }

    /// A power loss makes no byte up: at every place stands what was synced, what was written there since, or zero.
    #[test]
    fn nothing_is_made_up(writes in prop::collection::vec((0_u64..3000, 1_usize..1500), 1..10), mut choices in Choices::any()) {
        let disk = SimulatedDirectory::new();
        drop(durable(&disk, "a", &[200; 1000]));
        let mut file = disk.open("a").unwrap();
        let mut possible = vec![BTreeSet::from([0]); 5000];
        possible[..1000].fill(BTreeSet::from([200]));
        for (index, (offset, length)) in writes.iter().enumerate() {
            file.write_at(*offset, &vec![index as u8 + 1; *length]).unwrap();
            for place in &mut possible[*offset as usize..*offset as usize + length] {
                place.insert(index as u8 + 1);
            }
        }
        let lost = disk.power_loss(NameLoss::Last, &mut choices).contents("a");
        prop_assert!(lost.len() as u64 <= file.size().unwrap());
        for (place, byte) in lost.iter().enumerate() {
            prop_assert!(possible[place].contains(byte), "byte {byte} at {place}");
        }
    }

    /// A killed process leaves everything that it wrote, and of the write that it died in a prefix.
    #[test]
    fn a_kill_leaves_what_was_written(operations in any_operations(), torn in prop::collection::vec(any::<u8>(), 1..2000), mut choices in Choices::any()) {
        let disk = SimulatedDirectory::new();
        operations.iter().for_each(|operation| operate(&disk, operation));
        let mut file = disk.create("last").unwrap();
        append(&mut file, b"whole").unwrap();
        let mut expected = disk.snapshot();
        prop_assert_eq!(&disk.kill(&mut choices).snapshot(), &expected);

        disk.set_fault(Fault::once(Calls::Changing, 0, Failure::Crash));
        prop_assert!(is_crash(&append(&mut file, &torn).unwrap_err()));
        prop_assert!(is_crash(&disk.list().unwrap_err()));
        drop(file);
        let killed = disk.kill(&mut choices);
        let last = killed.contents("last");
        prop_assert!([b"whole", torn.as_slice()].concat().starts_with(&last) && last.len() >= 5);
        expected.insert("last".to_owned(), last);
        prop_assert_eq!(killed.snapshot(), expected);
    }
}

/// What was not synced may be there, absent, cut at any byte, or zeros where the size went ahead.
#[test]
fn what_was_not_synced_may_be_lost() {
    let disk = SimulatedDirectory::new();
    let mut file = durable(&disk, "a", b"kept");
    append(&mut file, b"new").unwrap();
    let seen = outcomes(&disk, NameLoss::Last, |disk| disk.contents("a"));
    let expected: [&[u8]; 5] = [b"kept", b"keptn", b"keptne", b"keptnew", b"kept\0\0\0"];
    assert_eq!(seen, expected.into_iter().map(<[u8]>::to_vec).collect());
}

/// A later write may arrive without an earlier one, and of one write only some sectors.
#[test]
fn writes_arrive_in_any_order() {
    let disk = SimulatedDirectory::new();
    let mut file = durable(&disk, "a", b"");
    append(&mut file, &[1; 512]).unwrap();
    append(&mut file, &[2; 1024]).unwrap();
    let sectors = |disk: &SimulatedDirectory| {
        let bytes = disk.contents("a");
        (bytes.len() == 1536).then(|| [bytes[0], bytes[512], bytes[1024]])
    };
    let seen = outcomes(&disk, NameLoss::Last, sectors);
    for wanted in [[0, 2, 2], [1, 2, 2], [1, 0, 2], [1, 2, 0], [0, 0, 2], [0, 0, 0]] {
        assert!(seen.contains(&Some(wanted)), "{wanted:?} never came");
    }
}

/// A cut that was not synced may be undone, also behind a write that arrives.
#[test]
fn sizes_are_lost_as_well() {
    let disk = SimulatedDirectory::new();
    drop(durable(&disk, "a", b"abcdef"));
    let mut file = disk.open("a").unwrap();
    file.set_size(2).unwrap();
    file.write_at(2, b"X").unwrap();
    let seen = outcomes(&disk, NameLoss::Last, |disk| disk.contents("a"));
    for wanted in [&b"abcdef"[..], b"ab", b"abX", b"abXdef"] {
        assert!(seen.contains(wanted), "{wanted:?} never came");
    }
}

/// Names that were not synced are lost from the last one on, or in the harsher way each by itself; synced bytes go with them.
#[test]
fn names_are_lost() {
    let disk = SimulatedDirectory::new();
    drop(durable(&disk, "a", b"a"));
    drop(durable(&disk, "b", b"b"));
    let mut made = disk.create("c").unwrap();
    made.sync().unwrap();
    disk.remove("a").unwrap();
    disk.rename("b", "d").unwrap();
    let all = |text: &[&str]| {
        text.iter().map(|names| names.split(' ').map(str::to_owned).collect()).collect::<BTreeSet<Vec<String>>>()
    };
    assert_eq!(outcomes(&disk, NameLoss::Last, names), all(&["a b", "a b c", "b c", "c d"]));
    let harsher = all(&["a b", "a b c", "b c", "c d", "b", "d", "a d", "a c d"]);
    assert_eq!(outcomes(&disk, NameLoss::Any, names), harsher);
    disk.sync_names().unwrap();
    assert_eq!(outcomes(&disk, NameLoss::Any, names), all(&["c d"]));
}

/// A file that took another's name leaves one or the other under it, never neither.
#[test]
fn a_rename_is_whole() {
    let disk = SimulatedDirectory::new();
    drop(durable(&disk, "new", b"new"));
    drop(durable(&disk, "old", b"old"));
    disk.rename("new", "old").unwrap();
    let seen = outcomes(&disk, NameLoss::Any, |disk| disk.contents("old"));
    assert_eq!(seen, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
}

/// A crash in a change of names, a sync or a sync of names leaves it done or not done.
#[test]
fn what_a_crash_interrupts_is_done_or_not() {
    type Last = fn(&SimulatedDirectory, &mut SimulatedFile) -> io::Result<()>;
    let cases: [(Last, &[&str], &[&str]); 5] = [
        (|disk, _| disk.create("b").map(drop), &["a", "a b"], &["a", "a b"]),
        (|disk, _| disk.rename("a", "b"), &["a", "b"], &["a", "b"]),
        (|disk, _| disk.remove("a"), &["a", ""], &["a", ""]),
        (|_, file| file.sync(), &["a"], &["a"]),
        (|disk, _| disk.sync_names(), &["a"], &["a"]),
    ];
    for (index, (last, killed, lost)) in cases.into_iter().enumerate() {
        let disk = SimulatedDirectory::new();
        let mut file = durable(&disk, "a", b"synced");
        append(&mut file, b"not").unwrap();
        disk.set_fault(Fault::once(Calls::Any, 0, Failure::Crash));
        assert!(is_crash(&last(&disk, &mut file).unwrap_err()), "case {index}");
        drop(file);
        let seen: BTreeSet<String> =
            (0..100).map(|seed| names(&disk.kill(&mut Choices::seeded(seed))).join(" ")).collect();
        assert_eq!(
            seen.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            killed.iter().copied().collect(),
            "case {index}"
        );
        let seen = outcomes(&disk, NameLoss::Last, |disk| names(disk).join(" "));
        assert_eq!(
            seen.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            lost.iter().copied().collect(),
            "case {index}"
        );
    }
}

/// What a killed process did not sync is lost by a power loss that comes later.
#[test]
fn a_kill_syncs_nothing() {
    let disk = SimulatedDirectory::new();
    let mut file = durable(&disk, "a", b"a");
    append(&mut file, b"b").unwrap();
    let killed = disk.kill(&mut Choices::seeded(0));
    assert_eq!(killed.contents("a"), b"ab");
    assert!(outcomes(&killed, NameLoss::Last, |disk| disk.contents("a")).contains(&b"a"[..]));
}
