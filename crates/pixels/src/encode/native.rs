//! Samples as they are, little endian (PS3.5 8.1).

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::{Error, Frame, Sample, error::malformed};

pub(super) fn encode(frame: &Frame) -> Vec<u8> {
    match frame.sample {
        Sample::Bit => {
            let mut frames = NativeFrames::default();
            frames.push(frame);
            frames.bytes
        }
        _ => frame.bytes.clone(),
    }
}

/// Frames one after another as the value of Pixel Data: those of one bit a pixel follow each other without a gap.
#[derive(Debug, Default)]
pub struct NativeFrames {
    bytes: Vec<u8>,
    /// Bits of the last byte that are taken; 0 where all are.
    taken: usize,
}

impl NativeFrames {
    /// Puts a frame behind the others.
    pub fn push(&mut self, frame: &Frame) {
        if frame.sample != Sample::Bit {
            self.bytes.extend_from_slice(&frame.bytes);
            return;
        }
        let mut bits = frame.bytes.as_slice();
        while self.taken > 0 {
            let Some((bit, rest)) = bits.split_first() else { return };
            if let Some(last) = self.bytes.last_mut() {
                *last |= (bit & 1) << self.taken;
            }
            (bits, self.taken) = (rest, (self.taken + 1) % 8);
        }
        self.taken = bits.len() % 8;
        let byte = |eight: &[u8]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | (bit & 1));
        self.bytes.extend(bits.chunks(8).map(byte));
    }

    /// The value, padded to an even length.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.bytes.len() % 2 == 1 {
            self.bytes.push(0);
        }
        self.bytes
    }
}

/// The native frame, deflated (PS3.5 A.4.13).
pub(super) fn deflate(frame: &Frame) -> Result<Vec<u8>, Error> {
    let native = encode(frame);
    // More than deflating ever adds.
    let mut deflated = Vec::with_capacity(native.len() + native.len() / 1000 + 1024);
    let mut deflate = Compress::new(Compression::fast(), false);
    match deflate.compress_vec(&native, &mut deflated, FlushCompress::Finish) {
        Ok(Status::StreamEnd) => Ok(deflated),
        other => Err(malformed(format!("a frame does not deflate: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Photometric;

    #[test]
    fn frames_of_bits_follow_each_other_without_a_gap() {
        let frame = |bits: &[u8]| Frame {
            rows: 1,
            columns: bits.len() as u32,
            samples: 1,
            sample: Sample::Bit,
            bits_stored: 1,
            photometric: Photometric::Monochrome2,
            bytes: bits.to_vec(),
        };
        let mut frames = NativeFrames::default();
        for _ in 0..3 {
            frames.push(&frame(&[1, 0, 1]));
        }
        frames.push(&frame(&[1; 9]));
        assert_eq!(frames.finish(), [0b0110_1101, 0b1111_1111, 0b0000_0011, 0]);
    }
}
