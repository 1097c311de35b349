//! What the headers of a codestream say, and its scans in turn.

use crate::{
    Error, ImagePixel,
    decode::jpeg::{
        broken,
        huffman::{Huffman, Kind},
        lossless::Lossless,
        segments::{APP0, APP14, DHT, DQT, DRI, SOS, Segments},
        sequential::Sequential,
    },
};

/// Samples by pixel, wider than any is.
pub(super) type Samples = Vec<u16>;

/// How samples were coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// Sequential DCT, baseline or extended.
    Sequential,
    /// Differences from a prediction.
    Lossless,
}

/// A component of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    pub(super) id: u8,
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    pub(super) quantization: u8,
}

/// The frame header (B.2.2), and what application segments say.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) process: Process,
    pub(super) precision: u8,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) components: Vec<Component>,
    /// From an Adobe segment: 0 for no colour transform.
    pub(super) adobe_transform: Option<u8>,
    /// A JFIF segment stands there, which promises luminance and colour differences.
    pub(super) jfif: bool,
}

impl Header {
    pub(super) fn ids_are(&self, ids: &[u8]) -> bool {
        self.components.iter().map(|component| component.id).eq(ids.iter().copied())
    }
}

/// The tables in force.
#[derive(Default)]
pub(super) struct Tables {
    /// In the order of the codestream.
    pub(super) quantization: [Option<[i32; 64]>; 4],
    pub(super) differences: [Option<Huffman>; 4],
    pub(super) coefficients: [Option<Huffman>; 4],
    /// MCUs between restarts; 0 for none.
    pub(super) restart: usize,
}

/// A scan header (B.2.3).
pub(super) struct Scan {
    /// By component: its number in the frame, its tables for differences and coefficients.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// The predictor of lossless; else the first coefficient.
    pub(super) start: u8,
    /// The point transform.
    pub(super) low_bit: u8,
}

/// One of the two ways to decode.
enum Decoding {
    Sequential(Sequential),
    Lossless(Lossless),
}

pub(super) fn decode(image: &ImagePixel, bytes: &[u8]) -> Result<(Header, Samples), Error> {
    let mut segments = Segments::of(bytes)?;
    let mut tables = Tables::default();
    let (mut adobe_transform, mut jfif) = (None, false);
    let mut decoding: Option<(Header, Decoding)> = None;
    while let Some((marker, body)) = segments.next()? {
        match marker {
            0xC0 | 0xC1 | 0xC3 if decoding.is_none() => {
                let process = if marker == 0xC3 { Process::Lossless } else { Process::Sequential };
                let header = header(process, body)?;
                check(&header, image)?;
                let begun = match process {
                    Process::Sequential => Decoding::Sequential(Sequential::of(&header, image)),
                    Process::Lossless => Decoding::Lossless(Lossless::of(&header)?),
                };
                decoding = Some((header, begun));
            }
            DHT => huffman_tables(body, &mut tables)?,
            0xC0..=0xCF => return Err(Error::Unsupported(format!("JPEG process {}", marker - 0xC0))),
            DQT => quantization_tables(body, &mut tables)?,
            DRI => {
                let interval =
                    body.first_chunk::<2>().ok_or_else(|| broken("a restart interval without a length"))?;
                tables.restart = usize::from(u16::from_be_bytes(*interval));
            }
            APP0 => jfif |= body.starts_with(b"JFIF\0"),
            APP14 if body.starts_with(b"Adobe") => adobe_transform = body.get(11).copied(),
            SOS => {
                let (header, decoding) =
                    decoding.as_mut().ok_or_else(|| broken("a scan before its frame"))?;
                let scan = scan(body, header)?;
                let intervals = segments.entropy_coded();
                match decoding {
                    Decoding::Sequential(frame) => frame.scan(header, &tables, &scan, &intervals)?,
                    Decoding::Lossless(frame) => frame.scan(header, &tables, &scan, &intervals)?,
                }
            }
            _ => {}
        }
    }
    let (mut header, decoding) = decoding.ok_or_else(|| broken("it has no frame"))?;
    (header.adobe_transform, header.jfif) = (adobe_transform, jfif);
    let samples = match decoding {
        Decoding::Sequential(frame) => frame.finish(&header)?,
        Decoding::Lossless(frame) => frame.finish()?,
    };
    Ok((header, samples))
}

