//! Questions and answers as bytes: a head of fixed fields, little endian, then the samples or the codestream.

use std::io::{self, Read, Write};

use crate::{Error, FRAME_BYTES_MAX, Frame, FrameData, ImagePixel, Photometric, Sample};

/// The most that one question or answer carries: a frame that grew by being encoded.
pub(super) const BYTES_MAX: u64 = FRAME_BYTES_MAX + FRAME_BYTES_MAX / 4;
/// Room for a head.
pub(super) const HEAD_BYTES_MAX: usize = 8192;
/// The longest message of an error that is passed on.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Bytes of a UID at most (PS3.5 9.1).
const UID_BYTES_MAX: usize = 64;

/// What begins each question and each answer.
const MAGIC: [u8; 4] = *b"FGP1";
const DECODE: u8 = 1;
const ENCODE: u8 = 2;
const FRAME: u8 = 3;
const BYTES: u8 = 4;
const REFUSED: u8 = 5;

/// What a worker is asked.
pub(super) enum Question {
    Decode { syntax: String, image: ImagePixel, bytes: Vec<u8>, first_bit: u8, words: bool },
    Encode { syntax: String, frame: Frame },
}

/// What it answers.
pub(super) enum Answer {
    Frame(Frame),
    Bytes(Vec<u8>),
    Refused(Error),
}

const PHOTOMETRIC: [Photometric; 11] = [
    Photometric::Monochrome1,
    Photometric::Monochrome2,
    Photometric::PaletteColor,
    Photometric::Rgb,
    Photometric::YbrFull,
    Photometric::YbrFull422,
    Photometric::YbrPartial420,
    Photometric::YbrPartial422,
    Photometric::YbrIct,
    Photometric::YbrRct,
    Photometric::Other,
];

const SAMPLE: [Sample; 9] = [
    Sample::Bit,
    Sample::U8,
    Sample::I8,
    Sample::U16,
    Sample::I16,
    Sample::U32,
    Sample::I32,
    Sample::F32,
    Sample::F64,
];

