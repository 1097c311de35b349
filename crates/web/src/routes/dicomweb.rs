//! DICOMweb (PS3.18 chapters 9 and 10).

use super::{
    Reach, Route,
    route::{Operation, at, read, store},
};
use crate::dicomweb::{
    ACCEPT, bulk, frames, metadata, picture::PARAMETERS, qido, qido_query, rendered, stow, wado, wado_uri,
};

const DICOM_JSON: &[&str] = &["application/dicom+json"];
const INSTANCES: &[&str] = &["multipart/related"];
const INSTANCE: &[&str] = &["application/dicom", "multipart/related"];
const PICTURES: &[&str] = &["image/jpeg", "image/png", "multipart/related"];
const FRAMES: &[&str] = &[
    "multipart/related",
    "application/octet-stream",
    "image/jpeg",
    "image/jls",
    "image/jp2",
    "image/jpx",
    "image/jphc",
    "image/jxl",
    "image/dicom-rle",
    "video/mpeg",
    "video/mp4",
];
const BULK_DATA: &[&str] = &["application/octet-stream", "multipart/related", "application/pdf", "video/mp4"];

/// All of them.
pub(super) fn routes() -> Vec<Route> {
    [searches_and_stores(), retrievals(), pictures()].into_iter().flatten().collect()
}

/// QIDO-RS (PS3.18 10.6) and STOW-RS (PS3.18 10.5).
fn searches_and_stores() -> Vec<Route> {
    vec![
        at("/dicomweb/studies")
            .get(qido::studies, search("Studies that match (QIDO-RS)"))
            .post(stow::store, storage("Stores instances (STOW-RS)")),
        at("/dicomweb/studies/{study}")
            .get(wado::instances, retrieval("Instances of a study (WADO-RS)").gives(INSTANCES))
            .post(
                stow::store_in_study,
                storage("Stores instances of one study; others are refused (STOW-RS)"),
            ),
        at("/dicomweb/series").get(qido::series, search("Series that match, of any study (QIDO-RS)")),
        at("/dicomweb/instances")
            .get(qido::instances, search("Instances that match, of any study (QIDO-RS)")),
        at("/dicomweb/studies/{study}/series")
            .get(qido::series, search("Series of a study that match (QIDO-RS)").reaches(Reach::Study)),
        at("/dicomweb/studies/{study}/instances")
            .get(qido::instances, search("Instances of a study that match (QIDO-RS)").reaches(Reach::Study)),
        at("/dicomweb/studies/{study}/series/{series}/instances")
            .get(qido::instances, search("Instances of a series that match (QIDO-RS)").reaches(Reach::Study)),
    ]
}

/// WADO-RS (PS3.18 10.4).
fn retrievals() -> Vec<Route> {
    let metadata_of = |summary| retrieval(summary).gives(DICOM_JSON).kept_by_tag();
    vec![
        at("/dicomweb/studies/{study}/metadata")
            .get(metadata::instances, metadata_of("Metadata of a study's instances (WADO-RS)")),
        at("/dicomweb/studies/{study}/series/{series}")
            .get(wado::instances, retrieval("Instances of a series (WADO-RS)").gives(INSTANCES)),
        at("/dicomweb/studies/{study}/series/{series}/metadata")
            .get(metadata::instances, metadata_of("Metadata of a series' instances (WADO-RS)")),
        at("/dicomweb/studies/{study}/series/{series}/instances/{instance}")
            .get(wado::instances, retrieval("An instance (WADO-RS)").gives(INSTANCE).kept_by_tag()),
        at("/dicomweb/studies/{study}/series/{series}/instances/{instance}/metadata")
            .get(metadata::instances, metadata_of("Metadata of an instance (WADO-RS)")),
        at("/dicomweb/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}").get(
            bulk::bulk_value,
            retrieval("A bulk value, by the path its metadata names (WADO-RS)")
                .gives(BULK_DATA)
                .kept_by_tag(),
        ),
        at("/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}").get(
            frames::frames,
            retrieval("Frames of an instance (WADO-RS)").gives(FRAMES).kept_by_tag().refuses(&[422]),
        ),
    ]
}

/// Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4), and WADO-URI (PS3.18 chapter 9).
fn pictures() -> Vec<Route> {
    let shown = |summary| retrieval(summary).asks(PARAMETERS).gives(PICTURES).kept_by_tag().refuses(&[422]);
    let mut routes = vec![
        at("/wado").get(
            wado_uri::object,
            read("An instance, or a picture of it (WADO-URI)")
                .reaches(Reach::Readable)
                .asks(wado_uri::PARAMETERS)
                .gives(&["application/dicom", "image/jpeg", "image/png"])
                .kept_by_tag()
                .refuses(&[404, 406, 422]),
        ),
    ];
    for [picture, small] in [
        ["/dicomweb/studies/{study}/rendered", "/dicomweb/studies/{study}/thumbnail"],
        [
            "/dicomweb/studies/{study}/series/{series}/rendered",
            "/dicomweb/studies/{study}/series/{series}/thumbnail",
        ],
        [
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/rendered",
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/thumbnail",
        ],
        [
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        ],
    ] {
        routes.push(at(picture).get(
            rendered::rendered,
            shown("A picture of what stands before it, or one of each frame (WADO-RS)"),
        ));
        routes.push(at(small).get(rendered::thumbnail, shown("The same, small (WADO-RS)")));
    }
    routes
}

fn search(summary: &'static str) -> Operation {
    read(summary)
        .reaches(Reach::Readable)
        .asks(ACCEPT)
        .asks(qido_query::PARAMETERS)
        .gives(DICOM_JSON)
        .refuses(&[406, 413])
}

fn retrieval(summary: &'static str) -> Operation {
    read(summary).reaches(Reach::Study).asks(ACCEPT).refuses(&[406])
}

fn storage(summary: &'static str) -> Operation {
    store(summary)
        .takes(r#"multipart/related; type="application/dicom""#)
        .gives(DICOM_JSON)
        .answers_with(202, DICOM_JSON)
        .refuses(&[408, 409, 415])
}
