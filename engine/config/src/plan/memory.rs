//! How the memory limit is divided between connections, buffers and requests in flight.

use std::collections::BTreeMap;

use crate::component::{Kind, Resource};
use crate::document::{Finding, Report};
use crate::environment::Environment;
use crate::id::ComponentId;
use crate::pipeline::Pipeline;
use crate::problem::Code;
use crate::sink::BufferOptions;
use crate::size::ByteSize;

/// The division of the memory limit. Its parts add up to the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// All memory for data.
    pub limit: ByteSize,
    /// Reserved for the frames of connections; zero when nothing listens.
    pub frames: ByteSize,
    /// Reserved for each sink's buffer, of a disk buffer for what of it is in memory.
    pub buffers: BTreeMap<ComponentId, ByteSize>,
    /// What is left for requests in flight and held data.
    pub admission: ByteSize,
}

/// Memory of a control group that is never for data, and the limit below which that does not matter any more.
const BESIDE_DATA: ByteSize = ByteSize::mib(48);
const LEAST_LIMIT: ByteSize = ByteSize::mib(16);
/// Without a control group: at most this.
const MOST_WITHOUT_LIMIT: ByteSize = ByteSize::gib(1);
/// Limits of a buffer's share when it is not configured.
const LEAST_SHARE: ByteSize = ByteSize::mib(1);
const MOST_SHARE: ByteSize = ByteSize::mib(64);
/// An eighth of the limit goes to frames when something listens; an eighth stays for requests in flight in any case.
const PART: u64 = 8;

/// Divides the limit and reports when it does not suffice.
pub(super) fn divide(pipeline: &Pipeline, environment: &Environment, report: &mut Report<'_>) -> MemoryPlan {
    let (limit, is_known) = limit(pipeline, environment);
    let listens = |claim: &crate::component::Claim| matches!(claim.resource, Resource::Tcp(_));
    let has_listener =
        pipeline.components().values().any(|component| component.options.facts().claims.iter().any(listens));
    let frames = if has_listener { limit.0 / PART } else { 0 };
    let least_admission = limit.0 / PART;
    let sinks: Vec<_> = pipeline.of_kind(Kind::Sink).collect();
    let explicit: u64 = sinks
        .iter()
        .filter_map(|(_, sink)| sink.sink.buffer.memory_size())
        .fold(0, |sum, size| sum.saturating_add(size.0));
    let implicit_count = sinks.iter().filter(|(_, sink)| sink.sink.buffer.memory_size().is_none()).count() as u64;
    let available = limit.0.saturating_sub(frames).saturating_sub(least_admission);
    let rest = available.saturating_sub(explicit);
    let share = match implicit_count {
        0 => 0,
        count => {
            let usual = limit.0 / 2 / sinks.len() as u64;
            usual.clamp(LEAST_SHARE.0, MOST_SHARE.0).min(rest / count)
        }
    };
    let is_overdrawn = explicit > available || (implicit_count > 0 && share < LEAST_SHARE.0);
    if is_overdrawn && is_known {
        overdrawn(pipeline, limit, ByteSize(available), ByteSize(explicit), implicit_count, report);
    }
    let buffers: BTreeMap<ComponentId, ByteSize> =
        sinks.iter().map(|(id, sink)| ((*id).clone(), share_of(&sink.sink.buffer, ByteSize(share)))).collect();
    let reserved = buffers.values().fold(frames, |sum, size| sum.saturating_add(size.0));
    MemoryPlan { limit, frames: ByteSize(frames), buffers, admission: ByteSize(limit.0.saturating_sub(reserved)) }
}

/// What a buffer has in memory. Of one on disk that is a small part, so that there are old files to drop and new ones to keep.
fn share_of(buffer: &BufferOptions, share: ByteSize) -> ByteSize {
    match buffer.disk() {
        Some(disk) => share.min(ByteSize(disk.max_size.0 / PART)),
        None => buffer.memory_size().unwrap_or(share),
    }
}

/// What a control group's limit leaves for data. Programs, stacks and what the allocator keeps take about as much in a small
/// group as in a large one.
fn of_group(limit: ByteSize) -> ByteSize {
    let share = ByteSize(limit.0 / 10 * 7);
    share.min(ByteSize(limit.0.saturating_sub(BESIDE_DATA.0))).max(LEAST_LIMIT.min(share))
}

/// The limit, and whether it is more than a guess.
fn limit(pipeline: &Pipeline, environment: &Environment) -> (ByteSize, bool) {
    if let Some(limit) = pipeline.settings.memory.limit {
        return (limit, true);
    }
    let Environment::Known(known) = environment else { return (MOST_WITHOUT_LIMIT, false) };
    match (known.memory_limit, known.memory_total) {
        (Some(limit), _) => (of_group(limit), true),
        (None, Some(total)) => (ByteSize(total.0 / 4).min(MOST_WITHOUT_LIMIT), true),
        (None, None) => (MOST_WITHOUT_LIMIT, false),
    }
}

fn overdrawn(
    pipeline: &Pipeline,
    limit: ByteSize,
    available: ByteSize,
    explicit: ByteSize,
    implicit_count: u64,
    report: &mut Report<'_>,
) {
    let wanted = explicit.0.saturating_add(implicit_count * LEAST_SHARE.0);
    let message = format!(
        "the buffers want {}, and the memory limit of {} leaves {} for them beside connections and requests in flight",
        rounded(ByteSize(wanted)),
        rounded(limit),
        rounded(available),
    );
    let largest = pipeline.of_kind(Kind::Sink).filter(|(_, sink)| sink.sink.buffer.memory_size().is_some());
    let largest = largest.max_by_key(|(_, sink)| sink.sink.buffer.memory_size());
    let finding = Finding::error(Code::Memory, message);
    match largest {
        Some((id, sink)) => {
            let path = ["buffer".to_owned(), "max_size".to_owned()];
            let finding = finding.help("lower `buffer.max_size` of this or other sinks, or raise `memory.limit`");
            report.add(sink.place(&path), Some(&Pipeline::label(id, sink)), finding);
        }
        None => {
            let at = pipeline.settings_place("memory", "limit");
            report.add(at, Some("memory"), finding.help("raise `memory.limit`, or use fewer sinks"));
        }
    }
}

/// For messages: whole MiB where the exact number says nothing.
fn rounded(size: ByteSize) -> ByteSize {
    if size.0 < 10 << 20 { size } else { ByteSize(size.0 >> 20 << 20) }
}
