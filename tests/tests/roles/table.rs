//! The row of each scenario in the table that `tests/scenarios` prints.
//!
//! Not here: the table. Where nobody asks for it no row is written.

use std::io::Write as _;
use std::time::Instant;

use pods::oracle::Tally;

/// The file that rows are added to, a line each: name, sent, received, duplicates, seconds; with tabs between.
const FILE: &str = "TESTS_SCENARIOS";

/// A scenario that runs. One that is dropped before its end has failed.
pub(crate) struct Row {
    scenario: &'static str,
    began: Instant,
    counts: Option<(usize, Tally)>,
}

impl Row {
    /// Begins to measure.
    pub(crate) fn begin(scenario: &'static str) -> Self {
        Self { scenario, began: Instant::now(), counts: None }
    }

    /// Ends it. `sent` records were sent, each to one backend.
    pub(crate) fn end(mut self, sent: usize, received: Tally) {
        self.counts = Some((sent, received));
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let counts = match self.counts {
            Some((sent, Tally { received, duplicates, .. })) => format!("{sent}\t{received}\t{duplicates}"),
            None => "failed\t-\t-".to_owned(),
        };
        let line = format!("{}\t{counts}\t{:.0}\n", self.scenario, self.began.elapsed().as_secs_f64());
        let Some(path) = std::env::var_os(FILE) else { return };
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        // Who does not get the row is told by the missing line.
        file.and_then(|mut file| file.write_all(line.as_bytes())).ok();
    }
}
