//! The content of a message that is put together from ranges of a source and bytes of its own, as a list that costs no
//! more than the bytes do. Which message it is, and what its lengths are, is the caller's matter.

use super::builder::SHARE_FROM;
use super::{Builder, Cursor};

/// What goes into a message, in order. It takes no more memory than the bytes that it stands for, however small the
/// ranges are.
#[derive(Default)]
pub(super) struct Content<'a> {
    runs: Vec<Run<'a>>,
    len: usize,
}

enum Run<'a> {
    /// Neighbouring records or scope lists, and the position after them.
    Shared { range: Cursor<'a>, next: Cursor<'a> },
    /// Heads, parts of metrics, and ranges so small that the builder would copy them anyway.
    Written(Vec<u8>),
}

impl<'a> Content<'a> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a range of the source; `next` is the position after it.
    pub(super) fn share(&mut self, range: Cursor<'a>, next: Cursor<'a>) {
        self.len += range.len();
        if let Some(Run::Shared { range: last, next: end }) = self.runs.last_mut()
            && end.is_at(&range)
        {
            last.grow(range.len());
            *end = next;
            return;
        }
        self.copy_small();
        self.runs.push(Run::Shared { range, next });
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        self.copy_small();
        let out = self.written();
        let before = out.len();
        put(out);
        let added = out.len() - before;
        self.len += added;
    }

    /// Adds all of another content.
    pub(super) fn append(&mut self, other: Self) {
        for run in other.runs {
            match run {
                Run::Shared { range, next } => self.share(range, next),
                Run::Written(bytes) => self.write(|out| out.extend_from_slice(&bytes)),
            }
        }
    }

    /// Hands all of it to the builder.
    pub(super) fn put(self, builder: &mut Builder<'a>) {
        for run in self.runs {
            match run {
                Run::Shared { range, .. } => builder.share(range),
                Run::Written(bytes) => builder.own().extend_from_slice(&bytes),
            }
        }
    }

    /// Copies the last range if it is small: it does not grow any more.
    fn copy_small(&mut self) {
        let Some(Run::Shared { range, .. }) = self.runs.last() else { return };
        if range.len() >= SHARE_FROM {
            return;
        }
        let slices = range.slices();
        self.runs.pop();
        let out = self.written();
        slices.for_each(|(piece, slice)| out.extend_from_slice(&piece[slice]));
    }

    /// The bytes at the end.
    fn written(&mut self) -> &mut Vec<u8> {
        if !matches!(self.runs.last(), Some(Run::Written(_))) {
            self.runs.push(Run::Written(Vec::new()));
        }
        match self.runs.last_mut() {
            Some(Run::Written(bytes)) => bytes,
            _ => unreachable!("bytes are last"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Every other of a million ranges of four bytes is one run of bytes; neighbours and large ranges stay shared.
    #[test]
    fn small_ranges_take_no_memory_of_their_own() {
        let source = [Bytes::from(vec![7; 4_000_000])];
        let mut rest = Cursor::new(&source, 4_000_000);
        let mut content = Content::default();
        for index in 0..1_000_000 {
            let range = rest.take(4);
            if index % 2 == 0 {
                content.share(range, rest);
            }
        }
        assert_eq!(content.len(), 2_000_000);
        assert!(content.runs.len() <= 2, "{} runs", content.runs.len());
        let mut rest = Cursor::new(&source, 4_000_000);
        let mut content = Content::default();
        for index in 0..40 {
            let range = rest.take(SHARE_FROM);
            if index % 4 != 0 {
                content.share(range, rest);
            }
        }
        assert_eq!((content.len(), content.runs.len()), (30 * SHARE_FROM, 10));
        assert!(content.runs.iter().all(|run| matches!(run, Run::Shared { .. })));
    }
}
