//! Content to be uploaded, read piece by piece and again when an upload is resumed.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{Error, blocking::blocking};

/// Bytes read of a source at a time: memory an upload takes, whatever the object's size.
pub const PIECE_BYTES: u64 = 8 * 1024 * 1024;

type ReadRange = dyn Fn(Range<u64>) -> io::Result<Bytes> + Send + Sync;

/// Content of a known size that can be read at any place, any number of times.
#[derive(Clone)]
pub struct Source {
    bytes: u64,
    read: Arc<ReadRange>,
}

impl Source {
    /// Content behind a function that returns the bytes of a range; it may block.
    pub fn new(bytes: u64, read: impl Fn(Range<u64>) -> io::Result<Bytes> + Send + Sync + 'static) -> Self {
        Self { bytes, read: Arc::new(read) }
    }

    /// Content in memory.
    #[must_use]
    pub fn from_bytes(content: impl Into<Bytes>) -> Self {
        let content: Bytes = content.into();
        let bytes = content.len() as u64;
        Self::new(bytes, move |range| {
            let index = |at: u64| usize::try_from(at).ok().filter(|&at| at <= content.len());
            match (index(range.start), index(range.end)) {
                (Some(start), Some(end)) if start <= end => Ok(content.slice(start..end)),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
    }

    /// Size of the whole in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads one range; it may block.
    ///
    /// # Errors
    /// What the function behind says; an answer of another length is an unexpected end.
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let wanted = range.end.saturating_sub(range.start);
        let piece = (self.read)(range)?;
        if piece.len() as u64 == wanted { Ok(piece) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The same on a thread that may block.
    pub(crate) async fn read_off_thread(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let content = self.clone();
        blocking(move || content.read(range)).await?.map_err(Error::Source)
    }

    /// The ranges of its pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        self.parts(PIECE_BYTES)
    }

    /// The ranges of parts of `part_bytes`, the last one shorter, in order.
    pub fn parts(&self, part_bytes: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let (bytes, part_bytes) = (self.bytes, part_bytes.max(1));
        (0..bytes.div_ceil(part_bytes)).map(move |n| {
            let start = n * part_bytes;
            start..bytes.min(start.saturating_add(part_bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_whole_once() {
        let source = Source::new(2 * PIECE_BYTES + 1, |_| Ok(Bytes::new()));
        let pieces: Vec<_> = source.pieces().collect();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.iter().map(|piece| piece.end - piece.start).sum::<u64>(), source.bytes());
        assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(source.read(0..5).is_err(), "an answer of another length");
        assert_eq!(Source::from_bytes("").pieces().count(), 0);
    }
}
