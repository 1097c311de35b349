//! Segments and frames to the byte; FORMAT.md is the description. All numbers are little endian.

use filmgate_model::RecordId;

/// Every frame starts and ends on this boundary: a block that holds synced bytes is not written again in its epoch,
/// so a torn write can only hurt what nobody was told is safe.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// Version of segments and frames; 0 until the formats are promised.
pub(super) const VERSION: u8 = 0;
/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER_BYTES: usize = 64;
/// Bytes of a commit frame's payload behind the record's last bytes and the wrapped key.
pub(super) const COMMIT_FOOTER_BYTES: usize = 22;
/// A frame is never longer than this, whatever it declares.
pub(super) const FRAME_BYTES_MAX: usize = 4 << 20;
/// A wrapped record key is never longer than this.
pub(super) const WRAPPED_KEY_BYTES_MAX: usize = 1024;

const SEGMENT_MAGIC: &[u8; 8] = b"FGSEGMNT";
const FRAME_MAGIC: &[u8; 4] = b"FGFR";
/// The segment header's used bytes; they lie in one 512-byte sector, so they are never torn.
const SEGMENT_HEADER_BYTES: usize = 36;

/// One use of a segment. The counter orders uses over the whole journal; the random half keeps frames of an earlier
/// use from ever validating, also where a counter was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Grows with every segment that is opened.
    pub counter: u64,
    /// 64 random bits.
    pub random: u64,
}

/// The first block of a segment.
pub(super) fn encode_segment_header(segment: u32, epoch: Epoch) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_BYTES as usize);
    block.extend_from_slice(SEGMENT_MAGIC);
    block.extend_from_slice(&[VERSION, 0, 0, 0]);
    block.extend_from_slice(&segment.to_le_bytes());
    block.extend_from_slice(&epoch.counter.to_le_bytes());
    block.extend_from_slice(&epoch.random.to_le_bytes());
    let crc = crc32c::crc32c(&block);
    block.extend_from_slice(&crc.to_le_bytes());
    block.resize(BLOCK_BYTES as usize, 0);
    block
}

/// The epoch a segment is in; `None` when the block is no header of this segment.
pub(super) fn decode_segment_header(segment: u32, block: &[u8]) -> Option<Epoch> {
    let mut fields = Fields(block.get(..SEGMENT_HEADER_BYTES)?);
    let magic = fields.take::<8>()?;
    let version = fields.take::<4>()?;
    let id = u32::from_le_bytes(fields.take()?);
    let counter = u64::from_le_bytes(fields.take()?);
    let random = u64::from_le_bytes(fields.take()?);
    let crc = u32::from_le_bytes(fields.take()?);
    let known = &magic == SEGMENT_MAGIC && version == [VERSION, 0, 0, 0] && id == segment;
    let whole = crc == crc32c::crc32c(block.get(..SEGMENT_HEADER_BYTES - 4)?);
    (known && whole).then_some(Epoch { counter, random })
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A piece of a record.
    Data = 1,
    /// The last piece, the wrapped key and what makes the record complete.
    Commit = 2,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: FrameKind,
    pub(super) segment: u32,
    pub(super) epoch: Epoch,
    pub(super) record_id: RecordId,
    /// 0, 1, 2 … within the record; the commit frame has the next.
    pub(super) number: u32,
    /// Where the frame stands in its segment, in blocks.
    pub(super) block: u32,
    pub(super) payload_bytes: u32,
    pub(super) crc: u32,
}

impl FrameHeader {
    /// Writes the header into the first bytes of `frame`, whose payload follows, and returns the CRC over both.
    pub(super) fn seal(&self, frame: &mut [u8]) -> u32 {
        let mut head = Vec::with_capacity(FRAME_HEADER_BYTES);
        head.extend_from_slice(FRAME_MAGIC);
        head.extend_from_slice(&[VERSION, self.kind as u8, 0, 0]);
        head.extend_from_slice(&self.segment.to_le_bytes());
        head.extend_from_slice(&self.payload_bytes.to_le_bytes());
        head.extend_from_slice(&self.epoch.counter.to_le_bytes());
        head.extend_from_slice(&self.epoch.random.to_le_bytes());
        head.extend_from_slice(self.record_id.as_bytes());
        head.extend_from_slice(&self.number.to_le_bytes());
        head.extend_from_slice(&self.block.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        let end = FRAME_HEADER_BYTES + self.payload_bytes as usize;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), &frame[FRAME_HEADER_BYTES..end]);
        head.extend_from_slice(&crc.to_le_bytes());
        frame[..FRAME_HEADER_BYTES].copy_from_slice(&head);
        crc
    }

    /// The header at the start of `bytes`, if one of this version stands there; its CRC is not checked yet.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..FRAME_HEADER_BYTES)?);
        if &fields.take::<4>()? != FRAME_MAGIC {
            return None;
        }
        let kind = match fields.take::<4>()? {
            [VERSION, 1, 0, 0] => FrameKind::Data,
            [VERSION, 2, 0, 0] => FrameKind::Commit,
            _ => return None,
        };
        let segment = u32::from_le_bytes(fields.take()?);
        let payload_bytes = u32::from_le_bytes(fields.take()?);
        let epoch =
            Epoch { counter: u64::from_le_bytes(fields.take()?), random: u64::from_le_bytes(fields.take()?) };
        let record_id = RecordId(fields.take()?);
        let number = u32::from_le_bytes(fields.take()?);
        let block = u32::from_le_bytes(fields.take()?);
        let _reserved = fields.take::<4>()?;
        let crc = u32::from_le_bytes(fields.take()?);
        Some(Self { kind, segment, epoch, record_id, number, block, payload_bytes, crc })
    }

    /// True when header and payload are what was written.
    pub(super) fn matches(&self, frame: &[u8]) -> bool {
        let end = FRAME_HEADER_BYTES + self.payload_bytes as usize;
        let (Some(head), Some(payload)) =
            (frame.get(..FRAME_HEADER_BYTES - 4), frame.get(FRAME_HEADER_BYTES..end))
        else {
            return false;
        };
        crc32c::crc32c_append(crc32c::crc32c(head), payload) == self.crc
    }
}

