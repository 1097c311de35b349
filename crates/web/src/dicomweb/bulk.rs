//! Bulk data by the path its metadata names (PS3.18 10.4.1.1.5).

use std::{ops::Range, sync::Arc};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use filmgate_model::transfer_syntax::EXPLICIT_VR_BIG_ENDIAN;
use filmgate_pipeline::{BulkValue, OpenRecord};

use super::{
    OCTET_STREAM, Pairs, accept::Accepted, accept::Offer, instance_url, multipart::Boundary, wado::served,
    wado::with_type,
};
use crate::{
    Error,
    router::App,
    streaming::{self, Outlet, Stopped},
};

/// Bytes opened at one time.
const PIECE_BYTES: u64 = 1024 * 1024;

/// A single part where either will do: metadata names one value.
const OFFERS: [Offer<'static>; 2] = [
    Offer { multipart: false, media_type: OCTET_STREAM, transfer_syntax: None },
    Offer { multipart: true, media_type: OCTET_STREAM, transfer_syntax: None },
];

/// One bulk value of an instance.
pub(crate) async fn bulk_value(
    State(app): State<App>,
    Path((study, series, instance, path)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let found = served(&app, &study, &series, &instance).await?;
    let record = app.road().open_found(&found).await?;
    let value = record.bulk_value(&path).ok_or(Error::NotFound("bulk data"))?;
    let offer = offer_for(&record, &value, &Accepted::of(&headers, &query))?;
    let permit = app.retrieve_turn().await?;
    let stall = app.settings().retrieve_stall_timeout;
    let (boundary, record) = (Boundary::random(&app.web.random), Arc::new(record));
    if !offer.multipart {
        let bytes = value.range.end - value.range.start;
        let body = streaming::body(permit, stall, |outlet| send_range(record, value.range, outlet)).await?;
        let mut response = with_type(body, OCTET_STREAM);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        return Ok(response);
    }
    let content_type = boundary.content_type(OCTET_STREAM);
    let location = format!("{}/bulkdata/{path}", instance_url(&study, &series, &instance));
    let head = boundary.part_head(true, OCTET_STREAM, &location);
    let body =
        streaming::body(permit, stall, |outlet| send_part(record, value.range, head, boundary, outlet))
            .await?;
    Ok(with_type(body, &content_type))
}

/// The form to answer in. What would have to be changed on the way out is refused with a reason.
fn offer_for(record: &OpenRecord, value: &BulkValue, accepted: &Accepted) -> Result<Offer<'static>, Error> {
    if value.encapsulated {
        let why = "compressed pixel data is answered with its instance only: ask for the instance";
        return Err(Error::NotAcceptable(why.to_owned()));
    }
    // Bulk data is little endian (PS3.18 8.7.3.6); whole instances are answered as stored.
    if record.transfer_syntax_uid() == EXPLICIT_VR_BIG_ENDIAN {
        let why =
            "bulk data of a big endian instance is answered with its instance only: ask for the instance";
        return Err(Error::NotAcceptable(why.to_owned()));
    }
    accepted.best(&OFFERS).ok_or_else(|| {
        Error::NotAcceptable(format!(
            r#"bulk data is answered as {OCTET_STREAM}, alone or in multipart/related"#
        ))
    })
}

async fn send_part(
    record: Arc<OpenRecord>,
    range: Range<u64>,
    head: String,
    boundary: Boundary,
    outlet: Outlet,
) -> Result<(), Stopped> {
    let mut head = Some(head);
    record.will_read(range.clone());
    for piece in pieces(range) {
        let bytes = record.dataset_range(piece).await?;
        if let Some(head) = head.take() {
            outlet.send(head).await?;
        }
        outlet.send(bytes).await?;
    }
    outlet.send(head.unwrap_or_default() + &boundary.closing()).await?;
    Ok(())
}

async fn send_range(record: Arc<OpenRecord>, range: Range<u64>, outlet: Outlet) -> Result<(), Stopped> {
    record.will_read(range.clone());
    for piece in pieces(range) {
        outlet.send(record.dataset_range(piece).await?).await?;
    }
    Ok(())
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send {
    let (start, end) = (range.start, range.end);
    let count = end.saturating_sub(start).div_ceil(PIECE_BYTES);
    (0..count).map(move |n| start + n * PIECE_BYTES..end.min(start + (n + 1) * PIECE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_without_gap() {
        for range in [0..0, 5..5, 7..8, 3..3 + PIECE_BYTES, 9..10 + 2 * PIECE_BYTES] {
            let mut next = range.start;
            for piece in pieces(range.clone()) {
                assert!(
                    piece.start == next && piece.end > piece.start && piece.end - piece.start <= PIECE_BYTES
                );
                next = piece.end;
            }
            assert_eq!(next, range.end);
        }
    }
}
