//! Bulk data by the path its metadata names (PS3.18 10.4.1.1.5).

use std::{ops::Range, sync::Arc};

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use filmgate_catalog::Location;
use filmgate_model::{transfer_syntax::EXPLICIT_VR_BIG_ENDIAN, uids};
use filmgate_pipeline::OpenRecord;
use serde::Deserialize;

use super::{
    OCTET_STREAM,
    accept::{Accepted, Offer, QUALITY_MAX},
    asking::Asking,
    document, frames, instance_url,
    multipart::Boundary,
    named::Named,
    reuse::Tag,
    syntaxes,
    wado::with_type,
};
use crate::{
    Error,
    extract::Path,
    streaming::{Outlet, Stopped},
};

/// Bytes opened at one time.
const PIECE_BYTES: u64 = 1024 * 1024;

/// Values that are the samples of an image.
const PIXELS: [&str; 3] = ["7FE00010", "7FE00008", "7FE00009"];

/// A single part where either will do: metadata names one value. Samples are in a transfer syntax, other values in none.
fn offers(path: &str) -> [Offer<'static>; 2] {
    let transfer_syntax = PIXELS.contains(&path).then_some(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    [false, true].map(|multipart| Offer { multipart, media_type: OCTET_STREAM, transfer_syntax })
}

/// Where in the instance: what stands behind `bulkdata/`.
#[derive(Deserialize)]
pub(crate) struct Within {
    path: String,
}

/// One bulk value of an instance.
pub(crate) async fn bulk_value(
    Path(named): Path<Named>,
    Path(Within { path }): Path<Within>,
    asking: Asking,
) -> Result<Response, Error> {
    let found = named.instance(&asking.app).await?;
    let record = Arc::new(asking.road().open_found(&found).await?);
    let value = record.bulk_value(&path);
    let instance =
        instance_url(&found.study_instance_uid, &found.series_instance_uid, &found.sop_instance_uid);
    let location = format!("{instance}/bulkdata/{path}");
    if let Some(document) = document::of(asking.road(), &found, &record, value.as_ref(), &path).await?
        && let Some(answer) = document.answer(&asking, &record, &location).await?
    {
        return Ok(answer);
    }
    let value = value.ok_or(Error::NotFound("bulk data"))?;
    if value.encapsulated || goes_by_frames(&asking, &found, &record, &path).await {
        return frames::all(&asking, found).await;
    }
    let offer = offer_for(&record, &path, &asking.accepted)?;
    let tag = Tag::of(&[&found.record_id.0, b"bulkdata", path.as_bytes()]);
    if let Some(unchanged) = asking.unchanged(&tag) {
        return Ok(unchanged);
    }
    let turn = asking.turn().await?;
    if !offer.multipart {
        let bytes = value.range.end - value.range.start;
        let body = asking.body(turn, |outlet| send_range(record, value.range, outlet)).await?;
        let mut response = with_type(body, OCTET_STREAM);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        return Ok(asking.tagged(response, &tag));
    }
    let boundary = asking.boundary();
    let content_type = boundary.content_type(OCTET_STREAM);
    let head = boundary.part_head(true, OCTET_STREAM, &location);
    let send = |outlet| send_part(record, value.range, head, boundary, outlet);
    let body = asking.body(turn, send).await?;
    Ok(asking.tagged(with_type(body, &content_type), &tag))
}

/// True where the frames of an image are wanted more than the value they are in: as what they can be made into.
async fn goes_by_frames(asking: &Asking, found: &Location, record: &OpenRecord, path: &str) -> bool {
    let accepted = &asking.accepted;
    let of_value = offer_for(record, path, accepted).map_or(0, |offer| accepted.quality(offer));
    if of_value == QUALITY_MAX || !PIXELS.contains(&path) {
        return false;
    }
    let Ok(imaged) = asking.road().imaged(found).await else { return false };
    let (stored, made) = (&imaged.transfer_syntax_uid, syntaxes::made_of(&imaged));
    let chosen = syntaxes::choose(accepted, stored, made, imaged.frames.count == 1);
    chosen.is_ok_and(|chosen| chosen.quality > of_value)
}

/// The form to answer in. What would have to be changed on the way out is refused with a reason.
fn offer_for(record: &OpenRecord, path: &str, accepted: &Accepted) -> Result<Offer<'static>, Error> {
    // Bulk data is little endian (PS3.18 8.7.3.6); whole instances are answered as stored.
    if record.transfer_syntax_uid() == EXPLICIT_VR_BIG_ENDIAN {
        let why =
            "bulk data of a big endian instance is answered with its instance only, and samples as frames";
        return Err(Error::NotAcceptable(why.to_owned()));
    }
    accepted.best(&offers(path)).ok_or_else(|| {
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
    for piece in pieces(&record, range) {
        let some = record.value_pieces(piece).await?;
        if let Some(head) = head.take() {
            outlet.send(head).await?;
        }
        outlet.send_all(some).await?;
    }
    outlet.send(head.unwrap_or_default() + &boundary.closing()).await?;
    Ok(())
}

async fn send_range(record: Arc<OpenRecord>, range: Range<u64>, outlet: Outlet) -> Result<(), Stopped> {
    record.will_read(range.clone());
    for piece in pieces(&record, range) {
        outlet.send_all(record.value_pieces(piece).await?).await?;
    }
    Ok(())
}

/// A deflated dataset is inflated from its beginning for every piece: there it is one.
pub(super) fn pieces(
    record: &OpenRecord,
    range: Range<u64>,
) -> impl Iterator<Item = Range<u64>> + Send + use<> {
    let piece_bytes = if record.is_deflated() { u64::MAX } else { PIECE_BYTES };
    cut(range, piece_bytes)
}

fn cut(range: Range<u64>, piece_bytes: u64) -> impl Iterator<Item = Range<u64>> + Send {
    let (start, end) = (range.start, range.end);
    let count = end.saturating_sub(start).div_ceil(piece_bytes);
    (0..count).map(move |n| {
        let from = start + n * piece_bytes;
        from..end.min(from.saturating_add(piece_bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_without_gap() {
        for range in [0..0, 5..5, 7..8, 3..3 + PIECE_BYTES, 9..10 + 2 * PIECE_BYTES] {
            let mut next = range.start;
            for piece in cut(range.clone(), PIECE_BYTES) {
                assert!(
                    piece.start == next && piece.end > piece.start && piece.end - piece.start <= PIECE_BYTES
                );
                next = piece.end;
            }
            assert_eq!(next, range.end);
        }
    }
}
