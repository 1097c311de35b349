//! The gateway's web side: plain requests, and the multipart bodies of DICOMweb taken apart and put together.

use std::io::Read;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::{Agent, http::HeaderMap};

use super::dicom::File;

const BOUNDARY: &str = "filmgate-test-boundary";

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Web {
    base: String,
    agent: Agent,
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Everything the client is told of the answer.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A part of a multipart body.
pub(crate) struct Part {
    /// Its headers, as they stand there.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Part {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Answer {
    /// Itself, if its status is a success.
    pub(crate) fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "status {}: {}", self.status, self.text());
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The parts of a multipart body, without their headers.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        self.whole_parts().into_iter().map(|part| part.body).collect()
    }

    /// The parts of a multipart body.
    pub(crate) fn whole_parts(&self) -> Vec<Part> {
        let boundary = self.content_type.split(';').find_map(|item| item.trim().strip_prefix("boundary="));
        let boundary =
            boundary.unwrap_or_else(|| panic!("no boundary in {:?}", self.content_type)).trim_matches('"');
        split_parts(&self.body, boundary)
    }
}

impl Web {
    pub(crate) fn new(address: &str) -> Self {
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60)));
        Self { base: format!("http://{address}"), agent: config.build().into() }
    }

    /// The whole address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn get(&self, path: &str, accept: &str) -> Answer {
        let answer = self.agent.get(self.url(path)).header("accept", accept).call();
        Self::answer(answer, path)
    }

    /// The same, by who has the answer with this entity tag.
    pub(crate) fn get_unless(&self, path: &str, accept: &str, etag: &str) -> Answer {
        let request = self.agent.get(self.url(path)).header("accept", accept);
        Self::answer(request.header("if-none-match", etag).call(), path)
    }

    /// Posts JSON.
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        Self::answer(request.send(body.to_string()), path)
    }

    /// Where it listens, as HOST:PORT.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// A body to be read piece by piece.
    pub(crate) fn stream(&self, path: &str) -> impl Read + use<> {
        let answer = self.agent.get(self.url(path)).config().timeout_global(None).build().call();
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer.status(), 200, "{path}");
        answer.into_body().into_reader()
    }

    /// STOW-RS of whole files (PS3.18 10.5).
    pub(crate) fn store(&self, files: &[&File]) -> Answer {
        let request = self.agent.post(self.url("/dicomweb/studies"));
        let request =
            request.header("content-type", stow_content_type()).header("accept", "application/dicom+json");
        Self::answer(request.send(&stow_body(files)[..]), "/dicomweb/studies")
    }

    /// WADO-RS of one instance in the syntax it is stored in; the Part 10 file, or why there is none.
    pub(crate) fn instance(&self, study: &str, series: &str, instance: &str) -> Result<File, String> {
        let path = format!("/dicomweb/studies/{study}/series/{series}/instances/{instance}");
        let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
        let answer = Self::whole(self.agent.get(self.url(&path)).header("accept", accept).call())?;
        if answer.status != 200 {
            return Err(format!("status {}: {}", answer.status, answer.text().trim()));
        }
        match answer.parts().as_slice() {
            [part] => Ok(File::new(part.clone())),
            parts => Err(format!("{} parts", parts.len())),
        }
    }

    fn answer(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, path: &str) -> Answer {
        Self::whole(answer).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// An answer with its body to the end, or why there is none.
    fn whole(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, String> {
        let mut answer = answer.map_err(|error| error.to_string())?;
        let header = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        let content_type = header.unwrap_or_default().to_owned();
        let headers = answer.headers().clone();
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec();
        let body = body.map_err(|error| format!("the body breaks off: {error}"))?;
        Ok(Answer { status: answer.status().as_u16(), content_type, headers, body })
    }
}

/// The body of a STOW-RS request.
pub(crate) fn stow_body(files: &[&File]) -> Vec<u8> {
    let mut body = Vec::new();
    for file in files {
        body.extend_from_slice(format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes());
        body.extend_from_slice(&file.bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Its media type.
pub(crate) fn stow_content_type() -> String {
    format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}")
}

fn split_parts(body: &[u8], boundary: &str) -> Vec<Part> {
    let delimiter = format!("\r\n--{boundary}");
    let opening = &delimiter[2..];
    let start =
        find(body, opening.as_bytes()).unwrap_or_else(|| panic!("the body does not open with its boundary"));
    let mut rest = &body[start + opening.len()..];
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let end = find(rest, delimiter.as_bytes()).expect("the part has an end");
        let headers = find(rest, b"\r\n\r\n").expect("the part has headers");
        let head = String::from_utf8_lossy(&rest[2..headers]).into_owned();
        parts.push(Part { head, body: rest[headers + 4..end].to_vec() });
        rest = &rest[end + delimiter.len()..];
    }
    parts
}

/// Where `needle` first stands in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(step) = hay.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + step;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
