//! Removes marks that nobody may set who is not trusted. What marks are is written in `engine-config`.

use engine_config::MARK_PREFIX;
use memchr::memmem::Finder;
use otlp::{AttributeEdit, AttributeEdits, KeyPattern, Wire, WireEdits};

/// What is removed, prepared once.
#[derive(Debug)]
pub(super) struct Marks {
    /// Most resources are told by one search of their bytes.
    prefix: Finder<'static>,
    removal: WireEdits,
}

impl Marks {
    pub(super) fn new() -> Self {
        let all = AttributeEdit::Delete(KeyPattern::Prefix(MARK_PREFIX.to_owned()));
        let resource = AttributeEdits::new(&[all]).expect("one edit does not overlap");
        Self { prefix: Finder::new(MARK_PREFIX), removal: WireEdits { resource, ..WireEdits::default() } }
    }

    /// Removes all marks. Answers how many resources had some.
    pub(super) fn strip(&self, wire: &mut Wire) -> usize {
        let suspects = wire.resources().filter(|found| self.prefix.find(found.resource_bytes()).is_some());
        // The bytes may stand in a value as well.
        let marked =
            |found: &otlp::ResourceView<'_>| found.attributes().any(|attribute| attribute.key.starts_with(MARK_PREFIX));
        let marked = suspects.filter(marked).count();
        if marked > 0 {
            let empty = Wire::empty(wire.signal());
            *wire = std::mem::replace(wire, empty).edit_attributes(&self.removal);
        }
        marked
    }
}

#[cfg(test)]
mod tests {
    use engine_config::MARK_INPUT;
    use engine_core::test_kit::{logs, records_of, wire};
    use otlp::Payload;

    use super::*;

    /// Marks go, everything else stays; what only speaks of marks is not touched.
    #[test]
    fn only_marks_go() {
        let payload = logs(&[("a", "1"), (MARK_INPUT, "host"), ("telemetry_engine.mark.", "x"), ("b", "2")], 0..3);
        let mut stripped = wire(&payload);
        assert_eq!(Marks::new().strip(&mut stripped), 1);
        let keys: Vec<_> = stripped.resources().flat_map(|found| found.attributes()).map(|found| found.key).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(records_of(&Payload::Wire(stripped.clone())), [0, 1, 2]);

        let mut talk = wire(&logs(&[("note", MARK_INPUT), ("telemetry_engine.role", "x")], 0..1));
        let before = talk.rope();
        assert_eq!(Marks::new().strip(&mut talk), 0);
        assert_eq!(talk.rope(), before);
    }
}
