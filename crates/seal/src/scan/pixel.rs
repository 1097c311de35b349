//! How native samples lie in a value, so that chunks can be cut where frames and rows begin.

use filmgate_model::{Facts, Tag, tags};

/// How native samples lie (PS3.5 8.1.1, PS3.3 C.7.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NativeLayout {
    /// Bytes of one sample; 0 when samples do not fill whole bytes.
    pub(crate) sample_bytes: u8,
    pub(crate) big_endian: bool,
    /// Two's complement, by Pixel Representation (0028,0103).
    pub(crate) signed: bool,
    /// Bytes of one row of one frame; 0 when unknown.
    pub(crate) row_bytes: u64,
    /// Bytes of one frame; 0 when unknown.
    pub(crate) frame_bytes: u64,
    /// Samples that follow each other for one pixel: 1 when each component has a plane of its own.
    pub(crate) components: u8,
}

impl NativeLayout {
    /// By what the dataset has said of its samples before them.
    pub(crate) fn of(facts: &Facts, tag: Tag, big_endian: bool) -> Self {
        let number = |tag| u64::from(facts.number(tag).unwrap_or(0));
        let bits = match tag {
            tags::FLOAT_PIXEL_DATA => 32,
            tags::DOUBLE_FLOAT_PIXEL_DATA => 64,
            _ => number(tags::BITS_ALLOCATED),
        };
        let samples = facts.number(tags::SAMPLES_PER_PIXEL).map_or(1, u64::from);
        let whole = bits % 8 == 0 && (8..=64).contains(&bits) && (1..=255).contains(&samples);
        if !whole {
            return Self { big_endian, ..Self::default() };
        }
        let sample_bytes = bits / 8;
        let planar = number(tags::PLANAR_CONFIGURATION) == 1 && samples > 1;
        let components = if planar { 1 } else { samples };
        // Two luminance samples share their chrominance (PS3.3 C.7.6.3.1.2): two samples a pixel on the average.
        let halved = samples == 3 && is_subsampled(facts);
        let pixel_samples = if halved { 2 } else { components };
        let row_bytes = number(tags::COLUMNS) * pixel_samples * sample_bytes;
        let planes = if planar { samples } else { 1 };
        Self {
            sample_bytes: sample_bytes as u8,
            big_endian,
            signed: number(tags::PIXEL_REPRESENTATION) == 1,
            row_bytes,
            frame_bytes: row_bytes * number(tags::ROWS) * planes,
            components: if halved { 0 } else { components as u8 },
        }
    }

    /// Bytes of the chunk that begins at `position` of the value: whole frames where several fit, else an even share
    /// of a frame's rows, else as much as fits.
    pub(crate) fn chunk_bytes(&self, position: u64, chunk_bytes_max: u64) -> u64 {
        if self.row_bytes == 0 || self.frame_bytes == 0 || self.row_bytes > chunk_bytes_max {
            return chunk_bytes_max;
        }
        if self.frame_bytes <= chunk_bytes_max {
            return chunk_bytes_max / self.frame_bytes * self.frame_bytes;
        }
        let rows = self.frame_bytes / self.row_bytes;
        let pieces = rows.div_ceil(chunk_bytes_max / self.row_bytes);
        let piece_bytes = rows.div_ceil(pieces) * self.row_bytes;
        let left_of_frame = self.frame_bytes - position % self.frame_bytes;
        piece_bytes.min(left_of_frame)
    }
}

fn is_subsampled(facts: &Facts) -> bool {
    let photometric = facts.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    matches!(photometric.as_str(), "YBR_FULL_422" | "YBR_PARTIAL_422")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(rows: u16, columns: u16, samples: u16, bits: u16, planar: u16) -> NativeLayout {
        let mut facts = Facts::default();
        let numbers = [
            (tags::ROWS, rows),
            (tags::COLUMNS, columns),
            (tags::SAMPLES_PER_PIXEL, samples),
            (tags::BITS_ALLOCATED, bits),
            (tags::PLANAR_CONFIGURATION, planar),
        ];
        for (tag, number) in numbers {
            facts.insert(tag, &number.to_le_bytes());
        }
        NativeLayout::of(&facts, tags::PIXEL_DATA, false)
    }

    #[test]
    fn chunks_begin_where_frames_and_rows_begin() {
        let max = 262_144;
        assert_eq!(layout(512, 512, 1, 16, 0).chunk_bytes(0, max), 262_144);
        assert_eq!(layout(64, 64, 1, 16, 0).chunk_bytes(0, max), 262_144);
        // 3 frames of 100 x 400 x 2 bytes fit.
        assert_eq!(layout(100, 400, 1, 16, 0).chunk_bytes(0, max), 240_000);
        // 513 rows are shared evenly by three chunks, the last of which ends with its frame.
        let odd = layout(513, 512, 1, 16, 0);
        assert_eq!(odd.chunk_bytes(0, max), 171 * 1024);
        assert_eq!(odd.chunk_bytes(odd.frame_bytes - 1024, max), 1024);
        // Colour by pixel and by plane.
        assert_eq!(layout(10, 10, 3, 8, 0).row_bytes, 30);
        assert_eq!(
            layout(10, 10, 3, 8, 1),
            NativeLayout {
                row_bytes: 10,
                frame_bytes: 300,
                sample_bytes: 1,
                components: 1,
                big_endian: false,
                signed: false,
            }
        );
    }

    #[test]
    fn samples_that_fill_no_bytes_are_cut_anywhere() {
        assert_eq!(layout(512, 512, 1, 1, 0).chunk_bytes(0, 1000), 1000);
        assert_eq!(layout(0, 0, 1, 16, 0).chunk_bytes(0, 1000), 1000);
        assert_eq!(layout(65535, 65535, 1, 16, 0).chunk_bytes(0, 1000), 1000);
    }
}
