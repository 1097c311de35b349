//! What is asked for: once of a server that has just begun, and again.

use super::{
    answers::Holds,
    clients::{Pass, Request, Step, Timed},
};
use crate::{
    report::median,
    studies::{Slice, Studies, Study},
};

const JSON: &str = "application/dicom+json";
const FRAME: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
const INSTANCES: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
/// Heads and boundaries of a part, about.
const PART_BYTES: usize = 1 << 10;
/// DICOM JSON of an instance, about: some make more of it.
const DATASET_BYTES: usize = 16 << 10;
const PICTURE_BYTES: usize = 128 << 10;
/// How often something short is asked for again.
const AGAIN: usize = 5;
/// How often the frames of the study that was asked for last are asked for again.
const FRAMES_AGAIN: usize = 4;
/// Clients at a time, where they are several.
const SEVERAL: usize = 8;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Metadata of a series.
    Metadata,
    /// A long study up to its first frame: search, metadata, frame.
    Open,
    /// Frames, one by one.
    Frames,
    /// Frames, by several clients at a time.
    FramesBySeveral,
    /// All instances of a study, as they are stored.
    Study,
    /// Pictures of 512 x 512, one by one.
    Rendered,
}

impl Work {
    pub(super) const ALL: [Self; 6] =
        [Self::Metadata, Self::Open, Self::Frames, Self::FramesBySeveral, Self::Study, Self::Rendered];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Metadata => "series metadata, 100 instances",
            Self::Open => "study of 500 opened: search, metadata, first frame",
            Self::Frames => "frames, one by one",
            Self::FramesBySeveral => "frames, 8 clients",
            Self::Study => "whole study",
            Self::Rendered => "rendered, 512 x 512",
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Metadata | Self::Open | Self::Rendered => "ms",
            Self::Frames | Self::FramesBySeveral => "frames/s",
            Self::Study => "MB/s",
        }
    }

    /// How many times as fast a figure is as another's.
    pub(super) fn times_as_fast(self, ours: f64, other: f64) -> f64 {
        if self.unit() == "ms" { other / ours } else { ours / other }
    }

    /// What is asked for.
    pub(super) fn passes(self, studies: &Studies) -> Passes {
        let each = |step: fn(&Study) -> Step| studies.usual.iter().map(step).collect::<Vec<_>>();
        let (first, again, clients) = match self {
            Self::Metadata => {
                let steps = each(|study| vec![metadata(study)]);
                (steps.clone(), repeated(&steps, AGAIN), 1)
            }
            Self::Open => {
                let steps = vec![opening(&studies.long)];
                (steps.clone(), repeated(&steps, AGAIN), 1)
            }
            Self::Frames | Self::FramesBySeveral => {
                let of = |study: &Study| -> Vec<Step> { slices(study, frame) };
                let last = studies.usual.last().map(of).unwrap_or_default();
                let clients = if self == Self::Frames { 1 } else { SEVERAL };
                (studies.usual.iter().flat_map(of).collect(), repeated(&last, FRAMES_AGAIN), clients)
            }
            Self::Study => {
                let steps = each(|study| vec![whole(study)]);
                (steps.clone(), steps, 1)
            }
            Self::Rendered => {
                let steps = studies.usual.first().map(|study| slices(study, rendered)).unwrap_or_default();
                (steps.clone(), steps, 1)
            }
        };
        Passes { first: Pass { clients, steps: first }, again: Pass { clients, steps: again } }
    }

    /// What a pass gave, in [`Self::unit`].
    pub(super) fn figure(self, pass: &Pass, timed: &Timed) -> f64 {
        match self.unit() {
            "ms" => 1e3 * median(&timed.step_seconds),
            "MB/s" => bytes(pass) / 1e6 / timed.seconds,
            _ => pass.steps.len() as f64 / timed.seconds,
        }
    }

    /// Whether what it takes of the server's CPU is told by bytes.
    pub(super) fn counts_bytes(self) -> bool {
        matches!(self, Self::Frames | Self::FramesBySeveral | Self::Study)
    }
}

/// The first time, and again.
pub(super) struct Passes {
    pub(super) first: Pass,
    pub(super) again: Pass,
}

/// Bytes of all bodies, about.
pub(super) fn bytes(pass: &Pass) -> f64 {
    pass.steps.iter().flatten().map(|request| request.body_bytes as f64).sum()
}

fn repeated(steps: &[Step], times: usize) -> Vec<Step> {
    std::iter::repeat_n(steps, times).flatten().cloned().collect()
}

fn slices(study: &Study, request: fn(&Study, &Slice) -> Request) -> Vec<Step> {
    study.slices.iter().map(|slice| vec![request(study, slice)]).collect()
}

fn series_path(study: &Study) -> String {
    format!("/studies/{}/series/{}", study.study_instance_uid, study.series_instance_uid)
}

fn datasets(path: String, count: usize) -> Request {
    Request { path, accept: JSON, holds: Holds::Datasets(count), body_bytes: count * DATASET_BYTES }
}

fn metadata(study: &Study) -> Request {
    datasets(format!("{}/metadata", series_path(study)), study.slices.len())
}

/// What a viewer asks for until it has a frame to show.
fn opening(study: &Study) -> Step {
    let uid = &study.study_instance_uid;
    let searches = [format!("/studies?StudyInstanceUID={uid}"), format!("/studies/{uid}/series")];
    let mut step = searches.map(|path| datasets(path, 1)).to_vec();
    step.push(metadata(study));
    step.extend(study.slices.first().map(|slice| frame(study, slice)));
    step
}

fn frame(study: &Study, slice: &Slice) -> Request {
    Request {
        path: format!("{}/instances/{}/frames/1", series_path(study), slice.sop_instance_uid),
        accept: FRAME,
        holds: Holds::Frame(slice.pixel_digest.clone()),
        body_bytes: slice.pixel_bytes + PART_BYTES,
    }
}

fn whole(study: &Study) -> Request {
    let slices =
        study.slices.iter().map(|slice| (slice.sop_instance_uid.clone(), slice.pixel_digest.clone()));
    Request {
        path: format!("/studies/{}", study.study_instance_uid),
        accept: INSTANCES,
        holds: Holds::Instances(slices.collect()),
        body_bytes: study.files.bytes as usize + study.slices.len() * PART_BYTES,
    }
}

fn rendered(study: &Study, slice: &Slice) -> Request {
    Request {
        path: format!("{}/instances/{}/rendered?quality=90", series_path(study), slice.sop_instance_uid),
        accept: "image/jpeg",
        holds: Holds::Picture(512, 512),
        body_bytes: PICTURE_BYTES,
    }
}
