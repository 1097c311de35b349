//! A dataset becomes a record while it arrives.

use std::sync::Arc;

use filmgate_model::{
    Provenance, RecordId,
    transfer_syntax::{Encoding, encoding_of},
};
use sha2::{Digest, Sha256};

use super::{
    chunk_work::Helpers,
    chunker::{Chunker, Cutting, Finished, Sealing},
    open::{self, TRAILER_BYTES},
    options::SealOptions,
    table::{Class, RecordTable},
};
use crate::{
    key::RecordKey,
    scan::{
        Limits, Oddity, Reading, Scan, Scanner, Sink, Span,
        inflate::{Inflater, Inflation},
        sniff::{self, SNIFF_BYTES},
    },
};

/// Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4.11): fragments that are worth compressing.
const ENCAPSULATED_UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";

/// Seals one dataset: push its bytes as they come, then finish. Sealed bytes are appended to `out` of each call, in
/// order; together they are the record.
pub struct RecordSealer {
    record_id: RecordId,
    provenance: Provenance,
    options: SealOptions,
    limits: Limits,
    /// The syntax is one whose encoding is known.
    is_known_syntax: bool,
    reader: DatasetReader,
    chunker: Chunker,
    hash: Sha256,
    dataset_bytes: u64,
    /// Bulk of this kind was last asked into the chunk at hand, else the next bytes come beside it.
    into_chunk: Option<Span>,
    beside: Vec<u8>,
}

/// Bytes read beside the record at a time: most headers, and little of the pixels behind, which are copied once more.
const BESIDE_BYTES: usize = 32 * 1024;

/// How the passing bytes are understood.
enum DatasetReader {
    /// Not yet: the first bytes are collected.
    Sniffing(Vec<u8>),
    Plain(Encoding, Box<Scanner>, bool),
    Deflated(Box<Scanner>, Inflater),
    /// Not at all.
    Opaque,
}

impl RecordSealer {
    /// A sealer for one dataset, which is read as `provenance.transfer_syntax_uid` says.
    #[must_use]
    pub fn new(record_id: RecordId, key: RecordKey, provenance: Provenance, options: &SealOptions) -> Self {
        let declared = encoding_of(&provenance.transfer_syntax_uid);
        let cutting = Cutting {
            chunk_size_bytes: options.chunk_size_bytes(),
            zstd_level: options.zstd_level,
            compress_fragments: provenance.transfer_syntax_uid == ENCAPSULATED_UNCOMPRESSED,
            compress_header: declared != Some(Encoding::Deflated),
        };
        Self {
            record_id,
            is_known_syntax: declared.is_some(),
            limits: options.limits(),
            options: options.clone(),
            reader: DatasetReader::Sniffing(Vec::new()),
            chunker: Chunker::new(record_id, key.cipher(), &cutting),
            hash: Sha256::new(),
            dataset_bytes: 0,
            into_chunk: None,
            beside: Vec::new(),
            provenance,
        }
    }

    /// Has long chunks sealed by helpers where there are free ones; the record is the same.
    #[must_use]
    pub fn helped_by(mut self, helpers: Arc<dyn Helpers>) -> Self {
        self.chunker.help_by(helpers);
        self
    }

    /// Room for the next bytes of the dataset, one at least: what is read into it and told to
    /// [`RecordSealer::arrived`] need not be pushed, and long values are not copied any more.
    pub fn space(&mut self) -> &mut [u8] {
        self.into_chunk = None;
        if let DatasetReader::Plain(_, scanner, _) = &self.reader
            && let Some((span, left)) = scanner.plain_bulk()
            && self.chunker.goes_on_with(span)
        {
            self.into_chunk = Some(span);
            let space = self.chunker.space();
            let room = usize::try_from(left).map_or(space.len(), |left| left.min(space.len()));
            return &mut space[..room];
        }
        self.beside.resize(BESIDE_BYTES, 0);
        &mut self.beside
    }

    /// The first `bytes` of the last [`RecordSealer::space`] hold the next bytes of the dataset.
    pub fn arrived(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let Some(span) = self.into_chunk else {
            let beside = std::mem::take(&mut self.beside);
            self.push(&beside[..bytes.min(beside.len())], out);
            self.beside = beside;
            return;
        };
        let DatasetReader::Plain(_, scanner, _) = &mut self.reader else { return };
        let arrived = self.chunker.arrived(span, bytes);
        self.hash.update(arrived);
        let bytes = arrived.len() as u64;
        self.dataset_bytes += bytes;
        scanner.bypassed(bytes, &mut Sealing { chunker: &mut self.chunker, out });
    }

