//! Where the frames of an instance lie. Nothing of it is stored: it is derived when a frame is read, so that whatever is learned
//! about odd files later holds for those received before.
//!
//! Native frames are found by arithmetic (PS3.5 8.1.1). Of encapsulated ones (PS3.5 A.4) the first that can be believed counts:
//! the extended offset table, a basic offset table that points at fragments, one fragment a frame, codestreams that begin
//! where fragments do. Else all is one frame, or none can be told apart.

use std::ops::Range;

use bytes::Bytes;
use filmgate_model::{Facts, Tag, compute, tags};
use filmgate_seal::{BulkKind, Fragment, Inflater, Inflation, PixelData, SealOptions};

use crate::{Error, OpenRecord, decoding::length};

/// Bytes of a fragment's item head, from which offset tables count.
const ITEM_HEAD_BYTES: u64 = 8;
/// Bytes of one frame at most, as they are stored.
const STORED_FRAME_BYTES_MAX: u64 = filmgate_pixels::FRAME_BYTES_MAX;
/// Fragments of one instance that are looked through; each takes 16 bytes of memory.
const FRAGMENTS_READ_MAX: usize = 1_000_000;
/// Pieces that a frame is kept and sent in.
const PIECES_MAX: usize = 64;
/// First bytes of a fragment by which a codestream is known.
const MARKER_BYTES: usize = 12;
/// Bytes that are read at a time while heads are looked at: about a chunk.
const NEAR_BYTES: u64 = 256 * 1024;

/// The frames of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// How many there are.
    pub count: u32,
    places: Places,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Places {
    /// Samples as they are.
    Native { offset: u64, bytes: u64, frame_bits: u64 },
    /// Fragments, and where among them each frame begins.
    Fragments { fragments: Vec<Fragment>, begins: Vec<usize> },
}

impl Frames {
    /// Where the first frame ends, by offsets in the dataset.
    pub(super) fn first_end(&self) -> u64 {
        match &self.places {
            &Places::Native { offset, bytes, frame_bits } => {
                native_range(0, bytes, frame_bits).map_or(offset, |range| offset + range.end)
            }
            Places::Fragments { fragments, begins } => {
                let end = begins.get(1).copied().unwrap_or(fragments.len());
                let last = end.checked_sub(1).and_then(|last| fragments.get(last));
                last.map_or(0, |last| last.dataset_offset.saturating_add(last.bytes.into()))
            }
        }
    }

    /// What it takes in memory, about.
    pub(super) fn weight_bytes(&self) -> u64 {
        match &self.places {
            Places::Native { .. } => 0,
            Places::Fragments { fragments, begins } => (fragments.len() * 16 + begins.len() * 8) as u64,
        }
    }
}

/// A frame as it is stored.
#[derive(Debug, Clone)]
pub struct StoredFrame {
    /// Native samples, or the fragments' content, in the pieces in which it was opened, in order.
    pub pieces: Vec<Bytes>,
    /// The bit of the first byte at which a native frame of single bits begins; 0 for all others.
    pub first_bit: u8,
}

impl StoredFrame {
    /// What it takes in memory, about.
    pub(super) fn weight_bytes(&self) -> u64 {
        length(&self.pieces) + (self.pieces.len() * size_of::<Bytes>()) as u64
    }
}

impl OpenRecord {
    /// Finds the frames.
    ///
    /// # Errors
    /// [`Error::NoFrames`] when there are no pixels or frames cannot be told apart; or when bytes that tell cannot be had.
    pub async fn frames(&self) -> Result<Frames, Error> {
        let table = self.table();
        let stated =
            table.facts.integer(tags::NUMBER_OF_FRAMES).and_then(|frames| u32::try_from(frames).ok());
        let count = stated.unwrap_or(1).max(1);
        let top =
            table.bulk_values.iter().find(|bulk| bulk.within.is_empty() && bulk.kind != BulkKind::Plain);
        let Some(value) = top else { return Err(Error::NoFrames("it has no pixel data")) };
        if value.kind == BulkKind::Native {
            let frame_bits = frame_bits(&table.facts, value.tag)?;
            let places = Places::Native { offset: value.dataset_offset, bytes: value.bytes, frame_bits };
            return Ok(Frames { count, places });
        }
        let Some(pixel_data) = &table.pixel_data else { return Err(Error::NoFrames("it has no pixel data")) };
        let end = value.dataset_offset.saturating_add(value.bytes);
        let fragments = self.all_fragments(pixel_data, end).await?;
        let begins = match begins_by_tables(pixel_data, &fragments, count) {
            Some(begins) => begins,
            None => self.begins_by_codestreams(&fragments, count).await?,
        };
        Ok(Frames { count, places: Places::Fragments { fragments, begins } })
    }

