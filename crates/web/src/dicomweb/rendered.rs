//! Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): pictures for a browser, at every level.
//!
//! A study or a series is shown by one picture, of its middle; who takes parts is given one of every frame. A presentation state is
//! shown by the images it is for.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use filmgate_catalog::Location;
use filmgate_pipeline::{Picture, PictureFormat, Road};

use super::{
    accept::{Accepted, Offer},
    asking::Asking,
    instance_url,
    multipart::Boundary,
    named::Named,
    picture::{self, Asked},
    reuse::Tag,
    subject::Subject,
    wado::with_type,
};
use crate::{
    Error,
    extract::Path,
    streaming::{Outlet, Stopped},
};

/// A picture of a study, a series, an instance or a frame; or one of each frame.
pub(crate) async fn rendered(Path(named): Path<Named>, asking: Asking) -> Result<Response, Error> {
    answer(&asking, &named, &Asked::rendered(&asking.query)?).await
}

/// The same, small.
pub(crate) async fn thumbnail(Path(named): Path<Named>, asking: Asking) -> Result<Response, Error> {
    answer(&asking, &named, &Asked::thumbnail(&asking.query)?).await
}

async fn answer(asking: &Asking, named: &Named, asked: &Asked) -> Result<Response, Error> {
    let subject = Subject::of(asking, named, asked).await?;
    let (multipart, format) = form(&asking.accepted, asked)?;
    let picture = asked.picture(format, subject.state.clone());
    if multipart {
        return each(asking, subject, picture).await;
    }
    let frame = match subject.frames.as_deref() {
        None => None,
        Some([number]) => Some(*number),
        Some(_) => return Err(Error::NotAcceptable(SEVERAL.to_owned())),
    };
    let road = asking.road();
    let shown = one_of(road, &subject).await?;
    let how = format!("{picture:?} {frame:?}");
    let tag = Tag::of(&[&shown.record_id.0, b"rendered", how.as_bytes(), road.texts().told().as_bytes()]);
    if let Some(unchanged) = asking.unchanged(&tag) {
        return Ok(unchanged);
    }
    let _turn = asking.turn().await?;
    let frame = match frame {
        Some(frame) => frame,
        None => {
            let frames = subject.frames_of(&shown, road.imaged(&shown).await?.frames.count);
            // The middle shows more than the first.
            frames.get(frames.len() / 2).copied().ok_or(Error::NotFound("frame"))?
        }
    };
    let rendered = road.rendered(&shown, frame, picture).await?;
    let response = with_type(Body::from(rendered.bytes), format.media_type());
    Ok(asking.tagged(response, &tag))
}

const SEVERAL: &str = r#"several frames are answered as multipart/related; type="image/jpeg""#;

/// The instance that stands for several: the one in the middle of the series with the most of them, if it shows anything, else
/// whichever does.
async fn one_of(road: &Arc<Road>, subject: &Subject) -> Result<Location, Error> {
    if let ([instance], Some(_)) = (subject.instances.as_slice(), &subject.frames) {
        return Ok(instance.clone());
    }
    let mut failed = None;
    for location in picture::order(subject.instances.clone()) {
        match road.imaged(&location).await {
            Ok(_) => return Ok(location),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.map_or(Error::NotFound("image"), Error::Road))
}

/// In parts or alone, and as what.
fn form(accepted: &Accepted, asked: &Asked) -> Result<(bool, PictureFormat), Error> {
    let offer = |multipart, media_type| Offer { multipart, media_type, transfer_syntax: None };
    let offers = [
        offer(false, "image/jpeg"),
        offer(false, "image/png"),
        offer(true, "image/jpeg"),
        offer(true, "image/png"),
    ];
    let Some(best) = accepted.best(&offers) else {
        return Err(Error::NotAcceptable("pictures are answered as image/jpeg or image/png".to_owned()));
    };
    let format = match best.media_type {
        "image/png" => PictureFormat::Png,
        _ => PictureFormat::Jpeg(asked.quality),
    };
    Ok((best.multipart, format))
}

/// A picture of every frame, in parts.
async fn each(asking: &Asking, subject: Subject, picture: Picture) -> Result<Response, Error> {
    let (turn, boundary) = (asking.turn().await?, asking.boundary());
    let content_type = boundary.content_type(picture.format.media_type());
    let road = Arc::clone(asking.road());
    let body = asking.body(turn, |outlet| send(road, subject, picture, boundary, outlet)).await?;
    let mut response = with_type(body, &content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

async fn send(
    road: Arc<Road>,
    subject: Subject,
    picture: Picture,
    boundary: Boundary,
    outlet: Outlet,
) -> Result<(), Stopped> {
    let mut first = true;
    let only = subject.instances.len() == 1;
    for location in &subject.instances {
        let count = match road.imaged(location).await {
            Ok(imaged) => imaged.frames.count,
            // What shows nothing stands between images in a study.
            Err(error) if error.is_no_image() && !only => continue,
            Err(error) => return Err(error.into()),
        };
        let url = instance_url(
            &location.study_instance_uid,
            &location.series_instance_uid,
            &location.sop_instance_uid,
        );
        for number in subject.frames_of(location, count) {
            let rendered = road.rendered(location, number, picture.clone()).await?;
            let place = format!("{url}/frames/{number}/rendered");
            outlet.send(boundary.part_head(first, rendered.format.media_type(), &place)).await?;
            outlet.send(rendered.bytes).await?;
            first = false;
        }
    }
    Ok(outlet.send(boundary.closing()).await?)
}
