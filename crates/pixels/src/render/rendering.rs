//! Everything that is said of how one frame is shown, and showing it.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{
    aspect,
    attributes::text,
    automatic,
    grey::{Grey, Presentation, Voi},
    groups::Groups,
    ink::Ink,
    modality::Modality,
    options::RenderOptions,
    overlay::Overlay,
    padding::Padding,
    palette::{self, Palette},
    raster::Raster,
    samples, scale,
    shutter::Shutter,
    state::State,
    table::Table,
    view::{Layout, Region, View},
    window::Window,
};
use crate::{Error, Frame, ImagePixel, Photometric, error::malformed};

/// What the attributes say of how one frame is shown.
#[derive(Debug, Clone)]
pub struct Rendering {
    modality: Modality,
    voi: Option<Voi>,
    presentation: Presentation,
    padding: Option<Padding>,
    palette: Option<Palette>,
    /// The palette is for some values only, the others being greys.
    is_supplemental: bool,
    /// Eight bits or fewer: shown over their full range where nothing else is said.
    is_narrow: bool,
    /// Height of a pixel over its width.
    aspect: f64,
    shutter: Option<Shutter>,
    overlays: Vec<Overlay>,
    /// Whom presentation states refer to.
    sop_instance_uid: String,
    frame_number: u32,
}

impl Rendering {
    /// Gathers what `dataset` says of the frame with that number, the first being 1. The dataset need not hold the pixels.
    ///
    /// # Errors
    /// When an image of palette colours has no palette.
    pub fn of(dataset: &InMemDicomObject, image: &ImagePixel, frame_number: u32) -> Result<Self, Error> {
        if frame_number == 0 || frame_number > image.frames {
            return Err(malformed(format!("frame {frame_number} of {}", image.frames)));
        }
        let groups = Groups::of(dataset, frame_number);
        let signed = image.sample.is_signed();
        let modality = Modality::of(dataset, &groups, signed);
        let voi = Voi::of(&groups, &modality, image);
        let (palette, is_supplemental) = match image.photometric {
            Photometric::PaletteColor => (Some(Palette::of_frame(&groups, signed)?), false),
            _ if image.samples == 1 && palette::is_mixed(&groups) => {
                (Palette::of_frame(&groups, signed).ok(), true)
            }
            _ => (None, false),
        };
        Ok(Self {
            voi,
            presentation: Presentation::of(dataset, image.photometric),
            padding: Padding::of(dataset, image.sample),
            palette,
            is_supplemental,
            is_narrow: image.bits_stored <= 8 && !samples::is_fractional(image.sample),
            aspect: aspect::of(dataset, &groups),
            shutter: groups
                .holder(tags::FRAME_DISPLAY_SHUTTER_SEQUENCE, tags::SHUTTER_SHAPE)
                .and_then(Shutter::of),
            overlays: Overlay::all_of(dataset),
            sop_instance_uid: text(dataset, tags::SOP_INSTANCE_UID),
            frame_number,
            modality,
        })
    }

    /// True where the window is taken from the frame itself, so that a table made for it does not fit the next.
    #[must_use]
    pub fn is_of_frame(&self, options: &RenderOptions<'_>) -> bool {
        let asked = options.window.and_then(|window| window.sensible(true));
        asked.is_none() && self.voi.is_none() && !self.is_narrow && options.presentation.is_none()
    }

    /// What shows each value of the frame.
    ///
    /// # Errors
    /// When the frame has fewer samples than it states, or needs a palette that is not there.
    pub fn table(&self, frame: &Frame, options: &RenderOptions<'_>) -> Result<Table, Error> {
        samples::check(frame)?;
        match (&self.palette, frame.photometric) {
            _ if frame.samples != 1 => Ok(Table::rgb(frame)),
            (Some(palette), Photometric::PaletteColor) => Table::palette(frame, palette),
            (None, Photometric::PaletteColor) => {
                Err(malformed("a frame of palette colours, without a palette"))
            }
            (Some(palette), _) if self.is_supplemental => {
                Table::supplemented(frame, &self.grey(frame, options), palette)
            }
            _ => Ok(Table::grey(frame, self.grey(frame, options))),
        }
    }

