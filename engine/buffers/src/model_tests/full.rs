//! Disks without a byte left.

use super::world::{Ending, World};
use crate::log::Options;

const OPTIONS: Options = Options { segment_size: 20_000, max_size: u64::MAX, completions: 32, max_age: None };

/// A disk that was filled, by the log and then to the last byte by somebody else, is emptied by completing what is on it, in
/// the worst order and after a restart too, and takes frames again at once.
#[test]
fn a_full_disk_is_emptied() {
    for restarts in [false, true] {
        let mut world = World::new(OPTIONS);
        world.set_capacity(Some(1_200_000));
        while world.append(&[120; 20]).len() == 20 {}
        world.set_capacity(Some(world.disk.used()));
        assert_eq!(world.append(&[120]), [], "it is full");
        // There is room for a new file, and for nothing in it: that it goes again is no reason to try once more at once.
        world.set_capacity(Some(world.disk.used() + 100));
        assert_eq!(world.append(&[120]), []);
        let now = world.now();
        world.log().take_freed();
        world.log().maintain(now).unwrap();
        assert!(!world.log().has_freed());
        world.set_capacity(Some(world.disk.used()));
        if restarts {
            world.reopen(Ending::Close);
            world.set_capacity(Some(world.disk.used()));
        }
        while world.log().has_unread() {
            world.read(50_000);
        }
        let frames = world.model.in_hands().len();
        assert!(frames > 2000, "{frames} frames");
        // Every other one, from the last to the first, then the rest: as many ranges as there can be.
        let every_other: Vec<usize> = (0..frames / 2).map(|index| 2 * index).rev().collect();
        every_other.chunks(40).for_each(|picks| world.complete(picks));
        assert_eq!(world.append(&[120]), [], "no segment can go yet");
        world.complete_all();
        assert_eq!(world.append(&[120; 100]).len(), 100);
        world.conclude();
    }
}
