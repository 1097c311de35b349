//! Bodies are read the same however they are split, and data that looks like a boundary stays data.

use super::*;

/// A part's type and bytes.
type Part = (Option<String>, Vec<u8>);

/// Parts as read from pieces of a length.
fn read(body: &[u8], piece_bytes: usize) -> Result<Vec<Part>, Malformed> {
    let mut reader = Reader::new("B")?;
    let mut parts = Vec::new();
    let mut open = false;
    for piece in body.chunks(piece_bytes) {
        reader.push(piece);
        while let Some(event) = reader.next()? {
            match event {
                Event::Part(content_type) => {
                    assert!(!open, "a part begins after the one before has ended");
                    open = true;
                    parts.push((content_type, Vec::new()));
                }
                Event::Data(bytes) => {
                    parts.last_mut().expect("data stands in a part").1.extend_from_slice(&bytes)
                }
                Event::PartEnd => open = false,
            }
        }
    }
    reader.finish().map(|()| parts)
}

fn every_split(body: &[u8]) -> Vec<Part> {
    let whole = read(body, body.len()).expect("a body");
    for piece_bytes in 1..body.len() {
        assert_eq!(read(body, piece_bytes).as_ref(), Ok(&whole), "pieces of {piece_bytes} bytes");
    }
    whole
}

#[test]
fn what_is_written_reads_back_at_any_split() {
    let boundary = Boundary::random(&Random::seeded(3));
    let datasets: [&[u8]; 4] = [b"one", b"", b"\r\n--\r\n", b"\r\n\r\n--filmgate-"];
    let mut body = Vec::new();
    for (index, dataset) in datasets.iter().enumerate() {
        body.extend_from_slice(boundary.part_head(index == 0, "application/dicom", "/i").as_bytes());
        body.extend_from_slice(dataset);
    }
    body.extend_from_slice(boundary.closing().as_bytes());
    let text = boundary.content_type("application/dicom");
    let stated = super::super::media_type::MediaType::parse(&text).expect("a media type");
    assert_eq!(stated.parameter("type"), Some("application/dicom"));
    for piece_bytes in [1, 2, 3, 7, body.len()] {
        let mut reader = Reader::new(stated.parameter("boundary").expect("a boundary")).expect("a reader");
        let (mut read, mut parts) = (Vec::new(), 0);
        for piece in body.chunks(piece_bytes) {
            reader.push(piece);
            while let Some(event) = reader.next().expect("an event") {
                match event {
                    Event::Part(content_type) => {
                        assert_eq!(content_type.as_deref(), Some("application/dicom"));
                        read.push(Vec::new());
                    }
                    Event::Data(bytes) => read.last_mut().expect("a part").extend_from_slice(&bytes),
                    Event::PartEnd => parts += 1,
                }
            }
        }
        assert_eq!((reader.finish(), parts), (Ok(()), 4));
        assert_eq!(read, datasets);
    }
}

#[test]
fn preamble_epilogue_padding_and_missing_headers() {
    let body = b"ignored\r\n--B \t\r\ncontent-TYPE: application/dicom \r\nX: y\r\n\r\nabc\r\n--B\r\n\r\ndef\r\n--B--\r\nrest";
    let parts = every_split(body);
    assert_eq!(parts, [(Some("application/dicom".into()), b"abc".to_vec()), (None, b"def".to_vec())]);
    assert_eq!(every_split(b"--B--"), []);
}

#[test]
fn what_only_looks_like_a_boundary_is_data() {
    let data = b"\r\n--Bx\r\n--B -\r\n-\r\n--A--\r\r\n--\n--B--";
    let body = [b"--B\r\n\r\n".as_slice(), data, b"\r\n--B--"].concat();
    assert_eq!(every_split(&body), [(None, data.to_vec())]);
}

#[test]
fn a_body_that_ends_early_says_so() {
    let body = b"--B\r\n\r\nabc\r\n--B--";
    for end in 0..body.len() {
        let cut = read(body.get(..end).unwrap_or_default(), 4);
        assert_eq!(cut.map(|_| ()), Err(Malformed::CutOff), "{end} bytes");
    }
}

#[test]
fn headers_are_bounded() {
    let mut reader = Reader::new("B").expect("a reader");
    reader.push(b"--B\r\n");
    reader.push(&[b'a'; PART_HEADERS_BYTES_MAX]);
    assert_eq!(reader.next(), Err(Malformed::Headers));
    assert_eq!(Reader::new("").map(|_| ()), Err(Malformed::Boundary));
}

/// What stays in memory between pieces is never more than a boundary and its padding.
#[test]
fn data_is_not_held_back() {
    let mut reader = Reader::new("B").expect("a reader");
    reader.push(b"--B\r\n\r\n");
    assert_eq!(reader.next(), Ok(Some(Event::Part(None))));
    for _ in 0..1000 {
        reader.push(&[b'\r'; 4096]);
        while let Some(event) = reader.next().expect("data") {
            assert!(matches!(event, Event::Data(_)));
        }
        assert!(reader.buffer.len() <= reader.delimiter.len() + PADDING_BYTES_MAX + 2);
    }
}
