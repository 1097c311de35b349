//! Sequential DCT (ISO/IEC 10918-1 annex F): blocks of 8 × 8 coefficients.

use crate::{
    Error, ImagePixel,
    decode::jpeg::{
        bits::{Bits, Interval},
        broken, dct,
        huffman::Huffman,
        scans::{Header, Samples, Scan, Tables},
        widen::{self, Plane},
    },
};

/// Where a coefficient of the codestream stands in its block (A.3.6).
const PLACES: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A frame that is being decoded.
pub(super) struct Sequential {
    planes: Vec<Plane>,
    done: Vec<bool>,
    precision: u8,
    /// The largest value that the attributes allow.
    most: u16,
    mcu_columns: usize,
    mcu_rows: usize,
}

/// What decodes the blocks of one component.
struct Coder<'a> {
    number: usize,
    horizontal: usize,
    vertical: usize,
    quantization: &'a [i32; 64],
    differences: &'a Huffman,
    coefficients: &'a Huffman,
    last: i32,
}

impl Sequential {
    pub(super) fn of(header: &Header, image: &ImagePixel) -> Self {
        let factor =
            |of: fn(&super::scans::Component) -> usize| header.components.iter().map(of).max().unwrap_or(1);
        let (horizontal, vertical) =
            (factor(|component| component.horizontal), factor(|component| component.vertical));
        let (mcu_columns, mcu_rows) =
            (header.columns.div_ceil(8 * horizontal), header.rows.div_ceil(8 * vertical));
        let planes = header.components.iter().map(|component| Plane {
            stride: mcu_columns * component.horizontal * 8,
            samples: vec![0; mcu_columns * component.horizontal * 8 * mcu_rows * component.vertical * 8],
            columns: (header.columns * component.horizontal).div_ceil(horizontal),
            rows: (header.rows * component.vertical).div_ceil(vertical),
            across: (component.horizontal, horizontal),
            down: (component.vertical, vertical),
        });
        let bits = if image.sample.is_signed() { 16 } else { u32::from(image.bits_stored.min(16)) };
        Self {
            planes: planes.collect(),
            done: vec![false; header.components.len()],
            precision: header.precision,
            most: (u32::MAX >> (32 - bits)) as u16,
            mcu_columns,
            mcu_rows,
        }
    }

    pub(super) fn scan(
        &mut self,
        header: &Header,
        tables: &Tables,
        scan: &Scan,
        intervals: &[&[u8]],
    ) -> Result<(), Error> {
        let mut coders = coders(header, tables, scan)?;
        let (mut columns, mut rows) = (self.mcu_columns, self.mcu_rows);
        if let [only] = &mut coders[..] {
            // A scan of one component has blocks where it has samples, and one to the MCU (A.2.2).
            let plane = &self.planes[only.number];
            (columns, rows) = (plane.columns.div_ceil(8), plane.rows.div_ceil(8));
            (only.horizontal, only.vertical) = (1, 1);
        }
        let total = columns * rows;
        let step = if tables.restart == 0 { total } else { tables.restart };
        let mut interval = Interval::default();
        let mut coded = intervals.iter();
        for start in (0..total).step_by(step.max(1)) {
            let coded = coded.next().ok_or_else(|| broken("it ends before its last restart"))?;
            let mut bits = interval.read(coded);
            coders.iter_mut().for_each(|coder| coder.last = 0);
            for mcu in start..(start + step).min(total) {
                self.mcu(&mut coders, &mut bits, mcu % columns, mcu / columns)?;
                if bits.is_overrun() {
                    return Err(broken("it ends early"));
                }
            }
        }
        for coder in &coders {
            self.done[coder.number] = true;
        }
        Ok(())
    }

    fn mcu(
        &mut self,
        coders: &mut [Coder<'_>],
        bits: &mut Bits<'_>,
        column: usize,
        row: usize,
    ) -> Result<(), Error> {
        let precision = self.precision;
        for coder in coders {
            let plane = &mut self.planes[coder.number];
            for block in 0..coder.horizontal * coder.vertical {
                let x = (column * coder.horizontal + block % coder.horizontal) * 8;
                let y = (row * coder.vertical + block / coder.horizontal) * 8;
                let mut coefficients = [0; 64];
                let more =
                    coder.block(bits, &mut coefficients).ok_or_else(|| broken("a code that is none"))?;
                if more {
                    dct::inverse(&coefficients, precision, |line, samples| {
                        let at = (y + line) * plane.stride + x;
                        plane.samples[at..at + 8].copy_from_slice(&samples);
                    });
                } else {
                    let value = dct::flat(coefficients[0], precision);
                    for line in y..y + 8 {
                        plane.samples[line * plane.stride + x..][..8].fill(value);
                    }
                }
            }
        }
        Ok(())
    }

    /// The samples of all components by pixel.
    pub(super) fn finish(self, header: &Header) -> Result<Samples, Error> {
        if self.done.contains(&false) {
            return Err(broken("a component is missing"));
        }
        let mut samples = widen::interleave(&self.planes, header.rows, header.columns);
        if u32::from(self.most) < (1 << self.precision) - 1 {
            // Loss may lead beyond the bits that are stored.
            samples.iter_mut().for_each(|sample| *sample = (*sample).min(self.most));
        }
        Ok(samples)
    }
}

fn coders<'a>(header: &Header, tables: &'a Tables, scan: &Scan) -> Result<Vec<Coder<'a>>, Error> {
    let coder = |&(number, differences, coefficients): &(usize, usize, usize)| -> Result<Coder<'a>, Error> {
        let component = header.components[number];
        let lacking = || broken("a table is missing");
        Ok(Coder {
            number,
            horizontal: component.horizontal,
            vertical: component.vertical,
            quantization: tables.quantization[usize::from(component.quantization)]
                .as_ref()
                .ok_or_else(lacking)?,
            differences: tables.differences[differences].as_ref().ok_or_else(lacking)?,
            coefficients: tables.coefficients[coefficients].as_ref().ok_or_else(lacking)?,
            last: 0,
        })
    };
    scan.components.iter().map(coder).collect()
}

impl Coder<'_> {
    /// The dequantised coefficients of the next block; true when there are others than the first.
    #[inline]
    fn block(&mut self, bits: &mut Bits<'_>, block: &mut [i32; 64]) -> Option<bool> {
        self.last = self.last.wrapping_add(self.differences.difference(bits)?);
        block[0] = self.last.wrapping_mul(self.quantization[0]);
        let (mut at, mut more) = (1, false);
        while at < 64 {
            let (symbol, value) = self.coefficients.coefficient(bits)?;
            if symbol & 15 == 0 {
                if symbol != 0xF0 {
                    break;
                }
                at += 16;
                continue;
            }
            at += usize::from(symbol >> 4);
            let place = PLACES.get(at)?;
            block[usize::from(*place)] = value.wrapping_mul(self.quantization[at]);
            more = true;
            at += 1;
        }
        Some(more)
    }
}
