//! Instances (PS3.18 10.4.1.1.1): as they are stored where the client takes that, else in the syntax it asks for. Each SOP Instance UID
//! once.

use std::{cmp::Reverse, collections::BTreeSet, iter, pin::pin, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_pipeline::{FrameSyntax, OpenRecord, Road, Transcoded};
use futures::{StreamExt, future, stream};

use super::{
    DICOM,
    accept::{Accepted, Offer},
    asking::Asking,
    instance_url,
    multipart::Boundary,
    named::Named,
    reuse::Tag,
};
use crate::{
    Error,
    extract::Path,
    still_shown::StillShown,
    streaming::{Outlet, Stopped},
};

/// Instances of an answer that are at work at a time: one leaves while the next is opened.
const BEGUN_AT_ONCE: usize = 2;

/// All instances of a study or a series, or one.
pub(crate) async fn instances(Path(named): Path<Named>, asking: Asking) -> Result<Response, Error> {
    let found = named.instances(&asking.app).await?;
    let made = made_of(&asking, &found).await;
    if !in_parts(&found, named.is_instance(), &asking.accepted, made)?
        && let Some(instance) = found.first()
    {
        return alone(&asking, instance.clone()).await;
    }
    let chosen = found.into_iter().map(|instance| {
        let forms = forms(&instance, true, &asking.accepted, made).into_iter().map(|(_, syntax)| syntax);
        (forms.collect(), instance)
    });
    let (road, chosen) = (Arc::clone(asking.road()), chosen.collect());
    let boundary = asking.boundary();
    let content_type = boundary.content_type(DICOM);
    let (turn, level) = (asking.turn().await?, named.level());
    let body = asking.body(turn, |outlet| send_parts(road, chosen, level, boundary, outlet)).await?;
    Ok(with_type(body, &content_type))
}

/// One instance, without parts around it.
pub(super) async fn alone(asking: &Asking, instance: Location) -> Result<Response, Error> {
    let made = made_of(asking, std::slice::from_ref(&instance)).await;
    let (quality, syntax) = form(&instance, false, &asking.accepted, made);
    if quality == 0 {
        return Err(not_acceptable(true, &[&instance.transfer_syntax_uid], &asking.accepted));
    }
    let uid = match syntax {
        FrameSyntax::Stored => instance.transfer_syntax_uid.as_str(),
        FrameSyntax::As(uid) => uid,
    };
    let tag = Tag::of(&[&instance.record_id.0, b"instance", uid.as_bytes()]);
    if let Some(unchanged) = asking.unchanged(&tag) {
        return Ok(unchanged);
    }
    let turn = asking.turn().await?;
    let response = match syntax {
        FrameSyntax::Stored => {
            let record = asking.road().open_found(&instance).await?;
            let bytes = record.dataset_bytes().saturating_add(record.file_head().len() as u64);
            let content_type = dicom_type(record.transfer_syntax_uid());
            let send = |outlet| async move { send_file(&record, "", &outlet).await };
            let mut response = with_type(asking.body(turn, send).await?, &content_type);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
            response
        }
        FrameSyntax::As(uid) => {
            let transcoded = asking.road().transcoded(&instance, uid).await?;
            let content_type = dicom_type(transcoded.transfer_syntax_uid());
            let send = |outlet| async move { send_transcoded(transcoded, "", &outlet).await };
            with_type(asking.body(turn, send).await?, &content_type)
        }
    };
    Ok(asking.tagged(response, &tag))
}

/// What instances can be written in. Where there is one that would be, it is looked at its samples.
async fn made_of(asking: &Asking, instances: &[Location]) -> &'static [&'static str] {
    const ALL: &[&str] = &FrameSyntax::ENCODED;
    let is_written = |instance: &Location| {
        [true, false].iter().any(|multipart| {
            matches!(form(instance, *multipart, &asking.accepted, ALL).1, FrameSyntax::As(_))
        })
    };
    if let [instance] = instances
        && is_written(instance)
        && let Ok(imaged) = asking.road().imaged(instance).await
    {
        return FrameSyntax::encoded_of(&imaged.image);
    }
    ALL
}

