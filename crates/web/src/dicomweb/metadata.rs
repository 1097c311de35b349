//! Metadata (PS3.18 10.4.1.1.2): instances as DICOM JSON, without their bulk data.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_pipeline::{METADATA_VERSION, Road};

use super::{DICOM_JSON, asking::Asking, named::Named, reuse::Tag, wado::with_type, wants_json};
use crate::{
    Error,
    extract::Path,
    streaming::{Outlet, Stopped},
};

/// Instances whose metadata is in memory at one time.
const BATCH: usize = 1024;

/// Of all instances of a study or a series, or of one.
pub(crate) async fn instances(Path(named): Path<Named>, asking: Asking) -> Result<Response, Error> {
    wants_json(&asking.accepted)?;
    let instances = named.instances(&asking.app).await?;
    let (version, texts) = (METADATA_VERSION.to_le_bytes(), asking.road().texts().told());
    let records = instances.iter().map(|instance| instance.record_id.0.as_slice());
    let tag = Tag::of(&[&version[..], texts.as_bytes()].into_iter().chain(records).collect::<Vec<_>>());
    if let Some(unchanged) = asking.unchanged(&tag) {
        return Ok(unchanged);
    }
    let turn = asking.turn().await?;
    let body = if instances.len() <= BATCH {
        Body::from(array(&asking.road().metadata(&instances).await?))
    } else {
        let road = Arc::clone(asking.road());
        asking.body(turn, |outlet| send(road, instances, outlet)).await?
    };
    Ok(asking.tagged(with_type(body, DICOM_JSON), &tag))
}

/// Objects that are written already, as an array.
fn array(objects: &[Bytes]) -> Vec<u8> {
    let mut json = Vec::with_capacity(objects.iter().map(|object| object.len() + 1).sum::<usize>() + 2);
    for (index, object) in objects.iter().enumerate() {
        json.push(if index == 0 { b'[' } else { b',' });
        json.extend_from_slice(object);
    }
    json.push(b']');
    json
}

/// Sends an array of datasets, some at a time.
async fn send(road: Arc<Road>, instances: Vec<Location>, outlet: Outlet) -> Result<(), Stopped> {
    let mut before = b'[';
    for some in instances.chunks(BATCH) {
        let mut array = array(&road.metadata(some).await?);
        array[0] = before;
        array.pop();
        outlet.send(array).await?;
        before = b',';
    }
    Ok(outlet.send("]").await?)
}
