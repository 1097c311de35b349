//! An export of the book: what only a catalog holds, sealed as one object beside the log (FORMAT.md, Exports of the book).
//!
//! What the document says is not known here: it is bytes, bounded, compressed and bound to its place.

use filmgate_model::{IncarnationId, LogKeyId, NodeId, Random, SiteId, Timestamp};
use filmgate_seal::{
    SEALED_EXTRA_BYTES, SUITE_AES_256_GCM, WrappingKey, open_bytes, seal_bytes,
    wire::{Reader, put_bytes},
};
use zeroize::Zeroizing;

use crate::{
    LogKey,
    error::{Error, fits, malformed},
};

/// Bytes of an export at most.
pub const EXPORT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of its document at most, before compression.
pub const DOCUMENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes in front of what is sealed.
pub const EXPORT_HEAD_BYTES: usize = 72;

const MAGIC: &[u8; 4] = b"FGBK";
const VERSION: u8 = 0;
/// The document is JSON, in one zstd frame.
const JSON_BY_ZSTD: u8 = 1;
const LEVEL: i32 = 3;
const WHAT: &str = "export of the book";

/// Where an export stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExportPlace {
    /// The run of batches it stands beside.
    pub incarnation: IncarnationId,
    /// Its number: it rises, and may leave some out.
    pub number: u64,
}

impl ExportPlace {
    /// Below it stands every export.
    pub const FOLDER: &'static str = "v1/book/";

    /// The object's name. The number is padded, so that names sort as numbers do.
    #[must_use]
    pub fn object_name(&self) -> String {
        format!("{}{}/{:020}", Self::FOLDER, self.incarnation, self.number)
    }

    /// The place an object's name says.
    #[must_use]
    pub fn of_object(name: &str) -> Option<Self> {
        let (incarnation, number) = name.strip_prefix(Self::FOLDER)?.split_once('/')?;
        let place = Self { incarnation: incarnation.parse().ok()?, number: number.parse().ok()? };
        (place.object_name() == name).then_some(place)
    }
}

/// What stands in front of an export, in the clear but bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportHead {
    /// The site.
    pub site_id: SiteId,
    /// Where it belongs.
    pub place: ExportPlace,
    /// The key it is sealed under: that of the log it stands beside.
    pub log_key_id: LogKeyId,
    /// Bytes that are sealed.
    pub sealed_bytes: u32,
}

impl ExportHead {
    fn to_bytes(self) -> [u8; EXPORT_HEAD_BYTES] {
        let mut bytes = [0; EXPORT_HEAD_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&[VERSION, SUITE_AES_256_GCM, JSON_BY_ZSTD, 0]);
        bytes[8..24].copy_from_slice(self.site_id.as_bytes());
        bytes[24..40].copy_from_slice(self.place.incarnation.as_bytes());
        bytes[40..48].copy_from_slice(&self.place.number.to_le_bytes());
        bytes[48..64].copy_from_slice(self.log_key_id.as_bytes());
        bytes[64..68].copy_from_slice(&self.sealed_bytes.to_le_bytes());
        bytes
    }

    /// Reads the head of an export that stands in `place` in a bucket of `site_id`: which key it wants. Nothing of it is
    /// proven yet.
    ///
    /// # Errors
    /// When the bytes are no export's, of another site or place, or of a newer version.
    pub fn read(bytes: &[u8], site_id: SiteId, place: ExportPlace) -> Result<Self, Error> {
        fits(WHAT, bytes.len(), EXPORT_BYTES_MAX)?;
        let mut reader = Reader::new(WHAT, bytes);
        if &reader.array()? != MAGIC {
            return Err(malformed(WHAT, "has no magic"));
        }
        known("export version", reader.u8()?, VERSION)?;
        known("suite", reader.u8()?, SUITE_AES_256_GCM)?;
        known("form of an export", reader.u8()?, JSON_BY_ZSTD)?;
        let reserved = reader.u8()?;
        let head = Self {
            site_id: SiteId(reader.array()?),
            place: ExportPlace { incarnation: IncarnationId(reader.array()?), number: reader.u64()? },
            log_key_id: LogKeyId(reader.array()?),
            sealed_bytes: reader.u32()?,
        };
        if reserved != 0 || reader.u32()? != 0 {
            return Err(malformed(WHAT, "reserved bytes are not zero"));
        }
        if reader.remaining() != head.sealed_bytes as usize {
            return Err(malformed(WHAT, "its length is wrong"));
        }
        if head.site_id != site_id {
            return Err(Error::OtherSite(head.site_id));
        }
        if head.place != place {
            return Err(Error::ExportMisplaced(head.place));
        }
        Ok(head)
    }
}

fn known(what: &'static str, number: u8, ours: u8) -> Result<(), Error> {
    if number == ours {
        return Ok(());
    }
    Err(filmgate_seal::Error::Newer { what, number: number.into() }.into())
}

fn key_of(key: &LogKey, place: ExportPlace) -> WrappingKey {
    let context = [&place.incarnation.as_bytes()[..], &place.number.to_le_bytes()].concat();
    WrappingKey::derive(&key.key, "book export", &context)
}

/// An export, opened or to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookDocument {
    /// Who made it.
    pub node: NodeId,
    /// When.
    pub made_at: Timestamp,
    /// What it says.
    pub document: Vec<u8>,
}

