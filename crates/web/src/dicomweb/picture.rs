//! What a request says of the picture it wants (PS3.18 8.3.5): window, viewport, quality, words in it; and beyond the standard
//! overlays, and a presentation state to show it by.

use std::{collections::BTreeMap, sync::Arc};

use filmgate_catalog::Location;
use filmgate_pipeline::{
    Annotation, Function, Picture, PictureFormat, PresentationState, Region, Viewport, Window,
};

use crate::{Error, routes::Parameter};

/// Pixels that a side of a picture has at most.
pub(super) const SIDE_MAX: u32 = 8192;
/// Of a thumbnail, unless the request says otherwise.
const THUMBNAIL_SIDE: u32 = 128;
const QUALITY: u8 = 90;

/// What can be said of it.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter::text(
        "viewport",
        "width,height of the room; and left,upper,width,height of the part to show, which may be left out (PS3.18 8.3.5.1.3)",
    ),
    Parameter::text(
        "window",
        "center,width or center,width,function: linear, linear-exact or sigmoid (PS3.18 8.3.5.1.4)",
    ),
    Parameter::whole("quality", "of a JPEG (PS3.18 8.3.5.1.2); 90 if nothing is said", 1, 100),
    Parameter::words(
        "annotation",
        "words in the picture: whose it is, how it was made (PS3.18 8.3.5.1.1)",
        &["patient", "technique", "patient,technique", "technique,patient"],
    ),
    Parameter::text(
        "presentationState",
        "SOP Instance UID of a presentation state of the same study, which says how the image is shown; ours, not the standard's",
    ),
    Parameter::flag("overlays", "the image's own overlays are drawn; ours, not the standard's"),
];

/// Rendering parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) quality: u8,
    pub(super) window: Option<Window>,
    pub(super) viewport: Option<Viewport>,
    pub(super) annotation: Annotation,
    /// The image's own overlays are drawn.
    pub(super) overlays: bool,
    /// SOP Instance UID of a presentation state.
    pub(super) presentation_state: Option<String>,
}

impl Asked {
    /// Nothing said.
    pub(super) fn plain() -> Self {
        Self {
            quality: QUALITY,
            window: None,
            viewport: None,
            annotation: Annotation::default(),
            overlays: false,
            presentation_state: None,
        }
    }

    /// Of a rendered resource.
    pub(crate) fn rendered(query: &[(String, String)]) -> Result<Self, Error> {
        let mut asked = Self::plain();
        for (name, value) in query {
            match name.as_str() {
                "quality" => asked.quality = quality(value)?,
                "window" => asked.window = Some(window(value)?),
                "viewport" => asked.viewport = Some(viewport(value)?),
                "annotation" => asked.annotation = annotation(value)?,
                "overlays" => asked.overlays = overlays(value)?,
                "presentationState" => asked.presentation_state = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        Ok(asked)
    }

    /// Of a thumbnail.
    pub(crate) fn thumbnail(query: &[(String, String)]) -> Result<Self, Error> {
        let mut asked = Self::rendered(query)?;
        let small = Viewport { width: THUMBNAIL_SIDE, height: THUMBNAIL_SIDE, region: None };
        asked.viewport.get_or_insert(small);
        Ok(asked)
    }

    /// Refuses what a presentation state says itself: the window, and the part of the image to show (PS3.18 8.3.5.1, 9.1.2).
    pub(super) fn leaves_to_a_state(&self) -> Result<(), Error> {
        let has_region = self.viewport.is_some_and(|viewport| viewport.region.is_some());
        if self.window.is_some() || has_region {
            let why = "a presentation state says itself which window and which part of the image are shown";
            return Err(Error::BadRequest(why.to_owned()));
        }
        Ok(())
    }

    /// The picture.
    pub(crate) fn picture(&self, format: PictureFormat, state: Option<Arc<PresentationState>>) -> Picture {
        Picture {
            window: self.window,
            viewport: self.viewport,
            side_max: SIDE_MAX,
            annotation: self.annotation,
            overlays: self.overlays,
            presentation: state,
            ..Picture::plain(format)
        }
    }
}

/// A quality, 1 to 100 (PS3.18 8.3.5.1.2).
pub(super) fn quality(value: &str) -> Result<u8, Error> {
    let quality = value.trim().parse().ok().filter(|quality| (1..=100).contains(quality));
    quality.ok_or_else(|| Error::BadRequest("quality must be a number from 1 to 100".to_owned()))
}

/// `patient`, `technique`, or both (PS3.18 8.3.5.1.1).
pub(super) fn annotation(value: &str) -> Result<Annotation, Error> {
    let mut annotation = Annotation::default();
    for word in value.split(',') {
        match word.trim() {
            "patient" => annotation.patient = true,
            "technique" => annotation.technique = true,
            _ => return Err(Error::BadRequest("annotation must be patient, technique or both".to_owned())),
        }
    }
    Ok(annotation)
}

/// Whether the image's overlays are drawn; ours, not the standard's.
pub(super) fn overlays(value: &str) -> Result<bool, Error> {
    match value.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::BadRequest("overlays must be true or false".to_owned())),
    }
}

/// `center,width[,function]` (PS3.18 8.3.5.1.4).
fn window(value: &str) -> Result<Window, Error> {
    let parts: Vec<&str> = value.split(',').map(str::trim).collect();
    let (center, width, function) = match parts.as_slice() {
        [center, width] => (center, width, &"linear"),
        [center, width, function] => (center, width, function),
        _ => return Err(bad_window()),
    };
    let function = match function.to_ascii_lowercase().replace('_', "-").as_str() {
        "linear" => Function::Linear,
        "linear-exact" => Function::LinearExact,
        "sigmoid" => Function::Sigmoid,
        _ => return Err(bad_window()),
    };
    window_of(center, width, function)
}

