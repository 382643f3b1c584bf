//! Marks: resource attributes by which the roles of one installation tell each other where data came from.
//!
//! Whoever may set them may have data counted as somebody else's, so listeners strip them unless they are trusted. A mark is
//! set, asked for and removed by the same transforms as any other attribute. Not here: the stripping (source `otlp`).

/// How the keys of all marks begin. What a mark of an engine means is never changed: another meaning is another key.
pub const MARK_PREFIX: &str = "telemetry_engine.mark.";

/// The mark that says which input data came from, such as `kubernetes_logs`.
pub const MARK_INPUT: &str = "telemetry_engine.mark.input";

#[cfg(test)]
mod tests {
    use super::*;

    /// Engines of several versions work side by side, so these never change.
    #[test]
    fn marks_never_change() {
        assert_eq!((MARK_PREFIX, MARK_INPUT), ("telemetry_engine.mark.", "telemetry_engine.mark.input"));
    }
}
