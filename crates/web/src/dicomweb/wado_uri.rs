//! WADO-URI (PS3.18 chapter 9): one instance, by a query string, as it is stored or as a picture.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use filmgate_catalog::Location;
use filmgate_model::{tags, transfer_syntax::EXPLICIT_VR_BIG_ENDIAN, uids};
use filmgate_pipeline::{Function, PictureFormat, PresentationState, Region, Viewport};

use super::{
    DICOM,
    accept::Accepted,
    asking::Asking,
    picture::{Asked, annotation, overlays, quality, window_of},
    reuse::Tag,
    subject,
    wado::{self, with_type},
};
use crate::{Error, routes::Parameter};

/// What a request says (PS3.18 9.1.2).
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter::words("requestType", "what this is", &["WADO"]).required(),
    Parameter::text("objectUID", "SOP Instance UID").required(),
    Parameter::text("studyUID", "Study Instance UID"),
    Parameter::text("seriesUID", "Series Instance UID"),
    Parameter::text(
        "contentType",
        "application/dicom, image/jpeg or image/png; without, a picture of what shows something",
    ),
    Parameter::text(
        "transferSyntax",
        "of application/dicom; without, and where it cannot be had, explicit VR little endian; ours is *, as it is stored",
    ),
    Parameter::whole("frameNumber", "of the picture, from 1", 1, u32::MAX as u64),
    Parameter::whole("rows", "of the picture", 1, u32::MAX as u64),
    Parameter::whole("columns", "of the picture", 1, u32::MAX as u64),
    Parameter::text("region", "left,upper,right,lower of the part to show, each a share from 0 to 1"),
    Parameter::text("windowCenter", "goes with windowWidth"),
    Parameter::text("windowWidth", "goes with windowCenter"),
    Parameter::whole("imageQuality", "of a JPEG", 1, 100),
    Parameter::text("annotation", "patient, technique or both: words in the picture"),
    Parameter::text(
        "presentationUID",
        "SOP Instance UID of a presentation state of the same study; without window and region",
    ),
    Parameter::text("presentationSeriesUID", "its Series Instance UID"),
    Parameter::flag("overlays", "the image's own overlays are drawn; ours, not the standard's"),
];

/// An instance.
pub(crate) async fn object(asking: Asking) -> Result<Response, Error> {
    if asking.value("requestType") != Some("WADO") {
        return Err(Error::BadRequest("requestType must be WADO".to_owned()));
    }
    let Some(instance) = asking.value("objectUID") else {
        return Err(Error::BadRequest("objectUID names the instance".to_owned()));
    };
    let found = found(&asking, instance).await?.ok_or(Error::NotFound("instance"))?;
    match format(asking.value("contentType"), asking.road().imaged(&found).await.is_ok())? {
        None => {
            let accepted = in_syntax(asking.value("transferSyntax"))?;
            wado::alone(&Asking { accepted, ..asking }, found).await
        }
        Some(media_type) => picture(&asking, &found, media_type).await,
    }
}

/// The instance, in a study that may be read: a request need not name one (PS3.18 9.1.2.2), and several may have it.
async fn found(asking: &Asking, instance: &str) -> Result<Option<Location>, Error> {
    let (study, series) = (asking.value("studyUID"), asking.value("seriesUID"));
    let catalog = asking.road().catalog();
    let Some(readable) = asking.readable.only() else {
        return Ok(catalog.served_instance(study, series, instance).await?);
    };
    if study.is_some_and(|study| !readable.contains(study)) {
        return Ok(None);
    }
    let readable = catalog.query().of_studies(readable.iter().cloned());
    let mut query = readable.matching(tags::SOP_INSTANCE_UID, instance)?.page(1, 0);
    if let Some(study) = study {
        query = query.within_study(study);
    }
    let rows = catalog.search_instances(&query).await?.rows;
    let Some(row) = rows.first().filter(|row| row.sop_instance_uid == instance) else { return Ok(None) };
    Ok(catalog.served_instance(Some(&row.study_instance_uid), series, instance).await?)
}

