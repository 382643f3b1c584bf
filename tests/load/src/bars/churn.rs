//! The churn bar: whether data is ever taken for another pod's while pods come and go and hand on their addresses.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use anyhow::{Result, bail, ensure};

use super::{Bar, Length, Options, Verdict};
use crate::{
    churn::{NETWORK, Outcome, Spec, Tally},
    peer::Program,
    roles::{Actor, Role},
};

/// Pods that come in a second, and those that have to have come so that a measurement counts.
const PODS_A_SECOND: f64 = 100.0;
const LEAST_PODS_A_SECOND: f64 = 95.0;
/// The least share of pods that have somebody else's address.
const LEAST_REUSED: f64 = 0.6;
/// The largest share of records of pods that may arrive without their pod.
const MOST_MISSING: f64 = 0.01;

pub(super) const BAR: Bar = Bar {
    name: "churn",
    about: "100 pods a second come and go in an API server, hand on their addresses and share those of nodes",
    bound: "no record with another pod, no forged mark, <= 1.00 % of pods' records without a pod, all of it counted",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(engine) = options.program()? else { bail!("only the engine knows pods") };
    let seconds = match options.length {
        Length::Short => 60.0,
        Length::Long => 600.0,
    };
    // The other process has its working directory, too, but its network is its own.
    let engine = std::path::absolute(engine)?;
    let spec = Spec { engine, seconds, pods_a_second: PODS_A_SECOND };
    let mut actor = Actor::start_in_network(Role::Churn, &spec, NETWORK)?;
    let outcome: Outcome = actor.hear()?;
    print(&outcome);
    let sum = sum(&outcome);
    void(&outcome, &sum)?;
    Ok(verdict(&outcome, &sum))
}

/// What arrived, of all senders.
fn sum(outcome: &Outcome) -> Tally {
    outcome.findings.senders.iter().fold(Tally::default(), |sum, (_, tally)| sum.plus(tally))
}

/// A measurement without what it is about, or with records lost, has no figures.
fn void(outcome: &Outcome, sum: &Tally) -> Result<()> {
    ensure!(outcome.failure.is_none(), "a request was answered {:?}", outcome.failure);
    ensure!(
        outcome.accepted == outcome.arrived,
        "{} records were acknowledged and {} arrived",
        outcome.accepted,
        outcome.arrived
    );
    let judged = sum.attributed() + sum.unattributed();
    ensure!(judged == outcome.arrived, "{} records arrived and {judged} were judged", outcome.arrived);
    for (what, count) in [("came", outcome.pods), ("ended", outcome.ended_meanwhile)] {
        // Pods live for some seconds, so the first seconds have fewer ends.
        let least = if what == "came" { LEAST_PODS_A_SECOND } else { LEAST_PODS_A_SECOND * LEAST_REUSED };
        let rate = count as f64 / outcome.seconds;
        ensure!(rate >= least, "only {rate:.0} pods a second {what}");
    }
    let reused = outcome.gaps_ms.len() as f64 / outcome.pods as f64;
    ensure!(reused >= LEAST_REUSED, "only {:.0} % of the pods had the address of another one", reused * 100.0);
    ensure!(outcome.forged_requests > 0, "no mark was forged");
    Ok(())
}

fn verdict(outcome: &Outcome, sum: &Tally) -> Verdict {
    let of_pods: u64 = outcome
        .findings
        .senders
        .iter()
        .filter(|(sender, _)| sender.is_of_a_pod())
        .map(|(_, tally)| tally.right + tally.wrong + tally.missing)
        .sum();
    let missing = sum.missing as f64 / of_pods as f64;
    let counted = |prefix: &str| -> u64 {
        outcome.counts.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
    };
    let is_counted = counted("records_matched_") == sum.attributed()
        && counted("records_unmatched_") == sum.unattributed()
        && outcome.foreign_marks == outcome.forged_requests;
    Verdict {
        measured: format!(
            "{} records of {} with another pod, {} with a forged mark, {} without an agent's mark, {:.2} % without their pod, {}",
            sum.wrong,
            outcome.arrived,
            sum.forged,
            sum.unmarked,
            missing * 100.0,
            if is_counted { "all counted" } else { "the engine counts otherwise" },
        ),
        holds: sum.wrong == 0 && sum.forged == 0 && sum.unmarked == 0 && missing <= MOST_MISSING && is_counted,
    }
}

