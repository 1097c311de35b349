//! The files of the test data: their attributes and their frames.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read},
    path::Path,
};

use dicom_object::{
    InMemDicomObject,
    mem::{InMemElement, InMemFragment},
};
use dicom_transfer_syntax_registry::entries;
use filmgate_model::{VR, part10, tags};
use filmgate_pixels::{Error, FrameData, ImagePixel, Photometric, Sample};

pub(crate) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(crate) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// A line of the manifest.
pub(crate) type Row = BTreeMap<String, String>;

/// The lines of the manifest whose pixels are known.
pub(crate) fn rows(folder: &Path) -> Vec<Row> {
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).expect("the manifest");
    let mut lines = manifest.lines();
    let names: Vec<_> = lines.next().expect("column names").split('\t').collect();
    let row = |line: &str| {
        names.iter().map(|name| (*name).to_owned()).zip(line.split('\t').map(str::to_owned)).collect()
    };
    lines.map(row).filter(|row: &Row| !row["pixel_sha256"].is_empty()).collect()
}

/// An image as it is stored.
pub(crate) struct Stored {
    pub(crate) syntax: String,
    pub(crate) image: ImagePixel,
    frames: Vec<Vec<u8>>,
    first_bits: Vec<u8>,
}

impl Stored {
    pub(crate) fn open(folder: &Path, row: &Row) -> Result<Self, Error> {
        let bytes = fs::read(folder.join(&row["path"])).expect("a file of the manifest");
        let head = part10::read_file_head(&bytes).unwrap_or_default();
        let mut dataset = bytes[head.dataset_offset..].to_vec();
        let syntax = head.transfer_syntax_uid;
        if syntax == DEFLATED {
            let mut inflated = Vec::new();
            flate2::read::DeflateDecoder::new(&dataset[..])
                .read_to_end(&mut inflated)
                .expect("a deflated dataset");
            dataset = inflated;
        }
        let encoding = match syntax.as_str() {
            "1.2.840.10008.1.2" => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
            BIG_ENDIAN => entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
            _ => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        };
        let dataset = InMemDicomObject::read_dataset_with_ts(Cursor::new(&dataset), &encoding);
        let Ok(dataset) = dataset else { return Ok(Self::sought(&bytes, syntax, row)) };
        let image = ImagePixel::of(&dataset)?;
        let pixels = [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA];
        let pixels = pixels.into_iter().find_map(|tag| dataset.element(tag).ok()).ok_or(Error::NoPixels)?;
        let (mut frames, first_bits) = frames(&image, pixels);
        if syntax == BIG_ENDIAN && pixels.vr() == VR::OW {
            // The reader has turned words around; they are to be as in the file.
            frames
                .iter_mut()
                .for_each(|frame| frame.as_chunks_mut::<2>().0.iter_mut().for_each(|word| word.reverse()));
        }
        Ok(Self { syntax, image, frames, first_bits })
    }

    /// Of a file that the reader of the tests cannot read: what the manifest says, and the fragments at the end.
    fn sought(bytes: &[u8], syntax: String, row: &Row) -> Self {
        let number = |column: &str| row[column].parse::<u32>().expect("a number");
        let image = ImagePixel {
            rows: number("rows"),
            columns: number("columns"),
            samples: number("samples") as u8,
            photometric: Photometric::of(&row["photometric"]),
            planar: false,
            sample: Sample::U16,
            bits_stored: number("bits_stored") as u8,
            high_bit: number("bits_stored") as u8 - 1,
            frames: 1,
        };
        assert_eq!((row["frames"].as_str(), row["bits_allocated"].as_str()), ("1", "16"), "{}", row["path"]);
        let at = bytes.windows(4).rposition(|window| window == [0xE0, 0x7F, 0x10, 0x00]).expect("pixel data");
        let (mut rest, mut frame, mut items) = (&bytes[at + 12..], Vec::new(), 0);
        while let Some(item) = rest.strip_prefix(&[0xFE, 0xFF, 0x00, 0xE0]) {
            let (length, item) = item.split_first_chunk::<4>().expect("a length");
            let (item, after) = item.split_at(u32::from_le_bytes(*length) as usize);
            // The first is the offset table.
            if items > 0 {
                frame.extend_from_slice(item);
            }
            (rest, items) = (after, items + 1);
        }
        Self { syntax, image, frames: vec![frame], first_bits: vec![0] }
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = FrameData<'_>> {
        let frames = self.frames.iter().zip(&self.first_bits);
        frames.map(|(bytes, first_bit)| FrameData { first_bit: *first_bit, ..FrameData::of(bytes) })
    }
}

/// The bytes of each frame, and the bit each begins at.
fn frames(image: &ImagePixel, pixels: &InMemElement) -> (Vec<Vec<u8>>, Vec<u8>) {
    let count = image.frames as usize;
    if let Some(fragments) = pixels.fragments() {
        let fragments: &[InMemFragment] = fragments;
        let frames = if count == 1 {
            vec![fragments.concat()]
        } else {
            assert_eq!(fragments.len(), count, "a fragment for each frame");
            fragments.to_vec()
        };
        return (frames, vec![0; count]);
    }
    let bytes = pixels.to_bytes().expect("bytes");
    if image.sample == Sample::Bit {
        let bits = image.frame_bytes() as usize;
        let of = |frame: usize| bytes[frame * bits / 8..((frame + 1) * bits).div_ceil(8)].to_vec();
        return ((0..count).map(of).collect(), (0..count).map(|frame| (frame * bits % 8) as u8).collect());
    }
    let halved = image.photometric == Photometric::YbrFull422;
    let size = image.frame_bytes() as usize / if halved { 3 } else { 1 } * if halved { 2 } else { 1 };
    (bytes.chunks(size).take(count).map(<[u8]>::to_vec).collect(), vec![0; count])
}
