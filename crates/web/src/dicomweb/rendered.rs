//! Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): pictures for a browser, at every level.
//!
//! A study or a series is shown by one picture, of its middle; who takes parts is given one of every frame.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use filmgate_catalog::Location;
use filmgate_pipeline::{Picture, PictureFormat, Road};

use super::{
    Pairs,
    accept::{Accepted, Offer},
    instance_url,
    multipart::Boundary,
    picture::{self, Asked},
    reuse::{self, Tag},
    wado::{served, with_type},
};
use crate::{
    Error,
    router::App,
    streaming::{self, Outlet, Stopped},
};

/// What is to be shown.
struct Subject {
    instances: Vec<Location>,
    /// Frames of the one instance; without, the middle of all, or each of them.
    frames: Option<Vec<u32>>,
}

impl Subject {
    fn all_of(instances: Vec<Location>) -> Self {
        Self { instances, frames: None }
    }

    fn frames(instance: Location, numbers: Vec<u32>) -> Self {
        Self { instances: vec![instance], frames: Some(numbers) }
    }
}

/// A study.
pub(crate) async fn study(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let instances = app.road().catalog().instances_of_study(&study).await?;
    answer(&app, Subject::all_of(instances), &headers, &query, Asked::rendered(&query)?).await
}

/// A series.
pub(crate) async fn series(
    State(app): State<App>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let instances = app.road().catalog().instances_of_series(&study, &series).await?;
    answer(&app, Subject::all_of(instances), &headers, &query, Asked::rendered(&query)?).await
}

/// An instance.
pub(crate) async fn instance(
    State(app): State<App>,
    Path((study, series, instance)): Path<(String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let found = served(&app, &study, &series, &instance).await?;
    answer(&app, Subject::all_of(vec![found]), &headers, &query, Asked::rendered(&query)?).await
}

/// Frames.
pub(crate) async fn frames(
    State(app): State<App>,
    Path((study, series, instance, list)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let numbers = super::frames::numbers(&list)?;
    let found = served(&app, &study, &series, &instance).await?;
    answer(&app, Subject::frames(found, numbers), &headers, &query, Asked::rendered(&query)?).await
}

/// A small picture of a study.
pub(crate) async fn study_thumbnail(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let instances = app.road().catalog().instances_of_study(&study).await?;
    answer(&app, Subject::all_of(instances), &headers, &query, Asked::thumbnail(&query)?).await
}

/// A small picture of a series.
pub(crate) async fn series_thumbnail(
    State(app): State<App>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let instances = app.road().catalog().instances_of_series(&study, &series).await?;
    answer(&app, Subject::all_of(instances), &headers, &query, Asked::thumbnail(&query)?).await
}

/// A small picture of an instance.
pub(crate) async fn instance_thumbnail(
    State(app): State<App>,
    Path((study, series, instance)): Path<(String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let found = served(&app, &study, &series, &instance).await?;
    answer(&app, Subject::all_of(vec![found]), &headers, &query, Asked::thumbnail(&query)?).await
}

/// Small pictures of frames.
pub(crate) async fn frames_thumbnail(
    State(app): State<App>,
    Path((study, series, instance, list)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let numbers = super::frames::numbers(&list)?;
    let found = served(&app, &study, &series, &instance).await?;
    answer(&app, Subject::frames(found, numbers), &headers, &query, Asked::thumbnail(&query)?).await
}

async fn answer(
    app: &App,
    subject: Subject,
    headers: &HeaderMap,
    query: &Pairs,
    asked: Asked,
) -> Result<Response, Error> {
    let (multipart, format) = form(&Accepted::of(headers, query), &asked)?;
    let picture = asked.picture(format);
    if multipart {
        return each(app, subject, picture).await;
    }
    let frame = match subject.frames.as_deref() {
        None => None,
        Some([number]) => Some(*number),
        Some(_) => return Err(Error::NotAcceptable(SEVERAL.to_owned())),
    };
    let shown = match frame {
        Some(_) => subject.instances.into_iter().next().ok_or(Error::NotFound("image"))?,
        None => one_of(app, subject.instances).await?,
    };
    let road = app.road();
    let how = format!("{picture:?} {frame:?}");
    let tag = Tag::of(&[&shown.record_id.0, b"rendered", how.as_bytes()]);
    if let Some(unchanged) = reuse::unchanged(app, headers, &tag) {
        return Ok(unchanged);
    }
    let _permit = app.retrieve_turn().await?;
    let frame = match frame {
        Some(frame) => frame,
        None => middle(road.imaged(&shown).await?.frames.count),
    };
    let rendered = road.rendered(&shown, frame, picture).await?;
    let response = with_type(Body::from(rendered.bytes), format.media_type());
    Ok(reuse::tagged(app, response, &tag))
}

const SEVERAL: &str = r#"several frames are answered as multipart/related; type="image/jpeg""#;

/// The frame in the middle, which shows more than the first.
fn middle(frames: u32) -> u32 {
    frames / 2 + 1
}

/// The instance that stands for several: the one in the middle of the series with the most of them, if it shows anything, else
/// whichever does.
async fn one_of(app: &App, instances: Vec<Location>) -> Result<Location, Error> {
    let mut failed = None;
    for location in picture::order(instances) {
        match app.road().imaged(&location).await {
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
async fn each(app: &App, subject: Subject, picture: Picture) -> Result<Response, Error> {
    if subject.instances.is_empty() {
        return Err(Error::NotFound("image"));
    }
    let permit = app.retrieve_turn().await?;
    let boundary = Boundary::random(&app.web.random);
    let content_type = boundary.content_type(picture.format.media_type());
    let (road, stall) = (Arc::clone(app.road()), app.settings().retrieve_stall_timeout);
    let body = streaming::body(permit, stall, |outlet| send(road, subject, picture, boundary, outlet));
    let mut response = with_type(body.await?, &content_type);
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
    for location in subject.instances {
        let frames = match road.imaged(&location).await {
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
        for number in subject.frames.clone().unwrap_or_else(|| (1..=frames).collect()) {
            let rendered = road.rendered(&location, number, picture).await?;
            let place = format!("{url}/frames/{number}/rendered");
            outlet.send(boundary.part_head(first, rendered.format.media_type(), &place)).await?;
            outlet.send(rendered.bytes).await?;
            first = false;
        }
    }
    Ok(outlet.send(boundary.closing()).await?)
}