/// By itself, and where the one that is asked for cannot be had, an instance is in explicit VR little endian; in implicit VR and big
/// endian it never is (PS3.18 9.1.2). What cannot be decoded comes as it is stored; ours is `*`, which asks for that.
fn in_syntax(asked: Option<&str>) -> Result<Accepted, Error> {
    let is_uid = |uid: &str| uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let range = |uid: &str, weight: &str| format!("{DICOM}; transfer-syntax={uid}; q={weight}");
    let fallback = [range(uids::EXPLICIT_VR_LITTLE_ENDIAN, "0.5"), range("*", "0.1")];
    let ranges = match asked {
        Some("*") => range("*", "1"),
        None | Some("" | uids::IMPLICIT_VR_LITTLE_ENDIAN | EXPLICIT_VR_BIG_ENDIAN) => fallback.join(","),
        Some(uid) if is_uid(uid) => [&[range(uid, "1")][..], &fallback].concat().join(","),
        Some(_) => return Err(Error::BadRequest("transferSyntax must be a UID".to_owned())),
    };
    Ok(Accepted::parse(&ranges))
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

async fn picture(asking: &Asking, found: &Location, media_type: &'static str) -> Result<Response, Error> {
    let asked = asked(asking, found).await?;
    let frame = number(asking, "frameNumber")?.unwrap_or(1);
    let state = state(asking, found, &asked, frame).await?;
    let format = match media_type {
        "image/png" => PictureFormat::Png,
        _ => PictureFormat::Jpeg(asked.quality),
    };
    let picture = asked.picture(format, state);
    let (road, how) = (asking.road(), format!("{picture:?} {frame}"));
    let tag = Tag::of(&[&found.record_id.0, b"wado", how.as_bytes(), road.texts().told().as_bytes()]);
    if let Some(unchanged) = asking.unchanged(&tag) {
        return Ok(unchanged);
    }
    let _turn = asking.turn().await?;
    let rendered = road.rendered(found, frame, picture).await?;
    let mut response = with_type(Body::from(rendered.bytes), format.media_type());
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    Ok(asking.tagged(response, &tag))
}

/// The presentation state to show it by; named by both of its UIDs.
async fn state(
    asking: &Asking,
    found: &Location,
    asked: &Asked,
    frame: u32,
) -> Result<Option<Arc<PresentationState>>, Error> {
    let (series, uid) = match (asking.value("presentationSeriesUID"), asking.value("presentationUID")) {
        (None, None) => return Ok(None),
        (Some(series), Some(uid)) => (series, uid),
        _ => {
            let why = "presentationUID and presentationSeriesUID go together";
            return Err(Error::BadRequest(why.to_owned()));
        }
    };
    asked.leaves_to_a_state()?;
    let state = subject::state_in(asking.road(), &found.study_instance_uid, Some(series), uid).await?;
    match state.is_for_frame(&found.sop_instance_uid, frame) {
        true => Ok(Some(state)),
        false => Err(subject::for_others()),
    }
}

/// A number from 1.
fn number(asking: &Asking, name: &str) -> Result<Option<u32>, Error> {
    let parsed = asking.value(name).map(|text| text.parse().ok().filter(|number| *number > 0));
    match parsed {
        Some(None) => Err(Error::BadRequest(format!("{name} must be a number from 1"))),
        number => Ok(number.flatten()),
    }
}

/// Rendering parameters by their older names (PS3.18 9.1.2.2).
async fn asked(asking: &Asking, found: &Location) -> Result<Asked, Error> {
    let mut asked = Asked::plain();
    if let Some(text) = asking.value("imageQuality") {
        asked.quality = quality(text)?;
    }
    if let Some(text) = asking.value("annotation") {
        asked.annotation = annotation(text)?;
    }
    if let Some(text) = asking.value("overlays") {
        asked.overlays = overlays(text)?;
    }
    match (asking.value("windowCenter"), asking.value("windowWidth")) {
        (Some(center), Some(width)) => asked.window = Some(window_of(center, width, Function::Linear)?),
        (None, None) => {}
        _ => {
            return Err(Error::BadRequest("windowCenter and windowWidth go together".to_owned()));
        }
    }
    let (rows, columns) = (number(asking, "rows")?, number(asking, "columns")?);
    let region = asking.value("region").map(region).transpose()?;
    if rows.is_some() || columns.is_some() || region.is_some() {
        let imaged = asking.road().imaged(found).await?;
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
    Ok(asked)
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
