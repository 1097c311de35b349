//! Datasets written by hand, and the shortest ways to seal and open them.

use std::sync::Arc;

use filmgate_model::{Door, NodeId, Provenance, Random, RecordId, Tag, Timestamp, VR};
use filmgate_seal::{
    Helpers, Oddity, Reading, RecordKey, RecordSealer, RecordTable, SealOptions, Value, Visitor, Work,
    open_chunk, open_record, visit,
};

pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const BIG: &str = "1.2.840.10008.1.2.2";
pub(crate) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";
pub(crate) const PRIVATE: &str = "1.2.826.0.1.9999.1";

pub(crate) const UNDEFINED: u32 = 0xffff_ffff;
pub(crate) const ITEM: (u16, u16) = (0xfffe, 0xe000);
pub(crate) const ITEM_END: (u16, u16) = (0xfffe, 0xe00d);
pub(crate) const SEQUENCE_END: (u16, u16) = (0xfffe, 0xe0dd);
pub(crate) const PIXELS: (u16, u16) = (0x7fe0, 0x0010);

/// A dataset in the making.
#[derive(Clone, Default)]
pub(crate) struct Dataset {
    pub(crate) bytes: Vec<u8>,
    big: bool,
}

impl Dataset {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn big() -> Self {
        Self { big: true, ..Self::default() }
    }

