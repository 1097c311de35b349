//! Every file of the test data whose pixels are known: decoded frame by frame and compared.

use std::{fmt::Write as _, fs, path::Path};

use filmgate_pixels::{Frame, Sample, decode};
use sha2::{Digest, Sha256};

use crate::{
    files::{Row, Stored, rows},
    folder::folder,
};

/// Where decoders of one lossy codestream may differ: on average by no more than this many grey levels.
const MEAN_MAX: f64 = 1.0;

/// How a lossy image without the manifest's hash is known to be right.
enum Other {
    /// Another decoder of JPEG.
    Decoder,
    /// A file of the same image that lost nothing, and by how many grey levels the encoder may have led away from it on
    /// average.
    Lossless(&'static str, f64),
    /// Sums of samples and of their squares, by libjpeg through pylibjpeg 2.1.
    Sums(f64, f64),
}

/// Lossy files whose hash depends on the decoder: the inverse transform of JPEG and the widening of colour are left to it
/// (ISO/IEC 10918-2 allows ±1), and so are JPEG XL's.
const DEPENDING: &[(&str, Other)] = &[
    // By libjxl 0.11 it is 17.8817 on average, too.
    (
        "derived/enhanced-mr-jpeg-xl-lossy.dcm",
        Other::Lossless("derived/enhanced-mr-jpeg-xl-lossless.dcm", 18.0),
    ),
    ("derived/sc-rgb-jpeg-xl-lossy.dcm", Other::Lossless("derived/sc-rgb-jpeg-xl-lossless.dcm", 3.0)),
    ("derived/sc-rgb-jpeg-xl-recompressed.dcm", Other::Lossless("derived/sc-rgb-jpeg-xl-lossless.dcm", 8.0)),
    ("objects/us-multiframe-ybr-jpeg-30.dcm", Other::Decoder),
    ("objects/xa-multiframe-jpeg-96.dcm", Other::Decoder),
    ("syntaxes/colour-pm5644/jpeg-baseline-ybr-full.dcm", Other::Decoder),
    ("syntaxes/colour-pm5644/jpeg-baseline-ybr422.dcm", Other::Decoder),
    ("syntaxes/sc-rgb-small/jpeg-baseline-rgb.dcm", Other::Decoder),
    ("syntaxes/sc-rgb-small/jpeg-baseline-ybr-411.dcm", Other::Decoder),
    ("syntaxes/sc-rgb-small/jpeg-baseline-ybr-422.dcm", Other::Decoder),
    ("syntaxes/sc-rgb-small/jpeg-baseline-ybr-full-444.dcm", Other::Decoder),
    ("syntaxes/sc-rgb-small/jpeg-no-colour-transform.dcm", Other::Decoder),
    ("syntaxes/sc-rgb-small/small-odd-jpeg-baseline.dcm", Other::Decoder),
    ("syntaxes/misc/nm-jpeg-extended-12bit.dcm", Other::Sums(3_770_427.0, 176_820_621.0)),
];

fn sha256(frames: &[Frame]) -> String {
    let mut digest = Sha256::new();
    frames.iter().for_each(|frame| digest.update(&frame.bytes));
    hex::encode(digest.finalize())
}

fn decoded(folder: &Path, row: &Row) -> Result<(Stored, Vec<Frame>), String> {
    let stored = Stored::open(folder, row).map_err(|error| error.to_string())?;
    let frames = stored
        .frames()
        .map(|data| decode(&stored.syntax, &stored.image, data))
        .collect::<Result<Vec<_>, _>>();
    let frames = frames.map_err(|error| error.to_string())?;
    Ok((stored, frames))
}

#[test]
fn every_known_image_is_decoded_as_it_is_known() {
    let Some(folder) = folder() else { return };
    let (mut report, mut wrong, mut equal) =
        (String::from("path\tsyntax\tlossy\tphotometric\toutcome\n"), Vec::new(), 0);
    for row in rows(&folder) {
        let path = row["path"].as_str();
        let (photometric, outcome) = match decoded(&folder, &row) {
            Err(error) => ("none".to_owned(), Err(error)),
            Ok((stored, frames)) => {
                let photometric =
                    frames.first().map_or("none", |frame| frame.photometric.as_str()).to_owned();
                let outcome = if sha256(&frames) == row["pixel_sha256"] {
                    equal += 1;
                    Ok("equal".to_owned())
                } else {
                    compared(&folder, path, &stored, &frames)
                };
                (photometric, outcome)
            }
        };
        let said = outcome.as_ref().unwrap_or_else(|error| error);
        let _ = writeln!(
            report,
            "{path}\t{}\t{}\t{photometric}\t{said}",
            row["transfer_syntax_uid"], row["lossy"]
        );
        if let Err(error) = outcome {
            wrong.push(format!("{path}: {error}"));
        }
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    fs::write(target.join("pixels.tsv"), &report).expect("a report");
    assert!(wrong.is_empty(), "{equal} are equal; {wrong:#?}");
    assert!(
        report.lines().all(|line| line.split('\t').all(|cell| !cell.is_empty())),
        "a cell is empty: {report}"
    );
    assert!(equal >= 215, "{equal} are equal");
}

/// A lossy image without the hash of the manifest.
fn compared(folder: &Path, path: &str, stored: &Stored, frames: &[Frame]) -> Result<String, String> {
    let other = DEPENDING.iter().find(|(depending, _)| *depending == path);
    let (_, other) = other.ok_or("its samples are others than known")?;
    let samples: Vec<f64> = frames.iter().flat_map(values).collect();
    let (others, mean_max) = match other {
        Other::Sums(sum, squares) => {
            let count = samples.len() as f64;
            let (own, own_squares) =
                (samples.iter().sum::<f64>(), samples.iter().map(|value| value * value).sum::<f64>());
            let (mean, root) = ((own - sum) / count, (own_squares / count).sqrt() - (squares / count).sqrt());
            let said = format!("mean off by {mean:.4}, root mean square by {root:.4} of libjpeg's");
            let close = mean.abs() <= 0.1 && root.abs() <= 0.1;
            return if close { Ok(said) } else { Err(format!("{said}: sums {own} {own_squares}")) };
        }
        Other::Decoder => {
            (stored.frames().flat_map(|data| by_jpeg_decoder(&data.bytes)).collect::<Vec<f64>>(), MEAN_MAX)
        }
        Other::Lossless(sibling, mean_max) => {
            let rows = rows(folder);
            let row =
                rows.iter().find(|row| row["path"] == *sibling).expect("the sibling is in the manifest");
            let (_, frames) = decoded(folder, row)?;
            (frames.iter().flat_map(values).collect(), *mean_max)
        }
    };
    if others.len() != samples.len() {
        return Err(format!("{} samples, not {}", samples.len(), others.len()));
    }
    let apart = samples.iter().zip(&others).map(|(own, other)| (own - other).abs());
    let (mean, most) = (apart.clone().sum::<f64>() / samples.len() as f64, apart.fold(0.0, f64::max));
    let said = format!("apart by {mean:.4} on average, {most} at most");
    if mean <= mean_max { Ok(said) } else { Err(said) }
}

/// Samples as numbers.
pub(crate) fn values(frame: &Frame) -> Vec<f64> {
    let bytes = &frame.bytes;
    match frame.sample {
        Sample::U8 | Sample::Bit => bytes.iter().map(|value| f64::from(*value)).collect(),
        Sample::U16 => {
            bytes.as_chunks::<2>().0.iter().map(|raw| f64::from(u16::from_le_bytes(*raw))).collect()
        }
        Sample::I16 => {
            bytes.as_chunks::<2>().0.iter().map(|raw| f64::from(i16::from_le_bytes(*raw))).collect()
        }
        other => panic!("no test needs {other:?}"),
    }
}

fn by_jpeg_decoder(bytes: &[u8]) -> Vec<f64> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    // What it calls RGB is passed on as it is; its `None` mixes up rows.
    decoder.set_color_transform(jpeg_decoder::ColorTransform::RGB);
    decoder.decode().expect("the other decoder reads it").into_iter().map(f64::from).collect()
}
