//! Lossless (ISO/IEC 10918-1 annex H): differences from what the neighbours let expect.

use crate::{
    Error,
    decode::jpeg::{
        bits::{Bits, Interval},
        broken,
        huffman::Huffman,
        scans::{Header, Samples, Scan, Tables},
    },
};

/// A frame that is being decoded.
pub(super) struct Lossless {
    samples: Samples,
    done: Vec<bool>,
}

/// A run of rows that restarts nowhere within.
struct Rows<'a> {
    /// Samples of a row.
    stride: usize,
    /// Samples of a pixel.
    step: usize,
    predictor: u8,
    /// What the first sample is expected to be.
    origin: u16,
    /// By component of the scan: its place in a pixel and its codes.
    components: Vec<(usize, &'a Huffman)>,
}

impl Lossless {
    pub(super) fn of(header: &Header) -> Result<Self, Error> {
        let factors = header.components.iter().map(|component| (component.horizontal, component.vertical));
        if !factors.clone().all(|factor| Some(factor) == factors.clone().next()) {
            return Err(Error::Unsupported("lossless JPEG of components of different sizes".to_owned()));
        }
        Ok(Self {
            samples: vec![0; header.rows * header.columns * header.components.len()],
            done: vec![false; header.components.len()],
        })
    }

    pub(super) fn scan(
        &mut self,
        header: &Header,
        tables: &Tables,
        scan: &Scan,
        intervals: &[&[u8]],
    ) -> Result<(), Error> {
        let origin = u32::from(header.precision).checked_sub(u32::from(scan.low_bit) + 1);
        let origin = origin.filter(|_| (1..=7).contains(&scan.start));
        let origin = 1 << origin.ok_or_else(|| broken("a scan of an unknown predictor or point"))?;
        let component = |&(number, differences, _): &(usize, usize, usize)| {
            let codes = tables.differences[differences].as_ref();
            codes.map(|codes| (number, codes)).ok_or_else(|| broken("a table is missing"))
        };
        let step = header.components.len();
        let rows = Rows {
            stride: header.columns * step,
            step,
            predictor: scan.start,
            origin,
            components: scan.components.iter().map(component).collect::<Result<_, _>>()?,
        };
        // An MCU is a pixel; restarts come at the ends of rows only (H.1.1).
        if !tables.restart.is_multiple_of(header.columns) {
            return Err(broken("a restart within a row"));
        }
        let at_once = if tables.restart == 0 { self.samples.len() } else { tables.restart * step };
        let mut interval = Interval::default();
        let mut coded = intervals.iter();
        for samples in self.samples.chunks_mut(at_once) {
            let coded = coded.next().ok_or_else(|| broken("it ends before its last restart"))?;
            rows.decode(samples, &mut interval.read(coded))?;
        }
        for (number, _) in &rows.components {
            self.done[*number] = true;
            if scan.low_bit > 0 {
                let samples = self.samples.iter_mut().skip(*number).step_by(step);
                samples.for_each(|sample| *sample <<= scan.low_bit);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Samples, Error> {
        if self.done.contains(&false) {
            return Err(broken("a component is missing"));
        }
        Ok(self.samples)
    }
}

impl Rows<'_> {
    fn decode(&self, samples: &mut [u16], bits: &mut Bits<'_>) -> Result<(), Error> {
        let mut above: Option<&[u16]> = None;
        let mut rest = samples;
        while !rest.is_empty() {
            let (row, after) = rest.split_at_mut(self.stride.min(rest.len()));
            let decoded = match above {
                None => self.first(row, bits),
                Some(above) => self.row(row, above, bits),
            };
            decoded.ok_or_else(|| broken("a code that is none"))?;
            if bits.is_overrun() {
                return Err(broken("it ends early"));
            }
            (above, rest) = (Some(&*row), after);
        }
        Ok(())
    }

    /// Of a first row each sample is expected to be as its left neighbour (H.1.1).
    fn first(&self, row: &mut [u16], bits: &mut Bits<'_>) -> Option<()> {
        for at in (0..row.len()).step_by(self.step) {
            for &(place, codes) in &self.components {
                let expected = if at == 0 { self.origin } else { row[at + place - self.step] };
                row[at + place] = expected.wrapping_add(codes.difference(bits)? as u16);
            }
        }
        Some(())
    }

    fn row(&self, row: &mut [u16], above: &[u16], bits: &mut Bits<'_>) -> Option<()> {
        match self.predictor {
            1 => self.predicted(row, above, bits, |left, _, _| left),
            2 => self.predicted(row, above, bits, |_, above, _| above),
            3 => self.predicted(row, above, bits, |_, _, corner| corner),
            4 => self.predicted(row, above, bits, |left, above, corner| left + above - corner),
            5 => self.predicted(row, above, bits, |left, above, corner| left + ((above - corner) >> 1)),
            6 => self.predicted(row, above, bits, |left, above, corner| above + ((left - corner) >> 1)),
            _ => self.predicted(row, above, bits, |left, above, _| (left + above) >> 1),
        }
    }

    /// Of the others it depends on the predictor (table H.1), but at the left it is as the one above.
    #[inline]
    fn predicted(
        &self,
        row: &mut [u16],
        above: &[u16],
        bits: &mut Bits<'_>,
        expect: impl Fn(i32, i32, i32) -> i32,
    ) -> Option<()> {
        if let [(0, codes)] = self.components[..]
            && self.step == 1
        {
            let (first, corner) = (row.first_mut()?, above.first()?);
            *first = corner.wrapping_add(codes.difference(bits)? as u16);
            let (mut left, mut corner) = (i32::from(*first), i32::from(*corner));
            for (sample, above) in row[1..].iter_mut().zip(&above[1..]) {
                let above = i32::from(*above);
                *sample = (expect(left, above, corner) + codes.difference(bits)?) as u16;
                (left, corner) = (i32::from(*sample), above);
            }
            return Some(());
        }
        for at in (0..row.len()).step_by(self.step) {
            for &(place, codes) in &self.components {
                let at = at + place;
                let expected = match at.checked_sub(self.step) {
                    None => i32::from(above[at]),
                    Some(left) => expect(row[left].into(), above[at].into(), above[left].into()),
                };
                row[at] = (expected + codes.difference(bits)?) as u16;
            }
        }
        Some(())
    }
}
