//! Deflated datasets (PS3.5 A.5), inflated piece by piece so that they can be indexed; the output is bounded.

use flate2::{Decompress, FlushDecompress, Status};

/// Bytes inflated at a time.
const WINDOW_BYTES: usize = 32 * 1024;

/// What a push ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inflation {
    /// More may come.
    Going,
    /// The stream is whole; what follows is padding.
    Ended,
    /// The stream is damaged.
    Damaged,
    /// More than is inflated of one dataset.
    BeyondLimit,
}

/// A deflated dataset on its way to what it was.
pub struct Inflater {
    stream: Option<Decompress>,
    window: Vec<u8>,
    room: u64,
    state: Inflation,
}

impl Inflater {
    /// Gives at most so many bytes.
    #[must_use]
    pub fn new(inflated_bytes_max: u64) -> Self {
        Self { stream: None, window: Vec::new(), room: inflated_bytes_max, state: Inflation::Going }
    }

    /// What the last push ended in.
    #[must_use]
    pub fn state(&self) -> Inflation {
        self.state
    }

    /// Inflates `input` and hands on what comes out.
    pub fn push(&mut self, mut input: &[u8], mut take: impl FnMut(&[u8])) {
        while self.state == Inflation::Going {
            let (used, made) = self.step(input, &mut take);
            input = input.get(used..).unwrap_or_default();
            // A full window may have left output behind; an unfilled one has not.
            if input.is_empty() && made < WINDOW_BYTES {
                break;
            }
        }
    }

    fn step(&mut self, input: &[u8], take: &mut impl FnMut(&[u8])) -> (usize, usize) {
        // Some writers keep the two bytes of zlib's header (RFC 1950) before the bare stream the standard wants.
        let stream = self.stream.get_or_insert_with(|| Decompress::new(has_zlib_header(input)));
        self.window.resize(WINDOW_BYTES, 0);
        let (in_before, out_before) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(input, &mut self.window, FlushDecompress::None);
        let used = usize::try_from(stream.total_in() - in_before).unwrap_or(input.len());
        let made = usize::try_from(stream.total_out() - out_before).unwrap_or(0);
        take(self.window.get(..made).unwrap_or_default());
        self.room = self.room.saturating_sub(made as u64);
        self.state = match status {
            Ok(Status::StreamEnd) => Inflation::Ended,
            Err(_) => Inflation::Damaged,
            Ok(_) if self.room == 0 => Inflation::BeyondLimit,
            // Neither read nor wrote although there was input and room for output.
            Ok(_) if used == 0 && made == 0 && !input.is_empty() => Inflation::Damaged,
            Ok(_) => Inflation::Going,
        };
        (used, made)
    }
}

/// True for a zlib header; a bare stream that begins with the same bytes is a stored block, whose length is repeated
/// inverted (RFC 1951 3.2.4).
fn has_zlib_header(input: &[u8]) -> bool {
    match input {
        [0x78, low, high, not_low, not_high, ..] if *low == !not_low && *high == !not_high => false,
        [0x78, flags, ..] => u16::from_be_bytes([0x78, *flags]).is_multiple_of(31),
        _ => false,
    }
}