/// Where a value stands in one of the lists above.
fn number_of<T: PartialEq>(list: &[T], value: &T) -> u8 {
    list.iter().position(|other| other == value).unwrap_or_default() as u8
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

pub(super) fn write_decode(
    to: &mut impl Write,
    syntax: &str,
    image: &ImagePixel,
    data: FrameData<'_>,
) -> io::Result<()> {
    let mut head = head_of(DECODE, syntax)?;
    head.extend(image.rows.to_le_bytes());
    head.extend(image.columns.to_le_bytes());
    head.extend([
        image.samples,
        number_of(&PHOTOMETRIC, &image.photometric),
        image.planar.into(),
        number_of(&SAMPLE, &image.sample),
        image.bits_stored,
        image.high_bit,
        data.first_bit,
        data.words.into(),
    ]);
    write(to, head, &data.bytes)
}

pub(super) fn write_encode(to: &mut impl Write, syntax: &str, frame: &Frame) -> io::Result<()> {
    let mut head = head_of(ENCODE, syntax)?;
    put_frame(&mut head, frame);
    write(to, head, &frame.bytes)
}

fn head_of(kind: u8, syntax: &str) -> io::Result<Vec<u8>> {
    let length = u8::try_from(syntax.len()).ok().filter(|length| usize::from(*length) <= UID_BYTES_MAX);
    let length = length.ok_or_else(|| nonsense("a transfer syntax longer than a UID"))?;
    let mut head = MAGIC.to_vec();
    head.extend([kind, length]);
    head.extend(syntax.bytes());
    Ok(head)
}

fn put_frame(head: &mut Vec<u8>, frame: &Frame) {
    head.extend(frame.rows.to_le_bytes());
    head.extend(frame.columns.to_le_bytes());
    let (photometric, sample) =
        (number_of(&PHOTOMETRIC, &frame.photometric), number_of(&SAMPLE, &frame.sample));
    head.extend([frame.samples, photometric, sample, frame.bits_stored]);
}

/// A head, the length of what follows, and that.
fn write(to: &mut impl Write, mut head: Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    head.extend((bytes.len() as u64).to_le_bytes());
    to.write_all(&head)?;
    to.write_all(bytes)?;
    to.flush()
}

pub(super) fn write_answer(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut head = MAGIC.to_vec();
    match answer {
        Answer::Frame(frame) => {
            head.push(FRAME);
            put_frame(&mut head, frame);
            write(to, head, &frame.bytes)
        }
        Answer::Bytes(bytes) => {
            head.push(BYTES);
            write(to, head, bytes)
        }
        Answer::Refused(error) => {
            let (kind, text, numbers) = match error {
                Error::NoPixels => (0, "", [0; 2]),
                Error::Unsupported(text) => (1, text.as_str(), [0; 2]),
                Error::TooLarge { bytes, bytes_max } => (3, "", [*bytes, *bytes_max]),
                Error::Malformed(text) => (2, text.as_str(), [0; 2]),
                // Of workers themselves; none has one.
                Error::Crashed | Error::Failed | Error::TooSlow { .. } | Error::NoWorker(_) => {
                    (2, "a worker within a worker", [0; 2])
                }
            };
            head.extend([REFUSED, kind]);
            numbers.into_iter().for_each(|number| head.extend(number.to_le_bytes()));
            let text = text.as_bytes();
            write(to, head, &text[..text.len().min(MESSAGE_BYTES_MAX)])
        }
    }
}

/// The next question; `None` where there are no more.
pub(super) fn read_question(from: &mut impl Read) -> io::Result<Option<Question>> {
    let mut first = [0];
    if from.read(&mut first)? == 0 {
        return Ok(None);
    }
    let [kind, length] = after_magic(from, Some(first[0]))?;
    let mut syntax = vec![0; usize::from(length).min(UID_BYTES_MAX)];
    from.read_exact(&mut syntax)?;
    let syntax = String::from_utf8(syntax).map_err(|_| nonsense("a transfer syntax that is no text"))?;
    let (rows, columns) = (read_u32(from)?, read_u32(from)?);
    match kind {
        DECODE => {
            let [samples, photometric, planar, sample, bits_stored, high_bit, first_bit, words] =
                read_array(from)?;
            let image = ImagePixel {
                rows,
                columns,
                samples,
                photometric: listed(&PHOTOMETRIC, photometric)?,
                planar: planar != 0,
                sample: listed(&SAMPLE, sample)?,
                bits_stored,
                high_bit,
                frames: 1,
            };
            // As the attributes promise it, which are checked before they come here.
            let allocated = image.sample.bytes() as u8 * 8;
            if image.frame_bytes() == 0
                || image.frame_bytes() > FRAME_BYTES_MAX
                || !(1..=allocated).contains(&bits_stored)
                || high_bit >= allocated
            {
                return Err(nonsense("an image that cannot be"));
            }
            let bytes = read_bytes(from, BYTES_MAX)?;
            Ok(Some(Question::Decode { syntax, image, bytes, first_bit, words: words != 0 }))
        }
        ENCODE => {
            Ok(Some(Question::Encode { syntax, frame: read_frame(from, rows, columns, FRAME_BYTES_MAX)? }))
        }
        _ => Err(nonsense("an unknown question")),
    }
}

/// An answer with a frame or encoded bytes of no more than `bytes_max`.
pub(super) fn read_answer(from: &mut impl Read, bytes_max: u64) -> io::Result<Answer> {
    let [kind] = after_magic(from, None)?;
    match kind {
        FRAME => {
            let (rows, columns) = (read_u32(from)?, read_u32(from)?);
            Ok(Answer::Frame(read_frame(from, rows, columns, bytes_max)?))
        }
        BYTES => Ok(Answer::Bytes(read_bytes(from, bytes_max)?)),
        REFUSED => {
            let [kind] = read_array(from)?;
            let (bytes, bytes_max) =
                (u64::from_le_bytes(read_array(from)?), u64::from_le_bytes(read_array(from)?));
            let text = String::from_utf8_lossy(&read_bytes(from, MESSAGE_BYTES_MAX as u64)?).into_owned();
            Ok(Answer::Refused(match kind {
                0 => Error::NoPixels,
                1 => Error::Unsupported(text),
                3 => Error::TooLarge { bytes, bytes_max },
                _ => Error::Malformed(text),
            }))
        }
        _ => Err(nonsense("an unknown answer")),
    }
}

fn read_frame(from: &mut impl Read, rows: u32, columns: u32, bytes_max: u64) -> io::Result<Frame> {
    let [samples, photometric, sample, bits_stored] = read_array(from)?;
    let (photometric, sample) = (listed(&PHOTOMETRIC, photometric)?, listed(&SAMPLE, sample)?);
    if !(1..=sample.bytes() as u8 * 8).contains(&bits_stored) {
        return Err(nonsense("a frame that cannot be"));
    }
    Ok(Frame {
        rows,
        columns,
        samples,
        sample,
        bits_stored,
        photometric,
        bytes: read_bytes(from, bytes_max)?,
    })
}

fn listed<T: Copy>(list: &[T], number: u8) -> io::Result<T> {
    list.get(usize::from(number)).copied().ok_or_else(|| nonsense("a number that stands for nothing"))
}

/// What stands behind the magic.
fn after_magic<const N: usize>(from: &mut impl Read, first: Option<u8>) -> io::Result<[u8; N]> {
    let mut magic = [0; MAGIC.len()];
    match first {
        Some(first) => {
            magic[0] = first;
            from.read_exact(&mut magic[1..])?;
        }
        None => from.read_exact(&mut magic)?,
    }
    if magic != MAGIC {
        return Err(nonsense("no magic"));
    }
    read_array(from)
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    from.read_exact(&mut array)?;
    Ok(array)
}

fn read_u32(from: &mut impl Read) -> io::Result<u32> {
    Ok(u32::from_le_bytes(read_array(from)?))
}

fn read_bytes(from: &mut impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let length = u64::from_le_bytes(read_array(from)?);
    if length > bytes_max {
        return Err(nonsense("more bytes than there may be"));
    }
    // It grows by what comes, so that a length alone takes no room.
    let mut bytes = Vec::with_capacity(length.min(1 << 20) as usize);
    if from.take(length).read_to_end(&mut bytes)? as u64 == length {
        return Ok(bytes);
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
