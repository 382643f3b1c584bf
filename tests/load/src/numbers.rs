//! Which numbered lines of a [`log_writer`](crate::log_writer) have arrived, and how often each.

use anyhow::{Context, Result};
use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::log_writer::MARK;

/// How often each line of each file has come, up to 255 times.
#[derive(Debug, Default)]
pub struct Numbers(Vec<Vec<u8>>);

/// What has come of what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Lines that have not come.
    pub missing: u64,
    /// Where they are: the first few stretches of them, as a file, its first missing line, and the one behind the last.
    pub gaps: Vec<(usize, usize, usize)>,
    /// How often a line came beyond the first time.
    pub duplicates: u64,
    /// Lines that have come and were not written.
    pub unknown: u64,
}

/// Stretches of missing lines that are told.
const TOLD_GAPS: usize = 16;

impl Numbers {
    /// Notes the numbers in a message.
    ///
    /// # Errors
    /// When something has the mark of a number and is none.
    pub fn note(&mut self, message: &[u8]) -> Result<()> {
        for at in memmem::find_iter(message, MARK) {
            let text = &message[at + MARK.len()..];
            let end = memchr::memchr(b' ', text).context("a number without an end")?;
            let text = std::str::from_utf8(&text[..end])?;
            let (file, line) = text.split_once('.').context("a number without a file")?;
            let (file, line): (usize, usize) = (file.parse()?, line.parse()?);
            if self.0.len() <= file {
                self.0.resize_with(file + 1, Vec::new);
            }
            let lines = &mut self.0[file];
            if lines.len() <= line {
                lines.resize(line + 1, 0);
            }
            lines[line] = lines[line].saturating_add(1);
        }
        Ok(())
    }

    /// Compares with how many lines were written to each file.
    pub fn tally(&self, written: &[u64]) -> Tally {
        let mut tally = Tally::default();
        let none = Vec::new();
        for file in 0..self.0.len().max(written.len()) {
            let came = self.0.get(file).unwrap_or(&none);
            let wanted = written.get(file).copied().unwrap_or_default() as usize;
            let there = came.len().min(wanted);
            tally.missing += (wanted - there) as u64 + came[..there].iter().filter(|count| **count == 0).count() as u64;
            let has_come = |line: usize| came.get(line).is_some_and(|count| *count > 0);
            let mut line = 0;
            while line < wanted && tally.gaps.len() < TOLD_GAPS {
                let begin = (line..wanted).find(|line| !has_come(*line)).unwrap_or(wanted);
                line = (begin..wanted).find(|line| has_come(*line)).unwrap_or(wanted);
                if begin < line {
                    tally.gaps.push((file, begin, line));
                }
            }
            tally.duplicates += came.iter().map(|count| u64::from(count.saturating_sub(1))).sum::<u64>();
            tally.unknown += came[there..].iter().filter(|count| **count > 0).count() as u64;
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;

    /// Missing, doubled and unknown lines are told apart.
    #[test]
    fn counts_what_came() {
        let mut numbers = Numbers::default();
        numbers.note(b"..line-number=0.0 x\n..line-number=0.1 x..line-number=2.0 x").unwrap();
        numbers.note(b"line-number=0.1 x").unwrap();
        assert_eq!(
            numbers.tally(&[3, 1]),
            Tally { missing: 2, gaps: vec![(0, 2, 3), (1, 0, 1)], duplicates: 1, unknown: 1 }
        );
        assert_eq!(numbers.tally(&[2, 0, 1]), Tally { duplicates: 1, ..Tally::default() });
        assert!(numbers.note(b"line-number=7").is_err() && numbers.note(b"line-number=7 x").is_err());
    }
}
