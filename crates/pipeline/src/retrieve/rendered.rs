//! Pictures of frames (PS3.18 10.4.1.1.3, 8.3.5): decoded, shown by the image's attributes or by what is asked, as JPEG or PNG.

use std::sync::Arc;

use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_pixels::{
    Frame,
    render::{RenderOptions, Rendering, SIDE_MAX, Viewport, Window},
};

use super::{annotation::Annotation, imaged::Imaged, kept::RenderedKey, presentation::PresentationState};
use crate::{Error, Road};

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PictureFormat {
    /// JPEG of a quality from 1 to 100.
    Jpeg(u8),
    /// PNG.
    Png,
}

impl PictureFormat {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg(_) => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// What a picture is to be like. Written out (`{:?}`) it tells pictures of a frame apart.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What it is written as.
    pub format: PictureFormat,
    /// Another window than the image's own.
    pub window: Option<Window>,
    /// The room it is scaled to; without, a pixel of the image is a pixel of the picture.
    pub viewport: Option<Viewport>,
    /// Pixels that a side of it has at most.
    pub side_max: u32,
    /// The image's own overlays are drawn. A presentation state says itself which are, whatever stands here.
    pub overlays: bool,
    /// What is written into it.
    pub annotation: Annotation,
    /// A presentation state that is for the frame.
    pub presentation: Option<Arc<PresentationState>>,
}

impl Picture {
    /// The frame as its own attributes show it, in its own size.
    #[must_use]
    pub fn plain(format: PictureFormat) -> Self {
        Self {
            format,
            window: None,
            viewport: None,
            side_max: SIDE_MAX,
            overlays: false,
            annotation: Annotation::default(),
            presentation: None,
        }
    }
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// As it is written.
    pub bytes: Bytes,
    /// What it is written as.
    pub format: PictureFormat,
}

impl Road {
    /// A picture of a frame, from memory when the same was asked for not long ago; frames count from 1.
    ///
    /// # Errors
    /// [`Error::NoFrames`], [`Error::NoSuchFrame`]; [`Error::Pixels`] when it cannot be decoded or shown; or when its bytes cannot
    /// be had.
    pub async fn rendered(
        self: &Arc<Self>,
        location: &Location,
        frame: u32,
        picture: Picture,
    ) -> Result<Rendered, Error> {
        let key = RenderedKey { record_id: location.record_id, frame, how: format!("{picture:?}") };
        let make = async {
            let imaged = self.imaged(location).await?;
            let stored = self.stored_frame(location, &imaged, frame).await?;
            let has_overlays = picture.overlays || picture.presentation.is_some();
            let all_bits = imaged.all_bits(&stored).filter(|_| has_overlays);
            let of = Arc::clone(&imaged);
            let draw = move |decoded| {
                let all_bits = all_bits.map(|pieces| pieces.concat());
                draw(&of, frame, &decoded, all_bits.as_deref(), &picture)
            };
            let data = imaged.data(stored);
            self.decoding.decode_then(&imaged.transfer_syntax_uid, &imaged.image, data, draw).await?
        };
        self.kept.rendered.get_or_insert_async(&key, make).await
    }
}

fn draw(
    imaged: &Imaged,
    frame: u32,
    decoded: &Frame,
    stored: Option<&[u8]>,
    picture: &Picture,
) -> Result<Rendered, Error> {
    let annotations = picture.annotation.lines(&imaged.dataset.elements, frame, imaged.frames.count);
    let options = RenderOptions {
        window: picture.window,
        viewport: picture.viewport,
        side_max: picture.side_max,
        overlays: picture.overlays,
        stored,
        presentation: picture.presentation.as_deref().map(PresentationState::elements),
        annotations: &annotations,
    };
    let rendering = Rendering::of(&imaged.dataset.elements, &imaged.image, frame)?;
    let raster = rendering.render(decoded, &options)?;
    let bytes = match picture.format {
        PictureFormat::Jpeg(quality) => raster.to_jpeg(quality)?,
        PictureFormat::Png => raster.to_png()?,
    };
    Ok(Rendered { bytes: bytes.into(), format: picture.format })
}
