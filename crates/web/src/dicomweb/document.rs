//! Bulk data that is a document by itself: an encapsulated PDF, and video (PS3.18 8.7.3).
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

use super::{OCTET_STREAM, accept::Offer, asking::Asking, bulk::pieces, wado::with_type};
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
const MPEG: &str = "video/mpeg";
/// What stands before everything in an MPEG-2 stream (ISO/IEC 13818-1, 13818-2).
const MPEG_MAGIC: &[u8] = &[0, 0, 1];
/// MPEG-2, MPEG-4 AVC/H.264 and HEVC/H.265 (PS3.5 A.4.5 to A.4.7) have transfer syntaxes that begin so.
const VIDEO_SYNTAXES: &str = "1.2.840.10008.1.2.4.10";
/// Item (FFFE,E000), little endian, and the length of its head.
const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
const ITEM_HEAD_BYTES: u64 = 8;
/// Fragments of one video.
const FRAGMENTS_MAX: usize = 100_000;

/// A page of ours, and the viewer, frame what is shown; nobody else does.
const POLICY: &str = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; \
     media-src 'self'; frame-ancestors 'self'";

/// Bytes of a media type that others show.
pub(super) struct Document {
    media_type: &'static str,
    /// Of a video.
    transfer_syntax_uid: Option<String>,
    bytes: Source,
}

enum Source {
    /// In the dataset, one range behind another.
    Ranges(Vec<Range<u64>>),
    /// So short that the metadata holds it.
    Held(Vec<u8>),
}

/// What a value is by itself; `None` for what is answered as bytes, or not at all.
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
    Ok((head == PDF_MAGIC).then_some(Document { media_type: PDF, transfer_syntax_uid: None, bytes }))
}

/// The fragments of a video behind one another, and by octets what they are not seen to be.
async fn video(record: &OpenRecord, value: &BulkValue) -> Result<Option<Document>, Error> {
    let ranges = fragments(record, value).await?;
    let Some(first) = ranges.first() else { return Ok(None) };
    let head = record.dataset_range(first.start..first.end.min(first.start + 8)).await?;
    let media_type = match head.get(4..8) {
        Some(magic) if magic == MP4_MAGIC => MP4,
        _ if head.starts_with(MPEG_MAGIC) => MPEG,
        _ => OCTET_STREAM,
    };
    let transfer_syntax_uid = Some(record.transfer_syntax_uid().to_owned());
    Ok(Some(Document { media_type, transfer_syntax_uid, bytes: Source::Ranges(ranges) }))
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
    /// The ways it can be answered in. A video has frames, but nobody here tells them apart: there is no other answer to it.
    fn offers(&self) -> Vec<Offer<'_>> {
        let transfer_syntax = self.transfer_syntax_uid.as_deref();
        let media_type = self.media_type;
        if transfer_syntax.is_none() {
            return vec![Offer { multipart: false, media_type, transfer_syntax }];
        }
        let forms = [false, true].into_iter().flat_map(|multipart| {
            [media_type, OCTET_STREAM].map(|media_type| Offer { multipart, media_type, transfer_syntax })
        });
        forms.collect()
    }

    fn not_acceptable(&self, syntax: &str) -> Error {
        let Self { media_type, .. } = self;
        Error::NotAcceptable(format!(
            "a video is answered as a whole, as {media_type} or {OCTET_STREAM}; transfer-syntax={syntax}"
        ))
    }

    /// The document by its media type; `None` when the client wants bytes.
    ///
    /// # Errors
    /// [`Error::NotAcceptable`] for a video that nobody wants as it is.
    pub(super) async fn answer(
        self,
        asking: &Asking,
        record: &Arc<OpenRecord>,
        location: &str,
    ) -> Result<Option<Response>, Error> {
        let Some(multipart) = asking.accepted.best(&self.offers()).map(|best| best.multipart) else {
            return self
                .transfer_syntax_uid
                .as_deref()
                .map_or(Ok(None), |syntax| Err(self.not_acceptable(syntax)));
        };
        let part_type = match &self.transfer_syntax_uid {
            Some(syntax) => format!("{}; transfer-syntax={syntax}", self.media_type),
            None => self.media_type.to_owned(),
        };
        let boundary = asking.boundary();
        let (content_type, before, behind) = match multipart {
            true => (
                boundary.content_type(&part_type),
                boundary.part_head(true, &part_type, location),
                boundary.closing(),
            ),
            false => (part_type, String::new(), String::new()),
        };
        let (length, body) = match self.bytes {
            Source::Held(bytes) => (bytes.len() as u64, Body::from(bytes)),
            Source::Ranges(ranges) => {
                let length: u64 = ranges.iter().map(|range| range.end - range.start).sum();
                let length = length + (before.len() + behind.len()) as u64;
                let (turn, record) = (asking.turn().await?, Arc::clone(record));
                let body = asking.body(turn, |outlet| async move {
                    if !before.is_empty() {
                        outlet.send(before).await?;
                    }
                    for range in ranges {
                        record.will_read(range.clone());
                        for piece in pieces(&record, range) {
                            outlet.send_all(record.value_pieces(piece).await?).await?;
                        }
                    }
                    if !behind.is_empty() {
                        outlet.send(behind).await?;
                    }
                    Ok(())
                });
                (length, body.await?)
            }
        };
        let mut response = with_type(body, &content_type);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
        Ok(Some(response))
    }
}
