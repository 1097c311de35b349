//! What the attributes of an image say of its samples (PS3.3 C.7.6.3).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use crate::{Error, error::malformed};

/// Bytes that the samples of one frame may take.
pub const FRAME_BYTES_MAX: u64 = 1 << 30;

/// What the samples of a pixel mean (PS3.3 C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Photometric {
    /// The lowest value is white.
    Monochrome1,
    /// The lowest value is black.
    Monochrome2,
    /// A number in a palette.
    PaletteColor,
    /// Red, green, blue.
    Rgb,
    /// Luminance and two colour differences, full range.
    YbrFull,
    /// The same; two pixels of a row share their colour differences.
    YbrFull422,
    /// The same; four pixels share them.
    YbrPartial420,
    /// As `YbrFull422`, in the range of television.
    YbrPartial422,
    /// JPEG 2000's irreversible transform of red, green, blue.
    YbrIct,
    /// JPEG 2000's reversible one.
    YbrRct,
    /// Hue, saturation, value (retired), cyan and so on (retired): told, not shown.
    Other,
}

impl Photometric {
    /// By the defined term.
    #[must_use]
    pub fn of(term: &str) -> Self {
        match term.trim_matches([' ', '\0']).to_ascii_uppercase().as_str() {
            "MONOCHROME1" => Self::Monochrome1,
            "MONOCHROME2" => Self::Monochrome2,
            "PALETTE COLOR" => Self::PaletteColor,
            "RGB" => Self::Rgb,
            "YBR_FULL" => Self::YbrFull,
            "YBR_FULL_422" => Self::YbrFull422,
            "YBR_PARTIAL_420" => Self::YbrPartial420,
            "YBR_PARTIAL_422" => Self::YbrPartial422,
            "YBR_ICT" => Self::YbrIct,
            "YBR_RCT" => Self::YbrRct,
            _ => Self::Other,
        }
    }

    /// The defined term; empty for what has none here.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monochrome1 => "MONOCHROME1",
            Self::Monochrome2 => "MONOCHROME2",
            Self::PaletteColor => "PALETTE COLOR",
            Self::Rgb => "RGB",
            Self::YbrFull => "YBR_FULL",
            Self::YbrFull422 => "YBR_FULL_422",
            Self::YbrPartial420 => "YBR_PARTIAL_420",
            Self::YbrPartial422 => "YBR_PARTIAL_422",
            Self::YbrIct => "YBR_ICT",
            Self::YbrRct => "YBR_RCT",
            Self::Other => "",
        }
    }
}

/// How one sample is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sample {
    /// One bit; a byte (0 or 1) once decoded.
    Bit,
    /// 8 bits.
    U8,
    /// 8 bits in two's complement.
    I8,
    /// 16 bits.
    U16,
    /// 16 bits in two's complement.
    I16,
    /// 32 bits.
    U32,
    /// 32 bits in two's complement.
    I32,
    /// Float Pixel Data (7FE0,0008).
    F32,
    /// Double Float Pixel Data (7FE0,0009).
    F64,
}

impl Sample {
    /// Bytes of one sample in a decoded frame.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Bit | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// True for two's complement.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32)
    }
}

/// The Image Pixel module of one instance, checked against each other and against [`FRAME_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePixel {
    /// Rows (0028,0010).
    pub rows: u32,
    /// Columns (0028,0011).
    pub columns: u32,
    /// Samples per Pixel (0028,0002).
    pub samples: u8,
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Planar Configuration (0028,0006) is 1: the planes stand one after another. Of native samples only.
    pub planar: bool,
    /// Bits Allocated (0028,0100) and Pixel Representation (0028,0103).
    pub sample: Sample,
    /// Bits Stored (0028,0101).
    pub bits_stored: u8,
    /// High Bit (0028,0102).
    pub high_bit: u8,
    /// Number of Frames (0028,0008); 1 where it is not stated.
    pub frames: u32,
}

impl ImagePixel {
    /// Reads the module; `dataset` need not hold the pixel data itself.
    ///
    /// # Errors
    /// When what is stated is missing, contradicts itself, or is larger than a frame may be.
    pub fn of(dataset: &InMemDicomObject) -> Result<Self, Error> {
        let number = |tag| number(dataset, tag);
        let (Some(rows), Some(columns)) = (number(tags::ROWS), number(tags::COLUMNS)) else {
            return Err(Error::NoPixels);
        };
        let allocated = number(tags::BITS_ALLOCATED).ok_or(Error::NoPixels)?;
        let signed = number(tags::PIXEL_REPRESENTATION) == Some(1);
        let sample = match (allocated, signed) {
            (1, _) => Sample::Bit,
            (8, false) => Sample::U8,
            (8, true) => Sample::I8,
            (16, false) => Sample::U16,
            (16, true) => Sample::I16,
            (32, _) if dataset.get(tags::FLOAT_PIXEL_DATA).is_some() => Sample::F32,
            (32, false) => Sample::U32,
            (32, true) => Sample::I32,
            (64, _) => Sample::F64,
            _ => return Err(Error::Unsupported(format!("{allocated} bits allocated"))),
        };
        let samples = number(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let samples = u8::try_from(samples).ok().filter(|count| matches!(count, 1 | 3 | 4));
        let samples = samples.ok_or_else(|| malformed("samples per pixel are neither 1, 3 nor 4"))?;
        let bits_stored = number(tags::BITS_STORED).unwrap_or(allocated);
        if bits_stored == 0 || bits_stored > allocated {
            return Err(malformed(format!("{bits_stored} bits stored of {allocated}")));
        }
        let high_bit = number(tags::HIGH_BIT).unwrap_or(bits_stored - 1);
        if high_bit >= allocated || high_bit + 1 < bits_stored {
            return Err(malformed(format!("high bit {high_bit} of {bits_stored} bits in {allocated}")));
        }
        let term = dataset.get(tags::PHOTOMETRIC_INTERPRETATION);
        let term = term.and_then(|element| element.to_str().ok()).unwrap_or_default();
        let photometric = match (Photometric::of(&term), samples) {
            (Photometric::Other, 1) if term.trim().is_empty() => Photometric::Monochrome2,
            (Photometric::Other, _) if term.trim().is_empty() => Photometric::Rgb,
            (stated, _) => stated,
        };
        let frames = dataset.get(tags::NUMBER_OF_FRAMES);
        let frames = frames.and_then(|element| element.to_int::<u32>().ok()).unwrap_or(1).max(1);
        let image = Self {
            rows,
            columns,
            samples,
            photometric,
            planar: samples > 1 && number(tags::PLANAR_CONFIGURATION) == Some(1),
            sample,
            bits_stored: bits_stored as u8,
            high_bit: high_bit as u8,
            frames,
        };
        let bytes = image.frame_bytes();
        match bytes {
            0 => Err(malformed("it has no rows or no columns")),
            _ if bytes > FRAME_BYTES_MAX => Err(Error::TooLarge { bytes, bytes_max: FRAME_BYTES_MAX }),
            _ => Ok(image),
        }
    }

    /// Bytes of one decoded frame.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns) * u64::from(self.samples) * self.sample.bytes() as u64
    }
}

/// A number (VR US or one that is read as such).
fn number(dataset: &InMemDicomObject, tag: Tag) -> Option<u32> {
    dataset.get(tag)?.to_int::<u32>().ok()
}