    /// Shows a frame.
    ///
    /// # Errors
    /// As [`Self::table`], and when the region asked for has no pixels.
    pub fn render(&self, frame: &Frame, options: &RenderOptions<'_>) -> Result<Raster, Error> {
        self.render_by(&self.table(frame, options)?, frame, options)
    }

    /// Shows a frame by a table that was made for it, or for another frame of the image (see [`Self::is_of_frame`]).
    ///
    /// # Errors
    /// As [`Self::render`], and when the table is for other samples.
    pub fn render_by(
        &self,
        table: &Table,
        frame: &Frame,
        options: &RenderOptions<'_>,
    ) -> Result<Raster, Error> {
        samples::check(frame)?;
        let mut picture = table.picture(frame)?;
        let state = self.state(options);
        let shutter = state.map_or_else(|| self.shutter.clone(), |state| state.shutter());
        let overlays = match state {
            Some(state) => state.overlays(&self.overlays, shutter.as_ref()),
            None if options.overlays => {
                self.overlays.iter().map(|overlay| (overlay.clone(), Ink::WHITE)).collect()
            }
            None => Vec::new(),
        };
        let area = state.and_then(|state| state.area());
        let all = Region { x: 0.0, y: 0.0, width: frame.columns.into(), height: frame.rows.into() };
        let (region, aspect) = area.unwrap_or((all, self.aspect));
        if let Some(shutter) = &shutter {
            shutter.cover(&mut picture, frame, self.frame_number, aspect);
        }
        for (overlay, ink) in overlays {
            let colour = ink.on(picture.format);
            overlay.paint(&mut picture, frame, self.frame_number, options.stored, colour);
        }
        let (turns, mirrored) = state.map_or((0, false), |state| state.turns());
        let layout = Layout { aspect, turns, mirrored, side_max: options.side_max.max(1) };
        let mut raster = if options.viewport.is_none() && area.is_none() && turns == 0 && !mirrored {
            // Of its own size, whatever that is.
            let layout = Layout { side_max: u32::MAX, ..layout };
            self.annotated(picture, View::of(all, None, layout)?, state)
        } else {
            let view = View::of(region, options.viewport, layout)?;
            self.annotated(view.turn(scale::scale(picture, &view)?), view, state)
        };
        for (line, annotation) in (0_u32..).zip(options.annotations) {
            raster.write(2, 2 + line.saturating_mul(raster.line_height()), annotation);
        }
        Ok(raster)
    }

    fn annotated(&self, mut raster: Raster, view: View, state: Option<State<'_>>) -> Raster {
        if let Some(state) = state {
            state.annotate(&mut raster, view);
        }
        raster
    }

    fn state<'a>(&'a self, options: &RenderOptions<'a>) -> Option<State<'a>> {
        let dataset = options.presentation?;
        Some(State { dataset, sop_instance_uid: &self.sop_instance_uid, frame_number: self.frame_number })
    }

    fn grey(&self, frame: &Frame, options: &RenderOptions<'_>) -> Grey {
        let (low, high) = samples::range(frame.sample, samples::bits(frame));
        let state = self.state(options);
        let modality = match state {
            Some(state) => Modality::of_presentation(state.dataset, frame.sample.is_signed()),
            None => self.modality.clone(),
        };
        let is_fine = modality.is_fine() || samples::is_fractional(frame.sample);
        let asked = options.window.and_then(|window| window.sensible(is_fine)).map(Voi::Window);
        let (low, high) = modality.range(low, high);
        let voi = asked.or_else(|| match state {
            Some(state) => state.voi(low, is_fine),
            None => self.voi.clone(),
        });
        let voi = voi.unwrap_or_else(|| {
            // Without a window a presentation state means the whole range, which fractions do not have.
            let is_whole = (state.is_some() || self.is_narrow) && !samples::is_fractional(frame.sample);
            Voi::Window(if is_whole {
                Window::between(low, high)
            } else {
                automatic::window(frame, &modality, self.padding.as_ref())
            })
        });
        let presentation = state.map_or_else(|| self.presentation.clone(), |state| state.presentation());
        Grey { modality, voi, presentation, padding: self.padding }
    }
}
