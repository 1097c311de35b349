//! The files that are sent: real slices turned, mirrored and rolled until there are enough of them, under UIDs of
//! their own. Made once, kept in the work folder.

use std::{
    collections::HashSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, open_file};
use sha2::{Digest, Sha256};

/// Raised when the files are made in another way, so that old ones are made again.
const RECIPE: u32 = 1;
/// Ways to turn and mirror a square.
const SYMMETRIES: usize = 8;

/// What kind of files, how many, made of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// 512 x 512, 12 of 16 bits, 0.53 MB; a small header
    Ct,
    /// 128 x 128, 16 bits, 50 KB, of which 17 KB are header
    Mr,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Ct, Self::Mr];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ct => "CT",
            Self::Mr => "MR",
        }
    }

    /// Where the slices come from, within the folder of test data.
    fn source(self) -> &'static str {
        match self {
            Self::Ct => "ct-series/philips-phantom-54",
            Self::Mr => "mr-series/ge-b0map-32",
        }
    }

    fn side(self) -> usize {
        match self {
            Self::Ct => 512,
            Self::Mr => 128,
        }
    }

    fn instances(self, quick: bool) -> usize {
        match (self, quick) {
            (Self::Ct, false) => 800,
            (Self::Mr, false) => 2000,
            (Self::Ct, true) => 160,
            (Self::Mr, true) => 400,
        }
    }

    fn studies(self) -> usize {
        match self {
            Self::Ct => 8,
            Self::Mr => 10,
        }
    }
}

/// Files in one folder, in the order they are sent.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) folder: PathBuf,
    pub(crate) names: Vec<String>,
    pub(crate) bytes: u64,
}

impl Files {
    /// Those of a folder.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        Self::read(folder.to_owned())
    }

    fn read(folder: PathBuf) -> Result<Self> {
        let mut names = Vec::new();
        let mut bytes = 0;
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let entry = entry?;
            // Read once, so that every sender finds them in the page cache.
            bytes += fs::read(entry.path())?.len() as u64;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Self { folder, names, bytes })
    }

    pub(crate) fn instances(&self) -> u64 {
        self.names.len() as u64
    }
}

/// Two lots of the same making: one to get receivers going, one to measure with.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) kind: Kind,
    pub(crate) warm_up: Files,
    pub(crate) measured: Files,
    pub(crate) studies: usize,
}

impl Set {
    /// The files of a kind, made where they are not there yet.
    pub(crate) fn prepare(kind: Kind, quick: bool, test_data: &Path, work: &Path) -> Result<Self> {
        let instances = kind.instances(quick);
        let folder = work.join(format!("files/{}-{instances}-v{RECIPE}", kind.name().to_lowercase()));
        let (warm_up, measured) = (folder.join("warm-up"), folder.join("measured"));
        if !folder.is_dir() {
            make(kind, instances, test_data, &folder)?;
        }
        Ok(Self {
            kind,
            warm_up: Files::read(warm_up)?,
            measured: Files::read(measured)?,
            studies: kind.studies(),
        })
    }
}

/// A study of CT slices in a folder of its own, made where it is not there yet. `numbers` are those of its slices: no two
/// numbers have the same pixels.
pub(crate) fn study(name: &str, numbers: Range<usize>, test_data: &Path, work: &Path) -> Result<Files> {
    let folder = work.join(format!("files/study-{name}-v{RECIPE}"));
    if !folder.is_dir() {
        let parent = folder.parent().context("a folder for the files")?;
        fs::create_dir_all(parent)?;
        let making = tempfile::Builder::new().prefix(".making-").tempdir_in(parent)?;
        let slices = slices(&test_data.join(Kind::Ct.source()), Kind::Ct.side())?;
        for (index, number) in numbers.enumerate() {
            let file = varied(&slices, Kind::Ct.side(), number, &format!("CT-{name}"))?;
            file.write_to_file(making.path().join(format!("{index:05}.dcm")))?;
        }
        fs::rename(making.keep(), &folder).context("name the folder of a study")?;
    }
    Files::read(folder)
}

