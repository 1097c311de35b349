//! Every file of the test data, shown by us and by others: pydicom and DCMTK.

#![expect(clippy::print_stderr, reason = "says what is left out, and how far pictures are apart")]

mod files;
#[path = "../support/folder.rs"]
mod folder;
mod peers;

use std::{fs, path::Path};

use filmgate_pixels::{
    Frame, Photometric,
    render::{Format, Function, Raster, RenderOptions, Rendering, Window},
};

use crate::{files::Instance, folder::folder, peers::Dcmtk};

/// Grey levels that two pictures may differ by, a sample on average.
const MEAN_DIFFERENCE_MAX: f64 = 1.0;

/// A frame of a file.
struct Shown {
    path: String,
    number: u32,
    instance: Instance,
    frame: Frame,
}

impl Shown {
    fn by(&self, window: Option<Window>) -> Raster {
        let rendering = Rendering::of(&self.instance.dataset, &self.instance.image, self.number);
        let options = RenderOptions { window, ..RenderOptions::default() };
        rendering.and_then(|rendering| rendering.render(&self.frame, &options)).expect("a picture")
    }

    fn name(&self) -> String {
        format!("{} frame {}", self.path, self.number)
    }
}

/// The first and the last frame of each file that can be decoded.
fn all_shown(folder: &Path) -> Vec<Shown> {
    let mut all = Vec::new();
    for path in files::paths(folder) {
        let Ok(instance) = Instance::open(&folder.join(&path)) else { continue };
        let mut numbers = vec![1, instance.image.frames];
        numbers.dedup();
        for number in numbers {
            let Ok(frame) = instance.frame(number) else { continue };
            let Ok(instance) = Instance::open(&folder.join(&path)) else { continue };
            all.push(Shown { path: path.clone(), number, instance, frame });
        }
    }
    all
}

/// Grey levels apart, a sample on average; greys beside colours are taken as such.
fn mean_difference(ours: &Raster, theirs: &Raster) -> f64 {
    let colours = |raster: &Raster| match raster.format {
        Format::Gray8 => raster.bytes.iter().flat_map(|grey| [*grey; 3]).collect(),
        Format::Rgb8 => raster.bytes.clone(),
    };
    let (ours, theirs) = (colours(ours), colours(theirs));
    assert_eq!(ours.len(), theirs.len());
    let sum: u64 = ours.iter().zip(&theirs).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    sum as f64 / ours.len().max(1) as f64
}

/// What pydicom does otherwise, on purpose of ours.
const PYDICOM_APART: &[&str] = &[
    // The shutter covers what pydicom shows.
    "objects/mg-out-of-bounds-overlay.dcm",
    // Its supplemental palette colours what pydicom shows in grey.
    "objects/enhanced-ct-2-frames.dcm",
    // Every VR is UN: the reader of these tests takes nothing from the dictionary, as the gateway's does.
    "malformed/explicit-vr-un.dcm",
];

#[test]
fn pictures_are_as_pydicom_shows_them() {
    let Some(folder) = folder() else {
        eprintln!("no test data: left out");
        return;
    };
    let Some(python) = peers::python() else {
        eprintln!("no Python of the test peers (`cargo xtask test` makes it): left out");
        return;
    };
    let shown = all_shown(&folder);
    let scratch = tempfile::tempdir().expect("a folder");
    let pictures = peers::pydicom(&python, &folder, scratch.path(), &shown);
    let (mut compared, mut apart, mut refused) = (0, Vec::new(), Vec::new());
    for (shown, picture) in shown.iter().zip(pictures) {
        let (window, theirs) = match picture {
            Ok(picture) => picture,
            Err(why) => {
                refused.push(format!("{}: {why}", shown.name()));
                continue;
            }
        };
        compared += 1;
        let difference = mean_difference(&shown.by(window), &theirs);
        if difference > MEAN_DIFFERENCE_MAX && !PYDICOM_APART.contains(&shown.path.as_str()) {
            apart.push(format!("{}: {difference:.2}", shown.name()));
        }
    }
    eprintln!("{compared} compared, {} not shown by pydicom: {refused:#?}", refused.len());
    assert!(apart.is_empty(), "{apart:#?}");
    assert!(compared > 80, "{compared}");
}

/// Where DCMTK does otherwise, and why we do not.
const DCMTK_APART: &[&str] = &[
    // The shutter covers what DCMTK shows.
    "objects/mg-out-of-bounds-overlay.dcm",
    // Its supplemental palette colours what DCMTK shows in grey.
    "objects/enhanced-ct-2-frames.dcm",
    // Single bits: pydicom shows what we show. Why DCMTK does not was not found out.
    "objects/seg-liver-3-frames.dcm",
];

#[test]
fn pictures_are_as_dcmtk_shows_them() {
    let (Some(folder), Some(dcmtk)) = (folder(), Dcmtk::find()) else {
        eprintln!("no test data or no DCMTK: left out");
        return;
    };
    let scratch = tempfile::tempdir().expect("a folder");
    let (mut compared, mut apart) = (0, Vec::new());
    for shown in all_shown(&folder) {
        let image = &shown.instance.image;
        let is_grey = matches!(image.photometric, Photometric::Monochrome1 | Photometric::Monochrome2);
        // It does not know functional groups, and shows pictures without a window by a rule of its own.
        let stated = is_grey && peers::has_window(&shown.instance.dataset);
        let window = Window { center: 1000.0, width: 2500.0, function: Function::Linear };
        let window = (is_grey && !stated && image.bits_stored > 8).then_some(window);
        let arguments = match window {
            Some(window) => vec!["+Ww".to_owned(), window.center.to_string(), window.width.to_string()],
            None if stated => vec!["+Wi".to_owned(), "1".to_owned()],
            None => Vec::new(),
        };
        let file = folder.join(&shown.path);
        let Some(theirs) = dcmtk.show(&file, shown.number, &arguments, scratch.path()) else { continue };
        compared += 1;
        let difference = mean_difference(&shown.by(window), &theirs);
        if difference > MEAN_DIFFERENCE_MAX && !DCMTK_APART.contains(&shown.path.as_str()) {
            apart.push(format!("{}: {difference:.2}", shown.name()));
        }
    }
    let _ = fs::remove_dir_all(scratch.path());
    eprintln!("{compared} compared");
    assert!(apart.is_empty(), "{apart:#?}");
    assert!(compared > 60, "{compared}");
}

#[test]
fn a_presentation_state_is_applied_as_dcmtk_does() {
    let (Some(folder), Some(_)) = (folder(), Dcmtk::find()) else {
        eprintln!("no test data or no DCMTK: left out");
        return;
    };
    // An image that is noise until all three of the state's tables have been applied.
    let (image, state) = (folder.join("objects/pr-luts-image.dcm"), folder.join("objects/pr-luts.dcm"));
    let scratch = tempfile::tempdir().expect("a folder");
    let theirs = peers::by_presentation_state(&image, &state, scratch.path()).expect("DCMTK's picture");
    let (_, state) = files::read(&state).expect("the state");
    let instance = Instance::open(&image).expect("the image");
    let options = RenderOptions { presentation: Some(&state), ..RenderOptions::default() };
    let rendering = Rendering::of(&instance.dataset, &instance.image, 1).expect("attributes");
    let ours = rendering.render(&instance.frame(1).expect("a frame"), &options).expect("a picture");
    assert!(mean_difference(&ours, &theirs) < 0.1, "{}", mean_difference(&ours, &theirs));
}