/// A window by the text of its numbers.
pub(super) fn window_of(center: &str, width: &str, function: Function) -> Result<Window, Error> {
    let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
    let (Some(center), Some(width)) = (number(center), number(width)) else { return Err(bad_window()) };
    if width <= 0.0 {
        return Err(bad_window());
    }
    Ok(Window { center, width, function })
}

fn bad_window() -> Error {
    let text = "window must be center,width or center,width,function: two numbers, the second above 0, and linear, \
                linear-exact or sigmoid";
    Error::BadRequest(text.to_owned())
}

/// `vw,vh[,sx,sy,sw,sh]` (PS3.18 8.3.5.1.3): the room, and the part of the image that is shown in it.
fn viewport(value: &str) -> Result<Viewport, Error> {
    let bad = || {
        Error::BadRequest(format!(
            "viewport must be width,height, numbers from 1 to {SIDE_MAX}, or these and the left, upper, width and height of \
             the part to show"
        ))
    };
    let numbers: Option<Vec<Option<f64>>> = value
        .split(',')
        .map(|part| match part.trim() {
            "" => Some(None),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Some),
        })
        .collect();
    let numbers = numbers.ok_or_else(bad)?;
    let side = |number: &Option<f64>| {
        let side = number.filter(|side| side.fract() == 0.0 && (1.0..=f64::from(SIDE_MAX)).contains(side));
        side.map(|side| side as u32).ok_or_else(bad)
    };
    let (width, height, region) = match numbers.as_slice() {
        [width, height] => (side(width)?, side(height)?, None),
        [width, height, x, y, Some(w), Some(h)] => {
            let region = Region { x: x.unwrap_or(0.0), y: y.unwrap_or(0.0), width: *w, height: *h };
            (side(width)?, side(height)?, Some(region))
        }
        _ => return Err(bad()),
    };
    Ok(Viewport { width, height, region })
}

/// How many instances are looked at for one that shows something.
const CANDIDATES_MAX: usize = 16;

/// Instances by how well each stands for all: the middle ones of the longest series first.
pub(super) fn order(instances: Vec<Location>) -> Vec<Location> {
    let mut series: BTreeMap<String, Vec<Location>> = BTreeMap::new();
    for location in instances {
        series.entry(location.series_instance_uid.clone()).or_default().push(location);
    }
    let mut series: Vec<Vec<Location>> = series.into_values().collect();
    series.sort_by_key(|instances| std::cmp::Reverse(instances.len()));
    let middles = series.into_iter().filter_map(|mut instances| {
        let middle = instances.len() / 2;
        (middle < instances.len()).then(|| instances.swap_remove(middle))
    });
    middles.take(CANDIDATES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, Error> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Asked::rendered(&pairs.collect::<Vec<_>>())
    }

    #[test]
    fn parameters_are_understood() {
        let all =
            asked(&[("window", "40,400,sigmoid"), ("viewport", "256,256"), ("quality", "50"), ("x", "y")]);
        let all = all.expect("understood");
        assert_eq!(all.window, Some(Window { center: 40.0, width: 400.0, function: Function::Sigmoid }));
        assert_eq!(all.viewport, Some(Viewport { width: 256, height: 256, region: None }));
        assert_eq!(all.quality, 50);
        let part = asked(&[("viewport", "100,50,,10,-20,30.5")]).expect("understood").viewport;
        let region = Region { x: 0.0, y: 10.0, width: -20.0, height: 30.5 };
        assert_eq!(part, Some(Viewport { width: 100, height: 50, region: Some(region) }));
        let exact = asked(&[("window", "0.5,0.1,LINEAR_EXACT")]).expect("understood").window;
        assert_eq!(exact.map(|window| window.function), Some(Function::LinearExact));
        let more = asked(&[("annotation", "patient, technique"), ("overlays", "true")]).expect("understood");
        assert_eq!(more.annotation, Annotation { patient: true, technique: true });
        assert!(more.overlays && !Asked::plain().overlays);
    }

    #[test]
    fn a_presentation_state_leaves_no_window_and_no_region_to_be_asked_for() {
        let leaves =
            |pairs: &[(&str, &str)]| asked(pairs).and_then(|asked| asked.leaves_to_a_state()).is_ok();
        assert!(leaves(&[("viewport", "256,256"), ("annotation", "patient"), ("quality", "50")]));
        assert!(!leaves(&[("window", "40,400")]));
        assert!(!leaves(&[("viewport", "256,256,0,0,10,10")]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (name, value) in [
            ("window", "40"),
            ("window", "40,0"),
            ("window", "40,NaN"),
            ("window", "40,400,cubic"),
            ("viewport", "256"),
            ("viewport", "0,256"),
            ("viewport", "100000,256"),
            ("viewport", "1.5,256"),
            ("viewport", "a,b"),
            ("viewport", "256,256,0,0"),
            ("quality", "0"),
            ("quality", "101"),
            ("quality", "good"),
            ("annotation", "patient,everything"),
            ("annotation", ""),
            ("overlays", "yes"),
        ] {
            assert!(matches!(asked(&[(name, value)]), Err(Error::BadRequest(_))), "{name}={value}");
        }
    }
}
