//! Cuts what was read into lines. Copies nothing; a line that has not ended stays for the next read.

use memchr::{memchr, memchr_iter};

/// How far a piece was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Bytes that are done with; the rest is the beginning of a line.
    pub(super) consumed: usize,
    /// The piece ends in a line that was cut short: what comes up to the next line end belongs to it and to no record.
    pub(super) is_inside: bool,
}

/// Hands over each line with its place in the piece, without its line end, and whether it was cut to `longest` bytes.
///
/// Zeros at the beginning of a line are left out: a file that is truncated while its writer keeps its place begins with a
/// hole.
pub(super) fn cut(piece: &[u8], is_inside: bool, longest: usize, mut each: impl FnMut(usize, &[u8], bool)) -> Cut {
    let mut start = 0;
    if is_inside {
        match memchr(b'\n', piece) {
            Some(end) => start = end + 1,
            None => return Cut { consumed: piece.len(), is_inside: true },
        }
    }
    let first = start;
    for end in memchr_iter(b'\n', &piece[first..]) {
        let end = first + end;
        line(piece, start, end, longest, &mut each);
        start = end + 1;
    }
    let rest = &piece[start..];
    let zeros = zeros(rest);
    if rest.len() - zeros > longest {
        each(start + zeros, &rest[zeros..zeros + longest], true);
        return Cut { consumed: piece.len(), is_inside: true };
    }
    Cut { consumed: start + zeros, is_inside: false }
}

/// The last line of a file, which has no line end.
pub(super) fn last(piece: &[u8], longest: usize, mut each: impl FnMut(usize, &[u8], bool)) {
    line(piece, 0, piece.len(), longest, &mut each);
}

fn line(piece: &[u8], start: usize, end: usize, longest: usize, each: &mut impl FnMut(usize, &[u8], bool)) {
    let text = &piece[start..end];
    let zeros = zeros(text);
    let text = &text[zeros..];
    if zeros > 0 && text.is_empty() {
        return;
    }
    if text.len() > longest {
        // The carriage return of the line end does not count.
        let is_longer = text.len() > longest + 1 || text.last() != Some(&b'\r');
        each(start + zeros, &text[..longest], is_longer);
        return;
    }
    each(start + zeros, text.strip_suffix(b"\r").unwrap_or(text), false);
}

fn zeros(text: &[u8]) -> usize {
    if text.first() != Some(&0) {
        return 0;
    }
    text.iter().position(|byte| *byte != 0).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(piece: &str, is_inside: bool) -> (Vec<(usize, String, bool)>, Cut) {
        let mut found = Vec::new();
        let cut = cut(piece.as_bytes(), is_inside, 8, |start, line, is_cut| {
            found.push((start, String::from_utf8_lossy(line).into_owned(), is_cut));
        });
        (found, cut)
    }

    fn whole(start: usize, text: &str) -> (usize, String, bool) {
        (start, text.to_owned(), false)
    }

    /// Lines end in a newline with or without a carriage return; what has no end stays.
    #[test]
    fn whole_lines() {
        let (found, cut) = lines("one\ntwo\r\n\nthr", false);
        assert_eq!(found, [whole(0, "one"), whole(4, "two"), whole(9, "")]);
        assert_eq!(cut, Cut { consumed: 10, is_inside: false });
        assert_eq!(lines("", false).1, Cut { consumed: 0, is_inside: false });
    }

    /// A line that is too long comes once, cut short, and its rest never, whichever piece that stands in.
    #[test]
    fn long_lines() {
        let (found, cut) = lines("123456789\n12345678\r\nend\n", false);
        assert_eq!(found, [(0, "12345678".to_owned(), true), whole(10, "12345678"), whole(20, "end")]);
        assert_eq!(cut, Cut { consumed: 24, is_inside: false });
        let (found, cut) = lines("ok\n1234567890", false);
        assert_eq!(found, [whole(0, "ok"), (3, "12345678".to_owned(), true)]);
        assert_eq!(cut, Cut { consumed: 13, is_inside: true });
        assert_eq!(lines("abc", true), (Vec::new(), Cut { consumed: 3, is_inside: true }));
        assert_eq!(lines("abc\nnext\nx", true), (vec![whole(4, "next")], Cut { consumed: 9, is_inside: false }));
    }

    /// A hole in front of a line is no part of it, and a hole alone is no line.
    #[test]
    fn holes_are_left_out() {
        let (found, cut) = lines("\0\0\0one\n\0\0\ntwo\n\0\0\0\0\0\0\0\0\0\0\0x", false);
        assert_eq!(found, [whole(3, "one"), whole(10, "two")]);
        assert_eq!(cut, Cut { consumed: 25, is_inside: false });
    }

    /// What stands behind the last line end of a file that has ended is a line.
    #[test]
    fn the_last_line() {
        let mut found = Vec::new();
        last(b"end", 8, |start, line, is_cut| found.push((start, line.to_vec(), is_cut)));
        assert_eq!(found, [(0, b"end".to_vec(), false)]);
    }
}
