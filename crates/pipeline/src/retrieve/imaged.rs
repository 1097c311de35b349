//! A record as an image: what its attributes say of the samples, and where its frames are.

use std::sync::Arc;

use filmgate_catalog::Location;
use filmgate_model::RecordId;
use filmgate_pixels::ImagePixel;

use super::{dataset::Dataset, frames::Frames};
use crate::{Error, OpenRecord, Road};

/// What is known of an image once its header was read.
pub struct Imaged {
    /// The record.
    pub(crate) record_id: RecordId,
    /// The transfer syntax it is stored in.
    pub transfer_syntax_uid: String,
    /// Its elements without pixels.
    pub dataset: Dataset,
    /// Its samples.
    pub image: ImagePixel,
    /// Where they are.
    pub frames: Frames,
    /// Bytes of the header it was read from.
    header_bytes: u64,
}

impl Imaged {
    /// What it takes in memory, about: an element takes several times what it is written in.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.header_bytes.saturating_mul(6) + self.frames.weight_bytes()
    }
}

impl Road {
    /// What a record says of its image, kept for the next frame of it.
    ///
    /// # Errors
    /// [`Error::NoFrames`], [`Error::Pixels`] when it is none; or when its header cannot be had.
    pub async fn imaged(self: &Arc<Self>, location: &Location) -> Result<Arc<Imaged>, Error> {
        let make = async {
            let record = self.open_found(location).await?;
            Ok(Arc::new(record.imaged().await?))
        };
        self.kept.imaged.get_or_insert_async(&location.record_id, make).await
    }
}

/// A header of more bytes is not read ahead of need.
const LONG_HEADER_BYTES: u64 = 1024 * 1024;
/// Nor are frames looked for among more fragments.
const MANY_FRAGMENTS: u64 = 1024;

impl OpenRecord {
    pub(super) fn header_bytes(&self) -> u64 {
        self.table().header_chunks().map(|(_, chunk)| u64::from(chunk.raw_bytes)).sum()
    }

    /// True where reading its elements takes long, or nobody knows how long.
    pub(super) fn header_is_long(&self) -> bool {
        let fragments = self.table().pixel_data.as_ref().map_or(0, |pixel_data| pixel_data.fragments_total);
        self.is_deflated() || self.header_bytes() > LONG_HEADER_BYTES || fragments > MANY_FRAGMENTS
    }

    async fn imaged(&self) -> Result<Imaged, Error> {
        let frames = self.frames().await?;
        // Who looks at an image wants a frame of it next: from a bucket both come by one request.
        self.will_read(0..if self.is_deflated() { u64::MAX } else { frames.first_end() });
        let dataset = self.dataset().await?;
        let image = ImagePixel::of(&dataset.elements)?;
        let header_bytes = self.header_bytes();
        Ok(Imaged {
            record_id: self.table().record_id,
            transfer_syntax_uid: self.transfer_syntax_uid().to_owned(),
            dataset,
            image,
            frames,
            header_bytes,
        })
    }
}
