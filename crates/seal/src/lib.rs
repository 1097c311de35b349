//! The sealed format: a dataset becomes a *record* while it arrives, records of a study become a *pack*.
//!
//! Bytes in, bytes out: no file, no socket, no clock. FORMAT.md beside this crate gives every structure to the byte.
//!
//! What holds:
//! - Sealing never fails and never refuses. What cannot be read is sealed all the same and said to be so ([`Reading`]).
//! - Every byte of a dataset comes back as it went in; the table holds its SHA-256.
//! - No chunk can be changed, swapped, moved, left out or replayed in another record unnoticed.
//! - Memory is bounded by the chunk size and by counted notes, never by a declared length. Nothing recurses.
//! - Opening takes any bytes and ends in data or an [`Error`].
//!
//! Absent on purpose: decoding of pixels or text, frames (derived when they are read), deduplication, compression of what
//! is compressed.
//!
//! | module | what |
//! | --- | --- |
//! | `scan` | reads a dataset as it passes |
//! | `record` | sealing and opening of records |
//! | `visit` | stored header chunks as a run of elements |
//! | `pack` | header, footer blocks and trailer around records |
//! | `sealed` | bytes of other stored structures, sealed whole |
//! | `key`, `aead`, `codec`, `wire` | keys and their wrapping, encryption, compression, bytes of structures |

mod aead;
mod codec;
mod error;
mod key;
mod pack;
mod record;
mod scan;
mod sealed;
mod visit;
pub mod wire;

pub use aead::{SUITE_AES_256_GCM, SUITE_SM4_GCM};
pub use codec::{Codec, decode_samples, encode_samples};
pub use error::Error;
pub use key::{KEY_BYTES, RecordKey, WRAPPED_KEY_BYTES, WrappingKey, derive, unwrap_key, wrap_key};
pub use pack::{
    FOOTER_BLOCK_BYTES_MAX, FOOTER_ENTRY_BYTES_MAX, FooterBlocks, METADATA_JSON_BYTES_MAX, PACK_HEADER_BYTES,
    PACK_TRAILER_BYTES, PackFooter, PackHeader, PackKind, PackTrailer, PackWriter, PackedRecord,
    footer_range, open_footer, pack_header, pack_trailer,
};
pub use record::{
    CHUNK_BYTES_MAX, ChunkEntry, Class, FORMAT_VERSION, Helpers, RecordSealer, RecordTable, SampleShape,
    SealOptions, TRAILER_BYTES, Work, open_chunk, open_record, open_table, table_range,
};
pub use scan::{
    BULK_VALUES_MAX, BulkKind, BulkValue, FRAGMENTS_MAX, Fragment, Inflater, Inflation,
    OFFSET_TABLE_BYTES_MAX, Oddity, PixelData, Reading, unit_bytes,
};
pub use sealed::{SEALED_EXTRA_BYTES, open_bytes, seal_bytes};
pub use visit::{Value, Visitor, visit};