    fn u16(mut self, number: u16) -> Self {
        self.bytes.extend(if self.big { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.bytes.extend(if self.big { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// An item, a delimiter, or the head of an implicit element.
    pub(crate) fn plain(self, (group, element): (u16, u16), length: u32) -> Self {
        self.u16(group).u16(element).u32(length)
    }

    pub(crate) fn implicit(self, tag: (u16, u16), value: &[u8]) -> Self {
        self.plain(tag, value.len() as u32).raw(value)
    }

    /// The head of an explicit element with a 16-bit length.
    pub(crate) fn short_head(self, (group, element): (u16, u16), vr: &[u8; 2], length: u16) -> Self {
        self.u16(group).u16(element).raw(vr).u16(length)
    }

    pub(crate) fn short(self, tag: (u16, u16), vr: &[u8; 2], value: &[u8]) -> Self {
        self.short_head(tag, vr, value.len() as u16).raw(value)
    }

    /// The head of an explicit element with a 32-bit length.
    pub(crate) fn long_head(self, (group, element): (u16, u16), vr: &[u8; 2], length: u32) -> Self {
        self.u16(group).u16(element).raw(vr).u16(0).u32(length)
    }

    pub(crate) fn long(self, tag: (u16, u16), vr: &[u8; 2], value: &[u8]) -> Self {
        self.long_head(tag, vr, value.len() as u32).raw(value)
    }

    /// An explicit US element of one number.
    pub(crate) fn number(self, tag: (u16, u16), number: u16) -> Self {
        self.short_head(tag, b"US", 2).u16(number)
    }

    /// The beginning most of these datasets share.
    pub(crate) fn explicit_start() -> Self {
        Self::new().short((8, 0x16), b"UI", b"1.2.3.4\0").short((8, 0x18), b"UI", b"1.2.3.5\0")
    }

    pub(crate) fn implicit_start() -> Self {
        Self::new().implicit((8, 0x16), b"1.2.3.4\0").implicit((8, 0x18), b"1.2.3.5\0")
    }
}

pub(crate) fn provenance(transfer_syntax_uid: &str) -> Provenance {
    Provenance {
        received_at: Timestamp(1_700_000_000_000),
        door: Door::CStore,
        calling_ae: "CT_1".to_owned(),
        called_ae: "FILMGATE".to_owned(),
        peer: "192.0.2.7:40000".to_owned(),
        node: NodeId([7; 16]),
        transfer_syntax_uid: transfer_syntax_uid.to_owned(),
        sop_class_uid: "1.2.3.4".to_owned(),
        sop_instance_uid: "1.2.3.5".to_owned(),
        file_meta: Vec::new(),
    }
}

pub(crate) struct Sealed {
    pub(crate) id: RecordId,
    pub(crate) key: RecordKey,
    pub(crate) table: RecordTable,
    pub(crate) record: Vec<u8>,
}

/// A helper that is always free.
struct ThreadEach;

impl Helpers for ThreadEach {
    fn offer(&self, work: Work) -> Result<(), Work> {
        std::thread::spawn(work);
        Ok(())
    }
}

/// Seals `dataset` in pieces of the given lengths in turn: pushed, put where the sealer wants them, and with help.
pub(crate) fn seal_in(dataset: &[u8], syntax: &str, options: &SealOptions, pieces: &[usize]) -> Sealed {
    let push = |sealer: &mut RecordSealer, rest: &[u8], piece: usize, out: &mut Vec<u8>| {
        let now = piece.clamp(1, rest.len());
        sealer.push(&rest[..now], out);
        now
    };
    let place = |sealer: &mut RecordSealer, rest: &[u8], piece: usize, out: &mut Vec<u8>| {
        let space = sealer.space();
        let now = piece.clamp(1, rest.len()).min(space.len());
        space[..now].copy_from_slice(&rest[..now]);
        sealer.arrived(now, out);
        now
    };
    let pushed = seal_by(dataset, syntax, options, pieces, |sealer| sealer, push);
    let placed = seal_by(dataset, syntax, options, pieces, |sealer| sealer, place);
    let helped =
        seal_by(dataset, syntax, options, pieces, |sealer| sealer.helped_by(Arc::new(ThreadEach)), push);
    assert_eq!(pushed.table, placed.table, "how a dataset comes in must not matter");
    assert!(pushed.record == placed.record);
    assert_eq!(pushed.table, helped.table, "who seals a chunk must not matter");
    assert!(pushed.record == helped.record);
    pushed
}

/// `give` takes some bytes off the front of what is left and says how many.
fn seal_by(
    dataset: &[u8],
    syntax: &str,
    options: &SealOptions,
    pieces: &[usize],
    prepare: impl Fn(RecordSealer) -> RecordSealer,
    give: impl Fn(&mut RecordSealer, &[u8], usize, &mut Vec<u8>) -> usize,
) -> Sealed {
    let random = Random::seeded(dataset.len() as u64);
    let (id, key) = (RecordId::random(&random), RecordKey::random(&random));
    let mut sealer = prepare(RecordSealer::new(id, key.clone(), provenance(syntax), options));
    let mut record = Vec::new();
    let mut rest = dataset;
    for piece in pieces.iter().copied().cycle() {
        if rest.is_empty() {
            break;
        }
        let given = give(&mut sealer, rest, piece, &mut record);
        rest = &rest[given..];
    }
    let table = sealer.finish(&mut record);
    Sealed { id, key, table, record }
}

pub(crate) fn seal(dataset: &[u8], syntax: &str) -> Sealed {
    let sealed = seal_in(dataset, syntax, &SealOptions::default(), &[dataset.len().max(1)]);
    let by_bytes = seal_in(dataset, syntax, &SealOptions::default(), &[1, 3, 2]);
    assert_eq!(sealed.table, by_bytes.table, "how a dataset is split must not matter");
    assert_eq!(sealed.record, by_bytes.record);
    sealed.check(dataset);
    sealed
}

impl Sealed {
    /// The record opens to what was sealed, and its table to what sealing said.
    pub(crate) fn check(&self, dataset: &[u8]) {
        let (table, opened) = open_record(&self.key, self.id, &self.record).expect("the record opens");
        assert!(opened == dataset, "the dataset comes back");
        assert_eq!(table, self.table);
        assert_eq!(table.record_bytes, self.record.len() as u64);
    }

    pub(crate) fn sealed_chunk(&self, number: usize) -> &[u8] {
        let chunk = &self.table.chunks[number];
        let start = chunk.record_offset as usize;
        &self.record[start..start + chunk.sealed_bytes as usize]
    }

    pub(crate) fn open(&self, number: usize) -> Vec<u8> {
        open_chunk(&self.key, self.id, number as u32, &self.table.chunks[number], self.sealed_chunk(number))
            .expect("the chunk opens")
    }

    pub(crate) fn header_bytes(&self) -> Vec<u8> {
        self.table.header_chunks().flat_map(|(number, _)| self.open(number as usize)).collect()
    }

    /// The elements as lines: `(gggg,eeee) VR value`, indented by depth.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Lines::default();
        visit(&self.table, &self.header_bytes(), &mut lines).expect("visits");
        assert_eq!(lines.depth, 0, "starts and ends balance");
        lines.lines
    }
}

#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<String>,
    depth: usize,
}

impl Lines {
    fn push(&mut self, line: &str) {
        self.lines.push(format!("{}{line}", " ".repeat(self.depth)));
    }
}

impl Visitor for Lines {
    fn element(&mut self, tag: Tag, vr: VR, value: Value<'_>) {
        let value = match value {
            Value::Bytes(bytes) if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) => {
                String::from_utf8_lossy(bytes).trim_end().to_owned()
            }
            Value::Bytes(bytes) => format!("{bytes:?}"),
            Value::Bulk { bytes, kind, .. } => format!("bulk {bytes} {kind:?}"),
        };
        self.push(&format!("{tag} {} {value}", vr.to_string()));
    }

    fn sequence_start(&mut self, tag: Tag) {
        self.push(&format!("{tag} SQ"));
        self.depth += 1;
    }

    fn item_start(&mut self) {
        self.push("item");
        self.depth += 1;
    }

    fn item_end(&mut self) {
        self.depth -= 1;
    }

    fn sequence_end(&mut self) {
        self.depth -= 1;
    }
}

/// Bytes that do not compress and never look like elements in order.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    Random::seeded(99).fill(&mut noise);
    noise
}

/// Seals it; it must be read to its end with these oddities and no others.
#[track_caller]
pub(crate) fn read_with(dataset: &[u8], syntax: &str, oddities: &[Oddity]) -> Sealed {
    let sealed = seal(dataset, syntax);
    assert_eq!(sealed.table.reading, Reading::Read);
    assert_eq!(sealed.table.oddities, oddities);
    sealed
}
