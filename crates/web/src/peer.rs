//! What another node of the site fetches: records that only this one holds, sealed as they are.

use std::ops::Range;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use filmgate_model::RecordId;
use filmgate_pipeline::HELD_RANGE_BYTES_MAX;

use crate::{Error, api::record_id, extract::Path, router::App, streaming};

/// Bytes read and handed over at a time.
const PIECE_BYTES: u64 = 256 << 10;

/// A range of a sealed record.
pub(crate) async fn sealed(
    State(app): State<App>,
    Path(record): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (record_id, range) = (record_id(&record)?, range(&headers)?);
    let permit = app.peer_turn().await?;
    let record = app.road().held(record_id).await?;
    let record_bytes = record.table().record_bytes;
    if range.end > record_bytes {
        return Err(Error::BadRequest(format!("the record ends at byte {record_bytes}")));
    }
    let (stall, mut start, end) = (app.settings().retrieve_stall_timeout, range.start, range.end);
    let body = streaming::body(permit, stall, |outlet| async move {
        while start < end {
            let piece = start..end.min(start + PIECE_BYTES);
            start = piece.end;
            outlet.send(record.sealed(piece).await?).await?;
        }
        Ok(())
    });
    Ok(partial(&range, body.await?))
}

/// A record's length, and its key wrapped for a node of this site.
pub(crate) async fn key(
    State(app): State<App>,
    Path(record): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (record_id, range): (RecordId, _) = (record_id(&record)?, range(&headers)?);
    let _turn = app.peer_turn().await?;
    let key = app.road().held_key(record_id).await?;
    if range.end != key.len() as u64 || range.start != 0 {
        return Err(Error::BadRequest("a key is given as a whole".to_owned()));
    }
    Ok(partial(&range, key.into()))
}

fn partial(range: &Range<u64>, body: Body) -> Response {
    let told = format!("bytes {}-{}/*", range.start, range.end.saturating_sub(1));
    let length = (range.end - range.start).to_string();
    let headers = [(header::CONTENT_RANGE, told), (header::CONTENT_LENGTH, length)];
    (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
}

/// The one range that is asked for: `bytes=first-last` (RFC 9110 14.1.2).
fn range(headers: &HeaderMap) -> Result<Range<u64>, Error> {
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = asked.and_then(|asked| {
        let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let end = last.checked_add(1)?;
        (first < end && end - first <= HELD_RANGE_BYTES_MAX).then_some(first..end)
    });
    range.ok_or_else(|| Error::BadRequest("ask for a range of bytes, such as Range: bytes=0-99".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bounded_length_is_taken() {
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RANGE, text.parse().expect("a header"))]);
            range(&headers).ok()
        };
        assert_eq!(asked("bytes=0-0"), Some(0..1));
        assert_eq!(asked("bytes=5-9"), Some(5..10));
        for refused in
            ["bytes=5-4", "bytes=5-", "bytes=-5", "bytes=0-1,3-4", "bytes=0-18446744073709551615", "0-1"]
        {
            assert_eq!(asked(refused), None, "{refused}");
        }
        assert_eq!(asked(&format!("bytes=0-{HELD_RANGE_BYTES_MAX}")), None, "longer than is given at once");
        assert!(range(&HeaderMap::new()).is_err());
    }
}