fn print(outcome: &Outcome) {
    let of =
        |part: usize, of: usize| outcome.gaps_ms.get(outcome.gaps_ms.len() * part / of).copied().unwrap_or_default();
    let [median, p99, most] = outcome.api_ms;
    println!(
        "  {} pods in {:.0} s, {} ended meanwhile, {} by themselves, {} sent before their address was told",
        outcome.pods, outcome.seconds, outcome.ended_meanwhile, outcome.completed, outcome.early
    );
    println!(
        "  {} had the address of another pod, free for {} ms at least, {} ms in the middle; {} requests with a forged mark, {} \
         removed",
        outcome.gaps_ms.len(),
        of(0, 2),
        of(1, 2),
        outcome.forged_requests,
        outcome.foreign_marks
    );
    println!("  the API server answered in {median:.1} ms, p99 {p99:.1} ms, at most {most:.1} ms");
    for (sender, tally) in &outcome.findings.senders {
        println!(
            "  {:<30} right {:>6}  missing {:>5}  rightly none {:>6}  wrong {:>3}  forged {:>3}",
            sender.name(),
            tally.right,
            tally.missing,
            tally.rightly_none,
            tally.wrong,
            tally.forged
        );
    }
    let counts: Vec<_> =
        outcome.counts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name} {count}")).collect();
    println!("  the engine: {}", counts.join(", "));
    if let Some(wrong) = &outcome.findings.first_wrong {
        println!("  the first wrong one: {wrong}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::churn::{Findings, Sender};

    fn outcome(tally: Tally) -> Outcome {
        let arrived = tally.attributed() + tally.unattributed();
        let matched = ("records_matched_by_pod_uid".to_owned(), tally.attributed());
        let unmatched = ("records_unmatched_unknown_pod".to_owned(), tally.unattributed());
        Outcome {
            pods: 6000,
            seconds: 60.0,
            ended_meanwhile: 5600,
            completed: 500,
            early: 500,
            gaps_ms: vec![100; 5000],
            forged_requests: 7,
            api_ms: [1.0, 2.0, 3.0],
            accepted: arrived,
            arrived,
            failure: None,
            findings: Findings { senders: vec![(Sender::Connection, tally)], first_wrong: None },
            counts: [matched, unmatched].into(),
            foreign_marks: 7,
        }
    }

    fn judged(outcome: &Outcome) -> bool {
        let sum = sum(outcome);
        void(outcome, &sum).is_ok() && verdict(outcome, &sum).holds
    }

    /// One record with another pod, one forged mark, too many without their pod, or counts that differ are enough to fall
    /// short.
    #[test]
    fn one_fault_falls_short() {
        let good = Tally { right: 990, missing: 10, ..Tally::default() };
        assert!(judged(&outcome(good.clone())));
        for bad in [
            Tally { wrong: 1, ..good.clone() },
            Tally { forged: 1, ..good.clone() },
            Tally { unmarked: 1, ..good.clone() },
            Tally { missing: 11, ..good.clone() },
        ] {
            assert!(!judged(&outcome(bad)));
        }
        assert!(!judged(&Outcome { foreign_marks: 6, ..outcome(good.clone()) }));
        assert!(!judged(&Outcome { counts: [].into(), ..outcome(good) }));
    }

    /// Without the fault that it is about a measurement is void.
    #[test]
    fn the_fault_must_have_happened() {
        let good = || outcome(Tally { right: 1000, ..Tally::default() });
        assert!(judged(&good()));
        for without in [
            Outcome { pods: 3000, ..good() },
            Outcome { gaps_ms: vec![100; 1000], ..good() },
            Outcome { forged_requests: 0, foreign_marks: 0, ..good() },
            Outcome { accepted: 1001, ..good() },
        ] {
            assert!(!judged(&without));
        }
    }
}