    /// Takes the next bytes of the dataset. Whatever they are they are sealed; trouble in reading them is noted.
    pub fn push(&mut self, dataset: &[u8], out: &mut Vec<u8>) {
        self.hash.update(dataset);
        self.dataset_bytes += dataset.len() as u64;
        if let DatasetReader::Sniffing(start) = &mut self.reader {
            let (now, later) = dataset.split_at(dataset.len().min(SNIFF_BYTES - start.len()));
            start.extend_from_slice(now);
            if start.len() == SNIFF_BYTES {
                self.begin(out);
                self.read(later, out);
            }
        } else {
            self.read(dataset, out);
        }
    }

    /// Decides how to read, and reads what was collected.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let DatasetReader::Sniffing(start) = &mut self.reader else { return };
        let start = std::mem::take(start);
        let syntax = &self.provenance.transfer_syntax_uid;
        let declared = encoding_of(syntax).or_else(|| self.options.private_syntaxes.get(syntax).copied());
        self.reader = match sniff::encoding(declared, &start) {
            None => DatasetReader::Opaque,
            Some((Encoding::Deflated, _)) => DatasetReader::Deflated(
                Box::new(Scanner::new(Encoding::ExplicitLittle, self.limits)),
                Inflater::new(self.options.inflated_bytes_max),
            ),
            Some((encoding, is_declared)) => {
                let as_declared = is_declared || declared.is_none();
                DatasetReader::Plain(encoding, Box::new(Scanner::new(encoding, self.limits)), as_declared)
            }
        };
        self.read(&start, out);
    }

    fn read(&mut self, dataset: &[u8], out: &mut Vec<u8>) {
        let chunker = &mut self.chunker;
        match &mut self.reader {
            DatasetReader::Sniffing(_) => {}
            DatasetReader::Plain(_, scanner, _) => scanner.push(dataset, &mut Sealing { chunker, out }),
            // The record keeps the deflated bytes as they came; what they inflate to is only looked at.
            DatasetReader::Deflated(scanner, inflater) => {
                chunker.take(Class::Header, dataset, out);
                inflater.push(dataset, |inflated| scanner.push(inflated, &mut PixelsOnly(chunker)));
            }
            DatasetReader::Opaque => chunker.take(Class::Bulk, dataset, out),
        }
    }

    /// Seals what is left, appends table and trailer, and says what was sealed.
    pub fn finish(mut self, out: &mut Vec<u8>) -> RecordTable {
        self.begin(out);
        let (encoding, scan) = self.finish_reading(out);
        let Finished { cipher, chunks, record_offset, pixel_digest } = self.chunker.finish(out);
        let mut table = RecordTable {
            record_id: self.record_id,
            provenance: self.provenance,
            facts: scan.facts,
            reading: scan.reading,
            oddities: scan.oddities,
            encoding,
            dataset_bytes: self.dataset_bytes,
            dataset_sha256: self.hash.finalize().into(),
            pixel_digest,
            record_bytes: 0,
            non_bulk_value_bytes_max: self.limits.non_bulk_value_bytes_max,
            chunks,
            bulk_values: scan.bulk_values,
            pixel_data: scan.pixel_data,
        };
        let table_bytes = open::seal_table(&cipher, &table, self.options.zstd_level, out);
        table.record_bytes = record_offset + table_bytes + TRAILER_BYTES as u64;
        table
    }

    fn finish_reading(&mut self, out: &mut Vec<u8>) -> (Option<Encoding>, Scan) {
        let chunker = &mut self.chunker;
        let (encoding, mut scan) = match std::mem::replace(&mut self.reader, DatasetReader::Opaque) {
            DatasetReader::Plain(encoding, scanner, as_declared) => {
                let mut scan = scanner.finish(&mut Sealing { chunker, out });
                if !as_declared {
                    scan.oddities.push(Oddity::OtherEncoding);
                }
                (Some(encoding), scan)
            }
            DatasetReader::Deflated(scanner, inflater) => {
                let scan = scanner.finish(&mut PixelsOnly(chunker));
                (Some(Encoding::Deflated), after_inflation(scan, inflater.state()))
            }
            DatasetReader::Sniffing(_) | DatasetReader::Opaque => {
                let reading = Reading::Unread("no encoding fits".to_owned());
                (None, Scan { reading, ..Scan::default() })
            }
        };
        // A guess that leads nowhere is no reason to call a private syntax broken.
        if !self.is_known_syntax
            && let Reading::Broken(reason) = scan.reading
        {
            scan.reading = Reading::Unread(reason);
        }
        (encoding, scan)
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let reader = match &self.reader {
            DatasetReader::Plain(_, scanner, _) | DatasetReader::Deflated(scanner, _) => scanner.held_bytes(),
            DatasetReader::Sniffing(start) => start.capacity(),
            DatasetReader::Opaque => 0,
        };
        reader + self.chunker.held_bytes() + self.beside.capacity()
    }
}

