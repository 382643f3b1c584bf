//! What is in a file, plain or compressed with gzip, to be read from any offset that is not far behind the last one.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// How many bytes are skipped in one go in front of an offset of a compressed file.
const SKIPPED_AT_ONCE: usize = 64 * 1024;

/// How the bytes of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Gzip,
}

/// An open file.
#[derive(Debug)]
pub(super) enum Content {
    Plain(File),
    Gzip(Box<Inflated>),
}

/// A compressed file that is read forwards. What was read last is kept, because a line that has not ended is read again.
pub(super) struct Inflated {
    file: File,
    decoder: MultiGzDecoder<File>,
    /// Inflated bytes in front of the decoder that may be asked for again.
    kept: Vec<u8>,
    /// Where the decoder stands.
    position: u64,
}

impl Content {
    /// Opens a file to read it.
    pub(super) fn open(path: &Path, form: Form) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(match form {
            Form::Plain => Self::Plain(file),
            Form::Gzip => {
                let decoder = MultiGzDecoder::new(file.try_clone()?);
                Self::Gzip(Box::new(Inflated { file, decoder, kept: Vec::new(), position: 0 }))
            }
        })
    }

    /// What the kernel says of it now.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        match self {
            Self::Plain(file) => file.metadata(),
            Self::Gzip(inflated) => inflated.file.metadata(),
        }
    }

    /// Bytes of its content, where that can be said without reading it all: of what was compressed in pieces of 4 GiB and
    /// more it cannot.
    pub(super) fn total(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Gzip(inflated) => {
                // The last four bytes of the format (RFC 1952).
                const SIZE: u64 = 4;
                let mut size = [0; SIZE as usize];
                let end = inflated.file.metadata()?.len();
                inflated.file.read_exact_at(&mut size, end.saturating_sub(SIZE))?;
                Ok(u32::from_le_bytes(size).into())
            }
        }
    }

    /// Reads until the buffer is full or the content ends.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => read_plain(file, buffer, offset),
            Self::Gzip(inflated) => inflated.read_at(buffer, offset),
        }
    }
}

fn read_plain(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        // A regular file gives everything that is asked for, up to its end.
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answered => return answered,
        }
    }
}

impl Inflated {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let kept_from = self.position - self.kept.len() as u64;
        if offset < kept_from {
            return Err(io::Error::other(format!(
                "compressed bytes before {kept_from} are gone, {offset} was asked for"
            )));
        }
        while self.position < offset {
            self.kept.clear();
            let wanted = usize::try_from(offset - self.position).unwrap_or(usize::MAX).min(SKIPPED_AT_ONCE);
            if self.fill(wanted)? == 0 {
                return Ok(0);
            }
        }
        let kept_from = self.position - self.kept.len() as u64;
        self.kept.drain(..(offset - kept_from) as usize);
        while self.kept.len() < buffer.len() {
            if self.fill(buffer.len() - self.kept.len())? == 0 {
                break;
            }
        }
        let count = self.kept.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.kept[..count]);
        Ok(count)
    }

    /// Inflates up to `wanted` more bytes.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        let before = self.kept.len();
        self.kept.resize(before + wanted, 0);
        let read = self.decoder.read(&mut self.kept[before..]);
        let count = *read.as_ref().unwrap_or(&0);
        self.kept.truncate(before + count);
        self.position += count as u64;
        read
    }
}

impl fmt::Debug for Inflated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflated").field("position", &self.position).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn text() -> Vec<u8> {
        (0..50_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
    }

    /// Plain and compressed files give the same bytes at the same offsets, also when an offset comes again.
    #[test]
    fn both_forms_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let text = text();
        let plain = folder.path().join("a.log");
        std::fs::write(&plain, &text).unwrap();
        let packed = folder.path().join("a.log.gz");
        let mut encoder = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap();
        for (path, form) in [(&plain, Form::Plain), (&packed, Form::Gzip)] {
            let mut content = Content::open(path, form).unwrap();
            let mut buffer = vec![0; 100_000];
            for offset in [0, 7, 99_000, 150_000, 249_999, 400_000] {
                let read = content.read_at(&mut buffer, offset).unwrap();
                let expected = &text[offset as usize..text.len().min(offset as usize + buffer.len())];
                assert!(&buffer[..read] == expected, "{form:?} at {offset}: {read} bytes");
            }
            assert_eq!(content.read_at(&mut buffer, text.len() as u64).unwrap(), 0);
            assert_eq!(content.total().unwrap(), text.len() as u64);
        }
    }

    /// A compressed file that is not whole is an error and no end.
    #[test]
    fn half_a_compressed_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&text()).unwrap();
        let packed = encoder.finish().unwrap();
        let path = folder.path().join("a.log.gz");
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let mut content = Content::open(&path, Form::Gzip).unwrap();
        assert!(content.read_at(&mut vec![0; 1 << 20], 0).is_err());
    }
}