fn header(process: Process, body: &[u8]) -> Result<Header, Error> {
    let cut = || broken("its frame header is cut off");
    let (fixed, rest) = body.split_first_chunk::<6>().ok_or_else(cut)?;
    let number = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
    let components =
        rest.as_chunks::<3>().0.iter().take(usize::from(fixed[5])).map(|&[id, factors, quantization]| {
            Component {
                id,
                horizontal: usize::from(factors >> 4),
                vertical: usize::from(factors & 15),
                quantization,
            }
        });
    let components: Vec<_> = components.collect();
    if components.len() != usize::from(fixed[5]) {
        return Err(cut());
    }
    Ok(Header {
        process,
        precision: fixed[0],
        rows: number(fixed[1], fixed[2]),
        columns: number(fixed[3], fixed[4]),
        components,
        adobe_transform: None,
        jfif: false,
    })
}

/// The frame against the attributes: nothing is allocated before.
fn check(header: &Header, image: &ImagePixel) -> Result<(), Error> {
    let stated = (image.rows as usize, image.columns as usize, usize::from(image.samples));
    let found = (header.rows, header.columns, header.components.len());
    if stated != found {
        return Err(broken(&format!("{found:?} rows, columns and components where {stated:?} are stated")));
    }
    let fits = match header.process {
        Process::Sequential => matches!(header.precision, 8 | 12),
        Process::Lossless => (2..=16).contains(&header.precision),
    };
    if !fits || usize::from(header.precision) > image.sample.bytes() * 8 {
        return Err(broken(&format!("{} bits a sample", header.precision)));
    }
    let factors = header.components.iter();
    let factors = factors.map(|component| (component.horizontal, component.vertical));
    if factors
        .clone()
        .any(|(horizontal, vertical)| !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical))
    {
        return Err(broken("a sampling factor is not 1 to 4"));
    }
    if header.components.iter().any(|component| component.quantization > 3) {
        return Err(broken("a quantization table is not 0 to 3"));
    }
    Ok(())
}

fn scan(body: &[u8], header: &Header) -> Result<Scan, Error> {
    let cut = || broken("a scan header is cut off");
    let (&count, rest) = body.split_first().ok_or_else(cut)?;
    let (selectors, rest) = rest.split_at_checked(usize::from(count) * 2).ok_or_else(cut)?;
    let &[start, _, bits, ..] = rest else { return Err(cut()) };
    let mut components: Vec<(usize, usize, usize)> = Vec::with_capacity(selectors.len() / 2);
    for &[id, tables] in selectors.as_chunks::<2>().0 {
        let number = header.components.iter().position(|component| component.id == id);
        let number = number.ok_or_else(|| broken("a scan of a component that is not there"))?;
        if components.iter().any(|(other, ..)| *other == number) || tables >> 4 > 3 || tables & 15 > 3 {
            return Err(broken("a scan header contradicts itself"));
        }
        components.push((number, usize::from(tables >> 4), usize::from(tables & 15)));
    }
    if components.is_empty() {
        return Err(broken("a scan of nothing"));
    }
    Ok(Scan { components, start, low_bit: bits & 15 })
}

fn huffman_tables(mut body: &[u8], tables: &mut Tables) -> Result<(), Error> {
    let cut = || broken("a code table is cut off");
    while let Some((&selector, rest)) = body.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
        let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
        let (symbols, rest) = rest.split_at_checked(total).ok_or_else(cut)?;
        body = rest;
        let (kind, kept) = match selector >> 4 {
            0 => (Kind::Difference, &mut tables.differences),
            1 => (Kind::Coefficient, &mut tables.coefficients),
            _ => return Err(broken("a code table of an unknown class")),
        };
        let place =
            kept.get_mut(usize::from(selector & 15)).ok_or_else(|| broken("a code table is not 0 to 3"))?;
        *place = Some(Huffman::of(counts, symbols, kind)?);
    }
    Ok(())
}

fn quantization_tables(mut body: &[u8], tables: &mut Tables) -> Result<(), Error> {
    let cut = || broken("a quantization table is cut off");
    while let Some((&selector, rest)) = body.split_first() {
        let place = tables.quantization.get_mut(usize::from(selector & 15));
        let place = place.ok_or_else(|| broken("a quantization table is not 0 to 3"))?;
        let mut table = [0; 64];
        if selector >> 4 == 0 {
            let (values, rest) = rest.split_first_chunk::<64>().ok_or_else(cut)?;
            table.iter_mut().zip(values).for_each(|(place, value)| *place = i32::from(*value));
            body = rest;
        } else {
            let (values, rest) = rest.split_first_chunk::<128>().ok_or_else(cut)?;
            let values = values.as_chunks::<2>().0.iter().map(|value| i32::from(u16::from_be_bytes(*value)));
            table.iter_mut().zip(values).for_each(|(place, value)| *place = value);
            body = rest;
        }
        *place = Some(table);
    }
    Ok(())
}
