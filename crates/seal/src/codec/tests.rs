use super::*;

#[test]
fn what_does_not_shrink_is_stored() {
    let mut out = b"before".to_vec();
    assert_eq!(encode(&[7; 4096], Some(1), &mut out), Codec::Zstd);
    assert_eq!(decode(Codec::Zstd, out[6..].to_vec(), 4096), Ok(vec![7; 4096]));
    for raw in [&b""[..], b"x", b"no shorter"] {
        let mut out = Vec::new();
        assert_eq!(encode(raw, Some(1), &mut out), Codec::Stored);
        assert_eq!(out, raw);
    }
    assert_eq!(encode(&[7; 4096], None, &mut Vec::new()), Codec::Stored);
}

#[test]
fn a_wrong_stated_length_is_an_error() {
    let mut packed = Vec::new();
    encode(&[7; 4096], Some(1), &mut packed);
    assert!(decode(Codec::Zstd, packed.clone(), 4095).is_err());
    assert!(decode(Codec::Zstd, packed.clone(), 4097).is_err());
    assert!(decode(Codec::Stored, packed, 1).is_err());
    assert!(decode(Codec::SplitPredictor, vec![], 0).is_err());
}

use filmgate_model::Random;
use proptest::{collection::vec, prelude::*};

fn shape(sample_bytes: u8, row_samples: usize, components: u8) -> SampleShape {
    SampleShape {
        sample_bytes,
        row_bytes: (row_samples * usize::from(sample_bytes)) as u32,
        components,
        ..SampleShape::default()
    }
}

/// Encodes as a chunk is, decodes, and tells how it was written.
fn through(raw: &[u8], mut shape: SampleShape) -> (Codec, usize) {
    let mut packed = Vec::new();
    let codec = encode_samples(raw, &mut shape, 1, &mut packed);
    let packed_bytes = packed.len();
    assert!(packed_bytes <= raw.len());
    assert!(decode_samples(codec, packed, raw.len(), Some(&shape)).expect("decodes") == raw);
    (codec, packed_bytes)
}

/// The split predictor alone, whatever it makes of `raw`.
fn through_split(raw: &[u8], shape: &SampleShape) {
    let samples = Samples::of(shape).expect("samples that are predicted");
    CONTEXTS.with_borrow_mut(|Contexts { zstd, planes }| {
        let mut packed = Vec::new();
        let coders = split::encode(raw, &samples, planes, zstd, 1, &mut packed);
        let opened = split::decode(&packed, &samples, &coders, raw.len(), planes, zstd);
        assert!(opened.expect("decodes") == raw, "{shape:?}");
    });
}

fn any_shape() -> impl Strategy<Value = SampleShape> {
    (1..=2u8, 1..70usize, 1..=4u8, any::<bool>(), any::<bool>()).prop_map(
        |(sample_bytes, row_samples, components, big_endian, signed)| SampleShape {
            big_endian,
            signed,
            ..shape(sample_bytes, row_samples, components)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn samples_come_back_bit_for_bit(shape in any_shape(), raw in vec(any::<u8>(), 0..8000), smooth in any::<bool>()) {
        // Noise and slopes; the last row is often cut short.
        let raw: Vec<u8> = if smooth { raw.iter().enumerate().map(|(at, byte)| (at / 9) as u8 ^ byte & 1).collect() } else { raw };
        through(&raw, shape.clone());
        if raw.len() >= shape.row_bytes as usize {
            through_split(&raw, &shape);
        }
    }

    #[test]
    fn arbitrary_bytes_decode_to_samples_or_an_error(
        mut shape in any_shape(),
        coders in vec(0..4u8, 0..4),
        packed in vec(any::<u8>(), 0..3000),
        raw_bytes in 0..6000usize,
    ) {
        shape.plane_coders = coders;
        if let Ok(raw) = decode_samples(Codec::SplitPredictor, packed, raw_bytes, Some(&shape)) {
            prop_assert_eq!(raw.len(), raw_bytes);
        }
    }
}

/// 16 bit, a slope with noise of `noise_bits` bits.
fn slope(noise_bits: u32) -> Vec<u8> {
    let mut noise = vec![0; 512 * 256];
    Random::seeded(1).fill(&mut noise);
    let sample = |(at, noise): (usize, &u8)| {
        let noise = u16::from(*noise) & ((1 << noise_bits) - 1);
        (((at % 512) * 2 + at / 512 * 3) as u16 + noise).to_le_bytes()
    };
    noise.iter().enumerate().flat_map(sample).collect()
}

#[test]
fn what_predicts_well_is_predicted() {
    for noise_bits in [0, 2, 5] {
        let raw = slope(noise_bits);
        let (codec, packed_bytes) = through(&raw, shape(2, 512, 1));
        let plain = zstd_of(&raw);
        assert_eq!(codec, Codec::SplitPredictor, "{noise_bits} bits of noise");
        assert!(packed_bytes * 100 < plain * 80, "{packed_bytes} against {plain} bytes");
    }
}

fn zstd_of(raw: &[u8]) -> usize {
    let mut packed = Vec::new();
    encode(raw, Some(1), &mut packed);
    packed.len()
}

#[test]
fn what_repeats_is_left_to_zstd() {
    let mut pattern = vec![0; 96];
    Random::seeded(2).fill(&mut pattern);
    let raw = pattern.repeat(2000);
    let (codec, packed_bytes) = through(&raw, shape(1, 512, 1));
    assert_eq!(codec, Codec::Zstd);
    assert!(packed_bytes < 1000);
}

#[test]
fn noise_is_stored() {
    let mut raw = vec![0; 100_000];
    Random::seeded(3).fill(&mut raw);
    assert_eq!(through(&raw, shape(2, 500, 1)), (Codec::Stored, raw.len()));
    assert_eq!(through(&raw, shape(1, 500, 3)), (Codec::Stored, raw.len()));
}

#[test]
fn other_samples_are_left_to_zstd() {
    let raw = vec![5; 4096];
    for shape in [
        shape(0, 64, 1),
        shape(4, 16, 1),
        shape(8, 8, 1),
        shape(1, 64, 0),
        shape(1, 64, 5),
        shape(2, 0, 1),
        shape(2, 4096, 1),
        SampleShape { row_bytes: 63, ..shape(2, 32, 1) },
    ] {
        assert_eq!(through(&raw, shape.clone()).0, Codec::Zstd, "{shape:?}");
    }
}

/// A frame that inflates beyond the plane it stands for ends in an error, having filled no more than the plane.
#[test]
fn a_plane_cannot_be_blown_up() {
    let mut bomb = Vec::new();
    encode(&vec![0; 1 << 20], Some(1), &mut bomb);
    let shape = SampleShape { plane_coders: vec![1], ..shape(1, 64, 1) };
    assert!(decode_samples(Codec::SplitPredictor, bomb, 4096, Some(&shape)).is_err());
}

/// The same of a piece that is one frame: a table, a footer block, a chunk.
#[test]
fn a_frame_cannot_be_blown_up() {
    let mut bomb = Vec::new();
    assert_eq!(encode(&vec![0; 64 << 20], Some(1), &mut bomb), Codec::Zstd);
    assert!(bomb.len() < 16 << 10);
    for stated in [0, 1, 4096, (64 << 20) - 1, (64 << 20) + 1] {
        assert!(decode(Codec::Zstd, bomb.clone(), stated).is_err(), "{stated} bytes stated");
    }
    assert!(decode(Codec::Zstd, bomb, 64 << 20).is_ok());
}
