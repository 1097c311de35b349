//! What was opened and is kept in memory for whoever asks next: metadata, frames, pictures. Each has its limit in bytes; none is a copy
//! that counts. Nothing is found here that the catalog does not find first, so what is hidden or deleted is not served from it; and when
//! something is deleted or shredded, all of it goes.

use std::sync::Arc;

use bytes::Bytes;
use filmgate_model::RecordId;
use quick_cache::{Weighter, sync::Cache};

use super::{frames::StoredFrame, imaged::Imaged, presentation::PresentationState, rendered::Rendered};

/// Limits of what is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct KeptSettings {
    /// Bytes of metadata.
    pub metadata_bytes_max: u64,
    /// Bytes of frames.
    pub frames_bytes_max: u64,
    /// Bytes of pictures.
    pub rendered_bytes_max: u64,
    /// Series of a study whose middle frame is read when it was packed; 0 warms nothing.
    pub warm_series_max: usize,
}

impl Default for KeptSettings {
    fn default() -> Self {
        Self {
            metadata_bytes_max: 128 << 20,
            frames_bytes_max: 256 << 20,
            rendered_bytes_max: 64 << 20,
            warm_series_max: 32,
        }
    }
}

/// Bytes of datasets whose images were described: few are at work at a time.
const IMAGED_BYTES_MAX: u64 = 64 << 20;
/// Bytes of presentation states.
const STATES_BYTES_MAX: u64 = 16 << 20;
/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: u64 = 128;

/// A frame of a record, in a transfer syntax.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FrameKey {
    pub(super) record_id: RecordId,
    pub(super) frame: u32,
    /// `None` as it is stored.
    pub(super) transfer_syntax_uid: Option<&'static str>,
}

/// A picture of a frame, by everything that makes it what it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RenderedKey {
    pub(super) record_id: RecordId,
    pub(super) frame: u32,
    /// The request, written out.
    pub(super) how: String,
}

/// Everything that is kept.
pub(crate) struct Kept {
    pub(crate) metadata: Cache<RecordId, Bytes, Weigh>,
    pub(super) frames: Cache<FrameKey, StoredFrame, Weigh>,
    pub(super) rendered: Cache<RenderedKey, Rendered, Weigh>,
    pub(super) imaged: Cache<RecordId, Arc<Imaged>, Weigh>,
    pub(super) states: Cache<RecordId, Arc<PresentationState>, Weigh>,
}

impl Kept {
    pub(crate) fn new(settings: KeptSettings) -> Self {
        // Entries that are expected, by what one takes; the bytes are what counts.
        let entries = |bytes_max: u64, each: u64| usize::try_from(bytes_max / each).unwrap_or(0).max(16);
        let KeptSettings { metadata_bytes_max, frames_bytes_max, rendered_bytes_max, .. } = settings;
        Self {
            metadata: Cache::with_weighter(entries(metadata_bytes_max, 4 << 10), metadata_bytes_max, Weigh),
            frames: Cache::with_weighter(entries(frames_bytes_max, 128 << 10), frames_bytes_max, Weigh),
            rendered: Cache::with_weighter(entries(rendered_bytes_max, 32 << 10), rendered_bytes_max, Weigh),
            imaged: Cache::with_weighter(entries(IMAGED_BYTES_MAX, 32 << 10), IMAGED_BYTES_MAX, Weigh),
            states: Cache::with_weighter(entries(STATES_BYTES_MAX, 32 << 10), STATES_BYTES_MAX, Weigh),
        }
    }

    /// Forgets all: something was deleted, and it is not worth finding out what of it is here.
    pub(crate) fn clear(&self) {
        self.metadata.clear();
        self.frames.clear();
        self.rendered.clear();
        self.imaged.clear();
        self.states.clear();
    }
}

/// Weighs what is kept by its bytes.
#[derive(Clone)]
pub(crate) struct Weigh;

impl Weighter<RecordId, Bytes> for Weigh {
    fn weight(&self, _: &RecordId, json: &Bytes) -> u64 {
        ENTRY_BYTES + json.len() as u64
    }
}

impl Weighter<FrameKey, StoredFrame> for Weigh {
    fn weight(&self, _: &FrameKey, frame: &StoredFrame) -> u64 {
        ENTRY_BYTES + frame.weight_bytes()
    }
}

impl Weighter<RenderedKey, Rendered> for Weigh {
    fn weight(&self, key: &RenderedKey, rendered: &Rendered) -> u64 {
        ENTRY_BYTES + (key.how.len() + rendered.bytes.len()) as u64
    }
}

impl Weighter<RecordId, Arc<Imaged>> for Weigh {
    fn weight(&self, _: &RecordId, imaged: &Arc<Imaged>) -> u64 {
        ENTRY_BYTES + imaged.weight_bytes()
    }
}

impl Weighter<RecordId, Arc<PresentationState>> for Weigh {
    fn weight(&self, _: &RecordId, state: &Arc<PresentationState>) -> u64 {
        ENTRY_BYTES + state.weight_bytes()
    }
}
