//! JPEG-LS without loss by CharLS (PS3.5 A.4.3).

use charls::{CharLS, FrameInfo, InterleaveMode};

use crate::{Error, Frame, encode::whole_numbers, error::malformed};

pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, Error> {
    whole_numbers(frame, "JPEG-LS")?;
    let info = FrameInfo {
        width: frame.columns,
        height: frame.rows,
        // Two is the least of the standard (ISO/IEC 14495-1 C.2.2).
        bits_per_sample: frame.bits_stored.max(2).into(),
        component_count: frame.samples.into(),
    };
    let samples = unsigned(frame);
    let mut codec = CharLS::default();
    let broken = |error| malformed(format!("JPEG-LS: {error}"));
    if frame.samples > 1 {
        codec.set_interleave_mode(InterleaveMode::Line).map_err(broken)?;
    }
    codec.encode(info, 0, &samples).map_err(broken)
}

/// Samples as the codec takes them: those of up to 8 bits in a byte, and nothing above the bits that are stored.
fn unsigned(frame: &Frame) -> Vec<u8> {
    let mask = (1_u32 << frame.bits_stored) - 1;
    match (frame.sample.bytes(), frame.bits_stored <= 8) {
        (1, _) => frame.bytes.iter().map(|sample| sample & mask as u8).collect(),
        (_, true) => frame.bytes.as_chunks::<2>().0.iter().map(|[low, _]| low & mask as u8).collect(),
        (_, false) => {
            let samples = frame.bytes.as_chunks::<2>().0.iter();
            samples.flat_map(|raw| (u16::from_le_bytes(*raw) & mask as u16).to_ne_bytes()).collect()
        }
    }
}
