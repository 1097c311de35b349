//! Broken pixels end in samples or an error, and take no more room than their image.

use filmgate_pixels::{Error, Frame, FrameData, ImagePixel, decode};
use proptest::prelude::*;

use crate::{
    files::{Row, Stored, rows},
    folder::folder,
};

/// A file of each family that is decoded in safe Rust, small enough to be broken often.
const SAFE: &[&str] = &[
    "syntaxes/mr-small/explicit-be.dcm",
    "syntaxes/mr-small/rle.dcm",
    "syntaxes/sc-rgb-small/rgb-2frame-rle.dcm",
    "syntaxes/misc/seg-rle.dcm",
    "syntaxes/misc/seg-deflated-image-frame.dcm",
    "syntaxes/sc-rgb-small/ybr-full-422-explicit-le.dcm",
    "syntaxes/sc-rgb-small/jpeg-baseline-ybr-411.dcm",
    "syntaxes/sc-rgb-small/jpeg-baseline-ybr-422.dcm",
    "syntaxes/sc-rgb-small/jpeg-lossless-sv1.dcm",
    "derived/ct-small-jpeg-lossless-p14.dcm",
    "syntaxes/misc/nm-jpeg-extended-12bit.dcm",
];

/// What is decoded, whatever it is, has the size that the attributes state.
pub(crate) fn check(image: &ImagePixel, decoded: &Result<Frame, Error>) {
    if let Ok(frame) = decoded {
        assert_eq!(frame.bytes.len() as u64, image.frame_bytes());
    }
}

pub(crate) fn stored(path: &str) -> Option<Stored> {
    let folder = folder()?;
    let rows = rows(&folder);
    let row: &Row = rows.iter().find(|row| row["path"] == path).expect("in the manifest");
    Some(Stored::open(&folder, row).expect("an image"))
}

/// The first frame, and the samples it has when it is whole.
fn first(stored: &Stored) -> (Vec<u8>, Frame) {
    let data = stored.frames().next().expect("a frame");
    (data.bytes.to_vec(), decode(&stored.syntax, &stored.image, data).expect("a whole frame"))
}

#[test]
fn a_frame_that_is_cut_off_is_never_half_an_image() {
    for path in SAFE {
        let Some(stored) = stored(path) else { return };
        let (bytes, whole) = first(&stored);
        let step = (bytes.len() / 200).max(1);
        for length in (0..bytes.len()).step_by(step) {
            let cut = decode(&stored.syntax, &stored.image, FrameData::of(&bytes[..length]));
            // What is missing may be padding, or the marker of the end.
            assert!(cut.as_ref().map_or(true, |frame| *frame == whole), "{path} of {length} bytes");
        }
    }
}

#[test]
fn one_flipped_bit_ends_in_samples_or_an_error() {
    for path in SAFE {
        let Some(stored) = stored(path) else { return };
        let (mut bytes, _) = first(&stored);
        let step = (bytes.len() * 8 / 300).max(1);
        // All of the headers, then here and there.
        for bit in (0..(bytes.len() * 8).min(2000)).chain((2000..bytes.len() * 8).step_by(step)) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            check(&stored.image, &decode(&stored.syntax, &stored.image, FrameData::of(&bytes)));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn broken_anyhow_it_ends(
        file in 0..SAFE.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        length in any::<prop::sample::Index>(),
    ) {
        let Some(stored) = stored(SAFE[file]) else { return Ok(()) };
        let (mut bytes, _) = first(&stored);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        check(&stored.image, &decode(&stored.syntax, &stored.image, FrameData::of(&bytes)));
        bytes.truncate(length.index(bytes.len()));
        check(&stored.image, &decode(&stored.syntax, &stored.image, FrameData::of(&bytes)));
    }
}