/// Bytes a frame takes on disk, padding included.
pub(super) fn frame_bytes(payload_bytes: usize) -> u64 {
    ((FRAME_HEADER_BYTES + payload_bytes) as u64).next_multiple_of(BLOCK_BYTES)
}

/// What makes a record complete; stands at the end of a commit frame's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// Data frames before the commit frame.
    pub(super) data_frames: u32,
    /// Length of the record in bytes.
    pub(super) record_bytes: u64,
    /// [`ChainHash`] over the CRCs of the data frames.
    pub(super) chain_hash: u64,
    pub(super) wrapped_key: Box<[u8]>,
}

impl Commit {
    /// Appends key and footer to the record's last bytes.
    pub(super) fn append_to(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.wrapped_key);
        payload.extend_from_slice(&self.data_frames.to_le_bytes());
        payload.extend_from_slice(&self.record_bytes.to_le_bytes());
        payload.extend_from_slice(&self.chain_hash.to_le_bytes());
        payload.extend_from_slice(&(self.wrapped_key.len() as u16).to_le_bytes());
    }

    /// Reads key and footer from the end of `payload`; also the length of the record's last bytes before them.
    pub(super) fn parse(payload: &[u8]) -> Option<(Self, usize)> {
        let footer_start = payload.len().checked_sub(COMMIT_FOOTER_BYTES)?;
        let mut fields = Fields(payload.get(footer_start..)?);
        let data_frames = u32::from_le_bytes(fields.take()?);
        let record_bytes = u64::from_le_bytes(fields.take()?);
        let chain_hash = u64::from_le_bytes(fields.take()?);
        let key_bytes = usize::from(u16::from_le_bytes(fields.take()?));
        let tail_bytes = footer_start.checked_sub(key_bytes)?;
        let wrapped_key = payload.get(tail_bytes..footer_start)?.into();
        Some((Self { data_frames, record_bytes, chain_hash, wrapped_key }, tail_bytes))
    }
}

/// FNV-1a (64 bits) over frame CRCs in order. No defence against malice, which is the seal's work: it ties a commit
/// to exactly its frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainHash(u64);

impl ChainHash {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(&mut self, crc: u32) {
        for byte in crc.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

/// Fixed-size fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch { counter: 3, random: 0x1122_3344_5566_7788 };

    fn header(payload_bytes: u32) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Data,
            segment: 7,
            epoch: EPOCH,
            record_id: RecordId([9; 16]),
            number: 2,
            block: 5,
            payload_bytes,
            crc: 0,
        }
    }

    #[test]
    fn any_flipped_bit_of_a_frame_fails() {
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend_from_slice(b"payload");
        let crc = header(7).seal(&mut frame);
        let read = FrameHeader::parse(&frame).expect("a header");
        assert_eq!(read, FrameHeader { crc, ..header(7) });
        assert!(read.matches(&frame));
        for bit in 0..frame.len() * 8 {
            let mut bent = frame.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(!FrameHeader::parse(&bent).is_some_and(|read| read.matches(&bent)), "bit {bit}");
        }
    }

    #[test]
    fn any_flipped_bit_of_a_segment_header_fails() {
        let block = encode_segment_header(7, EPOCH);
        assert_eq!(block.len() as u64, BLOCK_BYTES);
        assert_eq!(decode_segment_header(7, &block), Some(EPOCH));
        assert_eq!(decode_segment_header(8, &block), None);
        for bit in 0..SEGMENT_HEADER_BYTES * 8 {
            let mut bent = block.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_segment_header(7, &bent), None, "bit {bit}");
        }
    }

    #[test]
    fn a_commit_reads_back_from_behind_the_last_bytes() {
        let commit =
            Commit { data_frames: 4, record_bytes: 1 << 40, chain_hash: 77, wrapped_key: (*b"key").into() };
        let mut payload = b"last bytes".to_vec();
        commit.append_to(&mut payload);
        assert_eq!(payload.len(), 10 + 3 + COMMIT_FOOTER_BYTES);
        assert_eq!(Commit::parse(&payload), Some((commit, 10)));
        assert_eq!(Commit::parse(&payload[12..]), None, "key cut off");
        assert_eq!(Commit::parse(&[]), None);
    }
}
