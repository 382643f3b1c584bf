//! Where answers begin in the bytes of an HTTP/2 server: the frames are walked by their lengths, nothing is decoded.

/// Bytes of the head of a frame.
const HEAD: usize = 9;
/// The type of frames with headers, and the flag of those that end a stream.
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// Follows the frames of one connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    head: Vec<u8>,
    /// Bytes of the frame under way that are still to come.
    rest: usize,
}

impl Answers {
    /// Walks over the next bytes. Says where in them the frames begin that begin an answer: headers that do not end their
    /// stream at once, as they do behind an answer and where there is none. A frame that began in earlier bytes begins at 0.
    pub(super) fn walk(&mut self, bytes: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len() - at);
                self.rest -= skipped;
                at += skipped;
                continue;
            }
            let begins = at.saturating_sub(self.head.len());
            let taken = (HEAD - self.head.len()).min(bytes.len() - at);
            self.head.extend_from_slice(&bytes[at..at + taken]);
            at += taken;
            if self.head.len() < HEAD {
                break;
            }
            self.rest = usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
            if self.head[3] == HEADERS && self.head[4] & END_STREAM == 0 {
                found.push(begins);
            }
            self.head.clear();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + usize::from(length), 7);
        bytes
    }

    /// Answers are found wherever the bytes are cut, and trailers are none.
    #[test]
    fn answers_are_found_in_any_pieces() {
        let frames = [frame(4, 0, 6), frame(1, 4, 20), frame(0, 0, 5), frame(1, 5, 3), frame(6, 1, 8), frame(1, 4, 0)];
        let bytes = frames.concat();
        let starts = [15, 15 + 29 + 14 + 12 + 17];
        for size in 1..bytes.len() {
            let mut answers = Answers::default();
            let pieces = bytes.chunks(size).map(|piece| answers.walk(piece));
            let ends: Vec<_> =
                pieces.enumerate().filter(|(_, found)| !found.is_empty()).map(|(piece, _)| piece).collect();
            let mut expected = starts.map(|start| (start + HEAD - 1) / size).to_vec();
            expected.dedup();
            assert_eq!(ends, expected, "pieces of {size}");
        }
        assert_eq!(Answers::default().walk(&bytes), starts);
    }
}
