//! JPEG XL (ISO/IEC 18181) by jxl-oxide (PS3.5 A.4.14).

use jxl_oxide::{AllocTracker, InitializeResult, JxlImage, JxlThreadPool};

use crate::{Error, Frame, ImagePixel, Photometric, Sample, error::malformed};

/// What a decoder may need beside samples: tables, contexts, small images.
const ROOM_BYTES: u64 = 64 << 20;
/// What it may take for each sample, by way of its buffers of four bytes and the filters' copies of them.
const BYTES_A_SAMPLE: u64 = 64;
/// Enough for the header of an image; what follows is read when that is as it should be.
const HEAD_BYTES: usize = 4096;

pub(super) fn decode(image: &ImagePixel, bytes: &[u8]) -> Result<Frame, Error> {
    if !matches!(image.sample, Sample::U8 | Sample::U16 | Sample::I8 | Sample::I16) {
        return Err(Error::Unsupported(format!("JPEG XL of {} bytes a sample", image.sample.bytes())));
    }
    let opened = open(image, bytes)?;
    let metadata = &opened.image_header().metadata;
    let bits = metadata.bit_depth.bits_per_sample();
    if !(1..=16).contains(&bits) || bits as usize > image.sample.bytes() * 8 {
        return Err(malformed(format!("JPEG XL: {bits} bits a sample")));
    }
    let rendered = opened.render_frame(0).map_err(broken)?;
    let mut stream = rendered.stream_no_alpha();
    let (columns, samples) = (image.columns as usize, usize::from(image.samples));
    if (stream.width(), stream.height(), stream.channels())
        != (image.columns, image.rows, u32::from(image.samples))
    {
        return Err(malformed("JPEG XL: its frame is of another size than the image"));
    }
    let mut pixels = Vec::with_capacity(image.frame_bytes() as usize);
    let mut row = vec![0_f32; columns * samples];
    let whole = ((1_u32 << bits) - 1) as f32;
    let most = ((1_u32 << u32::from(image.bits_stored).min(bits)) - 1) as f32;
    for _ in 0..image.rows {
        stream.write_to_buffer(&mut row);
        let values = row.iter().map(|value| (value * whole).round().clamp(0.0, most) as u16);
        match image.sample.bytes() {
            1 => pixels.extend(values.map(|value| value as u8)),
            _ => pixels.extend(values.flat_map(u16::to_le_bytes)),
        }
    }
    super::values::settle_bits(image.sample, image.bits_stored, image.bits_stored - 1, &mut pixels);
    let mut frame = Frame::of(image, pixels);
    let transformed = metadata.xyb_encoded || opened.frame_header(0).is_some_and(|header| header.do_ycbcr);
    if samples == 3 && transformed {
        // The decoder undoes the codestream's own colour transform.
        frame.photometric = Photometric::Rgb;
    } else if frame.photometric == Photometric::YbrFull422 {
        frame.photometric = Photometric::YbrFull;
    }
    Ok(frame)
}

/// Reads a codestream whose image is of the size that is stated, to its end.
fn open(image: &ImagePixel, bytes: &[u8]) -> Result<JxlImage, Error> {
    let samples = u64::from(image.rows) * u64::from(image.columns) * u64::from(image.samples);
    let room = AllocTracker::with_limit((ROOM_BYTES + BYTES_A_SAMPLE * samples) as usize);
    let mut unread = JxlImage::builder().pool(JxlThreadPool::none()).alloc_tracker(room).build_uninit();
    let mut fed = 0;
    let mut opened = loop {
        let next = &bytes[fed..bytes.len().min(fed + HEAD_BYTES)];
        let taken = unread.feed_bytes(next).map_err(broken)?;
        fed += taken;
        match unread.try_init().map_err(broken)? {
            InitializeResult::Initialized(opened) => break opened,
            InitializeResult::NeedMoreData(_) if next.is_empty() || taken == 0 => {
                return Err(malformed("JPEG XL: its header is cut off"));
            }
            InitializeResult::NeedMoreData(more) => unread = more,
        }
    };
    let channels = opened.pixel_format().channels() - usize::from(opened.pixel_format().has_alpha());
    let found = (opened.width(), opened.height(), channels);
    let stated = (image.columns, image.rows, usize::from(image.samples));
    if found != stated {
        return Err(malformed(format!(
            "JPEG XL: {found:?} columns, rows and channels where {stated:?} are stated"
        )));
    }
    opened.feed_bytes(&bytes[fed..]).map_err(broken)?;
    opened.finalize().map_err(broken)?;
    if !opened.is_loading_done() || opened.num_loaded_keyframes() == 0 {
        return Err(malformed("JPEG XL: it ends early"));
    }
    Ok(opened)
}

fn broken(error: impl std::fmt::Display) -> Error {
    malformed(format!("JPEG XL: {error}"))
}
