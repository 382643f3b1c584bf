//! How full the buffers on disk are.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{BUFFER_HEALTHY, ConditionReport, Known, Verdict};
use crate::collect::{Buffer, Collected};
use crate::crd::{BufferStatus, ReportingPods};
use crate::input::{BufferView, EngineReport};
use crate::quantity;
use crate::render::config::label;
use crate::role::Fleet;

/// A buffer is warned of above this share of its size, in percent.
const FILLING: u64 = 80;
/// Above this share it takes no more: space comes back by whole files, which are sixteenths.
const FULL: u64 = 93;

/// The condition of the buffer of a pipeline that has one on disk.
pub(super) fn condition(pipeline: &Collected, known: &Known<'_>) -> Option<ConditionReport> {
    let of = |status, reason, message| Some(ConditionReport { kind: BUFFER_HEALTHY, status, reason, message });
    let buffer = known.storage?.buffers.get(&pipeline.id)?;
    let name = label(&pipeline.id.name);
    let failing = views(&name, known).find_map(|(report, view)| Some((report, view.problem.as_ref()?)));
    if let Some((report, problem)) = failing {
        let message = format!(
            "Nothing can be written to the volume of pod {}, and what comes is turned away or dropped: {problem}",
            report.pod
        );
        return of(Verdict::False, "BufferNotWritable", message);
    }
    let share = |view: &BufferView| view.used.saturating_mul(100) / view.max.max(1);
    let fullest = views(&name, known).max_by_key(|(_, view)| share(view));
    // No numbers: each of them would be a write. They are in `status.buffer`.
    match fullest {
        Some((report, view)) if share(view) >= FULL => {
            let message = format!(
                "The buffer is full in pod {}: what comes is turned away or dropped until the backend takes something. Repair the \
                 backend, or raise output.otlp.buffer.maxSize",
                report.pod
            );
            return of(Verdict::False, "BufferFull", message);
        }
        Some((report, view)) if share(view) >= FILLING => {
            let message = format!(
                "More than {FILLING} % of the buffer are used in pod {}. Repair the backend, or raise output.otlp.buffer.maxSize",
                report.pod
            );
            return of(Verdict::False, "BufferFilling", message);
        }
        _ => {}
    }
    let asked = match pipeline.result.as_ref().map(|pipeline| pipeline.buffer) {
        Ok(Buffer::Disk(asked)) => asked,
        _ => {
            let message = "What is left on disk is delivered, before the buffer is in memory only".to_owned();
            return of(Verdict::True, "BufferDraining", message);
        }
    };
    if buffer.max_size < asked.max_size {
        let message = format!(
            "The buffer has {} in place of {}, because the volumes of the log gateway have no more room. Raise \
             spec.storage.size of the Telemetry object where their StorageClass lets them grow",
            quantity::text(buffer.max_size),
            quantity::text(asked.max_size)
        );
        return of(Verdict::False, "BufferTooSmall", message);
    }
    match fullest {
        Some(_) => of(Verdict::True, "BufferReady", "The buffer has room".to_owned()),
        None => of(Verdict::Unknown, "GatewayProbingFailed", "No pod of the log gateway reports yet".to_owned()),
    }
}

/// How full the buffer of a pipeline is. As long as that stands in its status, its pipeline has one on disk.
pub(super) fn status(pipeline: &Collected, known: &Known<'_>) -> Option<BufferStatus> {
    let buffer = known.storage?.buffers.get(&pipeline.id)?;
    let name = label(&pipeline.id.name);
    let (mut used, mut max, mut reporting) = (0_u64, 0_u64, 0_u32);
    for (_, view) in views(&name, known) {
        (used, max, reporting) = (used.saturating_add(view.used), max.saturating_add(view.max), reporting + 1);
    }
    if reporting == 0 {
        max = buffer.max_size;
    }
    let total = known.input.engines.get(&Fleet::DURABLE).map_or(0, |view| view.asked);
    Some(BufferStatus {
        used: Quantity(quantity::text(used)),
        max: Quantity(quantity::text(max)),
        pods: ReportingPods { reporting, total },
    })
}

/// The buffers on disk of a pipeline, and the engines that have them.
fn views<'k>(name: &str, known: &Known<'k>) -> impl Iterator<Item = (&'k EngineReport, &'k BufferView)> {
    let reports = known.input.engines.get(&Fleet::DURABLE).into_iter().flat_map(|view| &view.reports);
    reports.filter_map(move |report| Some((report, report.buffers.get(name)?)))
}
