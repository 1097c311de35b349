//! Decoding and encoding in a process of its own: what a broken codestream does to a codec in C or C++ then ends that process and
//! nothing else.
//!
//! The process that has the pixels asks by [`decode`] and [`encode`] over a pair of pipes; the other answers by [`serve`]. One
//! question is under way at a time. Lengths are checked on both sides: the worker is not trusted either, once it has read what
//! somebody sent.

mod wire;

use std::{
    io::{self, BufWriter, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{Error, FRAME_BYTES_MAX, Frame, FrameData, ImagePixel, decode::Family, error::malformed};
use wire::{Answer, Question};

/// True for a transfer syntax whose codec is not all safe Rust of ours: it is to run in a worker. All others run in place.
#[must_use]
pub fn needs_worker(transfer_syntax_uid: &str) -> bool {
    matches!(Family::of(transfer_syntax_uid), Ok(Family::JpegLs | Family::Jpeg2000 | Family::JpegXl))
}

/// Answers until there are no more questions.
///
/// # Errors
/// When a question cannot be read or an answer not be written: the other process has gone, or is not one of ours.
pub fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(wire::HEAD_BYTES_MAX, output);
    while let Some(question) = wire::read_question(input)? {
        // A panic is a defect of a codec; it costs its question and no other.
        let answer = catch_unwind(AssertUnwindSafe(|| answer(&question)));
        let answer = answer.unwrap_or_else(|_| Answer::Refused(malformed("the codec panicked")));
        wire::write_answer(&mut output, &answer)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(question: &Question) -> Answer {
    let answer = match question {
        Question::Decode { syntax, image, bytes, first_bit, words } => {
            let data = FrameData { first_bit: *first_bit, words: *words, ..FrameData::of(bytes) };
            crate::decode(syntax, image, data).map(Answer::Frame)
        }
        Question::Encode { syntax, frame } => crate::encode(syntax, frame).map(Answer::Bytes),
    };
    answer.unwrap_or_else(Answer::Refused)
}

/// Has a worker decode one frame.
///
/// # Errors
/// The outer error when the worker is gone or answers nonsense: it is to be ended. The inner as [`crate::decode`].
pub fn decode(
    (to, from): (&mut impl Write, &mut impl Read),
    transfer_syntax_uid: &str,
    image: &ImagePixel,
    data: FrameData<'_>,
) -> io::Result<Result<Frame, Error>> {
    if data.bytes.len() as u64 > wire::BYTES_MAX {
        let bytes = data.bytes.len() as u64;
        return Ok(Err(Error::TooLarge { bytes, bytes_max: wire::BYTES_MAX }));
    }
    wire::write_decode(to, transfer_syntax_uid, image, data)?;
    match wire::read_answer(from, image.frame_bytes())? {
        Answer::Frame(frame) if is_of(&frame, image) => Ok(Ok(frame)),
        Answer::Refused(error) => Ok(Err(error)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "another answer than a frame of the image")),
    }
}

fn is_of(frame: &Frame, image: &ImagePixel) -> bool {
    (frame.rows, frame.columns, frame.samples, frame.sample, frame.bits_stored)
        == (image.rows, image.columns, image.samples, image.sample, image.bits_stored)
        && frame.bytes.len() as u64 == image.frame_bytes()
}

/// Has a worker encode one frame.
///
/// # Errors
/// The outer error when the worker is gone or answers nonsense: it is to be ended. The inner as [`crate::encode`].
pub fn encode(
    (to, from): (&mut impl Write, &mut impl Read),
    transfer_syntax_uid: &str,
    frame: &Frame,
) -> io::Result<Result<Vec<u8>, Error>> {
    if frame.bytes.len() as u64 > FRAME_BYTES_MAX {
        return Ok(Err(Error::TooLarge { bytes: frame.bytes.len() as u64, bytes_max: FRAME_BYTES_MAX }));
    }
    wire::write_encode(to, transfer_syntax_uid, frame)?;
    match wire::read_answer(from, wire::BYTES_MAX)? {
        Answer::Bytes(bytes) => Ok(Ok(bytes)),
        Answer::Refused(error) => Ok(Err(error)),
        Answer::Frame(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "another answer than encoded bytes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Photometric, Sample};

    fn image() -> ImagePixel {
        ImagePixel {
            rows: 2,
            columns: 3,
            samples: 1,
            photometric: Photometric::Monochrome2,
            planar: false,
            sample: Sample::U16,
            bits_stored: 12,
            high_bit: 11,
            frames: 1,
        }
    }

    /// What a worker answers to a question.
    fn answered(question: &[u8]) -> (io::Result<()>, Vec<u8>) {
        let mut output = Vec::new();
        let served = serve(&mut &question[..], &mut output);
        (served, output)
    }

    #[test]
    fn a_frame_is_decoded_and_encoded_over_the_wire() {
        let (image, bytes) = (image(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let mut question = Vec::new();
        let native = "1.2.840.10008.1.2.1";
        // The answer is not there yet, the question is.
        assert!(decode((&mut question, &mut io::empty()), native, &image, FrameData::of(&bytes)).is_err());
        let (served, answer) = answered(&question);
        assert!(served.is_ok());
        let decoded = decode((&mut io::sink(), &mut &answer[..]), native, &image, FrameData::of(&bytes));
        let decoded = decoded.expect("an answer").expect("a frame");
        assert_eq!(decoded.bytes, bytes);

        let mut question = Vec::new();
        assert!(encode((&mut question, &mut io::empty()), native, &decoded).is_err());
        let (_, answer) = answered(&question);
        let encoded = encode((&mut io::sink(), &mut &answer[..]), native, &decoded).expect("an answer");
        assert_eq!(encoded.expect("bytes"), bytes);
    }

    #[test]
    fn an_error_comes_back_as_it_was() {
        for (syntax, bytes) in
            [("1.2.840.10008.1.2.1", &[1_u8][..]), ("1.2.3", &[]), ("1.2.840.10008.1.2.5", &[0; 64])]
        {
            let mut question = Vec::new();
            let _ = decode((&mut question, &mut io::empty()), syntax, &image(), FrameData::of(bytes));
            let (_, answer) = answered(&question);
            let came = decode((&mut io::sink(), &mut &answer[..]), syntax, &image(), FrameData::of(bytes));
            assert_eq!(came.expect("an answer"), crate::decode(syntax, &image(), FrameData::of(bytes)));
        }
    }

    #[test]
    fn nonsense_ends_either_side_without_taking_room() {
        let mut question = Vec::new();
        let _ = decode(
            (&mut question, &mut io::empty()),
            "1.2.840.10008.1.2.1",
            &image(),
            FrameData::of(&[7; 12]),
        );
        for length in 1..question.len() {
            assert!(answered(&question[..length]).0.is_err(), "{length}");
        }
        let (_, answer) = answered(&question);
        for length in 0..answer.len() {
            let read = decode((&mut io::sink(), &mut &answer[..length]), "1.2", &image(), FrameData::of(&[]));
            assert!(read.is_err(), "{length}");
        }
        for at in 0..answer.len() * 8 {
            let mut broken = answer.clone();
            broken[at / 8] ^= 1 << (at % 8);
            if let Ok(Ok(frame)) =
                decode((&mut io::sink(), &mut &broken[..]), "1.2", &image(), FrameData::of(&[]))
            {
                assert_eq!(frame.bytes.len(), 12);
            }
        }
        for at in 0..question.len() * 8 {
            let mut broken = question.clone();
            broken[at / 8] ^= 1 << (at % 8);
            let _ = answered(&broken);
        }
    }
}
