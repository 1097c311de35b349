//! DICOMweb (PS3.18 chapter 10): the one door for viewers, and the second one for instances.

mod accept;
mod asking;
pub(crate) mod bulk;
mod document;
pub(crate) mod frames;
mod media_type;
pub(crate) mod metadata;
mod multipart;
mod named;
pub(crate) mod picture;
pub(crate) mod qido;
mod qido_included;
pub(crate) mod qido_query;
mod qido_rows;
pub(crate) mod rendered;
mod reuse;
pub(crate) mod stow;
mod stow_answer;
mod stow_part;
mod subject;
mod syntaxes;
pub(crate) mod wado;
pub(crate) mod wado_uri;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use accept::Accepted;

use crate::{Error, extract::Query, routes::Parameter};

/// A query string's names and values, decoded, in their order.
pub(crate) type Pairs = Query<Vec<(String, String)>>;

/// One instance as a Part 10 file.
pub(crate) const DICOM: &str = "application/dicom";
const DICOM_JSON: &str = "application/dicom+json";
const OCTET_STREAM: &str = "application/octet-stream";

/// What every resource is asked besides its own parameters.
pub(crate) const ACCEPT: &[Parameter] = &[Parameter::text(
    "accept",
    "media types that are accepted, before those of the header (PS3.18 8.3.3.1)",
)];

/// Where our DICOMweb is served.
const ROOT: &str = "/dicomweb";

/// An array of DICOM JSON objects, each written already.
fn dicom_json(datasets: &[Vec<u8>]) -> Response {
    let mut json = Vec::with_capacity(datasets.iter().map(|dataset| dataset.len() + 1).sum::<usize>() + 2);
    json.push(b'[');
    json.extend_from_slice(&datasets.join(&b','));
    json.push(b']');
    ([(header::CONTENT_TYPE, HeaderValue::from_static(DICOM_JSON))], Body::from(json)).into_response()
}

/// Refuses a client that wants no DICOM JSON; plain JSON is what it is too.
fn wants_json(accepted: &Accepted) -> Result<(), Error> {
    if accepted.accepts_any(&[DICOM_JSON, "application/json"]) {
        return Ok(());
    }
    Err(Error::NotAcceptable(format!("this is answered as {DICOM_JSON}: name it in Accept")))
}

fn study_url(study: &str) -> String {
    format!("{ROOT}/studies/{}", segment(study))
}

fn series_url(study: &str, series: &str) -> String {
    format!("{}/series/{}", study_url(study), segment(series))
}

fn instance_url(study: &str, series: &str, instance: &str) -> String {
    format!("{}/instances/{}", series_url(study, series), segment(instance))
}

/// A UID as a step of a path; what is met as one may hold anything.
pub(crate) fn segment(uid: &str) -> String {
    let mut step = String::with_capacity(uid.len());
    for byte in uid.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-' | b'_' | b'~' => {
                step.push(char::from(byte))
            }
            _ => step.push_str(&format!("%{byte:02X}")),
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_hold_one_step_for_each_uid() {
        assert_eq!(instance_url("1.2", "1.3", "1.4"), "/dicomweb/studies/1.2/series/1.3/instances/1.4");
        assert_eq!(study_url("a/b?c"), "/dicomweb/studies/a%2Fb%3Fc");
    }
}
