//! Instances of 200 KB that no compressor makes shorter: what is measured is requests, not compression.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use filmgate_model::Random;

use crate::part10;

/// Side of the square of 8-bit samples: 200 KB.
const SIDE: u16 = 448;
const INSTANCES_OF_STUDY: usize = 250;
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
const ROOT: &str = "1.2.826.0.1.3680043.10.1543.98";

/// A folder with so many of them, made once.
pub(crate) fn prepare(work: &Path, instances: usize) -> Result<PathBuf> {
    let folder = work.join(format!("files/noise-{instances}"));
    let done = work.join(format!("files/noise-{instances}.done"));
    if done.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    let random = Random::seeded(1);
    for number in 0..instances {
        fs::write(folder.join(format!("{number:05}.dcm")), file(number, &random))?;
    }
    File::create(done)?.write_all(b"done")?;
    Ok(folder)
}

fn file(number: usize, random: &Random) -> Vec<u8> {
    let study = number / INSTANCES_OF_STUDY;
    let instance = format!("{ROOT}.3.{number}");
    let mut pixels = vec![0; usize::from(SIDE) * usize::from(SIDE)];
    random.fill(&mut pixels);
    part10::file(
        SECONDARY_CAPTURE,
        &instance,
        &[
            (0x0008_0016, b"UI", SECONDARY_CAPTURE.as_bytes()),
            (0x0008_0018, b"UI", instance.as_bytes()),
            (0x0008_0060, b"CS", b"OT"),
            (0x0010_0010, b"PN", b"BENCH^Noise"),
            (0x0010_0020, b"LO", format!("NOISE{study}").as_bytes()),
            (0x0020_000D, b"UI", format!("{ROOT}.1.{study}").as_bytes()),
            (0x0020_000E, b"UI", format!("{ROOT}.2.{study}").as_bytes()),
            (0x0028_0002, b"US", &1_u16.to_le_bytes()),
            (0x0028_0004, b"CS", b"MONOCHROME2"),
            (0x0028_0010, b"US", &SIDE.to_le_bytes()),
            (0x0028_0011, b"US", &SIDE.to_le_bytes()),
            (0x0028_0100, b"US", &8_u16.to_le_bytes()),
            (0x0028_0101, b"US", &8_u16.to_le_bytes()),
            (0x0028_0102, b"US", &7_u16.to_le_bytes()),
            (0x0028_0103, b"US", &0_u16.to_le_bytes()),
            (0x7FE0_0010, b"OB", pixels.as_slice()),
        ],
    )
}
