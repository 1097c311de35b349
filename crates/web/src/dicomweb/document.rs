//! Bulk data that a browser shows by itself: an encapsulated PDF, and video in MPEG-4 (PS3.18 8.7.3).
//!
//! Nothing else is answered by the media type it claims: a page or a script that was stored as a document would speak for
//! this gateway in the browser of whoever opens it.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use filmgate_catalog::Location;
use filmgate_pipeline::{BulkValue, OpenRecord, Road};
use serde_json::Value;

use super::{accept::Offer, asking::Asking, bulk::pieces, wado::with_type};
use crate::Error;

/// Encapsulated Document, and the media type it claims.
const DOCUMENT: &str = "00420011";
const DOCUMENT_TYPE: &str = "00420012";
const PIXEL_DATA: &str = "7FE00010";
const PDF: &str = "application/pdf";
const PDF_MAGIC: &[u8] = b"%PDF-";
const MP4: &str = "video/mp4";
/// Where and how an MPEG-4 file begins (ISO/IEC 14496-12 4.3).
const MP4_MAGIC: &[u8] = b"ftyp";
/// MPEG-4 AVC/H.264 and HEVC/H.265 (PS3.5 A.4.6, A.4.7) have transfer syntaxes that begin so; so has MPEG-2, which is no
/// MPEG-4 file.
const VIDEO_SYNTAXES: &str = "1.2.840.10008.1.2.4.10";
/// Item (FFFE,E000), little endian, and the length of its head.
const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
const ITEM_HEAD_BYTES: u64 = 8;
/// Fragments of one video.
const FRAGMENTS_MAX: usize = 100_000;

/// A page of ours, and the viewer, frame what is shown; nobody else does.
const POLICY: &str = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; \
     media-src 'self'; frame-ancestors 'self'";

/// Bytes of a media type that a browser shows.
pub(super) struct Document {
    media_type: &'static str,
    bytes: Source,
}

enum Source {
    /// In the dataset, one range behind another.
    Ranges(Vec<Range<u64>>),
    /// So short that the metadata holds it.
    Held(Vec<u8>),
}

/// What a value is to a browser; `None` for what is answered as bytes, or not at all.
pub(super) async fn of(
    road: &Arc<Road>,
    found: &Location,
    record: &OpenRecord,
    value: Option<&BulkValue>,
    path: &str,
) -> Result<Option<Document>, Error> {
    match (path, value) {
        (DOCUMENT, value) => pdf(road, found, record, value).await,
        (PIXEL_DATA, Some(value)) if value.encapsulated && is_video(record) => video(record, value).await,
        _ => Ok(None),
    }
}

fn is_video(record: &OpenRecord) -> bool {
    record.transfer_syntax_uid().starts_with(VIDEO_SYNTAXES)
}

/// A document that says it is a PDF, and is one.
async fn pdf(
    road: &Arc<Road>,
    found: &Location,
    record: &OpenRecord,
    value: Option<&BulkValue>,
) -> Result<Option<Document>, Error> {
    let metadata = road.metadata(std::slice::from_ref(found)).await?;
    let metadata: Option<Value> = metadata.first().and_then(|json| serde_json::from_slice(json).ok());
    let Some(metadata) = metadata.filter(|metadata| metadata[DOCUMENT_TYPE]["Value"][0] == PDF) else {
        return Ok(None);
    };
    let (head, bytes) = match value {
        Some(BulkValue { range, .. }) => {
            let head = record
                .dataset_range(range.start..range.end.min(range.start + PDF_MAGIC.len() as u64))
                .await?;
            (head, Source::Ranges(vec![range.clone()]))
        }
        None => {
            let held =
                metadata[DOCUMENT]["InlineBinary"].as_str().and_then(|text| STANDARD.decode(text).ok());
            let Some(held) = held else { return Ok(None) };
            (held.iter().copied().take(PDF_MAGIC.len()).collect(), Source::Held(held))
        }
    };
    Ok((head == PDF_MAGIC).then_some(Document { media_type: PDF, bytes }))
}

/// The fragments of a video behind one another, when they are an MPEG-4 file.
async fn video(record: &OpenRecord, value: &BulkValue) -> Result<Option<Document>, Error> {
    let ranges = fragments(record, value).await?;
    let Some(first) = ranges.first() else { return Ok(None) };
    let head = record.dataset_range(first.start..first.end.min(first.start + 8)).await?;
    let is_mp4 = head.get(4..8) == Some(MP4_MAGIC);
    Ok(is_mp4.then_some(Document { media_type: MP4, bytes: Source::Ranges(ranges) }))
}

/// Where each fragment lies: items behind the offset table, up to the delimiter (PS3.5 A.4).
async fn fragments(record: &OpenRecord, value: &BulkValue) -> Result<Vec<Range<u64>>, Error> {
    let (mut at, end) = (value.range.start, value.range.end);
    let mut items = Vec::new();
    while at + ITEM_HEAD_BYTES <= end && items.len() <= FRAGMENTS_MAX {
        let head = record.dataset_range(at..at + ITEM_HEAD_BYTES).await?;
        let Some((tag, length)) = head.split_first_chunk::<4>() else { break };
        let Some(length) = length.first_chunk::<4>().copied().map(u32::from_le_bytes) else { break };
        let start = at + ITEM_HEAD_BYTES;
        let Some(next) = start.checked_add(u64::from(length)).filter(|next| *tag == ITEM && *next <= end)
        else {
            break;
        };
        items.push(start..next);
        at = next;
    }
    Ok(items.into_iter().skip(1).collect())
}

impl Document {
    /// The document by its media type; `None` when the client wants bytes.
    pub(super) async fn answer(
        self,
        asking: &Asking,
        record: &Arc<OpenRecord>,
    ) -> Result<Option<Response>, Error> {
        let offer = Offer { multipart: false, media_type: self.media_type, transfer_syntax: None };
        if asking.accepted.quality(offer) == 0 {
            return Ok(None);
        }
        let (length, body) = match self.bytes {
            Source::Held(bytes) => (bytes.len() as u64, Body::from(bytes)),
            Source::Ranges(ranges) => {
                let length = ranges.iter().map(|range| range.end - range.start).sum();
                let (turn, record) = (asking.turn().await?, Arc::clone(record));
                let body = asking.body(turn, |outlet| async move {
                    for range in ranges {
                        record.will_read(range.clone());
                        for piece in pieces(&record, range) {
                            outlet.send(record.value_range(piece).await?).await?;
                        }
                    }
                    Ok(())
                });
                (length, body.await?)
            }
        };
        let mut response = with_type(body, self.media_type);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
        Ok(Some(response))
    }
}