fn after_inflation(mut scan: Scan, state: Inflation) -> Scan {
    match state {
        Inflation::Ended => {}
        Inflation::BeyondLimit => {
            scan.oddities.push(Oddity::BeyondInflatedBytes);
            scan.reading = Reading::Read;
        }
        Inflation::Going => scan.reading = Reading::Broken("the deflated stream is cut off".to_owned()),
        Inflation::Damaged => scan.reading = Reading::Broken("the deflated stream is damaged".to_owned()),
    }
    scan
}

/// Of a deflated dataset the pixels are hashed and nothing else is taken.
struct PixelsOnly<'a>(&'a mut Chunker);

impl Sink for PixelsOnly<'_> {
    fn bytes(&mut self, span: Span, bytes: &[u8]) {
        if span == Span::Pixels {
            self.0.digest_pixels(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sealer may hold: a chunk, and notes that grow by counted entries.
    const HELD_BYTES_MAX: usize = 1024 * 1024;

    fn sealer(transfer_syntax_uid: &str) -> RecordSealer {
        let provenance = Provenance::untold(transfer_syntax_uid);
        RecordSealer::new(
            RecordId([1; 16]),
            RecordKey::from_bytes([2; 32]),
            provenance,
            &SealOptions::default(),
        )
    }

    /// Pushes `start`, then `more` again and again, and looks at what is held on the way.
    fn held_by(transfer_syntax_uid: &str, start: &[u8], more: &[u8]) -> usize {
        const TOTAL_BYTES: usize = 64 * 1024 * 1024;
        let mut sealer = sealer(transfer_syntax_uid);
        let mut out = Vec::new();
        let mut held = 0;
        sealer.push(start, &mut out);
        for _ in 0..TOTAL_BYTES / more.len() {
            sealer.push(more, &mut out);
            out.clear();
            held = held.max(sealer.held_bytes());
        }
        held
    }

    #[test]
    fn memory_stays_flat_whatever_arrives() {
        const EXPLICIT: &str = "1.2.840.10008.1.2.1";
        let first = b"\x08\0\x18\0UI\x08\x001.2.3.5\0";
        let huge = [&first[..], b"\xe0\x7f\x10\0OB\0\0\xf0\xff\xff\xff"].concat();
        let fragments = [&first[..], b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff"].concat();
        let table = [&fragments[..], b"\xfe\xff\0\xe0\xf0\xff\xff\xff"].concat();
        let nest = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff".repeat(50);
        let empty_pixels = b"\xe0\x7f\x10\0OW\0\0\x02\0\0\0\0\0".repeat(100);
        let cases: [(&str, &[u8], &[u8]); 8] = [
            ("one endless value", &huge, &[7; 65_536]),
            ("one endless fragment", &table, &[7; 65_536]),
            ("fragments without end", &fragments, &b"\xfe\xff\0\xe0\x02\0\0\0\0\0".repeat(1000)),
            ("sequences in sequences", first, &nest),
            ("elements without end", first, &b"\x09\0\x18\0UI\x08\x001.2.3.5\0".repeat(1000)),
            ("pixel data again and again", first, &empty_pixels),
            ("items without sequence", first, &b"\xfe\xff\0\xe0\xff\xff\xff\xff".repeat(1000)),
            ("zeros", first, &[0; 65_536]),
        ];
        for (what, start, more) in cases {
            let held = held_by(EXPLICIT, start, more);
            assert!(held <= HELD_BYTES_MAX, "{what}: {held} bytes held");
        }
    }

    /// They move between an association's thread and others.
    #[test]
    fn sealer_and_writer_are_send() {
        fn is_send<T: Send>() {}
        is_send::<RecordSealer>();
        is_send::<crate::PackWriter>();
    }

    #[test]
    fn bulk_values_are_noted_to_their_limit() {
        let value = [&b"\x09\0\x18\0OB\0\0\x02\0\x01\0"[..], &[0; 65_538]].concat();
        let mut sealer = sealer("1.2.840.10008.1.2.1");
        let mut out = Vec::new();
        for _ in 0..crate::BULK_VALUES_MAX + 10 {
            sealer.push(&value, &mut out);
            out.clear();
        }
        let table = sealer.finish(&mut out);
        assert_eq!(table.bulk_values.len(), crate::BULK_VALUES_MAX);
        assert_eq!(table.reading, Reading::Read);
    }
}
