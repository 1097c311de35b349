//! What a picture is to be like.

use dicom_object::InMemDicomObject;

use super::{view::Viewport, window::Window};

/// Pixels that a side of a raster has at most, unless the options say otherwise.
pub const SIDE_MAX: u32 = 8192;

/// What a picture is to be like.
#[derive(Debug, Clone, Copy)]
pub struct RenderOptions<'a> {
    /// Another window than the image's own, or the presentation state's.
    pub window: Option<Window>,
    /// The image's overlays are drawn. (With a presentation state those that it activates are, whatever stands here.)
    pub overlays: bool,
    /// The samples of the frame with all their stored bits, for the retired overlays that lie in those of no other use.
    pub stored: Option<&'a [u8]>,
    /// A presentation state that refers to the image. It then says all there is to say (PS3.4 N.2).
    pub presentation: Option<&'a InMemDicomObject>,
    /// The room to scale it to; without, a pixel of the image is a pixel of the picture.
    pub viewport: Option<Viewport>,
    /// Lines written into the upper left corner, in Latin letters.
    pub annotations: &'a [String],
    /// Pixels that a side of a scaled picture has at most.
    pub side_max: u32,
}

impl Default for RenderOptions<'_> {
    fn default() -> Self {
        Self {
            window: None,
            overlays: false,
            stored: None,
            presentation: None,
            viewport: None,
            annotations: &[],
            side_max: SIDE_MAX,
        }
    }
}
