//! How records are sealed.

use std::{collections::BTreeMap, sync::Arc};

use filmgate_model::transfer_syntax::Encoding;

use crate::scan::Limits;

/// Raw bytes of a chunk at most, in any record that is opened.
pub const CHUNK_BYTES_MAX: u32 = 1024 * 1024;

/// Raw bytes a chunk is made of at least, unless its dataset or value ends.
const CHUNK_SIZE_BYTES_MIN: usize = 4096;

/// How records are sealed. The defaults are those of the configuration.
#[derive(Debug, Clone)]
pub struct SealOptions {
    /// Raw bytes of a chunk at most; between 4 KiB and [`CHUNK_BYTES_MAX`].
    pub chunk_size_bytes: usize,
    /// Longer values go to Bulk chunks.
    pub non_bulk_value_bytes_max: usize,
    /// Header bytes that are read of one dataset; behind them it passes unread, as Bulk.
    pub header_bytes_max: u64,
    /// Bytes a deflated dataset is inflated to at most, to be indexed.
    pub inflated_bytes_max: u64,
    /// Sequences within each other that are followed.
    pub depth_max: usize,
    /// Level of zstd for what it is worth trying on.
    pub zstd_level: i32,
    /// Encodings of private transfer syntaxes, by UID.
    pub private_syntaxes: Arc<BTreeMap<String, Encoding>>,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self {
            chunk_size_bytes: 256 * 1024,
            non_bulk_value_bytes_max: 64 * 1024,
            header_bytes_max: 128 * 1024 * 1024,
            inflated_bytes_max: 1024 * 1024 * 1024,
            depth_max: 64,
            zstd_level: 1,
            private_syntaxes: Arc::default(),
        }
    }
}

impl SealOptions {
    pub(crate) fn chunk_size_bytes(&self) -> usize {
        self.chunk_size_bytes.clamp(CHUNK_SIZE_BYTES_MIN, CHUNK_BYTES_MAX as usize)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            non_bulk_value_bytes_max: self.non_bulk_value_bytes_max as u64,
            header_bytes_max: self.header_bytes_max,
            depth_max: self.depth_max,
            enter_all: false,
        }
    }
}
