//! Rendering: from the samples of a frame to a picture for a screen (PS3.3 C.7.6.3, C.11; PS3.4 N.2; PS3.18 8.3.5).
//!
//! [`Rendering::of`] gathers what the attributes say of one frame, [`Rendering::render`] shows its samples. What most pixels
//! cost is one look into a [`Table`], which may be kept from frame to frame.
//!
//! Broken attributes lead to a plainer picture, not to none: a window that is none gives way to one taken from the frame, a
//! broken table to the next thing that shows the same. Only a missing palette is an error, as nothing else has its colours.
//!
//! Absent on purpose: Real World Values (they are for measuring, PS3.3 C.7.6.16.2.11), ICC profiles (samples go out as sRGB),
//! masks and subtraction, Enhanced Palette Color pipelines and blending (PS3.3 C.7.6.23, C.11.14), the magnification a
//! presentation state asks for (a raster is scaled to its viewport), compound graphics.

mod annotation;
mod aspect;
mod attributes;
mod automatic;
mod colour;
mod draw;
mod encode;
mod grey;
mod groups;
mod ink;
mod lut;
mod modality;
mod options;
mod overlay;
mod padding;
mod palette;
mod polygon;
mod raster;
mod rendering;
mod samples;
mod scale;
mod segments;
mod shutter;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod window;

pub use self::{
    options::{RenderOptions, SIDE_MAX},
    raster::{Format, Raster},
    rendering::Rendering,
    state::referenced_frames,
    table::Table,
    view::{Region, Viewport},
    window::{Function, Window},
};
