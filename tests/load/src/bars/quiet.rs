//! The quiet bar: what a manager writes while nothing happens. The API server's own audit log is asked.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use cluster::{AuditEvent, ControlPlane, wait_until};

use super::{Bar, Length, Options, Verdict};
use crate::{
    manager::{Installation, pipeline},
    signal::Signal,
};

/// Pipelines of each kind.
const PIPELINES: usize = 10;
/// How long nothing but Leases is written before it is taken for idle.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Longest time that is waited for.
const LIMIT: Duration = Duration::from_secs(120);
/// A pipeline that says what is wrong with it, which is no reason to say it again and again.
const WRONG: &str = "apiVersion: telemetry.kyma-project.io/v1beta1\nkind: LogPipeline\nmetadata: { name: wrong }\nspec:\n  output:\n    \
                     otlp:\n      endpoint: { valueFrom: { secretKeyRef: { name: absent, namespace: telemetry-system, key: endpoint } } }\n---\n";
/// The module, which has a status too.
const TELEMETRY: &str = "apiVersion: operator.kyma-project.io/v1beta1\nkind: Telemetry\nmetadata: { name: default, namespace: telemetry-system }\n";

pub(super) const BAR: Bar = Bar {
    name: "quiet",
    about: "30 pipelines, one that is wrong, and a manager that has done everything; then a minute (ten with --long) without change",
    bound: "the API server's audit log shows no write of the manager except to its Lease",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let binary = options.manager()?;
    let idle = match options.length {
        Length::Short => Duration::from_secs(90),
        Length::Long => Duration::from_secs(600),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let control_plane = runtime.block_on(ControlPlane::start_audited())?;
    let installation = runtime.block_on(Installation::new(&control_plane, &binary))?;
    let manager = installation.start()?;
    let backend = "192.0.2.1:4317".parse()?;
    let all = Signal::ALL.iter().flat_map(|signal| (0..PIPELINES).map(move |number| (*signal, number)));
    let valid: String = all.map(|(signal, number)| pipeline(signal, &format!("shop-{number}"), backend)).collect();
    let wanted = installation.wanted(&valid)?;
    runtime.block_on(async {
        let seen = installation.seen(&control_plane).await?;
        control_plane.apply(&valid).await?;
        seen.until_accepted().await?;
        control_plane.apply(&format!("{WRONG}{TELEMETRY}")).await?;
        seen.until_there(&wanted).await?;
        settled(&control_plane).await
    })?;
    let before = control_plane.written()?;
    let busy = Counted::of(&before);
    ensure!(
        busy.others.values().sum::<usize>() > wanted.count(),
        "the audit log does not show what was applied: {busy:?}"
    );
    let cpu = manager.usage()?;
    std::thread::sleep(idle);
    let cpu = manager.usage()?.since(&cpu);
    let after = control_plane.written()?;
    let found = Counted::of(&after[before.len()..]);
    println!("  until everything is done: {} writes to the Lease, others {:?}", busy.leases, busy.others);
    println!(
        "  in {} s without change: {} writes to the Lease, others {:?}; {:.2} s of CPU",
        idle.as_secs(),
        found.leases,
        found.others,
        cpu.as_secs_f64()
    );
    ensure!(found.leases > 0, "the manager does not lead: nothing is written to its Lease");
    let others: usize = found.others.values().sum();
    Ok(Verdict { measured: format!("{others} writes in {} s", idle.as_secs()), holds: others == 0 })
}

/// Waits until nothing but the Lease has been written for a while.
async fn settled(control_plane: &ControlPlane) -> Result<()> {
    let others = || Some(Counted::of(&control_plane.written().ok()?).others.values().sum::<usize>());
    let (mut last, mut since) = (None, tokio::time::Instant::now());
    wait_until("nothing more is written", LIMIT, async || {
        let now = others();
        if now != last {
            (last, since) = (now, tokio::time::Instant::now());
        }
        (since.elapsed() >= SETTLED_AFTER).then_some(())
    })
    .await
}

/// Writes of the manager.
#[derive(Debug)]
struct Counted {
    leases: usize,
    /// By verb and resource.
    others: BTreeMap<String, usize>,
}

impl Counted {
    fn of(events: &[AuditEvent]) -> Counted {
        let mut counted = Counted { leases: 0, others: BTreeMap::new() };
        for event in events.iter().filter(|event| event.user == Installation::user()) {
            if event.resource == "leases" {
                counted.leases += 1;
            } else {
                *counted.others.entry(format!("{} {}", event.verb, event.resource)).or_default() += 1;
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leases are counted apart, refused writes count, and those of others do not.
    #[test]
    fn only_writes_of_the_manager_count() {
        let event = |user: &str, resource: &str, code| AuditEvent {
            user: user.to_owned(),
            verb: "patch".to_owned(),
            resource: resource.to_owned(),
            object: String::new(),
            code,
        };
        let own = Installation::user();
        let events =
            [event(&own, "leases", 200), event(&own, "secrets", 409), event("system:kube-scheduler", "pods", 200)];
        let counted = Counted::of(&events);
        assert_eq!((counted.leases, counted.others), (1, BTreeMap::from([("patch secrets".to_owned(), 1)])));
    }
}