impl BookDocument {
    /// Seals it for its place.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn seal(
        &self,
        site_id: SiteId,
        place: ExportPlace,
        key: &LogKey,
        random: &Random,
    ) -> Result<Vec<u8>, Error> {
        fits("a document of the book", self.document.len(), DOCUMENT_BYTES_MAX)?;
        let packed =
            zstd::bulk::compress(&self.document, LEVEL).map_err(|_| malformed(WHAT, "does not compress"))?;
        let mut payload = Zeroizing::new(Vec::with_capacity(packed.len() + 64));
        payload.extend_from_slice(self.node.as_bytes());
        payload.extend_from_slice(&self.made_at.0.to_le_bytes());
        // Fits, for it is at most so long as the limit above.
        payload.extend_from_slice(&(self.document.len() as u32).to_le_bytes());
        put_bytes(&mut payload, &packed);
        let sealed_bytes = payload.len() + SEALED_EXTRA_BYTES;
        fits(WHAT, EXPORT_HEAD_BYTES + sealed_bytes, EXPORT_BYTES_MAX)?;
        let head = ExportHead { site_id, place, log_key_id: key.id, sealed_bytes: sealed_bytes as u32 };
        let mut bytes = head.to_bytes().to_vec();
        let sealed = seal_bytes(&key_of(key, place), &payload, &bytes, random);
        bytes.extend_from_slice(&sealed);
        Ok(bytes)
    }

    /// Opens an export whose head was read.
    ///
    /// # Errors
    /// When it does not open under `key`, or what it holds is malformed.
    pub fn open(bytes: &[u8], head: &ExportHead, key: &LogKey) -> Result<Self, Error> {
        let (in_clear, sealed) =
            bytes.split_at_checked(EXPORT_HEAD_BYTES).ok_or_else(|| malformed(WHAT, "ends early"))?;
        let payload = open_bytes(&key_of(key, head.place), sealed, in_clear)?;
        let mut reader = Reader::new(WHAT, &payload);
        let (node, made_at) = (NodeId(reader.array()?), Timestamp(i64::from_le_bytes(reader.array()?)));
        let raw_bytes = fits("a document of the book", reader.u32()? as usize, DOCUMENT_BYTES_MAX)?;
        let packed = reader.bytes()?;
        reader.end()?;
        let damaged = || malformed(WHAT, "does not decompress to its stated length");
        let document = zstd::bulk::decompress(packed, raw_bytes).map_err(|_| damaged())?;
        if document.len() != raw_bytes {
            return Err(damaged());
        }
        Ok(Self { node, made_at, document })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> ExportPlace {
        ExportPlace { incarnation: IncarnationId([7; 16]), number: 12 }
    }

    fn key() -> LogKey {
        LogKey { id: LogKeyId([1; 16]), generation: 1, key: Zeroizing::new([2; 32]) }
    }

    fn book() -> BookDocument {
        BookDocument { node: NodeId([3; 16]), made_at: Timestamp(99), document: br#"{"version":0}"#.to_vec() }
    }

    const SITE: SiteId = SiteId([9; 16]);

    #[test]
    fn names_are_places_and_sort_as_numbers() {
        let name = place().object_name();
        assert_eq!(ExportPlace::of_object(&name), Some(place()));
        assert!(name < ExportPlace { number: 100, ..place() }.object_name());
        for odd in ["v1/book/x/1", "v1/book/", "v1/log/07/1", &name[..name.len() - 1], &format!("{name}0")] {
            assert_eq!(ExportPlace::of_object(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_export_opens_whole_in_its_place_and_nowhere_else() {
        let random = Random::seeded(1);
        let bytes = book().seal(SITE, place(), &key(), &random).expect("sealed");
        let head = ExportHead::read(&bytes, SITE, place()).expect("a head");
        assert_eq!(head.log_key_id, key().id);
        assert_eq!(BookDocument::open(&bytes, &head, &key()).expect("opens"), book());

        let elsewhere = ExportPlace { number: 13, ..place() };
        assert_eq!(ExportHead::read(&bytes, SITE, elsewhere), Err(Error::ExportMisplaced(place())));
        assert_eq!(ExportHead::read(&bytes, SiteId([8; 16]), place()), Err(Error::OtherSite(SITE)));
        let wrong = LogKey { key: Zeroizing::new([5; 32]), ..key() };
        assert!(BookDocument::open(&bytes, &head, &wrong).is_err());
        let mut newer = bytes.clone();
        newer[4] = 9;
        let read = ExportHead::read(&newer, SITE, place());
        assert!(
            matches!(read, Err(Error::Sealed(filmgate_seal::Error::Newer { number: 9, .. }))),
            "{read:?}"
        );
        let reads = |bytes: &[u8]| {
            let head = ExportHead::read(bytes, SITE, place())?;
            BookDocument::open(bytes, &head, &key())
        };
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            // The name of the key is bound as well, once the right one is brought all the same.
            assert!(reads(&flipped).is_err(), "byte {at}");
            assert!(reads(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nothing_is_longer_than_it_may_be() {
        let long = BookDocument { document: vec![0; DOCUMENT_BYTES_MAX + 1], ..book() };
        let sealed = long.seal(SITE, place(), &key(), &Random::seeded(1));
        assert!(matches!(sealed, Err(Error::TooLong { .. })), "{sealed:?}");
        let stretched = vec![b'F'; EXPORT_BYTES_MAX + 1];
        assert!(matches!(ExportHead::read(&stretched, SITE, place()), Err(Error::TooLong { .. })));
    }
}
