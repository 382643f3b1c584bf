//! Random sequences of everything that can be done to a log and can happen to it.

use std::io;

use proptest::prelude::*;

use super::PRODUCTION;
use super::world::{Ending, World};
use crate::log::Options;
use crate::simulated::{Call, Calls, Choices, Failure, Fault, NameLoss};

/// Something that is done, or that happens.
#[derive(Clone, Debug)]
enum Operation {
    Append(Vec<usize>),
    AppendAndKeep(Vec<usize>),
    Read(usize),
    ReadAgain,
    Complete(Vec<usize>),
    CompleteAny(Vec<usize>),
    CompleteAll,
    Maintain,
    DropOldest,
    Reopen(Ending),
    Fail(Fault),
    Heal,
    Capacity(Option<u64>),
}

fn any_sizes(scale: usize) -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![5 => 1_usize..60, 4 => 60_usize..900, 1 => 900_usize..9000];
    prop::collection::vec(size.prop_map(move |size| size * scale), 0..7)
}

fn any_ending() -> impl Strategy<Value = Ending> {
    let loss = prop_oneof![Just(NameLoss::Last), Just(NameLoss::Any)];
    prop_oneof![
        Just(Ending::Close),
        Choices::any().prop_map(Ending::Kill),
        (loss, Choices::any()).prop_map(|(loss, choices)| Ending::PowerLoss(loss, choices)),
    ]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let kinds = [
        Call::List,
        Call::Create,
        Call::Open,
        Call::OpenToRead,
        Call::Rename,
        Call::Remove,
        Call::SyncNames,
        Call::WritePieces,
        Call::WriteAt,
        Call::ReadAt,
        Call::Sync,
        Call::SetSize,
        Call::Allocate,
        Call::Size,
    ];
    let calls = prop_oneof![
        2 => Just(Calls::Any),
        2 => Just(Calls::Changing),
        3 => prop::sample::select(kinds.to_vec()).prop_map(Calls::Only),
    ];
    let failure = prop_oneof![
        2 => Just(Failure::StorageFull),
        3 => Just(Failure::Device),
        4 => Just(Failure::Crash),
        1 => Just(Failure::Other(io::ErrorKind::PermissionDenied)),
    ];
    let times = prop_oneof![4 => 1_u64..4, 1 => Just(u64::MAX)];
    (calls, 0_u64..12, times, failure, any::<u8>()).prop_map(|(calls, after, times, failure, arrives)| Fault {
        calls,
        after,
        times,
        failure,
        arrives,
    })
}

fn any_operation(scale: usize) -> impl Strategy<Value = Operation> {
    // About as much as is reserved for what is completed, and a little more.
    let capacity = 500_000_u64..540_000 + 10_000 * scale as u64;
    prop_oneof![
        8 => any_sizes(scale).prop_map(Operation::Append),
        2 => any_sizes(scale).prop_map(Operation::AppendAndKeep),
        6 => prop_oneof![Just(1), 1_usize..5000 * scale, Just(usize::MAX)].prop_map(Operation::Read),
        1 => Just(Operation::ReadAgain),
        8 => prop::collection::vec(any::<u16>().prop_map(usize::from), 0..12).prop_map(Operation::Complete),
        2 => prop::collection::vec(any::<u16>().prop_map(usize::from), 0..12).prop_map(Operation::CompleteAny),
        2 => Just(Operation::CompleteAll),
        2 => Just(Operation::Maintain),
        1 => Just(Operation::DropOldest),
        3 => any_ending().prop_map(Operation::Reopen),
        3 => any_fault().prop_map(Operation::Fail),
        2 => Just(Operation::Heal),
        1 => prop::option::of(capacity).prop_map(Operation::Capacity),
    ]
}

fn operate(world: &mut World, operation: Operation) {
    match operation {
        Operation::Append(sizes) => drop(world.append(&sizes)),
        Operation::AppendAndKeep(sizes) => world.append_and_keep(&sizes),
        Operation::Read(most) => _ = world.read(most),
        Operation::ReadAgain => world.read_again(),
        Operation::Complete(picks) => world.complete(&picks),
        Operation::CompleteAny(picks) => world.complete_any(&picks),
        Operation::CompleteAll => world.complete_all(),
        Operation::Maintain => world.maintain(),
        Operation::DropOldest => world.drop_oldest(),
        Operation::Reopen(ending) => world.reopen(ending),
        Operation::Fail(fault) => world.disk.set_fault(fault),
        Operation::Heal => world.disk.clear_faults(),
        Operation::Capacity(bytes) => world.set_capacity(bytes),
    }
}

/// Does everything, restarts where the process has crashed, and comes to a good end.
fn run(options: Options, operations: Vec<Operation>, mut endings: Vec<Ending>) {
    let mut world = World::new(options);
    for operation in operations {
        if world.disk.is_crashed() && !matches!(operation, Operation::Reopen(Ending::Kill(_) | Ending::PowerLoss(..))) {
            world.reopen(endings.pop().unwrap_or(Ending::Kill(Choices::mild())));
        }
        operate(&mut world, operation);
    }
    world.conclude();
}

/// So many quarters of the usual number of cases; `PROPTEST_CASES` says how many are usual.
fn quarters(count: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases * count / 4, max_shrink_iters: 20_000, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(quarters(8))]

    /// Whatever is done and whatever happens, the log does what the model does.
    #[test]
    fn the_log_keeps_its_promises(
        operations in prop::collection::vec(any_operation(1), 1..40),
        endings in prop::collection::vec(any_ending(), 0..5),
        segment_size in prop_oneof![Just(200_u64), Just(2000), Just(5000)],
        max_size in prop_oneof![Just(0_u64), Just(6000), Just(u64::MAX)],
        completions in prop_oneof![Just(1_u32), Just(5), Just(32)],
    ) {
        run(Options { segment_size, max_size, completions, max_age: None }, operations, endings);
    }
}

proptest! {
    #![proptest_config(quarters(1))]

    /// So it is with the sizes of production too.
    #[test]
    fn the_log_keeps_its_promises_at_full_size(
        operations in prop::collection::vec(any_operation(60), 1..60),
        endings in prop::collection::vec(any_ending(), 0..5),
    ) {
        run(PRODUCTION, operations, endings);
    }
}
