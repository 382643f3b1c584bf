//! What a buffer needs, and who owns it.

use std::collections::BTreeMap;

use super::labelled;
use crate::document::{Finding, Report};
use crate::id::ComponentId;
use crate::pipeline::{Component, Pipeline};
use crate::problem::Code;
use crate::sink::{Acknowledge, BufferOptions, BufferType, SinkSettings, WhenFull};

/// Keys of one buffer that do not go together.
pub(super) fn check(id: &ComponentId, sink: &Component, report: &mut Report<'_>) {
    let label = Pipeline::label(id, sink);
    let BufferOptions { kind, max_size, when_full, max_age, .. } = &sink.sink.buffer;
    let mut add = |key: &str, finding: Finding| {
        report.add(sink.place(&["buffer".to_owned(), key.to_owned()]), Some(&label), finding);
    };
    let waits = sink.sink.acknowledge == Acknowledge::Delivered;
    if *kind == BufferType::Disk && waits {
        let message = "`buffer.type = \"disk\"` has no effect with `acknowledge = \"delivered\"`: whoever sent the data keeps it \
                       until it is delivered";
        add("type", Finding::error(Code::Conflict, message).expected("`acknowledge = \"buffered\"`, or `\"memory\"`"));
    }
    if *when_full == Some(WhenFull::DropOldest) && waits {
        let message = "`buffer.when_full = \"drop_oldest\"` would drop what somebody waits for, because of \
                       `acknowledge = \"delivered\"`";
        add("when_full", Finding::error(Code::Conflict, message).expected("\"refuse\" or \"block\""));
    }
    let least = BufferOptions::LEAST_DISK_SIZE;
    if *kind == BufferType::Disk && max_size.is_some_and(|size| size < least) {
        let message = format!("`buffer.max_size` of a disk buffer is at least {least}");
        add("max_size", Finding::error(Code::InvalidValue, message));
    }
    if *kind == BufferType::Memory && max_age.is_some() {
        let message = "`buffer.max_age` has no effect on a memory buffer";
        add(
            "max_age",
            Finding::error(Code::NoEffect, message).help("remove it, or limit attempts by `retry.max_elapsed`"),
        );
    }
}

/// A buffer has one owner.
pub(super) fn check_identities(
    pipeline: &Pipeline,
    settings: &BTreeMap<ComponentId, SinkSettings>,
    report: &mut Report<'_>,
) {
    let mut owners: BTreeMap<&ComponentId, &ComponentId> = BTreeMap::new();
    for (id, sink) in settings {
        let Some(owner) = owners.insert(&sink.identity, id) else { continue };
        let (label, component) = labelled(pipeline, id);
        let message = format!("the buffer `{}` belongs to the sink `{owner}` already", sink.identity);
        let at = component.place(&["buffer".to_owned(), "identity".to_owned()]);
        report.add(at, Some(&label), Finding::error(Code::Claim, message).help("give it another `buffer.identity`"));
    }
}
