//! Those who show the same frames.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use filmgate_pixels::{
    Frame, Sample,
    render::{Format, Function, Raster, Window},
};

use crate::Shown;

fn required() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// The Python of the test peers, in the target folder; its absence is a failure in continuous integration only.
pub(crate) fn python() -> Option<PathBuf> {
    let program = std::env::current_exe().expect("the test's own path");
    let python = program.ancestors().nth(3).expect("a target folder").join("test-env/bin/python");
    assert!(python.exists() || !required(), "no {}: `cargo xtask test` makes it", python.display());
    python.exists().then_some(python)
}

/// The numpy type of samples.
fn kind(frame: &Frame) -> &'static str {
    match frame.sample {
        Sample::Bit | Sample::U8 => "<u1",
        Sample::I8 => "<i1",
        Sample::U16 => "<u2",
        Sample::I16 => "<i2",
        Sample::U32 => "<u4",
        Sample::I32 => "<i4",
        Sample::F32 => "<f4",
        Sample::F64 => "<f8",
    }
}

/// A picture, and the window it was shown with where the peer chose one.
type Picture = Result<(Option<Window>, Raster), String>;

/// The pictures pydicom makes of frames.
pub(crate) fn pydicom(python: &Path, folder: &Path, scratch: &Path, all: &[Shown]) -> Vec<Picture> {
    let mut list = String::new();
    let file = |index: usize, kind: &str| scratch.join(format!("{index}.{kind}"));
    for (index, shown) in all.iter().enumerate() {
        let frame = &shown.frame;
        fs::write(file(index, "samples"), &frame.bytes).expect("samples");
        let fields = [
            folder.join(&shown.path).display().to_string(),
            shown.number.to_string(),
            file(index, "samples").display().to_string(),
            kind(frame).to_owned(),
            frame.rows.to_string(),
            frame.columns.to_string(),
            frame.samples.to_string(),
            frame.bits_stored.to_string(),
            frame.photometric.as_str().to_owned(),
            file(index, "picture").display().to_string(),
        ];
        list.push_str(&fields.join("\t"));
        list.push('\n');
    }
    fs::write(scratch.join("list"), list).expect("a list");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/render.py");
    let output = Command::new(python).arg(script).arg(scratch.join("list")).output().expect("pydicom");
    let answers = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(answers.lines().count(), all.len(), "{errors}");
    let picture = |(index, answer): (usize, &str)| {
        if let Some(why) = answer.strip_prefix("! ") {
            return Err(why.to_owned());
        }
        let window = answer.split_once(' ').map(|(center, width)| Window {
            center: center.parse().expect("a centre"),
            width: width.parse().expect("a width"),
            function: Function::LinearExact,
        });
        let bytes = fs::read(file(index, "picture")).expect("a picture");
        let frame = &all[index].frame;
        let format = if bytes.len() > frame.pixels() { Format::Rgb8 } else { Format::Gray8 };
        Ok((window, Raster { width: frame.columns, height: frame.rows, format, bytes }))
    };
    answers.lines().enumerate().map(picture).collect()
}

/// True where an image states a window or table of its own.
pub(crate) fn has_window(dataset: &InMemDicomObject) -> bool {
    dataset.element(tags::WINDOW_WIDTH).is_ok_and(|element| element.to_float64().is_ok())
}

/// DCMTK's programs that write pictures.
pub(crate) struct Dcmtk;

impl Dcmtk {
    /// `None` where it is not installed, which in continuous integration is an error.
    pub(crate) fn find() -> Option<Self> {
        let there = Command::new("dcmj2pnm").arg("--version").output().is_ok();
        assert!(there || !required(), "no dcmj2pnm: `cargo xtask test` installs DCMTK");
        there.then_some(Self)
    }

    /// Shows a frame; `None` where DCMTK does not.
    pub(crate) fn show(
        &self,
        file: &Path,
        number: u32,
        options: &[String],
        scratch: &Path,
    ) -> Option<Raster> {
        let picture = scratch.join("picture.pnm");
        ["dcmj2pnm", "dcml2pnm"].iter().find_map(|program| {
            let _ = fs::remove_file(&picture);
            let mut command = Command::new(program);
            command.args(["--quiet", "+op", "-O", "+F", &number.to_string()]).args(options);
            command.arg(file).arg(&picture).output().ok()?;
            read_pnm(&fs::read(&picture).ok()?)
        })
    }
}

/// The picture DCMTK makes of a file by a presentation state.
pub(crate) fn by_presentation_state(file: &Path, state: &Path, scratch: &Path) -> Option<Raster> {
    let picture = scratch.join("presented.pgm");
    let mut command = Command::new("dcmp2pgm");
    command.arg("--quiet").arg("--pstate").arg(state).arg(file).arg(&picture).output().ok()?;
    read_pnm(&fs::read(&picture).ok()?)
}

/// A binary portable grey or pixel map.
fn read_pnm(bytes: &[u8]) -> Option<Raster> {
    let mut fields = Vec::new();
    let mut at = 0;
    while fields.len() < 4 {
        let rest = bytes.get(at..)?;
        let length = rest.iter().position(u8::is_ascii_whitespace)?;
        if rest.first() == Some(&b'#') {
            at += rest.iter().position(|byte| *byte == b'\n')? + 1;
            continue;
        }
        fields.push(std::str::from_utf8(&rest[..length]).ok()?);
        at += length + 1;
    }
    let format = match *fields.first()? {
        "P5" => Format::Gray8,
        "P6" => Format::Rgb8,
        _ => return None,
    };
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Raster { width: number(1)?, height: number(2)?, format, bytes: bytes.get(at..)?.to_vec() })
}