    /// One frame as it is stored; frames count from 1.
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`] when there are fewer; or when its bytes cannot be had.
    pub async fn stored_frame(&self, frames: &Frames, frame: u32) -> Result<StoredFrame, Error> {
        let no_such = Error::NoSuchFrame { frame, frames: frames.count };
        let Some(index) = frame.checked_sub(1).filter(|_| frame <= frames.count) else { return Err(no_such) };
        match &frames.places {
            &Places::Native { offset, bytes, frame_bits } => {
                let Some(range) = native_range(index, bytes, frame_bits) else { return Err(no_such) };
                let first_bit = (u64::from(index) * frame_bits % 8) as u8;
                let pieces = self.value_pieces(offset + range.start..offset + range.end).await?;
                Ok(StoredFrame { pieces, first_bit })
            }
            Places::Fragments { fragments, begins } => {
                let begin = *begins.get(index as usize).ok_or(no_such)?;
                let end = begins.get(index as usize + 1).copied().unwrap_or(fragments.len());
                let pieces = self.fragments_content(fragments.get(begin..end).unwrap_or_default()).await?;
                Ok(StoredFrame { pieces, first_bit: 0 })
            }
        }
    }

    /// Part of a value by offsets as its table has them: of the inflated dataset, where that is deflated.
    ///
    /// # Errors
    /// When a chunk cannot be had.
    pub async fn value_range(&self, range: Range<u64>) -> Result<Bytes, Error> {
        check_length(&range)?;
        if self.is_deflated() { self.inflated_range(range).await } else { self.dataset_range(range).await }
    }

    /// The same as it comes: pieces, in order.
    ///
    /// # Errors
    /// When a chunk cannot be had.
    pub async fn value_pieces(&self, range: Range<u64>) -> Result<Vec<Bytes>, Error> {
        check_length(&range)?;
        if self.is_deflated() {
            return Ok(vec![self.inflated_range(range).await?]);
        }
        self.dataset_pieces(range).await
    }

    async fn inflated_range(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let mut inflated = Inflated::new(range);
        for number in 0..self.chunks() {
            let Some(chunk) = self.chunk(number).await? else { break };
            inflated = compute(move || inflated.pushed(&chunk)).await?;
            if inflated.is_over() {
                break;
            }
        }
        Ok(inflated.taken.into())
    }

    /// The fragments noted, and those behind them, by walking from item to item.
    async fn all_fragments(&self, pixel_data: &PixelData, end: u64) -> Result<Vec<Fragment>, Error> {
        let (mut fragments, mut near) = (pixel_data.fragments.clone(), Near::default());
        while (fragments.len() as u64) < pixel_data.fragments_total
            && let Some(last) = fragments.last()
        {
            if fragments.len() >= FRAGMENTS_READ_MAX {
                return Err(Error::NoFrames("it has more fragments than are looked through"));
            }
            let start = last.dataset_offset.saturating_add(last.bytes.into());
            let head = start..start.saturating_add(ITEM_HEAD_BYTES).min(end);
            let head = self.bytes_near(&mut near, head, end).await?;
            let [0xfe, 0xff, 0x00, 0xe0, length @ ..] = head else { break };
            let Some(length) = length.first_chunk() else { break };
            let bytes = u32::from_le_bytes(*length);
            fragments.push(Fragment { dataset_offset: start + ITEM_HEAD_BYTES, bytes });
        }
        Ok(fragments)
    }

    /// Where codestreams begin, when as many do as there are frames.
    async fn begins_by_codestreams(&self, fragments: &[Fragment], count: u32) -> Result<Vec<usize>, Error> {
        let (mut begins, mut near) = (Vec::new(), Near::default());
        let end = fragments.last().map_or(0, |last| last.dataset_offset.saturating_add(last.bytes.into()));
        for (number, fragment) in fragments.iter().enumerate() {
            let bytes = u64::from(fragment.bytes).min(MARKER_BYTES as u64);
            let head = fragment.dataset_offset..fragment.dataset_offset.saturating_add(bytes);
            if begins_codestream(self.bytes_near(&mut near, head, end).await?) {
                begins.push(number);
            }
        }
        if begins.len() == count as usize && begins.first() == Some(&0) {
            return Ok(begins);
        }
        Err(Error::NoFrames("its frames cannot be told apart: it is answered with its instance only"))
    }

    /// A few bytes, read with what stands behind them: fragments can be as short as the heads between them.
    async fn bytes_near<'n>(
        &self,
        near: &'n mut Near,
        range: Range<u64>,
        end: u64,
    ) -> Result<&'n [u8], Error> {
        let near_end = near.start + near.bytes.len() as u64;
        if range.start < near.start || range.end > near_end {
            near.start = range.start;
            let until = range.start.saturating_add(NEAR_BYTES).min(end).max(range.end);
            near.bytes = self.dataset_range(range.start..until).await?;
        }
        // Within what is in memory.
        let (from, to) = ((range.start - near.start) as usize, (range.end - near.start) as usize);
        Ok(near.bytes.get(from..to.min(near.bytes.len())).unwrap_or_default())
    }

    /// What fragments hold, one behind the other.
    async fn fragments_content(&self, fragments: &[Fragment]) -> Result<Vec<Bytes>, Error> {
        let total: u64 = fragments.iter().map(|fragment| u64::from(fragment.bytes)).sum();
        if total > STORED_FRAME_BYTES_MAX {
            return Err(Error::NoFrames("a frame is longer than one may be"));
        }
        let range = |fragment: &Fragment| {
            fragment.dataset_offset..fragment.dataset_offset.saturating_add(fragment.bytes.into())
        };
        if let [first, .., last] = fragments {
            self.will_read(range(first).start..range(last).end);
        }
        let mut content = Vec::new();
        for fragment in fragments.iter().filter(|fragment| fragment.bytes > 0) {
            content.extend(self.dataset_pieces(range(fragment)).await?);
        }
        // Many small ones would take more than what they hold.
        if content.len() > PIECES_MAX {
            content = vec![content.concat().into()];
        }
        Ok(content)
    }
}

fn check_length(range: &Range<u64>) -> Result<(), Error> {
    match range.end.saturating_sub(range.start) {
        bytes if bytes > STORED_FRAME_BYTES_MAX => Err(Error::NoFrames("a frame is longer than one may be")),
        _ => Ok(()),
    }
}

/// Bytes of the dataset that were read last.
#[derive(Default)]
struct Near {
    start: u64,
    bytes: Bytes,
}

/// Bits of one native frame (PS3.5 8.1.1, PS3.3 C.7.6.3).
fn frame_bits(facts: &Facts, tag: Tag) -> Result<u64, Error> {
    let number = |tag| facts.number(tag).map(u64::from);
    let (rows, columns) = (number(tags::ROWS).unwrap_or(0), number(tags::COLUMNS).unwrap_or(0));
    let bits = match tag {
        tags::FLOAT_PIXEL_DATA => 32,
        tags::DOUBLE_FLOAT_PIXEL_DATA => 64,
        _ => number(tags::BITS_ALLOCATED).unwrap_or(0),
    };
    let samples = number(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
    // Of two pixels that share their colour differences four samples are stored, of four that do six.
    let row_samples = match facts.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref() {
        Some("YBR_FULL_422" | "YBR_PARTIAL_422") if samples == 3 => columns.div_ceil(2) * 4,
        _ => columns * samples,
    };
    match rows * row_samples * bits {
        0 => Err(Error::NoFrames("it states no rows, columns or bits")),
        frame_bits => Ok(frame_bits),
    }
}

/// The bytes that hold a frame, by offsets in the value; `None` where they end before it does.
fn native_range(index: u32, value_bytes: u64, frame_bits: u64) -> Option<Range<u64>> {
    let start = u64::from(index).checked_mul(frame_bits)?;
    let (first, end) = (start / 8, start.checked_add(frame_bits)?.div_ceil(8));
    (end <= value_bytes).then_some(first..end)
}

/// Where frames begin by what stands in tables, or by count.
fn begins_by_tables(pixel_data: &PixelData, fragments: &[Fragment], count: u32) -> Option<Vec<usize>> {
    let frames = count as usize;
    if frames == 1 {
        return (!fragments.is_empty()).then(|| vec![0]);
    }
    let numbers = |table: &[u8], unit: usize| -> Vec<u64> {
        let wide = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        table.chunks_exact(unit).map(wide).collect()
    };
    let tables = [(&pixel_data.extended_offset_table, 8), (&pixel_data.basic_offset_table, 4)];
    for (table, unit) in tables {
        let offsets = table.as_deref().map(|table| numbers(table, unit)).unwrap_or_default();
        if offsets.len() == frames
            && let Some(begins) = begins_at(&offsets, fragments)
        {
            return Some(begins);
        }
    }
    (fragments.len() == frames).then(|| (0..frames).collect())
}

/// The fragments that begin at these offsets; `None` when one of them points elsewhere, or not on from the one before.
fn begins_at(offsets: &[u64], fragments: &[Fragment]) -> Option<Vec<usize>> {
    let base = fragments.first()?.dataset_offset;
    let mut begins = Vec::with_capacity(offsets.len());
    for offset in offsets {
        let wanted = base.checked_add(*offset)?;
        let found = fragments.binary_search_by_key(&wanted, |fragment| fragment.dataset_offset).ok()?;
        if begins.last().is_some_and(|last| *last >= found) {
            return None;
        }
        begins.push(found);
    }
    (begins.first() == Some(&0)).then_some(begins)
}

/// True where a JPEG, JPEG-LS, JPEG 2000, HTJ2K or JPEG XL codestream or file begins.
fn begins_codestream(bytes: &[u8]) -> bool {
    const JP2_SIGNATURE: &[u8] = b"\0\0\0\x0cjP  ";
    const JXL_SIGNATURE: &[u8] = b"\0\0\0\x0cJXL ";
    matches!(bytes, [0xff, 0xd8, 0xff, ..] | [0xff, 0x4f, 0xff, 0x51, ..] | [0xff, 0x0a, ..])
        || bytes.starts_with(JP2_SIGNATURE)
        || bytes.starts_with(JXL_SIGNATURE)
}

/// A range of a deflated dataset, while it is inflated.
struct Inflated {
    inflater: Inflater,
    wanted: Range<u64>,
    at: u64,
    taken: Vec<u8>,
}

impl Inflated {
    fn new(wanted: Range<u64>) -> Self {
        let inflater = Inflater::new(SealOptions::default().inflated_bytes_max);
        Self { inflater, wanted, at: 0, taken: Vec::new() }
    }

    fn pushed(mut self, deflated: &[u8]) -> Self {
        let Self { inflater, wanted, at, taken } = &mut self;
        inflater.push(deflated, |bytes| {
            // Both lie within what is in memory.
            let from = wanted.start.saturating_sub(*at).min(bytes.len() as u64) as usize;
            let to = wanted.end.saturating_sub(*at).min(bytes.len() as u64) as usize;
            taken.extend_from_slice(bytes.get(from..to).unwrap_or_default());
            *at += bytes.len() as u64;
        });
        self
    }

    fn is_over(&self) -> bool {
        self.at >= self.wanted.end || self.inflater.state() != Inflation::Going
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fragments of these lengths, one behind the other.
    fn fragments(lengths: &[u32]) -> Vec<Fragment> {
        let mut at = 1000;
        let mut placed = Vec::new();
        for &bytes in lengths {
            placed.push(Fragment { dataset_offset: at + ITEM_HEAD_BYTES, bytes });
            at += ITEM_HEAD_BYTES + u64::from(bytes);
        }
        placed
    }

    fn table(offsets: &[u32]) -> Option<Vec<u8>> {
        Some(offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect())
    }

    #[test]
    fn native_frames_follow_by_arithmetic_and_single_bits_share_bytes() {
        assert_eq!(native_range(0, 100, 400), Some(0..50));
        assert_eq!(native_range(1, 100, 400), Some(50..100));
        assert_eq!(native_range(2, 100, 400), None);
        // 3 x 3 single bits: the second frame begins at bit 1 of byte 1.
        assert_eq!(native_range(1, 3, 9), Some(1..3));
        assert_eq!(native_range(u32::MAX, u64::MAX, u64::MAX), None);
    }

    #[test]
    fn colour_differences_that_are_shared_take_less() {
        let mut facts = Facts::default();
        for (tag, number) in
            [(tags::ROWS, 4u16), (tags::COLUMNS, 5), (tags::BITS_ALLOCATED, 8), (tags::SAMPLES_PER_PIXEL, 3)]
        {
            facts.insert(tag, &number.to_le_bytes());
        }
        assert_eq!(frame_bits(&facts, tags::PIXEL_DATA).expect("a size"), 4 * 5 * 3 * 8);
        facts.insert(tags::PHOTOMETRIC_INTERPRETATION, b"YBR_FULL_422");
        assert_eq!(frame_bits(&facts, tags::PIXEL_DATA).expect("a size"), 4 * 12 * 8);
        assert!(frame_bits(&Facts::default(), tags::PIXEL_DATA).is_err());
    }

    #[test]
    fn the_first_table_that_can_be_believed_counts() {
        let placed = fragments(&[10, 20, 30]);
        let mut pixel_data = PixelData { basic_offset_table: table(&[0, 46]), ..PixelData::default() };
        assert_eq!(begins_by_tables(&pixel_data, &placed, 2), Some(vec![0, 2]));
        // It points into the midst of a fragment, backwards, or past the end; or tells of other frames.
        for wrong in [&[0, 45][..], &[46, 0], &[0, 4600], &[0, 0], &[18, 46], &[0, 18, 46]] {
            pixel_data.basic_offset_table = table(wrong);
            assert_eq!(begins_by_tables(&pixel_data, &placed, 2), None, "{wrong:?}");
        }
        // Then a fragment a frame, where that fits.
        assert_eq!(begins_by_tables(&pixel_data, &placed, 3), Some(vec![0, 1, 2]));
        // A wrong basic table does not stand in the way of an extended one.
        let extended = [0u64, 18].iter().flat_map(|offset| offset.to_le_bytes()).collect();
        pixel_data.extended_offset_table = Some(extended);
        assert_eq!(begins_by_tables(&pixel_data, &placed, 2), Some(vec![0, 1]));
        // One frame has all fragments, whatever tables say.
        assert_eq!(begins_by_tables(&pixel_data, &placed, 1), Some(vec![0]));
        assert_eq!(begins_by_tables(&pixel_data, &[], 1), None);
    }

    #[test]
    fn the_first_frame_ends_before_the_second_begins() {
        let native = Places::Native { offset: 900, bytes: 100, frame_bits: 400 };
        assert_eq!(Frames { count: 2, places: native }.first_end(), 950);
        let placed = fragments(&[10, 20, 30]);
        let of = |begins: &[usize]| {
            let places = Places::Fragments { fragments: placed.clone(), begins: begins.to_vec() };
            Frames { count: begins.len() as u32, places }.first_end()
        };
        assert_eq!(of(&[0, 2]), 1000 + 8 + 10 + 8 + 20);
        assert_eq!(of(&[0]), placed[2].dataset_offset + 30);
    }

    #[test]
    fn codestreams_are_known_by_how_they_begin() {
        for begins in [
            &b"\xff\xd8\xff\xc0"[..],
            b"\xff\xd8\xff\xf7",
            b"\xff\x4f\xff\x51",
            b"\0\0\0\x0cjP  \r\n\x87\n",
            b"\xff\x0a\0",
            b"\0\0\0\x0cJXL \r\n",
        ] {
            assert!(begins_codestream(begins), "{begins:x?}");
        }
        for other in [&b""[..], b"\xff", b"\xff\xd9\xff", b"\0\0\0\x0c", b"\x01\0\0\0"] {
            assert!(!begins_codestream(other), "{other:x?}");
        }
    }
}
