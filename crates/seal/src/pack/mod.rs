//! Records of one study in one object: header, records byte for byte, footer of sealed blocks, trailer (FORMAT.md, Pack).
//!
//! With the study key alone a pack lists and opens itself; nothing else has to be known of it.

mod entry;
mod frame;
mod reader;
mod writer;

pub use frame::{
    PACK_HEADER_BYTES, PACK_TRAILER_BYTES, PackHeader, PackKind, PackTrailer, pack_header, pack_trailer,
};
pub use reader::{FooterBlocks, PackFooter, PackedRecord, footer_range, open_footer};
pub use writer::PackWriter;

/// Raw bytes of a footer block at most.
pub const FOOTER_BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of what a footer says of one record at most, over as many blocks as that takes.
pub const FOOTER_ENTRY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of metadata kept of one record at most; longer ones are left out, and made anew when they are asked for.
pub const METADATA_JSON_BYTES_MAX: usize = 128 * 1024 * 1024;
