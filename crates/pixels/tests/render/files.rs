//! The files of the test data, and their frames.

use std::{
    fs,
    io::{Cursor, Read},
    path::Path,
};

use dicom_core::value::Value;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries;
use filmgate_model::{part10, tags, transfer_syntax::EXPLICIT_VR_BIG_ENDIAN, uids};
use filmgate_pixels::{Error, Frame, FrameData, ImagePixel, Photometric, Sample, decode};
use flate2::read::DeflateDecoder;

/// The paths of all files, as the manifest names them.
pub(crate) fn paths(folder: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).expect("the manifest");
    let paths = manifest.lines().skip(1).filter_map(|line| line.split('\t').next());
    // Sequences in sequences without end have no pixels, and are too deep for the reader of these tests.
    paths.filter(|path| !path.contains("nested-sequence-")).map(str::to_owned).collect()
}

/// The attributes of a file, pixels among them, and its transfer syntax.
pub(crate) fn read(path: &Path) -> Result<(String, InMemDicomObject), String> {
    let bytes = fs::read(path).map_err(|error| format!("unread: {error}"))?;
    let head = part10::read_file_head(&bytes).unwrap_or_default();
    let mut dataset = bytes.get(head.dataset_offset..).unwrap_or_default().to_vec();
    let transfer_syntax_uid = head.transfer_syntax_uid;
    if transfer_syntax_uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        let mut inflated = Vec::new();
        let read = DeflateDecoder::new(&dataset[..]).read_to_end(&mut inflated);
        read.map_err(|error| format!("unread: {error}"))?;
        dataset = inflated;
    }
    let encoding = match transfer_syntax_uid.as_str() {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
        EXPLICIT_VR_BIG_ENDIAN => entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
        _ => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
    };
    let dataset = InMemDicomObject::read_dataset_with_ts(Cursor::new(&dataset), &encoding);
    let dataset = dataset.map_err(|error| format!("unread: {error}"))?;
    Ok((transfer_syntax_uid, dataset))
}

/// A file with pixels.
pub(crate) struct Instance {
    /// Its attributes.
    pub(crate) dataset: InMemDicomObject,
    /// What they say of its samples.
    pub(crate) image: ImagePixel,
    transfer_syntax_uid: String,
}

impl Instance {
    /// Opens a file; the reason where it has no pixels or cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let (transfer_syntax_uid, dataset) = read(path)?;
        let image = ImagePixel::of(&dataset).map_err(|error| error.to_string())?;
        Ok(Self { dataset, image, transfer_syntax_uid })
    }

    /// One frame, the first being 1.
    pub(crate) fn frame(&self, number: u32) -> Result<Frame, Error> {
        let tags = [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA];
        let element =
            tags.into_iter().find_map(|tag| self.dataset.element(tag).ok()).ok_or(Error::NoPixels)?;
        match element.value() {
            Value::PixelSequence(sequence) => {
                let bytes = self.fragments(sequence.fragments(), sequence.offset_table(), number);
                decode(&self.transfer_syntax_uid, &self.image, FrameData::of(&bytes))
            }
            _ => {
                // Words have been read as such, so that the bytes are little endian whatever the file was.
                let bytes = element.to_bytes().map_err(|error| Error::Malformed(error.to_string()))?;
                let index = u64::from(number - 1);
                let bits = match (self.image.sample, self.image.photometric) {
                    (Sample::Bit, _) => u64::from(self.image.rows) * u64::from(self.image.columns),
                    (_, Photometric::YbrFull422 | Photometric::YbrPartial422) => {
                        self.image.frame_bytes() / 3 * 16
                    }
                    _ => self.image.frame_bytes() * 8,
                };
                let (start, end) = (index * bits / 8, ((index + 1) * bits).div_ceil(8));
                let bytes = bytes.get(start as usize..(end as usize).min(bytes.len())).unwrap_or_default();
                let first_bit = (index * bits % 8) as u8;
                let data = FrameData { first_bit, ..FrameData::of(bytes) };
                decode(uids::EXPLICIT_VR_LITTLE_ENDIAN, &self.image, data)
            }
        }
    }

    /// The fragments of one frame, one after another.
    fn fragments(&self, fragments: &[Vec<u8>], offsets: &[u32], number: u32) -> Vec<u8> {
        let index = number as usize - 1;
        if self.image.frames == 1 {
            return fragments.concat();
        }
        if fragments.len() == self.image.frames as usize {
            return fragments.get(index).cloned().unwrap_or_default();
        }
        let offset = |index: usize| offsets.get(index).map_or(u64::MAX, |offset| u64::from(*offset));
        let mut at = 0;
        let mut frame = Vec::new();
        for fragment in fragments {
            if (offset(index)..offset(index + 1)).contains(&at) {
                frame.extend_from_slice(fragment);
            }
            at += 8 + fragment.len() as u64;
        }
        frame
    }
}
