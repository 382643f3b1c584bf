//! Whose a buffer is: two engines on one directory, and a buffer whose sink has another name, or whose engine other lanes.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;

use super::Scenario;
use super::disk::on_disk;
use crate::engine::Engine;
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{Scene, until};
use crate::{Report, Run};

const END: Duration = Duration::from_secs(10);

pub(super) const SHARED: Scenario = Scenario {
    id: "F9",
    about: "a second engine on the same directory, other lanes, another name of the sink, and the first one again",
    run: |run| Box::pin(shared(run)),
};

async fn shared(run: &Run) -> Result<Report> {
    let state = TempDir::with_prefix("faults-state-")?;
    let mut endpoint = None;
    let mut scene = Scene::start(run, |ways| {
        endpoint = Some(ways.faulty);
        on_disk(ways.faulty, state.path(), "64MiB")
    })
    .await?;
    let configuration = endpoint.map(|endpoint| on_disk(endpoint, state.path(), "64MiB")).unwrap_or_default();
    scene.load("apps", &Load::new(run.rate)).await?;
    scene.proxy.set(Mode::Refuse);
    let second = Engine::start(&run.engine, &configuration).await.err().map(|error| format!("{error:#}"));
    let says = second.as_ref().is_some_and(|text| text.contains("in use") || text.contains("another process"));
    scene.report.require(says, || format!("the second engine is not refused for the directory: {second:?}"));
    more(&scene).await?;
    let named = |name: &str| configuration.replace("[sinks.out]", &format!("[sinks.{name}]"));
    let renamed = named("third");
    let mut found = Vec::new();
    // A sink that is gone, by its name, goes on with what it has left beside the other one, and with nothing else.
    for (what, text, finds, has_nothing) in [
        ("one lane", configuration.replacen("version = 1\n", "version = 1\nengine.lanes = 1\n", 1), "out", "other"),
        (
            "another name and the same identity",
            named("other").replace("max_size", "identity = \"out\", max_size"),
            "other",
            "out",
        ),
        ("another name", renamed.clone(), "other", "third"),
        ("the first name", configuration.clone(), "out", ""),
    ] {
        again(&mut scene, &text).await?;
        let status = scene.engine.status().await?;
        let recovered = |sink: &str| {
            let of_it = status.ledgers().filter(|(id, _)| *id == sink);
            of_it.map(|(_, ledger)| ledger.recovered).sum::<u64>()
        };
        found.push(format!("{what}: {}", recovered(finds)));
        scene.report.require(recovered(finds) > 0 && recovered(has_nothing) == 0, || {
            format!("{what}: `{finds}` found {} records, `{has_nothing}` {}", recovered(finds), recovered(has_nothing))
        });
        more(&scene).await?;
    }
    scene.report.measured.push(format!("records found with {}; the second engine said {second:?}", found.join(", ")));
    scene.proxy.set(Mode::Pass);
    scene.heal();
    scene.stop().await;
    // What the sink took while it had another name is for that one.
    for text in [&configuration, &renamed] {
        until("nothing is held", async || {
            let status = scene.engine.status().await;
            status.is_ok_and(|status| status.ledgers().all(|(_, ledger)| ledger.held() == 0))
        })
        .await?;
        again(&mut scene, text).await?;
    }
    scene.judge().await
}

/// Ends the engine and starts it with this configuration.
async fn again(scene: &mut Scene, configuration: &str) -> Result<()> {
    scene.engine.signal(Signal::TERM)?;
    scene.engine.ended(END).await?;
    scene.engine.configure(configuration)?;
    scene.start_again().await?;
    Ok(())
}

/// Waits until clients have been told of more successes.
async fn more(scene: &Scene) -> Result<()> {
    let least = scene.told().acknowledged() + 200;
    scene.until_told("clients are told of success", |told| told.acknowledged() > least).await
}
