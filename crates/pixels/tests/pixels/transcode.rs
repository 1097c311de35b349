//! What was decoded is encoded and decoded again, and nothing has changed.

use std::time::Instant;

use filmgate_pixels::{
    Error, Frame, FrameData, HTJ2K_LOSSLESS, ImagePixel, Photometric, Sample, attributes, decode, encode,
};

use crate::{
    files::{Stored, rows},
    folder::folder,
};

const TARGETS: [&str; 6] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
    HTJ2K_LOSSLESS,
];

/// What the attributes of an image say after it was encoded.
fn image_of(syntax: &str, frame: &Frame) -> ImagePixel {
    let attributes = attributes(syntax, frame).expect("attributes");
    ImagePixel {
        rows: frame.rows,
        columns: frame.columns,
        samples: frame.samples,
        photometric: attributes.photometric,
        planar: attributes.planar == Some(1),
        sample: frame.sample,
        bits_stored: attributes.bits_stored as u8,
        high_bit: attributes.high_bit as u8,
        frames: 1,
    }
}

fn there_and_back(syntax: &str, frame: &Frame) -> Result<Frame, Error> {
    let bytes = encode(syntax, frame)?;
    decode(syntax, &image_of(syntax, frame), FrameData::of(&bytes))
}

#[test]
fn every_image_survives_every_encoding() {
    let Some(folder) = folder() else { return };
    let (mut kept, mut refused, mut unlucky) = (0, Vec::new(), Vec::new());
    for row in rows(&folder) {
        let Ok(stored) = Stored::open(&folder, &row) else { continue };
        // The first three frames of many, and of a lossy image what it was decoded to.
        for data in stored.frames().take(3) {
            let frame = decode(&stored.syntax, &stored.image, data).expect("a frame");
            for syntax in TARGETS {
                match there_and_back(syntax, &frame) {
                    Ok(back) => assert!(back == frame, "{} by {syntax}", row["path"]),
                    Err(error) => {
                        if is_unlucky(syntax, &error) {
                            unlucky.push(row["path"].clone());
                            continue;
                        }
                        let wide = !matches!(frame.sample.bytes(), 1 | 2) || frame.sample == Sample::Bit;
                        assert!(
                            wide && matches!(error, Error::Unsupported(_)),
                            "{} by {syntax}: {error}",
                            row["path"]
                        );
                        refused.push(format!("{} by {syntax}: {error}", row["path"]));
                        continue;
                    }
                }
                kept += 1;
            }
        }
    }
    assert!(kept > 1000, "{kept} were kept, {refused:#?} refused");
    assert!(unlucky.len() * 50 < kept, "{unlucky:#?} of {kept} cannot be encoded as HTJ2K");
}

/// The encoder of HTJ2K has frames that it cannot encode, and says so.
fn is_unlucky(syntax: &str, error: &Error) -> bool {
    syntax == HTJ2K_LOSSLESS && matches!(error, Error::Unsupported(what) if what.contains("this frame"))
}

/// Samples of every kind that look like noise, which compresses to more than it was.
fn noise(sample: Sample, bits_stored: u8, samples: u8, rows: u32, columns: u32) -> Frame {
    let mut state = 9_u64;
    let count = rows as usize * columns as usize * usize::from(samples);
    let mut bytes = Vec::new();
    for _ in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = (state >> 33) as i64 & ((1 << bits_stored) - 1);
        let value = if sample.is_signed() { value - (1 << (bits_stored - 1)) } else { value };
        bytes.extend_from_slice(&value.to_le_bytes()[..sample.bytes()]);
    }
    let photometric = if samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 };
    Frame { rows, columns, samples, sample, bits_stored, photometric, bytes }
}