/// How much an instance is wanted, and in which syntax: as it is stored among equals.
fn form(
    instance: &Location,
    multipart: bool,
    accepted: &Accepted,
    made: &[&'static str],
) -> (u16, FrameSyntax) {
    forms(instance, multipart, accepted, made).first().copied().unwrap_or((0, FrameSyntax::Stored))
}

/// The syntaxes an instance is wanted in, each with how much, the most wanted first and as it is stored among equals.
fn forms(
    instance: &Location,
    multipart: bool,
    accepted: &Accepted,
    made: &[&'static str],
) -> Vec<(u16, FrameSyntax)> {
    let quality =
        |syntax| accepted.quality(Offer { multipart, media_type: DICOM, transfer_syntax: Some(syntax) });
    let made = if filmgate_pixels::can_decode(&instance.transfer_syntax_uid) { made } else { &[] };
    let stored = (quality(&instance.transfer_syntax_uid), FrameSyntax::Stored);
    let others = made.iter().map(|uid| (quality(uid), FrameSyntax::As(uid)));
    let mut forms: Vec<_> = iter::once(stored).chain(others).filter(|(quality, _)| *quality > 0).collect();
    forms.sort_by_key(|(quality, _)| Reverse(*quality));
    forms
}

/// Whether the answer comes in parts; a 406 when an instance cannot be given as it is accepted.
fn in_parts(
    instances: &[Location],
    one: bool,
    accepted: &Accepted,
    made: &[&'static str],
) -> Result<bool, Error> {
    // An answer is wanted as much as the least wanted of its instances.
    let quality = |multipart| {
        let each = instances.iter().map(|instance| form(instance, multipart, accepted, made).0);
        each.min().unwrap_or(0)
    };
    let (parts, single) = (quality(true), if one { quality(false) } else { 0 });
    if parts.max(single) > 0 {
        return Ok(parts >= single);
    }
    let stored: BTreeSet<&str> =
        instances.iter().map(|instance| instance.transfer_syntax_uid.as_str()).collect();
    Err(not_acceptable(one, &stored.into_iter().collect::<Vec<_>>(), accepted))
}

fn not_acceptable(one: bool, stored: &[&str], accepted: &Accepted) -> Error {
    let any_syntax = [true, false]
        .into_iter()
        .filter(|multipart| *multipart || one)
        .any(|multipart| accepted.quality(Offer { multipart, media_type: DICOM, transfer_syntax: None }) > 0);
    let single = if one { ", or application/dicom" } else { "" };
    Error::NotAcceptable(if any_syntax {
        format!(
            "instances are answered as stored, here in {}, or where they can be decoded in {}: accept one of these, or \
             transfer-syntax=*",
            stored.join(", "),
            FrameSyntax::ENCODED.join(", ")
        )
    } else {
        format!(
            r#"this is answered as multipart/related; type="application/dicom"; transfer-syntax=*{single}"#
        )
    })
}

async fn send_parts(
    road: Arc<Road>,
    instances: Vec<(Vec<FrameSyntax>, Location)>,
    level: &'static str,
    boundary: Boundary,
    outlet: Outlet,
) -> Result<(), Stopped> {
    let is_alone = instances.len() == 1;
    let mut still_shown = StillShown::new(instances.iter().map(|(_, instance)| instance.record_id));
    let by = &road;
    let open = |(forms, instance): (Vec<FrameSyntax>, Location)| async move {
        let begun = begin(by, &forms, &instance, is_alone).await;
        (instance, begun)
    };
    let mut begun = pin!(stream::iter(instances).map(open).buffered(BEGUN_AT_ONCE));
    let mut is_first = true;
    while let Some((instance, opened)) = begun.next().await {
        if !still_shown.next(&road).await? {
            continue;
        }
        let location = instance_url(
            &instance.study_instance_uid,
            &instance.series_instance_uid,
            &instance.sop_instance_uid,
        );
        let head = |uid: &str| boundary.part_head(is_first, &dicom_type(uid), &location);
        match opened? {
            Begun::Stored(record, first) => {
                send_begun(&record, first, &head(record.transfer_syntax_uid()), &outlet).await?;
            }
            Begun::Transcoded(transcoded) => {
                let head = head(transcoded.transfer_syntax_uid());
                send_transcoded(*transcoded, &head, &outlet).await?;
            }
        }
        is_first = false;
    }
    if is_first {
        return Err(Error::NotFound(level).into());
    }
    Ok(outlet.send(boundary.closing()).await?)
}

/// An instance of which the first bytes are at hand.
enum Begun {
    Stored(OpenRecord, Vec<Bytes>),
    Transcoded(Box<Transcoded>),
}

/// Begins an instance in the most wanted of the syntaxes its samples can be in.
async fn begin(
    road: &Arc<Road>,
    forms: &[FrameSyntax],
    instance: &Location,
    is_alone: bool,
) -> Result<Begun, filmgate_pipeline::Error> {
    for form in forms {
        let FrameSyntax::As(uid) = form else { return begin_stored(road, instance).await };
        // The form of one that is alone was chosen by its samples.
        if !is_alone && !can_be_in(road, instance, uid).await {
            continue;
        }
        match road.transcoded(instance, uid).await {
            Ok(transcoded) => return Ok(Begun::Transcoded(Box::new(transcoded))),
            // Damaged pixels among others: better as they are, and said to be so, than nothing of the rest.
            Err(filmgate_pipeline::Error::Pixels(error)) if !is_alone => {
                tracing::warn!(record_id = %instance.record_id, %error, "an instance cannot be decoded: it goes as stored");
                return begin_stored(road, instance).await;
            }
            Err(error) => return Err(error),
        }
    }
    if !forms.is_empty() {
        tracing::warn!(record_id = %instance.record_id, "an instance cannot be in any syntax that is accepted: it goes as stored");
    }
    begin_stored(road, instance).await
}

async fn begin_stored(road: &Arc<Road>, instance: &Location) -> Result<Begun, filmgate_pipeline::Error> {
    let record = road.open_found(instance).await?;
    let first = first_chunks(&record).await?;
    Ok(Begun::Stored(record, first))
}

/// True where the samples of an instance fit a syntax, and where nobody knows.
async fn can_be_in(road: &Arc<Road>, instance: &Location, uid: &str) -> bool {
    let Ok(imaged) = road.imaged(instance).await else { return true };
    FrameSyntax::encoded_of(&imaged.image).contains(&uid)
}

/// Sends an instance that is written anew, with something before it.
async fn send_transcoded(mut transcoded: Transcoded, before: &str, outlet: &Outlet) -> Result<(), Stopped> {
    let mut before = Some(before.as_bytes().to_vec());
    while let Some(bytes) = transcoded.next().await? {
        if let Some(before) = before.take().filter(|before| !before.is_empty()) {
            outlet.send(before).await?;
        }
        if !bytes.is_empty() {
            outlet.send(bytes).await?;
        }
    }
    Ok(())
}

/// Sends a record as a Part 10 file with something before it; nothing leaves before the first chunk has opened.
pub(crate) async fn send_file(record: &OpenRecord, before: &str, outlet: &Outlet) -> Result<(), Stopped> {
    let first = first_chunks(record).await?;
    send_begun(record, first, before, outlet).await
}

async fn first_chunks(record: &OpenRecord) -> Result<Vec<Bytes>, filmgate_pipeline::Error> {
    record.will_read(0..u64::MAX);
    record.next_chunks(0).await
}

/// The same of a record whose first chunks have been opened. The next ones are while these leave.
async fn send_begun(
    record: &OpenRecord,
    first: Vec<Bytes>,
    before: &str,
    outlet: &Outlet,
) -> Result<(), Stopped> {
    let head = [before.as_bytes(), &record.file_head()].concat();
    if !head.is_empty() {
        outlet.send(head).await?;
    }
    let (mut chunks, mut number) = (first, 0);
    while !chunks.is_empty() {
        number += chunks.len();
        let leave = async {
            for chunk in chunks {
                outlet.send(chunk).await?;
            }
            Ok::<_, Stopped>(())
        };
        let (left, next) = future::join(leave, record.next_chunks(number)).await;
        left?;
        chunks = next?;
    }
    Ok(())
}

/// The media type of an instance in a transfer syntax (PS3.18 8.7.3.5).
pub(crate) fn dicom_type(transfer_syntax_uid: &str) -> String {
    let uid = transfer_syntax_uid;
    let plain = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { format!("{DICOM}; transfer-syntax={uid}") } else { DICOM.to_owned() }
}

/// A body with its media type.
pub(crate) fn with_type(body: Body, content_type: &str) -> Response {
    let value = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(super::OCTET_STREAM));
    ([(header::CONTENT_TYPE, value)], body).into_response()
}
