//! WADO-URI (PS3.18 chapter 9): one instance, by a query string, as it is stored or as a picture.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use filmgate_catalog::Location;
use filmgate_pipeline::{Function, PictureFormat, Region, Viewport};

use super::{
    DICOM, Pairs,
    accept::Accepted,
    picture::{Asked, quality, window_of},
    reuse::{self, Tag},
    wado::{self, with_type},
};
use crate::{Error, router::App};

/// An instance.
pub(crate) async fn object(
    State(app): State<App>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let value = |name: &str| query.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str());
    if value("requestType") != Some("WADO") {
        return Err(Error::BadRequest("requestType must be WADO".to_owned()));
    }
    let Some(instance) = value("objectUID") else {
        return Err(Error::BadRequest("objectUID names the instance".to_owned()));
    };
    let found = app.road().catalog().served_instance(value("studyUID"), value("seriesUID"), instance).await?;
    let found = found.ok_or(Error::NotFound("instance"))?;
    match format(value("contentType"), app.road().imaged(&found).await.is_ok())? {
        None => {
            let syntax = value("transferSyntax").unwrap_or("*");
            let accepted = Accepted::parse(&format!("{DICOM}; transfer-syntax={syntax}"));
            wado::alone(&app, found, &headers, &accepted).await
        }
        Some(media_type) => picture(&app, &found, &headers, &query, media_type).await,
    }
}

/// `None` for the instance itself. What is not said is a picture of what shows something, and else the instance.
fn format(content_type: Option<&str>, shows: bool) -> Result<Option<&'static str>, Error> {
    let Some(asked) = content_type else {
        return Ok(shows.then_some("image/jpeg"));
    };
    let accepted = Accepted::parse(asked);
    for media_type in ["image/jpeg", "image/png"] {
        if accepted.accepts_any(&[media_type]) {
            return Ok(Some(media_type));
        }
    }
    if accepted.accepts_any(&[DICOM]) || asked.trim().starts_with(DICOM) {
        return Ok(None);
    }
    Err(Error::NotAcceptable(format!("contentType may be {DICOM}, image/jpeg or image/png")))
}

async fn picture(
    app: &App,
    found: &Location,
    headers: &HeaderMap,
    query: &Pairs,
    media_type: &'static str,
) -> Result<Response, Error> {
    let (asked, frame) = asked(app, found, query).await?;
    let format = match media_type {
        "image/png" => PictureFormat::Png,
        _ => PictureFormat::Jpeg(asked.quality),
    };
    let picture = asked.picture(format);
    let tag = Tag::of(&[&found.record_id.0, b"wado", format!("{picture:?} {frame}").as_bytes()]);
    if let Some(unchanged) = reuse::unchanged(app, headers, &tag) {
        return Ok(unchanged);
    }
    let _permit = app.retrieve_turn().await?;
    let rendered = app.road().rendered(found, frame, picture).await?;
    let mut response = with_type(Body::from(rendered.bytes), format.media_type());
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    Ok(reuse::tagged(app, response, &tag))
}

/// Rendering parameters by their older names (PS3.18 9.1.2.2).
async fn asked(app: &App, found: &Location, query: &Pairs) -> Result<(Asked, u32), Error> {
    let value = |name: &str| query.iter().find(|(have, _)| have == name).map(|(_, value)| value.trim());
    let number = |name: &str| match value(name) {
        None => Ok(None),
        Some(text) => match text.parse::<u32>().ok().filter(|number| *number > 0) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::BadRequest(format!("{name} must be a number from 1"))),
        },
    };
    let mut asked = Asked::plain();
    if let Some(text) = value("imageQuality") {
        asked.quality = quality(text)?;
    }
    match (value("windowCenter"), value("windowWidth")) {
        (Some(center), Some(width)) => asked.window = Some(window_of(center, width, Function::Linear)?),
        (None, None) => {}
        _ => {
            return Err(Error::BadRequest("windowCenter and windowWidth go together".to_owned()));
        }
    }
    let (rows, columns) = (number("rows")?, number("columns")?);
    let region = value("region").map(region).transpose()?;
    if rows.is_some() || columns.is_some() || region.is_some() {
        let imaged = app.road().imaged(found).await?;
        let scaled = |[left, top, right, bottom]: [f64; 4]| {
            let (width, height) = (f64::from(imaged.image.columns), f64::from(imaged.image.rows));
            Region {
                x: left * width,
                y: top * height,
                width: (right - left) * width,
                height: (bottom - top) * height,
            }
        };
        let side = |asked: Option<u32>, own: u32| asked.unwrap_or(own).min(super::picture::SIDE_MAX);
        asked.viewport = Some(Viewport {
            width: side(columns, imaged.image.columns),
            height: side(rows, imaged.image.rows),
            region: region.map(scaled),
        });
    }
    Ok((asked, number("frameNumber")?.unwrap_or(1)))
}

/// Left, upper, right and lower edge, as shares of the image.
fn region(text: &str) -> Result<[f64; 4], Error> {
    let shares: Vec<f64> = text.split(',').filter_map(|share| share.trim().parse().ok()).collect();
    match <[f64; 4]>::try_from(shares) {
        Ok(region @ [left, top, right, bottom])
            if region.iter().all(|share| (0.0..=1.0).contains(share)) && left < right && top < bottom =>
        {
            Ok(region)
        }
        _ => Err(Error::BadRequest(
            "region must be left,upper,right,lower, each from 0 to 1 and each pair in order".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_lies_in_the_image() {
        assert_eq!(region("0,0.25,1,0.75").expect("a region"), [0.0, 0.25, 1.0, 0.75]);
        for wrong in ["", "0,0,1", "0,0,1,2", "0.5,0,0.5,1", "a,0,1,1", "0,0,1,1,1"] {
            assert!(region(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_said_is_a_picture_of_what_shows_something() {
        assert_eq!(format(None, true).expect("a form"), Some("image/jpeg"));
        assert_eq!(format(None, false).expect("a form"), None);
        assert_eq!(format(Some("application/dicom"), true).expect("a form"), None);
        assert_eq!(format(Some("image/png"), true).expect("a form"), Some("image/png"));
        assert!(format(Some("video/mpeg"), true).is_err());
    }
}