#[test]
fn noise_of_any_depth_and_shape_survives() {
    let kinds = [
        (Sample::U8, 8),
        (Sample::U8, 1),
        (Sample::U8, 7),
        (Sample::I8, 8),
        (Sample::I8, 5),
        (Sample::U16, 16),
        (Sample::U16, 12),
        (Sample::U16, 8),
        (Sample::I16, 16),
        (Sample::I16, 13),
        (Sample::Bit, 1),
    ];
    for (sample, bits) in kinds {
        for (samples, rows, columns) in
            [(1, 33, 65), (3, 17, 9), (1, 1, 1), (1, 1, 300), (3, 300, 1), (1, 2, 3)]
        {
            let frame = noise(sample, bits, if sample == Sample::Bit { 1 } else { samples }, rows, columns);
            for syntax in TARGETS {
                match there_and_back(syntax, &frame) {
                    Ok(back) => {
                        assert!(back == frame, "{sample:?} {bits} {samples} {rows} {columns} by {syntax}")
                    }
                    Err(error) if is_unlucky(syntax, &error) => {}
                    Err(error) => assert!(
                        sample == Sample::Bit && matches!(error, Error::Unsupported(_)),
                        "{sample:?} {bits} {samples} {rows} {columns} by {syntax}: {error}"
                    ),
                }
            }
        }
    }
}

/// Prints how fast each family is; nothing is asserted of it.
#[test]
fn speeds() {
    let Some(folder) = folder() else { return };
    let rows = rows(&folder);
    let mut lines = String::from("MB/s of decoded samples, one thread\n");
    for path in [
        "ct-series",
        "syntaxes/mr-384-mono16/explicit-be.dcm",
        "syntaxes/mr-384-mono16/rle.dcm",
        "objects/us-ybr-full-rle.dcm",
        "objects/xa-multiframe-jpeg-96.dcm",
        "syntaxes/colour-pm5644/jpeg-baseline-ybr422.dcm",
        "syntaxes/mr-384-mono16/jpeg-lossless-sv1.dcm",
        "syntaxes/mr-384-mono16/jpeg-ls-lossless.dcm",
        "syntaxes/mr-384-mono16/jpeg2000-lossless.dcm",
        "syntaxes/misc/cr-1760-jpeg2000-lossy.dcm",
        "syntaxes/misc/htj2k-lossless-rgb.dcm",
        "derived/ct-small-htj2k-lossless.dcm",
        "derived/sc-rgb-jpeg-xl-lossless.dcm",
    ] {
        let row = rows.iter().find(|row| row["path"].starts_with(path)).expect("in the manifest");
        let stored = Stored::open(&folder, row).expect("an image");
        let data = stored.frames().next().expect("a frame");
        let frame = decode(&stored.syntax, &stored.image, data.clone()).expect("a frame");
        lines += &format!(
            "{path} decoded {:.0}\n",
            speed(frame.bytes.len(), || decode(&stored.syntax, &stored.image, data.clone()).is_ok())
        );
    }
    let row = rows.iter().find(|row| row["path"].starts_with("ct-series")).expect("in the manifest");
    let stored = Stored::open(&folder, row).expect("an image");
    let frame =
        decode(&stored.syntax, &stored.image, stored.frames().next().expect("a frame")).expect("a frame");
    for syntax in TARGETS {
        let bytes = encode(syntax, &frame).expect("bytes");
        let image = image_of(syntax, &frame);
        let encoded = speed(frame.bytes.len(), || encode(syntax, &frame).is_ok());
        let decoded = speed(frame.bytes.len(), || decode(syntax, &image, FrameData::of(&bytes)).is_ok());
        let ratio = frame.bytes.len() as f64 / bytes.len() as f64;
        lines += &format!("ct by {syntax}: encoded {encoded:.0}, decoded {decoded:.0}, {ratio:.2} : 1\n");
    }
    let _ = std::io::Write::write_all(&mut std::io::stderr(), lines.as_bytes());
}

/// The best of a few runs.
fn speed(bytes: usize, work: impl Fn() -> bool) -> f64 {
    let run = |_| {
        let started = Instant::now();
        assert!(work());
        bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
    };
    (0..7).map(run).fold(0.0, f64::max)
}
