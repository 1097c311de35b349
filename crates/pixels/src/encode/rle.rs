//! Run lengths (PS3.5 annex G).

use crate::{Error, Frame, Sample, encode::native};

/// Segments that a header has room for.
const SEGMENTS_MAX: usize = 15;
/// Bytes of one literal or run.
const STRETCH_MAX: usize = 128;

pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, Error> {
    let packed;
    let (bytes, row_bytes, segments, sample_bytes) = match frame.sample {
        Sample::Bit => {
            packed = native::encode(frame);
            (&packed, packed.len(), 1, 1)
        }
        other => {
            let segments = usize::from(frame.samples) * other.bytes();
            (&frame.bytes, frame.columns as usize * segments, segments, other.bytes())
        }
    };
    if segments > SEGMENTS_MAX {
        return Err(Error::Unsupported(format!("run lengths of {segments} segments")));
    }
    let mut coded = vec![0; 64];
    coded[0] = segments as u8;
    let mut row = Vec::with_capacity(row_bytes / segments);
    for segment in 0..segments {
        // Each sample's most significant byte first; in memory it stands last.
        let at = segment / sample_bytes * sample_bytes + sample_bytes - 1 - segment % sample_bytes;
        let start =
            u32::try_from(coded.len()).map_err(|_| Error::Unsupported("run lengths of 4 GiB".to_owned()))?;
        coded[4 + segment * 4..8 + segment * 4].copy_from_slice(&start.to_le_bytes());
        // No stretch goes beyond its row (G.3.1).
        for pixels in bytes.chunks(row_bytes) {
            row.clear();
            row.extend(pixels.chunks_exact(segments).map(|pixel| pixel[at]));
            pack(&row, &mut coded);
        }
        if coded.len() % 2 == 1 {
            coded.push(0);
        }
    }
    Ok(coded)
}

/// Encodes one row: runs from three bytes on, literals between.
fn pack(row: &[u8], coded: &mut Vec<u8>) {
    let mut rest = row;
    let mut literal = 0;
    while literal < rest.len() {
        let run = run_at(&rest[literal..]);
        if run < 3 {
            literal += run;
            continue;
        }
        let (before, after) = rest.split_at(literal);
        put_literal(before, coded);
        coded.extend([(257 - run) as u8, after[0]]);
        (rest, literal) = (&after[run..], 0);
    }
    put_literal(rest, coded);
}

/// How often the first byte follows itself.
fn run_at(bytes: &[u8]) -> usize {
    let most = &bytes[..bytes.len().min(STRETCH_MAX)];
    most.iter().position(|byte| *byte != bytes[0]).unwrap_or(most.len())
}

fn put_literal(bytes: &[u8], coded: &mut Vec<u8>) {
    for stretch in bytes.chunks(STRETCH_MAX) {
        coded.push((stretch.len() - 1) as u8);
        coded.extend_from_slice(stretch);
    }
}
