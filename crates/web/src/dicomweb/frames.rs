//! Frames (PS3.18 10.4.1.1.6): each as it is stored where the client takes that, else decoded or encoded anew.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_pipeline::{Imaged, Road};

use super::{
    asking::Asking,
    instance_url,
    multipart::Boundary,
    named::Named,
    reuse::Tag,
    syntaxes::{self, Chosen},
    wado::with_type,
};
use crate::{
    Error,
    extract::Path,
    streaming::{Outlet, Stopped},
};

/// Frames that one request may name.
const FRAMES_MAX: usize = 10_000;

/// The frames named in the path, in that order.
pub(crate) async fn frames(Path(named): Path<Named>, asking: Asking) -> Result<Response, Error> {
    let numbers = named.frames()?.unwrap_or_default();
    let found = named.instance(&asking.app).await?;
    answer(&asking, found, numbers).await
}

/// All frames of an instance, one after another: the answer to who asks for its pixel data as bulk data.
pub(super) async fn all(asking: &Asking, found: Location) -> Result<Response, Error> {
    let imaged = asking.road().imaged(&found).await?;
    answer(asking, found, (1..=imaged.frames.count).collect()).await
}

async fn answer(asking: &Asking, found: Location, numbers: Vec<u32>) -> Result<Response, Error> {
    let turn = asking.turn().await?;
    let road = asking.road();
    let imaged = road.imaged(&found).await?;
    let chosen = syntaxes::choose(
        &asking.accepted,
        &imaged.transfer_syntax_uid,
        syntaxes::made_of(&imaged),
        numbers.len() == 1,
    )?;
    let list: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let tag = Tag::of(&[&found.record_id.0, b"frames", chosen.part_type.as_bytes(), &list]);
    if let Some(unchanged) = asking.unchanged(&tag) {
        return Ok(unchanged);
    }
    let location =
        instance_url(&found.study_instance_uid, &found.series_instance_uid, &found.sop_instance_uid);
    let (answer, boundary) = (Answer { found, imaged, chosen, location }, asking.boundary());
    let response = match numbers.as_slice() {
        [number] => answer.one(road, *number, &boundary).await?,
        _ => {
            let content_type = boundary.content_type(&answer.chosen.part_type);
            let road = Arc::clone(road);
            let body = asking.body(turn, |outlet| answer.send(road, numbers, boundary, outlet)).await?;
            with_type(body, &content_type)
        }
    };
    Ok(asking.tagged(response, &tag))
}

struct Answer {
    found: Location,
    imaged: Arc<Imaged>,
    chosen: Chosen,
    location: String,
}

impl Answer {
    async fn frame(&self, road: &Arc<Road>, number: u32) -> Result<Vec<Bytes>, Error> {
        Ok(road.frame(&self.found, &self.imaged, number, self.chosen.syntax).await?)
    }

    /// A single frame is at hand as a whole: its length is told.
    async fn one(&self, road: &Arc<Road>, number: u32, boundary: &Boundary) -> Result<Response, Error> {
        let mut pieces = self.frame(road, number).await?;
        let mut content_type = self.chosen.part_type.clone();
        if self.chosen.multipart {
            content_type = boundary.content_type(&self.chosen.part_type);
            let head = boundary.part_head(true, &self.chosen.part_type, &self.location_of(number));
            pieces.insert(0, head.into());
            pieces.push(boundary.closing().into());
        }
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let body = Body::from_stream(futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
        let mut response = with_type(body, &content_type);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Ok(response)
    }

    fn location_of(&self, number: u32) -> String {
        format!("{}/frames/{number}", self.location)
    }

    async fn send(
        self,
        road: Arc<Road>,
        numbers: Vec<u32>,
        boundary: Boundary,
        outlet: Outlet,
    ) -> Result<(), Stopped> {
        for (index, &number) in numbers.iter().enumerate() {
            let frame = self.frame(&road, number).await?;
            outlet
                .send(boundary.part_head(index == 0, &self.chosen.part_type, &self.location_of(number)))
                .await?;
            outlet.send_all(frame).await?;
        }
        Ok(outlet.send(boundary.closing()).await?)
    }
}

/// The numbers of a list such as `1,4,2`; frames count from 1.
pub(super) fn numbers(list: &str) -> Result<Vec<u32>, Error> {
    let bad = || {
        Error::BadRequest(format!("frames are named by numbers from 1, {FRAMES_MAX} at most, such as 1,2,3"))
    };
    let numbers: Option<Vec<u32>> = list
        .split(',')
        .take(FRAMES_MAX + 1)
        .map(|number| number.trim().parse().ok().filter(|number| *number > 0))
        .collect();
    numbers.filter(|numbers| numbers.len() <= FRAMES_MAX).ok_or_else(bad)
}
