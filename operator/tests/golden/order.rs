//! A plan is a function of what is there, not of how it came.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use telemetry_manager::input::Input;
use telemetry_manager::plan::{Judgements, plan, plan_again};

use crate::cases::inputs;

/// All cases in one cluster, with names that differ.
fn everything() -> Input {
    let mut all = Input { now: crate::cases::NOW, ..Input::default() };
    for (name, input) in inputs() {
        let short: String = name.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        let renamed = |found: &Option<String>| Some(format!("{short}-{}", found.as_deref().unwrap_or_default()));
        all.logs.extend(input.logs.into_iter().map(|mut found| {
            found.metadata.name = renamed(&found.metadata.name);
            found
        }));
        all.metrics.extend(input.metrics.into_iter().map(|mut found| {
            found.metadata.name = renamed(&found.metadata.name);
            found
        }));
        all.traces.extend(input.traces.into_iter().map(|mut found| {
            found.metadata.name = renamed(&found.metadata.name);
            found
        }));
        all.secrets.extend(input.secrets);
    }
    all
}

/// Whatever the order of the inputs, the plan is the same, to the byte.
#[test]
fn the_order_of_inputs_does_not_matter() {
    let first = everything();
    let expected = plan(&first);
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..5 {
        let mut shuffled = first.clone();
        shuffled.logs.shuffle(&mut random);
        shuffled.metrics.shuffle(&mut random);
        shuffled.traces.shuffle(&mut random);
        assert!(plan(&shuffled) == expected, "the plan depends on the order of its inputs");
    }
}

/// A pipeline that is wrong changes nothing of what runs for the others.
#[test]
fn wrong_pipelines_change_nothing() {
    let all = everything();
    let expected = plan(&all);
    let runs = |name: &str| {
        expected.pipelines.iter().any(|(id, report)| {
            id.name == name && report.conditions.first().is_some_and(|condition| condition.status.as_str() == "True")
        })
    };
    let mut valid = all.clone();
    valid.logs.retain(|found| runs(found.metadata.name.as_deref().unwrap_or_default()));
    valid.metrics.retain(|found| runs(found.metadata.name.as_deref().unwrap_or_default()));
    valid.traces.retain(|found| runs(found.metadata.name.as_deref().unwrap_or_default()));
    assert!(valid.logs.len() < all.logs.len(), "there are wrong ones");
    let alone = plan(&valid);
    assert!(alone.objects == expected.objects && alone.configs == expected.configs);
}

/// What was judged for a plan before changes nothing of the next, whatever that one was of.
#[test]
fn plans_do_not_depend_on_those_before() {
    let mut judgements = Judgements::default();
    for (name, input) in inputs() {
        let expected = plan(&input);
        for _ in 0..2 {
            assert_eq!(plan_again(&input, &mut judgements), expected, "{name}");
        }
    }
}
