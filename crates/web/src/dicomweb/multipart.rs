//! `multipart/related` bodies (RFC 2046 5.1.1, PS3.18 8.6.1.2), both ways, as steps over bytes: nothing is held but
//! what could still turn out to be a boundary.

use bytes::{Buf, Bytes, BytesMut};
use filmgate_model::Random;

/// Bytes the headers of one part may take.
const PART_HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Spaces that may follow a boundary on its line.
const PADDING_BYTES_MAX: usize = 128;
/// Bytes a boundary may have; RFC 2046 allows 70, some clients write more.
const BOUNDARY_BYTES_MAX: usize = 200;

/// Writes the frame around parts.
#[derive(Debug, Clone)]
pub(crate) struct Boundary(String);

impl Boundary {
    /// One that stands in no part: 128 random bits.
    pub(crate) fn random(random: &Random) -> Self {
        let digits: String = random.array::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("filmgate-{digits}"))
    }

    /// The `Content-Type` of the whole body.
    pub(crate) fn content_type(&self, part_type: &str) -> String {
        format!(r#"multipart/related; type="{part_type}"; boundary={}"#, self.0)
    }

    /// What stands before the bytes of a part.
    pub(crate) fn part_head(&self, first: bool, content_type: &str, location: &str) -> String {
        let before = if first { "" } else { "\r\n" };
        let boundary = &self.0;
        format!(
            "{before}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Location: {location}\r\n\r\n"
        )
    }

    /// What stands behind the last part.
    pub(crate) fn closing(&self) -> String {
        format!("\r\n--{}--\r\n", self.0)
    }
}

/// A body that is not `multipart/related` as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The boundary is empty or longer than any.
    #[error("the boundary must have 1 to {BOUNDARY_BYTES_MAX} characters")]
    Boundary,
    /// The headers of a part do not end.
    #[error("the headers of a part take more than {PART_HEADERS_BYTES_MAX} bytes")]
    Headers,
    /// The body ended before its closing boundary.
    #[error("the body ended before its closing boundary")]
    CutOff,
}

/// What a body is made of, in order: a part, its bytes in pieces, its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins; its `Content-Type` when it states one.
    Part(Option<String>),
    /// The next bytes of the part.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
}

/// Reads a body that arrives in pieces, split anywhere.
#[derive(Debug)]
pub(crate) struct Reader {
    /// CR LF, two hyphens, the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Headers,
    Data,
    Ended,
}

/// Where the next boundary stands in the buffer.
enum Found {
    /// Bytes before it; bytes up to the CR LF that ends its line; whether it closes the body.
    Boundary { before: usize, end: usize, closing: bool },
    /// None yet: so many bytes are surely data.
    Data(usize),
}

impl Reader {
    /// A reader for a body with this boundary.
    pub(crate) fn new(boundary: &str) -> Result<Self, Malformed> {
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
            return Err(Malformed::Boundary);
        }
        // The first boundary may stand at the very beginning, without the CR LF that belongs to the others.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Self { delimiter: format!("\r\n--{boundary}").into_bytes(), buffer, state: State::Preamble })
    }

    /// Takes the next bytes of the body; what follows the closing boundary is not kept.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Ended {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event, or `None` when more bytes are needed or the body has ended.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            match self.state {
                State::Preamble => match self.find_boundary() {
                    Found::Boundary { end, closing, .. } => self.pass_boundary(end, closing),
                    Found::Data(bytes) => {
                        self.buffer.advance(bytes);
                        return Ok(None);
                    }
                },
                State::Headers => return self.headers(),
                State::Data => return Ok(self.data()),
                State::Ended => return Ok(None),
            }
        }
    }

    /// The body has no more bytes: fails unless its closing boundary was read.
    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        if self.state == State::Ended { Ok(()) } else { Err(Malformed::CutOff) }
    }

    fn headers(&mut self) -> Result<Option<Event>, Malformed> {
        // Each line with the CR LF before it, so that a part without headers needs no rule of its own.
        let looked_at = &self.buffer[..self.buffer.len().min(PART_HEADERS_BYTES_MAX)];
        match looked_at.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => {
                let headers = self.buffer.split_to(end + 4);
                self.state = State::Data;
                Ok(Some(Event::Part(content_type_of(&headers))))
            }
            None if self.buffer.len() >= PART_HEADERS_BYTES_MAX => Err(Malformed::Headers),
            None => Ok(None),
        }
    }

    fn data(&mut self) -> Option<Event> {
        match self.find_boundary() {
            Found::Boundary { before: 0, end, closing } => {
                self.pass_boundary(end, closing);
                Some(Event::PartEnd)
            }
            Found::Boundary { before, .. } => Some(Event::Data(self.buffer.split_to(before).freeze())),
            Found::Data(0) => None,
            Found::Data(bytes) => Some(Event::Data(self.buffer.split_to(bytes).freeze())),
        }
    }

    fn pass_boundary(&mut self, end: usize, closing: bool) {
        self.buffer.advance(end);
        self.state = if closing { State::Ended } else { State::Headers };
        if closing {
            self.buffer.clear();
        }
    }

    fn find_boundary(&self) -> Found {
        let mut from = 0;
        while let Some(at) = position_of_cr(&self.buffer, from) {
            let rest = &self.buffer[at..];
            let compared = rest.len().min(self.delimiter.len());
            if rest[..compared] == self.delimiter[..compared] {
                if compared < self.delimiter.len() {
                    return Found::Data(at);
                }
                match line_end(&rest[compared..]) {
                    LineEnd::Here { bytes, closing } => {
                        return Found::Boundary { before: at, end: at + compared + bytes, closing };
                    }
                    LineEnd::Unknown => return Found::Data(at),
                    LineEnd::None => {}
                }
            }
            from = at + 1;
        }
        Found::Data(self.buffer.len())
    }
}

enum LineEnd {
    Here { bytes: usize, closing: bool },
    Unknown,
    None,
}

/// What follows the characters of a boundary: two hyphens, or spaces and CR LF; anything else is data that only
/// looked like one.
fn line_end(rest: &[u8]) -> LineEnd {
    if rest.starts_with(b"--") {
        return LineEnd::Here { bytes: 2, closing: true };
    }
    let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match rest.get(padding..).unwrap_or_default() {
        _ if padding > PADDING_BYTES_MAX => LineEnd::None,
        // The CR LF stays: it stands before the first header.
        [b'\r', b'\n', ..] => LineEnd::Here { bytes: padding, closing: false },
        [] | [b'\r'] => LineEnd::Unknown,
        [b'-'] if padding == 0 => LineEnd::Unknown,
        _ => LineEnd::None,
    }
}

fn position_of_cr(bytes: &[u8], from: usize) -> Option<usize> {
    Some(from + bytes.get(from..)?.iter().position(|&byte| byte == b'\r')?)
}

fn content_type_of(headers: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(headers);
    text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
