//! What both servers hold: studies of one series of CT slices, and what of them must stand in every answer.

use std::{ops::Range, path::Path};

use anyhow::{Context, Result};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, open_file};
use sha2::{Digest, Sha256};

use crate::data::{self, Files};

/// Slices of a study as most are.
const SLICES: usize = 100;
/// Studies of that many.
const STUDIES: usize = 4;
/// Slices of a long study.
const LONG_SLICES: usize = 500;
/// Slices of the studies with `--quick`, and of its long one.
const QUICK_SLICES: usize = 20;

/// One study, one series.
pub(crate) struct Study {
    pub(crate) files: Files,
    pub(crate) study_instance_uid: String,
    pub(crate) series_instance_uid: String,
    /// In order of instance numbers.
    pub(crate) slices: Vec<Slice>,
}

/// One instance of one frame.
pub(crate) struct Slice {
    pub(crate) sop_instance_uid: String,
    pub(crate) pixel_bytes: usize,
    /// SHA-256 of the pixel data, in hexadecimal.
    pub(crate) pixel_digest: String,
}

/// All that is loaded.
pub(crate) struct Studies {
    /// Of [`SLICES`] each.
    pub(crate) usual: Vec<Study>,
    /// Of [`LONG_SLICES`].
    pub(crate) long: Study,
}

impl Studies {
    /// Makes them where they are not there yet.
    pub(crate) fn prepare(quick: bool, test_data: &Path, work: &Path) -> Result<Self> {
        let (slices, long_slices) = if quick { (QUICK_SLICES, QUICK_SLICES) } else { (SLICES, LONG_SLICES) };
        let study = |name: &str, numbers: Range<usize>| Study::prepare(name, numbers, test_data, work);
        let usual = (0..STUDIES).map(|at| study(&format!("usual-{at}"), at * slices..(at + 1) * slices));
        let usual = usual.collect::<Result<Vec<_>>>()?;
        let first = STUDIES * slices;
        Ok(Self { usual, long: study("long", first..first + long_slices)? })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Study> + Clone {
        self.usual.iter().chain([&self.long])
    }

    pub(crate) fn instances(&self) -> u64 {
        self.all().map(|study| study.files.instances()).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.all().map(|study| study.files.bytes).sum()
    }
}

impl Study {
    /// Makes it where it is not there yet, of the slices of these numbers.
    pub(crate) fn prepare(name: &str, numbers: Range<usize>, test_data: &Path, work: &Path) -> Result<Self> {
        Self::read(data::study(&format!("{name}-{}", numbers.len()), numbers, test_data, work)?)
    }

    fn read(files: Files) -> Result<Self> {
        let objects =
            files.names.iter().map(|name| open_file(files.folder.join(name)).context("read a slice"));
        let objects = objects.collect::<Result<Vec<_>>>()?;
        let first = objects.first().context("a study has slices")?;
        let uid = |tag| anyhow::Ok(first.element(tag)?.to_str()?.trim_end_matches('\0').to_owned());
        let (study, series) = (uid(tags::STUDY_INSTANCE_UID)?, uid(tags::SERIES_INSTANCE_UID)?);
        let slices = objects.iter().map(Slice::of).collect::<Result<Vec<_>>>()?;
        Ok(Self { files, study_instance_uid: study, series_instance_uid: series, slices })
    }
}

impl Slice {
    /// What an instance is known by.
    pub(crate) fn of(object: &DefaultDicomObject) -> Result<Self> {
        let uid = object.element(tags::SOP_INSTANCE_UID)?.to_str()?;
        let pixels = object.element(tags::PIXEL_DATA)?.to_bytes()?;
        Ok(Self {
            sop_instance_uid: uid.trim_end_matches('\0').to_owned(),
            pixel_bytes: pixels.len(),
            pixel_digest: digest(&pixels),
        })
    }
}

/// SHA-256, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
