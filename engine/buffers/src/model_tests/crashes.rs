//! A crash at every single call of a life in which everything happens once.

use super::world::{Ending, World};
use crate::log::Options;
use crate::simulated::{Calls, Choices, Failure, Fault, NameLoss};

const OPTIONS: Options = Options { segment_size: 1000, max_size: u64::MAX, completions: 4, max_age: None };

/// Groups of frames, a frame larger than a segment, segments completed in any order and removed, the oldest dropped, three
/// processes; it ends early where the process does.
fn live(world: &mut World) {
    let steps: [fn(&mut World); 22] = [
        |world| drop(world.append(&[100, 1, 300])),
        |world| drop(world.append(&[400, 500, 40, 3000, 20])),
        |world| _ = world.read(700),
        |world| world.complete(&[1, 0]),
        |world| world.append_and_keep(&[200]),
        |world| _ = world.read(usize::MAX),
        |world| world.append_and_keep(&[200, 700, 10]),
        |world| world.complete(&[2, 2, 2]),
        World::maintain,
        |world| drop(world.append(&[250; 9])),
        World::drop_oldest,
        World::maintain,
        |world| world.reopen(Ending::Close),
        |world| drop(world.append(&[10, 20])),
        |world| _ = world.read(usize::MAX),
        |world| world.complete(&[5, 4, 3, 2, 1]),
        World::read_again,
        |world| _ = world.read(600),
        World::complete_all,
        |world| world.reopen(Ending::Close),
        |world| _ = world.read(usize::MAX),
        World::complete_all,
    ];
    for step in steps {
        step(world);
        if world.disk.is_crashed() {
            return;
        }
    }
}

/// Wherever the process crashes in it, by a kill or by a power loss, the next one finds everything and goes on.
#[test]
fn a_crash_at_every_call() {
    let mut world = World::new(OPTIONS);
    live(&mut world);
    let calls = world.disk.counts().of(Calls::Changing);
    world.conclude();
    assert!(calls > 60, "{calls} calls are no life");
    for call in 0..calls {
        let mut world = World::new(OPTIONS);
        world.disk.set_fault(Fault::once(Calls::Changing, call, Failure::Crash));
        live(&mut world);
        assert!(world.disk.is_crashed(), "call {call} is never made");
        for seed in 0..4 {
            world.after(Ending::Kill(Choices::seeded(call * 100 + seed))).conclude();
        }
        for seed in 0..8 {
            for loss in [NameLoss::Last, NameLoss::Any] {
                world.after(Ending::PowerLoss(loss, Choices::seeded(call * 1000 + seed))).conclude();
            }
        }
    }
}

/// The second process crashes as well, at every call of what it does first.
#[test]
fn a_crash_after_a_crash() {
    let mut world = World::new(OPTIONS);
    live(&mut world);
    let calls = world.disk.counts().of(Calls::Changing);
    for call in (0..calls).step_by(5) {
        let mut first = World::new(OPTIONS);
        first.disk.set_fault(Fault::once(Calls::Changing, call, Failure::Crash));
        live(&mut first);
        for next in (0..30).step_by(3) {
            let seed = call * 100 + next;
            let mut second = first.after(match next % 2 {
                0 => Ending::Kill(Choices::seeded(seed)),
                _ => Ending::PowerLoss(NameLoss::Any, Choices::seeded(seed)),
            });
            second.disk.set_fault(Fault::once(Calls::Changing, next, Failure::Crash));
            live(&mut second);
            if !second.disk.is_crashed() {
                break;
            }
            second.after(Ending::Kill(Choices::seeded(seed))).conclude();
            second.after(Ending::PowerLoss(NameLoss::Any, Choices::seeded(seed))).conclude();
        }
    }
}
