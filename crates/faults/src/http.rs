//! Where an HTTP/1.1 message ends (RFC 9112 6): as much of it as a proxy needs.

use std::io::{self, BufRead, Read};

/// A head longer than this is no head.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// What it is about: path and query.
    pub target: String,
    /// Length of its body.
    pub body_bytes: u64,
}

impl Request {
    /// The value of a parameter of the query.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// Method and names of parameters: what tells an upload of a part from one of an object.
    #[must_use]
    pub fn kind(&self) -> String {
        let (_, query) = self.target.split_once('?').unwrap_or_default();
        let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        format!("{} {}", self.method, names.join(" "))
    }
}

/// The head of a message, as it came.
pub(crate) struct Head {
    pub(crate) bytes: Vec<u8>,
    first: Vec<String>,
    fields: Vec<(String, String)>,
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Reads a head to its empty line; `None` when the connection ended before it began.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut limited = from.take(HEAD_BYTES_MAX);
        loop {
            let read = limited.read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if bytes.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().split(' ').map(str::to_owned).collect();
        let fields = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Some(Self { first, fields: fields.collect(), bytes: bytes.clone() }))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn length(&self) -> Option<u64> {
        self.field("content-length")?.parse().ok()
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    /// The request this is the head of.
    pub(crate) fn request(&self) -> Request {
        let word = |index: usize| self.first.get(index).cloned().unwrap_or_default();
        Request { method: word(0), target: word(1), body_bytes: self.length().unwrap_or(0) }
    }

    /// How the body of a request is delimited.
    pub(crate) fn request_body(&self) -> Body {
        if self.is_chunked() { Body::Chunked } else { Body::Length(self.length().unwrap_or(0)) }
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.first.get(1)?.parse().ok()
    }

    /// How the body of an answer to `method` is delimited.
    pub(crate) fn answer_body(&self, method: &str) -> Body {
        let without = method == "HEAD" || matches!(self.status(), Some(100..=199 | 204 | 304));
        match self.length() {
            _ if without => Body::Length(0),
            _ if self.is_chunked() => Body::Chunked,
            Some(length) => Body::Length(length),
            None => Body::UntilClose,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_they_say() {
        let mut came: &[u8] = b"PUT /b/o?partNumber=2&uploadId=x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let head = Head::read(&mut came).expect("a head").expect("some");
        let request = head.request();
        assert_eq!((request.method.as_str(), request.body_bytes, came), ("PUT", 3, &b"abc"[..]));
        assert_eq!((request.parameter("partNumber"), request.parameter("no")), (Some("2"), None));
        assert_eq!(request.kind(), "PUT partNumber uploadId");
        let answer = |text: &str| Head::read(&mut text.as_bytes()).expect("a head").expect("some");
        let chunked = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!((chunked.status(), chunked.answer_body("GET")), (Some(200), Body::Chunked));
        let found = answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
        assert_eq!((found.answer_body("GET"), found.answer_body("HEAD")), (Body::Length(9), Body::Length(0)));
        assert_eq!(answer("HTTP/1.1 204 No\r\n\r\n").answer_body("DELETE"), Body::Length(0));
        assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\n").answer_body("GET"), Body::UntilClose);
        assert!(Head::read(&mut &b"GET / HT"[..]).is_err(), "cut off");
        assert!(Head::read(&mut &b""[..]).expect("the end").is_none());
        assert!(Head::read(&mut vec![b'a'; 100_000].as_slice()).is_err(), "no end");
    }
}
