//! High-Throughput JPEG 2000 without loss by OpenJPH (PS3.5 A.4.12).
//!
//! What encodes is a young port of OpenJPH: it knows no colour transform, and a packet whose header ends in certain bits gets a
//! byte too many (openjph-core 0.1.0). So what it made is decoded by OpenJPEG, an older and other decoder, before anything leaves,
//! and compared; when it differs, the frame is cut into blocks another way, which makes other packets.

use openjph_core::{
    codestream::Codestream,
    file::MemOutfile,
    types::{Point, Size},
};

use crate::{Error, Frame, ImagePixel, decode::jpeg2000, encode::whole_numbers};

/// Wavelet levels and the side of a block, in the order they are tried; those further down compress less.
const SHAPES: [(u32, u32); 12] = [
    (5, 64),
    (5, 32),
    (4, 64),
    (4, 32),
    (3, 64),
    (3, 32),
    (2, 64),
    (2, 32),
    (1, 64),
    (1, 32),
    (0, 64),
    (0, 32),
];

pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, Error> {
    whole_numbers(frame, "HTJ2K")?;
    let image = ImagePixel {
        rows: frame.rows,
        columns: frame.columns,
        samples: frame.samples,
        photometric: frame.photometric,
        planar: false,
        sample: frame.sample,
        bits_stored: frame.bits_stored,
        high_bit: frame.bits_stored - 1,
        frames: 1,
    };
    let levels_max = frame.rows.min(frame.columns).max(1).ilog2();
    for (levels, side) in SHAPES.into_iter().filter(|(levels, _)| *levels <= levels_max) {
        let coded = code(frame, levels, side).ok();
        let same =
            |coded: &Vec<u8>| jpeg2000::decode(&image, coded).is_ok_and(|back| back.bytes == frame.bytes);
        if let Some(coded) = coded.filter(same) {
            return Ok(coded);
        }
    }
    Err(Error::Unsupported("HTJ2K of this frame by the encoder at hand".to_owned()))
}

fn code(frame: &Frame, levels: u32, side: u32) -> openjph_core::Result<Vec<u8>> {
    let samples = u32::from(frame.samples);
    let mut codestream = Codestream::new();
    let size = codestream.access_siz_mut();
    size.set_image_extent(Point::new(frame.columns, frame.rows));
    size.set_tile_size(Size::new(frame.columns, frame.rows));
    size.set_num_components(samples);
    for component in 0..samples {
        size.set_comp_info(component, Point::new(1, 1), frame.bits_stored.into(), frame.sample.is_signed());
    }
    let coding = codestream.access_cod_mut();
    coding.set_num_decomposition(levels);
    coding.set_block_dims(side, side);
    coding.set_reversible(true);
    coding.set_color_transform(false);
    codestream.set_planar(0);
    let mut coded = MemOutfile::new();
    codestream.write_headers(&mut coded, &[])?;
    let row_bytes = frame.columns as usize * usize::from(frame.samples) * frame.sample.bytes();
    let mut line = vec![0; frame.columns as usize];
    for row in frame.bytes.chunks_exact(row_bytes) {
        for component in 0..samples {
            fill(&mut line, row, frame, component as usize);
            codestream.exchange(&line, component)?;
        }
    }
    codestream.flush(&mut coded)?;
    Ok(coded.get_data().to_vec())
}

/// One component of a row as numbers.
fn fill(line: &mut [i32], row: &[u8], frame: &Frame, component: usize) {
    let step = usize::from(frame.samples);
    if frame.sample.bytes() == 1 {
        let samples = row.iter().skip(component).step_by(step);
        let number =
            |sample: u8| if frame.sample.is_signed() { sample.cast_signed().into() } else { sample.into() };
        line.iter_mut().zip(samples).for_each(|(place, sample)| *place = number(*sample));
    } else {
        let samples = row.as_chunks::<2>().0.iter().skip(component).step_by(step);
        let number = |raw: [u8; 2]| {
            if frame.sample.is_signed() {
                i16::from_le_bytes(raw).into()
            } else {
                u16::from_le_bytes(raw).into()
            }
        };
        line.iter_mut().zip(samples).for_each(|(place, raw)| *place = number(*raw));
    }
}