/// Makes both lots beside `folder`, then gives them its name.
fn make(kind: Kind, instances: usize, test_data: &Path, folder: &Path) -> Result<()> {
    let parent = folder.parent().context("a folder for the files")?;
    fs::create_dir_all(parent)?;
    let making = tempfile::Builder::new().prefix(".making-").tempdir_in(parent)?;
    let slices = slices(&test_data.join(kind.source()), kind.side())?;
    let mut seen = HashSet::new();
    for (lot, name) in ["measured", "warm-up"].into_iter().enumerate() {
        let lot_folder = making.path().join(name);
        fs::create_dir(&lot_folder)?;
        for index in 0..instances {
            let number = lot * instances + index;
            let study = format!("{}-{name}-{}", kind.name(), index * kind.studies() / instances);
            let file = varied(&slices, kind.side(), number, &study)?;
            ensure!(seen.insert(pixel_digest(&file)?), "two files would have the same pixels");
            file.write_to_file(lot_folder.join(format!("{index:05}.dcm")))?;
        }
    }
    fs::rename(making.keep(), folder).context("name the folder of files")
}

/// The native slices of a series, in order.
fn slices(folder: &Path, side: usize) -> Result<Vec<DefaultDicomObject>> {
    let mut paths = fs::read_dir(folder)
        .with_context(|| format!("list the test data in {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    let slices = paths.iter().map(|path| open_file(path).context("read a slice"));
    let slices = slices.collect::<Result<Vec<_>>>()?;
    ensure!(!slices.is_empty(), "no slices in {}", folder.display());
    for slice in &slices {
        let pixels = slice.element(tags::PIXEL_DATA)?.to_bytes()?;
        ensure!(pixels.len() == 2 * side * side, "a slice is not {side} x {side} of 16 bits");
    }
    Ok(slices)
}

/// The slice of this number: each pass over the series turns, mirrors and rolls it in another way.
fn varied(
    slices: &[DefaultDicomObject],
    side: usize,
    number: usize,
    study: &str,
) -> Result<DefaultDicomObject> {
    let (slice, pass) = (&slices[number % slices.len()], number / slices.len());
    let mut file = slice.clone();
    let pixels: Vec<u16> = file.element(tags::PIXEL_DATA)?.to_multi_int()?;
    let (symmetry, roll) = (pass % SYMMETRIES, pass / SYMMETRIES * (side / 29));
    let pixels = turned(&pixels, side, symmetry, roll);
    file.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
    let instance_uid = uid(&format!("{study}-instance-{number}"));
    for (tag, vr, text) in [
        (tags::SOP_INSTANCE_UID, VR::UI, instance_uid.clone()),
        (tags::STUDY_INSTANCE_UID, VR::UI, uid(&format!("{study}-study"))),
        (tags::SERIES_INSTANCE_UID, VR::UI, uid(&format!("{study}-series"))),
        (tags::PATIENT_ID, VR::LO, study.to_owned()),
        (tags::PATIENT_NAME, VR::PN, format!("BENCH^{study}")),
        (tags::INSTANCE_NUMBER, VR::IS, (number + 1).to_string()),
    ] {
        file.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
    }
    file.update_meta(|meta| meta.media_storage_sop_instance_uid = instance_uid);
    Ok(file)
}

/// A square turned, mirrored and with its rows rolled: the same values, the same neighbours, another image.
fn turned(pixels: &[u16], side: usize, symmetry: usize, roll: usize) -> Vec<u16> {
    let flip = |at: usize, yes: bool| if yes { side - 1 - at } else { at };
    let at = |row: usize, column: usize| {
        let row = flip((row + roll) % side, symmetry & 1 != 0);
        let column = flip(column, symmetry & 2 != 0);
        if symmetry & 4 != 0 { column * side + row } else { row * side + column }
    };
    (0..side * side).map(|index| pixels[at(index / side, index % side)]).collect()
}

fn pixel_digest(file: &DefaultDicomObject) -> Result<[u8; 32]> {
    Ok(Sha256::digest(file.element(tags::PIXEL_DATA)?.to_bytes()?).into())
}

/// A UID from a number of 128 bits (PS3.5 B.2), the same for the same name.
fn uid(name: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let number = digest.iter().take(16).fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    format!("2.25.{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symmetry_and_roll_is_another_image_of_the_same_values() {
        let pixels: Vec<u16> = (0..64).collect();
        let mut images = HashSet::new();
        for symmetry in 0..SYMMETRIES {
            for roll in [0, 3] {
                let mut image = turned(&pixels, 8, symmetry, roll);
                assert!(images.insert(image.clone()));
                image.sort_unstable();
                assert_eq!(image, pixels);
            }
        }
    }

    #[test]
    fn a_uid_is_no_longer_than_64_characters() {
        assert!((0..1000).all(|number| uid(&number.to_string()).len() <= 64));
    }
}
